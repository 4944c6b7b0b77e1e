"""What the kernel said to a typed change, judged on recorded evidence."""

from __future__ import annotations

import pytest
from labrun.evidence.ref import Ref
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.protocol.events import ChangeResult, SendResult
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"


def judge(evidence, errno):
    return evaluate(prediction({"change": "again", "errno": errno}), evidence.read(), PREFIX)


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


@pytest.mark.parametrize(
    ("said", "check", "truth"),
    [
        ("EEXIST", "EEXIST", True),
        ("EEXIST", "EPERM", False),
        ("EEXIST", "none", False),
        (None, "none", True),
        (None, "EEXIST", False),
        ("EEXIST", {"one_of": ["EPERM", "EEXIST"]}, True),
        ("EINVAL", {"matches": "^E", "lacks": "EXIST"}, True),
        ("EINVAL", {"matches": "^E", "lacks": "VAL"}, False),
        (None, {"lacks": "E"}, True),
    ],
)
def test_errno(evidence, said, check, truth):
    trace = judge(evidence.change("again", said).done(), check)
    assert trace.truth is truth
    assert trace.reason is None


def test_the_trace_shows_both_sides_and_the_event(evidence):
    trace = judge(evidence.change("again", "EEXIST").done(), "none")
    assert (trace.path, str(trace.subject), trace.expected, trace.actual) == (
        "errno.equals", "errno of again", '"none"', '"EEXIST"',
    )  # fmt: skip
    assert trace.refs == (Ref(PREFIX + "events.jsonl", line=3),)
    assert sentence(trace) == f'errno of again == "none", actual "EEXIST" ({PREFIX}events.jsonl:3)'


UNKNOWN = {
    "failed": (lambda e: e.change("again", status="failed", message="EPERM: no", result=None).done(),
               "step-failed", "step 'again' failed: EPERM: no", 3),
    "timeout": (lambda e: e.change("again", status="timeout", message="not operational", result=None).done(),
                "timeout", "step 'again': not operational", 3),
    "a result of a step that failed": (
        lambda e: e.change("again", status="failed", message="x", result=ChangeResult("EEXIST")).done(),
        "step-failed", "step 'again' failed: x", 3),
    "not run": (lambda e: e.run("first", status="timeout", message="10 s").change("again", started=False).done(),
                "timeout", "the end of step 'again' was not observed: step 'first': 10 s", None),
    "not ended": (lambda e: e.change("again", ended=False).fault("sandbox-died", "killed"),
                  "sandbox-died", "the end of step 'again' was not observed: killed", 2),
    "not there": (lambda e: e.run("other").done(), "evidence-missing", "the end of step 'again' is not in the evidence",
                  None),
    "no change": (lambda e: e.change("again", result=SendResult(1, "IP")).done(),
                  "evidence-missing", "the end of step 'again' is not in the evidence", 3),
    "no result": (lambda e: e.change("again", result=None).done(),
                  "evidence-missing", "the end of step 'again' is not in the evidence", 3),
}  # fmt: skip


@pytest.mark.parametrize(("build", "reason", "message", "line"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown(evidence, build, reason, message, line):
    trace = judge(build(evidence), {"matches": "E", "lacks": "X"})
    assert (trace.truth, trace.reason) == (None, reason)
    assert [one.path for one in trace.leaves()] == ["errno.lacks", "errno.matches"]
    for one in trace.leaves():
        assert (str(one.subject), one.truth, one.reason, sentence(one)) == ("errno of again", None, reason, message)
        assert one.actual is None
        assert one.expected in ('"X"', '"E"')
        assert one.refs == (() if line is None else (Ref(PREFIX + "events.jsonl", line=line),))
