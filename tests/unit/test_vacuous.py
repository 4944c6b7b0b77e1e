"""Counts that can only be 0 are found before anything starts; and a count that may be more is never called so."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.lab.check import coverage as vacuous
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import placed_steps
from labrun.lab.load import Lab, parse_lab
from labrun.lab.predictions import Check, PacketSelector
from labrun.packets.bpf import translate
from labrun.packets.dissect.layer import CUT
from labrun.packets.dissect.walk import ETHERNET, walk
from labrun.packets.fields import FIELDS, compile_fields, values
from labrun.packets.libpcap import compile_filter
from unit.test_fields import CORPUS, mutated

LAB = """\
title: T
question: Q
topology: {nodes: {a: {}, b: {}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]}
steps:
  - {id: other, in: b, capture: {on: eth0, filter: tcp}}
  - {id: seen, in: a, capture: {on: eth0, filter: FILTER}}
  - {id: probe, in: a, run: ping -c 1 10.0.0.2}
hypotheses:
  - {id: h, claim: C, predict: {packets: {on: a.eth0, SELECT}, count: 0}}
"""


def complaints(kept: str, select: str) -> list[str]:
    text = LAB.replace("FILTER", kept).replace("SELECT", select)
    return [str(problem) for problem in check_filters(parse_lab(text, Path("x/lab.yaml"), "x", "x/lab.yaml"))]


@pytest.mark.parametrize(
    ("kept", "select", "said"),
    [
        ("icmp", "match: arp", "the capture 'seen' keeps only 'icmp', and no such packet has or matches 'arp'"),
        ("icmp", "match: tcp port 80", "keeps only 'icmp'"),
        ("icmp", "fields: {arp.opcode: 1}", "no such packet has or matches the field arp.opcode"),
        ("arp", "fields: {ip.ttl: 64}", "the field ip.ttl"),
        ("arp", "fields: {tcp.flags.syn: true}", "the field tcp.flags.syn"),
        ("tcp", "fields: {icmp.type: 8}", "the field icmp.type"),
        ("tcp", "fields: {frame.len: 60, udp.srcport: 53}", "the field udp.srcport"),
        ("tcp", "fields: {dhcp.type: 1}", "the field dhcp.type"),
        ("ip", "match: tcp, fields: {udp.srcport: 53}", "no packet that matches 'tcp' has the field udp.srcport"),
        ("ip", "match: icmp, fields: {tcp.dstport: 80}", "no packet that matches 'icmp' has the field tcp.dstport"),
        ("icmp", "fields: {tcp.srcport: 80}", "the field tcp.srcport"),
        ("udp", "fields: {icmp.type: 8}", "the field icmp.type"),
        ("udp port 4789", "fields: {arp.opcode: 1}", "the field arp.opcode"),
        ("ip proto 47", "fields: {ipv6.hlim: 64}", "the field ipv6.hlim"),
        ("tcp", "inner: {icmp.type: 8}", "no such packet has or matches the field icmp.type under inner"),
        ("ip", "match: tcp, quoted: {ip.ttl: 1}", "no packet that matches 'tcp' has the field ip.ttl under quoted"),
        ("ip", "match: arp or icmp, fields: {ip.ttl: 1, udp.dstport: 9}", "has the field udp.dstport"),
        (
            "greater 0",
            "match: 'vlan and icmp', fields: {tcp.dstport: 80}",
            "no packet that matches 'vlan and icmp' has",
        ),
        ("ip or ip6", "fields: {ip.ttl: 64, ipv6.hlim: 64}", "no packet has the fields ip.ttl and ipv6.hlim in one"),
        ("ip", "fields: {icmp.type: 8, tcp.dstport: 80}", "is asked for with inner or quoted"),
        ("ip", "inner: {icmp.type: 8, udp.dstport: 80}", "no packet has the fields icmp.type and udp.dstport in one"),
        ("ip", "quoted: {arp.opcode: 1, ip.ttl: 1}", "no packet has the fields arp.opcode and ip.ttl in one"),
        ("ip", "fields: {dns.id: 1, dhcp.type: 1}", "no packet has the fields dns.id and dhcp.type in one"),
        ("ip", "fields: {dhcp.type: 1, tcp.dstport: 67}", "no packet has the fields dhcp.type and tcp.dstport in one"),
        ("ip", "fields: {ip.proto: 17, tcp.dstport: 80}", "no packet has the fields ip.proto and tcp.dstport in one"),
        ("ip", "fields: {ip.ttl: 1, eth.type: 0x0806}", "no packet has the fields ip.ttl and eth.type in one"),
        ("ip6", "fields: {ipv6.nxt: {ge: 100, lt: 130}, tcp.dstport: 80}", "ipv6.nxt and tcp.dstport in one"),
        ("ip", "fields: {tcp.dstport: 80}, inner: {ip.ttl: 1}", "has another in it: that is what inner asks for"),
    ],
)
def test_a_count_that_can_only_be_0_is_an_error_with_its_place(kept: str, select: str, said: str) -> None:
    (problem,) = complaints(kept, select)
    assert problem.startswith("x/lab.yaml:9:")
    assert "this can only count 0: " in problem and said in problem


@pytest.mark.parametrize(
    ("kept", "select"),
    [
        ("icmp", "during: probe"),
        ("icmp", "match: 'icmp[icmptype] == icmp-echo'"),
        ("icmp or arp", "fields: {arp.opcode: 1}"),
        ("icmp", "quoted: {tcp.srcport: 80}"),
        ("icmp6", "fields: {ipv6.hlim: 1}, quoted: {ip.ttl: 1}"),
        ("udp", "inner: {icmp.type: 8}"),  # VXLAN
        ("udp port 4789", "inner: {arp.opcode: 1}"),
        ("ip proto 47", "inner: {ipv6.hlim: 64}"),
        ("ip", "inner: {icmp.type: 3}, quoted: {udp.dstport: 9}"),
        ("ip", "fields: {eth.type: 0x8100, vlan.etype: 0x0800, ip.proto: 6, tcp.dstport: 80}"),
        ("ip6", "fields: {ipv6.nxt: 44, tcp.dstport: 80}"),
        ("ip6", "fields: {ip.version: 6, ipv6.hlim: 1}"),
        ("ip", "fields: {ip.proto: '${mtu}', tcp.dstport: 80}"),
        ("not ip", "fields: {ip.proto: 6}"),  # behind a tag
        ("greater 0", "match: 'vlan and icmp', fields: {icmp.type: 8}"),
        ("ip or ip6", "fields: {ip.proto: {ge: 6, le: 17}, udp.dstport: 9}"),
        ("vlan", "fields: {tcp.srcport: 80}"),
        ("ether proto 0x8100", "fields: {icmp.type: 8}"),
        ("ip6", "fields: {tcp.srcport: 80}"),
        ("tcp", "fields: {dns.id: 7}"),
        ("tcp", "fields: {eth.src: '02:00:00:00:00:01', frame.len: 9}"),
        ("not a filter", "match: arp"),
    ],
)
def test_what_may_be_counted_is_left_alone(kept: str, select: str) -> None:
    assert not [problem for problem in complaints(kept, select) if "only count 0" in problem]


def test_of_a_filter_with_a_value_that_is_not_known_yet_nothing_is_said() -> None:
    assert not [problem for problem in complaints("'icmp and host ${peer}'", "match: arp") if "only count 0" in problem]


def test_of_several_captures_on_a_node_the_one_that_is_meant_counts() -> None:
    text = LAB.replace("in: b, capture: {on: eth0, filter: tcp}", "in: a, capture: {on: eth0, filter: arp}")
    text = text.replace("FILTER", "icmp").replace("SELECT", "capture: seen, match: MATCH")
    for match, count in (("arp", 1), ("icmp", 0)):
        lab = parse_lab(text.replace("MATCH", match), Path("x/lab.yaml"), "x", "x/lab.yaml")
        assert len(check_filters(lab)) == count


def test_a_capture_without_a_filter_keeps_everything() -> None:
    text = LAB.replace(", filter: FILTER", "").replace("SELECT", "match: arp")
    assert check_filters(parse_lab(text, Path("x/lab.yaml"), "x", "x/lab.yaml")) == ()


FILTERS = ["arp", "icmp", "icmp6", "tcp", "udp", "ip", "ip6", "tcp port 80", "not ip", "vlan", "vlan and icmp",
           "icmp or arp", "udp port 4789", "not tcp and not udp", "ip proto 47", "greater 0"]  # fmt: skip
PACKETS = [*CORPUS.values(), *mutated(60, 11)]


@cache
def keeping(kept: str) -> Lab:
    return parse_lab(LAB.replace("FILTER", kept).replace("SELECT", "match: arp"), Path("x/lab.yaml"), "x", "x/lab.yaml")


@cache
def passing(expression: str) -> tuple[bytes, ...]:
    program = compile_filter(expression)
    assert program is not None
    passes = translate(program)
    return tuple(data for data in PACKETS if passes(data, len(data)))


def said(kept: str, **selector: object) -> str | None:
    lab = keeping(kept)
    return vacuous.never_kept(lab, placed_steps(lab), PacketSelector(on="a.eth0", **selector))  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", FILTERS)
def test_whatever_a_packet_has_is_possible(kept: str) -> None:
    """All fields of its outer stack, and of one stack of each further part, with their values."""
    for number, data in enumerate(passing(kept)):
        layers, _ = walk(data, ETHERNET, len(data))
        stacks: dict[str, dict[str, Check]] = {}
        last = {layer.part: layer.stack for layer in layers}
        for place, layer in enumerate(layers):
            if layer.stack == last[layer.part]:
                checks = stacks.setdefault("fields" if layer.part == "outer" else layer.part, {})
                found = {name: values(field, data, layers, place, None) for name, field in FIELDS.items()}
                checks |= {name: Check(equals=its[0]) for name, its in found.items() if its and CUT not in its}
        stacks = {part: checks for part, checks in stacks.items() if checks}
        also = [None, *(match for match in FILTERS if data in passing(match))]
        assert said(kept, match=also[number % len(also)], **stacks) is None, data.hex()


NAMES = sorted(name for name, field in FIELDS.items() if field.protocol != "frame")
ANY = {"int": Check(ge=0), "bool": Check(one_of=(True, False))}
SAY = ("eth.type", "ip.proto", "ipv6.nxt", "vlan.etype")


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {part: st.lists(st.sampled_from(NAMES), max_size=2) for part in ("fields", "inner", "quoted")}
    ),
    st.sampled_from(SAY),
    st.sampled_from((None, 0x0800, 0x86DD, 0x0806, 0x8100, 1, 6, 17, 44, 58)),
    st.sampled_from(FILTERS),
    st.sampled_from([None, *FILTERS]),
)
def test_no_packet_has_what_is_said_to_be_impossible(
    asked: dict[str, list[str]], says: str, number: int | None, kept: str, match: str | None
) -> None:
    checks = {
        part: {name: ANY.get(FIELDS[name].kind, Check(matches=r"[\w.:]")) for name in names}
        for part, names in asked.items()
    }
    checks["fields"] |= {} if number is None else {says: Check(equals=number)}
    checks["quoted"] = {name: check for name, check in checks["quoted"].items() if FIELDS[name].quoted}
    if said(kept, match=match, **{part: its for part, its in checks.items() if its}) is not None:
        passes = compile_fields(checks["fields"], checks["inner"], checks["quoted"])
        both = set(passing(kept)) & set(passing(match or kept))
        assert [data.hex() for data in both if passes(data, ETHERNET, len(data), "") is True] == []


TRACED = """\
title: T
question: Q
topology: {nodes: {a: {ipv6: true}, b: {ipv6: true}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]}
steps:
  - {id: other, in: b, trace: {}}
  - {id: hooks, in: a, trace: {TRACE}}
  - {id: probe, in: a, run: ping -c 1 10.0.0.2}
hypotheses:
  - {id: h, claim: C, predict: {any: [{command: probe, exit: 0}, {trace: {at: hooks, where: {WHERE}}, count: 0}]}}
"""


def told_of_trace(trace: str, where: str, more: str = "") -> list[str]:
    text = TRACED.replace("TRACE", trace).replace("WHERE", where).replace("  - {id: probe", f"{more}  - {{id: probe")
    return [str(problem) for problem in check_filters(parse_lab(text, Path("x/lab.yaml"), "x", "x/lab.yaml"))]


@pytest.mark.parametrize(
    ("trace", "where", "said"),
    [
        ("families: [ip]", "protocol: icmpv6", "the trace 'hooks' follows IPv4 packets, and none of them has protocol icmpv6"),
        ("families: [ip]", "dport: 80, source: 'fd00::1'", "none of them has source fd00::1"),
        ("families: [ip]", "destination: {one_of: ['fd00::1', 'fd00::2']}", "destination fd00::1 or fd00::2"),
        ("families: [ip6]", "protocol: icmp", "the trace 'hooks' follows IPv6 packets"),
        ("families: [ip6]", "source: 10.0.0.1", "none of them has source 10.0.0.1"),
        ("match: ip ttl 3", "protocol: icmpv6", "follows IPv4 packets"),
        ("match: icmpv6 type echo-request", "source: 10.0.0.1", "follows IPv6 packets"),
        ("match: ip6 hoplimit 3, families: [ip]", "source: 10.0.0.1", "follows no packets"),
        ("match: tcp dport 80", "protocol: udp", "the trace 'hooks' follows only packets with protocol tcp"),
        ("match: udp sport 53 ip daddr 10.0.0.2", "destination: 10.0.0.1", "only packets with destination 10.0.0.2"),
    ],
)  # fmt: skip
def test_packets_of_a_version_that_a_trace_does_not_follow(trace: str, where: str, said: str) -> None:
    (problem,) = told_of_trace(trace, where)
    line = TRACED.splitlines()[-1].replace("WHERE", where)
    column = (
        max(line.index(name) + len(name) for name in ("protocol: ", "source: ", "destination: ") if name in line) + 1
    )
    assert problem.startswith(f"x/lab.yaml:9:{column}: ")
    assert "trace: this can only come out one way: " in problem and said in problem


@pytest.mark.parametrize(
    ("trace", "where"),
    [
        ("", "protocol: icmpv6"),
        ("families: [ip, ip6]", "source: 'fd00::1'"),
        ("families: [ip]", "protocol: icmp"),
        ("families: [ip]", "source: 10.0.0.1, protocol: tcp"),
        ("families: [ip]", "source: {one_of: ['fd00::1', 10.0.0.1]}"),
        ("families: [ip]", "source: {contains: 'fd00:'}"),
        ("families: [ip]", "protocol: '47'"),
        ("match: tcp dport 80", "source: 'fd00::1'"),
        ("match: meta l4proto icmp", "protocol: icmpv6"),  # not sure
        ("match: tcp dport 80", "dport: 80, protocol: tcp, sport: 443"),
        ("match: tcp dport 80", "dport: {ge: 443}"),
        ("match: 'tcp dport { 80, 443 }'", "dport: 443"),
        ("match: tcp dport 80-443", "dport: 443"),
        ("match: tcp dport != 80", "dport: 443"),
        ("match: ip saddr 10.0.0.0/8", "source: 10.0.0.1"),
        ("match: ip saddr 10.0.0.1-10.0.0.9", "source: 10.0.0.2"),
        ("match: icmp type echo-request", "protocol: icmp, icmp_type: 8"),
    ],
)
def test_packets_that_a_trace_may_follow(trace: str, where: str) -> None:
    assert told_of_trace(trace, where) == []


@pytest.mark.parametrize(
    ("trace", "path", "said"),
    [
        ("", "[input@eth0]", ": trace: this can only come out one way: the way of a packet begins at ingress, prerouting"),
        ("", "[drop]", "the way of a packet begins at"),
        ("", "[ingress@eth0, prerouting]", "the trace 'hooks' looks at ingress of no device: give it devices"),
        ("", "[output, postrouting, egress]", "the trace 'hooks' looks at egress"),
        ("devices: eth0", "[ingress@eth0, prerouting, input]", None),
        ("", "[output, postrouting, prerouting, input]", None),
        ("", "[prerouting, drop]", None),
    ],
)  # fmt: skip
def test_a_way_that_no_packet_goes(trace: str, path: str, said: str | None) -> None:
    text = TRACED.replace("TRACE", trace).replace("where: {WHERE}}, count: 0", f"during: probe}}, path: {path}")
    told = [str(one) for one in check_filters(parse_lab(text, Path("x/lab.yaml"), "x", "x/lab.yaml"))]
    assert [said is not None and said in one for one in told] == ([] if said is None else [True])
    if said is not None and "egress" in said:
        assert told[0].startswith(f"x/lab.yaml:9:{text.splitlines()[8].index('egress') + 1}: ")


def test_a_lab_that_has_packets_traced_itself_may_see_others() -> None:
    more = "  - {in: a, nft: 'table ip6 t { chain c { type filter hook output priority 0; meta nftrace set 1; }; }'}\n"
    assert told_of_trace("families: [ip]", "protocol: icmpv6") != []
    assert told_of_trace("families: [ip]", "protocol: icmpv6", more) == []


def test_the_capture_that_is_meant() -> None:
    """By the node, the interface (a VLAN's has a dot in its name) and the step, as it is judged."""
    text = LAB.replace("SELECT", "capture: other, match: arp").replace("on: a.eth0, ", "on: b.eth0, ")
    (problem,) = check_filters(parse_lab(text.replace("FILTER", "ip"), Path("x/lab.yaml"), "x", "x/lab.yaml"))
    assert "the capture 'other' keeps only 'tcp'" in problem.message
    text = LAB.replace("SELECT", "match: arp").replace("FILTER", "icmp")
    for on, of in (("a.eth0.10", "eth0.10"), ("a.eth0", "any"), ("a.any", "eth0")):
        changed = text.replace("on: a.eth0, ", f"on: {on}, ").replace("capture: {on: eth0, filter: icmp}",
                                                                       f"capture: {{on: {of}, filter: icmp}}")  # fmt: skip
        (problem,) = check_filters(parse_lab(changed, Path("x/lab.yaml"), "x", "x/lab.yaml"))
        assert "the capture 'seen' keeps only 'icmp'" in problem.message
    alone = text.replace("{a: {}, b: {}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]", "{a: {}}")
    alone = alone.replace("  - {id: other, in: b, capture: {on: eth0, filter: tcp}}\n", "").replace("in: a, ", "")
    assert len(check_filters(parse_lab(alone, Path("x/lab.yaml"), "x", "x/lab.yaml"))) == 1
    elsewhere = text.replace("on: a.eth0, ", "on: a.eth9, ")
    assert check_filters(parse_lab(elsewhere, Path("x/lab.yaml"), "x", "x/lab.yaml")) == ()


def in_control(kept: str, select: str, control: str) -> list[str]:
    text = LAB.replace("count: 0}}", f"count: 1}}, control: {control}}}")
    lab = parse_lab(text.replace("FILTER", kept).replace("SELECT", select), Path("x/lab.yaml"), "x", "x/lab.yaml")
    return [str(problem) for problem in check_filters(lab)]


@pytest.mark.parametrize(
    ("kept", "control", "said"),
    [
        # Blind in the control alone: there the prediction would be false whatever happens.
        ("icmp", "{replace: seen, with: {in: a, capture: {on: eth0, filter: arp}}}", "the capture 'seen' keeps only 'arp'"),
        ("icmp", "[{replace: seen, with: {in: a, capture: {on: eth0, filter: arp}}}]", "the capture 'seen' keeps only 'arp'"),
        # Of the control's own prediction: true whatever happens.
        ("icmp", "{without: probe, predict: {packets: {on: a.eth0, match: arp}, count: 0}}", "keeps only 'icmp'"),
        ("icmp", "[{without: probe, predict: {packets: {on: a.eth0, match: arp}, count: 0}}]", "keeps only 'icmp'"),
        ("icmp", "{without: probe, predict: {expr: n == 0, let: {n: {packets: {on: a.eth0, match: arp}}}}}", "only 'icmp'"),
    ],
)  # fmt: skip
def test_a_control_that_looks_away_shows_nothing(kept: str, control: str, said: str) -> None:
    (problem,) = in_control(kept, "match: icmp", control)
    assert problem.startswith("x/lab.yaml:9:")
    assert "in this control: packets: this can only count 0" in problem and said in problem


@pytest.mark.parametrize(
    "control",
    [
        "{without: probe}",
        "{replace: seen, with: {in: a, capture: {on: eth0}}}",
        "{replace: seen, with: {in: a, capture: {on: eth0, filter: arp}}, predict: {packets: {on: a.eth0, match: arp}, count: 1}}",
        "{without: probe, predict: {packets: {on: a.eth0, match: 'icmp[0] == 0'}, count: 0}}",
        "{none: It is so by definition.}",
    ],
)
def test_a_control_that_may_see_it_is_left_alone(control: str) -> None:
    assert in_control("icmp", "match: icmp", control) == []


def test_what_is_blind_in_the_experiment_is_told_once() -> None:
    (problem,) = in_control("icmp", "match: arp", "{without: probe}")
    assert ": packets: this can only count 0" in problem


def test_a_control_that_traces_others_shows_nothing() -> None:
    text = LAB.replace("capture: {on: eth0, filter: FILTER}", "trace: ").replace(
        "{packets: {on: a.eth0, SELECT}, count: 0}}",
        "{trace: {at: seen, where: {source: 10.0.0.1}}, ends: accept}, control: CONTROL}",
    )

    def found(control: str) -> list[str]:
        lab = parse_lab(text.replace("CONTROL", control), Path("x/lab.yaml"), "x", "x/lab.yaml")
        return [problem.message for problem in check_filters(lab)]

    (told,) = found("{replace: seen, with: {in: a, trace: {families: [ip6]}}}")
    assert told.startswith(
        "in this control: trace: this can only come out one way: the trace 'seen' follows IPv6 packets"
    )
    (told,) = found(
        "{replace: seen, with: {in: a, trace: ip ttl 3}, predict: {trace: {at: seen, where: {source: 'fd00::1'}}, count: 0}}"
    )
    assert told.startswith(
        "in this control: trace: this can only come out one way: the trace 'seen' follows IPv4 packets"
    )
    assert found("{replace: seen, with: {in: a, trace: {families: [ip]}}}") == []
