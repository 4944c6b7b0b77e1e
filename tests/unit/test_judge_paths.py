"""The hooks that packets crossed, judged: path, ends, count and windows; and when a trace is not believed."""

from __future__ import annotations

import dataclasses

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.protocol.events import Unseen
from support.evidence_builder import MS, WALL_NS, Evidence, prediction
from support.traced import both, forwarded, lab, looped, own

PREFIX = "labs/lab/experiment/"
FILE = f"{PREFIX}traces/hooks.jsonl"
FORWARDED = ["prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1"]


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def at(ms, events):
    return [dataclasses.replace(event, wall_ns=WALL_NS + ms * MS) for event in events]


def recorded(evidence, *events, ended=None):
    """Traced from 0 to 10 ms on; steps one (20 to 30), two (40 to 50), three (60 to 70)."""
    evidence.trace("hooks", at=(0, 10))
    for name, begin in (("one", 20), ("two", 40), ("three", 60)):
        evidence.run(name, at=(begin, begin + 10))
    evidence.traced("hooks", *events)
    return evidence.trace_ended("hooks", **(ended or {"events": len(events)})).done()


def judge(evidence, during=None, where=None, **asked):
    selector = {"at": "hooks", **({"during": during} if during else {}), **({"where": where} if where else {})}
    return evaluate(prediction({"trace": selector, **asked}), evidence.read(), PREFIX)


DROPPED = [*both(1, "prerouting", 2), own(1, "input_enter", 2), lab(1, "input", "drop", comment="no pings")]
LOST = both(1, "prerouting", 2)


@pytest.mark.parametrize(
    ("events", "asked", "truth"),
    [
        (forwarded(1), {"path": FORWARDED}, True),
        (forwarded(1), {"path": ["prerouting", "forward", "postrouting"]}, True),
        (forwarded(1), {"path": FORWARDED[:2]}, False),
        (forwarded(1), {"path": ["prerouting@eth1", *FORWARDED[1:]]}, False),
        (forwarded(1), {"path": [*FORWARDED, "drop"]}, False),
        (forwarded(1), {"ends": "accept"}, True),
        (forwarded(1), {"ends": "drop"}, False),
        (forwarded(1), {"count": 1}, True),
        (forwarded(1), {"count": 2}, False),
        (forwarded(1), {"path": FORWARDED, "ends": "accept", "count": 1}, True),
        (forwarded(1), {"path": FORWARDED, "ends": "lost", "count": 1}, False),
        (DROPPED, {"path": ["prerouting@eth0", "input@eth0", "drop"]}, True),
        (DROPPED, {"path": ["prerouting@eth0", "input@eth0"]}, False),
        (DROPPED, {"ends": "drop"}, True),
        (DROPPED, {"ends": "lost"}, False),
        (LOST, {"ends": "lost"}, True),
        (LOST, {"ends": "accept"}, False),
        (LOST, {"path": ["prerouting@eth0"]}, True),
        (looped(1, 2), {"path": ["output@lo", "postrouting@lo", "prerouting@lo", "input@lo"]}, True),
        ([*forwarded(1), *forwarded(2)], {"path": FORWARDED, "count": 2}, True),
        ([*forwarded(1), *both(2, "prerouting", 2)], {"path": FORWARDED}, False),  # each of them
        ([*forwarded(1), *both(2, "prerouting", 2)], {"ends": "accept"}, False),
        ([], {"count": 0}, True),
        ([], {"count": {"ge": 1}}, False),
        ([], {"path": FORWARDED}, False),  # there is no packet that went so
        ([], {"ends": "drop"}, False),
    ],
)
def test_the_ways_decide(evidence, events, asked, truth):
    trace = judge(recorded(evidence, *events), **asked)
    assert (trace.truth, trace.reason) == (truth, None)
    assert all(leaf.refs and leaf.refs[0].file == FILE for leaf in trace.leaves())


def test_what_a_wrong_way_is_told_like(evidence):
    trace = judge(recorded(evidence, *forwarded(1), *DROPPED), path=FORWARDED)
    assert sentence(trace) == (
        "packets of trace hooks: path prerouting@eth0, forward@eth0>eth1, postrouting@eth1: "
        "icmp type 8 from 10.0.1.2 to 10.0.1.77: station 2 is input@eth0, expected forward@eth0>eth1"
    )
    assert trace.actual == 'prerouting@eth0, input@eth0 (dropped at input by inet filter input handle 4 ("no pings"))'
    assert [ref.line for ref in trace.refs] == [7]


def test_more_wrong_ways_are_counted(evidence):
    trace = judge(recorded(evidence, *both(1, "prerouting", 2), *both(2, "prerouting", 2)), ends="accept")
    assert sentence(trace).endswith("not seen again after prerouting (and 1 more packets)")
    assert [ref.line for ref in trace.refs] == [1, 3]


def test_what_a_right_way_is_told_like(evidence):
    trace = judge(recorded(evidence, *forwarded(1)), path=FORWARDED)
    ways = ", ".join(FORWARDED)
    assert sentence(trace) == f"packets of trace hooks: path {ways}: {ways} (accepted at postrouting)"
    assert (trace.expected, trace.actual) == (ways, f"{ways} (accepted at postrouting)")


def test_no_packet_is_told(evidence):
    trace = judge(recorded(evidence), ends="drop", during="one", where={"destination": "10.9.9.9"})
    assert sentence(trace) == (
        'packets of trace hooks during one with destination == "10.9.9.9": ends drop: no such packet was traced'
    )
    assert (trace.actual, trace.refs[0].line) == ("no packet", None)


WHERE = [
    ({"source": "10.0.1.2"}, True),
    ({"source": "10.0.1.3"}, False),
    ({"destination": {"matches": "^10\\.0\\.1\\.77$"}}, True),
    ({"protocol": "icmp"}, True),
    ({"protocol": "tcp"}, False),
    ({"icmp_type": 8, "icmp_code": 0}, True),
    ({"icmp_type": {"one_of": [0, 3]}}, False),
    ({"ttl": 64}, True),
    ({"ttl": {"lt": 64}}, False),
    ({"dport": 80}, False),  # it has no port
    ({"protocol": {"lacks": "udp"}}, True),
]


@pytest.mark.parametrize(("where", "found"), WHERE)
def test_where_asks_the_first_headers(evidence, where, found):
    assert judge(recorded(evidence, *forwarded(1)), where=where, count=1).truth is found


def test_a_where_without_meaning_is_unknown(evidence):
    trace = judge(recorded(evidence, *forwarded(1)), where={"source": {"ge": 3}}, count=0)
    assert (trace.truth, trace.reason) == (None, "type-mismatch")
    assert sentence(trace) == "where: a check does not fit what packets have"
    assert str(trace.subject) == "packets of trace hooks with source >= 3: count"


def test_the_subject_says_what_was_looked_at(evidence):
    during, where = {"from": "one", "to": "two"}, {"sport": {"one_of": [1, 2]}, "ttl": 64}
    trace = judge(recorded(evidence, *forwarded(1)), during=during, where=where, count=0)
    assert str(trace.subject) == "packets of trace hooks from one to two with sport one_of [1, 2] with ttl == 64: count"


@pytest.mark.parametrize(
    ("ms", "during", "inside"),
    [
        (19, "one", False),
        (20, "one", True),  # from its start
        (30, "one", True),
        (39, "one", True),  # read after it ended, and before the next step began: it belongs to it
        (40, "one", False),
        (40, "two", True),
        (39, "two", False),
        (40, {"from": "one", "to": "two"}, True),
        (59, {"from": "one", "to": "two"}, True),
        (60, {"from": "one", "to": "two"}, False),
        (10_000, "three", True),  # no step comes after it
        (5, None, True),
    ],
)
def test_the_borders_of_a_window(evidence, ms, during, inside):
    assert judge(recorded(evidence, *at(ms, forwarded(1))), during=during, count=1).truth is inside


def test_each_packet_belongs_to_its_own_window(evidence):
    variant = recorded(evidence, *at(25, forwarded(1)), *at(45, DROPPED)).read()

    def truth(during, **asked):
        return evaluate(prediction({"trace": {"at": "hooks", "during": during}, **asked}), variant, PREFIX).truth

    assert truth("one", ends="accept", count=1) is True
    assert truth("two", ends="drop", count=1) is True
    assert truth("three", count=0) is True


ENTERED = [*both(1, "prerouting", 2), own(1, "input_enter", 2)]
CHAIN, RULE = (Unseen("the chain netdev lab early at ingress"),), (Unseen("a rule of the chain ip lab input"),)


@pytest.mark.parametrize(
    ("events", "unseen", "asked", "truth"),
    [
        # It entered a hook and was not seen again: iptables-legacy and others do not report.
        (ENTERED, {}, {"path": ["prerouting", "input", "drop"]}, None),
        (ENTERED, {}, {"path": ["prerouting", "input"]}, None),
        (ENTERED, {}, {"ends": "drop"}, None),
        (ENTERED, {}, {"ends": "lost"}, None),
        (ENTERED, {}, {"ends": "accept"}, None),
        (ENTERED, {}, {"path": ["prerouting", "forward", "drop"]}, False),
        (ENTERED, {}, {"path": ["prerouting", "drop"]}, False),
        (ENTERED, {}, {"count": 1}, True),
        ([*ENTERED, *both(2, "prerouting", 2)], {}, {"path": ["prerouting", "input", "drop"]}, False),
        # A rule of the lab ends tracing: what was not seen again may have gone on.
        (LOST, {"silencers": RULE}, {"ends": "lost"}, None),
        (LOST, {"silencers": RULE}, {"path": ["prerouting"]}, None),
        (LOST, {"silencers": RULE}, {"path": FORWARDED}, None),
        (LOST, {"silencers": RULE}, {"path": ["prerouting@eth1"]}, False),
        (LOST, {"silencers": RULE}, {"path": ["output"]}, False),
        (LOST, {"silencers": RULE}, {"count": 1}, None),  # or the rest of another
        (LOST, {"silencers": RULE}, {"count": 2}, False),
        (forwarded(1), {"silencers": RULE}, {"path": FORWARDED, "ends": "accept", "count": 1}, True),
        (DROPPED, {"silencers": RULE}, {"path": ["prerouting", "input", "drop"], "ends": "drop", "count": 1}, True),
        # Something judges packets before the trace does.
        ([], {"blind": CHAIN}, {"count": 0}, None),
        ([], {"blind": CHAIN}, {"path": FORWARDED}, None),
        ([], {"blind": CHAIN}, {"ends": "drop"}, None),
        (forwarded(1), {"blind": CHAIN}, {"count": 1}, None),
        (forwarded(1), {"blind": CHAIN}, {"count": 0}, False),
        (forwarded(1), {"blind": CHAIN}, {"count": {"ge": 1}}, True),
        (forwarded(1), {"blind": CHAIN}, {"path": FORWARDED, "ends": "accept"}, True),
    ],
)
def test_what_may_happen_unseen_is_not_known(evidence, events, unseen, asked, truth):
    trace = judge(recorded(evidence, *events, ended={"events": len(events), **unseen}), **asked)
    assert (trace.truth, trace.reason) == (truth, "trace-blind" if truth is None else None)
    if truth is None and unseen:
        assert (unseen.get("blind") or unseen.get("silencers"))[0].what in sentence(trace)


@pytest.mark.parametrize(("during", "truth"), [("one", True), ("two", None), ("three", None)])
def test_what_came_later_leaves_no_doubt_about_what_was_before(evidence, during, truth):
    """It came during step two, and was found before step three."""
    events = [event for ms in (25, 45, 65) for event in at(ms, both(ms, "prerouting", 2))]
    came = {"since_ns": WALL_NS + 52 * MS}
    unseen = {"blind": (Unseen("a chain", **came),), "silencers": (Unseen("a rule", **came),)}
    variant = recorded(evidence, *events, ended={"events": len(events), **unseen}).read()
    for asked in ({"count": 1}, {"ends": "lost"}):
        trace = evaluate(prediction({"trace": {"at": "hooks", "during": during}, **asked}), variant, PREFIX)
        assert trace.truth is truth


def test_of_a_copy_at_a_bridge_it_is_not_known_which_packet_it_is(evidence):
    twice = [*both(1, "prerouting", 2), *both(2, "prerouting", 2), *both(3, "forward", 2, 2)]
    variant = recorded(evidence, *twice).read()
    for asked, truth in (({"count": 3}, None), ({"count": 4}, False), ({"path": ["prerouting", "forward"]}, None)):
        assert evaluate(prediction({"trace": {"at": "hooks"}, **asked}), variant, PREFIX).truth is truth


ALL = {"path": FORWARDED, "ends": "accept", "count": 1}


@pytest.mark.parametrize(
    ("ended", "reason", "text"),
    [
        ({"events": 6, "drops": 2}, "packets-dropped", "the trace 'hooks' lost 2 messages of the kernel"),
        ({"events": 6, "trouble": "no space"}, "trace-unhealthy", "the trace 'hooks': no space"),
        ({"events": 7}, "trace-unhealthy", "the trace 'hooks' kept 7 events, and its file has 6"),
        ({"events": 5}, "trace-unhealthy", "the trace 'hooks' kept 5 events, and its file has 6"),
    ],
)
def test_a_trace_that_lost_anything_is_not_believed_at_all(evidence, ended, reason, text):
    trace = judge(recorded(evidence, *forwarded(1), ended=ended), **ALL)
    assert (trace.truth, trace.reason) == (None, reason)
    assert [sentence(leaf) for leaf in trace.leaves()] == [text] * 3
    assert [leaf.path for leaf in trace.leaves()] == ["path", "ends", "count.equals"]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda evidence: evidence.trace("hooks").traced("hooks").done(), "trace-unhealthy"),  # never finished
        (lambda evidence: evidence.trace("hooks").trace_ended("hooks", 0).done(), "evidence-missing"),  # no file
        (lambda evidence: evidence.done(), "evidence-missing"),
        (lambda evidence: evidence.trace("hooks", result=None).done(), "evidence-missing"),
        (lambda evidence: evidence.trace("hooks", ended=False).fault("sandbox-died"), "sandbox-died"),
        (lambda evidence: evidence.trace("hooks", result=None, status="failed", message="EPERM").done(), "step-failed"),
    ],
)
def test_without_a_trace_nothing_is_known(evidence, build, reason):
    trace = judge(build(evidence), **ALL)
    assert (trace.truth, trace.reason) == (None, reason)
    assert all("trace 'hooks'" in sentence(leaf) for leaf in trace.leaves())


@pytest.mark.parametrize("during", ["never", {"from": "one", "to": "never"}, {"from": "never", "to": "one"}])
def test_a_window_of_a_step_that_did_not_run_is_unknown(evidence, during):
    trace = judge(recorded(evidence, *forwarded(1)), during=during, count=0)
    assert (trace.truth, trace.reason) == (None, "evidence-missing")
    assert sentence(trace) == "step 'never' is not in the evidence"


def test_a_clock_that_was_set_makes_the_windows_unsure(evidence):
    evidence.trace("hooks", at=(0, 10)).run("one", at=(20, 30), wall_shift=3000).traced("hooks")
    variant = evidence.trace_ended("hooks", 0).done().read()
    asked = {"trace": {"at": "hooks", "during": "one"}, "count": 0}
    trace = evaluate(prediction(asked), variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, "clock-stepped")
    whole = evaluate(prediction({"trace": {"at": "hooks"}, "count": 0}), variant, PREFIX)
    assert whole.truth is True, "without a window no time is asked"


def test_ten_packets_at_most_are_named(evidence):
    events = [event for number in range(30) for event in both(number, "prerouting", 2)]
    trace = judge(recorded(evidence, *events), count=30)
    assert (trace.truth, len(trace.refs)) == (True, 10)
