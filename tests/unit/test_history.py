"""Several runs on one page: which verdicts changed, when, and what else was new; whatever is in a results.json."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labrun.judge.results import results_json
from labrun.report.history import MOST_RUNS, History, NoResults, history, past
from labrun.report.html import render_history
from support.recorded import ATTACK, ATTACKS, recorded_run


def results(day: int, *verdicts: str, lab: str = "a", status: str = "done", **facts: Any) -> dict[str, Any]:
    """A lab whose hypotheses h1, h2, ... came to these; `!` after one: not as expected."""
    return {
        "run": {"id": f"run-{day}", "started": f"2026-01-{day:02}T00:00:00+00:00", "labrun": "1", **facts},
        "labs": [{
            "id": lab, "status": status, "message": "not here: ping",
            "hypotheses": [
                {"id": f"h{n}", "claim": f"Claim {n}.", "verdict": word.rstrip("!"), "as_expected": "!" not in word,
                 "reason": "why"} for n, word in enumerate(verdicts, start=1)
            ],
            "unjudged": [] if verdicts else ["h1"],
        }],
    }  # fmt: skip


def of(*values: dict[str, Any]) -> History:
    return history(past(value) for value in values)


def told(found: History) -> list[tuple[str, str, str, str]]:
    return [(turn.hypothesis, turn.run.id, turn.before.state, turn.after.state) for turn in found.turns]


def test_a_change_is_told_once_with_what_was_new() -> None:
    runs = [results(1, "supported", "refuted", kernel="6.1"), results(2, "supported", "refuted", kernel="6.1"),
            results(3, "refuted!", "refuted", kernel="6.12", labrun="2"), results(4, "refuted!", "refuted", kernel="6.12", labrun="2")]  # fmt: skip
    found = of(*reversed(runs), runs[0])  # in whatever order, and one of them twice
    assert told(found) == [("h1", "run-3", "supported", "refuted")]
    (turn,) = found.turns
    assert turn.news == ("labrun 1 → 2", "kernel 6.1 → 6.12") and turn.after.surprise
    assert [run.id for run in found.runs] == ["run-1", "run-2", "run-3", "run-4"]
    assert (found.claims, found.unsteady) == (2, 1)


@pytest.mark.parametrize(
    ("runs", "changes"),
    [
        ([results(1, "supported")], []),
        ([results(1, "supported"), results(2, "supported")], []),
        ([results(1, "supported"), results(2, "supported!")], [("h1", "run-2", "supported", "supported")]),
        ([results(1, "supported"), results(2, status="skipped")], [("h1", "run-2", "supported", "skipped")]),
        ([results(1, status="error"), results(2, "inconclusive")], [("h1", "run-2", "broke", "inconclusive")]),
        ([results(1, "supported"), results(2, "refuted", lab="b"), results(3, "supported")], []),
        ([results(1, "supported"), results(2, "refuted", lab="b"), results(3, "refuted")],
         [("h1", "run-3", "supported", "refuted")]),
    ],
)  # fmt: skip
def test_what_is_a_change(runs: list[dict[str, Any]], changes: list[tuple[str, str, str, str]]) -> None:
    assert told(of(*runs)) == changes


def test_commits_are_told_apart_from_changes_that_are_in_none() -> None:
    clean, dirty = ([{"commit": "a" * 40, "labs": ["a"], "changed": changed}] for changed in ([], ["a"]))
    (turn,) = of(results(1, "supported", checkouts=clean), results(2, "refuted", checkouts=dirty)).turns
    assert turn.news == ("labs' commit aaaaaaaaaaaa → aaaaaaaaaaaa and changes",)


def test_the_real_results_of_a_run_are_read(tmp_path: Path) -> None:
    _, result = recorded_run(tmp_path)
    value = json.loads(json.dumps(results_json(result)))
    found = of(value)
    assert found.claims == 6 and {cell.outcome.state for g in found.groups for r in g.rows for cell in r.cells if cell.outcome} == {
        "supported", "refuted", "inconclusive", "skipped",
    }  # fmt: skip


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "no run": lambda value: value.pop("run"),
    "labs that are none": lambda value: value.update(labs={"a": 1}),
    "a lab that is none": lambda value: value.update(labs=[1]),
    "a verdict that is none": lambda value: value["labs"][0]["hypotheses"][0].update(verdict="yes"),
    "a verdict of another type": lambda value: value["labs"][0]["hypotheses"][0].update(verdict=["supported"]),
    "expected in words": lambda value: value["labs"][0]["hypotheses"][0].update(as_expected="no"),
    "no id": lambda value: value["labs"][0].pop("id"),
    "a start that is a number": lambda value: value["run"].update(started=7),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_results_is_refused(kind: str) -> None:
    value = results(1, "supported")
    WRONG[kind](value)
    with pytest.raises(NoResults):
        past(value)
    with pytest.raises(NoResults):
        past([value])


def test_hostile_text_makes_no_elements() -> None:
    value = results(1, "supported", kernel=ATTACK, checkouts=[{"commit": ATTACK}], id=ATTACK)
    value["labs"][0].update(id=ATTACK)
    value["labs"][0]["hypotheses"][0].update(claim=ATTACK, reason=ATTACK, id=ATTACK)
    other = json.loads(json.dumps(value))
    other["labs"][0]["hypotheses"][0].update(verdict="refuted")
    other["run"].update(id="b", kernel="x")
    page = render_history(of(value, other))
    for attack in ATTACKS:
        assert attack not in page or "<" not in attack
    assert "<script" not in page and "\u202e" not in page and " onclick=" not in page.replace("&#34; onclick=", "")


def test_many_runs_and_claims_stay_one_page() -> None:
    many = [results(1, *["supported"] * 6000)]
    found = of(*(results(1 + day % 28, "supported", id=f"r{day}") for day in range(100)), *many)
    assert (
        len(found.shown) == MOST_RUNS
        and found.cut is not None
        and "61 runs" in found.cut
        and "1000 claims" in found.cut
    )
    assert len(render_history(found)) < 20_000_000


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    for day, verdict in ((1, "supported"), (2, "refuted!")):
        run = tmp_path / "reports" / f"2026010{day}-000000-aaaa"
        run.mkdir(parents=True)
        (run / "results.json").write_text(json.dumps(results(day, verdict)))
        (run / "index.html").write_text("<!doctype html>")
    (tmp_path / "reports" / "20260103-000000-aaaa").mkdir()
    (tmp_path / "reports" / "20260103-000000-aaaa" / "results.json").write_text("{}")

    def labrun(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "labrun", "history", *words], cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = labrun()
    assert (code, out) == (0, "2 runs, 1 claim: 1 verdict changed\nreports/history.html\n")
    assert "left out: reports/20260103-000000-aaaa/results.json: not the results of a run" in err
    page = (tmp_path / "reports" / "history.html").read_text()
    assert 'href="20260102-000000-aaaa/index.html#lab-a-h-h1"' in page and str(tmp_path) not in page
    code, out, _ = labrun("20260101-000000-aaaa", "reports/20260102-000000-aaaa/results.json", "--page", "p.html")
    assert (code, (tmp_path / "p.html").is_file()) == (0, True)
    assert 'href="reports/20260102-000000-aaaa/index.html#' in (tmp_path / "p.html").read_text()
    assert labrun("20260103-000000-aaaa")[0] == 2
    assert labrun("nowhere")[0] == 2
