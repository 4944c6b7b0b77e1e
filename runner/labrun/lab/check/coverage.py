"""What can only come out one way: a capture or a trace that never keeps what the prediction asks for.

"No ARP was seen" by a capture of `icmp` says nothing. libpcap finds that out: it refuses an expression that no packet
can match. Where it is not sure, nothing is said; and it knows nothing of fields. All fields of a prediction are of one
header stack: there must be such a stack, and for libpcap the widest expressions stand that packets with it match: tags
and extension headers included.

A trace follows IPv4 alone, or IPv6, where its step says so (``families``), or where its match can hold of one only.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Literal

from labrun.lab.base import REFERENCE, is_reference
from labrun.lab.check.satisfiable import known, outcomes
from labrun.lab.compile import Placed
from labrun.lab.load import Lab
from labrun.lab.predictions import Check, PacketSelector, TraceIs
from labrun.lab.text import Keys
from labrun.packets.dissect.layer import Part
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.dissect.stacks import Stack, numbers, stacks
from labrun.packets.dissect.walk import IP_PROTOCOLS
from labrun.packets.libpcap import FilterSyntaxError, compile_filter
from labrun.protocol.traces import FIRST_HOOKS

_TAGGED = "ether proto 0x8100 or ether proto 0x88a8 or ether proto 0x9100"
# What stands behind the extension headers of IPv6 is not told apart.
_EXTENDED = "ip6 and not ip6 proto 6 and not ip6 proto 17 and not ip6 proto 58"
_ALL = "greater 0"
_NETWORK = {"arp": "arp", "ip": "ip", "ipv6": "ip6"}


_FURTHER: tuple[Literal["inner", "quoted"], ...] = ("inner", "quoted")
_VERSIONS = {"ip": 4, "ip6": 6}
# Statements of nft(8) that imply the network protocol ("payload expressions"), and so hold of one version alone.
_ONLY = {
    4: re.compile(r"\bip (saddr|daddr|ttl|protocol|dscp|ecn|length|id|frag-off|version|checksum)\b|\bicmp type\b"),
    6: re.compile(r"\bip6 (saddr|daddr|hoplimit|nexthdr|dscp|ecn|length|flowlabel|version)\b|\bicmpv6 type\b"),
}
# What a match says of a field: one value, plainly written.
_SAYS = {
    "protocol": re.compile(r"\b(tcp|udp|sctp|udplite) (?:sport|dport)\b|\b(icmp|icmpv6) type\b"),
    "sport": re.compile(r"\b(?:tcp|udp|sctp|udplite|th) sport (\d+)(?![\d,-])"),
    "dport": re.compile(r"\b(?:tcp|udp|sctp|udplite|th) dport (\d+)(?![\d,-])"),
    "source": re.compile(r"\bip6? saddr ([\da-f.:]+)(?![\w./:,-])"),
    "destination": re.compile(r"\bip6? daddr ([\da-f.:]+)(?![\w./:,-])"),
}


def never_traced(steps: Sequence[Placed], leaf: TraceIs) -> Iterator[tuple[Keys, str]]:
    """(place below the leaf, why no packet of the trace has it or goes so)"""
    name = leaf.trace.at
    trace = next((step.model.trace for step in steps if step.id == name), None)
    if trace is None or any("nftrace" in str(step.model) for step in steps):  # the lab itself has more traced
        return
    matched = {version for version, pattern in _ONLY.items() if pattern.search(trace.match or "")}
    followed = {_VERSIONS[family] for family in trace.families} & (matched or {4, 6})
    for field, check in leaf.trace.where.items():
        wanted = check.one_of or (() if check.equals is None else (check.equals,))
        versions = {_version(field, value) for value in wanted}
        if versions and None not in versions and not versions & followed:
            told = " or ".join(str(value) for value in wanted)
            follows = f"IPv{min(followed)}" if followed else "no"  # of both, nothing would be said
            text = f"the trace '{name}' follows {follows} packets, and none of them has {field} {told}"
            yield ("trace", "where", field), text
        says = _SAYS[field].search(trace.match or "") if field in _SAYS else None
        value = next(filter(None, says.groups())) if says is not None else None
        if value is not None and wanted and not any(str(one) == value or is_reference(one) for one in wanted):
            yield ("trace", "where", field), f"the trace '{name}' follows only packets with {field} {value}"
    hooks = [station.partition("@")[0] for station in leaf.path or ()]
    for number, hook in enumerate(hooks):
        if number == 0 and hook not in FIRST_HOOKS:
            yield ("path", 0), f"the way of a packet begins at {', '.join(FIRST_HOOKS[:-1])} or {FIRST_HOOKS[-1]}"
        if hook in ("ingress", "egress") and not trace.devices:
            yield ("path", number), f"the trace '{name}' looks at {hook} of no device: give it devices"


def _version(field: str, value: Any) -> int | None:
    """The version of IP whose packets alone can have this; None if that is not sure."""
    if field == "protocol":
        return {"icmp": 4, "icmpv6": 6}.get(value)
    if field not in ("source", "destination") or REFERENCE.search(str(value)):
        return None
    try:
        return ip_address(value).version
    except ValueError:
        return None


def never_kept(lab: Lab, steps: Sequence[Placed], selector: PacketSelector) -> str | None:
    """Why no packet of the capture that the selector means can be selected; None if one may be.

    ``steps``: those of the experiment, or of a control.
    """
    asked = {
        part: {name: check for name, check in its.items() if name in FIELDS and FIELDS[name].protocol != "frame"}
        for part, its in selector.checks().items()
    }
    fields, then = asked["fields"], tuple(part for part in _FURTHER if asked[part])
    for part, its in asked.items():
        if not any(_stacks(its)):
            others = (
                ""
                if part != "fields"
                else ": what a tunnel or an ICMP error has in it is asked for with inner or quoted"
            )
            return f"no packet has {_named(its)} in one stack of headers{others}"
    if not any(_stacks(fields, then)):
        return f"no packet with {_named(fields)} has another in it: that is what {' and '.join(then)} asks for"
    wanted = {_named({name: check}): _widest(_stacks({name: check})) for name, check in fields.items()}
    wanted[_named(fields)] = _widest(_stacks(fields))
    wanted |= {f"{_named(asked[part])} under {part}": _widest(_stacks(fields, (part,)), _NETWORK) for part in then}
    kept, match = _filter_of(lab, steps, selector), selector.match
    if kept is not None:
        step, expression = kept
        for what, ones in (({} if match is None else {f"'{match}'": [match]}) | wanted).items():
            if _excludes(expression, ones):
                return f"the capture '{step}' keeps only '{expression}', and no such packet has or matches {what}"
    if match is not None:
        for name, ones in wanted.items():
            if _excludes(match, ones):
                return f"no packet that matches '{match}' has {name}"
    return None


def _named(checks: Mapping[str, Check]) -> str:
    return f"the field{'s' if len(checks) > 1 else ''} {' and '.join(checks)}"


def _stacks(checks: Mapping[str, Check], then: Collection[Part] = ()) -> Iterator[Stack]:
    """The header stacks that can have all these fields, with values that say which header comes next."""
    owners = [frozenset((FIELDS[name].protocol, FIELDS[name].also)) for name in checks]
    for stack in stacks(owners, then):
        if all(_may_say(name, check, stack) for name, check in checks.items()):
            yield stack


def _may_say(name: str, check: Check, stack: Stack) -> bool:
    possible, given = numbers(name, stack), known(check.operators())
    return possible is None or outcomes(given, possible) != {False}


def _widest(found: Iterable[Stack], then: Collection[str] = ()) -> list[str]:
    """Expressions of which each packet with one of these stacks outermost matches one.

    ``then``: what follows an IP header that is the last of its stack; nothing: anything may.
    """
    expressions: dict[str, None] = {}
    for stack in found:
        if len(stack) == 1:
            return [_ALL]
        network = _NETWORK[stack[1]]
        protocols = [number for number, protocol in IP_PROTOCOLS.items() if protocol in (stack[2:3] or then)]
        expressions |= dict.fromkeys(f"{network} proto {number}" for number in protocols)
        expressions |= dict.fromkeys([] if protocols else [network])
        expressions |= dict.fromkeys([_EXTENDED] if protocols and network == "ip6" else [])
    return [_TAGGED, *expressions]


def _filter_of(lab: Lab, steps: Sequence[Placed], selector: PacketSelector) -> tuple[str, str] | None:
    """(step, filter) of the capture that the selector means, where it has one."""
    nodes = tuple(lab.model.topology.nodes)
    for step in steps:
        node, capture = step.model.node or (nodes[0] if len(nodes) == 1 else None), step.model.capture
        if capture is not None and selector.may_mean(step.id, node, capture.on):
            return None if capture.filter is None else (step.id, capture.filter)
    return None


def _excludes(kept: str, asked: Sequence[str]) -> bool:
    """Can no packet match this and one of those? Only where each of them alone can be matched."""
    if any(map(REFERENCE.search, (kept, *asked))) or any(_refused(one) for one in (kept, *asked)):
        return False  # said elsewhere
    return all("rejects all packets" in _refused(f"({kept}) and ({one})") for one in asked)


@functools.cache
def _refused(expression: str) -> str:
    """In libpcap's words; nothing if it is a filter."""
    try:
        compile_filter(expression)
    except FilterSyntaxError as error:
        return str(error)
    return ""
