"""What else is known of a packet on the ladder: the netfilter hooks that it crossed, where it was dropped, which error
answered it. From the evidence alone: traces tell of hooks and drops, ICMP errors quote the packet that they are about.

A packet is found by its header (addresses, protocol, identification), for a trace has no more of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from labrun.protocol.traces import TraceEvent
from labrun.report.ladder import Journey, Mark
from labrun.report.sameness import header_of
from labrun.report.visible import one_line, shorten

_MAX_TEXT = 60


class Traced(NamedTuple):
    """What a trace step in a node kept."""

    node: str
    events: tuple[TraceEvent, ...]


@dataclass(slots=True)
class _Crossed:
    hooks: list[str] = field(default_factory=list)
    drop: str | None = None


def marked(journeys: Sequence[Journey], traces: Iterable[Traced]) -> tuple[Journey, ...]:
    """The journeys with their marks. What fits none of them is left out: it was not captured."""
    crossed = [(trace.node, _crossed(trace.events)) for trace in traces]
    answers = {
        sighting.identity.quotes: journey
        for journey in reversed(journeys)
        for sighting in journey.sightings
        if sighting.identity.quotes is not None
    }
    return tuple(_marked(journey, crossed, answers) for journey in journeys)


def _marked(
    journey: Journey, crossed: list[tuple[str, dict[bytes, _Crossed]]], answers: dict[bytes, Journey]
) -> Journey:
    header = journey.first.identity.header
    if header is None:
        return journey
    marks: list[Mark] = []
    for node, found in crossed:
        way = found.get(header)
        if way is not None and way.hooks:
            marks.append(Mark("hook", f"{node}: {' → '.join(way.hooks)}"))
        if way is not None and way.drop is not None:
            marks.append(Mark("drop", f"dropped in {node}: {way.drop}"))
    answer = answers.get(header)
    if answer is not None and answer is not journey:
        marks.append(Mark("answer", f"answered by {answer.name}: {answer.first.info}"))
    return replace(journey, marks=tuple(marks)) if marks else journey


def _crossed(events: Iterable[TraceEvent]) -> dict[bytes, _Crossed]:
    found: dict[bytes, _Crossed] = {}
    current: dict[int, bytes] = {}  # a trace id -> the packet that it is now; ids come again
    for event in events:
        if event.network is not None:
            try:
                header = header_of(bytes.fromhex(event.network))
            except ValueError:
                header = None
            if header is not None:
                current[event.id] = header
        header = current.get(event.id)
        if header is None:
            continue
        way = found.setdefault(header, _Crossed())
        if event.hook is not None and event.hook not in way.hooks[-1:]:
            way.hooks.append(event.hook)
        if event.verdict == "drop":
            by = event.text or f"{event.type} of {event.family} {event.table} {event.chain}"
            way.drop = shorten(one_line(f"{event.hook or event.chain}, {by}"), _MAX_TEXT)
    return found
