"""A run of one small lab: two hypotheses, a control, commands alone. Written as a real run is, sealed, and judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from labrun.conduct import begin, entry_of
from labrun.evidence import layout
from labrun.evidence.lab import lab_json, stored
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from support.labs import carried_out
from support.recorded import run_record

LAB = {
    "title": "A lab", "question": "Q", "topology": {"nodes": {"host": {}}},
    "steps": [{"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"}, {"id": "other", "run": "other"}],
    "hypotheses": [
        {"id": "holds", "claim": "C", "predict": {"command": "probe", "exit": 0}, "control": {"without": "cause"}},
        {"id": "not", "claim": "C", "predict": {"command": "other", "stdout": {"lacks": "a"}, "exit": 1}},
    ],
}  # fmt: skip


def small_run(run: Path, slug: str = "small", **fields: object) -> Path:
    """``fields``: of the run's record, that are other ones. One verdict is supported, one refuted."""
    return small_runs(run, [slug], **fields)


def small_runs(run: Path, slugs: list[str], **fields: object) -> Path:
    """The same lab under several names."""
    labs = [compile_lab(parse_lab(json.dumps(LAB), run / "lab.yaml", slug, f"labs/{slug}/lab.yaml")) for slug in slugs]
    begin(run, replace(run_record([entry_of(lab) for lab in labs]), **fields))
    for compiled in labs:
        folder = layout.lab_folder(run, compiled.lab.slug)
        folder.mkdir(parents=True)
        (folder / layout.LAB).write_text(compiled.lab.text)
        (folder / layout.COMPILED).write_text(lab_json(stored(compiled)))
        for plan in compiled.plans:
            carried_out(run, plan, {"probe": 0 if plan.variant == "experiment" else 1})
    return run
