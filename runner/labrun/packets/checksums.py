"""Is a header's checksum right? As Wireshark judges it when asked to (``-o tcp.check_checksum:TRUE``), and the kernel.

Linux leaves the checksum of TCP and UDP to the device, and a packet that never meets one (veth, lo) keeps what stands
in its place till the end. By its bytes such a checksum is wrong, though nothing is: the kernel says of each packet
whether that is so (PACKET_VNET_HDR). It is "not verified" here, neither good nor bad.

It refuses to judge where only a part of what was summed is on the wire (fragments, most packets that an ICMP error
quotes), and packets with a routing header, whose sum is over another destination (RFC 8200, 8.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from labrun.packets.dissect.layer import CUT, Found, Layer
from labrun.packets.dissect.walk import FRAGMENT, extension_size
from labrun.packets.segments import Offload, internet_checksum

BAD, GOOD, UNVERIFIED, ABSENT, ILLEGAL = range(5)  # enum proto_checksum_enum_e in Wireshark's epan/proto.h
_AT = {"ip": 10, "tcp": 16, "udp": 6, "icmp": 2, "icmpv6": 2}
_NUMBER = {"tcp": 6, "udp": 17, "icmpv6": 58}
_ROUTING = 43


def status(data: bytes, layers: Sequence[Layer], place: int, offload: Offload | None) -> Found:
    """Of the header ``layers[place]``: one of BAD to ILLEGAL; CUT where what decides was not kept, or not told."""
    layer = layers[place]
    at = layer.start + _AT[layer.protocol]
    if at + 2 > layer.end:
        return ()
    if at + 2 > len(data):
        return (CUT,)
    if offload is not None and layer.protocol in ("tcp", "udp") and offload.leaves_checksum(layer.start):
        return (UNVERIFIED,)
    if layer.protocol == "ip":
        return _judged(data, layer.start, layer.start + (data[layer.start] & 15) * 4, b"")
    if layer.part == "quoted" and layer.protocol in ("icmp", "icmpv6"):  # Wireshark does not look
        return (UNVERIFIED,)
    below = next(one for one in reversed(layers[:place]) if one.protocol in ("ip", "ipv6"))
    head = data[below.start : layer.start]
    if below.protocol == "ip":
        parted = head[6] & 0x3F != 0 or head[7] != 0
        addresses, claimed = head[12:20], below.start + int.from_bytes(head[2:4])
    else:
        parted = not {FRAGMENT, _ROUTING}.isdisjoint(_extensions(head))
        addresses, claimed = head[8:40], below.start + 40 + int.from_bytes(head[4:6])
    end = layer.end
    if layer.protocol == "udp":
        if data[at : at + 2] == b"\0\0":
            return (ABSENT if below.protocol == "ip" else ILLEGAL,)
        size = int.from_bytes(data[layer.start + 4 : layer.start + 6])
        claimed = layer.start + size
        end = min(end, claimed) if size else end
    if parted or claimed > layer.end:
        return (UNVERIFIED,)
    number = _NUMBER.get(layer.protocol)  # ICMP has no pseudo header
    pseudo = b"" if number is None else addresses + (end - layer.start).to_bytes(4) + number.to_bytes(4)
    found = _judged(data, layer.start, end, pseudo)
    untold = offload is not None and not offload.told and layer.protocol in ("tcp", "udp")
    return (CUT,) if untold and found == (BAD,) else found


def _judged(data: bytes, start: int, end: int, pseudo: bytes) -> Found:
    if end > len(data):
        return (CUT,)
    return (BAD if internet_checksum(pseudo + data[start:end]) else GOOD,)


def _extensions(head: bytes) -> set[int]:
    """The numbers of the extension headers behind an IPv6 header."""
    found = set()
    at, following = 40, head[6]
    while at < len(head):
        found.add(following)
        following, at = head[at], at + extension_size(head, at, following)
    return found
