"""Which headers can stand in one header stack: what `walk` can find, as a graph, from the same tables.

VLAN tags are left out: they stand behind any Ethernet header, and change nothing of what may follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from labrun.packets.dissect.layer import Part
from labrun.packets.dissect.walk import (
    ETHERTYPES,
    EXTENSIONS,
    FRAGMENT,
    IP_PROTOCOLS,
    UDP_PAYLOADS,
)

Stack = tuple[str, ...]
"""Protocols from the outermost header on."""

TAGS = frozenset(("vlan", "ieee8021ad"))
_NETWORKS = ("ip", "ipv6")
_TRANSPORTS = tuple(sorted(set(IP_PROTOCOLS.values()) - set(_NETWORKS)))
_FOLLOW: dict[str, tuple[str, ...]] = {
    "eth": tuple(sorted(set(ETHERTYPES.values()) - TAGS)),
    "ip": _TRANSPORTS,
    "ipv6": _TRANSPORTS,
    "tcp": ("dns",),
    "udp": tuple(sorted(UDP_PAYLOADS.values())),
}
_TUNNELS = frozenset(("vxlan", "gre", *_NETWORKS))
_CARRY: dict[Part, frozenset[str]] = {"inner": _TUNNELS, "quoted": _TUNNELS | {"icmp", "icmpv6"}}

_TAG_TYPES = tuple(number for number, protocol in ETHERTYPES.items() if protocol in TAGS)
_NUMBERS: dict[str, tuple[dict[int, str], tuple[int, ...]]] = {
    "eth.type": (ETHERTYPES, _TAG_TYPES),
    "vlan.etype": (ETHERTYPES, _TAG_TYPES),
    "ip.proto": (IP_PROTOCOLS, ()),
    "ipv6.nxt": (IP_PROTOCOLS, (*sorted(EXTENSIONS), FRAGMENT)),
}
"""Fields that say which header comes next: by the table, and what may stand between."""


def stacks(asked: Collection[frozenset[str]] = (), then: Collection[Part] = ()) -> Iterator[Stack]:
    """All stacks that have, of each of ``asked``, one of its protocols; and that can go on to such stacks.

    Those with nothing behind what was asked for stand for packets that end there, or go on with something unknown.
    """
    for stack in _longer(("eth",)):
        have = TAGS.union(stack)
        if all(have & one for one in asked) and all(stack[-1] in _CARRY[part] for part in then):
            yield stack


def _longer(stack: Stack) -> Iterator[Stack]:
    yield stack
    for protocol in _FOLLOW.get(stack[-1], ()):
        yield from _longer((*stack, protocol))


def numbers(field: str, stack: Stack) -> tuple[int, ...] | None:
    """What this field can be in such a stack, where it says which header comes next; None: any number."""
    if field not in _NUMBERS:
        return None
    table, between = _NUMBERS[field]
    of = "eth" if table is ETHERTYPES else field.partition(".")[0]
    place = stack.index(of) + 1 if of in stack else len(stack)
    if place == len(stack):
        return None
    return (*(number for number, protocol in table.items() if protocol == stack[place]), *between)
