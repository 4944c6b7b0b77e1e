"""From header to header in packets written out by hand: which follows, where it begins and ends, what may be missing."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from labrun.packets.dissect.layer import Layer
from labrun.packets.dissect.walk import ETHERNET, MAX_LAYERS, RAW, walk
from support.headers import eth, icmp, ip, ipv6, tag, tcp, udp

IP, ARP, VLAN, IPV6, OLD_VLAN, SERVICE = 0x0800, 0x0806, 0x8100, 0x86DD, 0x9100, 0x88A8
ICMP, IP_IN_IP, TCP, UDP, SIX, GRE, ICMPV6 = 1, 4, 6, 17, 41, 47, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY = 0, 43, 44, 51, 60, 135

Chain = list[tuple[str, int, int]]


def walked(data: bytes, length: int | None = None, linktype: int = ETHERNET) -> Chain:
    """Of a packet that was kept whole, or cut only where that hides no header."""
    layers, cut = walk(data, linktype, len(data) if length is None else length)
    assert cut is False
    return [layer[:3] for layer in layers]


def names(data: bytes, length: int | None = None, linktype: int = ETHERNET) -> list[str]:
    return [name for name, _, _ in walked(data, length, linktype)]


def above(data: bytes) -> list[str]:
    """The headers above Ethernet and IP."""
    return names(data)[2:]


def frame(protocol: int, payload: bytes) -> bytes:
    return eth(IP, ip(protocol, payload))


def frame6(following: int, payload: bytes) -> bytes:
    return eth(IPV6, ipv6(following, payload))


def extension(following: int, size: int = 8, first: bytes = b"") -> bytes:
    """A header of IPv6 between the first and the payload (RFC 8200, 4)."""
    return (bytes((following, size // 8 - 1)) + first).ljust(size, b"\0")


def fragment6(following: int, offset: int = 0, more: int = 0) -> bytes:
    return struct.pack(">BBHI", following, 0xFF, offset << 3 | more, 9)


def gre(flags: int, kind: int, payload: bytes = b"", fields: int = 0) -> bytes:
    return struct.pack(">HH", flags, kind) + b"\xab" * 4 * fields + payload


def vxlan(payload: bytes) -> bytes:
    return b"\x08\0\0\0\0\0\x2a\0" + payload


PLAIN_UDP = udp(4000, 9999, b"data")
PLAIN_TCP = tcp(4000, 9999, b"data")
QUERY = bytes(12)

# Each packet, and of each header: where it begins and ends, and how much of the packet tells what follows.
PACKETS: dict[str, tuple[bytes, list[tuple[str, int, int, int]]]] = {
    "arp": (eth(ARP, bytes(28)), [("eth", 0, 42, 14), ("arp", 14, 42, 0)]),
    "udp": (frame(UDP, PLAIN_UDP), [("eth", 0, 46, 14), ("ip", 14, 46, 34), ("udp", 34, 46, 42)]),
    "udp with padding": (
        frame(UDP, PLAIN_UDP) + bytes(14),
        [("eth", 0, 60, 14), ("ip", 14, 60, 34), ("udp", 34, 46, 42)],
    ),
    "udp6": (frame6(UDP, PLAIN_UDP), [("eth", 0, 66, 14), ("ipv6", 14, 66, 54), ("udp", 54, 66, 62)]),
    "tcp": (frame(TCP, PLAIN_TCP), [("eth", 0, 58, 14), ("ip", 14, 58, 34), ("tcp", 34, 58, 47)]),
    "ip options": (
        eth(IP, ip(UDP, PLAIN_UDP, options=b"\x94\4\0\0\1\1\1\0")),
        [("eth", 0, 54, 14), ("ip", 14, 54, 34), ("udp", 42, 54, 50)],
    ),
    "two tags": (
        eth(SERVICE, tag(100, VLAN, tag(20, IP, ip(UDP, PLAIN_UDP)))),
        [("eth", 0, 54, 14), ("ieee8021ad", 14, 54, 18), ("vlan", 18, 54, 22), ("ip", 22, 54, 42), ("udp", 42, 54, 50)],
    ),
    "echo": (frame(ICMP, icmp(8)), [("eth", 0, 42, 14), ("ip", 14, 42, 34), ("icmp", 34, 42, 35)]),
    "dns": (
        frame(UDP, udp(4000, 53, QUERY)),
        [("eth", 0, 54, 14), ("ip", 14, 54, 34), ("udp", 34, 54, 42), ("dns", 42, 54, 0)],
    ),
    "dhcp": (
        frame(UDP, udp(68, 67, bytes(240))),
        [("eth", 0, 282, 14), ("ip", 14, 282, 34), ("udp", 34, 282, 42), ("dhcp", 42, 282, 0)],
    ),
    "vxlan": (
        frame(UDP, udp(50000, 4789, vxlan(eth(ARP, bytes(28))))),
        [
            ("eth", 0, 92, 14),
            ("ip", 14, 92, 34),
            ("udp", 34, 92, 42),
            ("vxlan", 42, 92, 0),
            ("eth", 50, 92, 64),
            ("arp", 64, 92, 0),
        ],
    ),
    "gre": (
        frame(GRE, gre(0x2000, IP, ip(UDP, PLAIN_UDP), 1)),
        [("eth", 0, 74, 14), ("ip", 14, 74, 34), ("gre", 34, 74, 38), ("ip", 42, 74, 62), ("udp", 62, 74, 70)],
    ),
    "6in4": (
        frame(SIX, ipv6(UDP, PLAIN_UDP)),
        [("eth", 0, 86, 14), ("ip", 14, 86, 34), ("ipv6", 34, 86, 74), ("udp", 74, 86, 82)],
    ),
    "extensions": (
        frame6(HOP_BY_HOP, extension(DESTINATION) + extension(UDP, 16) + PLAIN_UDP),
        [("eth", 0, 90, 14), ("ipv6", 14, 90, 70), ("udp", 78, 90, 86)],
    ),
    "first fragment of IPv6": (
        frame6(FRAGMENT, fragment6(UDP, more=1) + PLAIN_UDP),
        [("eth", 0, 74, 14), ("ipv6", 14, 74, 62), ("udp", 62, 74, 70)],
    ),
}


# From which header on it is the packet that a tunnel carries.
INNER = {"vxlan": 4, "gre": 3, "6in4": 2}


def layers_of(packet: str) -> list[Layer]:
    inner = INNER.get(packet, 99)
    headers = enumerate(PACKETS[packet][1])
    return [Layer(*header[:3], *(("inner", 1) if index >= inner else ())) for index, header in headers]


@pytest.mark.parametrize("packet", PACKETS)
def test_each_header_is_where_it_is(packet: str) -> None:
    data, _ = PACKETS[packet]
    assert walk(data, ETHERNET, len(data)) == (layers_of(packet), False)


@pytest.mark.parametrize("packet", PACKETS)
def test_where_the_capture_kept_less_more_may_follow(packet: str) -> None:
    """What is known of each header stays so; whether there are others is known as soon as their place is."""
    data, headers = PACKETS[packet]
    for kept in range(len(data)):
        seen = 1
        while seen < len(headers) and headers[seen - 1][3] <= kept:
            seen += 1
        layers, cut = walk(data[:kept], ETHERNET, len(data))
        assert layers == layers_of(packet)[:seen], kept
        assert cut is (headers[seen - 1][3] > kept), kept


@pytest.mark.parametrize("packet", PACKETS)
def test_a_packet_that_ends_early_has_no_more_headers(packet: str) -> None:
    data, headers = PACKETS[packet]
    for end in range(len(data)):
        layers, cut = walk(data[:end], ETHERNET, end)
        assert cut is False
        assert [layer.protocol for layer in layers] == [name for name, *_ in headers[: len(layers)]], end
        assert all(layer.end <= end for layer in layers)
        # What an EtherType names is there even if nothing is left for it.
        assert len(layers) == 1 + sum(
            needed <= end and (start < end or (start == end and name in ("eth", "vlan", "ieee8021ad", "gre")))
            for (name, _, _, needed), (_, start, _, _) in pairwise(headers)
        ), end


@pytest.mark.parametrize("packet", PACKETS)
def test_without_ethernet_a_packet_begins_with_its_ip_header(packet: str) -> None:
    data, headers = PACKETS[packet]
    if headers[1][0] not in ("ip", "ipv6"):
        assert walked(data[14:], linktype=RAW) == []
        return
    assert walked(data[14:], linktype=RAW) == [(name, start - 14, end - 14) for name, start, end, _ in headers[1:]]


@pytest.mark.parametrize(("kept", "length", "cut"), [(0, 0, False), (0, 1, True), (0, 60, True), (1, 1, False)])
def test_raw_packets_begin_with_the_version(kept: int, length: int, cut: bool) -> None:
    layers, more = walk(b"\x45"[:kept], RAW, length)
    assert ([layer.protocol for layer in layers], more) == (["ip"] * kept, cut)
    assert walk(b"\x75" + bytes(40), RAW, 41) == ([], False)


@pytest.mark.parametrize("linktype", [0, 113, 276])
def test_packets_of_other_links_are_not_read(linktype: int) -> None:
    assert walk(frame(UDP, PLAIN_UDP), linktype, 46) == ([], False)


def test_a_length_that_is_less_than_what_was_kept_is_none() -> None:
    assert walked(eth(ARP, bytes(28)), 20) == [("eth", 0, 42), ("arp", 14, 42)]


@pytest.mark.parametrize(
    ("kind", "follows"),
    [
        (IP, ["ip"]),
        (ARP, ["arp"]),
        (IPV6, ["ipv6"]),
        (VLAN, ["vlan"]),
        (OLD_VLAN, ["vlan"]),
        (SERVICE, ["ieee8021ad"]),
        (0x0026, []),  # a length
        (0x88CC, []),  # LLDP
        (0x0008, []),
    ],
)
def test_the_ether_type_tells_what_follows(kind: int, follows: list[str]) -> None:
    start = {IP: b"\x45", IPV6: b"\x60"}.get(kind, b"\0")
    assert names(eth(kind, start)) == ["eth", *follows]
    assert names(eth(VLAN, tag(5, kind, start))) == ["eth", "vlan", *follows]
    assert names(eth(SERVICE, tag(5, kind, start))) == ["eth", "ieee8021ad", *follows]


@pytest.mark.parametrize(
    ("protocol", "follows"),
    [
        (ICMP, ["icmp"]),
        (TCP, ["tcp"]),
        (UDP, ["udp"]),
        (GRE, ["gre"]),
        (ICMPV6, ["icmpv6"]),
        (2, []),
        (132, []),
    ],
)
def test_the_protocol_number_tells_what_follows(protocol: int, follows: list[str]) -> None:
    assert above(frame(protocol, b"\0")) == follows
    assert above(frame6(protocol, b"\0")) == follows


@pytest.mark.parametrize(
    ("protocol", "inner", "follows"),
    [(IP_IN_IP, ip(UDP, PLAIN_UDP), ["ip", "udp"]), (SIX, ipv6(UDP, PLAIN_UDP), ["ipv6", "udp"])],
)
def test_ip_in_ip_is_walked_too(protocol: int, inner: bytes, follows: list[str]) -> None:
    assert above(frame(protocol, inner)) == follows
    assert above(frame6(protocol, inner)) == follows


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (eth(IP, ip(UDP, PLAIN_UDP)), "ip"),
        (eth(IP, ip(UDP, PLAIN_UDP, first=0x55)), "bogus ip"),
        (eth(IP, ip(UDP, PLAIN_UDP, first=0x65)), "bogus ip"),
        (eth(IP, ip(UDP, PLAIN_UDP, first=0x35)), "bogus ip"),
        (eth(IP, ip(UDP, PLAIN_UDP, first=0x44)), "bogus ip"),
        (eth(IP, ip(UDP, PLAIN_UDP, first=0x40)), "bogus ip"),
        (eth(IPV6, ipv6(UDP, PLAIN_UDP, first=0x70)), "bogus ipv6"),
        (eth(IPV6, ipv6(UDP, PLAIN_UDP, first=0x45)), "bogus ipv6"),
    ],
)
def test_an_ip_header_that_cannot_be_one_has_no_fields_and_nothing_follows(data: bytes, protocol: str) -> None:
    assert names(data) == ["eth", protocol] + ["udp"] * (protocol == "ip")


def test_the_version_may_be_all_that_is_there() -> None:
    for begin in (b"\x44", b"\x55"):
        assert names(eth(IP, begin)) == ["eth", "bogus ip"]
    assert names(eth(IP, b"\x45")) == ["eth", "ip"]
    assert names(eth(IPV6, b"\x6f")) == ["eth", "ipv6"]
    assert names(eth(IP, b"")) == ["eth", "ip"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (ip(UDP, PLAIN_UDP, total=32), [("udp", 20, 32)]),
        (ip(UDP, PLAIN_UDP, total=28), [("udp", 20, 28)]),  # what follows is padding
        (ip(UDP, PLAIN_UDP, total=21), [("udp", 20, 21)]),
        (ip(UDP, PLAIN_UDP, total=20), []),
        (ip(UDP, PLAIN_UDP, total=19), []),  # less than the header
        (ip(UDP, PLAIN_UDP, total=1), []),
        (ip(UDP, PLAIN_UDP, total=0), [("udp", 20, 32)]),  # left to the device
        (ip(UDP, PLAIN_UDP, total=400), [("udp", 20, 32)]),  # more than there is
        (ip(UDP, PLAIN_UDP, options=bytes(40)), [("udp", 60, 72)]),
        (ip(UDP, PLAIN_UDP, options=bytes(40), total=59), []),
        (ip(UDP, bytes(300), total=256 + 28), [("udp", 20, 284)]),
        (ip(UDP, b""), []),
        (ip(UDP, PLAIN_UDP, fragment=0x4000), [("udp", 20, 32)]),  # don't fragment
        (ip(UDP, PLAIN_UDP, fragment=0x2000), [("udp", 20, 32)]),  # the first fragment
        (ip(UDP, PLAIN_UDP, fragment=0x8000), [("udp", 20, 32)]),
        (ip(UDP, PLAIN_UDP, fragment=0x2001), []),
        (ip(UDP, PLAIN_UDP, fragment=0x0001), []),
        (ip(UDP, PLAIN_UDP, fragment=0x0100), []),
        (ip(UDP, PLAIN_UDP, fragment=0x1000), []),
    ],
)
def test_what_an_ipv4_header_says_of_its_payload(data: bytes, found: Chain) -> None:
    assert walked(data, linktype=RAW)[1:] == found
    assert walked(eth(IP, data))[2:] == [(name, start + 14, end + 14) for name, start, end in found]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (ipv6(UDP, PLAIN_UDP), [("udp", 40, 52)]),
        (ipv6(UDP, PLAIN_UDP, size=8), [("udp", 40, 48)]),
        (ipv6(UDP, PLAIN_UDP, size=1), [("udp", 40, 41)]),
        (ipv6(UDP, PLAIN_UDP, size=0), [("udp", 40, 52)]),
        (ipv6(UDP, PLAIN_UDP, size=400), [("udp", 40, 52)]),
        (ipv6(UDP, bytes(300), size=256 + 8), [("udp", 40, 304)]),
        (ipv6(UDP, b""), []),
        (ipv6(59, PLAIN_UDP), []),  # no next header
        (ipv6(HOP_BY_HOP, extension(UDP) + PLAIN_UDP), [("udp", 48, 60)]),
        (ipv6(HOP_BY_HOP, extension(UDP, 24) + PLAIN_UDP), [("udp", 64, 76)]),
        (ipv6(ROUTING, extension(UDP, 16) + PLAIN_UDP), [("udp", 56, 68)]),
        (ipv6(DESTINATION, extension(UDP) + PLAIN_UDP), [("udp", 48, 60)]),
        (ipv6(MOBILITY, extension(UDP) + PLAIN_UDP), [("udp", 48, 60)]),
        # The length of an authentication header counts words of four bytes, less two (RFC 4302, 2.2).
        (ipv6(AUTHENTICATION, bytes((UDP, 4)) + bytes(22) + PLAIN_UDP), [("udp", 64, 76)]),
        (ipv6(AUTHENTICATION, bytes((UDP, 1)) + bytes(10) + PLAIN_UDP), [("udp", 52, 64)]),
        (ipv6(FRAGMENT, fragment6(UDP) + PLAIN_UDP), [("udp", 48, 60)]),
        (ipv6(FRAGMENT, fragment6(UDP, more=1) + PLAIN_UDP), [("udp", 48, 60)]),
        (ipv6(FRAGMENT, fragment6(UDP, more=7) + PLAIN_UDP), [("udp", 48, 60)]),  # two bits are reserved
        (ipv6(FRAGMENT, fragment6(UDP, offset=1) + PLAIN_UDP), []),
        (ipv6(FRAGMENT, fragment6(UDP, offset=0x20) + PLAIN_UDP), []),
        (ipv6(FRAGMENT, fragment6(UDP, offset=0x1000) + PLAIN_UDP), []),
        (ipv6(HOP_BY_HOP, extension(FRAGMENT) + fragment6(DESTINATION) + extension(TCP) + b"t"), [("tcp", 64, 65)]),
        (ipv6(HOP_BY_HOP, extension(UDP)), []),
        (ipv6(HOP_BY_HOP, extension(UDP)[:7]), []),
        (ipv6(HOP_BY_HOP, extension(UDP, 80)[:40]), []),
        (ipv6(HOP_BY_HOP, extension(UDP, 24) + PLAIN_UDP, size=20), []),  # padding is no header
    ],
)
def test_what_an_ipv6_header_and_its_extensions_say_of_the_payload(data: bytes, found: Chain) -> None:
    assert walked(data, linktype=RAW)[1:] == found
    assert walked(eth(IPV6, data))[2:] == [(name, start + 14, end + 14) for name, start, end in found]


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_an_icmp_error_quotes_a_packet(kind: int) -> None:
    data = frame(ICMP, icmp(kind, ip(UDP, PLAIN_UDP)))
    layers, _ = walk(data, ETHERNET, len(data))
    assert layers == [
        Layer("eth", 0, 74),
        Layer("ip", 14, 74),
        Layer("icmp", 34, 74),
        Layer("ip", 42, 74, "quoted", 1),
        Layer("udp", 62, 74, "quoted", 1),
    ]


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_an_icmpv6_error_quotes_a_packet(kind: int) -> None:
    data = frame6(ICMPV6, icmp(kind, ipv6(UDP, PLAIN_UDP)))
    layers, _ = walk(data, ETHERNET, len(data))
    assert layers == [
        Layer("eth", 0, 114),
        Layer("ipv6", 14, 114),
        Layer("icmpv6", 54, 114),
        Layer("ipv6", 62, 114, "quoted", 1),
        Layer("udp", 102, 114, "quoted", 1),
    ]


def test_what_is_in_a_quoted_tunnel_is_quoted() -> None:
    data = frame(ICMP, icmp(3, ip(IP_IN_IP, ip(UDP, PLAIN_UDP))))
    assert [layer.part for layer in walk(data, ETHERNET, len(data))[0]] == ["outer"] * 3 + ["quoted"] * 3


@pytest.mark.parametrize("kind", [0, 8, 9, 10, 13, 14, 128])
def test_other_icmp_messages_quote_nothing(kind: int) -> None:
    assert above(frame(ICMP, icmp(kind, ip(UDP, PLAIN_UDP)))) == ["icmp"]


@pytest.mark.parametrize("kind", [0, 5, 128, 129, 135])
def test_other_icmpv6_messages_quote_nothing(kind: int) -> None:
    assert above(frame6(ICMPV6, icmp(kind, ipv6(UDP, PLAIN_UDP)))) == ["icmpv6"]


@pytest.mark.parametrize(("size", "follows"), [(1, []), (8, []), (9, ["ip"])])
def test_an_error_that_ends_with_its_header_quotes_nothing(size: int, follows: list[str]) -> None:
    assert above(frame(ICMP, icmp(3, b"\x45")[:size])) == ["icmp", *follows]


@pytest.mark.parametrize(
    ("ports", "follows"),
    [
        ((53, 9999), ["dns"]),
        ((9999, 53), ["dns"]),
        ((5353, 5353), ["dns"]),
        ((40000, 5355), ["dns"]),
        ((67, 68), ["dhcp"]),
        ((9999, 67), ["dhcp"]),
        ((68, 9999), ["dhcp"]),
        ((40000, 4789), ["vxlan", "eth"]),
        ((4789, 40000), ["vxlan", "eth"]),
        ((40000, 8472), ["vxlan", "eth"]),
        ((53, 68), ["dns"]),  # the lower port decides
        ((68, 53), ["dns"]),
        ((4789, 68), ["dhcp"]),
        ((5353, 4789), ["vxlan", "eth"]),
        ((52, 54), []),
        ((53 << 8, 9999), []),
        ((9999, 53 | 1 << 8), []),
    ],
)
def test_a_port_tells_what_udp_carries(ports: tuple[int, int], follows: list[str]) -> None:
    assert above(frame(UDP, udp(*ports, bytes(12)))) == ["udp", *follows]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (udp(1, 53, QUERY), [("dns", 42, 54)]),
        (udp(1, 53, QUERY + bytes(8), size=20), [("dns", 42, 54)]),
        (udp(1, 53, bytes(300), size=256 + 20), [("dns", 42, 310)]),
        (udp(1, 53, QUERY, size=9), [("dns", 42, 43)]),
        (udp(1, 53, QUERY, size=8), []),
        (udp(1, 53, QUERY, size=7), []),
        (udp(1, 53, QUERY, size=1), []),
        (udp(1, 53, QUERY, size=0), [("dns", 42, 54)]),
        (udp(1, 53, QUERY, size=500), [("dns", 42, 54)]),
        (udp(1, 53), []),
        (udp(1, 53)[:7], []),
        (udp(1, 4789, vxlan(b"")), [("vxlan", 42, 50)]),
        (udp(1, 4789, vxlan(b"")[:7]), [("vxlan", 42, 49)]),
        (udp(1, 4789, vxlan(b"x")), [("vxlan", 42, 51), ("eth", 50, 51)]),
    ],
)
def test_the_payload_of_udp_ends_where_its_length_says(data: bytes, found: Chain) -> None:
    assert walked(frame(UDP, data))[3:] == found


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (gre(0, IP, ip(UDP, PLAIN_UDP)), ["ip", "udp"]),
        (gre(0, IPV6, ipv6(UDP, PLAIN_UDP)), ["ipv6", "udp"]),
        (gre(0, 0x6558, eth(ARP, bytes(28))), ["eth", "arp"]),
        (gre(0, 0x88BE, bytes(40)), []),
        (gre(0x8000, IP, ip(UDP, PLAIN_UDP), 1), ["ip", "udp"]),  # a checksum
        (gre(0x2000, IP, ip(UDP, PLAIN_UDP), 1), ["ip", "udp"]),  # a key
        (gre(0x1000, IP, ip(UDP, PLAIN_UDP), 1), ["ip", "udp"]),  # a sequence number
        (gre(0xA000, IP, ip(UDP, PLAIN_UDP), 2), ["ip", "udp"]),
        (gre(0xB000, IP, ip(UDP, PLAIN_UDP), 3), ["ip", "udp"]),
        (gre(0x0800, IP, ip(UDP, PLAIN_UDP)), ["ip", "udp"]),  # strict source route, which means nothing here
        (gre(0x4000, IP, ip(UDP, PLAIN_UDP)), []),  # source routing
        (gre(0x0001, IP, ip(UDP, PLAIN_UDP)), []),  # PPTP
        (gre(0x0002, IP, ip(UDP, PLAIN_UDP)), []),
        (gre(0x0004, IP, ip(UDP, PLAIN_UDP)), []),
        (gre(0, IP, ip(UDP, PLAIN_UDP))[:3], []),
    ],
)
def test_what_gre_carries_is_behind_the_fields_that_it_has(data: bytes, found: list[str]) -> None:
    assert above(frame(GRE, data)) == ["gre", *found]


def told(message: bytes, size: int | None = None) -> bytes:
    """A DNS message in TCP, behind its length (RFC 1035, 4.2.2)."""
    return struct.pack(">H", len(message) if size is None else size) + message


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (told(QUERY), [("dns", 56, 68)]),
        (told(QUERY) + told(QUERY + b"x") + told(QUERY), [("dns", 56, 68), ("dns", 70, 83), ("dns", 85, 97)]),
        (told(bytes(300)), [("dns", 56, 356)]),
        (told(b"") + told(QUERY), [("dns", 56, 56), ("dns", 58, 70)]),
        (told(QUERY) + told(b"x"), [("dns", 56, 68), ("dns", 70, 71)]),
        (told(QUERY, 13), []),  # its rest is in another segment
        (told(QUERY) + told(QUERY, 13), [("dns", 56, 68)]),
        (told(QUERY) + b"\0", [("dns", 56, 68)]),
        (told(QUERY) + b"\0\0", [("dns", 56, 68)]),
        (b"", []),
        (b"\0", []),
    ],
)
def test_whole_dns_messages_in_a_segment(stream: bytes, found: Chain) -> None:
    assert walked(frame(TCP, tcp(4000, 53, stream)))[3:] == found
    assert walked(frame(TCP, tcp(53, 4000, stream)))[3:] == found
    assert walked(frame(TCP, tcp(4000, 5353, stream)))[3:] == []


def test_dns_is_behind_the_options_of_tcp() -> None:
    assert walked(frame(TCP, tcp(4000, 53, told(QUERY), options=bytes(8))))[3:] == [("dns", 64, 76)]
    assert walked(frame(TCP, tcp(4000, 53, told(QUERY), words=4)))[3:] == []


def test_a_message_in_tcp_of_which_not_even_the_length_was_kept() -> None:
    """Then one is there all the same, with nothing known of it."""
    data = frame(TCP, tcp(4000, 53, told(QUERY) + told(QUERY)))
    for kept in (54, 55):
        assert walked(data[:kept], len(data))[3:] == [("dns", 56, 82)]
    for kept in range(56, 70):
        assert walked(data[:kept], len(data))[3:] == [("dns", 56, 68), ("dns", 70, 82)]


def test_there_are_so_many_messages_at_most() -> None:
    data = frame(TCP, tcp(4000, 53, told(QUERY) * 100))
    assert names(data)[3:] == ["dns"] * MAX_LAYERS


@pytest.mark.parametrize(("deep", "cut"), [(62, False), (63, True), (100, True)])
def test_there_are_so_many_headers_at_most(deep: int, cut: bool) -> None:
    """Ethernet, IP in IP so often, and UDP. What lies deeper counts as not kept."""
    packet = ip(UDP, PLAIN_UDP)
    for _ in range(deep - 1):
        packet = ip(IP_IN_IP, packet)
    data = eth(IP, packet)
    layers, more = walk(data, ETHERNET, len(data))
    assert (len(layers), more) == (min(deep + 2, MAX_LAYERS), cut)
