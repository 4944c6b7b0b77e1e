"""The last line of a run: what was judged, skipped and broken, always all three."""

from __future__ import annotations

import io

import pytest
from labrun.cli.terminal import counted, print_summary
from labrun.judge.results import Evaluation, HypothesisResult, LabResult, RunResult, Subject


def lab(*verdicts: str, status: str = "done") -> LabResult:
    trace = Evaluation("", Subject("x"), True, "equals", "1", "1")
    hypotheses = tuple(
        HypothesisResult("h", "c", "supported", verdict, verdict == "supported", "r", "m", 1, trace) for verdict in verdicts
    )  # fmt: skip
    return LabResult("l", "t", "f", status, hypotheses, (), "missing-tool", "no such tool")


@pytest.mark.parametrize(
    ("labs", "last"),
    [
        ((lab("supported"),), "1 hypothesis judged (1 supported), 0 labs skipped, 0 broken. All as expected."),
        ((lab("supported"), lab(status="skipped")), "1 hypothesis judged (1 supported), 1 lab skipped, 0 broken. All that was judged is as expected."),
        ((lab(status="skipped"),), "0 hypotheses judged, 1 lab skipped, 0 broken. Nothing was judged."),
        ((lab("supported", "refuted"),), "2 hypotheses judged (1 supported, 1 refuted), 0 labs skipped, 0 broken. 1 not as expected."),
        ((lab("supported", "inconclusive"),), "2 hypotheses judged (1 supported, 1 inconclusive), 0 labs skipped, 0 broken. 1 not decided."),
        ((lab(),), "0 hypotheses judged, 0 labs skipped, 0 broken. Nothing was claimed."),
        ((lab(), lab(status="error")), "0 hypotheses judged, 0 labs skipped, 1 broken. Not all ran."),
        ((lab(), lab("supported")), "1 hypothesis judged (1 supported), 0 labs skipped, 0 broken. All as expected."),
        ((lab("supported"), lab(status="error")), "1 hypothesis judged (1 supported), 0 labs skipped, 1 broken. Not all was judged."),
    ],
)  # fmt: skip
def test_the_last_line(labs: tuple[LabResult, ...], last: str) -> None:
    stream = io.StringIO()
    print_summary(RunResult({}, labs), stream)
    assert stream.getvalue().rstrip("\n").split("\n")[-1] == last


def test_one_and_many() -> None:
    assert [counted(1, "hypothesis"), counted(2, "hypothesis"), counted(0, "lab")] == [
        "1 hypothesis",
        "2 hypotheses",
        "0 labs",
    ]
