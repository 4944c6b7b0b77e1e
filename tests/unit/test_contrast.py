"""What else differs between an experiment and its control is said; what hides complaints is advised against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labrun.lab.check.advice import advice
from labrun.lab.load import parse_lab
from labrun.observe.contrast import contrast
from support.evidence_builder import Evidence


def variant(folder: Path, exit: int = 0, ms: float = 100, errno: str | None = None) -> Evidence:
    return Evidence(folder).run("probe", exit=exit, at=(20, 20 + ms)).change("typed", errno).done()


def test_other_ends_are_said(tmp_path: Path) -> None:
    one = variant(tmp_path / "one", ms=1500).read()
    other = variant(tmp_path / "two", exit=1, ms=10, errno="EEXIST").read()
    assert contrast(one, other) == (
        "step 'probe' ended with exit 1, in the experiment with exit 0",
        "step 'typed' ended with errno EEXIST, in the experiment with errno none",
    )
    assert contrast(one, one) == ()


def test_a_little_more_time_is_nothing(tmp_path: Path) -> None:
    assert contrast(variant(tmp_path / "one", ms=50).read(), variant(tmp_path / "two", ms=150).read()) == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [("a 2>/dev/null | wc -l", 1), ("a 2> /dev/null|grep x", 1), ("a 2>/dev/null || b", 0), ("a 2>/dev/null", 0), ("a | b 2>/dev/null", 0)],
)  # fmt: skip
def test_hidden_complaints_are_advised_against(tmp_path: Path, line: str, told: int) -> None:
    lab = {"title": "t", "question": "q", "topology": {"nodes": {"a": {}}}, "steps": [{"id": "s", "run": line}],
           "hypotheses": [{"id": "h", "claim": "c", "predict": {"command": "s", "exit": 0}}]}  # fmt: skip
    assert len(list(advice(parse_lab(json.dumps(lab), tmp_path / "lab.yaml", "x", "lab.yaml")))) == told
