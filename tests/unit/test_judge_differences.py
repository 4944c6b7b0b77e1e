"""What changed between two snapshots: added and removed, true, false and unknown."""

from __future__ import annotations

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.protocol.state import LinkState, NodeState, RouteState
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def route(to, metric=0, dev="eth0"):
    return RouteState("inet", "main", to, "unicast", "boot", "link", dev=dev, metric=metric)


def routes(*items):
    return {"host": NodeState(routes=items)}


def judge(evidence, before, after, **asked):
    where = {"where": asked.pop("where")} if "where" in asked else {}
    predicted = {"changes": {"from": "before", "to": "after", "of": "routes", **where}, **asked}
    variant = evidence.snapshot("before", before).snapshot("after", after).done().read()
    return evaluate(prediction(predicted), variant, PREFIX)


A, B, C = route("10.1.0.0/24"), route("10.2.0.0/24"), route("10.3.0.0/24")


@pytest.mark.parametrize(
    ("before", "after", "added", "removed"),
    [
        ((), (), 0, 0),
        ((A,), (A,), 0, 0),
        ((), (A, B), 2, 0),
        ((A, B), (), 0, 2),
        ((A, B), (B, A), 0, 0),  # another order is no change
        ((A, B), (B, C), 1, 1),
        ((A,), (route("10.1.0.0/24", metric=5),), 1, 1),  # one that changed
        ((A,), (A, A), 1, 0),  # two equal objects are two
        ((A, A), (A,), 0, 1),
    ],
)
def test_what_was_added_and_removed(tmp_path, before, after, added, removed):
    def truth(name, **asked):
        return judge(Evidence(tmp_path / name), routes(*before), routes(*after), **asked).truth

    assert truth("added", added=added) is True
    assert truth("removed", removed=removed) is True
    assert truth("not-added", added=added + 1) is False
    assert truth("not-removed", removed={"gt": removed}) is False
    assert truth("both", added=added, removed=removed) is True
    assert truth("one-wrong", added=added, removed=removed + 1) is False


def test_only_those_that_pass_where_are_compared(evidence):
    trace = judge(evidence, routes(A), routes(A, B, C), where={"dst": "10.2.0.0/24"}, added=1)
    assert trace.truth is True
    assert str(trace.subject) == 'routes of host from before to after where dst == "10.2.0.0/24": added'


def test_what_leaves_where_counts_as_removed(evidence):
    trace = judge(evidence, routes(A), routes(route("10.1.0.0/24", metric=9)), where={"metric": 0}, removed=1, added=0)
    assert trace.truth is True


def test_the_evidence_is_the_objects_that_differ(evidence):
    trace = judge(evidence, routes(A, B), routes(B, C), added=1, removed=0)
    added, removed = trace.children
    assert [str(ref) for ref in added.refs] == [f"{PREFIX}snapshots/after.json nodes.host.routes[1]"]
    assert [str(ref) for ref in removed.refs] == [f"{PREFIX}snapshots/before.json nodes.host.routes[0]"]
    assert (added.truth, removed.truth, trace.truth) == (True, False, False)
    assert sentence(removed).startswith("routes of host from before to after: removed == 0, actual 1 (")


def test_where_nothing_differs_both_snapshots_are_the_evidence(evidence):
    trace = judge(evidence, routes(A), routes(A), added={"ge": 1})
    assert (trace.truth, trace.actual) == (False, "0")
    assert [ref.file for ref in trace.refs] == [f"{PREFIX}snapshots/{name}.json" for name in ("before", "after")]


def test_no_more_than_ten_are_named(evidence):
    many = tuple(route(f"10.9.{number}.0/24") for number in range(30))
    trace = judge(evidence, routes(), routes(*many), added=30)
    assert (trace.truth, len(trace.refs)) == (True, 10)


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_part_that_could_not_be_read_is_unknown(evidence, side):
    closed = {"host": NodeState(unavailable={"routes": "EPERM"})}
    states = (closed, routes(A)) if side == "before" else (routes(A), closed)
    trace = judge(evidence, *states, added=0, removed=0)
    assert (trace.truth, trace.reason) == (None, "not-observable")
    assert [sentence(child) for child in trace.children] == ["routes of host: EPERM"] * 2


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_snapshot_that_never_arrived_is_unknown(evidence, side):
    for name in ("before", "after"):
        evidence.snapshot(name, routes(A), ship=name != side)
    variant = evidence.done().read()
    predicted = {"changes": {"from": "before", "to": "after", "of": "routes"}, "added": 0}
    trace = evaluate(prediction(predicted), variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, "evidence-missing")
    assert sentence(trace) == f"snapshot '{side}' is not in the evidence"


def test_a_snapshot_that_did_not_happen_because_a_step_failed(evidence):
    evidence.snapshot("before", routes(A)).run("cause", status="failed", message="no such command: x")
    variant = evidence.step("after", evidence._steps[0].action, node=None, started=False).done().read()
    predicted = {"changes": {"from": "before", "to": "after", "of": "routes"}, "removed": 0}
    trace = evaluate(prediction(predicted), variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, "step-failed")


def test_a_check_without_meaning_is_unknown(evidence):
    trace = judge(evidence, routes(A), routes(A), where={"metric": {"matches": "1"}}, added=0)
    assert (trace.truth, trace.reason) == (None, "type-mismatch")


def test_of_a_repeated_snapshot_the_first_moment_is_compared(evidence):
    up = NodeState(links=(LinkState(1, "lo", 65536, True, "UNKNOWN", ("UP",), "loopback"),))
    down = NodeState(links=(LinkState(1, "lo", 65536, False, "DOWN", (), "loopback"),))
    variant = evidence.series("before", [(1, down), (2, up)]).series("after", [(3, up), (4, down)]).done().read()
    predicted = {"changes": {"from": "before", "to": "after", "of": "links", "where": {"up": True}}, "added": 1}
    trace = evaluate(prediction(predicted), variant, PREFIX)
    assert (trace.truth, trace.refs[0].line) == (True, 1)


def test_of_several_nodes_one_is_compared(evidence):
    def two(a, b):
        return {"a": NodeState(routes=a), "b": NodeState(routes=b)}

    variant = evidence.snapshot("before", two((), ())).snapshot("after", two((A,), (A, B))).done().read()
    for node, count in (("a", 1), ("b", 2)):
        predicted = {"changes": {"from": "before", "to": "after", "of": "routes", "in": node}, "added": count}
        assert evaluate(prediction(predicted), variant, PREFIX).truth is True
