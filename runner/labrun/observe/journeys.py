"""The same packet on several interfaces: which packets went along exactly this chain, and what the others did.

Appearances with one fingerprint (see `fingerprint`) are one packet, if each interface has seen it once. If some
interface has seen it more often (a retransmission, a packet sent twice), the appearances are shared out in time order:
whatever appears on an interface belongs to the packet that began first of those not yet seen there. If more than one
could have been meant, and they had not come the same way, or did not all end up with the same way, then it is not known
which packet went where: all of them are ambiguous, and count as perhaps, never as yes.

Time decides the order; appearances at the same nanosecond (a bridge shows a packet with the time of its port) are in
the order of the capture, which is that of the kernel. Appearances on interfaces outside of the chain count, too: give
only packets of the interfaces that matter.

Memory: RECORD bytes for each packet given, whatever its size, and at the end the records of one of 256 parts as
objects. A packet on a thousand interfaces, or a thousand ways, is beyond what is told apart (MAX_WAYS): ambiguous.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from struct import Struct

from labrun.logic.compare import Count
from labrun.observe.unknown import Unknown
from labrun.packets.identity import SIZE, fingerprint
from labrun.packets.pcapng import Packet
from labrun.protocol.record import dataclass

SHOWN = 10  # packets that are named of each way
MAX_WAYS = 64
_PARTS = 256
_LATEST = (1 << 64) - 1
_RECORD = Struct(">QIII")  # time_ns, place in the order given, number, interface
RECORD = SIZE + _RECORD.size
_digest = itemgetter(slice(0, SIZE))


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
        sightings.add(packet.interface, packet.number, packet.time_ns, packet.data, packet.linktype, packet.length)
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

    def add(self, interface: str, number: int, time_ns: int, data: bytes, linktype: int, length: int) -> None:
        digest = fingerprint(data, linktype, length, self._nat)
        if digest is None:
            self._cut += 1
            return
        place = self._places.get(interface)
        if place is None:
            place = self._places[interface] = len(self._places)
        self._total += 1
        time_ns = min(max(time_ns, 0), _LATEST)  # no clock says what lies outside, but a damaged file may
        self._parts[digest[0]] += digest + _RECORD.pack(time_ns, self._total, number, place)

    def result(self) -> Seen:
        names = list(self._places)
        chain = tuple(self._places[name] for name in self._chain)
        tally = _Tally()
        for appearances in self._contents():
            _share_out(appearances, chain, tally)
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
        elif tally.perhaps:
            numbers = ", ".join(map(str, tally.ambiguous[0]))
            text = f"packets {numbers} have the same content: which of them is which is not known"
            doubt = Unknown("ambiguous", text)
        ambiguous = tuple(tally.ambiguous)
        return Seen(mine, tuple(others), ambiguous, Count(mine.count, high), doubt)

    def _contents(self) -> Iterator[list[tuple[int, int]]]:
        """The appearances of each content in time order: (number, interface)."""
        unpack = _RECORD.unpack_from
        for part in self._parts:
            raw = bytes(part)
            records = sorted(raw[at : at + RECORD] for at in range(0, len(raw), RECORD))
            for _, group in groupby(records, _digest):
                yield [unpack(record, SIZE)[2:] for record in group]


class _Tally:
    """Ways and how many packets went along them; and what could not be shared out."""

    def __init__(self) -> None:
        self.ways: dict[tuple[int, ...], tuple[int, list[tuple[int, ...]]]] = {}
        self.perhaps = 0
        self.ambiguous: list[tuple[int, ...]] = []

    def take(self, way: tuple[int, ...], numbers: tuple[int, ...]) -> None:
        count, shown = self.ways.get(way, (0, []))
        if len(shown) < SHOWN or numbers < shown[-1]:
            bisect.insort(shown, numbers)
            del shown[SHOWN:]
        self.ways[way] = count + 1, shown

    def leave(self, numbers: tuple[int, ...], most: int) -> None:
        """``most``: how many packets of the chain there may be among these appearances."""
        self.perhaps += most
        bisect.insort(self.ambiguous, numbers[:SHOWN])
        del self.ambiguous[SHOWN:]


def _share_out(appearances: list[tuple[int, int]], chain: tuple[int, ...], tally: _Tally) -> None:
    """Tell the packets of one content apart, and where each of them went."""
    numbers = tuple(number for number, _ in appearances)
    places = tuple(place for _, place in appearances)
    if len(set(places)) == len(places) or places == chain:
        tally.take(places, numbers)
        return
    often = {place: chain.count(place) for place in chain}
    under_way: dict[tuple[int, ...], deque[tuple[int, ...]]] = {}
    chosen = False
    for number, place in appearances:
        fitting = [way for way, here in under_way.items() if here and way.count(place) < often.get(place, 1)]
        if not fitting:
            under_way.setdefault((place,), deque()).append((number,))
            continue
        first = fitting[0]
        chosen = chosen or len(under_way[first]) > 1
        packet = under_way[first].popleft()
        under_way.setdefault((*first, place), deque()).append((*packet, number))
        if not under_way[first]:
            del under_way[first]
        if len(fitting) > 1 or len(under_way) > MAX_WAYS:
            ambiguous = True
            break
    else:
        ambiguous = chosen and len(under_way) > 1
    if ambiguous:
        tally.leave(numbers, min(places.count(place) // times for place, times in often.items()))
        return
    for way, packets in under_way.items():
        for packet in packets:
            tally.take(way, packet)
