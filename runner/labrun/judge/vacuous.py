"""Counts that can only be 0: what the capture keeps, by its filter, is never what the prediction asks for.

"No ARP was seen" by a capture of `icmp` says nothing. libpcap finds that out: it refuses an expression that no packet
can match. Where it is not sure, nothing is said; and it knows nothing of fields, so for these the widest expression
counts that a packet with such a header matches: tunnels, quotes in ICMP errors, tags and extension headers included.
"""

from __future__ import annotations

from labrun.judge.dissect.registry import FIELDS
from labrun.judge.dissect.walk import VXLAN_PORTS
from labrun.judge.libpcap import FilterSyntaxError, compile_filter
from labrun.lab.base import REFERENCE
from labrun.lab.load import Lab
from labrun.lab.predictions import PacketSelector

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


def never_kept(lab: Lab, selector: PacketSelector) -> str | None:
    """Why no packet of the capture that the selector means can be selected; None if one may be."""
    kept = _filter_of(lab, selector)
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


def _filter_of(lab: Lab, selector: PacketSelector) -> tuple[str, str] | None:
    """(step, filter) of the capture that the selector means, as `packets.find_capture` finds it."""
    node, _, interface = selector.on.partition(".")
    nodes = tuple(lab.model.topology.nodes)
    for step_id, step in zip(lab.model.step_ids(), lab.model.steps, strict=True):
        if step.capture is None or (step.node or (nodes[0] if len(nodes) == 1 else None)) != node:
            continue
        if selector.capture not in (None, step_id):
            continue
        if interface == "any" or interface in step.capture.on or "any" in step.capture.on:
            return None if step.capture.filter is None else (step_id, step.capture.filter)
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
