"""One packet on several interfaces is one journey, two packets that look alike are two."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.protocol.traces import TraceEvent
from labrun.report.fields import compared, fields_of
from labrun.report.ladder import Journey, Place, Sighting, journeys_of, ladder_of
from labrun.report.marks import Traced, marked
from labrun.report.rungs import draw_ladder
from labrun.report.sameness import identity

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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (framed(ip(A, B, echo())), framed(ip(A, B, echo(), ttl=63), mac=9)),
        (framed(ip(A, B, echo())), ip(A, B, echo())),
        (framed(ip(A, B, echo())), framed(ip(A, B, echo()), tag=b"\x81\x00\x00\x05")),
        (framed(ip(A, B, tcp(1, 2), 6)), framed(ip(A, B, tcp(1, 2, checksum=0xBEEF), 6))),
        (framed(ip(A, B, echo())), framed(ip(A, B, echo())) + bytes(6)),  # padding to Ethernet's least length
    ],
)
def test_the_same_packet(one: bytes, other: bytes) -> None:
    assert identity(one, ETHERNET).exact == identity(other, ETHERNET if other[0] == 2 else RAW).exact


@pytest.mark.parametrize(
    "other",
    [
        ip(A, B, echo(), ident=8),
        ip(A, B, echo(0)),
        ip(B, A, echo()),
        ip(A, B, echo(seq=2)),
        ip(A, B, echo(), protocol=17),
    ],
)
def test_another_packet(other: bytes) -> None:
    assert identity(framed(ip(A, B, echo())), ETHERNET).exact != identity(framed(other), ETHERNET).exact


def test_a_translated_packet() -> None:
    before, after = (identity(ip(source, B, tcp(port, 80), 6), RAW) for source, port in ((A, 4000), ("203.0.113.9", 9)))
    assert before.exact != after.exact and before.translated == after.translated
    assert identity(ip(A, B, bytes.fromhex("0001000200080000"), 17, ident=0), RAW).translated is None


@given(st.binary(max_size=80), st.sampled_from([0, 1, 101, 276]))
def test_any_bytes_have_an_identity_and_fields(data: bytes, linktype: int) -> None:
    assert identity(data, linktype) == identity(data, linktype)
    fields = fields_of(data, linktype)
    assert all(0 <= each.start < each.end <= len(data) for each in fields)
    assert (max((each.end for each in fields), default=0)) == len(data)


def seen(name: str, time_us: int, data: bytes, direction: str = "in", capture: str = "c", number: int = 1) -> Sighting:
    node, _, interface = name.partition(".")
    return Sighting(Place(node, interface), direction, time_us * 1000, "1.000 ms", "during probe", capture, number,  # type: ignore[arg-type]
                    f"{capture}-{name}-{time_us}", identity(data, ETHERNET), "ICMP", (A, B), "echo", False)  # fmt: skip


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
    assert ways(journeys_of(late)) == ["veth0", "eth0"]


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
    now, before = (fields_of(framed(ip(A, B, echo(), ttl=ttl), mac=ttl), ETHERNET) for ttl in (63, 64))
    named = {each.name: each for each in compared(now, before)}
    assert (named["ip.ttl"].start, named["ip.ttl"].end, named["ip.ttl"].value) == (22, 23, "63")
    assert named["ip.ttl"].before == "64" and named["ip.src"].before is None
    assert named["ip.src"].value == A and named["icmp.seq"].start == 40
    assert named["eth.type"].value == "0x0800 (IPv4)" and named["data"].value == "24 bytes"


def test_marks_tell_of_hooks_drops_and_errors() -> None:
    request = ip(A, B, echo(), ttl=1)
    error = struct.pack(">BBHI", 11, 0, 0, 0) + request[:28]
    journeys = journeys_of(
        [seen("r.eth0", 1, framed(request)), seen("r.eth0", 9, framed(ip("10.0.0.9", A, error)), "out")]
    )
    trace = (
        TraceEvent(1, 7, "prerouting", "inet", "t", "c", "rule", "continue", network=request[:20].hex()),
        TraceEvent(2, 7, "forward", "inet", "f", "forward", "policy", "drop"),
        TraceEvent(3, 8, "input", "inet", "f", "input", "policy", "drop", network=ip(B, A, echo())[:20].hex()),
    )
    first, second = marked(journeys, [Traced("r", trace)])
    assert [(mark.kind, mark.text) for mark in first.marks] == [
        ("hook", "r: prerouting → forward"),
        ("drop", "dropped in r: forward, policy of inet f forward"),
        ("answer", "answered by B: echo"),
    ]
    assert second.marks == ()
    ladder = ladder_of((first, second), ())
    assert ladder is not None and draw_ladder(ladder).rungs[0].marks[1][2].startswith("✕ dropped in r")
