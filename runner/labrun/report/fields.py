"""The bytes of a packet by field: which bytes are ip.ttl, and what they say. For hex dumps that explain themselves.

`headers` reads the plain packets. Of all others scapy knows the fields; this follows its dissection once more, field by
field, and notes where each begins and ends. Names are Wireshark's where it has them, since those are the names that
filters and lab files use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labrun.protocol.record import dataclass
from labrun.report.dissect import parsed
from labrun.report.headers import PROTOCOLS, plain
from labrun.report.headers import fields as plain_fields
from labrun.report.visible import one_line, shorten

MAX_BYTES = 384  # shown of one packet
MAX_FIELDS = 80
_MAX_VALUE = 60
_LAYERS = {
    "Ether": "eth", "Dot1Q": "vlan", "ARP": "arp", "IP": "ip", "IPv6": "ipv6", "ICMP": "icmp", "TCP": "tcp",
    "UDP": "udp", "DNS": "dns", "VXLAN": "vxlan", "BOOTP": "dhcp", "IPerror": "ip", "ICMPerror": "icmp",
    "TCPerror": "tcp", "UDPerror": "udp", "IPerror6": "ipv6", "Dot1AD": "ieee8021ad", "GRE": "gre",
    "Raw": "data", "Padding": "padding",
}  # fmt: skip
_NAMES = {
    "ip.version": "ip.version", "ip.ihl": "ip.hdr_len", "ip.tos": "ip.dsfield", "ip.chksum": "ip.checksum",
    "ip.frag": "ip.frag_offset", "ip.proto": "ip.proto", "icmp.chksum": "icmp.checksum", "icmp.id": "icmp.ident",
    "tcp.sport": "tcp.srcport", "tcp.dport": "tcp.dstport", "tcp.seq": "tcp.seq_raw", "tcp.ack": "tcp.ack_raw",
    "icmp.nexthopmtu": "icmp.mtu", "icmp.gw": "icmp.redir_gw", "ieee8021ad.vlan": "ieee8021ad.id",
    "tcp.dataofs": "tcp.hdr_len",
    "tcp.window": "tcp.window_size_value", "tcp.chksum": "tcp.checksum", "tcp.urgptr": "tcp.urgent_pointer",
    "udp.sport": "udp.srcport", "udp.dport": "udp.dstport", "udp.len": "udp.length", "udp.chksum": "udp.checksum",
    "ipv6.tc": "ipv6.tclass", "ipv6.fl": "ipv6.flow", "ipv6.plen": "ipv6.plen", "ipv6.nh": "ipv6.nxt",
    "ipv6.hlim": "ipv6.hlim", "arp.hwtype": "arp.hw.type", "arp.ptype": "arp.proto.type", "arp.hwlen": "arp.hw.size",
    "arp.plen": "arp.proto.size", "arp.op": "arp.opcode", "arp.hwsrc": "arp.src.hw_mac",
    "arp.psrc": "arp.src.proto_ipv4",
    "arp.hwdst": "arp.dst.hw_mac", "arp.pdst": "arp.dst.proto_ipv4", "vlan.vlan": "vlan.id",
    "vlan.prio": "vlan.priority",
    "data.load": "data", "padding.load": "padding",
}  # fmt: skip
_ETHERTYPES = {0x0800: "IPv4", 0x0806: "ARP", 0x8100: "802.1Q", 0x86DD: "IPv6", 0x88A8: "802.1ad"}
_NUMBERS: dict[str, dict[int, str]] = {
    "proto": PROTOCOLS, "nh": PROTOCOLS, "type": _ETHERTYPES, "ptype": _ETHERTYPES, "sport": {}, "dport": {},
}  # fmt: skip
"""Fields whose words scapy would take from this host's /etc/services or /etc/protocols."""


@dataclass(frozen=True, slots=True)
class FieldBytes:
    """Bytes [start, end) of the packet. Fields of a few bits share their bytes with their neighbours."""

    name: str
    value: str
    start: int
    end: int
    layer: int
    """0 for the outermost, so that neighbouring layers can look different."""
    before: str | None = None
    """What it said when the packet was seen before, if that was something else."""


def fields_of(data: bytes, linktype: int) -> tuple[FieldBytes, ...]:
    """In the packet's order. Never raises: what cannot be taken apart is one field, its bytes."""
    if (packet := plain(data, linktype)) is not None:
        return tuple(FieldBytes(*each) for each in plain_fields(data, packet))
    return thoroughly(data, linktype)


def thoroughly(data: bytes, linktype: int) -> tuple[FieldBytes, ...]:
    """As scapy reads it."""
    try:
        found = list(_fields(parsed(data, linktype)))
    except Exception:  # noqa: BLE001  hostile bytes through many dissectors
        found = []
    found = [each for each in found if each.start < each.end <= len(data)][:MAX_FIELDS]
    end = max((each.end for each in found), default=0)
    if end < len(data):
        found.append(
            FieldBytes("data", f"{len(data) - end} bytes", end, len(data), found[-1].layer + 1 if found else 0)
        )
    return tuple(found)


def _fields(packet: Any) -> Iterator[FieldBytes]:
    place = 0
    depth = 0
    layer = packet
    while layer is not None and layer.name != "NoPayload":
        begin = place
        rest: Any = bytes(layer.original)
        total = len(rest)
        kind = type(layer).__name__
        prefix = _LAYERS.get(kind, kind.lower())
        for each in layer.fields_desc:
            if not rest:
                break
            before = rest
            rest, value = each.getfield(layer, rest)
            start, end = _span(before, rest, total)
            if end > start and value is not None:
                yield FieldBytes(
                    _name(prefix, each.name), _value(each, layer, value), begin + start, begin + end, depth
                )
        left = rest[0] if isinstance(rest, tuple) else rest
        place = begin + total - len(left)
        layer = layer.payload
        # What scapy's hooks put between header and payload (padding, reassembly) would shift all that follows.
        if layer.name != "NoPayload" and bytes(left[: len(layer.original)]) != bytes(layer.original):
            return
        depth += 1


def _span(before: Any, rest: Any, total: int) -> tuple[int, int]:
    """Whole bytes that the field has a part of. scapy hands on (bytes, bits used, ...) within a byte."""
    start = total - len(before[0] if isinstance(before, tuple) else before)
    if isinstance(rest, tuple):
        return start, total - len(rest[0]) + 1
    return start, total - len(rest)


def _name(prefix: str, name: str) -> str:
    full = f"{prefix}.{name}"
    return shorten(one_line(_NAMES.get(full, full)), 40)


def _value(each: Any, layer: Any, value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, int) and each.name in _NUMBERS and type(layer).__name__ != "ICMP":
        known = _NUMBERS[each.name].get(value)
        number = f"0x{value:04x}" if each.name in ("type", "ptype") and value > 0xFF else str(value)
        return f"{number} ({known})" if known else number
    try:
        text = str(each.i2repr(layer, value))
    except Exception:  # noqa: BLE001
        text = str(value)
    if isinstance(value, int) and not isinstance(value, bool) and text.lstrip("-").isdigit() and value > 0xFFFF:
        text = f"{value} (0x{value:x})"
    return shorten(one_line(text.strip("'")), _MAX_VALUE)


def compared(now: tuple[FieldBytes, ...], before: tuple[FieldBytes, ...]) -> tuple[FieldBytes, ...]:
    """``now``, with what each field said ``before``, when the same packet was seen on another interface."""
    old = {(each.layer, each.name): each.value for each in before}
    return tuple(
        replace(each, before=was) if (was := old.get((each.layer, each.name), each.value)) != each.value else each
        for each in now
    )
