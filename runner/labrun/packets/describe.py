"""One packet in words, as tcpdump or Wireshark would say it, and its bytes by field, by the names that labs know.

What fields there are, what they are called and how they are read is `dissect.registry`'s alone: a page shows what a
prediction can ask for. Names of ports and services are never looked up: the same bytes read the same on every host.
Nothing here raises on any bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from labrun.packets.checksums import ABSENT, BAD, GOOD, ILLEGAL, UNVERIFIED, status
from labrun.packets.dissect.layer import Cut, Layer, Value
from labrun.packets.dissect.registry import FIELDS, Field
from labrun.packets.dissect.walk import ETHERTYPES, IP_PROTOCOLS, walk
from labrun.packets.segments import Offload
from labrun.protocol.record import dataclass

MAX_FIELDS = 80
_TITLES = {
    "eth": "Ethernet", "vlan": "802.1Q", "ieee8021ad": "802.1ad", "arp": "ARP", "ip": "IPv4", "ipv6": "IPv6",
    "icmp": "ICMP", "icmpv6": "ICMPv6", "tcp": "TCP", "udp": "UDP", "gre": "GRE", "vxlan": "VXLAN", "dns": "DNS",
    "dhcp": "DHCP",
}  # fmt: skip
_PROTOCOLS = {number: _TITLES[name] for number, name in IP_PROTOCOLS.items()} | {2: "IGMP", 89: "OSPF", 132: "SCTP"}
_TYPES = {number: _TITLES[name] for number, name in ETHERTYPES.items()}
_ICMP = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
_UNREACHABLE = {0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed", 13: "prohibited"}
_ICMPV6 = {
    1: "unreachable", 2: "packet too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
    133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation",
    136: "neighbour advertisement", 137: "redirect", 143: "multicast listener report",
}  # fmt: skip
_FLAG_WORDS = {"syn": "SYN", "fin": "FIN", "reset": "RST", "push": "PSH", "ack": "ACK", "urg": "URG", "ece": "ECE",
               "cwr": "CWR"}  # fmt: skip
_QUERY_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}
_RCODES = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
_DHCP = {1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ACK", 6: "NAK", 7: "release", 8: "inform"}
_MEANINGS: dict[str, dict[int, str]] = {
    "eth.type": _TYPES, "vlan.etype": _TYPES, "gre.proto": _TYPES, "arp.proto.type": _TYPES, "ip.proto": _PROTOCOLS,
    "ipv6.nxt": _PROTOCOLS, "icmp.type": _ICMP, "icmpv6.type": _ICMPV6, "arp.opcode": {1: "request", 2: "reply"},
    "arp.hw.type": {1: "Ethernet"}, "dns.qry.type": _QUERY_TYPES, "dns.resp.type": _QUERY_TYPES,
    "dns.flags.rcode": _RCODES | {0: "no error"}, "dhcp.option.dhcp": _DHCP, "dhcp.type": {1: "request", 2: "reply"},
}  # fmt: skip
_HEX = {"eth.type": 4, "vlan.etype": 4, "gre.proto": 4, "arp.proto.type": 4, "ip.dsfield": 2, "ip.flags": 1,
        "ip.checksum": 4, "icmp.checksum": 4, "icmpv6.checksum": 4, "tcp.checksum": 4, "udp.checksum": 4,
        "tcp.flags": 3}  # fmt: skip
_CHECKSUMS = {BAD: "wrong", GOOD: "right", UNVERIFIED: "not verified", ABSENT: "none", ILLEGAL: "none, and must be"}
_SIZES = {"eth": 14, "vlan": 4, "ieee8021ad": 4, "arp": 28, "ipv6": 40, "icmp": 8, "icmpv6": 8, "udp": 8, "gre": 4,
          "vxlan": 8}  # fmt: skip
# What is in a header and no field: in plain words, since no prediction can ask for it.
_REST = {"ip": "options", "tcp": "options", "ipv6": "extension headers", "dns": "more records", "dhcp": "more options"}


@dataclass(frozen=True, slots=True)
class Words:
    protocol: str
    source: str
    destination: str
    info: str


@dataclass(frozen=True, slots=True)
class FieldBytes:
    """Bytes [start, end) of the packet. Fields of a few bits share their bytes with their neighbours.

    ``name``: a field of the lab language, or plain words without a dot for what is none.
    """

    name: str
    value: str
    start: int
    end: int
    layer: int
    """0 for the outermost, so that neighbouring layers can look different."""
    before: str | None = None
    """What it said when the packet was seen before, if that was something else."""


class _Packet:
    """The headers of a packet, and what they say."""

    def __init__(self, data: bytes, linktype: int, length: int, offload: Offload | None = None) -> None:
        self.data, self.length, self.offload = data, max(length, len(data)), offload
        self.layers, self.cut = walk(data, linktype, self.length)

    def value(self, name: str, layer: Layer) -> Value | None:
        """The first value of a field in a header; None where it has none, or it was not kept."""
        read = FIELDS[name].read
        assert read is not None
        found = next(iter(read(self.data, layer.start, layer.end)), None)
        return None if isinstance(found, Cut) else found

    def number(self, name: str, layer: Layer) -> int:
        """-1 where there is none."""
        found = self.value(name, layer)
        return int(found) if isinstance(found, int) else -1


def describe(data: bytes, linktype: int, length: int | None = None) -> Words:
    """``length``: on the wire, where the capture kept less."""
    packet = _Packet(data, linktype, len(data) if length is None else length)
    stacks: dict[int, list[Layer]] = {}
    for layer in packet.layers:
        stacks.setdefault(layer.stack, []).append(layer)
    told = [_stack(packet, layers) for layers in stacks.values() if layers[0].part != "quoted"]
    if not told:
        return Words("?", "", "", f"{packet.length} bytes of link type {linktype}")
    first, *inside = told
    if inside:
        ends = f"{inside[0].source} → {inside[0].destination}: " if inside[0].source else ""
        return replace(first, info=f"{first.info}, inside {inside[0].protocol} {ends}{inside[0].info}")
    return first


def _stack(packet: _Packet, layers: Sequence[Layer]) -> Words:
    """One header stack: of its innermost header that says something, between the addresses of its network header."""
    named = {layer.protocol: layer for layer in layers}
    if (arp := named.get("arp")) is not None:
        return _arp(packet, arp)
    network = named.get("ip") or named.get("ipv6")
    if network is None:
        return _frame(packet, layers)
    four = network.protocol == "ip"
    source, destination = (str(packet.value(f"{network.protocol}.{end}", network) or "") for end in ("src", "dst"))
    if not (source and destination):
        return Words(_TITLES[network.protocol], source, destination, f"{packet.length} bytes")
    last = layers[-1]
    tell = _TOLD.get(last.protocol)
    transport = named.get("udp") or named.get("tcp")
    if transport is not None and packet.number(f"{transport.protocol}.dstport", transport) >= 0:
        source, destination = (
            (f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
            for address, port in (
                (source, packet.value(f"{transport.protocol}.srcport", transport)),
                (destination, packet.value(f"{transport.protocol}.dstport", transport)),
            )
        )
    if tell is None:
        return Words(_TITLES[network.protocol], source, destination, _carried(packet, network))
    there = min(last.end, len(packet.data)) - last.start
    info = tell(packet, last) if there >= _SIZES.get(last.protocol, 0) else "not all of the header is there"
    if four and packet.value("ip.flags.mf", network) is True:
        info += ", first fragment"
    return Words(_TITLES[last.protocol], source, destination, info)


def _carried(packet: _Packet, network: Layer) -> str:
    """What an IP packet carries of which no header is told: another protocol, or a later fragment."""
    if network.protocol == "ipv6":
        return f"next header {packet.number('ipv6.nxt', network)}, {packet.number('ipv6.plen', network)} bytes"
    number = packet.number("ip.proto", network)
    name = _PROTOCOLS.get(number, f"protocol {number}")
    size = packet.number("ip.len", network) - packet.number("ip.hdr_len", network)
    place = packet.number("ip.frag_offset", network) * 8
    if place > 0:
        last = "" if packet.value("ip.flags.mf", network) is True else "last "
        return f"{last}fragment of {name} at {place}, {size} bytes"
    return f"{name}, {size} bytes"


def _arp(packet: _Packet, arp: Layer) -> Words:
    operation = packet.number("arp.opcode", arp)
    sender, target, at, to = (
        packet.value(f"arp.{name}", arp) for name in ("src.proto_ipv4", "dst.proto_ipv4", "src.hw_mac", "dst.hw_mac")
    )
    if sender is None or target is None:
        words = f"operation {operation}, " if operation >= 0 else ""
        return Words("ARP", str(at or ""), "", f"{words}{packet.length - arp.start} bytes")
    if operation == 1:
        return Words("ARP", str(at), "broadcast", f"who has {target}? tell {sender}")
    info = f"{sender} is at {at}" if operation == 2 else f"operation {operation}"
    return Words("ARP", str(at), str(to), info)


def _frame(packet: _Packet, layers: Sequence[Layer]) -> Words:
    first = layers[0]
    if first.protocol != "eth":
        return Words(_TITLES.get(first.protocol, "IP"), "", "", f"{packet.length} bytes that make no sense")
    kind = packet.number("eth.type", first)
    words = f"type 0x{kind:04x}, " if kind >= 0 else ""
    source, destination = (str(packet.value(f"eth.{end}", first) or "") for end in ("src", "dst"))
    return Words("Ethernet", source, destination, f"{words}{max(0, packet.length - 14)} bytes")


def _tcp(packet: _Packet, tcp: Layer) -> str:
    if packet.value("tcp.window_size_value", tcp) is None:
        return "not all of the header was kept"
    flags = ", ".join(word for name, word in _FLAG_WORDS.items() if packet.value(f"tcp.flags.{name}", tcp) is True)
    numbers = (packet.number(f"tcp.{name}", tcp) for name in ("seq_raw", "ack_raw", "window_size_value"))
    seq, ack, window = numbers
    length = max(0, packet.number("tcp.len", tcp))
    return f"{flags or 'no flags'} seq {seq} ack {ack} win {window} len {length}"


def _udp(packet: _Packet, udp: Layer) -> str:
    length = packet.number("udp.length", udp)
    return f"len {max(0, (length or udp.end - udp.start) - 8)}" if length >= 0 else "not all of the header was kept"


def _icmp(packet: _Packet, icmp: Layer) -> str:
    kind, code = packet.number("icmp.type", icmp), packet.number("icmp.code", icmp)
    words = _ICMP.get(kind, f"type {kind} code {code}")
    if kind == 3:
        return f"{_UNREACHABLE.get(code, f'destination (code {code})')} {words}"
    if kind in (0, 8):
        return f"{words} id {packet.number('icmp.ident', icmp)} seq {packet.number('icmp.seq', icmp)}"
    return words


def _icmpv6(packet: _Packet, icmp: Layer) -> str:
    kind = packet.number("icmpv6.type", icmp)
    words = _ICMPV6.get(kind, f"type {kind}")
    if kind in (128, 129):
        ident, seq = (packet.number(f"icmpv6.echo.{name}", icmp) for name in ("identifier", "sequence_number"))
        return f"{words} id {ident} seq {seq}"
    names = {135: "icmpv6.nd.ns.target_address", 136: "icmpv6.nd.na.target_address", 137: "icmpv6.nd.rd.target_address"}
    target = packet.value(names[kind], icmp) if kind in names else None
    return f"{words} {target}" if target is not None else words


def _dns(packet: _Packet, dns: Layer) -> str:
    name = packet.value("dns.qry.name", dns)
    kind = packet.number("dns.qry.type", dns)
    asked = f"{_QUERY_TYPES.get(kind, f'type {kind}' if kind >= 0 else '?')} {name}" if name is not None else ""
    if packet.value("dns.flags.response", dns) is not True:
        return f"query {asked}".strip()
    code = packet.number("dns.flags.rcode", dns)
    answers = [str(found) for what in ("a", "aaaa", "cname") for found in _all(packet, f"dns.{what}", dns)]
    if code > 0:
        return f"answer {asked}: {_RCODES.get(code, f'code {code}')}"
    return f"answer {asked}" + (f": {', '.join(answers)}" if answers else "")


def _dhcp(packet: _Packet, dhcp: Layer) -> str:
    kind = packet.number("dhcp.option.dhcp", dhcp)
    words = _DHCP.get(kind, "request" if packet.number("dhcp.type", dhcp) == 1 else "reply")
    yours = packet.value("dhcp.ip.your", dhcp)
    return f"{words} {yours}" if yours not in (None, "0.0.0.0") else words


def _all(packet: _Packet, name: str, layer: Layer) -> list[Value]:
    read = FIELDS[name].read
    assert read is not None
    return [one for one in read(packet.data, layer.start, layer.end) if not isinstance(one, Cut)]


_TOLD: dict[str, Callable[[_Packet, Layer], str]] = {
    "tcp": _tcp, "udp": _udp, "icmp": _icmp, "icmpv6": _icmpv6, "dns": _dns, "dhcp": _dhcp,
    "vxlan": lambda packet, layer: f"VNI {packet.number('vxlan.vni', layer)}",
    "gre": lambda packet, layer: f"type 0x{max(0, packet.number('gre.proto', layer)):04x}",
}  # fmt: skip


# --- by field ---


def _parents() -> dict[str, list[Field]]:
    """Protocol -> its fields that are shown by themselves, in the order of their names; parts of one are not."""
    found: dict[str, list[Field]] = {}
    for name, field in FIELDS.items():
        if name.rpartition(".")[0] not in FIELDS:
            found.setdefault(field.protocol, []).append(field)
    return found


_SHOWN = _parents()
_PARTS = {
    name: [other for other in FIELDS.values() if other.name.rpartition(".")[0] == name and other.read is not None]
    for name in FIELDS
}
"""A field of several (ip.flags) -> those that are a part of it (ip.flags.df)."""


def field_bytes(
    data: bytes, linktype: int, length: int | None = None, offload: Offload | None = None
) -> tuple[FieldBytes, ...]:
    """In the packet's order; every byte that was kept is in one at least. ``offload``: what the kernel says of it."""
    packet = _Packet(data, linktype, len(data) if length is None else length, offload)
    found: list[FieldBytes] = []
    done = 0
    for depth, layer in enumerate(packet.layers):
        following = packet.layers[depth + 1].start if depth + 1 < len(packet.layers) else None
        mine = sorted(_of_layer(packet, layer, depth), key=lambda each: (each.start, each.end))
        end = following if following is not None else max(_header_end(packet, layer), *(each.end for each in mine), 0)
        end = min(max(end, layer.start), len(data))
        found += _with_rest(packet, layer, mine, done, end, depth)
        done = max(done, end)
    last = packet.layers[-1] if packet.layers else None
    depth = len(packet.layers)
    stop = done if last is not None and last.protocol == "arp" else min(last.end, len(data)) if last else len(data)
    if done < stop:
        found.append(FieldBytes("data", _bytes(stop - done), done, stop, depth))
        done = stop
    if done < len(data):
        found.append(FieldBytes("padding", _bytes(len(data) - done), done, len(data), depth))
    if len(found) > MAX_FIELDS:
        rest = found[MAX_FIELDS - 1]
        found[MAX_FIELDS - 1 :] = [
            FieldBytes("more", _bytes(len(data) - rest.start), rest.start, len(data), rest.layer)
        ]
    return tuple(found)


def _of_layer(packet: _Packet, layer: Layer, depth: int) -> Iterator[FieldBytes]:
    for field in _SHOWN.get(layer.protocol, ()):
        if layer.part == "quoted" and not field.quoted:
            continue
        for value, start, end in field.spots(packet.data, layer.start, layer.end):
            if start < end <= len(packet.data):
                yield FieldBytes(field.name, _said(packet, layer, field, value), start, end, depth)


def _with_rest(
    packet: _Packet, layer: Layer, mine: Sequence[FieldBytes], begin: int, end: int, depth: int
) -> Iterator[FieldBytes]:
    """The fields of a header, and between them the bytes that no field is in."""
    at = max(min(layer.start, end), begin)
    if begin < at:
        yield FieldBytes("other", _other(packet.data[begin:at]), begin, at, depth)
    for each in mine:
        if at < each.start:
            yield FieldBytes("other", _other(packet.data[at : each.start]), at, each.start, depth)
        yield each
        at = max(at, each.end)
    if at < end:
        yield FieldBytes(_REST.get(layer.protocol, "other"), _other(packet.data[at:end]), at, end, depth)


def _header_end(packet: _Packet, layer: Layer) -> int:
    if layer.protocol in ("ip", "tcp"):
        return layer.start + max(20, packet.number(f"{layer.protocol}.hdr_len", layer))
    if layer.protocol in ("dns", "dhcp"):
        return layer.end
    return layer.start + _SIZES.get(layer.protocol, 0)


def _said(packet: _Packet, layer: Layer, field: Field, value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    parts = [words for part in _PARTS.get(field.name, ()) if (words := _part(part, packet.value(part.name, layer)))]
    meaning = ", ".join(parts) or _MEANINGS.get(field.name, {}).get(value)
    if field.name == "icmp.code" and packet.number("icmp.type", layer) == 3:
        meaning = _UNREACHABLE.get(value)
    if field.name.endswith(".checksum"):
        place = packet.layers.index(layer)
        meaning = next((_CHECKSUMS.get(one) for one in status(packet.data, packet.layers, place, packet.offload)
                        if isinstance(one, int)), None)  # fmt: skip
    if field.name == "ip.frag_offset" and value:
        meaning = f"byte {value * 8}"
    size = _HEX.get(field.name)
    number = f"0x{value:0{size}x}" if size else str(value)
    if not size and not meaning and value > 0xFFFF:
        meaning = f"0x{value:x}"
    return f"{number} ({meaning})" if meaning else number


def _part(field: Field, value: Value | None) -> str:
    """A part of a field as it is told with the whole: its last name if it is set, with its number if it has one."""
    name = field.name.rpartition(".")[2]
    return "" if not value else name if value is True else f"{name} {value}"


def _other(data: bytes) -> str:
    return f"0x{data.hex()}" if len(data) <= 8 else _bytes(len(data))


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def compared(now: tuple[FieldBytes, ...], before: tuple[FieldBytes, ...]) -> tuple[FieldBytes, ...]:
    """``now``, with what each field said ``before``, when the same packet was seen on another interface."""
    old = {place: each.value for place, each in zip(_places(before), before, strict=True)}
    return tuple(
        replace(each, before=was) if (was := old.get(place, each.value)) != each.value else each
        for place, each in zip(_places(now), now, strict=True)
    )


def _places(fields: Sequence[FieldBytes]) -> list[tuple[int, str, int]]:
    """Header, name, and which one it is: a DNS message has several records."""
    count: Counter[tuple[int, str]] = Counter()
    found = []
    for each in fields:
        found.append((each.layer, each.name, count[each.layer, each.name]))
        count[each.layer, each.name] += 1
    return found
