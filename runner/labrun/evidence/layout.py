"""Where things are in a run directory.

reports/<run-id>/
    run.json                        RunRecord: engine, isolation, image, kernel, arguments
    left-out.json                   slugs of labs that were not begun (--max-failures); where none, not there
    parts/<run-id>/                 of a run that was put together: evidence.attempts
    finding.json                    Finding: in what was a finding's file, which labs of the run it has
    labs/<slug>/lab.yaml            the lab as it was run, for its reader
    labs/<slug>/lab.json            the same compiled, for `labrun judge` and `labrun report` (evidence.lab)
    labs/<slug>/lab.files/          what is beside the lab's file, as far as it is kept (evidence.kept)
    labs/<slug>/experiment/         one folder a variant: the experiment, and each control by its id;
                                        repeats of it in experiment.2, experiment.3, ...
        plan.json events.jsonl agent.log seal.json
        outputs/<step>.stdout|stderr  captures/<step>.pcapng  snapshots/<step>.json
        kernel/<step>.json            the state after a step that changed it
    results.json index.html index.md junit.xml   derived: `labrun judge` and `labrun report` make them again
"""

from __future__ import annotations

from pathlib import Path

RUN = "run.json"
LEFT_OUT = "left-out.json"
FINDING = "finding.json"
PARTS = "parts"
LAB = "lab.yaml"
COMPILED = "lab.json"
FILES = "lab.files"  # no variant has such a name
PLAN = "plan.json"
EVENTS = "events.jsonl"
SEAL = "seal.json"
RESULTS = "results.json"


def part_folder(run: Path, part: str) -> Path:
    """Of a run that was put together: the run that it is made of. See `evidence.attempts`."""
    return run / PARTS / part


def lab_folder(run: Path, slug: str) -> Path:
    return run / "labs" / slug


def variant_folder(run: Path, slug: str, variant: str, repeat: int = 1) -> Path:
    return lab_folder(run, slug) / repeated(variant, repeat)


def repeated(variant: str, repeat: int) -> str:
    """The folder of a variant's run number ``repeat``, from 1."""
    return variant if repeat == 1 else f"{variant}.{repeat}"
