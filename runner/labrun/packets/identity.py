"""Is it the same packet? What stays the same of one on its way, for everyone who asks: judge and pictures alike.

``same``: two appearances are surely one packet. Left out is what forwarding changes or adds: the link header and VLAN
tags, padding of short frames, TTL or hop limit, the IPv4 header checksum, the ECN bits (a router may set them, RFC
3168), and the checksums of TCP, UDP, ICMP and ICMPv6, which may not be filled in yet (checksum offload).
Everything else counts: addresses, ports, ip.id, sequence numbers, flags, options, the payload. Fragments differ by
their offset and stay different packets, and so do a large segment and the packets that it is cut into. A length of 0
(BIG TCP) stands for all that was captured. With ``nat``, what address translation changes is left out as well:
addresses, TCP and UDP ports, the identifier of an ICMP query, and the same in the packet that an ICMP error quotes.
ip.id and payload stay.

``like``: they may be one packet. Besides all that, what a router can rewrite is left out: the traffic class and DSCP,
"don't fragment", the options of IPv4, the flow label, the segment size that TCP offers (MSS), and addresses and ports,
unless too little is left to tell packets apart.

It refuses packets that the capture cut short: what was not kept may differ.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from labrun.packets.dissect.layer import Cut
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.dissect.walk import ETHERNET, FRAGMENT, ICMP_ERRORS, ICMPV6_ERRORS, RAW, walk

SIZE = 8  # bytes of ``same`` and of ``like``: both have to agree
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_CHECKSUM_AT = {_TCP: 16, _UDP: 6, _ICMP: 2, _ICMPV6: 2}
_PORTS = (_TCP, _UDP)
_ICMP_QUERIES = frozenset((0, 8, 13, 14, 15, 16, 17, 18))
_ICMPV6_ECHOES = frozenset((128, 129))
_VLANS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")  # IEEE 802.1Q, 802.1ad, and what came before it
_TELLING = 16  # bytes behind the ports without which two packets may be alike by chance
_MSS = 2  # kind of a TCP option, RFC 9293


class Identity(NamedTuple):
    same: bytes
    like: bytes
    ttl: int | None
    """A hop makes it less. None: it has none."""


def identity(data: bytes, linktype: int, length: int, nat: bool = False) -> Identity | None:
    """Never raises. None if the packet was cut short; what is no IP or ARP is known by all its bytes."""
    if len(data) < length:
        return None
    kind, at = _network(data, linktype)
    if kind == b"\x08\x00" and len(data) >= at + 20 and data[at] >> 4 == 4:
        same, like, ttl = _ipv4(data, at, nat)
    elif kind == b"\x86\xdd" and len(data) >= at + 40 and data[at] >> 4 == 6:
        same, like, ttl = _ipv6(data, at, nat)
    else:
        same = like = data[at : at + 28] if kind == b"\x08\x06" else data[at:]  # ARP (RFC 826): the rest is padding
        ttl = None
    return Identity(_digest(kind + same), _digest(kind + b"like" + like), ttl)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=SIZE).digest()


def _network(data: bytes, linktype: int) -> tuple[bytes, int]:
    """The EtherType, and where what it names begins."""
    if linktype == RAW:
        return (b"\x08\x00" if data[:1] < b"\x60" else b"\x86\xdd"), 0
    if linktype != ETHERNET:
        return b"", 0
    kind, at = data[12:14], 14
    while kind in _VLANS:
        kind, at = data[at + 2 : at + 4], at + 4
    return kind, at


def _ipv4(data: bytes, at: int, nat: bool) -> tuple[bytes, bytes, int]:
    header = (data[at] & 15) * 4
    total = data[at + 2] << 8 | data[at + 3]
    end = at + total if total >= header else len(data)  # 0: segmentation is left to the device
    protocol, ident = data[at + 9], data[at + 4 : at + 6]
    payload = data[at + header : end]
    later = bool(data[at + 6] & 0x1F or data[at + 7])  # a later fragment has no transport header
    # Version and length, DSCP, total length, id, fragment; protocol; addresses; options.
    addresses = at + (20 if nat else 12)
    same = b"%c%c%b%c%b%b" % (
        data[at], data[at + 1] & 0xFC, data[at + 2 : at + 8], protocol, data[addresses : at + header],
        payload if later else _transport(payload, protocol, nat),
    )  # fmt: skip
    rest = payload if later else _loose(payload, protocol)
    fixed = b"%b%c%c%c" % (ident, data[at + 6] & 0x3F, data[at + 7], protocol)
    telling = ident != b"\0\0" or len(rest) >= _TELLING
    ends = b"" if telling else data[at + 12 : at + 20] + payload[:4]
    return same, fixed + ends + rest, data[at + 8]


def _ipv6(data: bytes, at: int, nat: bool) -> tuple[bytes, bytes, int]:
    plen = data[at + 4] << 8 | data[at + 5]
    payload = data[at + 40 : at + 40 + plen if plen else len(data)]
    protocol = data[at + 6]
    # Behind extension headers the transport's bytes count as they are.
    flow = bytes((data[at], data[at + 1] & 0xCF))  # ECN is in bits 4-5 of the second byte
    same = b"%b%b%b%b" % (
        flow, data[at + 2 : at + 7], b"" if nat else data[at + 8 : at + 40], _transport(payload, protocol, nat)
    )  # fmt: skip
    rest = _loose(payload, protocol)
    ends = b"" if len(rest) >= _TELLING else data[at + 8 : at + 40] + payload[:4]
    return same, b"%c%b%b" % (protocol, ends, rest), data[at + 7]


def _transport(payload: bytes, protocol: int, nat: bool) -> bytes:
    checksum = _CHECKSUM_AT.get(protocol)
    if checksum is None:
        return payload
    if protocol in _PORTS:
        return payload[4 if nat else 0 : checksum] + payload[checksum + 2 :]
    if not nat or len(payload) < 8:
        return payload[:checksum] + payload[checksum + 2 :]
    kind = payload[0]
    if protocol == _ICMP:
        if kind in _ICMP_QUERIES:
            return payload[:2] + payload[6:]
        if kind in ICMP_ERRORS and len(payload) >= 28:
            return payload[:2] + payload[4:8] + _quoted_ipv4(payload[8:])
    elif kind in _ICMPV6_ECHOES:
        return payload[:2] + payload[6:]
    elif kind in ICMPV6_ERRORS and len(payload) >= 48:
        return payload[:2] + payload[4:8] + _quoted_ipv6(payload[8:])
    return payload[:2] + payload[4:]


def _quoted_ipv4(data: bytes) -> bytes:
    """The quoted header without checksum and addresses, and what follows without what NAT changes there."""
    header = (data[0] & 15) * 4
    return data[:10] + data[20:header] + _quoted_transport(data[header:], data[9])


def _quoted_ipv6(data: bytes) -> bytes:
    return data[:8] + _quoted_transport(data[40:], data[6])


def _quoted_transport(inner: bytes, protocol: int) -> bytes:
    if protocol in (_ICMP, _ICMPV6):
        return inner[:2] + inner[6:]
    return _transport(inner, protocol, True)


def _loose(payload: bytes, protocol: int) -> bytes:
    """The transport without what a translation and a router that clamps the segment size rewrite."""
    rest = _transport(payload, protocol, True)
    if protocol != _TCP or len(payload) < 20 or not payload[13] & 0x02:
        return rest
    end = min((payload[12] >> 4) * 4, len(payload))
    at = 20
    while at + 1 < end and payload[at]:
        if payload[at] == 1:
            at += 1
            continue
        if payload[at] == _MSS and at + 4 <= end:
            place = at - 6  # without the ports and the checksum
            return rest[: place + 2] + b"\0\0" + rest[place + 4 :]
        if payload[at + 1] < 2:
            break
        at += payload[at + 1]
    return rest


_EXPECTED = frozenset(("ip.ttl", "ipv6.hlim", "ip.dsfield.ecn"))  # `same` does not look at them either
_WITH_OTHERS = (".addr", ".port", ".checksum", ".dsfield", ".flags")  # they differ because another field does
_WHOLES = ("frame.", "eth.", "vlan.", "ieee8021ad.")


def differences(one: bytes, other: bytes, linktype: int) -> tuple[str, ...]:
    """The fields by which two appearances that are ``like`` each other differ, by Wireshark's names."""
    first, second = _values(one, linktype), _values(other, linktype)
    found = tuple(name for name in first if first[name] != second[name])
    return tuple(name for name in found if not name.endswith(_WITH_OTHERS)) or ("options or payload",)


def _values(data: bytes, linktype: int) -> dict[str, tuple[object, ...]]:
    layers, _ = walk(data, linktype, len(data))
    found: dict[str, tuple[object, ...]] = {}
    for name, field in FIELDS.items():
        if field.read is None or name in _EXPECTED or name.startswith(_WHOLES):
            continue
        values = [
            value
            for layer in layers
            if layer.stack == 0 and layer.protocol in (field.protocol, field.also)
            for value in field.read(data, layer.start, layer.end)
        ]
        found[name] = tuple(None if isinstance(value, Cut) else value for value in values)
    return found


class Fragment(NamedTuple):
    """The part of an IP packet that an appearance has: all of it, or a fragment. ``key``: the same for all parts of one
    packet (RFC 791 and 8200: addresses, protocol, identification). ``first``: its first byte behind the IP header."""

    key: bytes
    first: int
    size: int
    more: bool

    @property
    def whole(self) -> bool:
        return not self.first and not self.more


def fragment(data: bytes, linktype: int) -> Fragment | None:
    """None where it is no IP, and of whole packets that nobody may cut: their identification says nothing (RFC 6864).

    IPv6 packets have an identification only once they were cut.
    """
    layers, _ = walk(data, linktype, len(data))
    network = next((layer for layer in layers if layer.protocol in ("ip", "ipv6") and layer.stack == 0), None)
    if network is None:
        return None
    at = network.start
    if network.protocol == "ipv6":
        return _fragment_of_ipv6(data, at)
    if len(data) < at + 20:
        return None
    bits = int.from_bytes(data[at + 6 : at + 8])
    if bits & 0x4000 and not bits & 0x3FFF:
        return None
    size = int.from_bytes(data[at + 2 : at + 4]) - (data[at] & 15) * 4
    key = data[at + 4 : at + 6] + data[at + 9 : at + 10] + data[at + 12 : at + 20]
    return Fragment(key, (bits & 0x1FFF) * 8, max(0, size), bool(bits & 0x2000))


def _fragment_of_ipv6(data: bytes, at: int) -> Fragment | None:
    """Where the fragment header comes first, as it nearly always does."""
    if len(data) < at + 48 or data[at + 6] != FRAGMENT:
        return None
    bits = int.from_bytes(data[at + 42 : at + 44])
    size = int.from_bytes(data[at + 4 : at + 6]) - 8
    key = data[at + 44 : at + 48] + data[at + 40 : at + 41] + data[at + 8 : at + 40]
    return Fragment(key, bits & 0xFFF8, max(0, size), bool(bits & 1))


def trace_key(network: bytes, transport: bytes) -> bytes | None:
    """What tells a packet in a trace of the kernel, in an ICMP error and in a capture: addresses, protocol, id, and the
    first 8 bytes of its transport header but for the checksum. None where it is no IP header."""
    if len(network) >= 20 and network[0] >> 4 == 4:
        protocol, head = network[9], network[4:6] + bytes((network[6] & 0x3F, network[7])) + network[12:20]
    elif len(network) >= 40 and network[0] >> 4 == 6:
        protocol, head = network[6], bytes((network[1] & 0x0F,)) + network[2:4] + network[8:40]
    else:
        return None
    first = transport[:8]
    if protocol in (_ICMP, _ICMPV6):
        first = first[:2] + first[4:]
    elif protocol == _UDP:
        first = first[:6]
    return b"%c%b%b" % (protocol, head, first)


def trace_keys(data: bytes, linktype: int) -> tuple[bytes | None, bytes | None]:
    """The `trace_key` of a captured packet, and of the packet that it quotes as an ICMP error."""
    layers, _ = walk(data, linktype, len(data))
    found: dict[str, bytes | None] = {}
    for layer in layers:
        if layer.protocol in ("ip", "ipv6") and layer.part != "inner" and layer.part not in found:
            size = (data[layer.start] & 15) * 4 if layer.protocol == "ip" else 40
            at = layer.start + size
            later = layer.protocol == "ip" and int.from_bytes(data[layer.start + 6 : layer.start + 8]) & 0x1FFF
            found[layer.part] = trace_key(data[layer.start : at], b"" if later else data[at : at + 8])
    return found.get("outer"), found.get("quoted")
