"""Packets of a capture, judged on recorded pcapng files: counts that are sure, and every way in which they are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from labrun.evidence import layout
from labrun.evidence.record import read_variant
from labrun.evidence.ref import Ref
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.logic.compare import Count
from labrun.observe.packets import Packets, observe_packets
from labrun.observe.unknown import Unknown
from labrun.packets import libpcap
from labrun.packets.libpcap import compile_filter
from labrun.protocol.events import CaptureResult, Program
from support.evidence_builder import Evidence, Seen, capture_file, ethernet, icmp, ipv4, prediction, udp

PREFIX = "labs/lab/experiment/"
FILE = PREFIX + "captures/seen.pcapng"


@pytest.fixture
def evidence(tmp_path):
    """A capture that runs from 20 ms on; steps before at 30 to 40, probe at 100 to 200, after at 300 to 310."""
    return Evidence(tmp_path / "experiment", filters=("icmp", "udp port 53"))


def capture(evidence, *seen, interfaces=("lo", "eth0"), end=True, **ended):
    evidence.capture("seen", *interfaces, at=(10, 20)).run("before", at=(30, 40))
    evidence.run("probe", at=(100, 200)).run("after", at=(300, 310))
    evidence.captured("seen", ("lo", "eth0"), *seen)
    if end:
        evidence.capture_ended("seen", ended.pop("packets", len(seen)), **ended)
    return evidence.done()


def selector(on="host.lo", **rest):
    return {"packets": {"on": on, **rest}, "count": 0}


def observe(evidence, predicted=None):
    return observe_packets(evidence.read(), prediction(predicted or selector()).packets, PREFIX)


def sure(evidence, predicted, count):
    found = observe(evidence, predicted)
    assert isinstance(found, Packets), found
    assert (found.count, found.doubt) == (Count(count, count), None)
    return found


def unsure(evidence, predicted, low, high, reason):
    found = observe(evidence, predicted)
    assert isinstance(found, Packets), found
    assert found.count == Count(low, high)
    assert found.doubt is not None and found.doubt.code == reason
    return found.doubt.message


def unknown(evidence, predicted, reason):
    found = observe(evidence, predicted)
    assert isinstance(found, Unknown), found
    assert found.code == reason
    return found.message


# --- counts that are sure ---


def test_packets_are_counted_and_named(evidence):
    seen = (Seen(50, udp(9)), Seen(110, icmp()), Seen(120, icmp(), on="eth0"), Seen(150, icmp()))
    found = sure(capture(evidence, *seen), selector(match="icmp"), 2)
    assert found.ref == Ref(FILE, packets=(2, 4))


def test_ten_packets_are_named_at_most(evidence):
    found = sure(capture(evidence, *(Seen(100 + n, icmp()) for n in range(12))), selector(), 12)
    assert found.ref.packets == tuple(range(1, 11))


@pytest.mark.parametrize(
    ("on", "count"), [("host.lo", 1), ("host.eth0", 2), ("host.any", 3)],
)  # fmt: skip
def test_on_an_interface_or_on_any(evidence, on, count):
    capture(evidence, Seen(1, icmp(), "eth0"), Seen(2, icmp(), "lo"), Seen(3, icmp(), "eth0"))
    sure(evidence, selector(on), count)


def test_an_interface_in_a_capture_on_any(evidence):
    sure(capture(evidence, Seen(1, icmp(), "eth0"), Seen(2, icmp(), "lo"), interfaces=("any",)), selector("host.lo"), 1)


@pytest.mark.parametrize(("direction", "count"), [("in", 2), ("out", 1), (None, 4)])
def test_direction(evidence, direction, count):
    ways = ("in", "out", "in", None)
    capture(evidence, *(Seen(n, icmp(), direction=way) for n, way in enumerate(ways)))
    sure(evidence, selector(direction=direction) if direction else selector(), count)


@pytest.mark.parametrize(
    ("match", "count"), [("icmp", 1), ("udp port 53", 2), (None, 4)],
)  # fmt: skip
def test_match(evidence, match, count):
    capture(evidence, Seen(1, icmp()), Seen(2, udp(53)), Seen(3, udp(54)), Seen(4, udp(53)))
    sure(evidence, selector(match=match) if match else selector(), count)


@pytest.mark.parametrize(("at", "count"), [(99.999999, 0), (100, 1), (200, 1), (200.000001, 0)])
def test_a_window_has_its_borders_in_it(evidence, at, count):
    sure(capture(evidence, Seen(at, icmp())), selector(during="probe"), count)


@pytest.mark.parametrize(("at", "count"), [(29, 0), (30, 1), (70, 1), (200, 1), (201, 0)])
def test_a_window_goes_from_one_step_to_another(evidence, at, count):
    sure(capture(evidence, Seen(at, icmp())), selector(during={"from": "before", "to": "probe"}), count)


def test_without_a_window_it_is_the_whole_capture(evidence):
    sure(capture(evidence, Seen(5, icmp()), Seen(2000, icmp())), selector(), 2)


def test_several_captures_are_told_apart_by_node_interface_and_step(evidence):
    for name, node, interface in (
        ("a", "other", "lo"),
        ("b", "host", "eth0"),
        ("c", "host", "lo"),
        ("d", "host", "lo"),
    ):
        evidence.capture(name, interface, node=node)
        evidence.captured(name, (interface,), *[Seen(1, icmp(), interface)] * "abcd".index(name))
        evidence.capture_ended(name, "abcd".index(name))
    variant = evidence.done().read()
    for on, step, count in (
        ("other.lo", None, 0), ("host.eth0", None, 1), ("host.lo", None, 2), ("host.lo", "d", 3), ("other.any", None, 0),
    ):  # fmt: skip
        chosen = selector(on, capture=step) if step else selector(on)
        found = observe_packets(variant, prediction(chosen).packets, PREFIX)
        assert isinstance(found, Packets)
        assert found.count == Count(count, count)


# --- a capture that is not there ---


@pytest.mark.parametrize("on", ["other.lo", "host.br0"])
def test_nothing_captures_there(evidence, on):
    assert unknown(capture(evidence), selector(on), "evidence-missing") == f"a capture on {on} is not in the evidence"


def test_the_capture_step_that_is_named_is_not_there(evidence):
    unknown(capture(evidence), selector(capture="other"), "evidence-missing")


def test_a_step_before_the_capture_does_not_stand_for_it(evidence):
    evidence.run("first", node="host")
    sure(capture(evidence, Seen(1, icmp())), selector(), 1)


def test_the_capture_could_not_start(evidence):
    evidence.capture("seen", "lo", status="failed", message="no interface 'lo' to capture on", result=None).done()
    message = unknown(evidence, selector(), "step-failed")
    assert message == ("the capture 'seen' was not observed: step 'seen' failed: no interface 'lo' to capture on")


def test_the_capture_step_did_not_end(evidence):
    unknown(evidence.capture("seen", "lo", ended=False), selector(), "evidence-incomplete")


def test_the_capture_did_not_run_because_another_step_failed(evidence):
    evidence.run("x", status="timeout", message="10 s").capture("seen", "lo", started=False).done()
    assert "step 'x': 10 s" in unknown(evidence, selector(), "timeout")


def test_the_file_never_arrived(evidence):
    evidence.capture("seen", "lo").capture_ended("seen", 0)
    message = unknown(evidence.done(), selector(), "evidence-missing")
    assert message == "the capture file captures/seen.pcapng is not in the evidence"


def test_the_file_never_arrived_because_the_sandbox_died(evidence):
    unknown(evidence.capture("seen", "lo").fault("sandbox-died"), selector(), "sandbox-died")


@pytest.mark.parametrize("data", [b"this is no capture", b"\n\r\r\n" + b"\xff" * 40], ids=["text", "absurd"])
def test_the_file_is_no_capture(evidence, data):
    evidence.capture("seen", "lo").piece("captures/seen.pcapng", data).capture_ended("seen", 0).done()
    message = unknown(evidence, selector(), "capture-unreadable")
    assert message.startswith("captures/seen.pcapng: ")


@pytest.mark.parametrize("on", ["host.lo", "host.any", "host.eth0"])
@pytest.mark.parametrize(
    ("told", "filed", "said"),
    [
        (("lo",), ("eth0",), "the capture 'seen' was on lo, and the file is of eth0"),
        (("lo", "eth0"), ("lo",), "the capture 'seen' was on lo, eth0, and the file is of lo"),
        (("lo",), ("lo", "eth0"), "the capture 'seen' was on lo, and the file is of lo, eth0"),
        (("lo", "eth0"), ("eth0", "lo"), "the capture 'seen' was on lo, eth0, and the file is of eth0, lo"),
        (("lo",), (), "the capture 'seen' was on lo, and the file is of none"),
        ((), ("lo",), "the capture 'seen' was on none, and the file is of lo"),
        (("lo",), ("lo",), None),
        (("lo", "eth0"), ("lo", "eth0"), None),
    ],
)
def test_a_capture_of_other_interfaces_is_not_this_one(evidence, on, told, filed, said):
    evidence.capture("seen", "any").captured("seen", filed).capture_ended("seen", 0, interfaces=told).done()
    found = observe(evidence, selector(on))
    damaged = isinstance(found, Unknown) and found.code == "evidence-damaged"
    assert damaged is (said is not None and on.partition(".")[2] in (*told, "any"))
    assert not damaged or found.message == f"captures/seen.pcapng: {said}"


@pytest.mark.parametrize(("first", "reason"), [("lo", "capture-unhealthy"), ("eth0", "evidence-damaged")])
def test_a_file_that_breaks_off_need_not_name_all_interfaces(evidence, first, reason):
    evidence.capture("seen", "any").piece("captures/seen.pcapng", capture_file([first], []) + b"\6\0\0\0")
    evidence.capture_ended("seen", 0, interfaces=("lo", "eth0")).done()
    found = observe(evidence, selector())
    assert (found if isinstance(found, Unknown) else found.doubt).code == reason


def test_the_file_makes_no_sense_after_some_packets(evidence):
    capture(evidence, Seen(1, icmp())).piece("captures/seen.pcapng", b"\x06\0\0\0\x0d\0\0\0" + bytes(12))
    unknown(evidence, selector(), "capture-unreadable")


def test_the_file_cannot_be_read(evidence):
    folder = capture(evidence).write()
    file = folder / "captures/seen.pcapng"
    file.unlink()
    file.mkdir()
    found = observe_packets(read_variant(folder), prediction(selector()).packets, PREFIX)
    assert isinstance(found, Unknown) and found.code == "capture-unreadable"


# --- the window ---


@pytest.mark.parametrize("during", ["gone", {"from": "gone", "to": "probe"}, {"from": "probe", "to": "gone"}])
def test_a_step_of_the_window_is_not_there(evidence, during):
    assert (
        unknown(capture(evidence), selector(during=during), "evidence-missing") == "step 'gone' is not in the evidence"
    )


@pytest.mark.parametrize("during", ["late", {"from": "late", "to": "probe"}, {"from": "probe", "to": "late"}])
@pytest.mark.parametrize("started", [True, False])
def test_a_step_of_the_window_did_not_run_to_its_end(evidence, during, started):
    evidence.run("late", started=started, ended=False)
    assert "step 'late'" in unknown(capture(evidence), selector(during=during), "evidence-missing")


def clock(evidence, shift, took=100):
    evidence.capture("seen", "lo", at=(10, 20)).run("probe", at=(100, 100 + took), wall_shift=shift)
    return evidence.captured("seen", ("lo",)).capture_ended("seen", 0, during=(20, 100_000)).done()


@pytest.mark.parametrize("shift", [-1.100001, 1.100001, 5000, -5000])
def test_the_clock_was_set_in_the_window(evidence, shift):
    assert unknown(clock(evidence, shift), selector(during="probe"), "clock-stepped") == (
        "the clock was set meanwhile: the times of packets are not sure"
    )


@pytest.mark.parametrize("shift", [-1.1, 0, 1.1])  # 1 ms, and 0.1 % of 100 ms
def test_a_clock_that_is_slewed_has_not_been_set(evidence, shift):
    sure(clock(evidence, shift), selector(during="probe"), 0)


def test_a_long_window_may_be_slewed_by_more(evidence):
    sure(clock(evidence, 10, took=10_000), selector(during="probe"), 0)


def test_without_a_window_the_clock_does_not_matter(evidence):
    sure(clock(evidence, 5000), selector(), 0)


# --- counts that are not sure ---


def test_a_capture_that_was_never_finished(evidence):
    capture(evidence, Seen(110, icmp()), end=False)
    assert unsure(evidence, selector(), 1, None, "capture-unhealthy") == "the capture 'seen' was never finished"


def test_a_capture_with_trouble(evidence):
    capture(evidence, Seen(110, icmp()), trouble="interface lo went away")
    assert unsure(evidence, selector(), 1, None, "capture-unhealthy") == "the capture 'seen': interface lo went away"


@pytest.mark.parametrize(
    ("during", "healthy"),
    [
        ((100, 200), True),
        ((99, 201), True),
        ((100.000001, 200), False),  # started late
        ((100, 199.999999), False),  # ended early
        ((150, 160), False),
        ((0, 50), False),
        ((250, 300), False),
    ],
)
def test_a_capture_must_run_all_through_the_window(evidence, during, healthy):
    capture(evidence, Seen(110, icmp()), during=during)
    if healthy:
        sure(evidence, selector(during="probe"), 1)
    else:
        message = unsure(evidence, selector(during="probe"), 1, None, "capture-unhealthy")
        assert message == "the capture 'seen' did not run all the time"


def test_a_window_may_be_a_moment(evidence):
    evidence.capture("seen", "lo", at=(0, 10)).run("probe", at=(20, 20)).captured("seen", ("lo",), Seen(20, icmp()))
    sure(evidence.capture_ended("seen", 1, during=(0, 1000)).done(), selector(during="probe"), 1)


def test_a_window_that_ends_before_it_starts_is_never_covered(evidence):
    during = {"from": "after", "to": "probe"}
    unsure(capture(evidence), selector(during=during), 0, None, "capture-unhealthy")


@pytest.mark.parametrize(("drops", "not_kept", "lost"), [(3, 0, 3), (0, 2, 2), (3, 2, 5)])
def test_what_was_lost_may_have_been_any(evidence, drops, not_kept, lost):
    capture(evidence, Seen(110, icmp()), Seen(111, udp(9)), drops=drops, not_kept=not_kept)
    message = unsure(evidence, selector(match="icmp"), 1, 1 + lost, "packets-dropped")
    assert message == f"the capture 'seen' lost {lost} packets"


def test_a_packet_that_was_cut_may_have_matched(evidence):
    seen = (Seen(1, udp(53, 40)), Seen(2, udp(53, 40), kept=34), Seen(3, udp(53, 40), kept=34), Seen(4, udp(54, 40)))
    message = unsure(capture(evidence, *seen), selector(match="udp port 53"), 1, 3, "packets-cut")
    assert message == "2 packets in 'seen' are cut by its snaplen and may have matched"


def test_a_packet_that_was_cut_and_matches_all_the_same_is_sure(evidence):
    sure(capture(evidence, Seen(1, udp(53, 40), kept=50)), selector(match="udp port 53"), 1)


def test_a_packet_that_was_cut_counts_where_nothing_is_asked_of_it(evidence):
    sure(capture(evidence, Seen(1, udp(53, 40), kept=10)), selector(), 1)


def test_a_cut_packet_elsewhere_is_no_matter(evidence):
    sure(capture(evidence, Seen(1, udp(53, 40), "eth0", kept=34)), selector(match="udp port 53"), 0)


def test_lost_and_cut_add_up(evidence):
    capture(evidence, Seen(1, udp(53), kept=34), drops=4)
    unsure(evidence, selector(match="udp port 53"), 0, 5, "packets-dropped")


def test_a_file_that_breaks_off_gives_what_it_has(evidence):
    capture(evidence, Seen(110, icmp()), packets=2).piece("captures/seen.pcapng", b"\x06\0\0\0\x40\0\0\0" + bytes(20))
    message = unsure(evidence, selector(match="icmp"), 1, None, "capture-unhealthy")
    assert message == "the capture 'seen' breaks off in the middle"


def test_an_empty_file_breaks_off_too(evidence):
    evidence.capture("seen", "lo").piece("captures/seen.pcapng", b"").capture_ended("seen", 0).done()
    unsure(evidence, selector(), 0, None, "capture-unhealthy")


@pytest.mark.parametrize("said", [0, 2])
def test_a_file_must_have_the_packets_that_the_capture_kept(evidence, said):
    """A file that ends between two packets reads well: only the count tells that some are missing."""
    capture(evidence, Seen(110, udp(9)), packets=said)
    message = unsure(evidence, selector(match="icmp"), 0, None, "capture-unhealthy")
    assert message == f"the capture 'seen' kept {said} packets, and its file has 1"


@pytest.mark.parametrize(
    ("count", "truth"), [(0, False), (1, None), ({"ge": 1}, True), ({"ge": 2}, None), ({"lt": 1}, False), ({"gt": 4}, False)],
)  # fmt: skip
def test_of_a_count_that_is_not_sure_only_what_it_excludes_is_false(evidence, count, truth):
    capture(evidence, Seen(110, icmp()), drops=3)
    trace = evaluate(prediction({"packets": {"on": "host.lo"}, "count": count}), evidence.read(), PREFIX)
    assert trace.truth is truth
    assert trace.reason == ("packets-dropped" if truth is None else None)
    assert trace.actual == "1 to 4"
    if truth is None:
        symbol, number = ("==", count) if isinstance(count, int) else (">=", 2)
        assert sentence(trace) == (
            f"packets on host.lo: count {symbol} {number}, actual 1 to 4 ({FILE} packet 1); the capture 'seen' lost 3 packets"
        )


# --- filters and link types ---


def programs(evidence, *found):
    evidence.hello = dataclasses.replace(evidence.hello, programs=tuple(found))
    return evidence


def raw_capture(evidence, *linktypes_and_data):
    """eth0 is of another link type."""
    evidence.capture("seen", "lo", "eth0", at=(10, 20))
    linktype, *seen = linktypes_and_data
    evidence.captured("seen", ("lo", "eth0"), *seen, eth0=linktype)
    return evidence.capture_ended("seen", len(seen)).done()


def test_the_sandboxs_program_is_used_and_not_the_hosts(evidence):
    """What the expression says is no matter where bytecode was recorded: here `icmp` takes everything."""
    programs(evidence, Program("icmp", 1, ((6, 0, 0, 262144),)))
    sure(capture(evidence, Seen(1, udp(9))), selector(match="icmp"), 1)


def test_raw_ip_has_a_program_of_its_own(evidence):
    compiled = [Program("icmp", linktype, compile_filter("icmp", linktype)) for linktype in (1, 101)]
    programs(evidence, *compiled)
    raw = (Seen(1, ipv4(1, bytes(8)), "eth0"), Seen(2, ipv4(17, bytes(8)), "eth0"), Seen(3, icmp(), "lo"))
    sure(raw_capture(evidence, 101, *raw), selector("host.any", match="icmp"), 2)


def test_a_filter_that_makes_no_sense_for_a_link_type_matches_none_of_its_packets(evidence):
    programs(evidence, Program("ether host 0:0:0:0:0:0", 1, compile_filter("ether host 0:0:0:0:0:0", 1)))
    raw_capture(evidence, 101, Seen(1, ipv4(1, bytes(8)), "eth0"), Seen(2, icmp(), "lo"))
    sure(evidence, selector("host.any", match="ether host 0:0:0:0:0:0"), 1)


def test_nor_where_the_host_compiles(evidence):
    raw_capture(evidence, 101, Seen(1, ipv4(1, bytes(8)), "eth0"), Seen(2, icmp(), "lo"))
    sure(evidence, selector("host.any", match="ether host 0:0:0:0:0:0"), 1)


@pytest.mark.parametrize("match", ["icmp", "tcp"], ids=["recorded", "not recorded"])
def test_an_unknown_link_type_cannot_be_judged(evidence, match):
    raw_capture(evidence, 113, Seen(1, bytes(60), "eth0"))
    message = unknown(evidence, selector("host.any", match=match), "unknown-link-type")
    assert message == "no filter can be judged on packets of link type 113"


def test_an_unknown_link_type_is_no_matter_where_it_is_not_meant(evidence):
    raw_capture(evidence, 113, Seen(1, bytes(60), "eth0"), Seen(2, icmp(), "lo"))
    sure(evidence, selector("host.lo", match="icmp"), 1)


def test_packets_of_an_unknown_link_type_are_counted_without_a_filter(evidence):
    sure(raw_capture(evidence, 113, Seen(1, bytes(60), "eth0")), selector("host.eth0"), 1)


def test_a_filter_that_was_not_recorded_is_compiled_here(evidence):
    sure(capture(evidence, Seen(1, udp(7)), Seen(2, udp(8))), selector(match="udp port 8"), 1)


def test_a_filter_that_was_not_recorded_is_compiled_for_each_link_type(evidence):
    raw_capture(
        evidence, 101, Seen(1, ipv4(17, bytes(8)), "eth0"), Seen(2, ipv4(6, bytes(8)), "eth0"), Seen(3, udp(7), "lo")
    )
    sure(evidence, selector("host.any", match="udp"), 2)


@pytest.mark.parametrize(("kept", "count"), [(None, 1), (50, 1)])
def test_a_filter_sees_the_length_on_the_wire(evidence, kept, count):
    """Also of a packet that was cut."""
    sure(capture(evidence, Seen(1, udp(7, 100), kept=kept)), selector(match="greater 100"), count)


def test_a_filter_and_fields_must_both_pass(evidence):
    evidence.capture("seen", "lo", "eth0", at=(10, 20)).captured(
        "seen", ("lo", "eth0"), Seen(1, udp(7)), Seen(2, udp(7), "eth0")
    )
    evidence.capture_ended("seen", 2).done()
    fields = {"frame.interface_name": "eth0"}
    sure(
        evidence,
        {**selector("host.any", match="udp"), "packets": {"on": "host.any", "match": "udp", "fields": fields}},
        1,
    )


def test_a_filter_that_is_none_is_unknown(evidence):
    message = unknown(capture(evidence, Seen(1, icmp())), selector(match="icmp and and"), "bad-filter")
    assert message.startswith("'icmp and and': ")
    other = Evidence(evidence.folder.parent / "raw")
    raw_capture(other, 101, Seen(1, ipv4(1), "eth0"))
    unknown(other, selector("host.any", match="icmp and and"), "bad-filter")


def test_without_libpcap_what_was_not_recorded_is_unknown(evidence, monkeypatch):
    # The one thing that evidence cannot arrange: a host where none of libpcap's names is to be found.
    monkeypatch.setattr(libpcap, "_SONAMES", ("libpcap-that-is-not-there.so",))
    libpcap._libpcap.cache_clear()
    variant = capture(evidence, Seen(1, icmp())).read()
    found = observe_packets(variant, prediction(selector(match="tcp")).packets, PREFIX)
    assert isinstance(found, Unknown)
    assert found == Unknown(
        "missing-tool", "'tcp' was not compiled in the sandbox, and this machine has no libpcap (libpcap0.8)"
    )
    assert isinstance(observe_packets(variant, prediction(selector(match="icmp")).packets, PREFIX), Packets)
    libpcap._libpcap.cache_clear()


def test_without_a_hello_filters_are_compiled_here(tmp_path):
    evidence = capture(Evidence(tmp_path / "experiment"), Seen(1, icmp()))
    folder = evidence.write()
    events = folder / layout.EVENTS
    events.write_bytes(events.read_bytes().split(b"\n", 1)[1])
    variant = read_variant(folder)
    assert variant.hello is None
    found = observe_packets(variant, prediction(selector(match="icmp")).packets, PREFIX)
    assert isinstance(found, Packets) and found.count == Count(1, 1)


def test_a_recorded_program_that_no_kernel_would_run_crashes_the_checker_and_nothing_else(evidence):
    programs(evidence, Program("icmp", 1, ((0xFFFF, 0, 0, 0),)))
    with pytest.raises(ValueError, match="BPF"):
        observe(capture(evidence, Seen(1, icmp())), selector(match="icmp"))


# --- how it is told ---


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"on": "host.lo"}, "packets on host.lo"),
        ({"on": "host.lo", "during": "probe"}, "packets on host.lo during probe"),
        ({"on": "host.lo", "during": {"from": "before", "to": "after"}}, "packets on host.lo from before to after"),
        ({"on": "host.lo", "direction": "out", "during": "probe", "match": "icmp"},
         "packets on host.lo out during probe matching 'icmp'"),
    ],
)  # fmt: skip
def test_the_subject_says_what_was_looked_at(evidence, chosen, words):
    trace = evaluate(prediction({"packets": chosen, "count": 9}), capture(evidence).read(), PREFIX)
    assert str(trace.subject) == f"{words}: count"
    assert sentence(trace) == f"{words}: count == 9, actual 0 ({FILE})"
    assert (trace.path, trace.operator, trace.expected, trace.actual) == ("count.equals", "equals", "9", "0")


@pytest.mark.parametrize(
    ("check", "shown"),
    [
        ({"equals": 1}, "== 1"),
        ({"ge": 1}, ">= 1"),
        ({"le": 1}, "<= 1"),
        ({"gt": 1}, "> 1"),
        ({"lt": 1}, "< 1"),
        ({"one_of": [1, 2]}, "one_of [1, 2]"),
    ],
)
def test_a_message_shows_the_operator_and_both_sides(evidence, check, shown):
    trace = evaluate(prediction({"packets": {"on": "host.lo"}, "count": check}), capture(evidence).read(), PREFIX)
    assert sentence(trace) == f"packets on host.lo: count {shown}, actual 0 ({FILE})"


def test_every_operator_is_traced(evidence):
    predicted = {"packets": {"on": "host.lo"}, "count": {"ge": 1, "lt": 2}}
    trace = evaluate(prediction(predicted), capture(evidence, Seen(1, icmp()), Seen(2, icmp())).read(), PREFIX)
    assert (trace.truth, trace.operator, trace.path, str(trace.subject)) == (False, "all", "", "packets on host.lo")
    assert [(one.path, one.truth) for one in trace.leaves()] == [("count.ge", True), ("count.lt", False)]
    assert sentence(trace.leaves()[1]) == f"packets on host.lo: count < 2, actual 2 ({FILE} packets 1, 2)"


def test_an_observation_that_is_missing_is_told_for_every_operator(evidence):
    predicted = {"packets": {"on": "host.br0"}, "count": {"ge": 1, "lt": 2}}
    trace = evaluate(prediction(predicted), capture(evidence).read(), PREFIX)
    assert (trace.truth, trace.reason) == (None, "evidence-missing")
    assert [(one.path, one.operator, one.expected, one.actual, one.reason) for one in trace.leaves()] == [
        ("count.ge", "ge", "1", None, "evidence-missing"), ("count.lt", "lt", "2", None, "evidence-missing"),
    ]  # fmt: skip
    assert {str(one.subject) for one in trace.leaves()} == {"packets on host.br0: count"}


def test_the_file_is_read_where_the_event_says(tmp_path):
    """Not by the step's name: an event's path was checked when it came."""
    evidence = Evidence(tmp_path / "experiment").capture(
        "seen", "lo", result=CaptureResult("captures/x.pcapng", ("lo",))
    )
    evidence.captured("x", ("lo",), Seen(1, ethernet(ipv4(1)))).capture_ended("seen", 1).done()
    assert Path(sure(evidence, selector(), 1).ref.file).name == "x.pcapng"


@pytest.mark.parametrize(
    ("on", "bridges", "count", "truth"),
    [
        ("host.lo", (), 1, True),
        ("host.lo", ("br0",), 1, None),  # it may have been delivered twice, with one of them not delivered without
        ("host.lo", ("br0",), {"ge": 1}, True),  # seen is seen
        ("host.lo", ("br0",), 0, False),
        ("host.br0", ("br0",), 1, False),  # the bridge itself shows what it takes in
    ],
)
def test_a_bridge_that_a_capture_made_promiscuous_leaves_other_counts_in_doubt(tmp_path, on, bridges, count, truth):
    evidence = Evidence(tmp_path / "experiment").capture("seen", "lo", "br0", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo", "br0"), Seen(30, icmp()))
    evidence.capture_ended("seen", 1, during=(0, 1000), interfaces=("lo", "br0"), bridges=bridges).done()
    trace = evaluate(prediction({"packets": {"on": on, "during": "probe"}, "count": count}), evidence.read(), "x/")
    assert (trace.truth, trace.reason) == (truth, "instrument-interferes" if truth is None else None)


def big(size: int, offload: bytes = bytes((1, 5, 0, 0, 0xE8, 3, 34, 0))) -> Seen:
    """A super-packet of UDP on lo: 1000 bytes of data in each segment."""
    return Seen(30, udp(53, size), offload=offload)


ODD = bytes((1, 3, 0, 0, 0xE8, 3, 34, 0))  # of a kind that is not cut here


@pytest.mark.parametrize(
    ("packets", "asked", "count", "truth"),
    [
        ([big(2500)], {}, {"ge": 1}, True),  # seen is seen
        ([big(2500)], {}, 0, False),
        ([big(2500)], {}, 1, None),  # one in the capture, three on a wire
        ([big(2500)], {}, 3, None),
        ([big(2500)], {}, {"le": 3}, True),
        ([big(2500)], {}, 4, False),
        ([big(2500), big(10, b"")], {}, {"ge": 2}, True),
        ([big(2500)], {"fields": {"udp.dstport": 53}}, {"ge": 1}, True),
        ([big(2500)], {"fields": {"udp.dstport": 54}}, 0, True),
        ([big(2500)], {"match": "udp port 53"}, {"ge": 1}, True),
        ([big(2500)], {"fields": {"ip.len": {"gt": 1500}}}, 0, None),
        ([big(2500)], {"fields": {"ip.len": {"gt": 1500}}}, {"ge": 1}, None),
        ([big(2500)], {"fields": {"ip.len": {"gt": 3000}}}, 0, True),
        ([big(2500)], {"fields": {"ip.len": 528}}, 1, None),
        ([big(2500)], {"match": "greater 1500"}, 0, None),
        ([big(2500)], {"match": "greater 100"}, {"ge": 1}, True),
        ([big(2500, bytes((1, 0, 0, 0, 0xE8, 3, 34, 0)))], {}, 1, True),  # only its checksum is not filled in
        ([big(2500)], {"fields": {"udp.checksum.status": 2}}, {"ge": 1}, True),
        ([big(2500)], {"fields": {"udp.checksum.status": 2}}, {"ge": 4}, False),
        ([big(2500)], {"fields": {"udp.checksum.status": 0}}, 0, True),
        ([big(10, bytes((1, 0, 0, 0, 0, 0, 34, 0)))], {"fields": {"udp.checksum.status": 2}}, 1, True),
        ([big(10, b"")], {"fields": {"udp.checksum.status": 2}}, 1, False),
        ([big(2500, ODD)], {}, {"ge": 1}, True),
        ([big(2500, ODD)], {}, {"le": 100}, None),
        ([big(2500, ODD)], {"fields": {"ip.len": {"gt": 1500}}}, 0, None),
    ],
)
def test_super_packets_count_as_what_they_may_be(tmp_path, packets, asked, count, truth):
    evidence = Evidence(tmp_path / "experiment").capture("seen", "lo", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo",), *packets).capture_ended("seen", len(packets), during=(0, 1000)).done()
    asked = prediction({"packets": {"on": "host.lo", "during": "probe", **asked}, "count": count})
    trace = evaluate(asked, evidence.read(), "x/")
    assert (trace.truth, trace.reason) == (truth, "super-packets" if truth is None else None)
