"""Predictions that cannot be right are errors with file:line:col and "did you mean", found before anything starts."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from labrun.lab.check.filters import check_filters
from labrun.lab.check.predictions import state_fields, wrong_type
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from labrun.lab.predictions import STATE_KINDS
from labrun.lab.problems import LabError
from labrun.protocol.actions import SnapshotPart

# The prediction is in line 23, from column 14 on.
LAB = """\
title: T
question: Q
parameters: {mtu: [1500]}
topology:
  nodes: {client: {}, router: {}}
  links: [{client.eth0: 10.0.0.2/24, router.west: 10.0.0.1/24}]
steps:
  - {id: early, in: client, run: "true"}
  - {id: wires, in: router, capture: {on: [west, east]}}
  - {id: hooks, in: router, trace: }
  - {id: before, snapshot: {nodes: router, parts: [links, routes, nft]}}
  - {id: probe, in: client, run: ping, save: {addr: {}, size: {type: int}, rate: {type: float}}}
  - {id: server, in: router, start: nc}
  - {id: gone, in: router, address: {delete: 10.0.0.1/24, dev: west}, may_fail: true}
  - {id: asked, in: client, lookup: 10.0.0.1}
  - {id: both, snapshot: {nodes: [client, router], parts: [links, neighbours, counters]}}
  - {stop: wires}
  - {stop: hooks}
  - {id: late, in: client, run: "true"}
hypotheses:
  - id: h
    claim: C
    predict: %s
"""


def problems(predict: str) -> list[str]:
    """As `labrun check` finds them: cross-references first, then packet fields and filters."""
    try:
        lab = parse_lab(LAB % predict, Path("labs/x/lab.yaml"), "x", "labs/x/lab.yaml")
        compile_lab(lab)
    except LabError as error:
        return [str(problem) for problem in error.problems]
    return [str(problem) for problem in check_filters(lab)]


GOOD = [
    "{command: probe, exit: 0}",
    "{command: server, stdout: x}",
    "{command: probe, duration: {lt: 1}}",
    "{change: gone, errno: none}",
    "{packets: {on: router.west, during: probe}, count: 0}",
    "{packets: {on: router.any, during: {from: probe, to: asked}}, seen_on: [west, east]}",
    "{packets: {on: router.west, fields: {ip.ttl: 64, ip.dst: 10.0.0.0/8}}, count: 0}",
    "{trace: {at: hooks, during: probe, where: {protocol: icmp}}, path: [prerouting@west, forward@west>east, drop]}",
    "{links: {at: before, where: {up: true}}, count: 1}",
    "{links: {at: both, in: client}, each: {mtu: {ge: 1500}}}",
    "{nft_counters: {at: before}, count: 0}",
    "{changes: {from: before, to: both, of: links, in: router}, added: 0}",
    "{lookup: asked, route: {dev: eth0}}",
    "{expr: a == b, let: {a: {command: probe, of: exit}, b: {links: {at: before}}}}",
    '{command: probe, stdout: "${addr}", exit: "${size}"}',
    '{command: probe, exit: {ge: "${rate}"}}',
    '{links: {at: before, where: {name: "${addr}", mtu: "${size}"}}, count: "${size}"}',
    '{packets: {on: router.west, fields: {ip.dst: "${addr}"}}, count: 0}',
    '{command: probe, stdout: {contains: "mtu ${mtu}"}}',
    "{command: probe, stdout: {matches: 'a \\$\\{addr\\}'}}",  # how a pattern means the sign itself
]


@pytest.mark.parametrize("predict", GOOD)
def test_what_is_right(predict):
    assert problems(predict) == []


C = 14  # the column of the prediction's brace
WRONG = [
    # steps
    ("{command: prob, exit: 0}", "prob,", "unknown step 'prob'. Did you mean 'probe'?"),
    ("{command: zzz, exit: 0}", "zzz", "unknown step 'zzz'. Known: early, late, probe, server."),
    ("{command: wires, exit: 0}", "wires", "step 'wires' is a capture step; one of these is needed: run, start"),
    ("{change: goen, errno: none}", "goen", "unknown step 'goen'. Did you mean 'gone'?"),
    ("{change: probe, errno: none}", "probe", "step 'probe' is a run step; one of these is needed: link, address, route, "
     "rule, neighbour, sysctl, nft, namespace"),
    ("{lookup: askd, errno: none}", "askd", "unknown step 'askd'. Did you mean 'asked'?"),
    ("{lookup: probe, errno: none}", "probe", "step 'probe' is a run step; one of these is needed: lookup"),
    ("{links: {at: befor}, count: 1}", "befor}", "unknown step 'befor'. Did you mean 'before'?"),
    ("{links: {at: probe}, count: 1}", "probe", "step 'probe' is a run step; one of these is needed: snapshot"),
    ("{trace: {at: hook}, count: 1}", "hook}", "unknown step 'hook'. Did you mean 'hooks'?"),
    ("{trace: {at: wires}, count: 1}", "wires", "step 'wires' is a capture step; one of these is needed: trace"),
    # nodes and interfaces
    ("{packets: {on: routr.west}, count: 0}", "routr.west", "nothing captures on routr.west. Did you mean 'router.west'?"),
    ("{packets: {on: router.wst}, count: 0}", "router.wst", "nothing captures on router.wst. Did you mean 'router.west'?"),
    ("{packets: {on: client.eth0}, count: 0}", "client.eth0", "nothing captures on client.eth0. Known: router.east, router.west."),
    ("{packets: {on: west}, count: 0}", "west", "'west' is not node.interface, such as host.lo or host.any"),
    ("{packets: {on: router.west, capture: wire}, count: 0}", "wire}", "no capture step 'wire' captures on router.west. Did you mean 'wires'?"),
    ("{packets: {on: router.any}, seen_on: [west, eats]}", "eats", "'wires' does not capture on 'eats'. Did you mean 'east'?"),
    ("{links: {at: both}, count: 1}", "{at: both", "'in' is missing: the state of which node? Snapshot 'both' has client, router"),
    ("{links: {at: both, in: rooter}, count: 1}", "rooter", "snapshot 'both' does not have node 'rooter'. Did you mean 'router'?"),
    ("{links: {at: before, in: client}, count: 1}", "client}", "snapshot 'before' does not have node 'client'. Known: router."),
    ("{neighbours: {at: before}, count: 1}", "before", "snapshot 'before' does not keep neighbours, only links, routes, nft"),
    ("{nft_counters: {at: both, in: router}, count: 1}", "both,", "snapshot 'both' does not keep nft, only links, neighbours, counters"),
    # windows, and steps that have not run yet
    ("{packets: {on: router.west, during: prob}, count: 0}", "prob}", "unknown step 'prob'. Did you mean 'probe'?"),
    ("{packets: {on: router.west, during: early}, count: 0}", "early", "step 'early' does not come after 'wires', which starts the capture"),
    ("{packets: {on: router.west, during: wires}, count: 0}", "wires}", "step 'wires' does not come after 'wires', which starts the capture"),
    ("{packets: {on: router.west, during: late}, count: 0}", "late", "the capture 'wires' is stopped before 'late' ends"),
    ("{packets: {on: router.west, during: {from: probe, to: late}}, count: 0}", "{from", "the capture 'wires' is stopped before 'late' ends"),
    ("{packets: {on: router.west, during: {from: asked, to: probe}}, count: 0}", "{from", "step 'asked' comes after 'probe'"),
    ("{trace: {at: hooks, during: early}, count: 0}", "early", "step 'early' does not come after 'hooks', which starts the trace"),
    ("{trace: {at: hooks, during: late}, count: 0}", "late", "the trace 'hooks' is stopped before 'late' ends"),
    ("{trace: {at: hooks, during: prob}, count: 0}", "prob}", "unknown step 'prob'. Did you mean 'probe'?"),
    ("{changes: {from: both, to: before, of: links, in: router}, added: 0}", "before,", "snapshot 'before' does not come after 'both'"),
    ("{changes: {from: before, to: before, of: links, in: router}, added: 0}", "before, of", "snapshot 'before' does not come after 'before'"),
    ("{changes: {from: befor, to: both, of: links, in: router}, added: 0}", "befor,", "unknown step 'befor'. Did you mean 'before'?"),
    ("{changes: {from: before, to: both, of: routes, in: router}, added: 0}", "both,", "snapshot 'both' does not keep routes, only links, neighbours, counters"),
    ("{changes: {from: before, to: both, of: links, in: client}, added: 0}", "client}", "snapshot 'before' does not have node 'client'. Known: router."),
    # fields
    ("{links: {at: before, where: {nmae: lo}}, count: 1}", "lo", "unknown field 'nmae' of links. Did you mean 'name'?"),
    ("{links: {at: before}, each: {mtuu: 1}}", "1}", "unknown field 'mtuu' of links. Did you mean 'mtu'?"),
    ("{routes: {at: before, where: {dest: x}}, count: 1}", "x", "unknown field 'dest' of routes. Did you mean 'dst'?"),
    ("{changes: {from: before, to: both, of: links, in: router, where: {nam: x}}, added: 0}", "x}", "unknown field 'nam' of links. Did you mean 'name'?"),
    ("{lookup: asked, route: {device: eth0}}", "eth0", "unknown field 'device' of routes. Did you mean 'dev'?"),
    ("{trace: {at: hooks, where: {sorce: x}}, count: 1}", "x}", "unknown field 'sorce' of traced packets. Did you mean 'source'?"),
    ("{packets: {on: router.west, fields: {ip.tll: 64}}, count: 0}", "64", "unknown field 'ip.tll'. Did you mean 'ip.ttl'?"),
    ("{expr: a > 1, let: {a: {links: {at: before}, of: mtuu}}}", "mtuu", "unknown field 'mtuu' of links. Did you mean 'mtu'?"),
    ("{expr: a > 1, let: {a: {links: {at: before, where: {nam: x}}}}}", "x}", "unknown field 'nam' of links. Did you mean 'name'?"),
    ("{expr: a > 1, let: {a: {packets: {on: router.wst}}}}", "router.wst", "nothing captures on router.wst. Did you mean 'router.west'?"),
    ("{expr: a > 1, let: {a: {packets: {on: router.west, fields: {ip.tll: 1}}}}}", "1}", "unknown field 'ip.tll'. Did you mean 'ip.ttl'?"),
    ("{expr: a > 1, let: {a: {command: prob, of: exit}}}", "prob,", "unknown step 'prob'. Did you mean 'probe'?"),
    # types
    ("{links: {at: before, where: {mtu: big}}, count: 1}", "big", "mtu is a number; 'big' can never be equal"),
    ("{links: {at: before, where: {up: 1}}, count: 1}", "1}", "up is true or false; 1 can never be equal"),
    ("{links: {at: before, where: {name: 5}}, count: 1}", "5}", "name is text; 5 can never be equal"),
    ("{links: {at: before, where: {name: {gt: 5}}}, count: 1}", "{gt", "gt compares numbers; name is not one"),
    ("{links: {at: before}, each: {mtu: {contains: a}}}", "{contains", "contains searches text; mtu is a number"),
    ("{links: {at: before}, each: {mtu: {matches: a}}}", "{matches", "matches searches text; mtu is not text"),
    ("{links: {at: before}, each: {mtu: {one_of: [1500, a]}}}", "{one_of", "mtu is a number; 'a' can never be equal"),
    ("{lookup: asked, route: {dst: default}}", "default", "of a lookup, dst is what was asked for, and not the route's"),
    ("{lookup: asked, route: {metric: low}}", "low", "metric is a number; 'low' can never be equal"),
    ("{trace: {at: hooks, where: {ttl: x}}, count: 1}", "x}", "ttl is a number; 'x' can never be equal"),
    ("{trace: {at: hooks, where: {source: {ge: 1}}}, count: 1}", "{ge", "ge compares numbers; source is not one"),
    ("{packets: {on: router.west, fields: {ip.ttl: x}}, count: 0}", "x}", "ip.ttl is a number, not 'x'"),
    ("{packets: {on: router.west, fields: {ip.dst: x}}, count: 0}", "x}", "ip.dst is an IPv4 address or prefix, not 'x'"),
    ("{packets: {on: router.west, match: icmpp}, count: 0}", "icmpp", "not a pcap filter: 'icmpp': "),
    ("{command: probe, exit: zero}", "zero", "a number is needed, not 'zero'"),
    ("{command: probe, exit: {contains: 0}}", "0}}", "text is needed"),
    ("{command: probe, stdout: 5}", "5}", "text is needed, not 5 (in quotes it is text)"),
    ("{command: probe, stdout: {gt: 5}}", "{gt", "gt compares numbers; this is text"),
    ("{packets: {on: router.west}, count: many}", "many", "a number is needed, not 'many'"),
    # stations
    ("{trace: {at: hooks}, path: [preroutng@west]}", "preroutng", "not a station: 'preroutng@west'; one is a hook, such as prerouting@eth0. Did you mean 'prerouting'?"),
    ("{trace: {at: hooks}, path: [prerouting, drp]}", "drp", "Did you mean 'drop'?"),
    ("{trace: {at: hooks}, path: [FORWARD]}", "FORWARD", "not a station: 'FORWARD'"),
    ("{trace: {at: hooks}, path: [prerouting@]}", "prerouting@]", "not a station: 'prerouting@'; after the @ comes a device, or two as in forward@a>b"),
    ("{trace: {at: hooks}, path: []}", "[]", "this is empty; at least one is needed"),
    ("{trace: {at: hooks}, ends: dropped}", "dropped", "'dropped' is not one of 'accept', 'drop', 'stolen' or 'lost'"),
    # values
    ('{command: probe, stdout: "${adr}"}', "{command", "no step saves 'adr', and it is no parameter. Did you mean 'addr'?"),
    ('{command: probe, stdout: {one_of: [a, "${adr}"]}}', "{command", "no step saves 'adr', and it is no parameter. Did you mean 'addr'?"),
    ('{command: probe, stdout: {contains: "mtu ${mtuu}"}}', "{command", "no step saves 'mtuu', and it is no parameter. Did you mean 'mtu'?"),
    ('{command: probe, stdout: {contains: "to ${addr}"}}', "{command", "'${addr}' is saved while the lab runs: it can be a whole value, not part of a longer text"),
    ('{command: probe, exit: "${addr}"}', "{command", "'addr' is saved as text, and a number is needed: give its save `type: int`, or float"),
    ('{command: probe, exit: {ge: "${addr}"}}', "{command", "'addr' is saved as text, and a number is needed"),
    ('{command: probe, stdout: "${size}"}', "{command", "'size' is saved as a number (int), and text is needed: leave its `type` out"),
    ('{command: probe, json: {a: {contains: "${rate}"}}}', "{command", "'rate' is saved as a number (float), and text is needed"),
    ('{links: {at: before, where: {name: "${nam}"}}, count: 1}', "{links", "no step saves 'nam', and it is no parameter."),
    # shapes
    ("{comand: probe, exit: 0}", "{comand", "a prediction needs one of all, any, not, command, change, packets, changes, lookup, tests, trace, expr"),
    ("{command: probe, exist: 0}", "exist", "unknown key 'exist'. Did you mean 'exit'?"),
    ("{command: probe, exit: {equal: 0}}", "equal", "unknown key 'equal'. Did you mean 'equals'?"),
    ("{links: {at: before, wher: {}}, count: 1}", "wher", "unknown key 'wher'. Did you mean 'where'?"),
    ("{links: {at: before}, count: 1, eventualy: {within: 1s}}", "eventualy", "unknown key 'eventualy'. Did you mean 'eventually'?"),
    ("{links: {at: before}, count: 1, eventually: {within: 1s}, never: {for: 1s}}", "{links", "one of eventually, never and consistently; given: eventually, never"),
    ("{links: {at: before}, count: 1, never: {for: soon}}", "soon", "a duration is needed, such as 500ms, 2s or 1m, not 'soon'"),
    ("{packets: {on: router.any}, seen_on: [west]}", "{packets", "seen_on is about the way of a packet: two interfaces at least; on one, give count"),
    ("{expr: a > 1, let: {a: {command: probe, of: exits}}}", "{command", "of: exit, stdout, stderr, number or duration, not 'exits'"),
    ("{expr: a > 1, let: {a: {command: probe}}}", "{command", "of a command: give of: exit, stdout, stderr, number or duration; or json: JMESPATH"),
    ("{expr: a > b, let: {a: {command: probe, of: exit}}}", "{expr", "unknown value 'b'. Known: a."),
    ("{expr: a.b > 1, let: {a: {command: probe, of: exit}}}", "{expr", "Attribute is not part of this language"),
    ("{command: probe}", "{command", "command: this asserts nothing. Give exit, stdout, stderr, json or duration"),
    ("{changes: {from: before, to: both, of: links, in: router}}", "{changes", "changes: this asserts nothing. Give added or removed"),
]  # fmt: skip


@pytest.mark.parametrize(("predict", "at", "says"), WRONG)
def test_what_is_wrong_and_where(predict, at, says):
    found = problems(predict)
    assert len(found) == 1, found
    column = C + predict.index(at)
    place, _, message = found[0].partition(": ")
    assert place == f"labs/x/lab.yaml:23:{column}", found[0]
    assert says in message
    assert message.startswith("hypothesis 'h': ") or "pcap filter" in message or "field" in message


def test_inside_of_a_tree_it_is_the_leafs_own_place():
    tree = "{all: [{command: probe, exit: 0}, {not: {any: [{command: late, exit: 0}, {command: lat, exit: 0}]}}]}"
    assert problems(tree) == [
        f"labs/x/lab.yaml:23:{C + tree.index('lat,')}: hypothesis 'h': unknown step 'lat'. Did you mean 'late'?"
    ]


def test_every_problem_is_told_in_order():
    tree = "{all: [{command: prob, exit: 0}, {links: {at: before, where: {nam: lo, up: 1}}, count: 1}]}"
    found = problems(tree)
    assert [message.rpartition("hypothesis 'h': ")[2] for message in found] == [
        "unknown step 'prob'. Did you mean 'probe'?",
        "unknown field 'nam' of links. Did you mean 'name'?",
        "up is true or false; 1 can never be equal",
    ]


def test_two_captures_of_one_interface_need_a_name():
    text = (LAB % "{packets: {on: router.west}, count: 0}").replace(
        "  - {id: hooks", "  - {id: more, in: router, capture: {on: west}}\n  - {id: hooks"
    )
    with pytest.raises(LabError) as caught:
        compile_lab(parse_lab(text, Path("lab.yaml"), "x", "lab.yaml"))
    (problem,) = caught.value.problems
    assert problem.message.endswith("router.west is captured by wires, more: say which with capture:")
    assert (problem.line, problem.column) == (24, C + len("{packets: "))


def test_a_prediction_of_a_control_is_checked_with_its_own_place():
    text = LAB % "{command: probe, exit: 0}"
    text += "    control: {without: early, predict: {packets: {on: router.west, fields: {ip.tll: 1}}, count: 0}}\n"
    lab = parse_lab(text, Path("lab.yaml"), "x", "lab.yaml")
    compile_lab(lab)
    (problem,) = check_filters(lab)
    assert problem.message == "fields: unknown field 'ip.tll'. Did you mean 'ip.ttl'?"
    assert (problem.line, problem.column) == (24, text.splitlines()[23].index("1}}") + 1)


# --- expressions ---

LET = "let: {n: {packets: {on: router.west}}, s: {links: {at: before}}, x: {command: probe, of: exit}, d: {command: probe, of: duration}}"


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("n >= 0 and s == x and d < 1", "n is always ge 0: this decides nothing"),
        ("n < 0 or s == x and d < 1", "n is never lt 0"),
        ("0 <= n and s == x and d < 1", "n is always ge 0"),
        ("-1 < n < 5 and s == x and d < 1", None),  # -1 is an operation, and nothing is said of those
        ("x == 256 or s == n and d < 1", "x is never 256"),
        ("255 >= x and s == n and d < 1", "x is always le 255"),
        ("d >= 0 and s == n + x", "d is always ge 0"),
        ("s == 1.5 or n == x and d < 1", "s is never 1.5"),
        ("n == n and s == x and d < 1", "n is compared with itself: this decides nothing"),
        ("n + s == n + s and x == d", "n + s is compared with itself"),
        ("2 > 1 or n == s and x == d", "2 is compared with 1"),
        ("1 == 1 or n == s and x == d", "1 is compared with itself"),
        ("n == 0 and s != 1 and x > 0 and d < 0.5", None),
        ("n == s == x and d > 1", None),
    ],
)
def test_comparisons_of_an_expression_that_decide_nothing(expr: str, said: str | None) -> None:
    told = problems(f"{{expr: '{expr}', {LET}}}")
    assert (told == []) if said is None else (len(told) == 1 and said in told[0]), told


# --- steps that name values ---


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ('address: {add: "${adr}", dev: eth0}', "no earlier step saves 'adr', and it is no parameter. Did you mean 'addr'?"),
        ('address: {add: "${later}", dev: eth0}', "no earlier step saves 'later', and it is no parameter."),
        ('neighbour: {add: 10.0.0.1, dev: eth0, lladdr: "${mac}"}', "no earlier step saves 'mac', and it is no parameter."),
        ('sysctl: {net.ipv4.ip_forward: "${x}"}', "no earlier step saves 'x', and it is no parameter."),
    ],
)  # fmt: skip
def test_a_value_must_be_saved_before_a_step_uses_it(step, says):
    text = (LAB % "{command: probe, exit: 0}").replace(
        "hypotheses:", f"  - {{in: client, {step}}}\n  - {{in: client, run: x, save: {{later: {{}}}}}}\nhypotheses:"
    )
    with pytest.raises(LabError) as caught:
        compile_lab(parse_lab(text, Path("lab.yaml"), "x", "lab.yaml"))
    (problem,) = caught.value.problems
    assert says in problem.message
    assert problem.line == 20


# --- the tables behind it ---


@pytest.mark.parametrize("kind", STATE_KINDS)
def test_every_kind_of_state_has_typed_fields(kind):
    fields = state_fields(kind)
    assert fields
    assert all(members and None not in members for members in fields.values())
    assert ("nft" if kind == "nft_counters" else kind) in typing.get_args(SnapshotPart)


@pytest.mark.parametrize(
    ("field", "operator", "expected", "good"),
    [
        ((int,), "equals", 5, True), ((int,), "equals", True, False), ((int,), "equals", "5", False),
        ((int,), "equals", 5.0, False), ((float,), "equals", 5, True), ((float,), "equals", True, False),
        ((bool,), "equals", True, True), ((bool,), "equals", 1, False), ((str,), "equals", "a", True),
        ((str, int), "equals", 5, True), ((str, int), "equals", "a", True), ((str, int), "equals", 1.5, False),
        ((tuple,), "contains", "UP", True), ((tuple,), "equals", "UP", False), ((tuple,), "matches", "UP", False),
        ((int,), "one_of", (1, 2), True), ((int,), "one_of", (1, "a"), False), ((int,), "lt", 5, True),
        ((bool,), "lt", 5, False), ((str,), "matches", "a", True), ((int,), "equals", "${x}", True),
    ],
)  # fmt: skip
def test_types(field, operator, expected, good):
    assert (wrong_type("f", field, operator, expected) is None) is good
