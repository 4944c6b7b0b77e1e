"""The headers that nearly every packet of a lab has, read at once: ARP, and ICMP, TCP or UDP over IPv4.

Importing scapy costs a third of a second and each packet another millisecond. This reads the plain cases just as scapy
would, and says None to whatever is not plain (options of IP, padding, bytes that were cut off, a protocol behind a port
that scapy knows, IPv6): that is scapy's. A test compares both, for any bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from labrun.report.visible import shorten

_ETHERNET = 1  # LINKTYPE_
_IPV4, _ARP = 0x0800, 0x0806
_ICMP, _TCP, _UDP = 1, 6, 17
_MORE, _DONT = 1, 2  # fragments
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 58: "ICMPv6", 89: "OSPF"}
# Behind these scapy finds more than bytes; a test compares them with its tables.
UDP_PORTS = frozenset((53, 67, 68, 4754, 4789, 4790, 5353, 5355, 6633, 8472, 48879))
TCP_PORTS = frozenset((53,))
_TCP_FLAGS = "FSRPAUECN"
_TCP_WORDS = (("S", "SYN"), ("F", "FIN"), ("R", "RST"), ("P", "PSH"), ("A", "ACK"), ("U", "URG"), ("E", "ECE"),
              ("C", "CWR"))  # fmt: skip
UNREACHABLE = {0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed", 13: "prohibited"}
_ERRORS = {
    (3, 0): "network-unreachable", (3, 1): "host-unreachable", (3, 2): "protocol-unreachable",
    (3, 3): "port-unreachable", (3, 4): "fragmentation-needed", (11, 0): "ttl-zero-during-transit",
    (11, 1): "ttl-zero-during-reassembly",
}  # fmt: skip
_ECHO = {0: ("echo reply", "echo-reply"), 8: ("echo request", "echo-request")}
_MAX_VALUE = 60


class Plain(NamedTuple):
    """What a packet is. ``ip`` is the IPv4 header's fields; ``at``: where the transport begins."""

    kind: str
    ip: tuple[int, ...]
    at: int


Field = tuple[str, str, int, int, int]
"""Name, value, begin, end, layer."""


def plain(data: bytes, linktype: int) -> Plain | None:
    """None for what scapy must read."""
    if linktype != _ETHERNET or len(data) < 34:
        return None
    kind = data[12] << 8 | data[13]
    if kind == _ARP:
        is_known = len(data) == 42 and data[14:20] == b"\0\1\x08\0\6\4" and data[20] == 0 and data[21] in (1, 2)
        return Plain("arp", (), 14) if is_known else None
    if kind != _IPV4 or data[14] != 0x45:
        return None
    ip = struct.unpack_from(">BBHHHBBH", data, 14)
    if ip[2] != len(data) - 14:
        return None
    left, protocol = ip[2] - 20, ip[6]
    if ip[4] & 0x1FFF:
        return Plain("fragment", ip, 34) if left else None
    if protocol == _ICMP and left >= 8 and data[34] in _ECHO and data[35] == 0:
        return Plain("icmp", ip, 34)
    if protocol == _ICMP and left >= 36 and (data[34], data[35]) in _ERRORS and _quotes_echo(data):
        return Plain("error", ip, 34)
    if protocol == _UDP and left >= 8:
        source, target, length, _ = struct.unpack_from(">HHHH", data, 34)
        if length == left and not {source, target} & UDP_PORTS:
            return Plain("udp", ip, 34)
    if protocol == _TCP and left >= 20:
        source, target = struct.unpack_from(">HH", data, 34)
        end = (data[46] >> 4) * 4
        if 20 <= end <= left and not {source, target} & TCP_PORTS and _options(data[54 : 34 + end]) is not None:
            return Plain("tcp", ip, 34)
    return None


def _quotes_echo(data: bytes) -> bool:
    """Is the error about an echo, with no extension (RFC 4884) behind what it quotes?"""
    total, fragment, protocol = struct.unpack_from(">H2xHxB", data, 44)
    is_plain = data[39] == 0 and data[42] == 0x45 and not fragment & 0x3FFF and protocol == _ICMP
    return is_plain and total >= len(data) - 42 and data[62] in _ECHO and data[63] == 0


def words(data: bytes, packet: Plain) -> tuple[str, str, str, str]:
    """Protocol, source, destination, and what it is about."""
    if packet.kind == "arp":
        sender, target = _dotted(data[28:32]), _dotted(data[38:42])
        if data[21] == 1:
            return "ARP", _mac(data[22:28]), "broadcast", f"who has {target}? tell {sender}"
        return "ARP", _mac(data[22:28]), _mac(data[32:38]), f"{sender} is at {_mac(data[22:28])}"
    source, target = _dotted(data[26:30]), _dotted(data[30:34])
    if packet.kind == "fragment":
        about = f"protocol {packet.ip[6]} fragment at {(packet.ip[4] & 0x1FFF) * 8}, {len(data) - 34} bytes"
        return "IPv4", source, target, about
    if packet.kind == "icmp":
        ident, seq = struct.unpack_from(">HH", data, 38)
        return "ICMP", source, target, f"{_ECHO[data[34]][0]} id {ident} seq {seq}"
    if packet.kind == "error":
        about = "time exceeded" if data[34] == 11 else f"{UNREACHABLE[data[35]]} unreachable"
        return "ICMP", source, target, about
    one, other = struct.unpack_from(">HH", data, 34)
    ends = f"{source}:{one}", f"{target}:{other}"
    if packet.kind == "udp":
        return "UDP", *ends, f"len {len(data) - 42}"
    seq, ack, _, window = struct.unpack_from(">IIHH", data, 38)
    letters = _flags(data)
    flags = ", ".join(word for letter, word in _TCP_WORDS if letter in letters) or "no flags"
    length = len(data) - 34 - (data[46] >> 4) * 4
    return "TCP", *ends, f"{flags} seq {seq} ack {ack} win {window} len {length}"


def fields(data: bytes, packet: Plain) -> Iterator[Field]:
    """In the packet's order, as `fields.fields_of` names them."""
    kind = data[12] << 8 | data[13]
    yield "eth.dst", _mac(data[:6]), 0, 6, 0
    yield "eth.src", _mac(data[6:12]), 6, 12, 0
    yield "eth.type", "0x0806 (ARP)" if kind == _ARP else "0x0800 (IPv4)", 12, 14, 0
    if packet.kind == "arp":
        yield from _arp(data)
        return
    yield from _ip(data, packet.ip)
    if packet.kind == "error":
        yield from _error(data)
        return
    end = 34
    if packet.kind == "icmp":
        checksum, ident, seq = struct.unpack_from(">HHH", data, 36)
        yield "icmp.type", _ECHO[data[34]][1], 34, 35, 2
        yield "icmp.code", "0", 35, 36, 2
        yield "icmp.checksum", hex(checksum), 36, 38, 2
        yield "icmp.ident", hex(ident), 38, 40, 2
        yield "icmp.seq", hex(seq), 40, 42, 2
        end = 42
    elif packet.kind == "udp":
        source, target, length, checksum = struct.unpack_from(">HHHH", data, 34)
        yield "udp.srcport", str(source), 34, 36, 2
        yield "udp.dstport", str(target), 36, 38, 2
        yield "udp.length", str(length), 38, 40, 2
        yield "udp.checksum", hex(checksum), 40, 42, 2
        end = 42
    elif packet.kind == "tcp":
        end = 34 + (data[46] >> 4) * 4
        yield from _tcp(data, end)
    if end < len(data):
        yield "data", f"{len(data) - end} bytes", end, len(data), 2 if packet.kind == "fragment" else 3


def _error(data: bytes) -> Iterator[Field]:
    checksum = int.from_bytes(data[36:38], "big")
    yield "icmp.type", "time-exceeded" if data[34] == 11 else "dest-unreach", 34, 35, 2
    yield "icmp.code", _ERRORS[data[34], data[35]], 35, 36, 2
    yield "icmp.checksum", hex(checksum), 36, 38, 2
    yield "icmp.reserved", str(data[38]), 38, 39, 2
    yield "icmp.length", str(data[39]), 39, 40, 2
    yield "icmp.mtu" if data[34] == 3 else "icmp.unused", str(int.from_bytes(data[40:42], "big")), 40, 42, 2
    ip = struct.unpack_from(">BBHHHBBH", data, 42)
    for name, value, begin, end, _ in _ip(data[28:62], ip):
        yield name, value, begin + 28, end + 28, 3
    checksum, ident, seq = struct.unpack_from(">HHH", data, 64)
    yield "icmp.type", str(data[62]), 62, 63, 4
    yield "icmp.code", str(data[63]), 63, 64, 4
    yield "icmp.checksum", hex(checksum), 64, 66, 4
    yield "icmp.ident", hex(ident), 66, 68, 4
    yield "icmp.seq", hex(seq), 68, 70, 4
    if len(data) > 70:
        yield "data", f"{len(data) - 70} bytes", 70, len(data), 5


def _arp(data: bytes) -> Iterator[Field]:
    yield "arp.hw.type", "Ethernet (10Mb)", 14, 16, 1
    yield "arp.proto.type", "0x0800 (IPv4)", 16, 18, 1
    yield "arp.hw.size", "6", 18, 19, 1
    yield "arp.proto.size", "4", 19, 20, 1
    yield "arp.opcode", "who-has" if data[21] == 1 else "is-at", 20, 22, 1
    yield "arp.src.hw_mac", _mac(data[22:28]), 22, 28, 1
    yield "arp.src.proto_ipv4", _dotted(data[28:32]), 28, 32, 1
    yield "arp.dst.hw_mac", _mac(data[32:38]), 32, 38, 1
    yield "arp.dst.proto_ipv4", _dotted(data[38:42]), 38, 42, 1


def _ip(data: bytes, ip: tuple[int, ...]) -> Iterator[Field]:
    _, service, total, ident, fragment, ttl, protocol, checksum = ip
    bits = fragment >> 13
    flags = "+".join(name for bit, name in ((_MORE, "MF"), (_DONT, "DF"), (4, "evil")) if bits & bit)
    known = PROTOCOLS.get(protocol)
    yield "ip.version", "4", 14, 15, 1
    yield "ip.hdr_len", "5", 14, 15, 1
    yield "ip.dsfield", hex(service), 15, 16, 1
    yield "ip.len", str(total), 16, 18, 1
    yield "ip.id", str(ident), 18, 20, 1
    yield "ip.flags", flags, 20, 21, 1
    yield "ip.frag_offset", str(fragment & 0x1FFF), 20, 22, 1
    yield "ip.ttl", str(ttl), 22, 23, 1
    yield "ip.proto", f"{protocol} ({known})" if known else str(protocol), 23, 24, 1
    yield "ip.checksum", hex(checksum), 24, 26, 1
    yield "ip.src", _dotted(data[26:30]), 26, 30, 1
    yield "ip.dst", _dotted(data[30:34]), 30, 34, 1


def _tcp(data: bytes, end: int) -> Iterator[Field]:
    source, target, seq, ack, _, window, checksum, urgent = struct.unpack_from(">HHIIHHHH", data, 34)
    yield "tcp.srcport", str(source), 34, 36, 2
    yield "tcp.dstport", str(target), 36, 38, 2
    yield "tcp.seq_raw", _large(seq), 38, 42, 2
    yield "tcp.ack_raw", _large(ack), 42, 46, 2
    yield "tcp.hdr_len", str(data[46] >> 4), 46, 47, 2
    yield "tcp.reserved", str(data[46] >> 1 & 7), 46, 47, 2
    yield "tcp.flags", _flags(data), 46, 48, 2
    yield "tcp.window_size_value", str(window), 48, 50, 2
    yield "tcp.checksum", hex(checksum), 50, 52, 2
    yield "tcp.urgent_pointer", str(urgent), 52, 54, 2
    if end > 54:
        yield "tcp.options", shorten(str(_options(data[54:end])), _MAX_VALUE), 54, end, 2


def _options(data: bytes) -> list[tuple[str, object]] | None:
    """TCP's options (RFC 9293, 7323) as scapy writes them; None where there is one that is not among the usual."""
    found: list[tuple[str, object]] = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind == 1:
            found.append(("NOP", None))
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        value = data[at + 2 : at + size]
        if len(value) != size - 2:
            return None
        if (kind, size) == (2, 4):
            found.append(("MSS", int.from_bytes(value, "big")))
        elif (kind, size) == (3, 3):
            found.append(("WScale", value[0]))
        elif (kind, size) == (4, 2):
            found.append(("SAckOK", b""))
        elif (kind, size) == (8, 10):
            found.append(("Timestamp", struct.unpack(">II", value)))
        else:
            return None
        at += size
    return found


def _flags(data: bytes) -> str:
    bits = (data[46] & 1) << 8 | data[47]
    return "".join(letter for index, letter in enumerate(_TCP_FLAGS) if bits >> index & 1)


def _large(number: int) -> str:
    return f"{number} (0x{number:x})" if number > 0xFFFF else str(number)


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))


def _mac(address: bytes) -> str:
    return address.hex(":")
