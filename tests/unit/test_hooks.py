"""Ways put together from recorded events, and the sentences about what differs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.observe.hooks import Identity, Station, difference, identity, matches, packet_paths
from labrun.protocol.codec import dumps, loads
from labrun.protocol.traces import TraceEvent, Verdict
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


@pytest.mark.parametrize(
    ("expected", "truth"),
    [
        (("prerouting@eth0", "input", "drop"), None),  # iptables-legacy drops and does not report
        (("prerouting", "input@eth0"), None),  # or a rule ended its tracing
        (("prerouting", "input", "output"), None),
        (("prerouting",), False),
        (("prerouting", "drop"), False),
        (("prerouting", "forward", "drop"), False),
        (("prerouting@eth1", "input"), False),
    ],
)
def test_of_what_entered_a_hook_and_was_not_seen_again_the_seen_part_alone_is_sure(
    expected: tuple[str, ...], truth: bool | None
) -> None:
    for more in ([], [lab(7, "input", "accept")], [lab(7, "input", "queue")]):
        (path,) = packet_paths([*both(7, "prerouting", 2), own(7, "input_enter", 2), *more])
        assert path.doubt is not None and "a drop by something that does not report is possible" in path.doubt
        assert matches(path, expected) is truth


def test_a_copy_that_a_bridge_forwards_is_the_packet() -> None:
    """Recorded with a promiscuous capture on br0: the kernel forwards a clone, with a trace id of its own."""
    dropped = [own(2, "forward_enter", 2, 2), lab(2, "forward", "drop", None)]
    (path,) = packet_paths([*both(1, "prerouting", 2), *dropped])
    assert (path.path, path.outcome, path.doubt) == (("prerouting@eth0", "forward@eth0>eth0"), "drop", None)
    assert path.lines == (1, 2, 3, 4)
    flooded = [*both(2, "forward", 2, 2), *both(3, "forward", 2, 2)]
    assert [one.path[1:] for one in packet_paths([*both(1, "prerouting", 2), *flooded])] == [("forward@eth0>eth0",)] * 2
    local = both(1, "input", 2)  # a broadcast: this machine gets one, too
    paths = packet_paths([*both(1, "prerouting", 2), *flooded, *local])
    assert sorted(one.stations[1].hook for one in paths) == ["forward", "forward", "input"]
    assert all(one.stations[0].hook == "prerouting" and one.doubt is None for one in paths)


@pytest.mark.parametrize("change", [{"network": PING.replace("39bc", "39bd")}, {"link": "00"}, {"iif": 3}])
def test_what_is_not_byte_for_byte_as_it_was_is_no_copy(change: dict[str, object]) -> None:
    before = [changed(event, link="0102") for event in both(1, "prerouting", 2)]
    forward = [changed(event, **{"link": "0102", **change}) for event in both(2, "forward", 2, 2)]
    paths = packet_paths([*before, *forward])
    assert len(paths) == 2 and paths[1].doubt == "how it got there was not seen"
    assert matches(paths[1], ("prerouting", "forward")) is None
    assert paths[0].doubt is None


def test_a_copy_of_one_of_two_equal_packets_may_be_of_either() -> None:
    """Neither is said to have stopped or to have gone on."""
    paths = packet_paths([*both(1, "prerouting", 2), *both(2, "prerouting", 2), *both(3, "forward", 2, 2)])
    assert len(paths) == 3 and all(path.doubt is not None and "looks the same" in path.doubt for path in paths)
    assert {matches(path, ("prerouting", "forward")) for path in paths} == {None}


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


def test_what_leaves_through_egress_and_comes_in_at_ingress_is_one_packet() -> None:
    there = [*both(1, "postrouting", None, 1), *both(1, "egress", None, 1)]
    (path,) = packet_paths([*there, *both(2, "ingress", 1), *both(2, "prerouting", 1), *both(2, "input", 1)])
    assert path.path == ("postrouting@lo", "egress@lo", "ingress@lo", "prerouting@lo", "input@lo")
    assert path.outcome == "accept" and path.lines == tuple(range(1, 11))
    (path,) = packet_paths(both(1, "egress", None, 3))
    assert (path.path, path.outcome) == (("egress@eth1",), "accept")


@pytest.mark.parametrize(
    "between",
    [
        [lab(1, "postrouting", "drop")],  # the first half ended there
        [own(1, "prerouting_enter", 2)],  # the same id, another packet
    ],
)
def test_what_came_to_its_end_does_not_come_in_again(between: list[TraceEvent]) -> None:
    there, back = looped(1, 2)[:4], looped(1, 2)[4:]
    assert len(packet_paths([*there[:-1], *between, *back])) >= 2


def test_a_packet_without_headers_or_device_is_not_joined_to_another() -> None:
    out = looped(1, 2)[:4]
    for change in ({"network": None, "transport": None}, {"iif": None, "iif_name": None}):
        bare = [TraceEvent(**{**_fields(event), "oif": None, **change}) for event in out]
        back = [TraceEvent(**{**_fields(event), **change}) for event in looped(1, 2)[4:]]
        assert len(packet_paths([*out, *back])) == 2
        assert len(packet_paths([*bare, *back])) == 2


def test_an_event_that_enters_nothing_is_not_joined_and_a_way_may_have_no_station_yet() -> None:
    (path, other) = packet_paths([*looped(1, 2)[:4], own(2, "prerouting_leave", 1)])
    assert (path.path, other.path) == (("output@lo", "postrouting@lo"), ("prerouting@lo",))
    early = TraceEvent(**{**_fields(lab(1, "input", "continue")), "hook": None, "network": PING, "oif": 1})
    (nowhere, other) = packet_paths([early, *both(2, "prerouting", 1)])
    assert (nowhere.path, nowhere.end, nowhere.outcome) == ((), "not seen to leave an unknown hook", "lost")
    assert other.path == ("prerouting@lo",)


@pytest.mark.parametrize(("verdict", "word"), [("drop", "dropped"), ("stolen", "stolen")])
def test_what_is_dropped_behind_our_last_look_has_not_gone_through(verdict: Verdict, word: str) -> None:
    (path,) = packet_paths([*both(7, "prerouting", 2), lab(7, "prerouting", verdict)])
    assert (path.outcome, path.end) == (verdict, f"{word} at prerouting by inet filter prerouting handle 4")
    assert difference(path, ("prerouting@eth0",)) == f"{path.end}; expected it to go through"
    assert matches(path, ("prerouting", "drop")) is (verdict == "drop")


def test_only_wanted_packets() -> None:
    assert packet_paths(forwarded(7), lambda packet: packet.protocol == "tcp") == ()
    assert len(packet_paths(forwarded(7), lambda packet: packet.icmp_type == 8)) == 1


@given(st.lists(st.sampled_from(["forwarded", "looped", "dropped"]), max_size=5), st.data())
def test_packets_that_interleave_are_told_apart(kinds: list[str], data: st.DataObject) -> None:
    streams: list[list[TraceEvent]] = []
    for number, kind in enumerate(kinds):
        id = number * 2
        dropped = [*both(id, "prerouting", 2), own(id, "input_enter", 2), lab(id, "input", "drop")]
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


def changed(event: TraceEvent, **changes: object) -> TraceEvent:
    return TraceEvent(**{**_fields(event), **changes})


@pytest.mark.parametrize(
    ("network", "transport", "told"),
    [
        (PING, "08000000", "icmp type 8 from 10.0.1.2 to 10.0.1.77"),
        (PING, "080000", "icmp from 10.0.1.2 to 10.0.1.77"),
        (PING, None, "icmp from 10.0.1.2 to 10.0.1.77"),
        (PING + "94040000", "0b010000", "icmp type 11 from 10.0.1.2 to 10.0.1.77"),
        (PING[:18] + "06" + PING[20:], "c3501f90", "tcp from 10.0.1.2 port 50000 to 10.0.1.77 port 8080"),
        (PING[:18] + "84" + PING[20:], "c3501f90", "sctp from 10.0.1.2 port 50000 to 10.0.1.77 port 8080"),
        (PING[:18] + "88" + PING[20:], "c3501f90", "udplite from 10.0.1.2 port 50000 to 10.0.1.77 port 8080"),
        (PING[:18] + "63" + PING[20:], "c3501f90", "99 from 10.0.1.2 to 10.0.1.77"),
        (PING[:12] + "0100" + PING[16:], "08000000", "icmp from 10.0.1.2 to 10.0.1.77"),  # a later fragment
        (PING[:12] + "2000" + PING[16:], "08000000", "icmp type 8 from 10.0.1.2 to 10.0.1.77"),  # the first
        (PING[:38], "08000000", "a packet without an IP header"),
    ],
)
def test_what_headers_say(network: str, transport: str | None, told: str) -> None:
    assert str(identity(changed(own(1, "input_enter", 2), network=network, transport=transport))) == told


def test_what_headers_of_ipv6_say() -> None:
    event = own(1, "input_enter", 2)
    six = "60000000000811ff" + "00" * 15 + "01" + "00" * 15 + "02"
    found = identity(changed(event, protocol="ip6", network=six + "ff", transport="c3501f90"))
    assert found == Identity("::1", "::2", "udp", 50000, 8080, ttl=255)
    assert identity(changed(event, protocol="ip6", network=six[:78])) == Identity(protocol="ip6")
    assert identity(changed(event, protocol="arp", network=six)) == Identity(protocol="arp")
    assert identity(changed(event, protocol="ip6", network=six, transport="8001" + "00" * 6)).icmp_type is None
    icmp = identity(changed(event, protocol="ip6", network=six.replace("11ff", "3aff"), transport="8001" + "00" * 6))
    assert (icmp.protocol, icmp.icmp_type, icmp.icmp_code) == ("icmpv6", 128, 1)


def test_devices_that_come_with_a_later_event_belong_to_the_station() -> None:
    """Routing may change the device at output."""
    (path,) = packet_paths(
        [own(1, "output_enter", None, 2), lab(1, "output", "accept"), own(1, "output_leave", None, 3)]
    )
    assert path.path == ("output@eth1",)
    (path,) = packet_paths([own(1, "forward_enter", 2), lab(1, "forward", "accept"), own(1, "forward_leave", None, 3)])
    assert path.path == ("forward@eth0>eth1",) and path.stations[0].left is True
    (path,) = packet_paths([own(1, "forward_enter", 2, 3), lab(1, "forward", "accept")])
    assert path.path == ("forward@eth0>eth1",) and path.stations[0].left is False
    (path,) = packet_paths([own(1, "forward_enter", 2), own(1, "forward_enter", 2, 3)])  # two tables of ours
    assert path.path == ("forward@eth0>eth1",)
    assert [str(one) for one in (Station("ingress", "a", "b", True), Station("egress", "a", "b", True))] == [
        "ingress@a", "egress@b",
    ]  # fmt: skip
    assert str(Station("forward", "a", None, True)) == "forward"


def test_a_packet_that_passes_ingress_goes_on_to_prerouting_under_its_id() -> None:
    (path,) = packet_paths([*both(1, "ingress", 2), *both(1, "prerouting", 2), *both(1, "input", 2)])
    assert path.path == ("ingress@eth0", "prerouting@eth0", "input@eth0")
    assert len(packet_paths([*both(1, "ingress", 2), *both(1, "ingress", 2)])) == 2
    assert len(packet_paths([*both(1, "prerouting", 2), *both(1, "prerouting", 2)])) == 2
    assert len(packet_paths([*both(1, "input", 2), *both(1, "prerouting", 2)])) == 2


def test_after_its_end_the_same_id_is_another_packet() -> None:
    first, second = packet_paths([*both(1, "prerouting", 2), lab(1, "input", "drop"), lab(1, "input", "continue")])
    assert (first.outcome, second.outcome, second.lines) == ("drop", "lost", (4,))


def test_a_packet_that_a_rule_of_the_lab_traced_before_ours_is_one_packet() -> None:
    early = changed(lab(1, "ingress", "continue"), hook=None, network=PING, protocol="ip")
    (path,) = packet_paths([early, *both(1, "prerouting", 2), *both(1, "input", 2)])
    assert path.path == ("prerouting@eth0", "input@eth0")
    assert (path.lines, path.outcome) == ((1, 2, 3, 4, 5), "accept")


def test_a_packet_is_told_as_it_began_and_as_it_was_last_seen() -> None:
    """NAT between the two; and events without headers, or with none at all."""
    natted = PING.replace("0a00014d", "0a000963")
    (path,) = packet_paths([*both(1, "prerouting", 2), *[changed(e, network=natted) for e in both(1, "input", 2)]])
    assert (path.first.destination, path.last.destination) == ("10.0.1.77", "10.0.9.99")
    bare = [changed(event, network=None, transport=None, protocol=None) for event in both(1, "input", 2)]
    (path,) = packet_paths([bare[0], *both(1, "input", 2), bare[1]])
    assert path.first.source == path.last.source == "10.0.1.2"
    (path,) = packet_paths(bare)
    assert path.first == path.last == Identity()


def test_an_event_is_a_line_and_back() -> None:
    for event in [*looped(1, 2), lab(3, "input", "drop", None)]:
        assert loads(TraceEvent, dumps(event)) == event


ETHERNET = "0297b74eb12b029bebbf4ab9"
SIX = "60000000000811ff" + "00" * 15 + "01" + "00" * 15 + "02"
UDP = "c3501f9000080000"
PARSED = {
    "source": "10.0.1.2",
    "destination": "10.0.1.77",
    "protocol": "icmp",
    "icmp_type": 8,
    "icmp_code": 0,
    "ttl": 64,
}
PARSED_SIX = {"source": "::1", "destination": "::2", "protocol": "udp", "sport": 50000, "dport": 8080, "ttl": 255}


@pytest.mark.parametrize("family", ["netdev", "bridge"])
@pytest.mark.parametrize("link", [ETHERNET + "{}", ETHERNET + "81000064{}", None])  # None: on the way out, or a tun
@pytest.mark.parametrize(
    ("kind", "network", "transport", "told"),
    [("0800", PING, "08000000", PARSED), ("86dd", SIX, UDP, PARSED_SIX), ("0806", "0001080006040001", None, None)],
)
def test_events_that_do_not_name_the_protocol_tell_as_much_as_others(
    family: str, link: str | None, kind: str, network: str, transport: str | None, told: dict[str, object] | None
) -> None:
    """`netdev` and `bridge` tables judge frames: what a frame carries stands in its link header."""
    headers = {"network": network, "transport": transport, "link": link and link.format(kind)}
    found = identity(changed(own(1, "ingress_enter", 2), protocol=family, **headers))
    if told is not None:
        assert found == Identity(**told) and not found.hidden()  # type: ignore[arg-type]
    elif link is not None:
        assert found == Identity(protocol="arp") and not found.hidden()
    else:
        assert found.hidden() == frozenset(Identity.__slots__)


BELOW = ("protocol", "sport", "dport", "icmp_type", "icmp_code")


@pytest.mark.parametrize(
    ("known", "hidden"),
    [
        (Identity(protocol="ip6"), {*BELOW, "source", "destination", "ttl"}),
        (Identity(protocol="ip"), {*BELOW, "source", "destination", "ttl"}),
        (Identity(protocol="arp"), set()),  # it has no such headers
        (Identity(protocol="88cc"), set()),
        *((Identity(protocol=name), set(Identity.__slots__)) for name in ("netdev", "bridge", "8100", "8847", None)),
        (Identity("10.0.0.1", "10.0.0.2", "ip"), set()),
        (Identity("fd00::1", "fd00::2", "icmpv6"), set()),
        (Identity("10.0.0.1", "10.0.0.2", "tcp", 80, 90), set()),
        *((Identity("fd00::1", "fd00::2", number), set(BELOW)) for number in ("0", "43", "44", "51", "60", "135")),
    ],
)
def test_what_the_kernel_did_not_tell_is_hidden_and_not_absent(known: Identity, hidden: set[str]) -> None:
    assert known.hidden() == hidden
