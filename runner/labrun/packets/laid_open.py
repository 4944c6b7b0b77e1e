"""Packets whose transport a pcap filter does not find, and the same packets without what hides it.

To libpcap `icmp6` is an IPv6 header that names ICMPv6 itself, and `udp` an untagged frame: it looks behind no extension
header (RFC 8200, 4) and no VLAN tag unless the filter says so. Whoever counts with a filter seldom means that.
"""

from __future__ import annotations

from labrun.packets.dissect.walk import ETHERNET, RAW, walk

TAG, EXTENSION = "a VLAN tag", "an IPv6 extension header"
_TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")  # IEEE 802.1Q, 802.1ad, and what came before it
_EXTENSIONS = b"\x00\x2b\x33\x3c\x87"  # hop-by-hop, routing, authentication, destination, mobility


def laid_open(data: bytes, linktype: int, tags: bool) -> tuple[bytes, str] | None:
    """The packet without its extension headers and, if ``tags``, its VLAN tags; and which of them it had.

    None for nearly all packets: nothing hides their transport.
    """
    at, hidden = 0, None
    if linktype == ETHERNET:
        at = 14
        while data[at - 2 : at] in _TAGS:
            at += 4
        if at > 14 and tags:
            data, at, hidden = data[:12] + data[at - 2 :], 14, TAG
        if data[at - 2 : at] != b"\x86\xdd":
            return None if hidden is None else (data, hidden)
    elif linktype != RAW or data[:1] < b"\x60":
        return None
    if len(data) > at + 40 and data[at + 6] in _EXTENSIONS:
        layers, _ = walk(data[at:], RAW, len(data) - at)
        if len(layers) > 1 and layers[0].protocol == "ipv6":
            number = _NUMBERS.get(layers[1].protocol)
            if number is not None:
                rest = data[at + layers[1].start :]
                header = data[at : at + 4] + len(rest).to_bytes(2) + bytes((number,)) + data[at + 7 : at + 40]
                return data[:at] + header + rest, hidden or EXTENSION
    return None if hidden is None else (data, hidden)


_NUMBERS = {"icmpv6": 58, "tcp": 6, "udp": 17, "ip": 4, "ipv6": 41, "gre": 47}
