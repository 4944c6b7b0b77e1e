"""What else is known of a packet on the ladder: the netfilter hooks that it crossed, where it was dropped, which error
answered it. Ways through hooks are those that the judge goes by (observe/hooks); ICMP errors quote the packet that they
are about.

A way belongs to the packet that has its headers. Of packets with equal headers the first has the first way, if there
are as many ways as packets; if not, then which is whose is not known, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from labrun.observe.hooks import PacketPath, packet_paths
from labrun.packets.identity import trace_key
from labrun.protocol.traces import TraceEvent
from labrun.report.ladder import Journey, Mark
from labrun.report.visible import one_line, shorten

_MAX_TEXT = 60
_WAITS_NS = 30_000_000_000
_MAX_WAYS = 4  # through one node, of one packet


class Traced(NamedTuple):
    """What a trace step in a node kept."""

    node: str
    events: tuple[TraceEvent, ...]


def marked(journeys: Sequence[Journey], traces: Iterable[Traced]) -> tuple[Journey, ...]:
    """The journeys with their marks. What fits none of them is left out: it was not captured."""
    found: dict[str, list[Mark]] = {journey.name: list(journey.marks) for journey in journeys}
    for trace in traces:
        paths = [(path, _keys(path, trace.events)) for path in packet_paths(trace.events)]
        for journey in journeys:
            for path in _of(journey, journeys, paths):
                found[journey.name] += _told(trace.node, path)
    answers = {key: journey for journey in reversed(journeys) for each in journey.sightings if (key := each.quotes)}
    for journey in journeys:
        answer = answers.get(journey.first.key) if journey.first.key is not None else None
        if answer is not None and answer is not journey:
            found[journey.name].append(Mark("answer", f"answered by {answer.name}: {answer.first.info}"))
    joined = tuple(replace(journey, marks=tuple(found[journey.name])) for journey in journeys)
    return _with_fragments(joined)


def _with_fragments(journeys: Sequence[Journey]) -> tuple[Journey, ...]:
    """Fragments with the packet that they are of: the one that was seen before them, else the one made of them."""
    groups: dict[bytes, list[Journey]] = {}
    for journey in journeys:
        if journey.first.part is not None:
            groups.setdefault(journey.first.part.key, []).append(journey)
    whole_of: dict[str, str] = {}
    marks: dict[str, list[str]] = {}
    for group in groups.values():
        parts = [journey for journey in group if journey.first.part and not journey.first.part.whole]
        wholes = [journey for journey in group if journey.first.part and journey.first.part.whole]
        for journey in parts:
            whole = _whole(journey, wholes)
            others = [other.name for other in parts if other is not journey]
            assert journey.first.part is not None
            first, size = journey.first.part.first, journey.first.part.size
            of = f" of {whole.name}" if whole else f", with {', '.join(others)}" if others else ""
            marks.setdefault(journey.name, []).append(f"fragment: bytes {first} to {first + size - 1}{of}")
            if whole is not None:
                whole_of[journey.name] = whole.name
        for one in wholes:
            if names := [journey.name for journey in parts if whole_of.get(journey.name) == one.name]:
                marks.setdefault(one.name, []).append(f"in fragments: {', '.join(names)}")
    return tuple(
        replace(
            journey,
            marks=(*journey.marks, *(Mark("part", text) for text in marks.get(journey.name, ()))),
            whole=whole_of.get(journey.name),
        )
        for journey in journeys
    )


def _whole(part: Journey, wholes: Sequence[Journey]) -> Journey | None:
    """Identifications come again: no fragment waits for longer than this (RFC 791, 3.2; net.ipv4.ipfrag_time)."""
    near = [one for one in wholes if abs(one.first.time_ns - part.first.time_ns) <= _WAITS_NS]
    before = [one for one in near if one.first.time_ns <= part.first.time_ns]
    return before[-1] if before else near[0] if near else None


_Keyed = tuple[PacketPath, frozenset[bytes]]


def _of(journey: Journey, journeys: Sequence[Journey], paths: Sequence[_Keyed]) -> list[PacketPath]:
    """The ways of this packet."""
    keys = _headers(journey)
    mine = [(path, its) for path, its in paths if its & keys]
    if not mine:
        return []
    every = frozenset[bytes]().union(*(its for _, its in mine))
    alike = [each for each in journeys if _headers(each) & every]
    if len(alike) == 1:
        return [path for path, _ in mine[:_MAX_WAYS]]
    return [mine[alike.index(journey)][0]] if len(alike) == len(mine) else []


def _headers(journey: Journey) -> frozenset[bytes]:
    return frozenset(each.key for each in journey.sightings if each.key is not None)


def _keys(path: PacketPath, events: Sequence[TraceEvent]) -> frozenset[bytes]:
    found = set()
    for line in path.lines:
        event = events[line - 1]
        try:
            network, transport = bytes.fromhex(event.network or ""), bytes.fromhex(event.transport or "")
        except ValueError:
            continue
        if (key := trace_key(network, transport)) is not None:
            found.add(key)
    return frozenset(found)


def _told(node: str, path: PacketPath) -> list[Mark]:
    hooks = [station.hook for station in path.stations]
    marks = [Mark("hook", f"{node}: {' → '.join(hooks)}")] if hooks else []
    if path.outcome == "drop" and path.by is not None:
        by = path.by.text or f"{path.by.type} of {path.by.family} {path.by.table} {path.by.chain}"
        where = shorten(one_line(f"{path.by.hook or path.by.chain}, {by}"), _MAX_TEXT)
        marks.append(Mark("drop", f"dropped in {node}: {where}"))
    return marks
