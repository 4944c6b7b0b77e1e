"""From the first header of a packet to its last: where each begins and ends.

Only what says which header comes next is read here. Tunnels (VXLAN, GRE, IP in IP) and the packet that an ICMP error
quotes are walked too, so a protocol may appear several times, as in Wireshark; each has its own header stack.

It refuses to reassemble: what follows a fragment's IP header is looked at in the first fragment only, and DNS over TCP
only where a whole message is in one segment.
"""

from __future__ import annotations

from collections.abc import Callable

from labrun.packets.dissect.layer import Layer, Part

ETHERNET, RAW = 1, 101  # LINKTYPE_, https://www.tcpdump.org/linktypes.html
MAX_LAYERS = 64  # more than any real packet; what lies deeper counts as not kept

Next = tuple[str | None, int, int]
"""The protocol of the next header (None: there is none), where it begins, where it ends."""

DNS_PORTS = frozenset((53, 5353, 5355))  # DNS, mDNS (RFC 6762), LLMNR (RFC 4795)
DHCP_PORTS = frozenset((67, 68))
VXLAN_PORTS = frozenset((4789, 8472))  # RFC 7348, and what Linux took before there was one (and still does)
ICMP_ERRORS = frozenset((3, 4, 5, 11, 12))  # they quote the packet that caused them, RFC 792
ICMPV6_ERRORS = frozenset((1, 2, 3, 4))  # RFC 4443

ETHERTYPES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6", 0x8100: "vlan", 0x9100: "vlan", 0x88A8: "ieee8021ad"}
_GRE_TYPES = ETHERTYPES | {0x6558: "eth"}  # transparent Ethernet bridging: gretap
IP_PROTOCOLS = {1: "icmp", 4: "ip", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 58: "icmpv6"}
EXTENSIONS = frozenset((0, 43, 51, 60, 135))  # RFC 8200; AH (51) counts its length in other units
_IP, _TUNNELS = ("ip", "ipv6"), ("vxlan", "gre")
FRAGMENT, _AUTHENTICATION = 44, 51

_END: Next = (None, 0, 0)
_CUT: Next = (None, -1, -1)  # that was not kept


def walk(data: bytes, linktype: int, length: int) -> tuple[list[Layer], bool]:
    """The headers from the outermost on, and whether more may follow in what the capture did not keep."""
    layers: list[Layer] = []
    end = max(length, len(data))
    if linktype == ETHERNET:
        step: Next = ("eth", 0, end)
    elif linktype == RAW:
        step = _raw(data, 0, end)
    else:
        return layers, False
    part: Part = "outer"
    stack = 0
    protocol, start, end = step
    while protocol is not None:
        if len(layers) == MAX_LAYERS:
            return layers, True
        layer = Layer(protocol if _sane(protocol, data, start) else f"bogus {protocol}", start, end, part, stack)
        layers.append(layer)
        step = _STEPS[protocol](data, start, end)
        if step[0] == "dns" and protocol == "tcp":
            layers += _messages(data, step[1], step[2], part, stack)
            break
        if protocol in ("icmp", "icmpv6"):
            part, stack = "quoted", stack + 1
        elif protocol in _TUNNELS or (protocol in _IP and step[0] in _IP):
            part, stack = "inner" if part == "outer" else part, stack + 1
        protocol, start, end = step
    return layers, step is _CUT


def _sane(protocol: str, data: bytes, start: int) -> bool:
    """Can an IP header begin like this? If not, then nothing in it means anything, and it has no fields."""
    if start >= len(data):
        return True
    first = data[start]
    return first >> 4 == 4 and first & 15 >= 5 if protocol == "ip" else protocol != "ipv6" or first >> 4 == 6


def _short(data: bytes, place: int, end: int) -> Next | None:
    """Is the header cut off before ``place``? By the wire (it ends there) or by the capture."""
    if place > end:
        return _END
    return _CUT if place > len(data) else None


def _half(data: bytes, place: int) -> int:
    return data[place] << 8 | data[place + 1]


def _raw(data: bytes, start: int, end: int) -> Next:
    if (short := _short(data, start + 1, end)) is not None:
        return short
    return {4: "ip", 6: "ipv6"}.get(data[start] >> 4), start, end


def _typed(size: int) -> Callable[[bytes, int, int], Next]:
    """A header of ``size`` bytes whose last two are an EtherType."""

    def step(data: bytes, start: int, end: int) -> Next:
        at = start + size
        return _short(data, at, end) or (ETHERTYPES.get(_half(data, at - 2)), at, end)

    return step


def _stop(_data: bytes, _start: int, _end: int) -> Next:
    return _END


def _ip(data: bytes, start: int, end: int) -> Next:
    if (short := _short(data, start + 20, end)) is not None:
        return short
    header = (data[start] & 15) * 4
    total = _half(data, start + 2) or end - start  # 0: segmentation is left to the device
    if data[start] >> 4 != 4 or header < 20 or total < header or _half(data, start + 6) & 0x1FFF:
        return _END
    end = min(end, start + total)
    at = start + header
    return (IP_PROTOCOLS.get(data[start + 9]), at, end) if at < end else _END


def _ipv6(data: bytes, start: int, end: int) -> Next:
    if (short := _short(data, start + 40, end)) is not None:
        return short
    if data[start] >> 4 != 6:
        return _END
    payload = _half(data, start + 4)
    at, following = start + 40, data[start + 6]
    if payload:
        end = min(end, at + payload)
    while following in EXTENSIONS or following == FRAGMENT:
        if (short := _short(data, at + 8, end)) is not None:
            return short
        if following == FRAGMENT and _half(data, at + 2) & 0xFFF8:
            return _END
        following, at = data[at], at + extension_size(data, at, following)
    return (IP_PROTOCOLS.get(following), at, end) if at < end else _END


def extension_size(data: bytes, at: int, number: int) -> int:
    """The length of the extension header of this number that begins at ``at``, bytes."""
    if number == FRAGMENT:
        return 8
    return (data[at + 1] + 2) * 4 if number == _AUTHENTICATION else (data[at + 1] + 1) * 8


def _quoting(errors: frozenset[int], quoted: str) -> Callable[[bytes, int, int], Next]:
    def step(data: bytes, start: int, end: int) -> Next:
        if (short := _short(data, start + 1, end)) is not None:
            return short
        return (quoted, start + 8, end) if data[start] in errors and start + 8 < end else _END

    return step


def _tcp(data: bytes, start: int, end: int) -> Next:
    if (short := _short(data, start + 13, end)) is not None:
        return short
    at = start + (data[start + 12] >> 4) * 4
    if at >= start + 20 and (_half(data, start) == 53 or _half(data, start + 2) == 53):
        return "dns", at, end
    return _END


def _udp(data: bytes, start: int, end: int) -> Next:
    if (short := _short(data, start + 8, end)) is not None:
        return short
    size = _half(data, start + 4)
    if size < 8 and size != 0:
        return _END
    end = min(end, start + size) if size else end
    for port in sorted((_half(data, start), _half(data, start + 2))):  # the lower one first, as Wireshark tries them
        for ports, protocol in UDP_PAYLOADS.items():
            if port in ports:
                return (protocol, start + 8, end) if start + 8 < end else _END
    return _END


UDP_PAYLOADS = {DNS_PORTS: "dns", DHCP_PORTS: "dhcp", VXLAN_PORTS: "vxlan"}


def _vxlan(data: bytes, start: int, end: int) -> Next:
    return ("eth", start + 8, end) if start + 8 < end else _END


def _gre(data: bytes, start: int, end: int) -> Next:
    if (short := _short(data, start + 4, end)) is not None:
        return short
    flags = _half(data, start)
    if flags & 0x4007:  # source routing (RFC 1701), or version 1: PPTP
        return _END
    at = start + 4 + 4 * (bool(flags & 0x8000) + bool(flags & 0x2000) + bool(flags & 0x1000))
    return (_GRE_TYPES.get(_half(data, start + 2)), at, end) if at <= end else _END


def _messages(data: bytes, at: int, end: int, part: Part, stack: int) -> list[Layer]:
    """The whole DNS messages in a TCP segment, each behind its length (RFC 1035, 4.2.2)."""
    found: list[Layer] = []
    while at + 2 < end and len(found) < MAX_LAYERS:
        if at + 2 > len(data):
            found.append(
                Layer("dns", at + 2, end, part, stack)
            )  # where it ends is not known, and neither is anything in it
            break
        stop = at + 2 + _half(data, at)
        if stop > end:
            break
        found.append(Layer("dns", at + 2, stop, part, stack))
        at = stop
    return found


_STEPS: dict[str, Callable[[bytes, int, int], Next]] = {
    "eth": _typed(14),
    "vlan": _typed(4),
    "ieee8021ad": _typed(4),
    "arp": _stop,
    "ip": _ip,
    "ipv6": _ipv6,
    "icmp": _quoting(ICMP_ERRORS, "ip"),
    "icmpv6": _quoting(ICMPV6_ERRORS, "ipv6"),
    "tcp": _tcp,
    "udp": _udp,
    "gre": _gre,
    "vxlan": _vxlan,
    "dns": _stop,
    "dhcp": _stop,
}
