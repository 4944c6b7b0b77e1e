"""Packets that are sorted out at fixed places: 0 for a plain one that cannot pass, 1 for one that has to be looked at.

That no packet is sorted out which would have passed is held by test_fields, on packets of every kind.
"""

from __future__ import annotations

import struct

import pytest
from labrun.lab.predictions import Check
from labrun.packets.quick import quick_test
from support.headers import eth, icmp, ip, ipv6, tag, tcp, udp

IP, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

UDP4 = eth(IP, ip(UDP, udp(4000, 9999, b"data")))
TCP4 = eth(IP, ip(TCP, tcp(4000, 9999)))
ECHO4 = eth(IP, ip(ICMP, icmp(8)))
SCTP4 = eth(IP, ip(132, bytes(12)))
UDP6 = eth(IPV6, ipv6(UDP, udp(4000, 9999)))
TCP6 = eth(IPV6, ipv6(TCP, tcp(4000, 9999)))
ECHO6 = eth(IPV6, ipv6(ICMPV6, icmp(128)))
ARP4 = eth(ARP, struct.pack(">HHBBH", 1, IP, 6, 4, 2) + bytes(20))
PLAIN = {
    "udp": UDP4,
    "tcp": TCP4,
    "echo": ECHO4,
    "sctp": SCTP4,
    "udp6": UDP6,
    "tcp6": TCP6,
    "echo6": ECHO6,
    "arp": ARP4,
}


def asked(data: bytes, name: str, check: Check) -> int:
    quick = quick_test({name: check})
    assert quick is not None
    return quick(data)


@pytest.mark.parametrize(
    ("name", "those"),
    [
        ("eth.src", set(PLAIN)),
        ("arp.opcode", {"arp"}),
        ("ip.ttl", {"udp", "tcp", "echo", "sctp"}),
        ("ip.version", set(PLAIN) - {"arp"}),
        ("ipv6.hlim", {"udp6", "tcp6", "echo6"}),
        ("tcp.dstport", {"tcp", "tcp6"}),
        ("tcp.len", {"tcp", "tcp6"}),
        ("udp.dstport", {"udp", "udp6"}),
        ("icmp.type", {"echo"}),
        ("icmpv6.type", {"echo6"}),
        ("vlan.id", set()),
        ("vxlan.vni", set()),
        ("dns.id", set()),
        ("dhcp.type", set()),
        ("gre.proto", set()),
    ],
)
def test_a_plain_packet_without_the_header_is_sorted_out(name: str, those: set[str]) -> None:
    anything = Check(matches=".")
    assert {packet for packet, data in PLAIN.items() if asked(data, name, anything)} == those


# Of a plain packet: a check that it passes, and then others that it does not.
VALUES = [
    (UDP4, "ip.ttl", Check(equals=64), [Check(equals=63), Check(equals=65), Check(equals=64.5)]),
    (UDP4, "ip.ttl", Check(one_of=(1, 64)), [Check(one_of=(1, 63)), Check(one_of=(65,))]),
    (UDP4, "ip.ttl", Check(ge=64), [Check(ge=65), Check(ge=float("inf"))]),
    (UDP4, "ip.ttl", Check(le=64), [Check(le=63), Check(le=float("-inf"))]),
    (UDP4, "ip.ttl", Check(gt=63), [Check(gt=64), Check(gt=64.5)]),
    (UDP4, "ip.ttl", Check(lt=65), [Check(lt=64)]),
    (UDP4, "ip.ttl", Check(lt=float("inf"), gt=float("-inf")), [Check(lt=float("nan")), Check(ge=float("nan")), Check(equals=float("nan")), Check(equals=float("-inf"))]),
    (UDP4, "ip.ttl", Check(gt=63, lt=65), [Check(gt=63, lt=64), Check(gt=64, lt=66), Check(ge=64, equals=65)]),
    (UDP4, "ip.id", Check(equals=7), [Check(equals=0x0700), Check(equals=8)]),
    (UDP4, "ip.version", Check(equals=4), [Check(equals=6), Check(equals=5)]),
    (UDP6, "ip.version", Check(equals=6), [Check(equals=4)]),
    (UDP4, "ip.proto", Check(equals=17), [Check(equals=6)]),
    (UDP4, "ip.src", Check(equals="10.0.1.2"), [Check(equals="10.0.1.3"), Check(equals="10.0.2.3")]),
    (UDP4, "ip.dst", Check(equals="10.0.2.3/32"), [Check(equals="10.0.2.2/32")]),
    (UDP4, "ip.src", Check(one_of=("1.2.3.4", "10.0.1.2")), [Check(one_of=("1.2.3.4", "10.0.2.3"))]),
    (UDP4, "eth.dst", Check(equals="02:00:00:00:00:02"), [Check(equals="02:00:00:00:00:01")]),
    (UDP4, "eth.src", Check(equals="02-00-00-00-00-01"), [Check(equals="02-00-00-00-00-02")]),
    (UDP4, "udp.srcport", Check(equals=4000), [Check(equals=9999), Check(lt=4000)]),
    (UDP4, "udp.length", Check(equals=12), [Check(equals=8)]),
    (UDP6, "udp.dstport", Check(equals=9999), [Check(equals=4000), Check(gt=9999)]),
    (UDP6, "ipv6.hlim", Check(equals=64), [Check(equals=63)]),
    (UDP6, "ipv6.src", Check(equals="2001:db8:0::1"), [Check(equals="2001:db8::2")]),
    (UDP6, "ipv6.dst", Check(equals="2001:db8::2"), [Check(equals="2001:db8::1")]),
    (TCP4, "tcp.dstport", Check(equals=9999), [Check(equals=4000)]),
    (TCP4, "tcp.seq_raw", Check(equals=0x01020304), [Check(equals=0x04030201), Check(ge=0x01020305)]),
    (TCP6, "tcp.ack_raw", Check(equals=0x05060708), [Check(equals=0x01020304), Check(lt=0x05060708)]),
    (TCP4, "tcp.flags.ack", Check(equals=True), [Check(equals=False), Check(equals=0)]),
    (TCP4, "tcp.flags.push", Check(equals=1), [Check(equals=False)]),
    (TCP4, "tcp.flags.syn", Check(equals=False), [Check(equals=True), Check(equals=1), Check(one_of=(True,))]),
    (TCP4, "tcp.flags.syn", Check(one_of=(False, True)), []),
    (ECHO4, "icmp.type", Check(equals=8), [Check(equals=0)]),
    (ECHO6, "icmpv6.type", Check(equals=128), [Check(equals=129)]),
    (ARP4, "arp.opcode", Check(equals=2), [Check(equals=1)]),
    (ARP4, "eth.src", Check(equals="02:00:00:00:00:01"), [Check(equals="02:00:00:00:00:02")]),
    (SCTP4, "ip.proto", Check(equals=132), [Check(equals=17)]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "name", "passes", "others"), VALUES)
def test_a_plain_packet_with_another_value_is_sorted_out(
    data: bytes, name: str, passes: Check, others: list[Check]
) -> None:
    assert asked(data, name, passes) == 1
    assert [asked(data, name, other) for other in others] == [0] * len(others)


@pytest.mark.parametrize(
    ("place", "value", "name", "found"),
    [
        (15, 0b10111001, "ip.dsfield.dscp", 0b101110),
        (15, 0b10111001, "ip.dsfield.ecn", 1),
        (20, 0x40, "ip.flags.df", True),
        (20, 0x80, "ip.flags.df", False),
        (14, 0x45, "ip.version", 4),
    ],
)
def test_of_a_byte_only_the_field_s_bits_count(place: int, value: int, name: str, found: int | bool) -> None:
    data = bytearray(UDP4)
    data[place] = value
    assert asked(bytes(data), name, Check(equals=found)) == 1
    assert asked(bytes(data), name, Check(equals=not found if isinstance(found, bool) else found + 1)) == 0
    if not isinstance(found, bool):
        assert asked(bytes(data), name, Check(gt=found)) == 0


def test_the_flow_of_ipv6_is_twenty_bits() -> None:
    data = bytearray(UDP6)
    data[14:18] = bytes.fromhex("6abcdef0")
    assert asked(bytes(data), "ipv6.flow", Check(equals=0xCDEF0)) == 1
    assert asked(bytes(data), "ipv6.flow", Check(equals=0xBCDEF0)) == 0
    assert asked(bytes(data), "ipv6.flow", Check(gt=0xCDEF0)) == 0


@pytest.mark.parametrize(
    ("data", "name", "check"),
    [
        (UDP4, "ip.src", Check(equals="192.168.0.0/16")),
        (UDP4, "ip.src", Check(equals="192.168.9.9/16")),
        (UDP4, "ip.src", Check(one_of=("192.168.0.0/16", "1.2.3.4"))),
        (UDP6, "ipv6.src", Check(equals="fd00::/8")),
        (UDP4, "eth.src", Check(contains="ff")),
        (UDP4, "ip.addr", Check(equals="1.2.3.4")),  # is at two places
        (TCP4, "tcp.len", Check(equals=99)),  # is at none
    ],
)
def test_what_takes_more_than_a_comparison_is_looked_at(data: bytes, name: str, check: Check) -> None:
    assert asked(data, name, check) == 1


def test_of_several_checks_one_that_fails_is_enough() -> None:
    def found(**checks: int) -> int:
        quick = quick_test({name.replace("_", "."): Check(equals=value) for name, value in checks.items()})
        assert quick is not None
        return quick(UDP4)

    assert found(ip_ttl=64, udp_dstport=9999, ip_id=7) == 1
    assert found(ip_ttl=63, udp_dstport=9999, ip_id=7) == 0
    assert found(ip_ttl=64, udp_dstport=9998, ip_id=7) == 0
    assert found(ip_ttl=64, udp_dstport=9999, ip_id=8) == 0
    assert found(ip_ttl=64, tcp_dstport=9999) == 0
    assert found(tcp_dstport=9999, ip_ttl=64) == 0
    assert found(udp_dstport=9999, dns_id=0) == 0


INNER = ip(UDP, udp(1, 2))


@pytest.mark.parametrize(
    "data",
    [
        eth(0x8100, tag(5, IP, UDP4[14:])),
        eth(0x88A8, tag(5, IP, UDP4[14:])),
        eth(0x88CC, bytes(60)),
        eth(0x0026, bytes(60)),
        UDP4[:41],
        eth(IP, ip(UDP, udp(4000, 9999), options=bytes(4))),
        eth(IP, ip(UDP, udp(4000, 9999), first=0x55)),
        eth(IP, ip(UDP, udp(4000, 9999), fragment=0x2000)),
        eth(IP, ip(UDP, udp(4000, 9999), fragment=1)),
        eth(IP, ip(UDP, udp(4000, 9999), fragment=0x0100)),
        eth(IP, ip(UDP, udp(4000, 9999), fragment=0x1000)),
        *(eth(IP, ip(ICMP, icmp(kind, INNER))) for kind in (3, 4, 5, 11, 12)),
        eth(IP, ip(4, INNER)),
        eth(IP, ip(41, ipv6(UDP, udp(1, 2)))),
        eth(IP, ip(47, b"\0\0\x08\0" + INNER)),
        *(eth(IP, ip(UDP, udp(*ports, bytes(60)))) for ports in ((1, 4789), (4789, 1), (1, 8472), (8472, 1))),
        eth(IPV6, ipv6(UDP, udp(4000, 9999), first=0x40)),
        UDP6[:61],
        eth(IPV6, ipv6(0, bytes((UDP, 0)) + bytes(6) + udp(1, 2))),
        eth(IPV6, ipv6(44, bytes((UDP, 0)) + bytes(6) + udp(1, 2))),
        eth(IPV6, ipv6(4, INNER)),
        eth(IPV6, ipv6(59, bytes(40))),
        *(eth(IPV6, ipv6(ICMPV6, icmp(kind, ipv6(UDP, udp(1, 2))))) for kind in (1, 2, 3, 4)),
        *(eth(IPV6, ipv6(UDP, udp(*ports, bytes(60)))) for ports in ((1, 4789), (4789, 1), (1, 8472), (8472, 1))),
    ],
)
@pytest.mark.parametrize("name", ["ip.ttl", "eth.type", "arp.opcode", "gre.proto"])
def test_a_packet_of_another_shape_is_looked_at(data: bytes, name: str) -> None:
    """It may have headers that a plain one has not."""
    assert asked(data, name, Check(equals=1)) == 1


@pytest.mark.parametrize(
    "data",
    [
        UDP4[:42],
        UDP6[:62],
        ECHO6[:62],
        ECHO4[:42],
        TCP4[:54],
        TCP6[:74],
        ARP4[:42],
        eth(IP, ip(UDP, udp(4000, 9999), fragment=0x4000)),
        eth(IP, ip(UDP, udp(4788, 4790))),
        *(eth(IP, ip(ICMP, icmp(kind))) for kind in (0, 8, 13, 14)),
        *(eth(IPV6, ipv6(ICMPV6, icmp(kind))) for kind in (0, 5, 128, 129, 135)),
    ],
)
def test_a_packet_is_plain_however_short_or_long_its_payload_is(data: bytes) -> None:
    assert asked(data, "gre.proto", Check(equals=1)) == 0
    assert asked(data + bytes(100), "gre.proto", Check(equals=1)) == 0


@pytest.mark.parametrize(
    ("data", "size", "name"),
    [(TCP4, 54, "tcp.dstport"), (TCP6, 74, "tcp.dstport"), (UDP6, 62, "udp.dstport"), (ECHO6, 62, "icmpv6.code")],
)
def test_a_header_that_is_not_whole_is_looked_at(data: bytes, size: int, name: str) -> None:
    for asks, check in ((name, Check(equals=77)), ("eth.dst", Check(equals="02:00:00:00:00:09"))):
        assert [asked(data[:kept], asks, check) for kept in range(size + 1)] == [1] * size + [0]


def test_a_tcp_header_that_is_not_whole_has_no_udp_behind_it_all_the_same() -> None:
    assert [asked(TCP4[:kept], "udp.dstport", Check(equals=77)) for kept in range(40, 55)] == [1, 1] + [0] * 13


@pytest.mark.parametrize(
    ("name", "ports"),
    [("dns.id", {53, 5353, 5355}), ("dns.a", {53, 5353, 5355}), ("dhcp.type", {67, 68}), ("dhcp.id", {67, 68})],
)
@pytest.mark.parametrize("kind", [IP, IPV6])
def test_behind_the_ports_of_a_protocol_its_fields_are_looked_for(name: str, ports: set[int], kind: int) -> None:
    def found(src: int, dst: int) -> int:
        packet = ip(UDP, udp(src, dst, bytes(12))) if kind == IP else ipv6(UDP, udp(src, dst, bytes(12)))
        return asked(eth(kind, packet), name, Check(contains="no such"))

    some = (1, 52, 53, 54, 66, 67, 68, 69, 5352, 5353, 5354, 5355, 5356, 53 << 8, 9999)
    assert {port for port in some if found(port, 9999)} == ports
    assert {port for port in some if found(9999, port)} == ports


@pytest.mark.parametrize("kind", [IP, IPV6])
def test_behind_port_53_of_tcp_there_is_dns_and_never_dhcp(kind: int) -> None:
    def found(name: str, src: int, dst: int) -> int:
        packet = ip(TCP, tcp(src, dst, bytes(12))) if kind == IP else ipv6(TCP, tcp(src, dst, bytes(12)))
        return asked(eth(kind, packet), name, Check(equals=1))

    some = (1, 52, 53, 54, 67, 68, 5353, 53 << 8, 9999)
    assert {port for port in some if found("dns.id", port, 9999)} == {53}
    assert {port for port in some if found("dns.id", 9999, port)} == {53}
    assert {port for port in some if found("dhcp.type", port, 9999) or found("dhcp.type", 9999, port)} == set()


def test_without_checks_nothing_is_sorted_out() -> None:
    assert quick_test({}) is None


def test_what_is_made_can_call_nothing_but_len() -> None:
    quick = quick_test({"ip.ttl": Check(equals=64)})
    assert quick.__globals__ == {"len": len, "__builtins__": {}}  # type: ignore[union-attr]
    assert quick.__code__.co_filename == "<quick>"  # type: ignore[union-attr]  # which a traceback shows
