"""A super-packet as the packets that it stands for: what the kernel (GSO) or the device (TSO) makes of it on the wire.

The kernel hands up to 64 KiB of TCP or UDP at once from layer to layer, and captures see that. How it is cut is in its
metadata (`struct virtio_net_hdr`, VIRTIO 1.2, 5.1.6): a type, and the bytes of data in each segment. What is cut like
this: Documentation/networking/segmentation-offloads.rst; tcp_gso_segment, __udp_gso_segment, inet_gso_segment.

It refuses what it cannot cut byte for byte: tunnels, extension headers, SCTP. Of a segment everything is as on the wire
but the checksum of TCP or UDP, which is left to the device.
"""

from __future__ import annotations

from labrun.protocol.record import dataclass

NEEDS_CHECKSUM = 1  # VIRTIO_NET_HDR_F_NEEDS_CSUM: the sender left the transport checksum to the device
_TCP4, _TCP6, _UDP, _ECN = 1, 4, 5, 0x80  # VIRTIO_NET_HDR_GSO_
_TCP, _UDP_PROTOCOL = 6, 17
_FIN_PSH, _CWR = 0x09, 0x80
_ETHERNET = 1  # LINKTYPE_
_VLAN = (0x8100, 0x88A8)


@dataclass(frozen=True, slots=True)
class Offload:
    """What a packet left for a device to do."""

    flags: int
    gso_type: int
    gso_size: int
    """Bytes of data in each segment but the last; 0 in an ordinary packet."""
    start: int | None = None
    """Where the header begins whose checksum is left, from the packet's start; None: that is not told."""
    told: bool = True
    """Did the capture ask the kernel for all this at all?"""

    def leaves_checksum(self, start: int) -> bool:
        """Is the checksum of the header at ``start`` not filled in yet?"""
        return bool(self.flags & NEEDS_CHECKSUM) and self.start in (None, start)


UNTOLD = Offload(0, 0, 0, told=False)


def segments(data: bytes, linktype: int, length: int, offload: Offload) -> list[tuple[bytes, int]] | None:
    """(kept bytes, length on the wire) of each segment; None where it is not known how they look.

    ``data`` may be cut: then so are the segments.
    """
    headers = _headers(data, linktype)
    size = offload.gso_size
    if headers is None or not size:
        return None
    network, transport, begin, protocol = headers
    four, tcp = data[network] >> 4 == 4, protocol == _TCP
    kind = (_TCP4 if four else _TCP6) if tcp else _UDP
    if offload.gso_type & ~_ECN != kind or length <= begin:
        return None
    found = []
    count = -(-(length - begin) // size)
    for number in range(count):
        at = begin + number * size
        payload = min(size, length - at)
        head = bytearray(data[:begin])
        if four:
            head[network + 2 : network + 4] = (begin - network + payload).to_bytes(2, "big")
            identity = int.from_bytes(head[network + 4 : network + 6], "big") + number
            head[network + 4 : network + 6] = (identity & 0xFFFF).to_bytes(2, "big")
            head[network + 10 : network + 12] = bytes(2)
            head[network + 10 : network + 12] = internet_checksum(bytes(head[network:transport])).to_bytes(2, "big")
        else:
            head[network + 4 : network + 6] = (begin - network - 40 + payload).to_bytes(2, "big")
        if tcp:
            sequence = int.from_bytes(head[transport + 4 : transport + 8], "big") + number * size
            head[transport + 4 : transport + 8] = (sequence & 0xFFFFFFFF).to_bytes(4, "big")
            if number < count - 1:
                head[transport + 13] &= ~_FIN_PSH
            if number:
                head[transport + 13] &= ~_CWR
        else:
            head[transport + 4 : transport + 6] = (8 + payload).to_bytes(2, "big")
        found.append((bytes(head) + data[at : at + payload], begin + payload))
    return found


def internet_checksum(summed: bytes) -> int:
    """RFC 1071. Of bytes with their right checksum among them it is 0, or all of them are 0."""
    words = summed + b"\0" * (len(summed) & 1)
    # 2^16 is 1 modulo 2^16 - 1, so the rest of the whole number is the sum of its words.
    return 0xFFFF - (int.from_bytes(words, "big") % 0xFFFF or 0xFFFF * any(words))


def _headers(data: bytes, linktype: int) -> tuple[int, int, int, int] | None:
    """Where the network header, the transport header and the data begin, and the protocol: TCP or UDP in bare IP."""
    network = 0
    if linktype == _ETHERNET:
        network = 14
        while int.from_bytes(data[network - 2 : network], "big") in _VLAN:
            network += 4
    if len(data) < network + 20:
        return None
    if data[network] >> 4 == 4:
        transport, protocol = network + 4 * (data[network] & 15), data[network + 9]
    elif data[network] >> 4 == 6:
        transport, protocol = network + 40, data[network + 6]
    else:
        return None
    if len(data) < transport + 20:
        return None
    if protocol == _TCP:
        begin = transport + 4 * (data[transport + 12] >> 4)
    elif protocol == _UDP_PROTOCOL:
        begin = transport + 8
    else:
        return None
    return (network, transport, begin, protocol) if begin <= len(data) else None
