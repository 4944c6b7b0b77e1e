"""`seen_on`: each selected packet on just these interfaces, in this order. True, false with what was instead, unknown."""

from __future__ import annotations

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.observe.packets import scan_ahead
from pydantic import ValidationError
from support.evidence_builder import Evidence, Seen, ethernet, ipv4, prediction

PREFIX = "labs/lab/experiment/"
FILE = f"{PREFIX}captures/wires.pcapng"
NAMES = ("west", "east")


def ping(number, ttl=64, source="10.0.0.1", ident=7):
    """The echo request with this sequence number."""
    packet = ipv4(1, bytes((8, 0, 0, 0)) + ident.to_bytes(2, "big") + number.to_bytes(2, "big") + bytes(8), source)
    return ethernet(packet[:8] + bytes([ttl]) + packet[9:])


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def recorded(evidence, *packets, names=NAMES, **ended):
    """A capture on the router from 0 ms on, and step `probe` from 20 to 100."""
    evidence.capture("wires", *names, at=(0, 10), node="host").run("probe", at=(20, 100))
    evidence.captured("wires", names, *packets)
    return evidence.capture_ended("wires", len(packets), interfaces=names, **{"during": (0, 1000), **ended}).done()


def judge(evidence, chain=("west", "east"), nat=False, **selector):
    asked = {"packets": {"on": "host.any", "during": "probe", **selector}, "seen_on": list(chain), "nat": nat}
    return evaluate(prediction(asked), evidence.read(), PREFIX)


def crossing(number, at=30.0, source="10.0.0.1", after="10.0.0.1"):
    return Seen(at, ping(number, 64, source), "west", "in"), Seen(at + 1, ping(number, 63, after), "east", "out")


def test_every_packet_on_its_way(evidence):
    trace = judge(recorded(evidence, *crossing(1), *crossing(2, 40)))
    assert (trace.truth, trace.actual, trace.expected) == (True, "2 seen on west, east", "west, east")
    assert sentence(trace) == (
        f"packets on host.any during probe: each seen on west, east: 2 seen on west, east ({FILE} packets 1, 2, 3, 4)"
    )
    assert (trace.path, trace.operator, trace.reason) == ("seen_on", "seen_on", None)


@pytest.mark.parametrize(
    ("packets", "actual"),
    [
        ([Seen(30, ping(1), "west")], "1 seen on west; not on east (packets 1)"),
        ([Seen(30, ping(1), "east")], "1 seen on east; not on west (packets 1)"),
        (
            [Seen(30, ping(1), "east"), Seen(31, ping(1), "west")],
            "1 seen on east, west (packets 1, 2)",
        ),
        (
            [*crossing(1), Seen(40, ping(2), "west")],
            "1 seen on west, east; 1 seen on west; not on east (packets 3)",
        ),
        ([], "no packet was seen"),
        (
            [*crossing(1), Seen(50, ping(1), "third")],
            "1 seen on west, east, third (packets 1, 2, 3)",
        ),
    ],
)
def test_another_way_is_false_and_says_what_was_instead(evidence, packets, actual):
    trace = judge(recorded(evidence, *packets, names=("west", "east", "third")))
    assert (trace.truth, trace.reason) == (False, None)
    assert trace.actual == actual
    assert actual in sentence(trace)


def test_the_other_direction_of_a_chain_is_another_chain(evidence):
    variant = recorded(evidence, *crossing(1)).read()
    for chain, truth in ((["west", "east"], True), (["east", "west"], False)):
        asked = prediction({"packets": {"on": "host.any"}, "seen_on": chain})
        assert evaluate(asked, variant, PREFIX).truth is truth


def test_the_subject_says_what_was_selected(evidence):
    fields = {"ip.ttl": {"ge": 3}, "ip.src": {"contains": "10."}, "icmp.type": 8}
    asked = prediction({"packets": {"on": "host.any", "match": "icmp", "fields": fields}, "count": 1})
    trace = evaluate(asked, recorded(evidence, *crossing(1)).read(), PREFIX)
    told = 'with ip.ttl >= 3 with ip.src contains "10." with icmp.type == 8'
    assert str(trace.subject) == f"packets on host.any matching 'icmp' {told}: count"


def test_only_the_selected_packets_are_asked_for(evidence):
    """The second one does not cross; what selects it decides whether that matters."""
    packets = [*crossing(1), Seen(40, ping(2, ident=9), "west")]
    variant = recorded(evidence, *packets).read()

    def truth(**selector):
        asked = prediction({"packets": {"on": "host.any", **selector}, "seen_on": ["west", "east"]})
        return evaluate(asked, variant, PREFIX).truth

    assert truth() is False
    assert truth(fields={"icmp.ident": 7}) is True
    assert truth(fields={"icmp.ident": 9}) is False
    assert truth(match="icmp[4:2] = 7") is True
    assert truth(direction="in") is False


def test_what_is_outside_of_the_window_does_not_count(evidence):
    assert judge(recorded(evidence, *crossing(1), Seen(200, ping(2), "west"))).truth is True


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        ({"drops": 1}, "packets-dropped"),
        ({"not_kept": 1}, "packets-dropped"),
        ({"trouble": "the interface went away"}, "capture-unhealthy"),
        ({"during": (25, 1000)}, "capture-unhealthy"),
    ],
)
@pytest.mark.parametrize("good", [True, False])
def test_a_capture_that_lost_packets_knows_no_ways(evidence, ended, reason, good):
    """Neither yes nor no: what is missing may be just the packet on the other side."""
    packets = crossing(1) if good else (Seen(30, ping(1), "west"),)
    trace = judge(recorded(evidence, *packets, **ended))
    assert (trace.truth, trace.reason) == (None, reason)
    assert sentence(trace).startswith("packets on host.any during probe: each seen on west, east: 1 seen on")


def test_a_capture_that_was_never_finished(evidence):
    evidence.capture("wires", *NAMES, at=(0, 10)).run("probe", at=(20, 100)).captured("wires", NAMES, *crossing(1))
    trace = judge(evidence.done())
    assert (trace.truth, trace.reason) == (None, "capture-unhealthy")


def test_without_a_capture(evidence):
    trace = judge(evidence.run("probe").done())
    assert (trace.truth, trace.reason, trace.actual) == (None, "evidence-missing", None)


def test_packets_that_cannot_be_told_apart_are_unknown(evidence):
    same = ping(1)
    packets = [Seen(30, same, "west"), Seen(31, same, "west"), Seen(32, ping(1, 63), "east")]
    trace = judge(recorded(evidence, *packets))
    assert (trace.truth, trace.reason) == (None, "ambiguous")
    assert sentence(trace).endswith("packets 1, 2, 3 have the same content: which of them is which is not known")


def test_packets_that_were_cut_are_unknown(evidence):
    packets = [Seen(30, ping(1), "west", kept=40), Seen(31, ping(1, 63), "east", kept=40)]
    trace = judge(recorded(evidence, *packets))
    assert (trace.truth, trace.reason) == (None, "packets-cut")


@pytest.mark.parametrize(("nat", "truth"), [(True, True), (False, None)])
def test_translated_packets_are_the_same_only_where_the_lab_says_so(evidence, nat, truth):
    trace = judge(recorded(evidence, *crossing(1, after="192.0.2.1")), nat=nat)
    assert (trace.truth, trace.reason) == (truth, None if nat else "perhaps-rewritten")
    if not nat:
        assert "packet 1 may have gone on as packet 2, rewritten: they differ in ip.src alone" in sentence(trace)


def test_a_count_beside_it_is_a_check_of_its_own(evidence):
    variant = recorded(evidence, *crossing(1)).read()
    asked = {"packets": {"on": "host.any", "during": "probe"}, "seen_on": ["west", "east"], "count": 3}
    trace = evaluate(prediction(asked), variant, PREFIX)
    assert [(child.path, child.truth) for child in trace.children] == [("seen_on", True), ("count.equals", False)]
    assert trace.truth is False


def test_answers_prepared_ahead_are_the_same_answers(tmp_path):
    asked = [
        prediction({"packets": {"on": "host.any", "during": "probe"}, "seen_on": ["west", "east"]}),
        prediction({"packets": {"on": "host.any", "during": "probe"}, "seen_on": ["east", "west"], "count": 2}),
        prediction({"packets": {"on": "host.west", "during": "probe"}, "count": 1}),
    ]
    plain = recorded(Evidence(tmp_path / "one"), *crossing(1)).read()
    ahead = recorded(Evidence(tmp_path / "two"), *crossing(1)).read()
    scan_ahead(ahead, asked, PREFIX)
    assert len(ahead.memo) == 4
    assert [evaluate(one, ahead, PREFIX) for one in asked] == [evaluate(one, plain, PREFIX) for one in asked]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"packets": {"on": "host.west"}, "seen_on": ["west", "east"]}, "seen_on looks at all interfaces of a node"),
        ({"packets": {"on": "host.any"}, "seen_on": ["west"]}, "two interfaces at least"),
        ({"packets": {"on": "host.any"}, "seen_on": []}, "at least 1 item"),
        ({"packets": {"on": "host.any"}, "seen_on": ["a/b", "c"]}, "not an interface name"),
    ],
)
def test_what_is_no_way(asked, says):
    with pytest.raises(ValidationError, match=says):
        prediction(asked)


def test_ten_packets_at_most_are_the_evidence(evidence):
    trace = judge(recorded(evidence, *(seen for number in range(6) for seen in crossing(number, 30 + 2 * number))))
    assert (trace.truth, trace.refs[0].packets) == (True, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10))


def test_every_answer_is_there_after_one_pass_over_the_file(evidence):
    """The file is gone then, and nothing is asked of it again."""
    way = {"packets": {"on": "host.any"}, "seen_on": ["west", "east"], "nat": True}
    asked = [
        way, {**way, "seen_on": ["east", "west"]}, {"packets": {"on": "host.west"}, "count": 1},
        {"expr": "n + m == 1", "let": {"n": {"packets": {"on": "host.east"}}, "m": {"command": "probe", "of": "exit"}}},
    ]  # fmt: skip
    variant = recorded(evidence, *crossing(1, after="192.0.2.1")).read()
    predictions = [prediction(one) for one in asked]
    scan_ahead(variant, predictions, PREFIX)
    (variant.folder / "captures/wires.pcapng").unlink()
    assert [evaluate(one, variant, PREFIX).truth for one in predictions] == [True, False, True, True]
    assert (
        evaluate(prediction({"packets": {"on": "host.any"}, "count": 2}), variant, PREFIX).reason == "evidence-missing"
    )
    assert len([key for key in variant.memo if key.startswith("labs/")]) == 4


def test_two_questions_are_one_pass_and_one_is_left_for_later(evidence):
    variant = recorded(evidence, *crossing(1)).read()
    counts = [prediction({"packets": {"on": f"host.{name}"}, "count": 1}) for name in NAMES]
    scan_ahead(variant, counts[:1], PREFIX)
    assert len([key for key in variant.memo if key.startswith("labs/")]) == 0
    scan_ahead(variant, counts, PREFIX)
    assert len([key for key in variant.memo if key.startswith("labs/")]) == 2
