"""One pass over a capture file for several questions at once: reading it is most of the work, so it is read once.

Each question has its window, its interfaces and its direction, and either counts the packets that a predicate passes
or collects them for `same`. Which questions a packet is for is found once for each interface and direction.

It refuses to judge: what the capture lost, and whether it ran all the time, is for the caller to weigh.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from labrun.logic.compare import Truth
from labrun.observe.journeys import Seen, Sightings
from labrun.packets.fields import Matcher
from labrun.packets.pcapng import Direction, TruncatedCapture, read_packets
from labrun.packets.segments import Offload, segments
from labrun.protocol.record import dataclass

SHOWN = 10  # packet numbers that are kept of each answer
_EVER = (-(1 << 80), 1 << 80)


@dataclass(frozen=True, slots=True)
class Question:
    """Which packets are meant. Everything left out means all."""

    interfaces: frozenset[str] | None = None
    direction: Direction | None = None
    window: tuple[int, int] | None = None
    """From and to, CLOCK_REALTIME in ns, both included."""
    match: Matcher | None = None
    chain: tuple[str, ...] | None = None
    """Collect what matches, and ask which of it was seen on this chain."""
    nat: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    count: int
    """Packets that surely match."""
    numbers: tuple[int, ...]
    """Of the first SHOWN."""
    unsure: int
    """Packets that may match: the bytes that decide were not kept."""
    seen: Seen | None
    """For a question with a chain."""
    supers: int = 0
    """Super-packets that match, as they were captured or as packets on the wire."""
    more: int | None = 0
    """How many more than ``count`` match if the one or the other is counted; None: that is not known."""


@dataclass(frozen=True, slots=True)
class Scan:
    answers: tuple[Answer, ...]
    packets: int
    truncated: bool
    """The file ends in the middle of a block: there may have been more."""
    interface_names: tuple[str, ...] = ()
    """In the order in which the file describes them."""


class _Asked:
    """A question while it is being answered."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.first, self.last = question.window or _EVER
        self.match = question.match
        self.count = self.unsure = self.supers = 0
        self.more: int | None = 0
        self.numbers: list[int] = []
        self.sightings = None if question.chain is None else Sightings(question.chain, question.nat)

    def means(self, interface: str, direction: Direction | None) -> bool:
        asked = self.question
        return (asked.interfaces is None or interface in asked.interfaces) and asked.direction in (None, direction)

    def take_super(self, number: int, interface: str, time_ns: int, direction: Direction | None, linktype: int,
                   data: bytes, length: int, offload: Offload) -> None:  # fmt: skip
        """Count a super-packet as itself and as the packets that it stands for: between the two lies the number."""

        def passes(part: bytes, size: int) -> Truth:
            return self.match is None or self.match(part, linktype, size, interface, offload)

        whole = passes(data, length)
        pieces = segments(data, linktype, length, offload)
        truths = [passes(*piece) for piece in pieces] if pieces is not None else []
        if None in (whole, *truths):
            self.unsure += max(1, len(truths))
            return
        if pieces is None:
            least, most = int(self.match is None), None
        else:
            least, most = sorted((int(whole is True), truths.count(True)))
        if most == 0:
            return
        self.supers += 1
        self.count += least
        self.more = None if most is None or self.more is None else self.more + most - least
        if len(self.numbers) < SHOWN:
            self.numbers.append(number)
        if self.sightings is not None:
            self.sightings.add(interface, number, time_ns, data, linktype, length, direction)

    def answer(self) -> Answer:
        seen = None if self.sightings is None else self.sightings.result()
        return Answer(self.count, tuple(self.numbers), self.unsure, seen, self.supers, self.more)


def scan(path: Path, questions: Sequence[Question], opened: BinaryIO | None = None) -> Scan:
    """The answers in the order of the questions. PcapngError if the file is damaged, OSError if it cannot be read."""
    every = [_Asked(question) for question in questions]
    routes: dict[tuple[str, Direction | None], tuple[_Asked, ...]] = {}
    total, truncated = 0, False
    names: list[str] = []
    try:
        for number, interface, time_ns, direction, linktype, data, length, offload in read_packets(path, opened, names):
            total = number
            try:
                asked = routes[interface, direction]
            except KeyError:
                asked = tuple(one for one in every if one.means(interface, direction))
                routes[interface, direction] = asked
            for one in asked:
                if not one.first <= time_ns <= one.last:
                    continue
                if offload is not None and offload.gso_size:
                    one.take_super(number, interface, time_ns, direction, linktype, data, length, offload)
                    continue
                if one.match is not None:
                    truth = one.match(data, linktype, length, interface, offload)
                    if not truth:
                        if truth is None:
                            one.unsure += 1
                        continue
                one.count += 1
                if len(one.numbers) < SHOWN:
                    one.numbers.append(number)
                if one.sightings is not None:
                    one.sightings.add(interface, number, time_ns, data, linktype, length)
    except TruncatedCapture:
        truncated = True
    return Scan(tuple(one.answer() for one in every), total, truncated, tuple(names))
