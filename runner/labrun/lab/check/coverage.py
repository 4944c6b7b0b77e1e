"""What can only come out one way: a capture or a trace that never keeps what the prediction asks for.

"No ARP was seen" by a capture of `icmp` says nothing. libpcap finds that out: it refuses an expression that no packet
can match. Where it is not sure, nothing is said; and it knows nothing of fields, so for these the widest expression
counts that a packet with such a header matches: tunnels, quotes in ICMP errors, tags and extension headers included.

A trace follows IPv4 alone, or IPv6, where its step says so (``families``), or where its match can hold of one only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from labrun.lab.base import REFERENCE, is_reference
from labrun.lab.compile import Placed
from labrun.lab.load import Lab
from labrun.lab.predictions import PacketSelector, TraceIs
from labrun.lab.text import Keys
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.dissect.walk import VXLAN_PORTS
from labrun.packets.libpcap import FilterSyntaxError, compile_filter
from labrun.protocol.traces import FIRST_HOOKS

_TUNNELS = " or ".join(
    ["ip proto 4", "ip proto 41", "ip proto 47", *(f"udp port {port}" for port in sorted(VXLAN_PORTS))]
)
# Not told apart further: tags, and what stands behind IPv6's extension headers.
_EXTENDED = "(ip6 and not ip6 proto 6 and not ip6 proto 17 and not ip6 proto 58)"
_WIDE = f"ether proto 0x8100 or ether proto 0x88a8 or ether proto 0x9100 or {_EXTENDED} or {_TUNNELS}"
_QUOTED = "icmp or icmp6"
_MAY_HAVE = {
    "arp": f"arp or {_WIDE}",
    "ip": f"ip or {_WIDE}",
    "ipv6": f"ip6 or {_WIDE} or {_QUOTED}",
    "icmp": f"icmp or {_WIDE}",
    "icmpv6": f"icmp6 or {_WIDE} or {_QUOTED}",
    "tcp": f"tcp or {_WIDE} or {_QUOTED}",
    "udp": f"udp or {_WIDE} or {_QUOTED}",
    "dns": f"tcp or udp or {_WIDE} or {_QUOTED}",
    "dhcp": f"udp or {_WIDE} or {_QUOTED}",
}


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
    kept = _filter_of(lab, steps, selector)
    match = selector.match
    headers: dict[str, str] = {}
    for name in selector.fields or {}:
        field = FIELDS.get(name)
        if field is not None and field.protocol in _MAY_HAVE:
            headers[f"the field {name}"] = _MAY_HAVE[field.protocol]
    if kept is not None:
        step, expression = kept
        asked = headers if match is None else {f"'{match}'": match} | headers
        for wanted, one in asked.items():
            if _excludes(expression, one):
                return f"the capture '{step}' keeps only '{expression}', and no such packet has or matches {wanted}"
    if match is not None:
        for wanted, one in headers.items():
            if _excludes(match, one):
                return f"no packet that matches '{match}' has {wanted}"
    return None


def _filter_of(lab: Lab, steps: Sequence[Placed], selector: PacketSelector) -> tuple[str, str] | None:
    """(step, filter) of the capture that the selector means, where it has one."""
    nodes = tuple(lab.model.topology.nodes)
    for step in steps:
        node, capture = step.model.node or (nodes[0] if len(nodes) == 1 else None), step.model.capture
        if capture is not None and selector.may_mean(step.id, node, capture.on):
            return None if capture.filter is None else (step.id, capture.filter)
    return None


def _excludes(kept: str, asked: str) -> bool:
    """Can no packet match both? Only where each of them alone can be matched."""
    if REFERENCE.search(kept) or REFERENCE.search(asked):
        return False
    try:
        compile_filter(kept)
        compile_filter(asked)
    except FilterSyntaxError:
        return False  # said elsewhere
    try:
        compile_filter(f"({kept}) and ({asked})")
    except FilterSyntaxError as error:
        return "rejects all packets" in str(error)
    return False
