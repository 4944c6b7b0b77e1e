"""Counts that can only be 0 are found before anything starts; and a count that may be more is never called so."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.check import coverage as vacuous
from labrun.lab.check.filters import check_filters
from labrun.lab.load import parse_lab
from labrun.packets.bpf import translate
from labrun.packets.dissect.walk import ETHERNET, walk
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
        ("icmp", "fields: {tcp.srcport: 80}"),  # an error quotes it
        ("udp", "fields: {icmp.type: 8}"),  # VXLAN
        ("udp port 4789", "fields: {arp.opcode: 1}"),
        ("ip proto 47", "fields: {ipv6.hlim: 64}"),
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


@pytest.mark.parametrize("kept", ["arp", "icmp", "icmp6", "tcp", "udp", "ip", "ip6", "tcp port 80", "not ip", "vlan"])
def test_no_packet_that_a_filter_keeps_has_a_header_which_is_said_to_be_excluded(kept: str) -> None:
    program = compile_filter(kept)
    assert program is not None
    passes = translate(program)
    excluded = {name for name, asked in vacuous._MAY_HAVE.items() if vacuous._excludes(kept, asked)}
    for data in [*CORPUS.values(), *mutated(400, 11)]:
        if passes(data, len(data)):
            layers, _ = walk(data, ETHERNET, len(data))
            assert not excluded & {layer.protocol for layer in layers}, data.hex()


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
