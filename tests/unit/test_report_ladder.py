"""One packet on several interfaces is one journey, two packets that look alike are two."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.observe.journeys import SHOWN, Wiring, seen_on
from labrun.packets.describe import compared, field_bytes
from labrun.packets.identity import fragment, identity, trace_keys
from labrun.packets.pcapng import Packet
from labrun.protocol.traces import TraceEvent
from labrun.report.ladder import Journey, Nothing, Place, Sighting, journeys_of, ladder_of
from labrun.report.marks import Traced, marked
from labrun.report.rungs import draw_ladder

ETHERNET, RAW = 1, 101


def ip(source: str, destination: str, payload: bytes, protocol: int = 1, ident: int = 7, ttl: int = 64) -> bytes:
    ends = b"".join(bytes(int(part) for part in address.split(".")) for address in (source, destination))
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, 0x4000, ttl, protocol, ttl * 3) + ends + payload


def framed(packet: bytes, mac: int = 1, kind: int = 0x0800, tag: bytes = b"") -> bytes:
    return bytes([2, 0, 0, 0, 0, mac]) * 2 + tag + struct.pack(">H", kind) + packet


def echo(kind: int = 8, ident: int = 7, seq: int = 1) -> bytes:
    return struct.pack(">BBHHH", kind, 0, 0x1234, ident, seq) + bytes(range(24))


def tcp(source: int, destination: int, seq: int = 100, checksum: int = 0, payload: bytes = b"hello") -> bytes:
    return struct.pack(">HHIIBBHHH", source, destination, seq, 0, 0x50, 2, 1000, checksum, 0) + payload


A, B = "10.0.0.1", "192.0.2.2"


@given(st.binary(max_size=80), st.sampled_from([0, 1, 101, 276]))
def test_any_bytes_have_fields(data: bytes, linktype: int) -> None:
    fields = field_bytes(data, linktype)
    assert all(0 <= each.start < each.end <= len(data) for each in fields)
    assert (max((each.end for each in fields), default=0)) == len(data)


def seen(name: str, time_us: int, data: bytes, direction: str = "in", capture: str = "c", number: int = 1) -> Sighting:
    node, _, interface = name.partition(".")
    key, quotes = trace_keys(data, ETHERNET)
    return Sighting(Place(node, interface), direction, time_us * 1000, 1_000_000, "during probe", capture, number,  # type: ignore[arg-type]
                    f"{capture}-{name}-{time_us}", identity(data, ETHERNET, len(data)), "ICMP", (A, B), "echo", False,
                    key, quotes, fragment(data, ETHERNET))  # fmt: skip


def ways(journeys: tuple[Journey, ...]) -> list[str]:
    return [" ".join(s.place.interface for s in journey.sightings) for journey in journeys]


REQUEST, REPLY = framed(ip(A, B, echo())), framed(ip(B, A, echo(0)))


def test_one_packet_on_three_interfaces_and_its_answer() -> None:
    journeys = journeys_of([
        seen("h.veth0", 1, REQUEST), seen("h.cni0", 2, REQUEST), seen("h.eth0", 30, REQUEST, "out"),
        seen("h.eth0", 50, REPLY), seen("h.cni0", 52, REPLY, "out"), seen("h.veth0", 53, REPLY, "out"),
    ])  # fmt: skip
    assert ways(journeys) == ["veth0 cni0 eth0", "eth0 cni0 veth0"]
    assert [journey.name for journey in journeys] == ["A", "B"]
    ladder = ladder_of(journeys, [Place("h", "lo"), Place("h", "veth0")])
    assert ladder is not None
    assert [place.interface for place in ladder.columns] == ["veth0", "cni0", "eth0", "lo"]
    assert [place.interface for place in ladder.quiet] == ["lo"]
    drawing = draw_ladder(ladder)
    stops = [[stop.x for stop in rung.stops] for rung in drawing.rungs]
    assert stops[0] == sorted(stops[0]) and stops[1] == stops[0][::-1]
    assert drawing.summary == "2 packets on h.veth0, h.cni0, h.eth0. Nothing on h.lo."


def test_the_same_door_twice_is_another_packet_unless_its_ttl_went_down() -> None:
    twice = [seen("h.eth0", 1, REQUEST), seen("h.eth0", 9, REQUEST)]
    assert ways(journeys_of(twice)) == ["eth0", "eth0"]
    looping = [seen("h.eth0", n, framed(ip(A, B, echo(), ttl=64 - n))) for n in range(1, 5)]
    assert ways(journeys_of(looping)) == ["eth0 eth0 eth0 eth0"]
    late = [seen("h.veth0", 1, REQUEST), seen("h.eth0", 2_000_000, REQUEST)]
    assert ways(journeys_of(late)) == ["veth0 eth0"]


def test_two_captures_of_one_interface_tell_one_passage() -> None:
    (journey,) = journeys_of([seen("h.eth0", 1, REQUEST), seen("h.eth0", 2, REQUEST, capture="d")])
    assert [sighting.twins for sighting in journey.sightings] == [("d-h.eth0-2",)]


def test_a_rewritten_packet_is_joined_with_a_doubt() -> None:
    (journey,) = journeys_of([
        seen("r.eth0", 1, framed(ip(A, B, tcp(4000, 80), 6))),
        seen("r.eth1", 9, framed(ip("203.0.113.9", B, tcp(9, 80), 6, ttl=63)), "out"),
    ])  # fmt: skip
    assert [sighting.unjoined for sighting in journey.sightings] == [False, True]
    ladder = ladder_of((journey,), ())
    assert ladder is not None and draw_ladder(ladder).rungs[0].note == "rewritten?"


def test_a_ladder_is_bounded_and_says_so() -> None:
    many = [seen("h.eth0", n, framed(ip(A, B, echo(seq=n)))) for n in range(100)]
    ladder = ladder_of(journeys_of(many), ())
    assert ladder is not None and len(ladder.journeys) == 40
    assert ladder.cut == "40 of 100 packets are drawn. The tables have more."
    assert [j.name for j in journeys_of(many)][25:28] == ["Z", "AA", "AB"]
    assert ladder_of((), ()) is None


def test_fields_have_their_bytes_and_what_a_hop_changed() -> None:
    now, before = (field_bytes(framed(ip(A, B, echo(), ttl=ttl), mac=ttl), ETHERNET) for ttl in (63, 64))
    named = {each.name: each for each in compared(now, before)}
    assert (named["ip.ttl"].start, named["ip.ttl"].end, named["ip.ttl"].value) == (22, 23, "63")
    assert named["ip.ttl"].before == "64" and named["ip.src"].before is None
    assert named["ip.src"].value == A and named["icmp.seq"].start == 40
    assert named["eth.type"].value == "0x0800 (IPv4)" and named["data"].value == "24 bytes"


WIRED = Wiring(
    {("sw", "p0"): "br0", ("sw", "p1"): "br0", ("sw", "p2"): "br0"},
    {("sw", "p1"): ("r1", "eth0"), ("r1", "eth0"): ("sw", "p1"), ("sw", "p2"): ("r2", "eth0"),
     ("r2", "eth0"): ("sw", "p2"), ("sw", "p0"): ("src", "eth0"), ("src", "eth0"): ("sw", "p0")},
)  # fmt: skip
FLOOD = [
    ("src.eth0", "out"), ("sw.p0", "in"), ("sw.br0", "in"), ("sw.p2", "out"), ("r2.eth0", "in"), ("sw.p1", "out"),
    ("r1.eth0", "in"),
]  # fmt: skip
CAME_FROM = {
    "sw.p0": "src.eth0",
    "sw.br0": "sw.p0",
    "sw.p2": "sw.p0",
    "r2.eth0": "sw.p2",
    "sw.p1": "sw.p0",
    "r1.eth0": "sw.p1",
}


@pytest.mark.parametrize("left_out", [(), ("sw.br0",), ("sw.p1", "sw.p2"), ("src.eth0",), ("sw.br0", "sw.p1")])
def test_copies_at_a_bridge_are_branches(left_out: tuple[str, ...]) -> None:
    """Also where a port is not captured: what it sent came from where the port's copy came from."""
    told = [(name, way) for name, way in FLOOD if name not in left_out]
    (journey,) = journeys_of([seen(name, at, REQUEST, way) for at, (name, way) in enumerate(told, 1)], WIRED)
    names = {each.anchor: f"{each.place.node}.{each.place.interface}" for each in journey.sightings}

    def before(name: str) -> str | None:
        came = CAME_FROM.get(name)
        return came if came is None or came not in left_out else before(came)

    assert {names[s.anchor]: names.get(s.after or "") for s in journey.sightings} == {
        name: before(name) for name, _ in told
    }
    copies = [mark.text for mark in journey.marks if mark.kind == "copies"]
    assert len(copies) == 1 and copies[0].startswith("copied at sw: to ")
    ladder = ladder_of((journey,), ())
    assert ladder is not None
    (rung,) = draw_ladder(ladder).rungs
    copied = next(
        each for each in journey.sightings if sum(other.after == each.anchor for other in journey.sightings) > 1
    )
    stops = dict(zip(names, rung.stops, strict=True))
    drawn = dict(rung.ways)[""]
    for copy in (each for each in journey.sightings if each.after == copied.anchor):  # down its own line, and across
        begins, ends = stops[copied.anchor], stops[copy.anchor]
        assert f"M{begins.x} {begins.y}V{ends.y}M{begins.x} {ends.y}L" in drawn


def test_a_bridge_that_forwards_and_a_router_behind_it_are_one_line() -> None:
    wired = Wiring({("h", "veth0"): "cni0"}, {})
    told = [("h.veth0", "in", 64), ("h.cni0", "in", 64), ("h.eth0", "out", 63)]
    (journey,) = journeys_of([seen(name, at, framed(ip(A, B, echo(), ttl=ttl)), way) for at, (name, way, ttl)
                              in enumerate(told)], wired)  # fmt: skip
    assert [each.after for each in journey.sightings] == [None, *(each.anchor for each in journey.sightings[:-1])]
    assert journey.marks == ()


def test_what_cannot_be_told_apart_stands_alone_and_says_so() -> None:
    told = ("veth0", "veth0", "cni0", "eth0")
    journeys = journeys_of([seen(f"h.{name}", at, REQUEST) for at, name in enumerate(told)])
    assert ways(journeys) == ["veth0", "veth0", "cni0", "eth0"]
    assert journeys[0].marks[0].text == "same content as B, C, D: which is which is not known"


CONTENTS = [framed(ip(A, B, echo(seq=seq), ttl=ttl)) for seq in (1, 2) for ttl in (64, 63)]
CONTENTS += [framed(ip(A, B, tcp(port, 80), 6)) for port in (4000, 9)] + [
    framed(ip("203.0.113.9", B, tcp(4000, 80), 6))
]
CONTENTS += [REQUEST[:15] + b"\x48" + REQUEST[16:], bytes(12) + b"\x08\x06" + bytes(28)]


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(("in", "out", None)), st.sampled_from(CONTENTS)), max_size=9
    )
)
def test_the_ladder_joins_just_what_seen_on_calls_the_same_packet(told: list[tuple[str, str, bytes]]) -> None:
    sights = [seen(f"h.{name}", at, data, way, number=at) for at, (name, way, data) in enumerate(told, 1)]
    given_packets = [
        Packet(at, name, at * 1000, way, 1, data, len(data)) for at, (name, way, data) in enumerate(told, 1)
    ]
    found = seen_on(given_packets, ("a", "b"))
    judged = sorted(numbers for way in (found.chain, *found.others) for numbers in way.numbers)
    drawn = journeys_of(sights)
    unsure = {number for pair in found.rewritten for number in pair} | {n for group in found.ambiguous for n in group}
    joined = [tuple(sighting.number for sighting in journey.sightings) for journey in drawn]
    assert sorted(number for numbers in joined for number in numbers) == list(range(1, len(told) + 1))
    assert judged == sorted(numbers for numbers, journey in zip(joined, drawn, strict=True)
                            if not any(mark.kind == "alike" for mark in journey.marks) and not unsure & {*numbers}
                            and not any(sighting.unjoined for sighting in journey.sightings))  # fmt: skip
    # And what the one is not sure of, the other is not.
    doubtful = {
        s.number for journey in drawn for s in journey.sightings if any(m.kind == "alike" for m in journey.marks)
    }
    assert doubtful == {number for group in found.ambiguous for number in group}
    dotted = {
        (before.number, after.number)
        for journey in drawn
        for before, after in pairwise(journey.sightings)
        if after.unjoined
    }
    if len(found.rewritten) < SHOWN:
        assert dotted <= set(found.rewritten)  # the ladder draws the only one that fits
    for journey in drawn:  # what is joined by a firm line is one packet to the judge, too
        parts = [tuple(s.number for s in part) for part in firm_parts(journey)]
        assert all(part in judged or unsure & {*part} for part in parts)
        assert all(len({sighting.identity.same for sighting in part}) == 1 for part in firm_parts(journey))


def firm_parts(journey: Journey) -> list[list[Sighting]]:
    parts: list[list[Sighting]] = [[]]
    for sighting in journey.sightings:
        if sighting.unjoined:
            parts.append([])
        parts[-1].append(sighting)
    return parts


def test_marks_tell_of_hooks_drops_and_errors() -> None:
    request = ip(A, B, echo(), ttl=1)
    error = struct.pack(">BBHI", 11, 0, 0, 0) + request[:28]
    journeys = journeys_of(
        [seen("r.eth0", 1, framed(request)), seen("r.eth0", 9, framed(ip("10.0.0.9", A, error)), "out")]
    )
    trace = (
        TraceEvent(1, 7, "prerouting", "inet", "t", "c", "rule", "continue", network=request[:20].hex(),
                   transport=request[20:40].hex()),
        TraceEvent(2, 7, "forward", "inet", "f", "forward", "policy", "drop"),
        TraceEvent(3, 8, "input", "inet", "f", "input", "policy", "drop", network=ip(B, A, echo())[:20].hex()),
    )  # fmt: skip
    first, second = marked(journeys, [Traced("r", trace)])
    assert [(mark.kind, mark.text) for mark in first.marks] == [
        ("hook", "r: prerouting → forward"),
        ("drop", "dropped in r: forward, policy of inet f forward"),
        ("answer", "answered by B: echo"),
    ]
    assert second.marks == ()
    ladder = ladder_of((first, second), ())
    assert ladder is not None and draw_ladder(ladder).rungs[0].marks[1][2].startswith("✕ dropped in r")


def test_two_packets_with_equal_headers_have_a_way_each() -> None:
    """As every SYN-ACK of Linux between two ports has: id 0, DF."""
    packet = ip(A, B, tcp(80, 4000), 6, ident=0)
    journeys = journeys_of([seen("r.eth0", at, framed(packet)) for at in (1, 50)])
    hooks = ("prerouting", "forward", "postrouting")
    trace = tuple(
        TraceEvent(number, at, hook, "inet", "t", hook, "policy", "accept", network=packet[:20].hex(), transport=packet[20:40].hex())
        for number, (at, hook) in enumerate(((at, hook) for at in (7, 8) for hook in hooks), 1)
    )  # fmt: skip
    for journey in marked(journeys, [Traced("r", trace)]):
        assert [(mark.kind, mark.text) for mark in journey.marks] == [("hook", "r: prerouting → forward → postrouting")]
    (first, second) = marked(journeys, [Traced("r", trace[:3])])
    assert first.marks == second.marks == ()  # whose way it is, is not known


def part(first: int, more: bool, ident: int = 7, size: int = 16) -> bytes:
    packet = bytearray(ip(A, B, echo()[:size], ident=ident))
    packet[6:8] = struct.pack(">H", first // 8 | (0x2000 if more else 0))
    return framed(bytes(packet))


WHOLE = part(0, False, size=32)


@pytest.mark.parametrize(
    ("told", "marks", "wholes"),
    [
        ([WHOLE, part(0, True), part(16, False)],
         ["in fragments: B, C", "fragment: bytes 0 to 15 of A", "fragment: bytes 16 to 31 of A"], [None, "A", "A"]),
        ([part(0, True), part(16, False), WHOLE],
         ["fragment: bytes 0 to 15 of C", "fragment: bytes 16 to 31 of C", "in fragments: A, B"], ["C", "C", None]),
        ([part(0, True), part(16, False)], ["fragment: bytes 0 to 15, with B", "fragment: bytes 16 to 31, with A"], [None, None]),
        ([part(16, False)], ["fragment: bytes 16 to 31"], [None]),
        ([WHOLE, part(0, True, ident=8)], ["", "fragment: bytes 0 to 15"], [None, None]),
        ([WHOLE, framed(ip(A, B, echo(seq=2)))], ["", ""], [None, None]),
    ],
)  # fmt: skip
def test_fragments_are_joined_to_their_packet(told: list[bytes], marks: list[str], wholes: list[str | None]) -> None:
    journeys = marked(journeys_of([seen("r.eth0", at, data) for at, data in enumerate(told, 1)]), ())
    assert ["".join(mark.text for mark in journey.marks) for journey in journeys] == marks
    assert [journey.whole for journey in journeys] == wholes


def test_an_identification_that_comes_again_is_another_packet() -> None:
    late = [seen("r.eth0", 1, WHOLE), seen("r.eth0", 31_000_000, part(0, True))]
    assert [journey.whole for journey in marked(journeys_of(late), ())] == [None, None]
    nearer = [seen("r.eth0", 1, WHOLE), seen("r.eth0", 9_000_000, WHOLE), seen("r.eth0", 9_000_001, part(0, True))]
    assert [journey.whole for journey in marked(journeys_of(nearer), ())] == [None, None, "B"]


def test_fragments_of_ipv6_are_joined_by_their_header() -> None:
    def six(first: int, more: bool, ident: int) -> bytes:
        payload = struct.pack(">BBHI", 58, 0, first | more, ident) + bytes(16)
        return framed(struct.pack(">IHBB", 0x60000000, len(payload), 44, 64) + bytes(32) + payload, kind=0x86DD)

    journeys = marked(
        journeys_of(
            [seen("r.eth0", at, six(*one)) for at, one in enumerate(((0, True, 5), (16, False, 5), (0, True, 6)))]
        ),
        (),
    )
    assert ["".join(mark.text for mark in journey.marks) for journey in journeys] == [
        "fragment: bytes 0 to 15, with B", "fragment: bytes 16 to 31, with A", "fragment: bytes 0 to 15",
    ]  # fmt: skip


@given(st.binary(max_size=80), st.sampled_from([ETHERNET, RAW, 276]))
def test_any_bytes_are_some_fragment_or_none(data: bytes, linktype: int) -> None:
    found = fragment(data, linktype)
    assert found is None or (found.first >= 0 and found.size >= 0)


def test_nothing_is_drawn_where_it_was() -> None:
    journeys = journeys_of([seen("h.eth0", 10, REQUEST), seen("h.eth0", 30, REPLY)])
    nothing = [
        Nothing(1_000, "during early: nothing"),
        Nothing(20_000, "during between: nothing"),
        Nothing(99_000, "during late: nothing"),
    ]
    ladder = ladder_of(journeys, [Place("h", "eth0")], nothing=nothing)
    assert ladder is not None
    told = [one.text if isinstance(one, Nothing) else one.name for one in ladder.in_order()]
    assert told == ["during early: nothing", "A", "during between: nothing", "B", "during late: nothing"]
    drawing = draw_ladder(ladder)
    assert [band.text for band in drawing.bands if band.nothing] == [each.text for each in nothing]
    places = [band.y for band in drawing.bands]
    assert places == sorted(places) and drawing.bands[0].nothing and drawing.height > places[-1]
    alone = ladder_of((), [Place("h", "eth0")], nothing=nothing)
    assert alone is not None and draw_ladder(alone).summary == "0 packets. Nothing on h.eth0."
    assert ladder_of((), [Place("h", "any")], nothing=nothing) is None and ladder_of((), [Place("h", "eth0")]) is None


def test_times_of_one_packet_have_one_base() -> None:
    (journey,) = journeys_of([seen("h.veth0", 1, REQUEST), seen("h.eth0", 2_500, REQUEST, "out")])
    ladder = ladder_of([journey], ())
    assert ladder is not None
    assert [stop.time for stop in draw_ladder(ladder).rungs[0].stops] == ["1.000", "3.499"]
