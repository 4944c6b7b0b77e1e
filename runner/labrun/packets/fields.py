"""Typed fields of packets as a lab asks for them: `{ip.ttl: 64, tcp.flags.syn: true}` as one function over packets.

All checks of one mapping are about one header stack: that of the packet itself, as a pcap filter reads it; or with
``inner`` one that a tunnel (VXLAN, GRE, IP in IP) carries, with ``quoted`` the packet that an ICMP error quotes. So the
type of an outer header is never held beside the address of an inner one.

A stack may have several values of a field (two VLAN tags, ip.addr for both addresses). As with Wireshark's `==`, a
check holds if any value passes it; of several operators in one check, one value must pass them all. `lacks` is the one
that speaks of all: there is a value, and none contains it. A packet without the field passes nothing. Of fragments,
only the first has ports and what follows; nothing is reassembled.

The answer is None where the bytes that decide were not kept by the capture: not knowing is not "no".
Most packets are sorted out by `quick`, a few comparisons at fixed places; only the rest is walked header by header.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from labrun.logic.compare import ORDER, Operators, Truth, all_of, any_of
from labrun.logic.suggest import did_you_mean
from labrun.packets.checksums import status
from labrun.packets.dissect.layer import CUT, Cut, Found, Layer, Part, Value, ipv6_text
from labrun.packets.dissect.registry import FIELDS, Field
from labrun.packets.dissect.walk import walk
from labrun.packets.quick import quick_test
from labrun.packets.segments import Offload

__all__ = ["FIELDS", "Field", "Matcher", "Part", "compile_fields", "problem"]


class Matcher(Protocol):
    """Does the packet pass? ``offload``: what the kernel told that it left for a device to do; None: nothing."""

    def __call__(
        self, data: bytes, linktype: int, length: int, interface: str, offload: Offload | None = None, /
    ) -> Truth: ...


_Test = Callable[[Value], bool]
LARGEST = 0xFFFFFFFF  # of the fields that stand at no fixed place
SEARCHES = ("contains", "lacks", "matches")
KIND_WORDS = {
    "int": "a number",
    "bool": "true or false",
    "text": "text",
    "mac": "a MAC address such as 02:00:00:00:00:01",
    "ipv4": "an IPv4 address or prefix",
    "ipv6": "an IPv6 address or prefix",
}


def problem(name: str, check: Operators, part: Part = "outer") -> str | None:
    """What is wrong with asking this of that field, in words for the lab's author; None if nothing is."""
    field = FIELDS.get(name)
    if field is None:
        return f"unknown field '{name}'.{did_you_mean(name, FIELDS)}"
    if field.protocol == "frame" and part != "outer":
        return f"{name} is of the whole frame: ask for it under fields"
    if part == "quoted" and not field.quoted:
        return f"no packet that an ICMP error quotes has {name}"
    for operator, expected in check.operators().items():
        if operator in ORDER:
            if field.kind != "int":
                return f"{operator} compares numbers; {name} is {KIND_WORDS[field.kind]}"
        elif operator in SEARCHES:
            if field.kind in ("int", "bool"):
                return f"{operator} compares text; {name} is {KIND_WORDS[field.kind]}"
        else:
            for item in expected if operator == "one_of" else (expected,):
                try:
                    equality(field, item)
                except ValueError:
                    return f"{name} is {KIND_WORDS[field.kind]}, not {item!r}"
    return None


def compile_fields(
    checks: Mapping[str, Operators],
    inner: Mapping[str, Operators] | None = None,
    quoted: Mapping[str, Operators] | None = None,
) -> Matcher:
    """A function that says whether a packet passes every check. ValueError with `problem`'s words if one is wrong."""
    asked: dict[Part, Mapping[str, Operators]] = {"outer": checks, "inner": inner or {}, "quoted": quoted or {}}
    for part, its in asked.items():
        for name, check in its.items():
            if (wrong := problem(name, check, part)) is not None:
                raise ValueError(wrong)
    compiled: dict[Part, list[_Asked]] = {
        part: [(FIELDS[name], *_tests(FIELDS[name], check)) for name, check in its.items()]
        for part, its in asked.items()
    }
    frames = [one for one in compiled["outer"] if one[0].protocol == "frame"]
    outer = [one for one in compiled["outer"] if one[0].protocol != "frame"]
    others: list[tuple[Part, list[_Asked]]] = [(p, its) for p, its in compiled.items() if its and p != "outer"]
    quick = quick_test({name: check for name, check in checks.items() if FIELDS[name].protocol != "frame"})

    def match(data: bytes, linktype: int, length: int, interface: str, offload: Offload | None = None, /) -> Truth:
        if quick is not None and linktype == 1 and len(data) >= length and not quick(data):
            return False
        truths: list[Truth] = []
        for field, test, lacks in frames:
            truths.append(_judge(_frame(field.name, data, length, interface), test, lacks))
        if (outer or others) and False not in truths:
            layers, cut = walk(data, linktype, length)
            last = layers[-1].stack if layers else 0
            for field, test, lacks in outer:
                truth = _judge(_collect(field, data, layers, 0, cut and last == 0, offload), test, lacks)
                if truth is False:
                    return False
                truths.append(truth)
            truths += [_any_stack(part, its, data, layers, cut, offload) for part, its in others]
        return all_of(truths)

    return match


_Asked = tuple[Field, _Test | None, str | None]


def _any_stack(
    part: Part, asked: list[_Asked], data: bytes, layers: list[Layer], cut: bool, offload: Offload | None
) -> Truth:
    """Is there one stack of this part that passes all of it?"""
    last = layers[-1].stack if layers else 0
    truths: list[Truth] = [
        all_of(
            _judge(_collect(one, data, layers, stack, cut and stack == last, offload), test, lacks)
            for one, test, lacks in asked
        )
        for stack in dict.fromkeys(layer.stack for layer in layers if layer.part == part)
    ]
    return any_of([*truths, None] if cut else truths)


def _frame(name: str, data: bytes, length: int, interface: str) -> Found:
    if name == "frame.interface_name":
        return (interface,)
    return (length,) if name == "frame.len" else (len(data),)


def values(field: Field, data: bytes, layers: list[Layer], place: int, offload: Offload | None) -> Found:
    """The field's values in the header ``layers[place]``."""
    protocol, start, end, part, _ = layers[place]
    if protocol not in (field.protocol, field.also) or (part == "quoted" and not field.quoted):
        return ()
    return status(data, layers, place, offload) if field.read is None else field.read(data, start, end)


def _collect(field: Field, data: bytes, layers: list[Layer], stack: int, cut: bool, offload: Offload | None) -> Found:
    """The field's values in one header stack. ``cut``: there may be more of this stack that was not kept."""
    found: list[Value | Cut] = []
    for place, layer in enumerate(layers):
        if layer.stack == stack:
            found += values(field, data, layers, place, offload)
    if cut:
        found.append(CUT)
    return tuple(found)


def _judge(found: Found, test: _Test | None, lacks: str | None) -> Truth:
    cut = any(isinstance(value, Cut) for value in found)
    known = [value for value in found if not isinstance(value, Cut)]
    if lacks is not None:
        if any(lacks in str(value) for value in known):
            return False
        if not known:
            return None if cut else False
    passed = True if test is None else any(test(value) for value in known)
    if passed and not (cut and lacks is not None):
        return True
    return None if cut else False


def _tests(field: Field, check: Operators) -> tuple[_Test | None, str | None]:
    """All operators but `lacks` as one test of a value, and what must be lacking."""
    tests: list[_Test] = []
    lacks: str | None = None
    for operator, expected in check.operators().items():
        if operator == "lacks":
            lacks = expected
        elif operator == "one_of":
            tests.append(_any_of([equality(field, item) for item in expected]))
        elif operator == "equals":
            tests.append(equality(field, expected))
        else:
            tests.append(_searched(operator, expected))
    if len(tests) <= 1:
        return (tests[0] if tests else None), lacks
    return (lambda value: all(test(value) for test in tests)), lacks


def _any_of(tests: list[_Test]) -> _Test:
    return lambda value: any(test(value) for test in tests)


def _searched(operator: str, expected: Any) -> _Test:
    if operator == "contains":
        return lambda value: expected in str(value)
    if operator == "matches":
        search = re.compile(expected).search
        return lambda value: search(str(value)) is not None
    compare = ORDER[operator]
    return lambda value: compare(value, expected)


def equality(field: Field, expected: Any) -> _Test:
    """ValueError if the field can never be that. Flags are also 0 and 1, as one writes them in Wireshark."""
    if field.kind == "bool":
        if not isinstance(expected, bool) and (isinstance(expected, str) or expected not in (0, 1)):
            raise ValueError
        expected = bool(expected)
    elif field.kind == "int":
        if isinstance(expected, bool | str):
            raise ValueError
    elif not isinstance(expected, str):
        raise ValueError
    elif field.kind == "mac":
        if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", expected):
            raise ValueError
        expected = expected.lower().replace("-", ":")
    elif field.kind in ("ipv4", "ipv6"):
        network = ipaddress.ip_network(expected, strict=False)
        if network.version != (4 if field.kind == "ipv4" else 6):
            raise ValueError
        if network.num_addresses > 1:
            return lambda value: ipaddress.ip_address(str(value)) in network
        expected = str(network.network_address)
        if field.kind == "ipv6":  # as inet_ntop writes it, which keeps the dotted form of mapped addresses
            expected = ipv6_text(network.network_address.packed)
    return lambda value: value == expected
