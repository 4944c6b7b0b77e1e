"""Where things are in a run directory.

reports/<run-id>/
    run.json                        RunRecord: engine, isolation, image, kernel, arguments
    labs/<slug>/lab.yaml            the lab as it was run
    labs/<slug>/experiment/         one folder a variant: the experiment, and each control by its id
        plan.json events.jsonl agent.log
        outputs/<step>.stdout|stderr  captures/<step>.pcapng  snapshots/<step>.json
    results.json index.html index.md junit.xml   derived: `labrun judge` and `labrun report` make them again
"""

from __future__ import annotations

from pathlib import Path

RUN = "run.json"
LAB = "lab.yaml"
PLAN = "plan.json"
EVENTS = "events.jsonl"
AGENT_LOG = "agent.log"
RESULTS = "results.json"


def lab_folder(run: Path, slug: str) -> Path:
    return run / "labs" / slug


def variant_folder(run: Path, slug: str, variant: str) -> Path:
    return lab_folder(run, slug) / variant
