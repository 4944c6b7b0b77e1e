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
    return tuple(replace(journey, marks=tuple(found[journey.name])) for journey in journeys)


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
