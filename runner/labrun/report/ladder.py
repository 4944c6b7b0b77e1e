"""The ladder: interfaces side by side in the packet's way, time downwards, one packet's appearances joined.

Which sightings are one packet is what the judge goes by, too (observe/journeys); here it becomes a picture and the
order of the columns. A packet that may have been rewritten is joined by a line that is marked as unsure; copies that a
bridge made are branches; and what is not joined stands alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from labrun.observe.journeys import UNKNOWN_WIRING, Sight, Wiring, journeys
from labrun.observe.journeys import Journey as Found
from labrun.packets.identity import Fragment, Identity
from labrun.protocol.record import dataclass

MAX_JOURNEYS = 40  # of one ladder; those that a verdict refers to come first
MAX_SIGHTINGS = 40  # of one journey: a packet in a routing loop has up to 255
MAX_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Place:
    """A column: an interface of a node."""

    node: str
    interface: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet row of the page, with what tells whether it is the same packet as another."""

    place: Place
    direction: Literal["in", "out"] | None
    time_ns: int
    since_ns: int | None
    """Since its step began; None before the first step."""
    moment: str
    """In which step's time: during probe, after probe."""
    capture: str
    number: int
    anchor: str
    identity: Identity | None
    protocol: str
    ends: tuple[str, str]
    info: str
    cited: bool
    key: bytes | None = None
    """What a trace and an ICMP error tell of it; ``quotes``: the same of the packet that it quotes."""
    quotes: bytes | None = None
    part: Fragment | None = None
    """Which part of an IP packet it is; None where nothing tells."""
    unjoined: bool = False
    """It differs from the one before in what a router may rewrite: it may be another packet."""
    twins: tuple[str, ...] = ()
    """Anchors of the same moment in other captures."""
    after: str | None = None
    """Anchor of the sighting that it came from. Several come from one where a bridge made copies."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What else the evidence has of a packet: hooks that it crossed, where it was dropped, what answered it, where a
    bridge copied it, which fragments are one packet, and that others have the same content, so that nobody knows which
    is which."""

    kind: Literal["hook", "drop", "answer", "copies", "part", "alike"]
    text: str


@dataclass(frozen=True, slots=True)
class Journey:
    """One packet. ``name``: a letter, by which its rows in the tables are known."""

    name: str
    sightings: tuple[Sighting, ...]
    marks: tuple[Mark, ...] = ()
    whole: str | None = None
    """Of a fragment: the name of the packet that it is of, where that was captured."""

    @property
    def first(self) -> Sighting:
        return self.sightings[0]

    @property
    def cited(self) -> bool:
        return any(sighting.cited for sighting in self.sightings)


@dataclass(frozen=True, slots=True)
class Nothing:
    """Neighbouring steps in whose time nothing was seen, though all of it was captured."""

    time_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """``quiet``: captured interfaces on which nothing was seen. ``cut``: what is left out, in words."""

    columns: tuple[Place, ...]
    quiet: frozenset[Place]
    journeys: tuple[Journey, ...]
    cut: str | None = None
    nothing: tuple[Nothing, ...] = ()

    def in_order(self) -> Iterator[Journey | Nothing]:
        """What was seen, and when nothing was, as time goes."""
        left = list(self.nothing)
        for journey in self.journeys:
            while left and left[0].time_ns <= journey.first.time_ns:
                yield left.pop(0)
            yield journey
        yield from left


def ladder_of(
    every: Sequence[Journey], watched: Sequence[Place], of: int = 0, nothing: Sequence[Nothing] = ()
) -> Ladder | None:
    """``watched``: all captured interfaces, also those that nothing passed. ``of``: how many packets there are, if
    that is more than ``every``. None where there is nothing to draw."""
    if not every and not (nothing and any(place.interface != "any" for place in watched)):
        return None
    chosen = tuple(every)
    if len(every) > MAX_JOURNEYS:
        told = [journey for journey in every if journey.cited][:MAX_JOURNEYS]
        rest = [journey for journey in every if not journey.cited][: MAX_JOURNEYS - len(told)]
        chosen = tuple(sorted((*told, *rest), key=lambda journey: journey.first.time_ns))
    columns = _columns(chosen)
    seen = set(columns)
    quiet = [place for place in dict.fromkeys(watched) if place not in seen and place.interface != "any"]
    for place in quiet:
        same = [index for index, other in enumerate(columns) if other.node == place.node]
        columns.insert(same[-1] + 1 if same else len(columns), place)
    of = max(of, len(every))
    drawn = "packets are drawn" if len(chosen) > 1 else "packets is drawn"
    cut = [f"{len(chosen)} of {of} {drawn}"] if len(chosen) < of else []
    if len(columns) > MAX_COLUMNS:
        cut.append(f"{MAX_COLUMNS} of {len(columns)} interfaces are drawn")
        columns = columns[:MAX_COLUMNS]
        kept = set(columns)
        chosen = tuple(
            replace(journey, sightings=within)
            for journey in chosen
            if (within := tuple(each for each in journey.sightings if each.place in kept))
        )
    words = "; ".join(cut) + ". The tables have more." if cut else None
    return Ladder(tuple(columns), frozenset(quiet), chosen, words, tuple(nothing))


def journeys_of(sightings: Sequence[Sighting], wiring: Wiring = UNKNOWN_WIRING) -> tuple[Journey, ...]:
    """In the order of their first sightings, named A, B, C, ..."""
    sights = [
        Sight(s.place.node, s.place.interface, s.direction, s.time_ns, s.capture, s.number, s.identity)
        for s in sightings
    ]
    found = tuple(journeys(sights, wiring))
    names = {stop.sight: _letters(index) for index, journey in enumerate(found) for stop in journey.stops}
    return tuple(
        _drawn(names[journey.stops[0].sight], journey, sightings, names) for journey in found
    )  # fmt: skip


def _drawn(name: str, journey: Found, sightings: Sequence[Sighting],
           names: Mapping[int, str]) -> Journey:  # fmt: skip
    stops = tuple(
        replace(
            sightings[stop.sight],
            unjoined=stop.rewritten,
            twins=tuple(sightings[twin].anchor for twin in stop.twins),
            cited=any(sightings[at].cited for at in (stop.sight, *stop.twins)),
            after=None if stop.after is None else sightings[stop.after].anchor,
        )
        for stop in journey.stops[:MAX_SIGHTINGS]
    )
    marks = []
    for stop in stops:
        copies = [one.place for one in stops if one.after == stop.anchor]
        if len(copies) > 1:
            where = ", ".join(f"{place.node}.{place.interface}" for place in copies)
            marks.append(Mark("copies", f"copied at {stop.place.node}: to {where}"))
    if journey.alike:
        others = dict.fromkeys(names[at] for at in journey.alike if names[at] != name)
        marks.append(Mark("alike", f"same content as {', '.join(others)}: which is which is not known"))
    return Journey(name, stops, tuple(marks))


def _columns(journeys: Sequence[Journey]) -> list[Place]:
    """Every interface once, in the way of the first packets; a reply's way is the same one backwards."""
    order: list[Place] = []
    for journey in journeys:
        way = list(dict.fromkeys(sighting.place for sighting in journey.sightings))
        known = [order.index(place) for place in way if place in order]
        if sum(later < earlier for earlier, later in pairwise(known)) * 2 > max(len(known) - 1, 0):
            way.reverse()
        at = next((order.index(place) for place in way if place in order), len(order))
        for place in way:
            if place in order:
                at = order.index(place) + 1
            else:
                order.insert(at, place)
                at += 1
    return order


def _letters(index: int) -> str:
    """A to Z, AA, AB, ..."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name
