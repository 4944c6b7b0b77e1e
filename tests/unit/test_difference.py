"""What differs between two runs, and what differs between any two and is no difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from labrun.cli.sides import side_of
from labrun.evidence.files import EvidenceError
from labrun.finding.bundle import bundle
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, LabResult, Subject, results_text
from labrun.report.difference import Change, Side, difference, side
from labrun.report.difference_text import as_html, as_markdown, as_text
from labrun.report.results_side import side_of_results
from support.recorded import hostile_run, recorded_run


def leaf(
    actual: str | None = "1", truth: bool | None = True, expected: str = "1", reason: str | None = None
) -> Evaluation:
    return Evaluation(
        "count.equals", Subject("packets on host.lo", "", "count"), truth, "equals", expected, actual, reason
    )


CONTROL = ControlResult("h", "without step 'cause'", False, leaf("0", False))
H = HypothesisResult("h", "c", "supported", "supported", True, "as-predicted", "m", 1, leaf(), (CONTROL,))
LAB = LabResult("own", "t", "f", "done", (H,), ())
SIDE = Side("one", (LAB,), {"own": {"experiment": "aaa", "h": "bbb"}}, {"kernel": "6.1"})


def other(**changes: object) -> Side:
    return replace(SIDE, labs=(replace(LAB, hypotheses=(replace(H, **changes),)),))


WHAT = "packets on host.lo: count equals 1"
FOUND = [
    (replace(SIDE, labs=()), {"own": [Change("lab", "done", None, True)]}),
    (replace(SIDE, labs=(replace(LAB, hypotheses=()),)),
     {"own/h": [Change("verdict", "supported (as-predicted)", None, True)]}),
    (replace(SIDE, labs=(replace(LAB, status="error", reason="timeout"),)),
     {"own": [Change("lab", "done", "error (timeout)", True)]}),
    (other(verdict="refuted", reason="contradicted", trace=leaf("2", False)),
     {"own/h": [Change("verdict", "supported (as-predicted)", "refuted (contradicted)", True),
                Change(WHAT, "1, holds", "2, does not hold")]}),
    (other(reason="other"), {"own/h": [Change("verdict", "supported (as-predicted)", "supported (other)")]}),
    (other(expect="refuted"), {"own/h": [Change("expected", "supported", "refuted")]}),
    (other(trace=leaf(None, None, reason="timeout")),
     {"own/h": [Change(WHAT, "1, holds", "not observed [timeout], not known")]}),
    (other(trace=leaf(expected="3")),
     {"own/h": [Change(WHAT, "1, holds", None), Change("packets on host.lo: count equals 3", None, "1, holds")]}),
    (other(controls=()),
     {"own/h": [Change("in the control (without step 'cause'): prediction", "does not hold", None)]}),
    (other(controls=(replace(CONTROL, trace=leaf("5", False)),)),
     {"own/h": [Change(f"in the control (without step 'cause'): {WHAT}", "0, does not hold", "5, does not hold")]}),
    (replace(SIDE, plans={"own": {"experiment": "ccc", "h": "bbb"}}),
     {"own": [Change("what was done", "experiment aaa", "experiment ccc")]}),
    (replace(SIDE, plans={"own": {"experiment": "aaa", "h": "ccc"}}),
     {"own": [Change("what was done", "h bbb", "h ccc")]}),
]  # fmt: skip


@pytest.mark.parametrize(("after", "found"), FOUND)
def test_each_difference_is_found_in_both_directions(after: Side, found: dict[str, list[Change]]) -> None:
    got = difference(SIDE, after)
    assert {section.title: list(section.changes) for section in got.sections} == found
    assert got.decided == sum(change.decided for changes in found.values() for change in changes)
    back = difference(after, SIDE)
    turned = {(s.title, c.what): (c.after, c.before) for s in back.sections for c in s.changes}
    assert turned == {(s.title, c.what): (c.before, c.after) for s in got.sections for c in s.changes}


@pytest.mark.parametrize(
    ("one", "two"),
    [("0.101 s", "0.205 s"), ("127.0.0.1:40001", "127.0.0.1:50002"), ("pid 17", "pid 23")],
)
def test_what_differs_between_any_two_runs_is_no_difference(one: str, two: str) -> None:
    got = difference(other(trace=leaf(one)), other(trace=leaf(two)))
    assert (got.sections, got.same) == ((), 1)


def test_the_environment() -> None:
    got = difference(SIDE, replace(SIDE, facts={"kernel": "6.2", "package iproute2": "6.1-1"}))
    assert got.environment == (Change("kernel", "6.1", "6.2"), Change("package iproute2", None, "6.1-1"))
    assert (got.decided, got.same) == (0, 1)
    assert as_text(got).split("\n")[2:5] == [
        "what they ran on", "  kernel: 6.1 -> 6.2", "  package iproute2: (not there) -> 6.1-1"
    ]  # fmt: skip


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    one = side(run, result)
    assert one.facts["kernel"]
    assert any(name.startswith("package ") for name in one.facts)
    got = difference(one, one)
    assert (got.sections, got.environment, got.same) == ((), (), result.counts()["hypotheses"])
    assert as_text(got).endswith(" verdicts are the same, 0 differ; 0 other differences in what was done and observed.")


def test_nothing_that_a_lab_says_steers_a_terminal_or_leaves_its_cell(tmp_path: Path) -> None:
    run, result = hostile_run(tmp_path)
    one = side(run, result)
    got = difference(
        SIDE,
        replace(
            one, labs=(*one.labs, replace(LAB, hypotheses=(replace(H, trace=result.labs[0].hypotheses[0].trace),)))
        ),
    )
    assert got.decided and got.environment
    text = as_text(got)
    assert all(char == "\n" or char.isprintable() for char in text)
    rows = [line for line in as_markdown(got).split("\n") if line.startswith("| ")]
    assert rows and all(line.replace(r"\|", "").count("|") == 4 for line in rows)


def test_a_finding_and_its_results_are_sides_too(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    full = side(run, result)
    results = results_text(result).encode()
    brief = side_of_results(results, "results.json")
    assert brief.id == full.id and brief.brief
    for one, two in ((full, brief), (brief, full), (brief, brief)):
        found = difference(one, two)
        assert (found.sections, found.environment) == ((), ()), found
    changed = results_text(result).replace('"verdict": "supported"', '"verdict": "refuted"', 1)
    assert difference(full, side_of_results(changed.encode(), "r")).decided == 1
    (tmp_path / "r.json").write_bytes(results)
    bundle(run, tmp_path / "f.zip")
    sides = [side_of(path, tmp_path) for path in (run, tmp_path / "f.zip", tmp_path / "r.json")]
    assert [one.id for one in sides] == [full.id] * 3
    assert difference(sides[0], sides[1]).sections == ()


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"null", b'{"schema": 2}', b'{"schema": 1, "run": {"id": 1}, "labs": []}', b"\xff", b"[" * 99999,
     b'{"schema": 1, "run": {"id": "x"}, "labs": [{"id": "a", "title": "t", "file": "f", "status": "fine"}]}'],
)  # fmt: skip
def test_what_is_no_results_json_is_told(text: bytes) -> None:
    with pytest.raises(EvidenceError):
        side_of_results(text, "results.json")


def test_a_page_of_it_has_nothing_that_runs(tmp_path: Path) -> None:
    hostile = replace(SIDE, id='<script>x</script>"', facts={"kernel": "</td><img src=x onerror=y>"})
    page = as_html(difference(SIDE, hostile))
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page
    run, result = hostile_run(tmp_path)
    assert "<script" not in as_html(difference(SIDE, side(run, result)))
