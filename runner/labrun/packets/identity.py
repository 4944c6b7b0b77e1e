"""What stays the same of a packet on its way: 16 bytes that two appearances share if they are one packet.

Left out is what forwarding changes or adds: the link header and VLAN tags, padding of short frames, TTL or hop limit,
the IPv4 header checksum, the ECN bits (a router may set them, RFC 3168), and the checksum of TCP and UDP, which on a
Linux sender's interface is often not filled in yet (checksum offload). Everything else counts: addresses, ports, ip.id,
sequence numbers, flags, options, the payload. Fragments differ by their offset and stay different packets, and so do a
large segment and the packets that it is cut into.

With ``nat``, what address translation changes is left out as well: addresses, TCP and UDP ports, the identifier of an
ICMP query, their checksums, and the same in the packet that an ICMP error quotes. ip.id and payload stay.

It refuses packets that the capture cut short: what was not kept may differ.
"""

from __future__ import annotations

from hashlib import blake2b

from labrun.packets.dissect.walk import ETHERNET, ICMP_ERRORS, ICMPV6_ERRORS, RAW

SIZE = 16
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_CHECKSUM_AT = {_TCP: 16, _UDP: 6}
_ICMP_QUERIES = frozenset((0, 8, 13, 14, 15, 16, 17, 18))
_ICMPV6_ECHOES = frozenset((128, 129))
_VLANS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")


def fingerprint(data: bytes, linktype: int, length: int, nat: bool = False) -> bytes | None:
    """SIZE bytes; None if the packet was cut short."""
    if len(data) < length:
        return None
    if linktype == ETHERNET:
        kind, at = data[12:14], 14
        while kind in _VLANS:
            kind, at = data[at + 2 : at + 4], at + 4
    elif linktype == RAW:
        kind, at = b"\x08\x00" if data[:1] < b"\x60" else b"\x86\xdd", 0
    else:
        kind, at = b"", 0
    if kind == b"\x08\x00" and len(data) >= at + 20 and data[at] >> 4 == 4:
        body = _ipv4(data, at, nat)
    elif kind == b"\x86\xdd" and len(data) >= at + 40 and data[at] >> 4 == 6:
        body = _ipv6(data, at, nat)
    elif kind == b"\x08\x06":
        body = data[at : at + 28]  # Ethernet and IPv4 (RFC 826); the rest is padding
    else:
        body = data[at:]
    return blake2b(kind + body, digest_size=SIZE).digest()


def _ipv4(data: bytes, at: int, nat: bool) -> bytes:
    header = (data[at] & 15) * 4
    total = data[at + 2] << 8 | data[at + 3]
    end = at + total if total >= header else len(data)  # 0: segmentation is left to the device
    protocol = data[at + 9]
    payload = data[at + header : end]
    if not (data[at + 6] & 0x1F or data[at + 7]):  # a later fragment has no transport header
        payload = _transport(payload, protocol, nat)
    # Version and length, DSCP, total length, id, fragment; protocol; addresses; options.
    dscp = data[at + 1] & 0xFC
    addresses = at + (20 if nat else 12)
    return b"%c%c%b%c%b%b" % (
        data[at], dscp, data[at + 2 : at + 8], protocol, data[addresses : at + header], payload
    )  # fmt: skip


def _ipv6(data: bytes, at: int, nat: bool) -> bytes:
    plen = data[at + 4] << 8 | data[at + 5]
    end = at + 40 + plen if plen else len(data)
    payload = data[at + 40 : end]
    protocol = data[at + 6]
    if protocol in (_TCP, _UDP, _ICMPV6):  # behind extension headers the transport's bytes count as they are
        payload = _transport(payload, protocol, nat)
    addresses = b"" if nat else data[at + 8 : at + 40]
    flow = bytes((data[at], data[at + 1] & 0xCF))  # ECN is in bits 4-5 of the second byte
    return flow + data[at + 2 : at + 7] + addresses + payload


def _transport(payload: bytes, protocol: int, nat: bool) -> bytes:
    checksum = _CHECKSUM_AT.get(protocol)
    if checksum is not None:
        start = 4 if nat else 0
        return payload[start:checksum] + payload[checksum + 2 :]
    if not nat or len(payload) < 8:
        return payload
    kind = payload[0]
    if protocol == _ICMP:
        if kind in _ICMP_QUERIES:
            return payload[:2] + payload[6:]
        if kind in ICMP_ERRORS and len(payload) >= 28:
            return payload[:2] + payload[4:8] + _quoted_ipv4(payload[8:])
    elif protocol == _ICMPV6:
        if kind in _ICMPV6_ECHOES:
            return payload[:2] + payload[6:]
        if kind in ICMPV6_ERRORS and len(payload) >= 48:
            return payload[:2] + payload[4:8] + _quoted_ipv6(payload[8:])
    return payload


def _quoted_ipv4(data: bytes) -> bytes:
    """The quoted header without checksum and addresses, and what follows without what NAT changes there."""
    header = (data[0] & 15) * 4
    inner = data[header:]
    return data[:10] + data[20:header] + _quoted_transport(inner, data[9])


def _quoted_ipv6(data: bytes) -> bytes:
    return data[:8] + _quoted_transport(data[40:], data[6])


def _quoted_transport(inner: bytes, protocol: int) -> bytes:
    if protocol in _CHECKSUM_AT:
        return _transport(inner, protocol, True)
    if protocol in (_ICMP, _ICMPV6):
        return inner[:2] + inner[6:]
    return inner
