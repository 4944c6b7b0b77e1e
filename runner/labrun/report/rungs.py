"""Where each part of a ladder goes: a line down for each interface, a rung for each passage of a packet.

Sizes are CSS pixels of the picture. Three interfaces fit a phone; more make it wider, and its frame scrolls.
No colours here: those are the style sheet's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from labrun.protocol.record import dataclass
from labrun.report.ladder import Journey, Ladder, Nothing, Place, Sighting
from labrun.report.visible import milliseconds, shorten

_CHAR = 6.7  # advance of the 11 px monospace text
_LEFT, _STUB, _RIGHT = 66, 38, 6
_GAP_LEAST, _GAP_MOST = 96, 168
_NODE, _HEAD, _BAND, _LABEL, _ROW, _AFTER = 24, 20, 30, 22, 26, 8
_ARROW = 7
_MARK, _MARK_X = 16, 24  # their text begins left of the rungs, for it is long, as does what a packet is
_SIGNS = {"hook": "", "drop": "✕ ", "answer": "↩ ", "copies": "⋔ ", "part": "⊂ ", "alike": "? "}
_MAX_NAME = 18


@dataclass(frozen=True, slots=True)
class Rail:
    """An interface's line."""

    x: int
    name: str
    quiet: bool


@dataclass(frozen=True, slots=True)
class Roof:
    """A node over its interfaces."""

    x: int
    width: int
    name: str

    @property
    def middle(self) -> int:
        return self.x + self.width // 2


@dataclass(frozen=True, slots=True)
class Band:
    """Where another step's time begins. ``nothing``: and ends, with nothing seen."""

    y: int
    text: str
    nothing: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A passage: a packet on an interface, linked to its row."""

    x: int
    y: int
    href: str
    title: str
    time: str
    cited: bool


Kind = Literal["", "unsure", "outer"]


@dataclass(frozen=True, slots=True)
class Rung:
    """``ways``: arrows of a kind, as one path: between passages, or from and to where nobody captured (outer)."""

    name: str
    protocol: str
    text: str
    x: int
    y: int
    stops: tuple[Stop, ...]
    ways: tuple[tuple[Kind, str], ...]
    note: str | None
    note_at: tuple[int, int]
    marks: tuple[tuple[str, int, str], ...] = ()
    """Kind, y and text of what else is known."""


@dataclass(frozen=True, slots=True)
class LadderDrawing:
    width: int
    height: int
    top: int
    rails: tuple[Rail, ...]
    roofs: tuple[Roof, ...]
    bands: tuple[Band, ...]
    rungs: tuple[Rung, ...]
    summary: str


def draw_ladder(ladder: Ladder) -> LadderDrawing:
    count = len(ladder.columns)
    longest = max(len(shorten(place.interface, _MAX_NAME)) for place in ladder.columns)
    room = _GAP_MOST if count < 3 else 108
    gap = round(min(_GAP_MOST, max(_GAP_LEAST, longest * _CHAR + 16, room if count < 4 else 0)))
    at = {place: _LEFT + _STUB + gap * index for index, place in enumerate(ladder.columns)}
    width = _LEFT + _STUB + gap * (count - 1) + _STUB + _RIGHT
    width = max(width, 344)
    top = _NODE + _HEAD
    y = top + (_HEAD if ladder.quiet and not ladder.journeys else 0)
    bands: list[Band] = []
    rungs: list[Rung] = []
    outside: dict[Place, int] = {}
    moment = None
    for journey in ladder.in_order():
        if isinstance(journey, Nothing):
            moment = None
            bands.append(Band(y + 20, shorten(journey.text, int(width / _CHAR)), True))
            y += _BAND
            continue
        if journey.first.moment != moment:
            moment = journey.first.moment
            bands.append(Band(y + 20, moment))
            y += _BAND
        rungs.append(_rung(journey, at, y, width, _rightwards(journey, at, outside)))
        y += _LABEL + _ROW * len(journey.sightings) + _MARK * len(journey.marks) + _AFTER
    return LadderDrawing(
        width=width,
        height=y + 6,
        top=top,
        rails=tuple(Rail(at[p], shorten(p.interface, _MAX_NAME), p in ladder.quiet) for p in ladder.columns),
        roofs=tuple(_roofs(ladder.columns, at, gap)),
        bands=tuple(bands),
        rungs=tuple(rungs),
        summary=_summary(ladder),
    )


def _rightwards(journey: Journey, at: dict[Place, int], outside: dict[Place, int]) -> bool:
    """Which way it goes. ``outside``: on which side of an interface the uncaptured world is (1: right, -1: left).

    That is settled by the first packet on it, so that an answer comes from where the question went.
    """
    first, last = journey.sightings[0], journey.sightings[-1]
    if at[first.place] != at[last.place]:
        sign = 1 if at[last.place] > at[first.place] else -1
        if first.direction == "in":
            outside.setdefault(first.place, -sign)
        if last.direction == "out":
            outside.setdefault(last.place, sign)
        return sign > 0
    leaves = last.direction == "out"
    side = outside.setdefault(last.place, 1 if leaves else -1)
    return (side > 0) == leaves


def _rung(journey: Journey, at: dict[Place, int], y: int, width: int, rightwards: bool) -> Rung:
    stops: list[Stop] = []
    drawn: dict[str, Stop] = {}
    copies = Counter(sighting.after for sighting in journey.sightings)
    ways: dict[Kind, str] = {}
    note: str | None = None
    note_at = (0, 0)

    def arrow(kind: Kind, x1: int, y1: int, x2: int, y2: int) -> None:
        ways[kind] = ways.get(kind, "") + _arrow(x1, y1, x2, y2)

    sign = 1 if rightwards else -1
    row = y + _LABEL + 6
    for index, sighting in enumerate(journey.sightings):
        x = at[sighting.place]
        if index == 0 and sighting.direction == "in":
            arrow("outer", x - sign * (_STUB - 4), row - 7, x, row)
        before = drawn.get(sighting.after) if sighting.after is not None else None
        if before is not None:
            kind: Kind = "unsure" if sighting.unjoined else ""
            bend = before is not stops[-1] or copies[sighting.after] > 1
            if bend:  # down the line of where it was copied, and across: straight ones would lie on each other
                ways[kind] = ways.get(kind, "") + f"M{before.x} {before.y}V{row}"
            arrow(kind, before.x, row if bend else before.y, x, row)
            if sighting.unjoined and note is None:
                note, note_at = "rewritten?", ((before.x + x) // 2, (before.y + row) // 2 - 5)
        stops.append(_stop(sighting, x, row, _since(journey.first, sighting)))
        drawn[sighting.anchor] = stops[-1]
        row += _ROW
    for sighting, stop in zip(journey.sightings, stops, strict=True):
        if sighting.direction == "out" and sighting.anchor not in copies:
            before = drawn.get(sighting.after) if copies[sighting.after] > 1 else None  # type: ignore[arg-type]
            away = sign if before is None else 1 if stop.x > before.x else -1
            arrow("outer", stop.x, stop.y, stop.x + away * (_STUB - 4), stop.y + 7)
    words = " → ".join(journey.first.ends) if journey.first.ends[0] else ""
    room = int((width - _MARK_X - 6) / _CHAR) - len(journey.first.protocol) - 3
    text = f"{journey.first.info}  {words}".strip() if len(journey.first.info) + len(words) + 2 <= room else (
        journey.first.info)  # fmt: skip
    begin = _MARK_X + 6 * (len(journey.name) - 1)
    return Rung(journey.name, journey.first.protocol, shorten(text, max(12, room)), begin, y + 15, tuple(stops),
                tuple(ways.items()), note, note_at, _marks(journey, row - _ROW + 22, width))  # fmt: skip


def _since(first: Sighting, sighting: Sighting) -> str:
    """All of a packet's times count from the start of the step in which it was first seen."""
    return "" if first.since_ns is None else milliseconds(first.since_ns + sighting.time_ns - first.time_ns)


def _marks(journey: Journey, y: int, width: int) -> tuple[tuple[str, int, str], ...]:
    room = int((width - _MARK_X) / _CHAR)
    return tuple(
        (mark.kind, y + _MARK * index, shorten(_SIGNS[mark.kind] + mark.text, room))
        for index, mark in enumerate(journey.marks)
    )


def _stop(sighting: Sighting, x: int, y: int, time: str) -> Stop:
    way = {"in": "in on", "out": "out on", None: "on"}[sighting.direction]
    title = f"packet {sighting.number} of {sighting.capture}, {way} {sighting.place.node}.{sighting.place.interface}"
    more = f", also in {len(sighting.twins)} other captures" if sighting.twins else ""
    return Stop(x, y, f"#{sighting.anchor}", title + more, time, sighting.cited)


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    """A straight line that ends short of the dot, and the triangle of its head."""
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 or 1.0
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    tx, ty = x2 - ux * 8.0, y2 - uy * 8.0
    bx, by = tx - ux * _ARROW, ty - uy * _ARROW
    head = f"L{tx:.1f} {ty:.1f}L{bx - uy * 3:.1f} {by + ux * 3:.1f}L{bx + uy * 3:.1f} {by - ux * 3:.1f}Z"
    return f"M{x1} {y1}L{bx:.1f} {by:.1f}{head.replace('L', 'M', 1)}"


def _roofs(columns: tuple[Place, ...], at: dict[Place, int], gap: int) -> Iterable[Roof]:
    start = 0
    for index in range(1, len(columns) + 1):
        if index == len(columns) or columns[index].node != columns[start].node:
            x = at[columns[start]] - min(gap, 96) // 2 + 4
            width = at[columns[index - 1]] - at[columns[start]] + min(gap, 96) - 8
            yield Roof(x, width, shorten(columns[start].node, max(4, int(width / 7.6))))
            start = index


def _summary(ladder: Ladder) -> str:
    """The picture in a sentence, for those who cannot see it. What it holds is text and links, and read as such."""
    count = len(ladder.journeys)
    on = _names(p for p in ladder.columns if p not in ladder.quiet)
    words = f"{count} packet{'' if count == 1 else 's'}{' on ' if on else ''}{on}."
    return words + (f" Nothing on {_names(p for p in ladder.columns if p in ladder.quiet)}." if ladder.quiet else "")


def _names(places: Iterable[Place]) -> str:
    return ", ".join(f"{place.node}.{place.interface}" for place in places)
