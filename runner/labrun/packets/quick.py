"""Operatorss on fields as a few comparisons at fixed places, to sort out the packets that surely do not pass.

Nearly every packet is Ethernet, then IPv4 without options, IPv6 without extension headers, or ARP, then one transport
header. There a field has one value at a known place, so "no" costs a handful of comparisons, made into one Python
function for the checks at hand. Whatever has another shape (tags, tunnels, fragments, errors that quote a packet, too
few bytes) is answered "look closer"; so is every packet that passes here. So this never decides a yes, and a no only
where `fields` would say no as well: a test holds them against each other.

Measured against libpcap's program for the same question, translated by `bpf`: see bench/judge.py --filters.
Source is generated from numbers alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from labrun.logic.compare import Operators
from labrun.packets.dissect.layer import Bits
from labrun.packets.dissect.registry import FIELDS, Field
from labrun.packets.dissect.walk import ICMP_ERRORS, ICMPV6_ERRORS, IP_PROTOCOLS, UDP_PAYLOADS, VXLAN_PORTS

Quick = Callable[[bytes], int]
"""0: surely not. 1: look closer. For whole Ethernet frames only."""

_ORDER = {"ge": ">=", "le": "<=", "gt": ">", "lt": "<"}
_LOOK, _NO = "return 1", "return 0"
_TUNNELS = sorted(number for number, name in IP_PROTOCOLS.items() if name in ("ip", "ipv6", "gre"))
_NUMBER = {name: number for number, name in IP_PROTOCOLS.items()}
_HEADERS = {"tcp": 20, "udp": 8, "icmp": 8, "icmpv6": 8}
_PORTS = {protocol: ports for ports, protocol in UDP_PAYLOADS.items()}
# Protocols that a shape may have besides the named ones, behind ports; what is asked of them is for `fields`.
_BEHIND_PORTS = {"tcp": ("dns",), "udp": ("dns", "dhcp")}


def quick_test(checks: Mapping[str, Operators]) -> Quick | None:
    """None where it would never say no."""
    if not checks:
        return None
    namespace: dict[str, Quick] = {}
    exec(compile(source(checks), "<quick>", "exec"), {"len": len, "__builtins__": {}}, namespace)
    return namespace["run"]


def source(checks: Mapping[str, Operators]) -> str:
    """The Python function `run(d)`."""
    lines = ["def run(d):", " n = len(d)", f" if n < 42: {_LOOK}", " t = d[12] << 8 | d[13]"]
    lines.append(" if t == 2048:")
    lines += _indented(_ipv4(checks))
    lines.append(" if t == 34525:")
    lines += _indented(_ipv6(checks))
    lines.append(" if t == 2054:")
    lines += _indented(_shape(checks, {"eth": 0, "arp": 14}))
    lines.append(f" {_LOOK}")
    return "\n".join(lines) + "\n"


def _indented(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]


def _ipv4(checks: Mapping[str, Operators]) -> list[str]:
    # Version 4 and 20 bytes of header; not a fragment, neither the first nor another.
    head = [f"if d[14] != 69 or d[20] & 63 or d[21]: {_LOOK}", "p = d[23]"]
    errors = f"if d[34] in {tuple(sorted(ICMP_ERRORS))}: {_LOOK}"
    return head + _transports(checks, {"eth": 0, "ip": 14}, 34, ("tcp", "udp", "icmp"), errors)


def _ipv6(checks: Mapping[str, Operators]) -> list[str]:
    # Extension headers and all that is no plain transport.
    plain = (_NUMBER["tcp"], _NUMBER["udp"], _NUMBER["icmpv6"])
    head = [f"if n < 62 or d[14] >> 4 != 6: {_LOOK}", "p = d[20]", f"if p not in {plain}: {_LOOK}"]
    errors = f"if d[54] in {tuple(sorted(ICMPV6_ERRORS))}: {_LOOK}"
    return head + _transports(checks, {"eth": 0, "ipv6": 14}, 54, ("tcp", "udp", "icmpv6"), errors)


def _transports(
    checks: Mapping[str, Operators], below: dict[str, int], at: int, protocols: tuple[str, ...], errors: str
) -> list[str]:
    lines: list[str] = []
    for protocol in protocols:
        body = []
        if at + _HEADERS[protocol] > 42:
            body.append(f"if n < {at + _HEADERS[protocol]}: {_LOOK}")
        if protocol == "udp":
            tunnels = tuple(sorted(VXLAN_PORTS))
            body.append(f"s, u = d[{at}] << 8 | d[{at + 1}], d[{at + 2}] << 8 | d[{at + 3}]")
            body.append(f"if s in {tunnels} or u in {tunnels}: {_LOOK}")
        elif protocol in ("icmp", "icmpv6"):
            body.append(errors)
        body += _shape(checks, below | {protocol: at})
        if protocol == "tcp" and body[-1] == _NO:
            body = [_NO]
        lines.append(f"if p == {_NUMBER[protocol]}:")
        lines += [" " + line for line in body]
    lines.append(f"if p in {tuple(_TUNNELS)}: {_LOOK}")
    return lines + _shape(checks, below)


def _shape(checks: Mapping[str, Operators], places: dict[str, int]) -> list[str]:
    """Statements for packets with just these headers at these places; the last returns."""
    found: list[str] = []
    for name, check in checks.items():
        field = FIELDS[name]
        place = places.get(field.protocol, places.get(field.also))
        if place is None:
            hidden = [top for top in places if field.protocol in _BEHIND_PORTS.get(top, ())]
            if not hidden:
                return [_NO]
            if hidden == ["udp"]:
                ports = tuple(sorted(_PORTS[field.protocol]))
                found.append(f"if s not in {ports} and u not in {ports}: {_NO}")
            else:
                at = places["tcp"]
                found.append(f"if d[{at}:{at + 2}] != b'\\x005' and d[{at + 2}:{at + 4}] != b'\\x005': {_NO}")
        elif field.bits is not None:
            found += [f"if not ({text}): {_NO}" for text in _conditions(field, check, place)]
    return [*found, _LOOK]


def _conditions(field: Field, check: Operators, base: int) -> list[str]:
    assert field.bits is not None
    found: list[str] = []
    for operator, expected in check.operators().items():
        if operator in _ORDER:
            found.append(f"{_number(field.bits, base)} {_ORDER[operator]} {_literal(expected)}")
        elif operator in ("equals", "one_of"):
            wanted = expected if operator == "one_of" else (expected,)
            texts = [_equals(field, field.bits, base, item) for item in wanted]
            if all(text is not None for text in texts):
                found.append(" or ".join(str(text) for text in texts))
    return found


def _literal(value: int | float) -> str:
    """inf and nan have no literal; a float is compared as it is."""
    return repr(value).replace("inf", "1e999").replace("nan", "(1e999 - 1e999)")


def _equals(field: Field, bits: Bits, base: int, expected: object) -> str | None:
    start = base + bits.at
    if field.kind == "bool":
        return f"{'' if expected else 'not '}{_number(bits, base)}"
    if isinstance(expected, int | float):
        return f"{_number(bits, base)} == {_literal(expected)}"
    if field.kind == "mac":
        return f"d[{start}:{start + 6}] == {bytes.fromhex(str(expected).replace(':', '').replace('-', ''))!r}"
    if field.kind in ("ipv4", "ipv6"):
        network = ipaddress.ip_network(str(expected), strict=False)
        if network.num_addresses == 1:
            raw = network.network_address.packed
            return f"d[{start}:{start + len(raw)}] == {raw!r}"
    return None


def _number(bits: Bits, base: int) -> str:
    places = [f"d[{base + bits.at + byte}]" for byte in range(bits.size)]
    text = " | ".join(f"{at} << {8 * byte}" if byte else at for byte, at in enumerate(reversed(places)))
    if bits.shift:
        text = f"({text}) >> {bits.shift}"
    if bits.mask < (1 << 8 * bits.size - bits.shift) - 1:
        text = f"({text}) & {bits.mask}"
    return f"({text})"
