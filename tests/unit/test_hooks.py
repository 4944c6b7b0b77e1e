"""Ways put together from recorded events, and the sentences about what differs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.judge.hooks import Identity, difference, identity, matches, packet_paths
from labrun.protocol.codec import dumps, loads
from labrun.protocol.traces import TraceEvent
from support.traced import FORWARDED, PING, both, forwarded, lab, looped, own


def test_a_forwarded_packet() -> None:
    (path,) = packet_paths(forwarded(7))
    assert path.path == FORWARDED and path.outcome == "accept" and path.end == "accepted at postrouting"
    assert path.lines == (1, 2, 3, 4, 5, 6)
    assert str(path.first) == "icmp type 8 from 10.0.1.2 to 10.0.1.77"
    for expected in (
        FORWARDED,
        ("prerouting", "forward", "postrouting"),
        ("prerouting", "forward@eth1", "postrouting"),
    ):
        assert matches(path, expected)
    assert difference(path, ("prerouting@eth1",)) == "station 1 is prerouting@eth0, expected prerouting@eth1"
    assert difference(path, ("prerouting", "input")) == "station 2 is forward@eth0>eth1, expected input"
    assert difference(path, ("prerouting", "forward@eth1>eth0", "postrouting")) is not None
    assert difference(path, FORWARDED[:2]) == "went on to postrouting@eth1, expected the end before it"
    assert difference(path, (*FORWARDED, "drop")) == "accepted at postrouting; expected a drop there"
    assert difference(path, (*FORWARDED[:2], "drop")) == "went on to postrouting@eth1, expected a drop before it"
    assert difference(path, (*FORWARDED, "egress")) == "accepted at postrouting; expected egress next"


def test_a_drop_says_where_and_by_what() -> None:
    (path,) = packet_paths([*both(7, "prerouting", 2), own(7, "input_enter", 2), lab(7, "input", "drop", 4, "no")])
    assert path.path == ("prerouting@eth0", "input@eth0") and path.outcome == "drop"
    assert path.end == 'dropped at input by inet filter input handle 4 ("no")'
    assert matches(path, ("prerouting", "input@eth0", "drop"))
    assert difference(path, ("prerouting", "input")) == f"{path.end}; expected it to go through"
    assert difference(path, ("prerouting", "input", "output@eth0")) == f"{path.end}; expected output@eth0 next"
    (path,) = packet_paths([own(7, "prerouting_enter", 2), lab(7, "prerouting", "drop", None)])
    assert path.end == "dropped at prerouting by inet filter prerouting the policy"


def test_a_packet_that_is_not_seen_again_is_lost() -> None:
    (path,) = packet_paths(both(7, "prerouting", 2))
    assert (path.outcome, path.end) == ("lost", "not seen again after prerouting")
    assert matches(path, ("prerouting",)) and not matches(path, ("prerouting", "drop"))
    (path,) = packet_paths([own(7, "prerouting_enter", 2)])
    assert (path.outcome, path.end) == ("lost", "not seen to leave prerouting")
    assert difference(path, ("prerouting",)) == "not seen to leave prerouting; expected it to go through"


def test_a_trace_id_that_recurs_is_another_packet() -> None:
    lost = both(7, "prerouting", 2)
    assert [path.path for path in packet_paths([*forwarded(7), *lost, *forwarded(7)])] == [
        FORWARDED, FORWARDED[:1], FORWARDED,
    ]  # fmt: skip


def test_through_lo_is_one_way_and_other_packets_are_not_joined() -> None:
    (path,) = packet_paths(looped(7, 8))
    assert path.path == ("output@lo", "postrouting@lo", "prerouting@lo", "input@lo")
    out, back = looped(7, 8)[:4], both(8, "prerouting", 2)
    assert len(packet_paths([*out, *back])) == 2
    other = [own(8, "prerouting_enter", 1, network=PING.replace("39bc", "39bd"))]
    assert len(packet_paths([*out, *other])) == 2
    assert [path.path for path in packet_paths([*looped(7, 8), *looped(7, 8)])] == [path.path] * 2


def test_only_wanted_packets() -> None:
    assert packet_paths(forwarded(7), lambda packet: packet.protocol == "tcp") == ()
    assert len(packet_paths(forwarded(7), lambda packet: packet.icmp_type == 8)) == 1


@given(st.lists(st.sampled_from(["forwarded", "looped", "dropped"]), max_size=5), st.data())
def test_packets_that_interleave_are_told_apart(kinds: list[str], data: st.DataObject) -> None:
    streams: list[list[TraceEvent]] = []
    for number, kind in enumerate(kinds):
        id = number * 2
        dropped = [own(id, "input_enter", 2), lab(id, "input", "drop")]
        network = PING.replace("39bc", f"{number:04x}")
        stream = {"forwarded": forwarded(id), "looped": looped(id, id + 1), "dropped": dropped}[kind]
        streams.append([TraceEvent(**{**_fields(event), "network": event.network and network}) for event in stream])
    alone = sorted(packet_paths(stream)[0].path for stream in streams)
    mixed = []
    while any(streams):
        mixed.append(data.draw(st.sampled_from([stream for stream in streams if stream])).pop(0))
    paths = packet_paths(mixed)
    assert sorted(path.path for path in paths) == alone
    assert sorted(line for path in paths for line in path.lines) == list(range(1, len(mixed) + 1))
    assert all(matches(path, (*path.path, "drop") if path.outcome == "drop" else path.path) for path in paths)


def _fields(event: TraceEvent) -> dict[str, object]:
    return {name: getattr(event, name) for name in TraceEvent.__slots__}


def test_identities() -> None:
    event = own(1, "input_enter", 2)
    assert identity(event).ttl == 64
    udp = bytes.fromhex(PING[:18] + "11" + PING[20:])
    ports = struct.pack(">HHHH", 4000, 53, 8, 0)
    found = identity(TraceEvent(**{**_fields(event), "network": udp.hex(), "transport": ports.hex()}))
    assert str(found) == "udp from 10.0.1.2 port 4000 to 10.0.1.77 port 53"
    later = udp[:6] + b"\x00\x10" + udp[8:]
    assert identity(TraceEvent(**{**_fields(event), "network": later.hex(), "transport": ports.hex()})).sport is None
    six = bytes([0x60, 0, 0, 0, 0, 8, 58, 255]) + bytes(15) + b"\x01" + bytes(15) + b"\x02"
    found = identity(TraceEvent(**{**_fields(event), "protocol": "ip6", "network": six.hex(), "transport": "8000"}))
    assert found == Identity("::1", "::2", "icmpv6", ttl=255)
    assert identity(TraceEvent(**{**_fields(event), "network": None})) == Identity(protocol="ip")
    assert str(Identity()) == "a packet without an IP header"


@pytest.mark.parametrize("text", ["", "eth0", "prerouting@", "PREROUTING", "forward@a>b>c", "drop", "input @lo"])
def test_what_is_not_a_station_is_refused(text: str) -> None:
    (path,) = packet_paths(forwarded(1))
    with pytest.raises(ValueError, match="not a station"):
        matches(path, (text, "postrouting"))


def test_an_event_is_a_line_and_back() -> None:
    for event in [*looped(1, 2), lab(3, "input", "drop", None)]:
        assert loads(TraceEvent, dumps(event)) == event
