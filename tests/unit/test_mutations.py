"""Changed evidence never turns a firm verdict into the other: the short form of bench/mutate_evidence.py."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

from labrun.conduct import begin, entry_of
from labrun.evidence import layout
from labrun.evidence.lab import lab_json, stored
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from support.labs import carried_out
from support.recorded import run_record

ROUNDS = 600
_spec = importlib.util.spec_from_file_location("mutate", Path(__file__).parents[2] / "bench/mutate_evidence.py")
assert _spec is not None and _spec.loader is not None
mutate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutate)

LAB = {
    "title": "A lab", "question": "Q", "topology": {"nodes": {"host": {}}},
    "steps": [{"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"}, {"id": "other", "run": "other"}],
    "hypotheses": [
        {"id": "holds", "claim": "C", "predict": {"command": "probe", "exit": 0}, "control": {"without": "cause"}},
        {"id": "not", "claim": "C", "predict": {"command": "other", "stdout": {"lacks": "a"}, "exit": 1}},
    ],
}  # fmt: skip


def test_no_mutation_of_closed_evidence_flips_a_verdict(tmp_path: Path) -> None:
    run = tmp_path / "run"
    compiled = compile_lab(parse_lab(json.dumps(LAB), tmp_path / "lab.yaml", "small", "labs/small/lab.yaml"))
    begin(run, run_record([entry_of(compiled)]))
    folder = layout.lab_folder(run, "small")
    folder.mkdir(parents=True)
    (folder / layout.LAB).write_text(compiled.lab.text)
    (folder / layout.COMPILED).write_text(lab_json(stored(compiled)))
    for plan in compiled.plans:
        carried_out(run, plan, {"probe": 0 if plan.variant == "experiment" else 1})
    assert mutate.verdicts(mutate.judged(run, "small")) == {"holds": "supported", "not": "refuted"}
    counts, flips = mutate.tried(run, ROUNDS, random.Random(7))
    assert flips == []
    assert sum(counts.values()) == ROUNDS and counts["inconclusive"] > ROUNDS / 2, counts
