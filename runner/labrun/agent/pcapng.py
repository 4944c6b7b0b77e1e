"""The blocks of a pcapng file as bytes, for the capture of the agent.

One section, little-endian, nanoseconds. An interface may be described late, when it appears; every block stands on
its own, so a file cut off by a crash is readable up to its last whole block, and each packet carries the direction
that the kernel saw. It refuses to know files, sockets or clocks, and it only writes: reading is
``labrun.packets.pcapng``, on the host.

Format: IETF draft-ietf-opsawg-pcapng. Link types: https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import struct

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101  # begins with an IPv4 or IPv6 header

# Hardware types (linux/if_arp.h) whose frames begin with an Ethernet header. Loopback has a zeroed one.
ARPHRD_ETHER = 1
ARPHRD_EETHER = 2
ARPHRD_LOOPBACK = 772
ETHERNET_TYPES = frozenset((ARPHRD_ETHER, ARPHRD_EETHER, ARPHRD_LOOPBACK))

# sll_pkttype (linux/if_packet.h) -> epb_flags: direction in bits 0-1 (1 in, 2 out), reception type in bits 2-4
# (1 unicast, 2 multicast, 3 broadcast, 4 promiscuous). Draft, section 4.3.1.
EPB_FLAGS = (
    1 | 1 << 2,  # PACKET_HOST
    1 | 3 << 2,  # PACKET_BROADCAST
    1 | 2 << 2,  # PACKET_MULTICAST
    1 | 4 << 2,  # PACKET_OTHERHOST: for another station, seen because the interface listens to all
    2,  # PACKET_OUTGOING
    0, 0, 0,  # PACKET_LOOPBACK, _USER, _KERNEL: never given to a packet socket
)  # fmt: skip

_EPB_HEAD = struct.Struct("<IIIIIII").pack  # type, length, interface, time high, time low, captured, original
_EPB_TAIL = struct.Struct("<HHIII").pack  # epb_flags (2, 4 bytes), opt_endofopt, length again
_EPB_OFFLOAD = struct.Struct("<HHIHHI8sII").pack  # epb_flags, then a custom option with the kernel's metadata
CUSTOM_BINARY = 2989  # a custom option that copies of the packet keep
ENTERPRISE = 32473  # for examples and documentation, RFC 5612: nobody else's meaning
OFFLOADS_TOLD = b"offloads"  # of a packet of which nothing is said, the kernel said that nothing was left to do
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_END_OF_OPTIONS = b"\0\0\0\0"


def linktype_of(hardware_type: int) -> int:
    """The link type for an interface's ARPHRD_ number.

    Whatever is no Ethernet (tun, ip tunnels, PPP) is written from its network header on, as raw IP.
    """
    return LINKTYPE_ETHERNET if hardware_type in ETHERNET_TYPES else LINKTYPE_RAW


def _option(code: int, value: bytes) -> bytes:
    value = value[:0xFFFF]
    return struct.pack("<HH", code, len(value)) + value + _PADDING[len(value) & 3]


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def section_header(operating_system: str, application: str = "labrun") -> bytes:
    """The start of a file. The section's length is left unknown (-1), as it is written while packets come in."""
    options = _option(3, operating_system.encode("utf-8", "replace"))  # shb_os
    options += _option(4, application.encode("utf-8", "replace"))  # shb_userappl
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options + _END_OF_OPTIONS)


def interface_description(
    name: str, linktype: int, snaplen: int, filter_expression: str | None = None, description: str | None = None
) -> bytes:
    """An interface, whose packets come with what they left for a device to do.

    Its number in the file is how many were described before it.
    """
    options = _option(2, name.encode("utf-8", "replace"))  # if_name
    if description:
        options += _option(3, description.encode("utf-8", "replace"))  # if_description
    options += _option(9, b"\x09")  # if_tsresol: 10^-9 s
    if filter_expression:
        options += _option(11, b"\0" + filter_expression.encode("utf-8", "replace"))  # if_filter, 0: a pcap filter
    options += _option(CUSTOM_BINARY, struct.pack("<I", ENTERPRISE) + OFFLOADS_TOLD)
    return _block(1, struct.pack("<HHI", linktype, 0, snaplen) + options + _END_OF_OPTIONS)


def enhanced_packet(
    interface: int, time_ns: int, data: bytes, original_length: int, flags: int, offload: bytes = b""
) -> bytes:
    """One packet; ``flags`` from EPB_FLAGS. The only function here that runs for every packet.

    ``offload``: the first 8 bytes of the kernel's struct virtio_net_hdr, of a packet that left work for a device.
    """
    captured = len(data)
    if offload:
        length = 60 + captured + (-captured & 3)
        return b"".join((
            _EPB_HEAD(6, length, interface, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, original_length),
            data,
            _PADDING[captured & 3],
            _EPB_OFFLOAD(2, 4, flags, CUSTOM_BINARY, 12, ENTERPRISE, offload, 0, length),
        ))  # fmt: skip
    length = 44 + captured + (-captured & 3)
    return b"".join((
        _EPB_HEAD(6, length, interface, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, original_length),
        data,
        _PADDING[captured & 3],
        _EPB_TAIL(2, 4, flags, 0, length),
    ))  # fmt: skip


def _time(time_ns: int) -> bytes:
    return struct.pack("<II", time_ns >> 32, time_ns & 0xFFFFFFFF)


def interface_statistics(interface: int, started_ns: int, ended_ns: int, received: int, dropped: int) -> bytes:
    """What became of an interface's packets in [started_ns, ended_ns]; the last word about it in the file."""
    options = _option(2, _time(started_ns)) + _option(3, _time(ended_ns))  # isb_starttime, isb_endtime
    options += _option(4, struct.pack("<Q", received)) + _option(5, struct.pack("<Q", dropped))  # isb_ifrecv, ifdrop
    return _block(5, struct.pack("<I", interface) + _time(ended_ns) + options + _END_OF_OPTIONS)
