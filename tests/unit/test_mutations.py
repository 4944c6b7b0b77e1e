"""Changed evidence never turns a firm verdict into the other: the short form of bench/mutate_evidence.py."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

from support.small import small_run

ROUNDS = 600
_spec = importlib.util.spec_from_file_location("mutate", Path(__file__).parents[2] / "bench/mutate_evidence.py")
assert _spec is not None and _spec.loader is not None
mutate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutate)


def test_no_mutation_of_closed_evidence_flips_a_verdict(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    assert mutate.verdicts(mutate.judged(run, "small")) == {"holds": "supported", "not": "refuted"}
    counts, flips = mutate.tried(run, ROUNDS, random.Random(7))
    assert flips == []
    assert sum(counts.values()) == ROUNDS and counts["inconclusive"] > ROUNDS / 2, counts
