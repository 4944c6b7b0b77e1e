"""Files by people who do not know the language, or mean ill: `check` refuses them in words, in bounded time and space."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from labrun.judge.evaluate import evaluate
from labrun.lab.load import load_lab
from labrun.lab.problems import LabError, Problem
from support.evidence_builder import Evidence, prediction

ROOT = Path(__file__).parents[2]


def test_mutated_labs_are_accepted_or_refused(tmp_path: Path) -> None:
    """A short form of bench/fuzz_labs.py."""
    spec = importlib.util.spec_from_file_location("fuzz_labs", ROOT / "bench/fuzz_labs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_labs"] = module
    spec.loader.exec_module(module)
    count, failures = module.fuzz(300, 2, tmp_path)
    assert not failures and count["ok"] > 10 and count["refused"] > 100


def lab(hypotheses: str) -> str:
    return f"title: t\nquestion: q\ntopology: {{nodes: {{a: {{}}}}}}\nsteps:\n  - {{id: v, run: 'true'}}\nhypotheses:\n{hypotheses}"


ONE = "  - {{id: h{}, claim: x, predict: {}, control: {{none: x}}}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lab(ONE.format(1, "{command: v, stdout: {matches: '" + "(" * 3000 + "a" + ")" * 3000 + "'}}")), "too many groups"),
        (lab(ONE.format(1, "{command: v, stdout: {matches: 'a{4294967295}'}}")), "the repetition number is too large"),
        (lab(ONE.format(1, '{command: v, stdout: {"a\\n::error::x": 1}}')), "unknown key 'a␊::error::x'"),
        (lab(ONE.format(1, '{command: v, stdout: {"a\\r::error::x": 1}}')), "unknown key 'a␍::error::x'"),
        (lab(ONE.format(1, "{command: v, stdout: {? " + "k" * 400_000 + " : 1}}")), "unknown key 'kkk"),
        (lab("".join(ONE.format(i, "{command: v, exot: 0}") for i in range(300))), "more problems"),
    ],
    ids=["groups", "repetition", "line feed", "carriage return", "long key", "many"],
)  # fmt: skip
def test_what_is_refused_is_said_in_bounded_words(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    path = tmp_path / "x" / "lab.yaml"
    path.write_text(text)
    with pytest.raises(LabError) as refused:
        load_lab(path)
    assert said in str(refused.value) and len(str(refused.value)) < 120_000
    assert all(
        line.startswith((str(path), "x/", "and ", "/")) or "lab.yaml:" in line
        for line in str(refused.value).split("\n")
    )


def test_a_problem_is_one_line() -> None:
    assert str(Problem("a\nb", 1, 2, "x\n::error::y\r\u2028z")) == "a␊b:1:2: x␊::error::y␍\\u2028z"


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "(a|aa|aaa)+$", "(.|a)*x"])
def test_a_pattern_that_has_ever_more_ways_decides_nothing(pattern: str, tmp_path: Path) -> None:
    variant = Evidence(tmp_path / "experiment").run("probe", b"a" * 90 + b"b").done().read()
    for asked in ({"matches": pattern}, {"matches": "a"}):
        found = evaluate(prediction({"command": "probe", "stdout": asked}), variant, "")
        assert (found.truth, found.reason) in [(None, "pattern-too-slow"), (asked["matches"] == "a", None)]
