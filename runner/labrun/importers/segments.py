"""Segments that several interfaces share, to links and bridges: two ends are a link, more (or one) a bridge.

The bridges are in a node of their own, which is a switch and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from labrun.importers.base import Remark, counted

_LONGEST = 15  # bytes of an interface's name: IFNAMSIZ less the NUL


@dataclass
class End:
    """An interface on a segment. ``settings``: its addresses, its MAC, as a link's end has them."""

    node: str
    interface: str
    settings: dict[str, Any] = field(default_factory=dict)


class Wiring:
    """Collects the interfaces of each segment, and says what they are in a topology."""

    def __init__(self, nodes: Iterable[str], mtu: int | None = None) -> None:
        self._nodes = tuple(nodes)
        self._segments: dict[str, list[End]] = {}
        self._mtu = mtu

    def attach(self, segment: str, node: str, interface: str, mac: str | None = None, **settings: Any) -> None:
        given = {**({"mac": mac} if mac else {}), **settings}
        self._segments.setdefault(segment, []).append(End(node, interface, given))

    def into(self, topology: dict[str, Any]) -> list[Remark]:
        """Adds links and bridges to ``topology``."""
        links: list[dict[str, Any]] = []
        bridges: dict[str, Any] = {}
        remarks: list[Remark] = []
        switch = next(name for name in ("segments", "switches", "segments-of-lab") if name not in self._nodes)
        taken: set[str] = {"lo", "any"}
        for segment, ends in self._segments.items():
            two = len(ends) == 2 and (ends[0].node, ends[0].interface) != (ends[1].node, ends[1].interface)
            if two:
                links.append({f"{end.node}.{end.interface}": end.settings or None for end in ends})
                continue
            bridge = _name(segment, taken)
            ports = []
            for end in ends:
                port = _name(f"{end.node}-{end.interface}", taken)
                ports.append(port)
                links.append({f"{end.node}.{end.interface}": end.settings or None, f"{switch}.{port}": None})
            bridges[f"{switch}.{bridge}"] = {"ports": ports}
        if links:
            topology["links"] = links
        if bridges:
            topology["nodes"][switch] = None
            topology["bridges"] = bridges
        direct = sum(len(ends) == 2 for ends in self._segments.values())
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
