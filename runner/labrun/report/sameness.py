"""Is it the same packet? What stays of one on its way through interfaces, bridges, routers and address translation.

A packet is known by its content and not by luck: the network header without what a hop rewrites (TTL, checksum, the
DSCP field) and everything behind it, except the transport's checksum, which an interface may still have to fill in.
The link layer's header is each hop's own. Reads bytes only, with no library: it runs for every packet that is shown.
"""

from __future__ import annotations

import hashlib
import struct

from labrun.protocol.record import dataclass

_ETHERNET, _RAW = 1, 101  # LINKTYPE_
_TAGS = (0x8100, 0x88A8)  # IEEE 802.1Q, 802.1ad
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_CHECKSUM_AT = {_ICMP: 2, _TCP: 16, _UDP: 6, _ICMPV6: 2}
_PORTS = {_TCP: 4, _UDP: 4}  # bytes at the transport's start that a translation may rewrite
_ICMP_ERRORS = (3, 5, 11, 12)  # unreachable, redirect, time exceeded, parameter problem (RFC 792)
_TELLING = 8  # bytes of payload without which two packets may be alike by chance


@dataclass(frozen=True, slots=True)
class Identity:
    """``exact``: equal for two sightings of one packet. ``translated``: equal also if addresses and ports were
    rewritten between them; None where too little is left to tell. ``ttl``: a hop makes it less; None without one."""

    exact: bytes
    translated: bytes | None = None
    ttl: int | None = None
    header: bytes | None = None
    """Of IPv4: addresses, protocol and identification; what a trace or an ICMP error tells of a packet."""
    quotes: bytes | None = None
    """The ``header`` of the packet that this ICMP error is about."""


def header_of(network: bytes) -> bytes | None:
    """None where it is no IPv4 header."""
    if len(network) < 20 or network[0] >> 4 != 4:
        return None
    return network[4:6] + network[9:10] + network[12:20]


def identity(data: bytes, linktype: int) -> Identity:
    """Never raises: what is no IP or ARP, or is cut off, is known by all its bytes."""
    try:
        kind, network = _network(data, linktype)
        if kind == _IPV4 and len(network) >= 20:
            return _ipv4(network)
        if kind == _IPV6 and len(network) >= 40:
            return _ipv6(network)
        if kind == _ARP:
            return Identity(_digest(b"arp", network[:28]))
    except (struct.error, IndexError, ValueError):
        pass
    return Identity(_digest(b"frame", data))


def _network(data: bytes, linktype: int) -> tuple[int, bytes]:
    if linktype == _RAW and data:
        return (_IPV6 if data[0] >> 4 == 6 else _IPV4), data
    if linktype != _ETHERNET or len(data) < 14:
        return 0, b""
    place = 12
    while (kind := int.from_bytes(data[place : place + 2], "big")) in _TAGS:
        place += 4
    return kind, data[place + 2 :]


def _ipv4(network: bytes) -> Identity:
    header = (network[0] & 15) * 4
    total, ident, fragment, ttl, protocol = struct.unpack_from(">HHHBB", network, 2)
    payload = network[header : max(total, header)]
    first = fragment & 0x1FFF == 0
    fixed = struct.pack(">HHB", ident, fragment & 0x3FFF, protocol)  # without "don't fragment", which tunnels clear
    exact = _digest(b"ip4", fixed, network[12:20], _unsummed(payload, protocol if first else 0))
    translated = _translated(fixed, payload, protocol, ident) if first else None
    is_error = protocol == _ICMP and first and payload[:1] and payload[0] in _ICMP_ERRORS
    return Identity(exact, translated, ttl, header_of(network), header_of(payload[8:]) if is_error else None)


def _ipv6(network: bytes) -> Identity:
    length, protocol, ttl = struct.unpack_from(">HBB", network, 4)
    payload = network[40 : 40 + length]
    exact = _digest(b"ip6", bytes([protocol]), network[8:40], _unsummed(payload, protocol))
    return Identity(exact, _translated(bytes([protocol]), payload, protocol, 0), ttl)


def _unsummed(payload: bytes, protocol: int) -> bytes:
    at = _CHECKSUM_AT.get(protocol)
    return payload if at is None else payload[:at] + b"\0\0" + payload[at + 2 :]


def _translated(fixed: bytes, payload: bytes, protocol: int, ident: int) -> bytes | None:
    rest = _unsummed(payload, protocol)
    if protocol in _PORTS:
        rest = rest[_PORTS[protocol] :]
    elif protocol in (_ICMP, _ICMPV6):
        rest = rest[:4] + rest[6:]  # the identifier is what a translation rewrites in place of a port
    else:
        return None
    return _digest(b"nat", fixed, rest) if ident or len(rest) >= _TELLING + 8 else None


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
