"""Everything that can be predicted, once true, once false and once unknown: a matcher without its three is found here.

What each of them tells, with all its parts, is in golden/traces: `LABRUN_GOLDEN=write` writes it anew, for a look at
the difference.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.judge.results import Evaluation
from labrun.lab.predictions import (
    STATE_KINDS,
    ChangeIs,
    ChangesAre,
    Check,
    CommandIs,
    ExprIs,
    LookupIs,
    PacketsAre,
    PacketSelector,
    StateIs,
    SuiteIs,
    Timed,
    TraceIs,
)
from labrun.protocol.events import LookupResult
from labrun.protocol.state import (
    AddressState,
    CounterState,
    LinkState,
    NeighbourState,
    NftCounter,
    NftRule,
    NftState,
    NodeState,
    RouteState,
    RuleState,
    SocketState,
)
from support.evidence_builder import WALL_NS, Evidence, Seen, icmp, prediction, refused, tunnelled
from support.traced import both, forwarded, lab

PREFIX = "labs/lab/experiment/"
GOLDEN = Path(__file__).parents[1] / "golden" / "traces"
ROUTE = RouteState("inet", "main", "default", "unicast", "static", "global", "10.0.0.254", "eth0")
HOST = NodeState(
    links=(LinkState(1, "lo", 65536, True, "UNKNOWN", ("UP",), "loopback"),),
    addresses=(AddressState("lo", "inet", "127.0.0.1", 8, "host"),),
    routes=(ROUTE,),
    rules=(RuleState("inet", 0, "all", "all", "lookup", "local"),),
    neighbours=(NeighbourState("eth0", "inet", "10.0.0.2", "REACHABLE"),),
    sockets=(SocketState("tcp", "inet", "LISTEN", "0.0.0.0", 80),),
    nft=NftState((), (NftRule("ip", "f", "in", 4, "drop", packets=3),), (NftCounter("ip", "f", "seen", 3, 180),)),
    counters=(CounterState("lo", 3, 180, 0, 0, 3, 180, 0, 0),),
)
BLIND = NodeState(unavailable=dict.fromkeys((*STATE_KINDS, "nft"), "the kernel said EPERM"))
BEFORE = dataclasses.replace(HOST, routes=())


def other(part: str, **fields: Any) -> NodeState:
    """HOST with other values in each of these objects."""
    return dataclasses.replace(HOST, **{part: tuple(dataclasses.replace(one, **fields) for one in getattr(HOST, part))})


def counting(rules: int = 3, counters: int = 300) -> NodeState:
    nft = HOST.nft
    assert nft is not None
    return dataclasses.replace(HOST, nft=dataclasses.replace(
        nft, rules=tuple(dataclasses.replace(rule, packets=rules) for rule in nft.rules),
        counters=tuple(dataclasses.replace(one, bytes=counters) for one in nft.counters)))  # fmt: skip


Build = Callable[[Evidence], Evidence]


def ran(stdout: bytes = b"", exit: int = 0, **more: Any) -> Build:
    return lambda evidence: evidence.run("probe", stdout, exit=exit, **more).done()


def slow(evidence: Evidence) -> Evidence:
    return evidence.run("probe", status="timeout", message="10 s").done()


def captured(*packets: Seen, names: tuple[str, ...] = ("lo",), **end: Any) -> Build:
    def build(evidence: Evidence) -> Evidence:
        evidence.capture("seen", *names, at=(0, 10)).run("probe", at=(20, 100)).run("after", at=(110, 120))
        evidence.captured("seen", names, *packets)
        return evidence.capture_ended("seen", len(packets), **{"during": (0, 1000), "interfaces": names, **end}).done()

    return build


def snapped(host: NodeState, **more: NodeState) -> Build:
    return lambda evidence: evidence.snapshot("state", {"host": host, **more}).done()


def watched(*states: str | None) -> Build:
    def node(state: str | None) -> NodeState:
        if state is None:
            return NodeState(unavailable={"neighbours": "gone"})
        return NodeState(neighbours=(NeighbourState("eth0", "inet", "10.0.0.2", state),))

    return lambda evidence: evidence.series("state", [(n * 100, node(state)) for n, state in enumerate(states)]).done()


def changed(before: NodeState, after: NodeState) -> Build:
    return lambda evidence: evidence.snapshot("one", {"host": before}).snapshot("two", {"host": after}).done()


def asked(result: LookupResult) -> Build:
    return lambda evidence: evidence.lookup("asked", result).done()


def traced(*events: Any, **end: Any) -> Build:
    def build(evidence: Evidence) -> Evidence:
        moved = [dataclasses.replace(event, wall_ns=WALL_NS + 30_000_000) for event in events]
        evidence.trace("hooks", at=(0, 10)).run("probe", at=(20, 100)).traced("hooks", *moved)
        return evidence.trace_ended("hooks", **{"events": len(events), **end}).done()

    return build


def command(**checks: Any) -> dict[str, Any]:
    return {"command": "probe", **checks}


def packets(count: Any = 1, **selector: Any) -> dict[str, Any]:
    return {"packets": {"on": "host.lo", **selector}, "count": count}


def at(kind: str, where: dict[str, Any] | None = None, **checks: Any) -> dict[str, Any]:
    return {kind: {"at": "state", "where": where or {}}, **checks}


IN, OUT = Seen(30, icmp()), Seen(31, icmp(9), direction="out")
WAY = {"packets": {"on": "host.any"}, "seen_on": ["west", "east"]}
WEST, EAST = Seen(30, icmp(), "west"), Seen(31, icmp(), "east", "out")
REACHABLE = {"where": {"state": "REACHABLE"}, "count": 1}
LINE = captured(IN, names=("lo",))
LOST = captured(IN, drops=2)
PATH = ["prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1"]
FORWARDED, DROPPED = traced(*forwarded(1)), traced(*both(1, "prerouting", 2), lab(1, "input", "drop"))
UNHEALTHY = traced(*forwarded(1), trouble="no space left")
HAS_ROUTE = asked(LookupResult(ROUTE, None, None))
NO_ROUTE = asked(LookupResult(None, "ENETUNREACH", "Network is unreachable"))
NO_ANSWER: Build = lambda evidence: evidence.lookup("asked", None, status="failed", message="no").done()  # noqa: E731
MOMENTS = {"eventually": {"within": "200ms"}, "never": {"for": "200ms"}, "consistently": {"for": "200ms"}}


def value(expr: str, **values: Any) -> dict[str, Any]:
    return {"expr": expr, "let": values}


# matcher -> (prediction, evidence where it is true, false, and unknown)
CASES: dict[str, tuple[dict[str, Any], Build, Build, Build]] = {
    "command.exit": (command(exit=0), ran(), ran(exit=1), slow),
    "command.stdout": (command(stdout={"contains": "a"}), ran(b"abc"), ran(b"xyz"), slow),
    "command.stdout, cut": (command(stdout={"lacks": "a"}), ran(b"xyz"), ran(b"abc", size=99), ran(b"xyz", size=99)),
    "command.stderr": (command(stderr=""), ran(), ran(stderr=b"no"), slow),
    "command.json_": (command(json={"a": 1}), ran(b'{"a": 1}'), ran(b'{"a": 2}'), ran(b"a is 1")),
    "command.duration": (command(duration={"lt": 1}), ran(at=(0, 999)), ran(at=(0, 1001)), slow),
    "change.errno": (
        {"change": "probe", "errno": "EEXIST"},
        lambda evidence: evidence.change("probe", "EEXIST").done(),
        lambda evidence: evidence.change("probe").done(),
        lambda evidence: evidence.change("probe", status="failed", message="no such device").done(),
    ),
    "packets.count": (packets(), LINE, captured(IN, OUT), LOST),
    "packets.seen_on": (
        WAY, captured(WEST, EAST, names=("west", "east")), captured(WEST, names=("west", "east")),
        captured(WEST, Seen(30.5, icmp(), "west"), EAST, names=("west", "east")),
    ),
    "packets.nat": ({**WAY, "nat": True}, captured(WEST, EAST, names=("west", "east")),
                    captured(WEST, names=("west", "east")), captured(WEST, EAST, names=("west", "east"), drops=1)),
    "packets: on": (packets(0, on="host.eth0"), captured(IN, names=("lo", "eth0")),
                    captured(Seen(30, icmp(), "eth0"), names=("eth0",)), LINE),
    "packets: during": (packets(during="probe"), captured(IN, Seen(115, icmp())), captured(Seen(115, icmp())),
                        captured(IN, during=(50, 1000))),
    "packets: match": (packets(match="icmp"), LINE, captured(Seen(30, icmp()[:12] + b"\x08\x06" + bytes(28))),
                       captured(Seen(30, icmp(), kept=15))),
    "packets: fields": (packets(fields={"icmp.type": 8}), LINE, captured(Seen(30, icmp()[:34] + bytes(8))),
                        captured(Seen(30, icmp(), kept=30))),
    "packets: inner": (packets(inner={"icmp.type": 8}), captured(Seen(30, tunnelled(icmp()))), LINE,
                       captured(Seen(30, tunnelled(icmp()), kept=50))),
    "packets: quoted": (packets(quoted={"icmp.type": 8}), captured(Seen(30, refused(icmp()))), LINE,
                        captured(Seen(30, refused(icmp()), kept=50))),
    "packets: direction": (packets(direction="out"), captured(IN, OUT), LINE, captured(IN, OUT, not_kept=1)),
    "packets: capture": (packets(capture="seen"), LINE, captured(), ran()),
    "links": (at("links", {"name": "lo"}, each={"mtu": 65536}), snapped(HOST),
              snapped(NodeState(links=(dataclasses.replace(HOST.links[0], mtu=1500),))), snapped(BLIND)),
    "addresses": (at("addresses", {"dev": "lo"}, count=1), snapped(HOST), snapped(NodeState(addresses=())), snapped(BLIND)),
    "routes": (at("routes", each={"gateway": "10.0.0.254"}), snapped(HOST), snapped(other("routes", gateway="10.0.0.9")), snapped(BEFORE)),
    "rules": (at("rules", count={"ge": 1}), snapped(HOST), snapped(NodeState(rules=())), snapped(BLIND)),
    "neighbours": (at("neighbours", {"state": "REACHABLE"}, count=1), snapped(HOST), snapped(NodeState(neighbours=())), snapped(BLIND)),
    "sockets": (at("sockets", {"port": 80}, each={"state": "LISTEN"}), snapped(HOST), snapped(other("sockets", state="CLOSE")), snapped(BLIND)),
    "nft": (at("nft", {"chain": "in"}, each={"packets": 3}), snapped(HOST), snapped(counting(rules=4)), snapped(BLIND)),
    "nft_counters": (at("nft_counters", {"name": "seen"}, each={"bytes": {"gt": 100}}), snapped(HOST), snapped(counting(counters=4)), snapped(NodeState(nft=NftState()))),
    "counters": (at("counters", {"dev": "lo"}, each={"rx_dropped": 0}), snapped(HOST),
                 snapped(NodeState(counters=(dataclasses.replace(HOST.counters[0], rx_dropped=1),))), snapped(BLIND)),
    "state.count": (at("links", count=1), snapped(HOST), snapped(NodeState(links=())), snapped(BLIND)),
    "state.each": (at("links", each={"up": True}), snapped(HOST), snapped(other("links", up=False)), snapped(NodeState(links=()))),
    "state, of a node": ({"links": {"at": "state", "in": "other"}, "count": 0}, snapped(HOST, other=NodeState(links=())),
                         snapped(BLIND, other=HOST), snapped(HOST)),
    "eventually": ({**at("neighbours", **REACHABLE), "eventually": MOMENTS["eventually"]},
                   watched("STALE", "STALE", "REACHABLE"), watched("STALE", "STALE", "DELAY"), watched("STALE", None, "DELAY")),
    "never": ({**at("neighbours", **REACHABLE), "never": MOMENTS["never"]},
              watched("STALE", "STALE", "DELAY"), watched("STALE", "STALE", "REACHABLE"), watched("STALE", None, "DELAY")),
    "consistently": ({**at("neighbours", **REACHABLE), "consistently": MOMENTS["consistently"]},
                     watched("REACHABLE", "REACHABLE", "REACHABLE"), watched("REACHABLE", "REACHABLE", "STALE"), watched("REACHABLE", None, "REACHABLE")),
    "changes.added": ({"changes": {"from": "one", "to": "two", "of": "routes"}, "added": 1}, changed(BEFORE, HOST), changed(HOST, HOST), changed(HOST, BLIND)),
    "changes.removed": ({"changes": {"from": "one", "to": "two", "of": "routes"}, "removed": 1}, changed(HOST, BEFORE), changed(BEFORE, HOST), changed(BLIND, HOST)),
    "lookup.route": ({"lookup": "asked", "route": {"dev": "eth0"}}, HAS_ROUTE, NO_ROUTE, NO_ANSWER),
    "lookup.errno": ({"lookup": "asked", "errno": "none"}, HAS_ROUTE, NO_ROUTE, NO_ANSWER),
    "trace.path": ({"trace": {"at": "hooks"}, "path": PATH}, FORWARDED, DROPPED, UNHEALTHY),
    "trace.ends": ({"trace": {"at": "hooks", "during": "probe"}, "ends": "accept"}, FORWARDED, DROPPED, UNHEALTHY),
    "trace.count": ({"trace": {"at": "hooks", "where": {"protocol": "icmp"}}, "count": 1}, FORWARDED, traced(), traced(*forwarded(1), drops=1)),
    "tests.name": ({"tests": "probe", "name": "a"}, ran(b"ok 1 a\nnot ok 2 b\n", 1), ran(b"not ok 1 a\n", 1), slow),
    "tests": ({"tests": "probe"}, ran(b"ok 1 a\n"), ran(b"not ok 1 a\n", 1), ran(b"not ok 1 a\n")),
    "expr: command": (value("a + 1 == 3", a={"command": "probe", "of": "exit"}), ran(exit=2), ran(exit=3), slow),
    "expr: json": (value("a / b > 1", a={"command": "probe", "json": "a"}, b={"command": "probe", "json": "b"}),
                   ran(b'{"a": 3, "b": 2}'), ran(b'{"a": 2, "b": 3}'), ran(b'{"a": 3, "b": 0}')),
    "expr: packets": (value("n == 1", n={"packets": {"on": "host.lo"}}), LINE, captured(IN, OUT), LOST),
    "expr: state": (value("n == 1", n={"links": {"at": "state"}}), snapped(HOST), snapped(NodeState(links=())), snapped(BLIND)),
    "all": ({"all": [command(exit=0), command(stdout="a")]}, ran(b"a"), ran(b"b"), slow),
    "any": ({"any": [command(exit=0), command(stdout="a")]}, ran(b"a", exit=1), ran(b"b", exit=1), slow),
    "not": ({"not": command(exit=0)}, ran(exit=1), ran(), slow),
    # Several checks on one subject: each is told, and together they are a branch.
    "several of a command": (
        command(exit={"ge": 0, "le": 1}, stdout={"contains": "a", "lacks": "z"}, stderr={"matches": "^$", "lacks": "z"},
                json={"a": {"ge": 1, "le": 2}, "keys(@)": {"contains": "a"}}, duration={"gt": 0, "lt": 1}),
        ran(b'{"a": 1}'), ran(b'{"a": 3}', stderr=b"a to z"), slow,
    ),
    "several of a command, cut": (
        command(exit=0, stdout={"contains": "a", "lacks": "z", "matches": "a"}, json={"a": 1, "b": 2}),
        ran(b'{"a": 1, "b": 2}'), ran(b"z"), ran(b"a\n{", size=99),
    ),
    "several of a change": (
        {"change": "probe", "errno": {"one_of": ["EEXIST", "ENOENT"], "matches": "^EE"}},
        lambda evidence: evidence.change("probe", "EEXIST").done(),
        lambda evidence: evidence.change("probe", "ENOENT").done(),
        lambda evidence: evidence.change("other", status="timeout", message="9 s").done(),
    ),
    "several of a lookup": (
        {"lookup": "asked", "errno": {"one_of": ["none", "EPERM"], "lacks": "X"},
         "route": {"dev": {"equals": "eth0", "lacks": "x"}, "gateway": "10.0.0.254"}},
        HAS_ROUTE, NO_ROUTE, lambda evidence: evidence.run("cause", status="timeout", message="9 s").done(),
    ),
    "several of a lookup without an answer": (
        {"lookup": "asked", "errno": {"equals": "none", "lacks": "X"}, "route": {"dev": "eth0"}},
        HAS_ROUTE, asked(LookupResult(None, None, None)), lambda evidence: evidence.run("asked").done(),
    ),
    "several of packets": (
        {**WAY, "packets": {"on": "host.any", "during": {"from": "probe", "to": "after"}, "match": "icmp",
                            "fields": {"ip.ttl": {"ge": 64, "le": 64}, "icmp.type": 8}},
         "count": {"ge": 2, "one_of": [2, 4]}},
        captured(WEST, EAST, names=("west", "east")), captured(WEST, Seen(31, icmp(9), "east"), names=("west", "east")),
        captured(WEST, EAST, names=("west", "east"), trouble="no space left"),
    ),
    "several of packets without a capture": (
        {**WAY, "packets": {"on": "host.any", "direction": "in"}, "count": {"ge": 2, "le": 2}},
        captured(WEST, Seen(31, icmp(), "east"), names=("west", "east")), captured(names=("west", "east")), ran(),
    ),
    "several of a state": (
        at("links", {"name": {"one_of": ["lo", "eth0"]}, "up": True}, count={"ge": 1, "le": 1}, each={"mtu": {"ge": 1, "le": 65536}, "operstate": "UNKNOWN"}),
        snapped(HOST), snapped(NodeState(links=(HOST.links[0], dataclasses.replace(HOST.links[0], name="eth0", mtu=0)))), snapped(BLIND),
    ),
    "several of a state, none there": (
        at("sockets", {"port": 80}, count=1, each={"state": "LISTEN", "protocol": {"lacks": "udp", "contains": "tc"}}),
        snapped(HOST), snapped(NodeState(sockets=())), ran(),
    ),
    "several of changes": (
        {"changes": {"from": "one", "to": "two", "of": "routes", "where": {"family": "inet"}},
         "added": {"ge": 1, "le": 1}, "removed": {"ge": 0, "lt": 1}},
        changed(BEFORE, HOST), changed(HOST, BEFORE), changed(HOST, BLIND),
    ),
    "several of changes, a snapshot missing": (
        {"changes": {"from": "one", "to": "two", "of": "links", "in": "host"}, "added": {"ge": 0, "le": 0}, "removed": 0},
        changed(HOST, HOST), changed(NodeState(links=()), HOST),
        lambda evidence: evidence.snapshot("two", {"host": HOST}).run("cause", status="failed", message="no").done(),
    ),
    "several of a trace": (
        {"trace": {"at": "hooks", "during": {"from": "probe", "to": "probe"}, "where": {"protocol": "icmp", "ttl": {"ge": 1, "le": 64}}},
         "path": PATH, "ends": "accept", "count": {"ge": 1, "le": 2}},
        FORWARDED, traced(*forwarded(1), *both(2, "prerouting", 2), lab(2, "input", "drop"), *both(3, "prerouting", 2), lab(3, "input", "drop", None)), UNHEALTHY,
    ),
    "several of a trace, none there": (
        {"trace": {"at": "hooks"}, "path": PATH, "ends": "accept", "count": {"ge": 1, "le": 2}}, FORWARDED, traced(), ran(),
    ),
    "several at a moment": (
        {**at("neighbours", {"state": "REACHABLE"}, count={"ge": 1, "le": 1}, each={"dev": "eth0"}), "eventually": MOMENTS["eventually"]},
        watched("STALE", "REACHABLE", "STALE"), watched("STALE", "STALE", "STALE"), watched("STALE", "STALE", None),
    ),
    "several in an expression": (
        value("max(a + 1, 2) == 3 and (b < 5 or not n > 1)", a={"command": "probe", "of": "exit"},
              b={"command": "probe", "of": "duration"}, n={"packets": {"on": "host.lo"}}),
        lambda evidence: evidence.capture("seen", "lo", at=(0, 10)).run("probe", exit=2, at=(20, 100)).captured("seen", ("lo",), IN)
        .capture_ended("seen", 1, during=(0, 1000)).done(),
        ran(exit=3), slow,
    ),
    "a branch of branches": (
        {"all": [{"any": [command(exit=0), command(stdout="a")]}, {"not": {"all": [command(exit=1), command(stderr="no")]}}]},
        ran(), ran(b"b", exit=1, stderr=b"no"), slow,
    ),
    "a value that was not saved": (command(exit="${n}"), lambda e: e.run("probe", saved={"n": 0}).done(),
                                   lambda e: e.run("probe", saved={"n": 1}).done(), ran()),
}  # fmt: skip
TRUTHS = (True, False, None)


@pytest.mark.parametrize("truth", TRUTHS, ids=["true", "false", "unknown"])
@pytest.mark.parametrize("case", CASES)
def test_every_matcher_can_say(case: str, truth: bool | None, tmp_path: Path) -> None:
    predicted, *builds = CASES[case]
    variant = builds[TRUTHS.index(truth)](Evidence(tmp_path / "experiment", filters=("icmp",))).read()
    trace = evaluate(prediction(predicted), variant, PREFIX)
    assert trace.truth is truth, trace
    deciding = [leaf for leaf in trace.deciding(truth) if leaf.truth is truth or case == "not"]
    assert deciding and all(sentence(leaf) for leaf in deciding)
    assert (trace.reason is None) == (truth is not None)


def lines(trace: Evaluation, indent: str = "") -> list[str]:
    """All that a trace has."""
    asked = " ".join(str(part) for part in (trace.operator, trace.expected) if part is not None)
    found = [
        f"{indent}{trace.path or '-'}: {trace.truth} [{trace.reason}]"
        if trace.truth is None
        else f"{indent}{trace.path or '-'}: {trace.truth}"
    ]
    found.append(f"{indent}  {trace.subject} | {asked} | {trace.actual}")
    if not trace.children or trace.operator == "expr":
        found.append(f"{indent}  {sentence(trace)}")
    found += [f"{indent}  at {ref}" for ref in trace.refs]
    return found + [line for child in trace.children for line in lines(child, indent + "    ")]


@pytest.mark.parametrize("case", CASES)
def test_what_it_tells_is_golden(case: str, tmp_path: Path) -> None:
    """Inside of a branch, as its path begins there."""
    predicted, *builds = CASES[case]
    text = []
    for word, build in zip(("true", "false", "unknown"), builds, strict=True):
        variant = build(Evidence(tmp_path / word / "experiment", filters=("icmp",))).read()
        trace = evaluate(prediction({"any": [predicted]}), variant, PREFIX)
        text += [f"=== {word} ===", *lines(trace.children[0]), ""]
    file = GOLDEN / f"{re.sub('[^a-z0-9]+', '-', case)}.txt"
    if os.environ.get("LABRUN_GOLDEN") == "write":
        file.write_text("\n".join(text), encoding="utf-8")
    assert "\n".join(text) == file.read_text(encoding="utf-8")


NO_MATCHERS = {"command", "change", "packets", "lookup", "trace", "tests", "changes", *STATE_KINDS, *Timed.model_fields}


def test_no_matcher_is_left_out() -> None:
    """What a prediction may have besides its selector; the kinds of state and the words of time; and packet selectors."""
    leaves = {
        "command": CommandIs, "change": ChangeIs, "packets": PacketsAre, "state": StateIs, "changes": ChangesAre,
        "lookup": LookupIs, "trace": TraceIs, "tests": SuiteIs,
    }  # fmt: skip
    wanted = {f"{name}.{field}" for name, leaf in leaves.items() for field in leaf.model_fields.keys() - NO_MATCHERS}
    wanted |= {*STATE_KINDS, *Timed.model_fields} | {f"packets: {field}" for field in PacketSelector.model_fields}
    assert wanted - CASES.keys() == set()
    assert "expr" in ExprIs.model_fields


NUMBERS: dict[str, tuple[Any, Any, Any, str]] = {
    "equals": (3, 3, 4, "3"),
    "one_of": ([1, 3], 3, 4, "3"),
    "ge": (3, 3, 2, "3"),
    "le": (3, 3, 4, "3"),
    "gt": (3, 4, 3, "3"),
    "lt": (3, 2, 3, "3"),
    "contains": ("b", "abc", "xyz", 3),
    "lacks": ("b", "xyz", "abc", 3),
    "matches": ("^b", "ba", "a\nb", 3),
}


@pytest.mark.parametrize("operator", Check.model_fields)
def test_every_operator_can_say(operator: str, tmp_path: Path) -> None:
    """A number and its text can be compared by none of them."""
    expected, yes, no, misfit = NUMBERS[operator]
    predicted = prediction(command(json={"v": {operator: expected}}))
    for name, actual, truth in (("yes", yes, True), ("no", no, False), ("misfit", misfit, None)):
        text = json.dumps({"v": actual}).encode()
        variant = Evidence(tmp_path / name).run("probe", text).done().read()
        trace = evaluate(predicted, variant, PREFIX)
        assert (trace.truth, trace.reason) == (truth, "type-mismatch" if truth is None else None)
