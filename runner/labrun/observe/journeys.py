"""The same packet on several interfaces: one rule for judge and pictures of which appearances are one packet.

Appearances with one identity (`same`, see packets/identity) are one packet, if each door has seen it once. A door is
an interface in one direction; what comes through a door again is the same packet only with a smaller TTL (a loop), else
another packet with the same content (a retransmission, a packet sent twice). Such are shared out in time order:
whatever appears at a door belongs to the packet that began first of those not yet seen there. If more than one could
have been meant, and they had not come the same way, or did not all end up with the same way, then it is not known which
packet went where: all of them are ambiguous, and count as perhaps, never as yes.

A packet that ends where another begins that differs from it in no more than a router may rewrite (`like`) may have gone
on as that one. Neither is known to be where it was seen alone: both count as perhaps, and the fields are named.

Time decides the order; appearances at the same nanosecond (a bridge shows a packet with the time of its port) are in
the order of the capture, which is that of the kernel. Appearances on interfaces outside of the chain count, too: give
only packets of the interfaces that matter.

Memory: RECORD bytes for each packet given, whatever its size, and at the end the records of one of 256 parts as
objects. A packet on a thousand interfaces, or a thousand ways, is beyond what is told apart (MAX_WAYS): ambiguous.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from labrun.evidence.record import VariantRecord
from labrun.logic.compare import Count
from labrun.observe.unknown import Unknown
from labrun.packets.identity import SIZE, Identity, identity
from labrun.packets.pcapng import Direction, Packet
from labrun.protocol.record import dataclass

SHOWN = 10  # packets that are named of each way
MAX_WAYS = 64
_PARTS = 256
_LATEST = (1 << 64) - 1
_NO_TTL = 0xFFFF
_DIRECTIONS: dict[Direction | None, int] = {None: 0, "in": 1, "out": 2}
# ``like``, time_ns, place in the order given, ``same``, number, interface and direction, TTL
_RECORD = Struct(f">{SIZE}sQI{SIZE}sIIH")
RECORD = _RECORD.size
_TWICE_NS = 2_000_000  # two captures of one interface tell the same moment
_like = itemgetter(slice(0, SIZE))


class Appearance(NamedTuple):
    """``door``: interface and direction as one number. ``ttl``: _NO_TTL if it has none."""

    number: int
    place: int
    door: int
    ttl: int
    same: bytes


Track = tuple[Appearance, ...]
"""One packet, each time it appeared."""


@dataclass(frozen=True, slots=True)
class Way:
    """The interfaces that packets were seen on, in this order, and how many packets went so."""

    interfaces: tuple[str, ...]
    count: int
    numbers: tuple[tuple[int, ...], ...]
    """Of the first SHOWN packets: the packet number on each of the interfaces."""

    def __str__(self) -> str:
        return ", ".join(self.interfaces)


@dataclass(frozen=True, slots=True)
class Seen:
    """Which packets took the chain. ``doubt``: why ``count`` is a range, where it is one."""

    chain: Way
    others: tuple[Way, ...]
    """What was instead, the most frequent first."""
    ambiguous: tuple[tuple[int, ...], ...]
    """Numbers of appearances that could not be told apart, of the first SHOWN contents."""
    count: Count
    doubt: Unknown | None
    rewritten: tuple[tuple[int, int], ...] = ()
    """Packets that may be one: the number where one was seen last and where the other was seen first. SHOWN at most."""

    def instead(self) -> str:
        """For the message of a false verdict: "3 seen on veth0, cni0; not on eth0 (packets 1, 2)"."""
        if not self.others:
            return "no other packet was seen"
        texts = []
        for way in self.others[:3]:
            missing = [name for name in dict.fromkeys(self.chain.interfaces) if name not in way.interfaces]
            text = f"{way.count} seen on {way}" + (f"; not on {', '.join(missing)}" if missing else "")
            texts.append(f"{text} (packets {', '.join(map(str, way.numbers[0]))})")
        more = len(self.others) - 3
        return " | ".join(texts) + (f" | {more} other ways" if more > 0 else "")


def seen_on(packets: Iterable[Packet], interfaces: tuple[str, ...], nat: bool = False) -> Seen:
    """Which of these packets are seen on exactly these interfaces, in this order, once each."""
    sightings = Sightings(interfaces, nat)
    for packet in packets:
        sightings.add(
            packet.interface, packet.number, packet.time_ns, packet.data, packet.linktype, packet.length,
            packet.direction,
        )  # fmt: skip
    return sightings.result()


class Sightings:
    """Appearances of packets, collected one by one. ``interface`` may be any label, such as node.interface."""

    def __init__(self, interfaces: tuple[str, ...], nat: bool = False) -> None:
        if len(interfaces) < 2:
            raise ValueError("a chain has at least two interfaces")
        self._chain = interfaces
        self._nat = nat
        self._places: dict[str, int] = {}
        for name in interfaces:
            self._places.setdefault(name, len(self._places))
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._total = 0
        self._cut = 0

    def add(self, interface: str, number: int, time_ns: int, data: bytes, linktype: int, length: int,
            direction: Direction | None = None) -> None:  # fmt: skip
        found = identity(data, linktype, length, self._nat)
        if found is None:
            self._cut += 1
            return
        place = self._places.get(interface)
        if place is None:
            place = self._places[interface] = len(self._places)
        self._total += 1
        time_ns = min(max(time_ns, 0), _LATEST)  # no clock says what lies outside, but a damaged file may
        ttl = _NO_TTL if found.ttl is None else found.ttl
        door = place << 2 | _DIRECTIONS[direction]
        self._parts[found.like[0]] += _RECORD.pack(
            found.like, time_ns, self._total, found.same, number, door, ttl
        )  # fmt: skip

    def result(self) -> Seen:
        names = list(self._places)
        chain = tuple(self._places[name] for name in self._chain)
        tally = _Tally(chain)
        for appearances in self._contents():
            tally.take_all(sorted_out(appearances))
        ways = [
            Way(tuple(names[place] for place in way), count, tuple(numbers))
            for way, (count, numbers) in tally.ways.items()
        ]
        mine = next((way for way in ways if way.interfaces == self._chain), Way(self._chain, 0, ()))
        others = sorted((way for way in ways if way is not mine), key=lambda way: (-way.count, way.numbers))
        high = mine.count + tally.perhaps + self._cut
        doubt = None
        if self._cut:
            text = f"{self._cut} packets are cut by the capture's snaplen: they cannot be told apart"
            doubt = Unknown("packets-cut", text)
        elif tally.rewritten:
            one, other = tally.rewritten[0]
            text = f"packet {one} may have gone on as packet {other}, which differs only in what a router may rewrite"
            doubt = Unknown("perhaps-rewritten", text)
        elif tally.ambiguous:
            numbers = ", ".join(map(str, tally.ambiguous[0]))
            text = f"packets {numbers} have the same content: which of them is which is not known"
            doubt = Unknown("ambiguous", text)
        count = Count(mine.count, high)
        return Seen(mine, tuple(others), tuple(tally.ambiguous), count, doubt, tuple(tally.rewritten))

    def _contents(self) -> Iterator[list[Appearance]]:
        """The appearances of packets that are like each other, in time order."""
        unpack = _RECORD.unpack_from
        for part in self._parts:
            raw = bytes(part)
            records = sorted(raw[at : at + RECORD] for at in range(0, len(raw), RECORD))
            for _, group in groupby(records, _like):
                fields = (unpack(record)[3:] for record in group)
                yield [Appearance(number, door >> 2, door, ttl, same) for same, number, door, ttl in fields]


class _Tally:
    """Ways and how many packets went along them; and what could not be shared out."""

    def __init__(self, chain: tuple[int, ...]) -> None:
        self._often = {place: chain.count(place) for place in chain}
        self.ways: dict[tuple[int, ...], tuple[int, list[tuple[int, ...]]]] = {}
        self.perhaps = 0
        self.ambiguous: list[tuple[int, ...]] = []
        self.rewritten: list[tuple[int, int]] = []

    def take_all(self, found: SortedOut) -> None:
        for track in found.sure:
            self._take(tuple(each.place for each in track), tuple(each.number for each in track))
        for appearances in found.unclear:
            numbers = tuple(each.number for each in appearances[:SHOWN])
            self.perhaps += self._most(appearances)
            bisect.insort(self.ambiguous, numbers)
            del self.ambiguous[SHOWN:]
        if found.pairs:
            self.perhaps += self._most([each for track in found.perhaps for each in track])
            for one, other in found.pairs:
                bisect.insort(self.rewritten, (one[-1].number, other[0].number))
            del self.rewritten[SHOWN:]

    def _take(self, way: tuple[int, ...], numbers: tuple[int, ...]) -> None:
        count, shown = self.ways.get(way, (0, []))
        if len(shown) < SHOWN or numbers < shown[-1]:
            bisect.insort(shown, numbers)
            del shown[SHOWN:]
        self.ways[way] = count + 1, shown

    def _most(self, appearances: Sequence[Appearance]) -> int:
        """How many packets of the chain there may be among these."""
        places = [each.place for each in appearances]
        return min(places.count(place) // times for place, times in self._often.items())


class SortedOut(NamedTuple):
    """Appearances that are like each other, as packets. ``sure``: one packet each. ``unclear``: of one content, but
    which is of which packet is not known. ``pairs``: the second may be the first, rewritten; ``perhaps`` has both.
    """

    sure: list[Track]
    unclear: list[Track]
    pairs: list[tuple[Track, Track]]
    perhaps: list[Track]


def sorted_out(appearances: Sequence[Appearance]) -> SortedOut:
    """``appearances``: with one ``like``, in time order."""
    first = appearances[0].same
    if all(each.same == first for each in appearances):
        tracks = _told_apart(appearances)
        return SortedOut([], [tuple(appearances)], [], []) if tracks is None else SortedOut(tracks, [], [], [])
    contents: dict[bytes, list[Appearance]] = {}
    order = {id(each): index for index, each in enumerate(appearances)}
    for each in appearances:
        contents.setdefault(each.same, []).append(each)
    sure: list[Track] = []
    unclear: list[Track] = []
    for content in contents.values():
        tracks = _told_apart(content)
        if tracks is None:
            unclear.append(tuple(content))
        else:
            sure += tracks
    sure.sort(key=lambda track: order[id(track[0])])
    pairs = []
    for index, later in enumerate(sure):
        begins = order[id(later[0])]
        for earlier in sure[max(0, index - MAX_WAYS) : index]:
            if order[id(earlier[-1])] < begins and _may_go_on(earlier, later):
                pairs.append((earlier, later))
    perhaps = {id(track) for pair in pairs for track in pair}
    return SortedOut(
        [track for track in sure if id(track) not in perhaps], unclear, pairs,
        [track for track in sure if id(track) in perhaps],
    )  # fmt: skip


def _may_go_on(earlier: Track, later: Track) -> bool:
    """May the second be what a router made of the first? Not where both were seen, and not with more hops to live."""
    if earlier[-1].same == later[0].same or _NO_TTL > later[0].ttl > earlier[-1].ttl:
        return False
    return not {each.place for each in earlier} & {each.place for each in later}


def _told_apart(appearances: Sequence[Appearance]) -> list[Track] | None:
    """The packets of one content, and where each of them went. None: it is not known which is which."""
    if len({each.place for each in appearances}) == len(appearances):
        return [tuple(appearances)]
    under_way: dict[tuple[tuple[int, int], ...], deque[Track]] = {}
    chosen = False
    for each in appearances:
        step = (each.door, each.ttl)
        fitting = [way for way, here in under_way.items() if here and _fits(way, step)]
        if not fitting:
            under_way.setdefault((step,), deque()).append((each,))
            continue
        first = fitting[0]
        chosen = chosen or len(under_way[first]) > 1
        track = under_way[first].popleft()
        under_way.setdefault((*first, step), deque()).append((*track, each))
        if not under_way[first]:
            del under_way[first]
        if len(fitting) > 1 or len(under_way) > MAX_WAYS:
            return None
    if chosen and len({tuple(door for door, _ in way) for way in under_way}) > 1:
        return None
    return [track for tracks in under_way.values() for track in tracks]


def _fits(way: tuple[tuple[int, int], ...], step: tuple[int, int]) -> bool:
    """Can a packet that came this way appear at this door? Again only with fewer hops to live."""
    door, ttl = step
    return all(been != door or ttl < then for been, then in way)


@dataclass(frozen=True, slots=True)
class Sight:
    """One appearance of a packet in any capture of a variant, as `journeys` takes it."""

    node: str
    interface: str
    direction: Direction | None
    time_ns: int
    capture: str
    number: int
    identity: Identity | None
    """None: it was cut, and is a packet of its own."""


class Stop(NamedTuple):
    """``sight``: its index in what was given. ``after``: the index of the one that it came from; None for the first.

    Several may come from one: a bridge floods copies. ``rewritten``: only like the one that it came from.
    """

    sight: int
    after: int | None
    rewritten: bool
    twins: tuple[int, ...]
    """The same moment, told by other captures."""


class Journey(NamedTuple):
    stops: tuple[Stop, ...]
    alike: tuple[int, ...] = ()
    """Appearances of the same content, of which it is not known which is which: this one stands alone."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What hangs together, as far as the kernel told: bridges by their ports, and the other ends of veth pairs."""

    bridges: Mapping[tuple[str, str], str]
    peers: Mapping[tuple[str, str], tuple[str, str]]


UNKNOWN_WIRING = Wiring({}, {})


def wiring_of(variant: VariantRecord) -> Wiring:
    """As it was last noted of each interface."""
    bridges: dict[tuple[str, str], str] = {}
    peers: dict[tuple[str, str], tuple[str, str]] = {}
    for record in variant.steps:
        state = variant.state_after(record)
        for node, has in state.nodes.items() if state is not None else ():
            kinds = {link.name: link.type for link in has.links or ()}
            for link in has.links or ():
                if link.master is not None and kinds.get(link.master) == "bridge":
                    bridges[node, link.name] = link.master
                if link.peer is not None:
                    peers[node, link.name] = (link.netns or node, link.peer)
    return Wiring(bridges, peers)


def journeys(sights: Sequence[Sight], wiring: Wiring = UNKNOWN_WIRING, nat: bool = False) -> tuple[Journey, ...]:
    """Every packet with all that was seen of it, in the order in which they began. As `seen_on` tells them apart."""
    order = sorted(range(len(sights)), key=lambda at: (sights[at].time_ns, sights[at].capture, sights[at].number))
    doors: dict[tuple[str, str, Direction | None], int] = {}
    places: dict[tuple[str, str], int] = {}
    twins: dict[int, list[int]] = {}
    groups: dict[bytes, list[Appearance]] = {}
    rank = {index: at for at, index in enumerate(order)}
    found: list[Journey] = []
    for index in order:
        sight = sights[index]
        if sight.identity is None:
            found.append(Journey((Stop(index, None, False, ()),)))
            continue
        door = doors.setdefault((sight.node, sight.interface, sight.direction), len(doors))
        place = places.setdefault((sight.node, sight.interface), len(places))
        ttl = _NO_TTL if sight.identity.ttl is None else sight.identity.ttl
        group = groups.setdefault(sight.identity.like, [])
        each = Appearance(index, place, door, ttl, sight.identity.same)
        first = next((one for one in reversed(group) if _told_twice(sights, one, each)), None)
        if first is not None:
            twins.setdefault(first.number, []).append(index)
        else:
            group.append(each)
    for group in groups.values():
        told = sorted_out(group)
        for tracks in (*((track,) for track in told.sure), *_chains(told)):
            found.append(_journey(tracks, sights, twins, wiring))
        for track in told.unclear:
            numbers = tuple(each.number for each in track)
            found += [Journey((Stop(at, None, False, tuple(twins.get(at, ()))),), numbers) for at in numbers]
    return tuple(sorted(found, key=lambda journey: rank[journey.stops[0].sight]))


def _told_twice(sights: Sequence[Sight], one: Appearance, other: Appearance) -> bool:
    """One event on one interface, in two captures?"""
    first, second = sights[one.number], sights[other.number]
    alike = (one.door, one.ttl, one.same) == (other.door, other.ttl, other.same)
    return alike and first.capture != second.capture and abs(first.time_ns - second.time_ns) <= _TWICE_NS


def _chains(told: SortedOut) -> Iterator[tuple[Track, ...]]:
    """Tracks of which each may be the one before it, rewritten; where that is the only one which fits."""
    after: dict[int, list[Track]] = {}
    before: dict[int, list[Track]] = {}
    for one, other in told.pairs:
        after.setdefault(id(one), []).append(other)
        before.setdefault(id(other), []).append(one)
    taken: set[int] = set()
    for track in told.perhaps:
        if id(track) in taken:
            continue
        chain = [track]
        while True:
            following = [other for other in after.get(id(chain[-1]), []) if id(other) not in taken]
            nearest = following[:1]
            if not nearest or before[id(nearest[0])][-1] is not chain[-1]:
                break
            chain.append(nearest[0])
        taken.update(map(id, chain))
        yield tuple(chain)


def _journey(
    tracks: Sequence[Track], sights: Sequence[Sight], twins: Mapping[int, Sequence[int]], wiring: Wiring
) -> Journey:
    stops: list[Stop] = []
    for number, track in enumerate(tracks):
        for index, each in enumerate(track):
            earlier = [sights[stop.sight] for stop in stops]
            came = _came_from(sights[each.number], earlier, wiring)
            after = None if came is None else stops[came].sight
            stops.append(Stop(each.number, after, bool(number) and not index, tuple(twins.get(each.number, ()))))
    return Journey(tuple(stops))


def _came_from(sight: Sight, earlier: Sequence[Sight], wiring: Wiring) -> int | None:
    """Which of the earlier appearances of the same packet this one comes from. None: there is none.

    A frame comes in from the other end of its cable. A bridge sends copies of what came in by one port, or of what was
    sent by its own device, out of others, and hands one up to its own device. All else goes on from where it was last.
    """
    if not earlier:
        return None
    here = (sight.node, sight.interface)

    def last(*wanted: tuple[str, str, Direction | None]) -> int | None:
        places = [(each.node, each.interface, each.direction) for each in earlier]
        return max((at for at, place in enumerate(places) if place in wanted), default=None)

    peer = wiring.peers.get(here)
    ports = [port for port, bridge in wiring.bridges.items() if (port[0], bridge) == here]
    if sight.direction == "in" and ports:
        found = last(*((*port, "in") for port in ports))
        if found is not None:
            return found
    if sight.direction == "in" and peer is not None:
        found = last((*peer, "out"))
        if found is not None:
            return found
        if any(each.node == peer[0] for each in earlier) and peer[0] != sight.node:
            out = Sight(*peer, "out", sight.time_ns, sight.capture, sight.number, sight.identity)
            return _came_from(out, earlier, wiring)
    bridge = wiring.bridges.get(here)
    if sight.direction == "out" and bridge is not None:
        others = [port for port, its in wiring.bridges.items() if port[0] == sight.node and its == bridge]
        found = last(*((*port, "in") for port in others), (sight.node, bridge, "out"))
        if found is not None:
            return found
    copies = [each.direction == "out" and (each.node, each.interface) in wiring.bridges for each in earlier]
    inside = [at for at, each in enumerate(earlier) if each.node == sight.node and not copies[at]]
    return inside[-1] if inside else len(earlier) - 1
