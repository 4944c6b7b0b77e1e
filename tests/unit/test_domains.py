"""Checks that nothing can pass, or everything: said only where it is so, as the judge itself compares."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.lab.check.fields import impossible
from labrun.lab.check.satisfiable import Numbers, contradiction, outcomes, text_contradiction, told
from labrun.lab.predictions import Check, CountCheck, TextCheck
from labrun.logic.compare import holds
from labrun.packets.fields import FIELDS
from support.packet_values import values
from unit.test_fields import CORPUS
from unit.test_named import problems

SMALL = st.integers(-3, 8) | st.sampled_from([0.5, 2.5, 6.0])
ORDERS = st.dictionaries(st.sampled_from(["ge", "le", "gt", "lt"]), SMALL, min_size=1)
EXACT = st.fixed_dictionaries(
    {}, optional={"equals": SMALL, "one_of": st.lists(SMALL, min_size=1, max_size=3).map(tuple)}
)
NUMERIC = st.tuples(ORDERS | st.just({}), EXACT).map(lambda pair: {**pair[0], **pair[1]}).filter(bool)
BOUNDS = [Numbers(0, 5), Numbers(0), Numbers(2, 2), Numbers(), Numbers(0, whole=False), Numbers(0, 1, whole=False)]


def judged(operators: dict[str, Any], value: Any) -> bool:
    return all(holds(name, value, expected) is True for name, expected in operators.items())


@settings(deadline=None)
@given(NUMERIC, st.sampled_from(BOUNDS))
def test_what_is_said_of_numbers_is_so(operators: dict[str, Any], numbers: Numbers) -> None:
    """Held against all numbers in reach, a quarter apart: between and beyond all that are named."""
    every = [quarter / 4 for quarter in range(-30, 60) if numbers.has(quarter / 4)]
    assert outcomes(operators, numbers.samples(operators)) == {judged(operators, value) for value in every}


@settings(deadline=None)
@given(NUMERIC)
def test_a_contradiction_is_one(operators: dict[str, Any]) -> None:
    if contradiction(operators) is not None:
        assert not any(judged(operators, quarter / 4) for quarter in range(-30, 60))
    elif len(operators) > 1:
        assert any(judged(operators, quarter / 4) for quarter in range(-30, 60))


TEXT = st.text("ab", max_size=3)
TEXTS = st.fixed_dictionaries(
    {}, optional={"equals": TEXT, "contains": TEXT.filter(bool), "lacks": TEXT.filter(bool), "matches": TEXT,
                  "one_of": st.lists(TEXT, min_size=1, max_size=2).map(tuple)},
).filter(bool)  # fmt: skip


@settings(deadline=None)
@given(TEXTS)
def test_a_contradiction_of_texts_is_one(operators: dict[str, Any]) -> None:
    if text_contradiction(operators) is not None:
        every = ("".join(letters) for size in range(6) for letters in itertools.product("abc", repeat=size))
        assert not any(judged(operators, text) for text in every)


@pytest.mark.parametrize(
    ("operators", "said"),
    [
        ({"equals": 5}, "5"),
        ({"one_of": (1, 2)}, "1, 2"),
        ({"ge": 5, "le": 3}, "ge 5 and le 3"),
        ({"equals": 2, "gt": 2}, "equals 2 and gt 2"),
    ],
)
def test_how_it_is_told(operators: dict[str, Any], said: str) -> None:
    assert told(operators) == said


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308, math.inf, -math.inf, math.nan])
def test_no_number_is_too_large_to_think_about(value: float) -> None:
    for operators in ({"ge": value}, {"ge": value, "le": 1e308}, {"ge": value, "le": value}):
        assert outcomes(operators, Numbers(0).samples(operators))
        contradiction(operators)


@pytest.mark.parametrize(
    "operators",
    [
        {"equals": "${n}", "ge": 5},
        {"ge": "${n}", "le": 3},
        {"contains": "a", "lacks": "b"},
        {"contains": "NO-CARRIER", "lacks": "CARRIER"},  # of a list
        {"equals": "10.0.0.0/8", "contains": ".5"},  # an address of that network
        {"one_of": (1, 5), "ge": 5},
        {"equals": 1, "one_of": (True, False)},
    ],
)
def test_what_may_be_is_no_contradiction(operators: dict[str, Any]) -> None:
    assert Check(**operators).operators() == operators


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        ("{packets: {on: router.west}, count: {ge: 5, le: 3}}", "nothing is ge 5 and le 3"),
        ("{packets: {on: router.west}, count: {one_of: [1, 2], gt: 2}}", "nothing is one_of 1, 2 and gt 2"),
        ("{packets: {on: router.west}, count: {gt: 1, lt: 2}}", "a count is never gt 1 and lt 2"),
        ("{command: probe, exit: {equals: 0, one_of: [1]}}", "nothing is equals 0 and one_of 1"),
        ("{command: probe, stdout: {contains: abc, lacks: b}}", "no text contains abc and lacks b"),
        ("{command: probe, stdout: {equals: a, matches: b}}", "no text equals a and matches b"),
        ("{command: probe, json: {a: {gt: 5, lt: 5}}}", "nothing is gt 5 and lt 5"),
        (
            "{packets: {on: router.any}, seen_on: [west, east], count: 1}",
            "seen_on needs 2 at least, and the count is 1",
        ),
        ("{links: {at: before}, each: {up: true}, count: 0}", "each needs 1 at least, and the count is 0"),
        ("{trace: {at: hooks}, ends: accept, count: {lt: 1}}", "ends needs 1 at least, and the count is lt 1"),
        ("{trace: {at: hooks}, path: [forward], count: 0}", "path needs 1 at least"),
        ("{packets: {on: router.west, fields: {ip.ttl: 300}}, count: 0}", "ip.ttl is never 300"),
        ("{packets: {on: router.west, fields: {ip.ttl: {one_of: [256, -1]}}}, count: 0}", "ip.ttl is never 256, -1"),
        ("{packets: {on: router.west, fields: {tcp.srcport: {gt: 65535}}}, count: 0}", "tcp.srcport is never gt 65535"),
        ("{packets: {on: router.west, fields: {icmp.seq: 64.5}}, count: 0}", "icmp.seq is never 64.5"),
        ("{packets: {on: router.west, fields: {eth.addr: {contains: AB}}}, count: 0}", "in small letters: ab"),
    ],
)
def test_a_check_that_cannot_fail_or_cannot_hold_is_an_error_of_the_lab(predict: str, said: str) -> None:
    told = problems(predict)
    assert any(line.startswith("labs/x/lab.yaml:23:") and said in line for line in told), told


@pytest.mark.parametrize(
    "predict",
    [
        "{packets: {on: router.any}, seen_on: [west, east], count: {ge: 2}}",
        "{packets: {on: router.any}, seen_on: [west, east], count: '${size}'}",
        "{links: {at: before}, each: {up: true}, count: {le: 1}}",
        "{packets: {on: router.west, fields: {ip.ttl: {ge: 0}}}, count: 0}",  # those that have one
        "{packets: {on: router.west, fields: {ip.ttl: '${size}'}}, count: 0}",
        "{packets: {on: router.west, fields: {tcp.seq_raw: 4294967295, tcp.hdr_len: 60, tcp.flags.syn: 1}}, count: 0}",
    ],
)
def test_a_check_that_can_come_out_either_way(predict: str) -> None:
    assert problems(predict) == []


def test_every_number_of_a_packet_has_room_in_its_field() -> None:
    for name, field in FIELDS.items():
        if field.kind == "int":
            for data in CORPUS.values():
                for value in values(data, 1, name):
                    assert isinstance(value, int) and impossible(name, Check(equals=value)) is None, (name, value)


def test_checks_of_the_same_kind_say_the_same() -> None:
    for wrong in ({"equals": 1.5}, {"ge": -1}, {"lt": 0}, {"ge": 2, "lt": 2}):
        with pytest.raises(ValueError, match=r"never|nothing|always"):
            CountCheck(**wrong)
    with pytest.raises(ValueError, match="no text contains ab and lacks a"):
        TextCheck(contains="ab", lacks="a")
