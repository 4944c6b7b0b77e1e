"""The ladder: interfaces side by side in the packet's way, time downwards, one packet's appearances joined.

Whether two sightings are one packet is `sameness`'s to say; here it becomes journeys and the order of the columns.
It joins what it can show to be the same and nothing else: a rewritten address makes a join that is marked as unsure,
and what is not joined stands alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from itertools import pairwise
from typing import Literal

from labrun.protocol.record import dataclass
from labrun.report.sameness import Identity

MAX_JOURNEYS = 40  # of one ladder; those that a verdict refers to come first
MAX_SIGHTINGS = 40  # of one journey: a packet in a routing loop has up to 255
MAX_COLUMNS = 24
_SAME_NS = 1_000_000_000  # a packet that is away for longer is taken for another one
_TRANSLATED_NS = 100_000_000
_TWICE_NS = 2_000_000  # two captures of one interface tell the same moment


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
    since: str
    """Since its step's start, in words."""
    moment: str
    """In which step's time: during probe, after probe."""
    capture: str
    number: int
    anchor: str
    identity: Identity
    protocol: str
    ends: tuple[str, str]
    info: str
    cited: bool
    unjoined: bool = False
    """Its addresses differ from those before: joined by the rest of its content, which may be chance."""
    twins: tuple[str, ...] = ()
    """Anchors of the same moment in other captures."""


@dataclasses.dataclass(slots=True)
class _Open:
    sightings: list[Sighting]
    keys: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Mark:
    """What else the evidence has of a packet: hooks that it crossed, where it was dropped, what answered it."""

    kind: Literal["hook", "drop", "answer"]
    text: str


@dataclass(frozen=True, slots=True)
class Journey:
    """One packet. ``name``: a letter, by which its rows in the tables are known."""

    name: str
    sightings: tuple[Sighting, ...]
    marks: tuple[Mark, ...] = ()

    @property
    def first(self) -> Sighting:
        return self.sightings[0]

    @property
    def cited(self) -> bool:
        return any(sighting.cited for sighting in self.sightings)


@dataclass(frozen=True, slots=True)
class Ladder:
    """``quiet``: captured interfaces on which nothing was seen. ``cut``: what is left out, in words."""

    columns: tuple[Place, ...]
    quiet: frozenset[Place]
    journeys: tuple[Journey, ...]
    cut: str | None = None


def ladder_of(every: Sequence[Journey], watched: Sequence[Place], of: int = 0) -> Ladder | None:
    """``watched``: all captured interfaces, also those that nothing passed. ``of``: how many packets there are, if
    that is more than ``every``. None where there is nothing to draw."""
    if not every:
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
    return Ladder(tuple(columns), frozenset(quiet), chosen, words)


def journeys_of(sightings: Iterable[Sighting]) -> tuple[Journey, ...]:
    """In the order of their first sightings, named A, B, C, ..."""
    opened: list[_Open] = []
    exact: dict[bytes, _Open] = {}
    translated: dict[bytes, _Open] = {}
    for sighting in sorted(sightings, key=lambda each: (each.time_ns, each.capture, each.number)):
        identity = sighting.identity
        journey = exact.get(identity.exact)
        if journey is not None:
            if _is_twin(journey, sighting):
                continue
            if _goes_on(journey.sightings, sighting, _SAME_NS):
                journey.sightings.append(sighting)
                continue
        if journey is None and identity.translated is not None:
            other = translated.get(identity.translated)
            if other is not None and _goes_on(other.sightings, sighting, _TRANSLATED_NS):
                other.sightings.append(replace(sighting, unjoined=True))
                exact[identity.exact] = other
                continue
        fresh = _Open([sighting])
        opened.append(fresh)
        exact[identity.exact] = fresh
        if identity.translated is not None:
            translated[identity.translated] = fresh
    return tuple(Journey(_letters(index), tuple(each.sightings)) for index, each in enumerate(opened))


def _is_twin(journey: _Open, sighting: Sighting) -> bool:
    """Seen by another capture of the same interface: one event, told twice."""
    for index, other in enumerate(journey.sightings):
        if (other.place, other.direction) == (sighting.place, sighting.direction) and (
            other.capture != sighting.capture and abs(other.time_ns - sighting.time_ns) <= _TWICE_NS
        ):
            journey.sightings[index] = replace(other, twins=(*other.twins, sighting.anchor),
                                               cited=other.cited or sighting.cited)  # fmt: skip
            return True
    return False


def _goes_on(before: list[Sighting], sighting: Sighting, within_ns: int) -> bool:
    """Can this be a later stage of the same way? The same door in the same direction only with a smaller TTL."""
    last = before[-1]
    if sighting.time_ns - last.time_ns > within_ns or len(before) >= MAX_SIGHTINGS:
        return False
    again = [each for each in before if (each.place, each.direction) == (sighting.place, sighting.direction)]
    ttls = [each.identity.ttl for each in again if each.identity.ttl is not None]
    return not again or (sighting.identity.ttl is not None and bool(ttls) and sighting.identity.ttl < min(ttls))


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
