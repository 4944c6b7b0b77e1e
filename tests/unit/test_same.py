"""The same packet on several interfaces: what keeps two appearances one packet, and when it cannot be known."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.logic.compare import Count
from labrun.observe.journeys import RECORD, SHOWN, Sightings, seen_on
from labrun.packets.identity import SIZE, differences, identity
from labrun.packets.pcapng import Packet
from scapy.all import (
    ARP,
    ICMP,
    IP,
    TCP,
    UDP,
    Dot1Q,
    Ether,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrHopByHop,
    fragment,
)

CHAIN = ("veth0", "cni0", "eth0")
E = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
E2 = Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04")
Event = tuple[str, bytes]


def mark(packet: object, linktype: int = 1, nat: bool = False) -> bytes | None:
    data = bytes(packet)  # type: ignore[call-overload]
    found = identity(data, linktype, len(data), nat)
    return None if found is None else found.same


def like(packet: object) -> bytes | None:
    data = bytes(packet)  # type: ignore[call-overload]
    found = identity(data, 1, len(data))
    return None if found is None else found.like


def udp(number: int = 0, **ip: object) -> bytes:
    head: dict[str, object] = {"src": "10.0.1.2", "dst": "10.0.2.3", "id": 7, "ttl": 64} | ip
    return bytes(E / IP(**head) / UDP(sport=1000, dport=2000) / struct.pack(">I", number))


def packets(*events: Event, start: int = 1000, apart: int = 10) -> list[Packet]:
    return [
        Packet(number, interface, start + number * apart, None, 1, data, len(data))
        for number, (interface, data) in enumerate(events, 1)
    ]


SENT = IP(src="10.0.1.2", dst="10.0.2.3", id=7, ttl=64, tos=0x28)
FORWARDED = IP(src="10.0.1.2", dst="10.0.2.3", id=7, ttl=61, tos=0x28)
L4 = UDP(sport=1000, dport=2000) / b"payload"
SIX = {"src": "fd00::1", "dst": "fd00::2"}
ALIKE = {
    "other link header": (E / SENT / L4, E2 / SENT / L4),
    "ttl and its checksum": (E / SENT / L4, E2 / FORWARDED / L4),
    "vlan tag": (E / SENT / L4, E / Dot1Q(vlan=7) / FORWARDED / L4),
    "two tags": (E / SENT / L4, E / Dot1Q(vlan=7) / Dot1Q(vlan=8) / FORWARDED / L4),
    "padding": (E / SENT / L4, bytes(E / SENT / L4) + bytes(7)),
    "congestion mark": (E / IP(id=7, tos=2) / L4, E / IP(id=7, tos=3) / L4),
    "checksum to be filled in": (E / SENT / UDP(sport=1000, dport=2000, chksum=0x1234) / b"payload", E / SENT / L4),
    "tcp checksum": (E / SENT / TCP(chksum=1), E / SENT / TCP(chksum=2)),
    "icmp checksum": (E / SENT / ICMP(chksum=1), E / SENT / ICMP(chksum=2)),
    "9100 tag": (E / SENT / L4, Ether(type=0x9100) / b"\0\7\x08\0" / bytes(FORWARDED / L4)),
    "hop limit": (E / IPv6(hlim=64, **SIX) / L4, E2 / IPv6(hlim=60, **SIX) / L4),
    "congestion mark 6": (E / IPv6(tc=2, **SIX) / L4, E2 / IPv6(tc=3, **SIX) / L4),
    "arp": (E / ARP(psrc="10.0.0.1", hwsrc="02:00:00:00:00:01"), bytes(E2 / ARP(psrc="10.0.0.1", hwsrc="02:00:00:00:00:01")) + bytes(18)),
}  # fmt: skip
DIFFERENT = {
    "payload": (E / SENT / L4, E / SENT / UDP(sport=1000, dport=2000) / b"paylaod"),
    "source": (E / SENT / L4, E / IP(src="10.0.1.9", dst="10.0.2.3", id=7, tos=0x28) / L4),
    "destination": (E / SENT / L4, E / IP(src="10.0.1.2", dst="10.0.2.9", id=7, tos=0x28) / L4),
    "id": (E / SENT / L4, E / IP(src="10.0.1.2", dst="10.0.2.3", id=8, tos=0x28) / L4),
    "dscp": (E / SENT / L4, E / IP(src="10.0.1.2", dst="10.0.2.3", id=7, tos=0x48) / L4),
    "flags": (E / SENT / L4, E / IP(src="10.0.1.2", dst="10.0.2.3", id=7, tos=0x28, flags="DF") / L4),
    "port": (E / SENT / L4, E / SENT / UDP(sport=1001, dport=2000) / b"payload"),
    "sequence": (E / SENT / TCP(seq=1), E / SENT / TCP(seq=2)),
    "tcp flags": (E / SENT / TCP(flags="S"), E / SENT / TCP(flags="SA")),
    "urgent pointer": (E / SENT / TCP(urgptr=1), E / SENT / TCP(urgptr=2)),
    "tcp options": (E / SENT / TCP(options=[("MSS", 1460)]), E / SENT / TCP(options=[("MSS", 1400)])),
    "echo number": (E / SENT / ICMP(seq=1), E / SENT / ICMP(seq=2)),
    "protocol": (E / SENT / bytes(8), E / IP(src="10.0.1.2", dst="10.0.2.3", id=7, tos=0x28, proto=99) / bytes(8)),
    "fragments": tuple(E / part for part in fragment(IP(id=5) / UDP() / bytes(64), 32)[:2]),
    "flow label": (E / IPv6(fl=1, **SIX) / L4, E / IPv6(fl=2, **SIX) / L4),
    "extension header": (E / IPv6(**SIX) / L4, E / IPv6(**SIX) / IPv6ExtHdrHopByHop() / L4),
    "ethertype": (Ether(type=0x9000) / b"x", Ether(type=0x9001) / b"x"),
}  # fmt: skip
ALSO_DIFFERENT = {
    "options": (E / IP(id=7, options=b"\7\7\4\0\0\0\0\0") / L4, E / IP(id=7, options=b"\7\7\x08\1\2\3\4\0") / L4),
    "no options any more": (E / IP(id=7, options=b"\7\7\4\0\0\0\0\0") / L4, E / IP(id=7) / L4),
    "length 0": (E / IP(id=7, len=0) / L4, E / IP(id=7, len=0) / UDP(sport=1000, dport=2000) / b"paylaod"),
    "length 0, 6": (E / IPv6(plen=0, **SIX) / L4, E / IPv6(plen=0, **SIX) / UDP(sport=1000, dport=2000) / b"paylaod"),
    "traffic class": (E / IPv6(tc=0x20, **SIX) / UDP() / bytes(20), E / IPv6(tc=0x40, **SIX) / UDP() / bytes(20)),
}
NATED = {
    "source": (E / SENT / L4, E / IP(src="192.0.2.1", dst="10.0.2.3", id=7, ttl=63, tos=0x28) / UDP(sport=61000, dport=2000) / b"payload"),
    "destination": (E / SENT / TCP(dport=80, seq=5), E / IP(src="10.0.1.2", dst="10.9.9.9", id=7, tos=0x28) / TCP(dport=8080, seq=5)),
    "echo": (E / SENT / ICMP(id=1, seq=2) / b"x", E / IP(src="192.0.2.1", dst="10.0.2.3", id=7, tos=0x28) / ICMP(id=500, seq=2) / b"x"),
    "echo 6": (E / IPv6(**SIX) / ICMPv6EchoRequest(id=1, seq=2), E / IPv6(src="fd01::9", dst="fd00::2") / ICMPv6EchoRequest(id=9, seq=2)),
    "quoted": (
        E / SENT / ICMP(type=3, code=1) / IP(src="10.0.1.2", dst="1.1.1.1", id=3) / UDP(sport=5, dport=6) / b"xy",
        E / IP(src="192.0.2.1", dst="192.0.2.9", id=7, tos=0x28) / ICMP(type=3, code=1) / IP(src="192.0.2.5", dst="1.1.1.1", id=3) / UDP(sport=500, dport=6) / b"xy",
    ),
    "quoted 6": (
        E / IPv6(**SIX) / ICMPv6PacketTooBig(mtu=1280) / IPv6(src="fd00::2", dst="fd00::3") / UDP(sport=5, dport=6),
        E / IPv6(src="fd09::1", dst="fd00::2") / ICMPv6PacketTooBig(mtu=1280) / IPv6(src="fd01::9", dst="fd00::3") / UDP(sport=55, dport=6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_what_forwarding_changes_keeps_a_packet_the_same(case: str) -> None:
    first, second = ALIKE[case]
    assert mark(first) == mark(second)
    assert mark(first, nat=True) == mark(second, nat=True)


# What a router on the way may make of a packet, and what differs then. All else is surely another packet.
REWRITTEN = {
    "dscp": ("ip.dsfield.dscp",), "flags": ("ip.flags.df",), "source": ("ip.src",), "destination": ("ip.dst",),
    "port": ("udp.srcport",), "tcp options": ("tcp.options.mss_val",), "options": ("options or payload",),
    "no options any more": ("ip.hdr_len", "ip.len"), "flow label": None, "traffic class": ("ipv6.tclass",),
}  # fmt: skip


@pytest.mark.parametrize("case", [*DIFFERENT, *ALSO_DIFFERENT])
def test_what_a_router_may_rewrite_leaves_a_packet_like_itself(case: str) -> None:
    first, second = (DIFFERENT | ALSO_DIFFERENT)[case]
    assert mark(first) != mark(second)
    names = REWRITTEN.get(case)
    if names is not None:
        assert like(first) == like(second)
        assert differences(bytes(first), bytes(second), 1) == names  # type: ignore[call-overload]
    elif case not in REWRITTEN:
        assert like(first) != like(second)


@pytest.mark.parametrize("case", NATED)
def test_a_translated_packet_is_like_itself_if_enough_is_left_to_tell(case: str) -> None:
    first, second = NATED[case]
    assert (like(first) == like(second)) is (case != "echo 6")  # without ip.id, and without data


@pytest.mark.parametrize("case", ALIKE)
def test_the_same_packet_is_like_itself(case: str) -> None:
    first, second = ALIKE[case]
    assert like(first) == like(second)


@pytest.mark.parametrize("case", DIFFERENT)
def test_all_else_makes_another_packet(case: str) -> None:
    first, second = DIFFERENT[case]
    assert mark(first) != mark(second)


@pytest.mark.parametrize("case", NATED)
def test_a_translated_packet_is_the_same_only_where_that_is_asked(case: str) -> None:
    first, second = NATED[case]
    assert mark(first) != mark(second)
    assert mark(first, nat=True) == mark(second, nat=True)


@pytest.mark.parametrize("case", ["payload", "id", "sequence", "tcp flags", "echo number", "fragments", "tcp options"])
def test_what_translation_keeps_tells_packets_apart_still(case: str) -> None:
    first, second = DIFFERENT[case]
    assert mark(first, nat=True) != mark(second, nat=True)


P = b"payload"
QUOTED = {"src": "10.0.9.1", "dst": "10.0.9.2", "id": 3}
LINK, TTL4, UDP4 = range(12), (22, 24, 25), (40, 41)
# A packet; the bytes of it that forwarding may change; and those that address translation may change besides.
LEFT_OUT: dict[str, tuple[object, Iterable[int], Iterable[int]]] = {
    "udp": (E / SENT / UDP(sport=1000, dport=2000) / P, (*LINK, *TTL4, *UDP4), range(26, 38)),
    "udp, padded": (bytes(E / SENT / UDP() / P) + bytes(5), (*LINK, *TTL4, *UDP4, *range(49, 54)), range(26, 38)),
    "tcp": (E / SENT / TCP(options=[("MSS", 1460)]) / P, (*LINK, *TTL4, 50, 51), range(26, 38)),
    "options": (E / IP(id=7, options=b"\x94\4\0\0") / UDP() / P, (*LINK, *TTL4, 44, 45), (*range(26, 34), *range(38, 42))),
    "tags": (E / Dot1Q(vlan=7) / Dot1Q(vlan=8) / SENT / UDP() / P, (*LINK, 14, 15, 18, 19, 30, 32, 33, 48, 49), range(34, 46)),
    "a later fragment": (E / IP(id=7, frag=3, proto=17) / bytes(24), (*LINK, *TTL4), range(26, 34)),
    "the first fragment": (E / IP(id=7, flags="MF") / UDP() / P, (*LINK, *TTL4, *UDP4), range(26, 38)),
    "segmented by the device": (E / IP(len=0) / UDP() / P, (*LINK, *TTL4, *UDP4), range(26, 38)),
    "echo": (E / SENT / ICMP(type=8, id=1, seq=2) / P, (*LINK, *TTL4, 36, 37), (*range(26, 34), 36, 37, 38, 39)),
    "timestamp": (E / SENT / ICMP(type=13, id=1, seq=2), (*LINK, *TTL4, 36, 37), (*range(26, 34), 36, 37, 38, 39)),
    "another protocol": (E / IP(id=7, proto=99) / P / P, (*LINK, *TTL4), range(26, 34)),
    "an error about udp": (
        E / SENT / ICMP(type=3, code=4) / IP(**QUOTED) / UDP() / P,
        (*LINK, *TTL4, 36, 37), (*range(26, 34), 36, 37, 52, 53, *range(54, 66), 68, 69),
    ),
    "an error about an echo": (
        E / SENT / ICMP(type=11) / IP(**QUOTED) / ICMP(type=8, id=1, seq=2) / P,
        (*LINK, *TTL4, 36, 37), (*range(26, 34), 36, 37, 52, 53, *range(54, 62), *range(64, 68)),
    ),
    "an error about options": (
        E / SENT / ICMP(type=3) / IP(options=b"\x94\4\0\0", **QUOTED) / UDP() / P,
        (*LINK, *TTL4, 36, 37), (*range(26, 34), 36, 37, 52, 53, *range(54, 62), *range(66, 70), 72, 73),
    ),
    "an error about another protocol": (
        E / SENT / ICMP(type=12) / IP(proto=99, **QUOTED) / P / P, (*LINK, *TTL4, 36, 37), (*range(26, 34), 36, 37, 52, 53, *range(54, 62)),
    ),
    "a short error": (E / SENT / ICMP(type=3) / bytes(19), (*LINK, *TTL4, 36, 37), range(26, 34)),
    "a short message": (E / IP(id=7, proto=1) / b"\x08\0abcde", (*LINK, *TTL4, 36, 37), range(26, 34)),
    "udp 6": (E / IPv6(**SIX) / UDP() / P, (*LINK, 21, 60, 61), range(22, 58)),
    "udp 6, padded": (bytes(E / IPv6(**SIX) / UDP() / P) + bytes(5), (*LINK, 21, 60, 61, *range(69, 74)), range(22, 58)),
    "a long udp 6": (bytes(E / IPv6(**SIX) / UDP() / bytes(300)) + bytes(5), (*LINK, 21, 60, 61, *range(362, 367)), range(22, 58)),
    "jumbo 6": (E / IPv6(plen=0, **SIX) / UDP() / P, (*LINK, 21, 60, 61), range(22, 58)),
    "tcp 6": (E / IPv6(**SIX) / TCP(), (*LINK, 21, 70, 71), range(22, 58)),
    "echo 6": (E / IPv6(**SIX) / ICMPv6EchoRequest(id=1, seq=2) / P, (*LINK, 21, 56, 57), (*range(22, 54), *range(56, 60))),
    "options 6": (E / IPv6(**SIX) / IPv6ExtHdrHopByHop() / UDP() / P, (*LINK, 21), range(22, 54)),
    "an error 6 about udp": (
        E / IPv6(**SIX) / ICMPv6PacketTooBig(mtu=1280) / IPv6(**SIX) / UDP() / P,
        (*LINK, 21, 56, 57), (*range(22, 54), 56, 57, *range(70, 106), 108, 109),
    ),
    "an error 6 about an echo": (
        E / IPv6(**SIX) / ICMPv6PacketTooBig(mtu=1280) / IPv6(**SIX) / ICMPv6EchoRequest(id=1, seq=2) / P,
        (*LINK, 21, 56, 57), (*range(22, 54), 56, 57, *range(70, 102), *range(104, 108)),
    ),
    "arp": (bytes(E / ARP()) + bytes(18), (*LINK, *range(42, 60)), ()),
    "another ethertype": (Ether(type=0x9000) / P, LINK, ()),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT_OUT)
def test_just_these_bytes_do_not_count(case: str) -> None:
    """Every byte of the packet changed, one after the other. (Bit 2 of each: of the traffic class it counts.)"""
    packet, forwarding, translation = LEFT_OUT[case]
    data = bytes(packet)  # type: ignore[call-overload]
    for nat, wanted in ((False, {*forwarding}), (True, {*forwarding, *translation})):
        found = {
            at for at in range(len(data))
            if mark(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], nat=nat) == mark(data, nat=nat)
        }  # fmt: skip
        assert found == wanted, (nat, found ^ wanted)


@pytest.mark.parametrize("nat", [False, True])
def test_of_the_traffic_class_only_the_congestion_mark_does_not_count(nat: bool) -> None:
    for data, mask in ((bytes(E / SENT / L4), 0x03), (bytes(E / IPv6(**SIX) / L4), 0x30)):
        for bit in range(8):
            changed = data[:15] + bytes([data[15] ^ 1 << bit]) + data[16:]
            assert (mark(changed, nat=nat) == mark(data, nat=nat)) == bool(mask & 1 << bit)


SIXES = IPv6(**SIX)


@pytest.mark.parametrize(
    ("first", "second", "alike", "translated"),
    [
        # A header and nothing else: the hops to live and the padding do not count, the protocol does.
        (E / IP(id=7, ttl=9), E / IP(id=7, ttl=8), True, True),
        (E / IP(id=7), bytes(E / IP(id=7)) + bytes(26), True, True),
        (E / IP(id=7, proto=99), E / IP(id=7, proto=98), False, False),
        (E / IP(id=7, src="10.0.0.1"), E / IP(id=7, src="10.0.0.9"), False, True),
        (E / IPv6(hlim=9), E / IPv6(hlim=8), True, True),
        (E / IPv6(src="fd00::1"), E / IPv6(src="fd00::9"), False, True),
        # Long enough that the length takes both of its bytes.
        (E / SENT / UDP() / bytes(300), bytes(E / SENT / UDP() / bytes(300)) + bytes(9), True, True),
        (E / SENT / UDP() / bytes(300), E / SENT / UDP() / (bytes(299) + b"x"), False, False),
        # A fragment from far behind: where a first one has its checksum there are data.
        (E / IP(id=7, frag=256, proto=17) / bytes(24), E / IP(id=7, frag=256, proto=17) / (bytes(6) + b"x" + bytes(17)), False, False),
        # Errors that quote a header and nothing else.
        (E / SENT / ICMP(type=3) / IP(src="10.0.0.1"), E / SENT / ICMP(type=3) / IP(src="10.0.0.9"), False, True),
        (E / SIXES / ICMPv6PacketTooBig() / IPv6(src="fd00::1"), E / SIXES / ICMPv6PacketTooBig() / IPv6(src="fd00::9"), False, True),
        # Not an error, though as long as one.
        (E / SIXES / ICMPv6Unknown(type=200) / bytes(60), E / SIXES / ICMPv6Unknown(type=200) / (bytes(30) + b"x" + bytes(29)), False, False),
    ],
)  # fmt: skip
def test_packets_at_the_bounds(first: object, second: object, alike: bool, translated: bool) -> None:
    assert (mark(first) == mark(second), mark(first, nat=True) == mark(second, nat=True)) == (alike, translated)


@pytest.mark.parametrize("size", range(8, 48))
def test_a_short_icmpv6_error_counts_with_every_byte(size: int) -> None:
    error = bytes((1, 0, 0, 0, 0, 0, 0, 0)) + bytes(size - 8)
    data = bytes(E / IPv6(nh=58, **SIX)) + error
    data = data[:18] + bytes((0, size)) + data[20:]
    assert mark(data, nat=True) != mark(data[:-1] + b"x", nat=True)


def test_translation_is_seen_through_only_where_that_is_asked() -> None:
    first, second = (bytes(E / IP(id=7, src=src) / UDP() / P) for src in ("10.0.0.1", "192.0.2.1"))
    assert mark(first) != mark(second)
    pair = [(Sightings(("a", "b"), *nat), nat) for nat in ((), (False,), (True,))]
    for sightings, nat in pair:
        sightings.add("a", 1, 1, first, 1, len(first))
        sightings.add("b", 2, 2, second, 1, len(second))
        assert sightings.result().count.low == int(nat == (True,))


def test_an_unknown_link_type_counts_with_every_byte() -> None:
    data = bytes(E / SENT / L4)
    changed = {mark(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], 113) for at in range(len(data))}
    assert len(changed) == len(data) and mark(data, 113) not in changed


def test_raw_ip_is_the_packet_without_its_ethernet_header() -> None:
    assert mark(E / SENT / L4) == mark(FORWARDED / L4, 101)
    assert mark(E / IPv6(**SIX) / L4) == mark(IPv6(**SIX) / L4, 101)


def test_what_was_cut_has_no_identity() -> None:
    assert identity(udp(), 1, len(udp()) + 1) is None


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=120),
    st.sampled_from(["", "0800", "86dd", "0806", "8100", "88a8"]),
    st.sampled_from([1, 101, 113]),
    st.booleans(),
)
def test_no_bytes_raise(noise: bytes, kind: str, linktype: int, nat: bool) -> None:
    data = bytes(12) + bytes.fromhex(kind) + noise if kind else noise
    found = identity(data, linktype, len(data), nat)
    assert found is not None and len(found.same) == len(found.like) == SIZE


# The chain.


def test_a_packet_seen_on_the_chain_is_seen() -> None:
    one, two = udp(1), udp(2)
    seen = seen_on(packets(*((name, data) for data in (one, two) for name in CHAIN)), CHAIN)
    assert (seen.count, seen.doubt, seen.others) == (Count(2, 2), None, ())
    assert seen.chain.numbers == ((1, 2, 3), (4, 5, 6))
    assert seen.instead() == "no other packet was seen"


def test_packets_under_way_at_the_same_time_are_told_apart_by_content() -> None:
    events = [(name, udp(number)) for name in CHAIN for number in range(50)]
    seen = seen_on(packets(*events), CHAIN)
    assert seen.count == Count(50, 50)
    assert seen.chain.numbers[0] == (1, 51, 101) and len(seen.chain.numbers) == SHOWN


@pytest.mark.parametrize(
    ("interfaces", "said"),
    [
        (("veth0", "cni0"), "1 seen on veth0, cni0; not on eth0 (packets 1, 2)"),
        (("veth0", "eth0", "cni0"), "1 seen on veth0, eth0, cni0 (packets 1, 2, 3)"),
        (("veth0", "cni0", "eth0", "lo"), "1 seen on veth0, cni0, eth0, lo (packets 1, 2, 3, 4)"),
        (("lo",), "1 seen on lo; not on veth0, cni0, eth0 (packets 1)"),
    ],
)
def test_another_way_is_not_the_chain_and_is_told(interfaces: tuple[str, ...], said: str) -> None:
    seen = seen_on(packets(*((name, udp()) for name in interfaces)), CHAIN)
    assert (seen.count, seen.doubt, seen.instead()) == (Count(0, 0), None, said)


def test_the_most_frequent_other_way_comes_first() -> None:
    events = [("veth0", udp(1)), ("cni0", udp(1)), ("veth0", udp(2)), ("veth0", udp(3)), ("cni0", udp(4)), ("lo", udp(5)), ("eth0", udp(6))]  # fmt: skip
    seen = seen_on(packets(*events), CHAIN)
    assert seen.others[0].count == 2
    assert seen.instead().startswith("2 seen on veth0; not on cni0, eth0 (packets 3) | ") and seen.instead().endswith(
        " | 2 other ways"
    )


@pytest.mark.parametrize(("ways", "more"), [(2, ""), (3, ""), (4, " | 1 other ways"), (5, " | 2 other ways")])
def test_three_other_ways_are_told_at_most(ways: int, more: str) -> None:
    """The most frequent first, then the one that began first."""
    names = ("veth0", "cni0", "eth0", "lo", "br0")[:ways]
    text = seen_on(packets(*((name, udp(number)) for number, name in enumerate(names))), CHAIN).instead()
    assert text.count("1 seen on ") == min(ways, 3) and text.startswith("1 seen on veth0; ")
    assert text.endswith(f"(packets {min(ways, 3)}){more}")


def test_contents_that_are_ambiguous_add_up() -> None:
    events = [(name, udp(number)) for number in range(3) for name in ("veth0", *CHAIN)]
    seen = seen_on(packets(*events), CHAIN)
    assert (seen.count, seen.ambiguous) == (Count(0, 3), ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12)))


def test_no_packet_is_no_chain() -> None:
    assert seen_on([], CHAIN).count == Count(0, 0)


def test_time_decides_not_the_place_in_the_file() -> None:
    backwards = packets(*((name, udp()) for name in reversed(CHAIN)))
    assert seen_on(backwards, CHAIN).count == Count(0, 0)
    turned = [packet._replace(time_ns=1000 - packet.number) for packet in backwards]
    assert seen_on(turned, CHAIN).count == Count(1, 1)


def test_at_the_same_time_the_capture_s_order_decides() -> None:
    events = [(name, udp()) for name in CHAIN]
    assert seen_on(packets(*events, apart=0), CHAIN).count == Count(1, 1)
    assert seen_on(packets(*reversed(events), apart=0), CHAIN).count == Count(0, 0)


def test_out_on_the_interface_that_it_came_in_on() -> None:
    chain = ("eth0", "eth0")
    assert seen_on(packets(("eth0", udp()), ("eth0", udp(ttl=63))), chain).count == Count(1, 1)
    assert seen_on(packets(("eth0", udp())), chain).count == Count(0, 0)
    again = packets(*[("eth0", udp())] * 4)
    assert seen_on(again, chain).others[0].count == 4  # sent four times: no hop made its TTL less
    turned = [packet._replace(direction=("in", "out")[packet.number % 2]) for packet in again]
    assert seen_on(turned, chain).count == Count(2, 2)


def test_the_same_content_twice_one_after_the_other_is_two_packets() -> None:
    seen = seen_on(packets(*((name, udp()) for name in CHAIN * 2)), CHAIN)
    assert (seen.count, seen.doubt) == (Count(2, 2), None)


def test_the_same_content_twice_side_by_side_is_shared_out_in_time_order() -> None:
    seen = seen_on(packets(*((name, udp()) for name in CHAIN for _ in range(2))), CHAIN)
    assert (seen.count, seen.doubt) == (Count(2, 2), None)
    assert seen.chain.numbers == ((1, 3, 5), (2, 4, 6))


def test_a_later_copy_that_was_lost_leaves_the_first_alone() -> None:
    seen = seen_on(packets(*((name, udp()) for name in (*CHAIN, "veth0"))), CHAIN)
    assert (seen.count, seen.doubt) == (Count(1, 1), None)
    assert seen.instead() == "1 seen on veth0; not on cni0, eth0 (packets 4)"


def test_which_copy_was_lost_is_not_known_and_never_a_yes() -> None:
    seen = seen_on(packets(*((name, udp()) for name in ("veth0", *CHAIN))), CHAIN)
    assert seen.count == Count(0, 1)
    assert seen.doubt is not None and seen.doubt.code == "ambiguous"
    assert seen.doubt.message == "packets 1, 2, 3, 4 have the same content: which of them is which is not known"
    assert seen.ambiguous == ((1, 2, 3, 4),)
    assert seen.count.holds("ge", 1) is None and seen.count.holds("le", 1) is True


@pytest.mark.parametrize(
    "order",
    [
        # The second copy may have skipped cni0, and come there late.
        ("veth0", "cni0", "veth0", "eth0", "cni0", "eth0"),
        ("veth0", "veth0", "cni0", "eth0", "cni0", "eth0"),
    ],
)
def test_copies_that_overtake_each_other_are_not_told_apart_though_all_may_have_gone_the_same_way(
    order: tuple[str, ...],
) -> None:
    seen = seen_on(packets(*((name, udp()) for name in order)), CHAIN)
    assert seen.count == Count(0, 2)
    assert seen.doubt is not None and seen.doubt.code == "ambiguous"
    assert seen.others == () and seen.ambiguous == ((1, 2, 3, 4, 5, 6),)


def test_one_unclear_content_does_not_cost_the_clear_ones() -> None:
    clear = [(name, udp(5)) for name in CHAIN]
    unclear = [("veth0", udp()), ("veth0", udp()), ("cni0", udp()), ("eth0", udp())]
    assert seen_on(packets(*clear, *unclear), CHAIN).count == Count(1, 2)


def test_a_cut_packet_may_have_been_one() -> None:
    whole = packets(*((name, udp()) for name in CHAIN))
    seen = seen_on([*whole, whole[0]._replace(number=4, data=udp()[:40])], CHAIN)
    assert seen.count == Count(1, 2) and seen.doubt is not None and seen.doubt.code == "packets-cut"


def test_cut_packets_are_counted() -> None:
    whole = packets(*((name, udp()) for name in CHAIN))
    cut = [whole[0]._replace(number=number, data=udp()[:40]) for number in (4, 5, 6)]
    seen = seen_on([*whole, *cut], CHAIN)
    assert seen.count == Count(1, 4) and seen.doubt is not None
    assert seen.doubt.message == "3 packets are cut by the capture's snaplen: they cannot be told apart"


def test_at_the_same_time_it_is_the_order_given_that_decides_and_not_the_numbers() -> None:
    """Of two captures, say, each of which counts from 1."""
    for times in ((5, 5), (0, 0), (-3, 0), (0, 1)):
        sightings = Sightings(("a", "b"))
        sightings.add("a", 9, times[0], udp(), 1, len(udp()))
        sightings.add("b", 2, times[1], udp(), 1, len(udp()))
        assert sightings.result().chain.numbers == ((9, 2),)
    sightings = Sightings(("a", "b"))
    sightings.add("b", 2, 1, udp(), 1, len(udp()))
    sightings.add("a", 9, 0, udp(), 1, len(udp()))
    assert sightings.result().chain.numbers == ((9, 2),)


def test_of_many_packets_the_first_ten_are_named() -> None:
    for many in range(9, 60):
        events = [(name, udp(number)) for number in range(many) for name in ("a", "b")]
        seen = seen_on(packets(*events), ("a", "b"))
        assert seen.count == Count(many, many)
        assert seen.chain.numbers == tuple((2 * number + 1, 2 * number + 2) for number in range(min(many, 10)))


def test_the_same_content_twice_by_an_interface_outside_of_the_chain() -> None:
    way = ("veth0", "lo", "cni0", "eth0")
    seen = seen_on(packets(*((name, udp()) for name in way * 2)), CHAIN)
    assert (seen.count, seen.others[0].interfaces, seen.others[0].count) == (Count(0, 0), way, 2)


def test_a_translated_packet_along_the_chain() -> None:
    inside, outside = udp(3), udp(3, src="192.0.2.1", ttl=63)
    events = packets(("veth0", inside), ("cni0", inside), ("eth0", outside))
    seen = seen_on(events, CHAIN)
    assert (seen.count, seen.rewritten) == (Count(0, 1), ((2, 3),))
    assert seen.doubt is not None and seen.doubt.code == "perhaps-rewritten"
    assert seen_on(events, CHAIN, nat=True).count == Count(1, 1)


def test_a_rewritten_packet_is_neither_on_the_chain_nor_off_it() -> None:
    for changed in ({"tos": 0x48}, {"flags": "DF"}, {"dst": "10.9.9.9"}):
        events = [("veth0", udp(3)), ("cni0", udp(3)), ("eth0", udp(3, ttl=63, **changed))]
        assert seen_on(packets(*events), CHAIN).count == Count(0, 1), changed
        assert seen_on(packets(*events, *((name, udp(5)) for name in CHAIN)), CHAIN).count == Count(1, 2)


def test_what_was_seen_where_the_other_was_is_not_the_other_rewritten() -> None:
    """Two packets side by side that differ in their class; and one that would have won hops."""
    both = [(name, udp(3, tos=tos)) for name in CHAIN for tos in (0, 0x48)]
    assert seen_on(packets(*both), CHAIN).count == Count(2, 2)
    lost = [*((name, udp(3)) for name in CHAIN), ("veth0", udp(3, tos=0x48))]
    assert seen_on(packets(*lost), CHAIN).count == Count(1, 1)
    younger = [("veth0", udp(3, ttl=63)), ("cni0", udp(3, ttl=64, tos=0x48))]
    assert seen_on(packets(*younger), CHAIN).doubt is None


def test_a_chain_of_one_is_no_chain() -> None:
    with pytest.raises(ValueError, match=r"^a chain has at least two interfaces$"):
        seen_on([], ("eth0",))


def test_hostile_times_and_many_copies_end() -> None:
    same = packets(*[("veth0", udp())] * 3000)
    assert seen_on(same, CHAIN).others[0].count == 3000
    strange = [packet._replace(time_ns=time) for packet, time in zip(same, itertools.cycle((-5, 1 << 90)))]
    assert seen_on(strange, CHAIN).count == Count(0, 0)
    many = packets(*((f"if{number * 7919 % 400}", udp()) for number in range(4000)))
    assert seen_on(many, CHAIN).count.low == 0


def test_memory_is_a_few_dozen_bytes_a_packet() -> None:
    sightings = Sightings(CHAIN)
    for packet in packets(*((name, udp(number)) for number in range(2000) for name in CHAIN)):
        sightings.add(packet.interface, packet.number, packet.time_ns, packet.data, 1, packet.length)
    assert RECORD <= 40
    assert sum(map(len, sightings._parts)) == 6000 * RECORD


def possible(events: list[str], chain: tuple[str, ...]) -> set[int]:
    """How many packets may have taken the chain, over every way to share out appearances of one content: brute force."""

    def share(rest: list[str], ways: tuple[tuple[str, ...], ...]) -> set[int]:
        if not rest:
            return {ways.count(chain)}
        name, rest = rest[0], rest[1:]
        fitting = [place for place, way in enumerate(ways) if name not in way]
        if not fitting:
            return share(rest, (*ways, (name,)))
        found: set[int] = set()
        for place in fitting:
            found |= share(rest, (*ways[:place], (*ways[place], name), *ways[place + 1 :]))
        return found

    return share(events, ())


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(CHAIN), max_size=8))
def test_the_count_holds_every_way_to_share_out_one_content(events: list[str]) -> None:
    seen = seen_on(packets(*((name, udp()) for name in events)), CHAIN)
    counts = possible(events, CHAIN)
    assert seen.count.high is not None
    assert seen.count.low <= min(counts) and max(counts) <= seen.count.high
