"""What the kernel answered to a lookup: its route field by field, or its refusal. True, false and unknown."""

from __future__ import annotations

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.protocol.events import LookupResult
from labrun.protocol.state import RouteState
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"
FOUND = LookupResult(RouteState("inet", "main", "10.2.0.2", "unicast", "boot", "link", dev="eth0", gateway="10.1.0.1"))
FOUND6 = LookupResult(RouteState("inet6", "main", "fd00::1", "unicast", "boot", "link", dev="eth0"))
REFUSED = LookupResult(None, "ENETUNREACH", "Network is unreachable")


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def judge(evidence, **asked):
    return evaluate(prediction({"lookup": "asked", **asked}), evidence.read(), PREFIX)


@pytest.mark.parametrize(
    ("answer", "asked", "truth"),
    [
        (FOUND, {"route": {"dev": "eth0"}}, True),
        (FOUND, {"route": {"dev": "eth1"}}, False),
        (FOUND, {"route": {"dev": "eth0", "gateway": "10.1.0.1"}}, True),
        (FOUND, {"route": {"dev": "eth0", "gateway": "10.1.0.9"}}, False),
        (FOUND, {"route": {"gateway": {"matches": "^10"}}}, True),
        (FOUND6, {"route": {"metric": {"ge": 1}}}, False),  # it has none
        (FOUND6, {"route": {"protocol": "boot", "scope": "link"}}, True),
        (FOUND, {"errno": "none"}, True),
        (FOUND, {"errno": "ENETUNREACH"}, False),
        (FOUND, {"errno": "none", "route": {"dev": "eth0"}}, True),
        (REFUSED, {"errno": "ENETUNREACH"}, True),
        (REFUSED, {"errno": {"one_of": ["EHOSTUNREACH", "ENETUNREACH"]}}, True),
        (REFUSED, {"errno": "none"}, False),
        (REFUSED, {"route": {"dev": "eth0"}}, False),
        (REFUSED, {"errno": "ENETUNREACH", "route": {"dev": "eth0"}}, False),
    ],
)
def test_the_answer(evidence, answer, asked, truth):
    trace = judge(evidence.lookup("asked", answer).done(), **asked)
    assert (trace.truth, trace.reason) == (truth, None)
    assert all(str(ref) == f"{PREFIX}events.jsonl:3" for leaf in trace.leaves() for ref in leaf.refs)


@pytest.mark.parametrize("field", ["protocol", "scope", "metric", "nhid", "flags", "pref", "dst", "source", "tos"])
@pytest.mark.parametrize("value", ["boot", "global", {"lacks": "x"}])
def test_what_an_ipv4_answer_does_not_tell_of_the_route(evidence, field, value):
    """The kernel says unspec, global and nothing there, whatever the route has."""
    trace = judge(evidence.lookup("asked", FOUND).done(), route={field: value})
    assert (trace.truth, trace.reason) == (None, "not-observable")


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("metric", "the kernel does not tell it of the route that it found: look at the routes of a snapshot"),
        ("dst", "the kernel repeats what was asked for"),
    ],
)
def test_what_is_not_told_says_why_and_hides_nothing_else(evidence, field, why):
    evidence.lookup("asked", FOUND).done()
    errno, dev, hidden = judge(evidence, errno="none", route={"dev": "eth1", field: {"lacks": "x"}}).leaves()
    assert (errno.truth, dev.truth, hidden.truth) == (True, False, None)
    assert hidden.note == f"route of asked: {field}: {why}"
    assert (hidden.path, str(hidden.subject)) == (f"route.{field}.lacks", f"route of asked: {field}")
    assert [str(ref) for ref in hidden.refs] == [f"{PREFIX}events.jsonl:3"]


def test_no_route_says_what_the_kernel_said(evidence):
    trace = judge(evidence.lookup("asked", REFUSED).done(), route={"dev": "eth0"})
    assert trace.note == "the kernel has no route (ENETUNREACH: Network is unreachable)"
    assert (trace.expected, trace.actual) == ('"eth0"', "no route")


def test_both_sides_are_told(evidence):
    trace = judge(evidence.lookup("asked", FOUND).done(), route={"dev": "eth1"})
    assert sentence(trace) == f'route of asked: dev == "eth1", actual "eth0" ({PREFIX}events.jsonl:3)'


def test_a_check_without_meaning_is_unknown(evidence):
    trace = judge(evidence.lookup("asked", FOUND).done(), route={"dev": {"ge": 3}})
    assert (trace.truth, trace.reason) == (None, "type-mismatch")


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda evidence: evidence.done(), "evidence-missing"),
        (lambda evidence: evidence.lookup("asked", None).done(), "evidence-missing"),
        (lambda evidence: evidence.lookup("asked", None, ended=False).fault("sandbox-died"), "sandbox-died"),
        (lambda evidence: evidence.lookup("asked", None, status="failed", message="no node").done(), "step-failed"),
        (lambda evidence: evidence.lookup("asked", None, status="timeout", message="10 s").done(), "timeout"),
        (lambda evidence: evidence.run("before", status="failed", message="x").done(), "step-failed"),
        (lambda evidence: evidence.run("asked").done(), "evidence-missing"),
    ],
)
def test_without_an_answer_nothing_is_known(evidence, build, reason):
    trace = judge(build(evidence), route={"dev": "eth0"}, errno="none")
    assert (trace.truth, trace.reason) == (None, reason)
    assert [leaf.truth for leaf in trace.leaves()] == [None, None]
    assert all(sentence(leaf) for leaf in trace.leaves())


@pytest.mark.parametrize("errno", ["EINVAL", "EHOSTUNREACH", "EACCES", "ENETUNREACH"])
@pytest.mark.parametrize("field", ["type", "dev"])
def test_a_refusal_that_names_no_route_leaves_its_type_unknown(evidence, errno, field):
    """A blackhole, an unreachable destination, or a question that makes no sense: the kernel does not say which."""
    evidence.lookup("asked", LookupResult(None, errno, "It cannot be")).done()
    trace = judge(evidence, errno=errno, route={field: "x"})
    named, asked = trace.leaves()
    assert named.truth is True
    if field == "type" or errno == "EINVAL":
        assert (asked.truth, asked.reason) == (None, "not-observable")
        assert asked.note == f"the kernel refuses ({errno}: It cannot be) and names no route: ask for errno"
        assert (asked.path, str(asked.subject)) == (f"route.{field}.equals", f"route of asked: {field}")
        assert (asked.operator, asked.expected, len(asked.refs)) == ("equals", '"x"', 1)
    else:
        assert asked.truth is False


def test_a_route_of_which_the_errno_is_none_is_looked_at(evidence):
    found = LookupResult(FOUND.route, "EINVAL")
    assert judge(evidence.lookup("asked", found).done(), route={"type": "unicast"}).truth is True


def test_a_refusal_without_words(evidence):
    trace = judge(evidence.lookup("asked", LookupResult(None, "EINVAL")).done(), route={"type": "local"})
    assert sentence(trace) == "the kernel refuses (EINVAL: ) and names no route: ask for errno"


def test_nothing_is_lost_of_several_fields(evidence):
    asked = {"errno": "EINVAL", "route": {"type": "x", "dev": "y", "gateway": "10.0.0.1"}}
    trace = judge(evidence.lookup("asked", LookupResult(None, "EINVAL", "x")).done(), **asked)
    assert [leaf.truth for leaf in trace.leaves()] == [True, None, None, None]
