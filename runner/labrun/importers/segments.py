"""Segments that several interfaces share, to links and bridges: two ends are a link, more (or one) a bridge.

The bridges are in a node of their own, which is a switch and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labrun.importers.base import Remark, counted

NONE: Mapping[str, Sequence[str]] = {}
_LONGEST = 15  # bytes of an interface's name: IFNAMSIZ less the NUL


@dataclass
class End:
    """An interface on a segment. ``settings``: addresses and MAC, as a link's end has them. ``mtu``: of its link."""

    node: str
    interface: str
    settings: dict[str, Any] = field(default_factory=dict)
    mtu: int | None = None


class Wiring:
    """Collects the interfaces of each segment, and says what they are in a topology."""

    def __init__(self, nodes: Iterable[str], switch: str | None = None) -> None:
        """``switch``: the node that has the bridges; without it one of their own."""
        self._nodes = tuple(nodes)
        self._switch = switch
        self._segments: dict[str, list[End]] = {}
        self._bridges: set[str] = set()

    def attach(
        self, segment: str, node: str, interface: str, mac: str | None = None, mtu: int | None = None,
        bridge: bool = False, **settings: Any,
    ) -> None:  # fmt: skip
        """``bridge``: the segment is one, however many ends it has."""
        given = {**({"mac": mac} if mac else {}), **settings}
        self._segments.setdefault(segment, []).append(End(node, interface, given, mtu))
        if bridge:
            self._bridges.add(segment)

    def into(self, topology: dict[str, Any], addresses: Mapping[str, Sequence[str]] = NONE) -> list[Remark]:
        """Adds links and bridges to ``topology``. ``addresses``: of the bridges of segments."""
        links: list[dict[str, Any]] = []
        bridges: dict[str, Any] = {}
        remarks: list[Remark] = []
        free = (name for name in ("segments", "switches", "segments-of-lab") if name not in self._nodes)
        switch = self._switch or next(free)
        taken: set[str] = {"lo", "any"}
        for segment, ends in self._segments.items():
            if len(ends) == 2 and segment not in self._bridges:
                mtu = min((end.mtu for end in ends if end.mtu), default=None)
                link = {f"{end.node}.{end.interface}": end.settings or None for end in ends}
                links.append(link | ({"mtu": mtu} if mtu else {}))
                continue
            bridge = _name(segment, taken)
            ports = []
            for end in ends:
                port = _name(f"{end.node}-{end.interface}", taken)
                ports.append(port)
                link = {f"{end.node}.{end.interface}": end.settings or None, f"{switch}.{port}": None}
                links.append(link | ({"mtu": end.mtu} if end.mtu else {}))
            own = addresses.get(segment)
            bridges[f"{switch}.{bridge}"] = {**({"address": list(own)} if own else {}), "ports": ports}
        if links:
            topology["links"] = links
        if bridges:
            topology["nodes"].setdefault(switch, None)
            topology["bridges"] = bridges
        direct = len(self._segments) - len(bridges)
        if direct:
            remarks.append(Remark("mapped", f"{counted(direct, 'segment')} with two ends", "a link each"))
        if bridges:
            why = f"a bridge each, in the node {switch}; a bridge keeps spanning tree frames to itself"
            remarks.append(Remark("mapped", counted(len(bridges), "other segment"), why))
        return remarks


def _name(wanted: str, taken: set[str]) -> str:
    """An interface's name that is not taken yet, as near to the one that is wanted as it can be."""
    clean = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "-" for letter in wanted)
    found, number = clean[:_LONGEST], 1
    while found in taken or not found:
        number += 1
        tail = f"-{number}"
        found = clean[: _LONGEST - len(tail)] + tail
    taken.add(found)
    return found
