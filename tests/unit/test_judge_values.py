"""Values that steps saved: put into predictions with their types, and unknown where nobody saved them."""

from __future__ import annotations

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.observe.packets import scan_ahead
from labrun.observe.values import bound
from labrun.protocol.plan import Plan
from labrun.protocol.state import NeighbourState, NodeState
from support.evidence_builder import Evidence, Seen, icmp, prediction

PREFIX = "labs/lab/experiment/"


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def judge(evidence, predicted):
    return evaluate(prediction(predicted), evidence.read(), PREFIX)


@pytest.mark.parametrize(
    ("saved", "check", "truth"),
    [
        ("10.0.0.2", "${x}", True),
        ("10.0.0.3", "${x}", False),
        ("0.0.2", {"contains": "${x}"}, True),
        ("9", {"contains": "${x}"}, False),
        ("9", {"lacks": "${x}"}, True),
        ("10", {"lacks": "${x}"}, False),
        ("^10\\.", {"matches": "${x}"}, True),
        ("^11\\.", {"matches": "${x}"}, False),
        ("10.0.0.2", {"one_of": ["a", "${x}"]}, True),
        ("b", {"one_of": ["a", "${x}"]}, False),
        ("${y}", "${x}", False),  # a saved text is a text, whatever it looks like
    ],
)
def test_a_saved_text(evidence, saved, check, truth):
    evidence.run("save", saved={"x": saved}).run("probe", b"10.0.0.2\n")
    assert judge(evidence.done(), {"command": "probe", "stdout": check}).truth is truth


@pytest.mark.parametrize(
    ("saved", "check", "truth"),
    [
        (3, "${x}", True),
        (4, "${x}", False),
        (3.0, "${x}", True),
        (3, {"ge": "${x}"}, True),
        (4, {"ge": "${x}"}, False),
        (2.5, {"gt": "${x}"}, True),
        (3, {"one_of": [1, "${x}"]}, True),
        ("3", {"ge": "${x}"}, None),  # text is in no order with a number
    ],
)
def test_a_saved_number(evidence, saved, check, truth):
    trace = judge(
        evidence.run("save", saved={"x": saved}).run("probe", exit=3).done(), {"command": "probe", "exit": check}
    )
    assert (trace.truth, trace.reason) == (truth, "type-mismatch" if truth is None else None)


def test_both_sides_show_the_value_and_not_its_name(evidence):
    trace = judge(
        evidence.run("save", saved={"x": 3}).run("probe", exit=4).done(), {"command": "probe", "exit": "${x}"}
    )
    assert (trace.expected, trace.actual) == ("3", "4")
    assert sentence(trace).startswith("exit of probe == 3, actual 4 (")


def test_in_where_each_fields_and_counts(evidence):
    entry = NeighbourState("eth0", "inet", "10.0.0.2", "STALE")
    evidence.run("save", saved={"addr": "10.0.0.2", "n": 1, "bad": "FAILED"})
    evidence.capture("seen", "lo", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo",), Seen(30, icmp())).capture_ended("seen", 1, during=(0, 1000))
    variant = evidence.snapshot("state", {"host": NodeState(neighbours=(entry,))}).done().read()

    def truth(predicted):
        return evaluate(prediction(predicted), variant, PREFIX).truth

    at = {"at": "state", "where": {"address": "${addr}"}}
    assert truth({"neighbours": at, "count": "${n}"}) is True
    assert truth({"neighbours": at, "each": {"state": "${bad}"}}) is False
    packets = {"on": "host.lo", "fields": {"ip.dst": "${addr}"}}
    assert truth({"packets": packets, "count": "${n}"}) is True
    assert truth({"packets": packets, "count": {"gt": "${n}"}}) is False
    assert truth({"expr": "v == 1", "let": {"v": {"neighbours": at}}}) is True
    wrong = {"address": "${bad}"}
    assert truth({"expr": "v == 1", "let": {"v": {"neighbours": {**at, "where": wrong}}}}) is False


def test_a_value_that_no_step_saved_is_unknown(evidence):
    trace = judge(evidence.run("probe").done(), {"command": "probe", "exit": "${x}"})
    assert (trace.truth, trace.reason) == (None, "evidence-missing")
    assert (str(trace.subject), sentence(trace)) == ("value x", "the value 'x' is not in the evidence")


def test_why_it_was_not_saved(evidence):
    evidence.run("probe").run("save", status="failed", message="save x: nothing in stdout matches 'y'")
    trace = judge(evidence.done(), {"command": "probe", "exit": "${x}"})
    assert (trace.truth, trace.reason) == (None, "step-failed")
    assert sentence(trace) == (
        "the value 'x' was not observed: step 'save' failed: save x: nothing in stdout matches 'y'"
    )


def test_only_the_leaf_that_needs_it_is_unknown(evidence):
    trace = judge(evidence.run("probe", exit=1).done(), {"all": [{"command": "probe", "exit": "${x}"},
                                                                 {"command": "probe", "exit": 0}]})  # fmt: skip
    assert [child.truth for child in trace.children] == [None, False]
    assert trace.truth is False


def test_the_last_step_that_saves_wins(evidence):
    evidence.run("one", saved={"x": 1}).run("two", saved={"x": 2}).run("probe", exit=2)
    assert judge(evidence.done(), {"command": "probe", "exit": "${x}"}).truth is True


def test_parameters_are_values_too(evidence):
    variant = evidence.run("save", saved={"y": 2}).done().read()
    plan = Plan("lab", "experiment", (), ("host",), values=(("x", "1500"), ("y", "1")))
    object.__setattr__(variant, "plan", plan)
    assert variant.values() == {"x": "1500", "y": 2}


@pytest.mark.parametrize(
    ("saved", "fields"),
    [
        ("not an address", {"ip.dst": "${x}"}),
        ("[", {"frame.interface_name": {"matches": "${x}"}}),
        ("1", {"ip.ttl": "${x}"}),
    ],
)
def test_a_value_that_a_field_can_never_have_is_unknown_and_breaks_nothing(evidence, saved, fields):
    evidence.run("save", saved={"x": saved}).capture("seen", "lo", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo",), Seen(30, icmp())).capture_ended("seen", 1, during=(0, 1000))
    variant = evidence.done().read()
    asked = prediction({"packets": {"on": "host.lo", "fields": fields}, "count": 0})
    scan_ahead(variant, (asked, asked), PREFIX)
    trace = evaluate(asked, variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, "type-mismatch")
    assert sentence(trace).startswith("fields: ")


def test_nothing_else_of_a_leaf_changes():
    leaf = prediction(
        {"packets": {"on": "host.lo", "during": "a", "match": "icmp", "fields": {"ip.ttl": 3}}, "count": 1}
    )
    assert bound(leaf, {"x": 1}) == leaf
    assert bound(prediction({"command": "a", "stdout": "$x ${X} {x}"}), {}).stdout.equals == "$x ${X} {x}"
    assert bound(prediction({"command": "a", "exit": "${x}"}), {}) == "x"
