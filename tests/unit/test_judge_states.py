"""Objects of the kernel's state in a snapshot, judged on recorded evidence: how many, and what they are like."""

from __future__ import annotations

import dataclasses

import pytest
from labrun.evidence.ref import Ref
from labrun.evidence.run import EvidenceError
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.lab.predictions import STATE_KINDS
from labrun.observe.states import OBJECTS
from labrun.protocol.state import (
    AddressState,
    LinkState,
    NeighbourState,
    NextHop,
    NftRule,
    NftState,
    NodeState,
    RouteState,
    RuleState,
    SocketState,
)
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"
FILE = PREFIX + "snapshots/after.json"

LO = LinkState(1, "lo", 65536, False, "DOWN", ("LOOPBACK",), "loopback")
ETH = LinkState(
    2, "eth0", 1500, True, "UP", ("BROADCAST", "MULTICAST", "UP", "LOWER_UP"), "ether", "veth", "02:00:00:00:00:01"
)
BRIDGE = LinkState(3, "br0", 9000, True, "UP", ("UP",), "ether", "bridge", "02:00:00:00:00:02")
HOST = NodeState(
    links=(LO, ETH, BRIDGE),
    addresses=(AddressState("eth0", "inet", "10.0.0.1", 24, "global"),),
    routes=(
        RouteState("inet", "main", "default", "unicast", "static", "global", "10.0.0.254", "eth0"),
        RouteState("inet", "main", "10.0.0.0/24", "unicast", "kernel", "link", None, "eth0", metric=100),
    ),
    rules=(RuleState("inet", 0, "all", "all", "lookup", "local"),),
    neighbours=(NeighbourState("eth0", "inet", "10.0.0.9", "FAILED"),),
    sockets=(),
    nft=NftState(rules=(
        NftRule("ip", "filter", "input", 4, "tcp dport 80 drop", "input", packets=3, bytes=180),
        NftRule("ip", "filter", "input", 5, "accept", "input"),
    )),
)  # fmt: skip


def judge(evidence, predicted):
    return evaluate(prediction(predicted), evidence.read(), PREFIX)


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


@pytest.fixture
def seen(evidence):
    return evidence.snapshot("after", {"host": HOST}).done()


def at(kind, where=None, **rest):
    return {kind: {"at": "after", **({"where": where} if where else {})}, **rest}


@pytest.mark.parametrize(
    ("kind", "where", "count"),
    [
        ("links", None, 3),
        ("links", {"up": True}, 2),
        ("links", {"up": True, "mtu": {"gt": 1500}}, 1),
        ("links", {"flags": {"contains": "UP"}}, 2),
        ("links", {"flags": {"lacks": "UP"}}, 1),
        ("links", {"type": {"lacks": "veth"}}, 2),  # lo has no type
        ("links", {"address": {"matches": "^02:"}}, 2),  # and no address
        ("links", {"name": "eth1"}, 0),
        ("addresses", {"dev": "eth0", "prefixlen": 24}, 1),
        ("routes", {"gateway": {"matches": "^10"}}, 1),
        ("routes", {"metric": {"ge": 1}}, 1),  # the other was given none, which is 0
        ("routes", {"metric": {"lt": 100}}, 1),
        ("routes", {"metric": 0}, 1),
        ("routes", {"metric": {"lt": 101, "ge": 100}, "dst": {"one_of": ["default", "10.0.0.0/24"]}}, 1),
        ("rules", {"priority": 0}, 1),
        ("rules", {"inverted": False}, 1),
        ("neighbours", {"state": "REACHABLE"}, 0),
        ("sockets", None, 0),
        ("nft", {"chain": "input"}, 2),
        ("nft", {"packets": {"gt": 0}, "handle": 4}, 1),
    ],
)
def test_how_many_there_are(seen, kind, where, count):
    variant = seen.read()
    for wanted, truth in (
        (count, True),
        (count + 1, False),
        ({"le": count, "ge": count}, True),
        ({"gt": count}, False),
    ):
        trace = evaluate(prediction(at(kind, where, count=wanted)), variant, PREFIX)
        assert (trace.truth, trace.reason) == (truth, None)


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        (at("nft", {"packets": {"gt": 0}}, count=0), False),
        (at("nft", {"packets": {"gt": 0}}, count={"ge": 1}), True),
        (at("nft", {"packets": {"gt": 0}}, count=1), None),  # the other one may have, too
        (at("nft", {"packets": {"gt": 9}}, count=0), None),
        (at("nft", {"packets": {"gt": 9}}, count={"le": 1}), True),
        (at("nft", {"handle": 5}, each={"packets": 0}), None),
        (at("nft", {"packets": {"gt": 0}}, each={"handle": 4}), None),
        (at("nft", {"bytes": {"lt": 1}, "handle": 5}, each={"chain": "input"}), None),
        (at("nft", {"handle": 4}, each={"packets": 3}), True),
        ({"expr": "n == 1", "let": {"n": {"nft": {"at": "after", "where": {"packets": {"gt": 0}}}}}}, None),
        ({"expr": "n == 0", "let": {"n": {"nft": {"at": "after", "where": {"handle": 5}}, "of": "packets"}}}, None),
        ({"changes": {"from": "after", "to": "after", "of": "nft", "where": {"packets": {"gt": 9}}}, "added": 0}, None),
        ({"changes": {"from": "after", "to": "after", "of": "nft"}, "added": 0}, True),
    ],
)
def test_a_rule_without_a_counter_does_not_say_that_no_packet_came(seen, predicted, truth):
    trace = judge(seen, predicted)
    assert trace.truth is truth
    assert truth is not None or trace.reason == "not-observable"


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        (at("sockets", {"dev": "eth0"}, count=1), None),  # the raw one may be bound to it, too
        (at("sockets", {"dev": "eth0"}, count=0), False),
        (at("sockets", {"dev": "eth1"}, count=0), None),
        (at("sockets", {"dev": "eth0", "protocol": "udp"}, count=1), True),
        (at("sockets", {"protocol": "raw", "dev": {"lacks": "eth"}}, count=1), None),
        (at("sockets", {"protocol": "raw"}, each={"dev": "eth0"}), None),
        (at("sockets", {"protocol": "raw"}, each={"dev": {"one_of": ["?"]}}), None),
        (at("sockets", {"protocol": "raw"}, each={"port": 1}), True),
        (at("sockets", {"protocol": "tcp"}, each={"dev": "eth0"}), False),  # to none
        ({"expr": "d == 'eth0'", "let": {"d": {"sockets": {"at": "after", "where": {"port": 1}}, "of": "dev"}}}, None),
        ({"expr": "d == 'eth0'", "let": {"d": {"sockets": {"at": "after", "where": {"port": 53}}, "of": "dev"}}}, True),
    ],
)
def test_a_device_that_the_kernel_does_not_tell_is_not_none(evidence, predicted, truth):
    sockets = (
        SocketState("tcp", "inet", "LISTEN", "0.0.0.0", 80),
        SocketState("udp", "inet", "UNCONNECTED", "0.0.0.0", 53, dev="eth0"),
        SocketState("raw", "inet", "UNCONNECTED", "0.0.0.0", 1, dev="?"),
    )
    evidence.snapshot("after", {"host": NodeState(sockets=sockets)}).done()
    trace = judge(evidence, predicted)
    assert trace.truth is truth
    assert truth is not None or trace.reason == "not-observable"


@pytest.mark.parametrize(
    ("kind", "where", "each", "truth"),
    [
        ("links", {"up": True}, {"operstate": "UP"}, True),
        ("links", None, {"operstate": "UP"}, False),
        ("links", {"up": True}, {"mtu": {"ge": 1500, "le": 9000}}, True),
        ("links", {"up": True}, {"mtu": {"ge": 1500, "le": 1500}}, False),
        ("links", {"name": "lo"}, {"type": "veth"}, False),  # it has none
        ("links", {"name": "lo"}, {"type": {"lacks": "veth"}}, True),
        ("links", {"name": "lo"}, {"mtu": {"contains": "6"}}, None),
        ("links", {"name": "lo"}, {"up": {"ge": 0}}, None),
        ("links", None, {"name": {"ge": 0}, "up": True}, False),  # one false decides
    ],
)
def test_what_each_is_like(seen, kind, where, each, truth):
    trace = judge(seen, at(kind, where, each=each))
    assert trace.truth is truth
    assert trace.reason == ("type-mismatch" if truth is None else None)
    for leaf in trace.leaves():
        if leaf.truth is None:
            shown = f"{leaf.operator} cannot compare {leaf.actual} with {leaf.expected}"
            assert (leaf.reason, sentence(leaf).rpartition("; ")[2]) == ("type-mismatch", shown)


def test_count_and_each_must_both_hold(seen):
    variant = seen.read()
    for count, mtu, truth in ((1, 1500, True), (2, 1500, False), (1, 9000, False)):
        predicted = at("links", {"name": "eth0"}, count=count, each={"mtu": mtu})
        assert evaluate(prediction(predicted), variant, PREFIX).truth is truth


def test_a_count_is_traced_with_the_objects(seen):
    trace = judge(seen, at("links", {"up": True, "mtu": {"ge": 1}}, count=3))
    assert (trace.path, trace.operator, trace.expected, trace.actual) == ("count.equals", "equals", "3", "2")
    assert str(trace.subject) == "links of host at after where up == true and mtu >= 1: count"
    assert trace.refs == (Ref(FILE, path="nodes.host.links[1]"), Ref(FILE, path="nodes.host.links[2]"))
    assert sentence(trace).startswith(f"{trace.subject} == 3, actual 2 ({FILE} nodes.host.links[1], ")


def test_nothing_is_traced_with_where_it_was_looked_for(seen):
    assert judge(seen, at("sockets", count=1)).refs == (Ref(FILE, path="nodes.host.sockets"),)


def test_ten_objects_are_named_at_most(evidence):
    links = tuple(dataclasses.replace(LO, index=n, name=f"d{n}") for n in range(12))
    trace = judge(evidence.snapshot("after", {"host": NodeState(links=links)}).done(), at("links", count=12))
    assert trace.truth is True
    assert [ref.path for ref in trace.refs] == [f"nodes.host.links[{n}]" for n in range(10)]


def test_rules_of_nft_are_found_where_they_are(seen):
    assert judge(seen, at("nft", {"handle": 5}, count=1)).refs == (Ref(FILE, path="nodes.host.nft.rules[1]"),)
    again = Evidence(seen.folder.parent / "again").snapshot("after", {"host": HOST}).done()
    assert judge(again, at("nft", {"handle": 9}, count=0)).refs == (Ref(FILE, path="nodes.host.nft.rules"),)


def test_each_object_and_field_is_traced(seen):
    trace = judge(seen, at("links", {"up": True}, each={"mtu": {"ge": 1500, "lt": 9000}, "operstate": "UP"}))
    subject = "links of host at after where up == true"
    assert (str(trace.subject), trace.operator, trace.truth) == (subject, "all", False)
    eth, bridge = (Ref(FILE, path=f"nodes.host.links[{n}]") for n in (1, 2))
    assert [(one.path, str(one.subject), one.truth, one.actual, one.refs) for one in trace.leaves()] == [
        ("each.mtu.ge", f"{subject}: mtu", True, "1500", (eth,)),
        ("each.mtu.lt", f"{subject}: mtu", True, "1500", (eth,)),
        ("each.operstate.equals", f"{subject}: operstate", True, '"UP"', (eth,)),
        ("each.mtu.ge", f"{subject}: mtu", True, "9000", (bridge,)),
        ("each.mtu.lt", f"{subject}: mtu", False, "9000", (bridge,)),
        ("each.operstate.equals", f"{subject}: operstate", True, '"UP"', (bridge,)),
    ]


def test_a_field_without_value_is_shown_as_nothing(seen):
    assert judge(seen, at("links", {"name": "lo"}, each={"type": "veth"})).actual == "nothing"
    again = Evidence(seen.folder.parent / "again").snapshot("after", {"host": HOST}).done()
    assert judge(again, at("links", {"name": "lo"}, each={"flags": "UP"})).actual == '["LOOPBACK"]'


def test_each_of_nothing_says_so(seen):
    trace = judge(seen, at("links", {"name": "eth9"}, each={"mtu": 1}))
    subject = 'links of host at after where name == "eth9"'
    assert (trace.path, trace.operator, trace.expected, trace.truth) == ("each", "each", "at least one", None)
    assert (str(trace.subject), trace.reason) == (subject, "none-selected")
    assert trace.refs == (Ref(FILE, path="nodes.host.links"),)


def test_the_node_is_the_one_that_is_named(evidence):
    other = NodeState(links=(LO,))
    variant = evidence.snapshot("after", {"host": HOST, "other": other}).done().read()
    for node, count in (("host", 3), ("other", 1), (None, 3)):
        selector = {"at": "after", **({"in": node} if node else {})}
        trace = evaluate(prediction({"links": selector, "count": count}), variant, PREFIX)
        assert trace.truth is True
        assert str(trace.subject) == f"links of {node or 'host'} at after: count"


# --- unknown ---

BOTH = {"links": {"at": "after", "in": "host"}, "count": 1, "each": {"mtu": {"ge": 1, "le": 2}}}


def unknown(trace, reason, *words):
    assert (trace.truth, trace.reason) == (None, reason)
    assert [one.path for one in trace.leaves()] == ["count.equals", "each.mtu.ge", "each.mtu.le"]
    for one in trace.leaves():
        assert (one.truth, one.reason, one.actual) == (None, reason, None)
        assert one.expected in ("0", "1", "2")
        for word in words:
            assert word in sentence(one)


def test_a_node_that_is_not_in_the_snapshot(evidence):
    trace = judge(evidence.snapshot("after", {"other": HOST}).done(), BOTH)
    unknown(trace, "evidence-missing")
    assert {sentence(one) for one in trace.leaves()} == {"node 'host' in snapshot 'after' is not in the evidence"}
    assert str(trace.subject) == "links of host at after"
    assert [str(one.subject) for one in trace.leaves()][1] == "links of host at after: mtu"


def test_a_part_that_could_not_be_read(evidence):
    state = NodeState(unavailable={"links": "the kernel said EPERM"})
    unknown(judge(evidence.snapshot("after", {"host": state}).done(), BOTH), "not-observable",
            "links of host: the kernel said EPERM")  # fmt: skip


def test_a_part_that_was_not_asked_for(evidence):
    unknown(judge(evidence.snapshot("after", {"host": NodeState()}).done(), BOTH), "not-observable",
            "links of host: the snapshot does not have it")  # fmt: skip


def test_an_empty_part_is_an_observation(evidence):
    state = NodeState(links=(), unavailable={"links": "not so"})
    assert judge(evidence.snapshot("after", {"host": state}).done(), at("links", count=0)).truth is True


def test_a_snapshot_that_is_not_there(evidence):
    trace = judge(evidence.run("x").done(), {"links": {"at": "after"}, "count": 0})
    assert (trace.truth, trace.reason) == (None, "evidence-missing")
    assert sentence(trace) == "snapshot 'after' is not in the evidence"
    assert str(trace.subject) == "links of ? at after: count"


def test_a_snapshot_that_did_not_run(evidence):
    evidence.run("x", status="failed", message="no").snapshot("after", {"host": HOST}, ship=False, started=False)
    unknown(judge(evidence.done(), BOTH), "step-failed", "snapshot 'after' was not observed", "no")


def test_a_snapshot_that_failed(evidence):
    evidence.snapshot("after", {"host": HOST}, ship=False, status="failed", message="no node named host", result=None)
    unknown(judge(evidence.done(), BOTH), "step-failed", "no node named host")


def test_a_snapshot_whose_file_never_arrived(evidence):
    unknown(judge(evidence.snapshot("after", {"host": HOST}, ship=False).fault("sandbox-died", "killed"), BOTH),
            "sandbox-died", "snapshot 'after' was not observed: killed")  # fmt: skip


def test_a_step_that_is_no_snapshot(evidence):
    evidence.run("after").done()
    unknown(judge(evidence, BOTH), "evidence-missing", "snapshot 'after'")


def test_a_snapshot_that_cannot_be_read_is_an_error_of_the_evidence(evidence):
    evidence.piece("snapshots/after.json", b"{half").snapshot("after", {"host": HOST}, ship=False).done()
    with pytest.raises(EvidenceError, match=r"after\.json"):
        judge(evidence, BOTH)


@pytest.mark.parametrize("where", [{"up": {"contains": "t"}}, {"mtu": {"matches": "1"}}, {"name": {"ge": 1}}])
def test_a_condition_that_does_not_fit_is_unknown_and_not_false(seen, where):
    trace = judge(seen, at("links", where, count=0))
    assert (trace.truth, trace.reason) == (None, "type-mismatch")
    assert sentence(trace) == "where: a check does not fit the fields of nodes.host.links[0]"


def test_a_condition_that_does_not_fit_is_no_matter_where_another_is_false(seen):
    assert judge(seen, at("links", {"up": {"contains": "t"}, "name": "eth9"}, count=0)).truth is True


@pytest.mark.parametrize("part", [{"where": {"naem": "lo"}, "count": 0}, {"each": {"naem": "lo"}}])
@pytest.mark.parametrize("kind", ["links", "sockets"])
def test_a_field_that_no_such_object_has_is_unknown_even_of_nothing(seen, part, kind):
    """Otherwise a slip of the pen is a proof that there is none."""
    selector = {"at": "after", **({"where": part["where"]} if "where" in part else {})}
    trace = judge(seen, {kind: selector, **{key: value for key, value in part.items() if key != "where"}})
    assert (trace.truth, trace.reason) == (None, "unknown-field")
    assert sentence(trace) == f"{kind} have no field 'naem'"


def test_every_kind_knows_its_fields():
    assert set(OBJECTS) == set(STATE_KINDS)


MULTIPATH = RouteState("inet", "main", "10.9.0.0/16", "unicast", "boot", "global", nexthops=(
    NextHop("10.0.0.2", "eth0"), NextHop("10.0.1.2", "eth1")))  # fmt: skip
GROUP = RouteState("inet", "main", "10.7.0.0/16", "unicast", "boot", "global", nhid=7)
PLAIN = RouteState("inet", "main", "10.8.0.0/16", "unicast", "boot", "link", dev="eth0")


@pytest.mark.parametrize(
    ("where", "count", "truth"),
    [
        ({"dst": "10.9.0.0/16", "gateway": "10.0.0.2"}, 1, True),  # any hop
        ({"dst": "10.9.0.0/16", "gateway": "10.0.0.2", "dev": "eth0"}, 1, True),
        ({"dst": "10.9.0.0/16", "gateway": "10.0.0.2", "dev": "eth1"}, 0, True),  # not of one hop together
        ({"dst": "10.9.0.0/16", "gateway": "10.0.0.9"}, 0, True),
        ({"dst": "10.7.0.0/16", "gateway": "10.0.0.2"}, 0, None),  # the group has it
        ({"dst": "10.7.0.0/16", "dev": "eth0"}, 0, None),
        ({"dst": "10.8.0.0/16", "gateway": "10.0.0.2"}, 0, True),  # it has none
        ({"dst": "10.8.0.0/16", "mtu": 1400}, 0, None),  # what was learned is in no dump
    ],
)
def test_what_a_route_has_several_times_or_elsewhere(tmp_path, where, count, truth):
    evidence = Evidence(tmp_path / "experiment").snapshot(
        "after", {"host": NodeState(routes=(MULTIPATH, GROUP, PLAIN))}
    )
    found = judge(evidence.done(), at("routes", where, count=count))
    assert found.truth is truth
    assert truth is not None or found.reason == "not-observable"


@pytest.mark.parametrize(
    ("each", "truth"),
    [({"gateway": "10.0.0.2"}, None), ({"gateway": "10.0.0.9"}, False), ({"gateway": {"lacks": "9"}}, True)],
)
def test_each_hop_counts_where_they_differ(tmp_path, each, truth):
    evidence = Evidence(tmp_path / "experiment").snapshot("after", {"host": NodeState(routes=(MULTIPATH,))}).done()
    assert judge(evidence, at("routes", None, each=each)).truth is truth
