"""Two recorded samples of every reason code, judged as a run is judged: evidence in, a hypothesis's result out.

To write the golden files anew, from the checkout: ``PYTHONPATH=tests .venv/bin/python -m support.reasons``
"""

from __future__ import annotations

import ast
import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import labrun
from labrun.judge.explain import explain
from labrun.judge.repeats import repeated
from labrun.judge.results import HypothesisResult, LabResult
from labrun.observe.unknown import Unknown
from labrun.protocol.events import LookupResult, Unseen
from labrun.protocol.state import LinkState, NeighbourState, NodeState, RouteState
from support.evidence_builder import Evidence, Seen, extended, icmp, tagged, udp
from support.labs import judge_first, unchecked
from support.traced import both, forwarded, lab, own

GOLDEN = Path(__file__).parents[1] / "golden" / "reasons"
Build = Callable[[Evidence], Evidence]
Sample = Callable[[Path], HypothesisResult]

EXIT = {"command": "probe", "exit": 0}
SAYS = {"all": [EXIT, {"command": "probe", "stdout": {"contains": "bytes from"}, "stderr": ""}]}
COUNT = {"packets": {"on": "host.lo", "during": "probe"}, "count": 1}
PATH = ["prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1"]
WALK = {"trace": {"at": "hooks", "during": "probe"}, "path": PATH}
OTHER = Unknown("other-steps", "step 'probe' did something else in the run than the edited lab says: run it")
SUPER = Seen(30, udp(53, 4000), offload=bytes((1, 5, 0, 0, 0xE8, 3)))  # 1000 bytes of data in each segment
FROM_FAR = {"trace": {"at": "hooks", "where": {"source": "fd01::2"}}, "ends": "accept"}
STEPS = [{"id": "cause", "run": "sysctl -w net.ipv4.ip_forward=1"}, {"id": "probe", "run": "ping -c 1 10.0.0.2"}]


def judged(
    predict: object, build: Build | None, control: dict[str, Any] | None = None, against: Build | None = None,
    expect: str = "supported", gone: Mapping[str, Unknown] = {},
) -> Sample:  # fmt: skip
    """``build``: the experiment's evidence; ``against``: the control's. None: it never ran, for the reason in ``gone``."""

    def sample(folder: Path) -> HypothesisResult:
        hypothesis = {"id": "h", "claim": "The ping is\nanswered.", "predict": predict, "expect": expect,
                      "control": control or {"none": "This is a sample."}}  # fmt: skip
        content = {"title": "T", "question": "Q", "topology": {"nodes": {"host": {}}}, "steps": STEPS,
                   "hypotheses": [hypothesis]}  # fmt: skip
        variants = {}
        for name, make in (("experiment", build), ("h", against)):
            if make is not None:
                variants[name] = make(Evidence(folder / name, name)).read()
        return judge_first(unchecked(content, "ping"), variants, gone)

    return sample


def unstable(*exits: int) -> Sample:
    def sample(folder: Path) -> HypothesisResult:
        results = []
        for number, code in enumerate(exits, start=1):
            where = folder / str(number)
            where.mkdir()
            predict = {"all": [EXIT, {"command": "probe", "duration": {"lt": 1}}]}

            def build(evidence: Evidence, code: int = code, number: int = number) -> Evidence:
                return evidence.run("probe", exit=code, at=(0, 10 * number)).done()

            result = judged(predict, build)(where)
            results.append(LabResult("ping", "T", "labs/ping/lab.yaml", "done", (result,), ()))
        return repeated(results).hypotheses[0]

    return sample


def ran(exit: int = 0, stdout: bytes = b"64 bytes from 10.0.0.2\n", **run: Any) -> Build:
    return lambda evidence: evidence.run("cause").run("probe", stdout, exit=exit, **run).done()


def captured(
    *packets: Seen, names: tuple[str, ...] = ("lo",), end: dict[str, Any] | None = None, **linktypes: int
) -> Build:
    def build(evidence: Evidence) -> Evidence:
        evidence.capture("seen", *names, at=(0, 10)).run("probe", at=(20, 100))
        evidence.captured("seen", names, *packets, **linktypes)
        if end is not None:
            evidence.capture_ended("seen", len(packets), **{"during": (0, 1000), "interfaces": names, **end})
        return evidence.done()

    return build


def everywhere(evidence: Evidence) -> Evidence:
    """A capture on any, where there are lo and eth0."""
    evidence.capture("seen", "any", at=(0, 10)).run("probe", at=(20, 100)).captured("seen", ("lo", "eth0"))
    return evidence.capture_ended("seen", 0, during=(0, 1000), interfaces=("lo", "eth0")).done()


def traced(*events: Any, **end: Any) -> Build:
    def build(evidence: Evidence) -> Evidence:
        evidence.trace("hooks", at=(0, 10)).run("probe", at=(20, 100))
        moved = (dataclasses.replace(event, wall_ns=1_790_000_000_030_000_000) for event in events)
        evidence.traced("hooks", *moved)
        return (
            evidence.trace_ended("hooks", **{"events": len(events), **end}) if end.get("events") != -1 else evidence
        ).done()

    return build


def fragments(evidence: Evidence) -> Evidence:
    """As the kernel tells of a later fragment of IPv6: no network header."""
    events = (dataclasses.replace(event, protocol="ip6", network=None) for event in forwarded(1))
    return traced(*events)(evidence)


def watched(*states: str | None, every: float = 100) -> Build:
    def node(state: str | None) -> NodeState:
        return NodeState(neighbours=() if state is None else (NeighbourState("eth0", "inet", "10.0.0.2", state),))

    moments = [(7000.0 + number * every, node(state)) for number, state in enumerate(states)]
    return lambda evidence: evidence.series("watch", moments).done()


LINKS = NodeState(
    links=(
        LinkState(1, "lo", 65536, True, "UNKNOWN", ("UP",), "loopback"),
        LinkState(2, "eth0", 1500, True, "UP", ("UP",), "ether"),
    ),
    unavailable={"nft": "nft is not installed"},
)


def state(evidence: Evidence) -> Evidence:
    return evidence.run("probe", b'{"sent": 3, "lost": 0, "name": "x"}\n').snapshot("state", {"host": LINKS}).done()


def said(text: bytes, **run: Any) -> Build:
    return lambda evidence: evidence.run("probe", text, **run).done()


def value(expr: str, **values: object) -> dict[str, object]:
    return {"expr": expr, "let": values}


def of(name: str) -> dict[str, str]:
    return {"command": "probe", "json": name}


STALE = {"neighbours": {"at": "watch", "in": "host", "where": {"state": "STALE"}}, "count": 1}
WAYS = {"packets": {"on": "host.any", "during": "probe"}, "seen_on": ["west", "east"]}
WEST, EAST = Seen(30, icmp(), "west"), Seen(31, icmp(), "east", "out")
WITHOUT: dict[str, Any] = {"without": "cause"}
OWN = {"without": "cause", "predict": {"command": "probe", "exit": 1}, "note": "Without the cause\nit is not answered."}
SLOW: Build = lambda evidence: evidence.run("probe", status="timeout", message="not done after 10 s").done()  # noqa: E731
FAILED: Build = lambda evidence: evidence.run("cause", status="failed", message="no such command: sysctl").done()  # noqa: E731
CUT: Build = lambda evidence: evidence.run("cause")  # noqa: E731
DROP = [*both(1, "prerouting", 2), lab(1, "input", "drop", comment="no pings")]

FAULTS = {
    "agent-crashed": "KeyError: 'ns1'",
    "bad-filter": "'icmpp': syntax error",
    "engine-error": "a container could not be removed: gone",
    "engine-unreachable": "the Docker engine went away: connection refused",
    "evidence-full": "the evidence is larger than 1 GiB",
    "image-missing": "the engine has no image labrun-lab:0123456789ab",
    "interrupted": "the run was interrupted",
    "kernel-crashed": "the kernel of the virtual machine crashed: Kernel panic - not syncing: Fatal exception",
    "lab-timeout": "the lab took longer than 120 s",
    "missing-feature": "the kernel has no vxlan",
    "missing-tool": "not in the sandbox: wg",
    "runner-crashed": "ValueError: a defect",
    "sandbox-died": "the sandbox ended with exit status 137 (out of memory)",
    "sandbox-garbled": "the sandbox sent what is no frame",
    "sandbox-refused": "the engine refused to start a container",
    "sandbox-stuck": "the sandbox did not end",
    "teardown": "seen: the capture could not be stopped",
}


def _fault(code: str, message: str) -> dict[str, Sample]:
    return {
        "before what is asked for": judged(EXIT, lambda evidence: evidence.run("cause").fault(code, message).done()),
        "after it, and then nothing more": judged(
            SAYS, lambda evidence: evidence.run("probe", b"64 bytes from 10.0.0.2\n").fault(code, message)
        ),
    }


SAMPLES: dict[str, dict[str, Sample]] = {
    **{code: _fault(code, message) for code, message in FAULTS.items()},
    "as-predicted": {
        "with a control": judged(SAYS, ran(), WITHOUT, ran(1, b"")),
        "a path through the hooks": judged({**WALK, "ends": "accept"}, traced(*forwarded(1))),
    },
    "contradicted": {
        "one of several checks, with a control": judged(SAYS, ran(1, b"no answer\nat all\n"), OWN, ran(1)),
        "an expression": judged(value("sent == 2 * lost + 1", sent=of("sent"), lost=of("lost")), state),
        "none of the moments": judged({**STALE, "eventually": {"within": "300ms", "every": "100ms"}},
                                      watched("REACHABLE", "REACHABLE", "DELAY", "DELAY")),
        "another way than predicted": judged(WAYS, captured(WEST, names=("west", "east"), end={})),
        "as its author knows": judged({"not": EXIT}, ran(), expect="refuted"),
        "no route": judged({"lookup": "asked", "route": {"dev": "eth0"}, "errno": "none"}, lambda evidence: evidence.lookup(
            "asked", LookupResult(None, "ENETUNREACH", "Network is unreachable")).done()),
        "what was added": judged({"changes": {"from": "one", "to": "two", "of": "routes"}, "added": 0, "removed": 0},
            lambda evidence: evidence.snapshot("one", {"host": NodeState(routes=())}).snapshot("two", {"host": NodeState(
                routes=(RouteState("inet", "main", "default", "unicast", "boot", "global"),))}).done()),
        "a drop": judged({"any": [WALK, {**WALK, "path": ["prerouting@eth0", "input@eth0"]}]}, traced(*DROP)),
    },
    "control-agrees": {
        "one control": judged(EXIT, ran(), WITHOUT, ran()),
        "with all that was seen": judged(SAYS, ran(), {"replace": "cause", "with": {"run": "true"}}, ran()),
    },
    "control-differs": {
        "its own prediction is false": judged(EXIT, ran(), OWN, ran(2)),
        "of several checks one": judged(EXIT, ran(), {**OWN, "predict": {"all": [
            {"command": "probe", "exit": 1}, {"command": "probe", "stdout": ""}]}}, ran(1)),
    },
    "control-not-run": {
        "there is none": judged(EXIT, ran(), WITHOUT, None),
        "with its own prediction": judged(SAYS, ran(), OWN, None),
    },
    "control-timeout": {
        "one check": judged(EXIT, ran(), WITHOUT, SLOW),
        "several": judged(SAYS, ran(), OWN, SLOW),
    },
    "not-run": {"one check": judged(EXIT, None), "several": judged(SAYS, None, WITHOUT, None)},
    "none-selected": {
        "no such link": judged({"links": {"at": "state", "where": {"name": "eth9"}}, "each": {"up": True}}, lambda evidence:
            evidence.run("cause").snapshot("state", {"host": NodeState(links=())}).done()),
        "under a not": judged({"not": {"links": {"at": "state"}, "each": {"up": True}}}, lambda evidence:
            evidence.run("cause").snapshot("state", {"host": NodeState(links=())}).done()),
    },
    "json-ambiguous": {
        "a key twice": judged({"command": "probe", "json": {"mtu": 1500}}, ran(0, b'{"mtu": 1500, "mtu": 9000}')),
        "a number without end": judged({"command": "probe", "json": {"mtu": 1500}}, ran(0, b'{"mtu": 1e999}')),
    },
    "usage-error": {
        "the command itself": judged(EXIT, lambda evidence: evidence.run("cause").run(
            "probe", stderr=b"curl: option --max-tme: is unknown\n", exit=2, shell="curl --max-tme 2 10.0.0.2").done()),
        "a step before it": judged(EXIT, lambda evidence: evidence.run(
            "cause", stderr=b"Try `iptables -h' for more information.\n", exit=2, shell="iptables -j DORP").run("probe").done()),
    },
    "test-skipped": {
        "the whole program": judged({"tests": "probe"}, ran(4, b"SKIP: needs jq\n")),
        "a test of it": judged({"tests": "probe", "name": "a"}, ran(0, b"TEST: a   [SKIP]\nTEST: b   [ OK ]\n")),
    },
    "test-contradicts-exit": {
        "it says failed and exits with 0": judged({"tests": "probe"}, ran(0, b"run a test\nfailed\nrun b test\nok\n")),
        "it exits with 1 and says no reason": judged({"tests": "probe"}, ran(1, b"TEST: a   [ OK ]\n")),
    },
    "tests-unfinished": {
        "fewer than planned": judged({"tests": "probe"}, ran(0, b"1..3\nok 1 a\nok 2 b\n")),
        "not one of them": judged({"tests": "probe", "name": "c"}, ran(0, b"1..2\nok 1 a\nok 2 b\n")),
    },
    "timeout": {"the command itself": judged(EXIT, SLOW), "every check of it": judged(SAYS, SLOW)},
    "step-failed": {
        "an earlier step": judged(EXIT, FAILED),
        "the value was not saved": judged({"command": "cause", "exit": "${n}"}, lambda evidence: evidence.run("cause").run(
            "probe", status="failed", message="save n: nothing in stdout matches 'n='").done()),
    },
    "evidence-incomplete": {"before it": judged(EXIT, CUT), "after it": judged(EXIT, lambda e: e.run("probe"))},
    "evidence-missing": {
        "a step": judged(EXIT, lambda evidence: evidence.run("cause").done()),
        "a capture": judged(COUNT, ran()),
    },
    "evidence-unreadable": {
        "a snapshot": judged({"links": {"at": "state"}, "count": 1}, lambda evidence: evidence.snapshot(
            "state", {"host": LINKS}, ship=False).piece("snapshots/state.json", b"{").done()),
        "a moment": judged({**STALE, "never": {"for": "1s"}}, lambda evidence: evidence.series(
            "watch", [], ship=False).piece("snapshots/watch.jsonl", b"?\n").done()),
    },
    "evidence-damaged": {
        "a capture that never ended": judged(COUNT, captured(Seen(30, icmp()))),
        "a trace that never ended": judged(WALK, traced(*forwarded(1), events=-1)),
        "drops that are less than none": judged(COUNT, captured(Seen(30, icmp()), end={"drops": -1})),
        "a longer file than was sent": judged(SAYS, lambda e: e.run("probe", b"64 bytes from").piece(
            "outputs/probe.stdout", b" 10.0.0.2").done()),
    },
    "prediction-unreadable": {
        "of a later labrun": judged({"command": "probe", "exit": 0, "colour": "green"}, ran()),
        "of an earlier one": judged({"all": [EXIT, {"comand": "probe"}]}, ran(), WITHOUT, ran(1)),
    },
    "checker-crashed": {
        "headers that are none": judged(WALK, traced(*[dataclasses.replace(e, network="zz") for e in forwarded(1)])),
        "a defect of ours": judged({**WALK, "trace": {"at": "hooks", "where": {"odd": 1}}}, traced(*forwarded(1))),
    },
    "unstable": {"now and then": unstable(0, 1, 0, 0), "half and half": unstable(1, 0)},
    "capture-unhealthy": {
        "fewer packets than were kept": judged(COUNT, lambda e: e.capture("seen", "lo", at=(0, 10)).run("probe").captured(
            "seen", ("lo",), Seen(30, icmp())).capture_ended("seen", 2, during=(0, 1000)).done()),
        "not all the time": judged({**COUNT, "count": 0}, captured(end={"during": (50, 1000)})),
    },
    "capture-unreadable": {
        "no pcapng": judged(COUNT, lambda e: e.capture("seen", "lo", at=(0, 10)).run("probe").piece(
            "captures/seen.pcapng", b"hello, this is no capture file").capture_ended("seen", 1).done()),
        "its ways": judged(WAYS, lambda e: e.capture("seen", "west", "east", at=(0, 10)).run("probe").piece(
            "captures/seen.pcapng", b"hello, this is no capture file").capture_ended("seen", 1).done()),
    },
    "clock-stepped": {
        "packets": judged(COUNT, lambda e: e.capture("seen", "lo", at=(0, 10)).run("probe", at=(20, 30), wall_shift=5000)
                          .captured("seen", ("lo",)).capture_ended("seen", 0).done()),
        "a trace": judged(WALK, lambda e: e.trace("hooks", at=(0, 10)).run("probe", at=(20, 30), wall_shift=-5000)
                          .traced("hooks").trace_ended("hooks", 0).done()),
    },
    "packets-dropped": {
        "a count": judged({**COUNT, "count": {"le": 2}}, captured(Seen(30, icmp()), Seen(31, icmp(), "lo", "out"), end={"drops": 3})),
        "a trace": judged(WALK, traced(*forwarded(1), drops=2)),
    },
    "packets-cut": {
        "fields": judged({**COUNT, "packets": {"on": "host.lo", "fields": {"udp.dstport": 53}}},
                         captured(Seen(30, udp(53, 99), kept=36), end={})),
        "ways": judged(WAYS, captured(Seen(30, icmp(99), "west", kept=60), EAST, names=("west", "east"), end={})),
    },
    "filter-passed-over": {
        "a VLAN tag": judged({**COUNT, "count": 0, "packets": {"on": "host.lo", "match": "icmp"}},
                             captured(Seen(30, tagged(icmp())), end={})),
        "an extension header": judged({**COUNT, "packets": {"on": "host.lo", "match": "icmp6"}},
                                      captured(Seen(30, extended()), end={})),
    },
    "ambiguous": {
        "two alike": judged(WAYS, captured(WEST, Seen(30.5, icmp(), "west"), EAST, names=("west", "east"), end={})),
        "three alike": judged({**WAYS, "nat": True}, captured(WEST, WEST, Seen(32, icmp(), "west"), EAST,
                                                              names=("west", "east"), end={})),
    },
    "perhaps-rewritten": {
        "another source": judged(WAYS, captured(WEST, Seen(31, icmp()[:26] + bytes((192, 0, 2, 1)) + icmp()[30:], "east"),
                                                names=("west", "east"), end={})),
        "another class": judged({**WAYS, "packets": {"on": "host.any"}},
                                captured(WEST, Seen(31, icmp()[:15] + b"\x48" + icmp()[16:], "east"),
                                         names=("west", "east"), end={})),
    },
    "unknown-link-type": {
        "a filter": judged({**COUNT, "packets": {"on": "host.lo", "match": "icmp"}},
                           captured(Seen(30, b"x" * 40), end={}, lo=147)),
        "beside another check": judged({"all": [EXIT, {**COUNT, "packets": {"on": "host.lo", "match": "arp"}}]},
                                       captured(Seen(30, b"x" * 40), end={}, lo=147)),
    },
    "trace-unhealthy": {
        "no space": judged(WALK, traced(*forwarded(1), trouble="no space left")),
        "trouble": judged({**WALK, "ends": "accept", "count": 1}, traced(*forwarded(1), trouble="no space left")),
    },
    "still-running": {
        "exit": judged(EXIT, lambda e: e.start("probe").process_ended("probe", stopped=True).done()),
        "in an expression": judged(value("a == 0", a={"command": "probe", "of": "exit"}), lambda e: e.start(
            "probe").process_ended("probe", stopped=True).done()),
    },
    "no-exit-status": {
        "a signal without a number": judged(EXIT, ran(exit=None, signal="SIG77")),
        "beside other checks": judged(SAYS, ran(exit=None, signal="SIG77")),
    },
    "output-cut": {
        "text": judged({"command": "probe", "stdout": {"lacks": "lost"}}, said(b"many lines\n", size=9999)),
        "json": judged({"command": "probe", "json": {"sent": 3}}, said(b'{"sent": 3}', size=9999)),
    },
    "not-json": {
        "words": judged({"command": "probe", "json": {"sent": 3}}, said(b"ping: unknown host\n")),
        "in an expression": judged(value("sent > 1", sent=of("sent")), said(b'{"sent": NaN}')),
    },
    "json-search-failed": {
        "a length of a number": judged({"command": "probe", "json": {"length(sent)": 3}}, said(b'{"sent": 3}')),
        "in an expression": judged(value("n > 1", n=of("length(sent)")), said(b'{"sent": 3}')),
    },
    "pattern-too-slow": {
        "of a command": judged({"command": "probe", "stdout": {"matches": "(a|aa)+$"}}, said(b"a" * 60 + b"b\n")),
        "under not": judged({"not": {"command": "probe", "stdout": {"matches": "(a|aa)+$"}}}, said(b"a" * 60 + b"b\n")),
    },
    "type-mismatch": {
        "a number searched": judged({"command": "probe", "json": {"sent": {"contains": "3"}}}, said(b'{"sent": 3}')),
        "text and number": judged(value("sent + name == 3", sent=of("sent"), name=of("name")), state),
    },
    "unknown-field": {
        "where": judged({"links": {"at": "state", "where": {"nmae": "lo"}}, "count": 0}, state),
        "each": judged({"links": {"at": "state"}, "each": {"nmae": "lo"}}, state),
    },
    "not-observable": {
        "a count": judged({"nft": {"at": "state"}, "count": 0}, state),
        "in an expression": judged(value("rules == 0", rules={"nft": {"at": "state"}}), state),
    },
    "not-one": {
        "two links": judged(value("mtu == 1500", mtu={"links": {"at": "state"}, "of": "mtu"}), state),
        "none": judged(value("mtu == 1500 and sent > 1", sent=of("sent"), mtu={
            "links": {"at": "state", "where": {"name": "eth9"}}, "of": "mtu"}), state),
    },
    "expression-failed": {
        "division by zero": judged(value("sent / lost > 1", sent=of("sent"), lost=of("lost")), state),
        "a length of a number": judged(value("len(sent) == 1 or lost > 0", sent=of("sent"), lost=of("lost")), state),
    },
    "not-watched-to-the-end": {
        "never": judged({**STALE, "never": {"for": "1s", "every": "100ms"}}, watched("DELAY", "DELAY")),
        "eventually": judged({**STALE, "eventually": {"within": "1s"}}, watched("DELAY", None)),
    },
    "json-nothing-found": {
        "an order": judged({"command": "probe", "json": {"mtu": {"le": 1500}}}, said(b'{"error": "no such device"}')),
        "a search": judged({"command": "probe", "json": {"[0].flags": {"lacks": "UP"}}}, said(b"[]")),
    },
    "no-such-interface": {
        "a count": judged({"packets": {"on": "host.eht0", "during": "probe"}, "count": 0}, everywhere),
        "a way": judged({"packets": {"on": "host.any"}, "seen_on": ["eth0", "dun0"]}, everywhere),
    },
    "headers-not-told": {
        "a later fragment of IPv6": judged(FROM_FAR, fragments),
        "how many": judged({**FROM_FAR, "count": 1}, fragments),
    },
    "instrument-interferes": {
        "how many": judged(COUNT, captured(Seen(30, icmp()), end={"bridges": ("br0",)})),
        "none": judged({**COUNT, "count": 0}, captured(end={"bridges": ("br0",)})),
    },
    "super-packets": {
        "how many": judged({**COUNT, "count": 3}, captured(SUPER, end={})),
        "how large": judged(
            {"packets": {"on": "host.lo", "during": "probe", "fields": {"ip.len": {"gt": 1500}}}, "count": 0},
            captured(SUPER, end={})),
    },
    "trace-blind": {
        "a drop that nobody reports": judged(
            {**WALK, "path": ["prerouting@eth0", "input@eth0", "drop"]},
            traced(*both(1, "prerouting", 2), own(1, "input_enter", 2))),
        "none that was seen": judged(
            {"trace": {"at": "hooks", "during": "probe"}, "count": 0},
            traced(blind=(Unseen("the chain netdev lab early at ingress"),))),
    },
    "watched-with-gaps": {
        "never": judged({**STALE, "never": {"for": "300ms", "every": "10ms"}}, watched("DELAY", "DELAY", every=300)),
        "eventually": judged(
            {**STALE, "eventually": {"within": "500ms", "every": "100ms"}}, watched("DELAY", None, every=500)),
    },
    "other-steps": {
        "the experiment": judged(EXIT, None, gone={"experiment": OTHER}),
        "a lab with a control": judged(EXIT, None, {"without": "cause"}, gone={"experiment": OTHER, "h": OTHER}),
    },
    "control-other-steps": {
        "the control is another one": judged(EXIT, ran(), {"without": "cause"}, gone={"h": OTHER}),
        "of two checks": judged(SAYS, ran(), {"without": "cause"}, gone={"h": OTHER}),
    },
}  # fmt: skip


def text_of(code: str, folder: Path) -> str:
    """The golden file of a code: every sample with its full explanation."""
    parts = []
    for number, (name, sample) in enumerate(SAMPLES[code].items()):
        where = folder / f"{code}-{number}"
        where.mkdir()
        result = sample(where)
        text = explain(result).replace(f"{where}/", "")
        parts.append(f"=== {name} ===\n{text}\n")
        assert result.reason == code, (code, name, text)
    return "\n".join(parts)


_CODE = re.compile(r"[a-z]+(-[a-z]+)*")
_PLACES = {"Unknown": 0, "EngineError": 0, "Fault": 1}


def codes_of_source() -> set[str]:
    """Every reason code that the source can give, as written in it."""
    found: set[str] = set()
    root = Path(labrun.__file__).parent
    for file in (
        *root.glob("judge/**/*.py"),
        *root.glob("observe/**/*.py"),
        *root.glob("engines/*.py"),
        *root.glob("agent/*.py"),
        root / "conduct.py",
    ):
        for node in ast.walk(ast.parse(file.read_text())):
            found |= set(_codes(node, file.name))
    return found


def _codes(node: ast.AST, file: str) -> Iterator[str]:
    texts: list[ast.expr] = []
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        place = _PLACES.get(name)
        if place is not None and len(node.args) > place:
            texts.append(node.args[place])
        texts += [word.value for word in node.keywords if word.arg == "reason"]
    if file == "verdict.py" and isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        texts += node.value.elts[1:2]
    for text in texts:
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and _CODE.fullmatch(text.value):
            yield text.value


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for file in GOLDEN.glob("*.txt"):
        file.unlink()
    for code in SAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / f"{code}.txt").write_text(text_of(code, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
