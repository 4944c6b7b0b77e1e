"""Operators and three-valued logic: each operator true, false and unknown; counts against brute force."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.lab.predictions import Check
from labrun.logic.compare import Count, Several, Untold, all_of, any_of, holds, negate

TRUTH = st.sampled_from([True, False, None])

CASES = [
    # operator, actual, expected, truth
    ("equals", 0, 0, True),
    ("equals", 1, 1.0, True),
    ("equals", 1, 2, False),
    ("equals", "a", "a", True),
    ("equals", "a", "A", False),
    ("equals", "1", 1, None),
    ("equals", 1, "1", None),
    ("equals", True, True, True),
    ("equals", True, 1, None),
    ("equals", 1, True, None),
    ("equals", False, 0, None),
    ("equals", 0, False, None),
    ("equals", None, "", False),
    ("equals", None, 0, False),
    ("equals", None, False, False),
    ("equals", ["UP"], "UP", None),
    ("one_of", 2, (1, 2), True),
    ("one_of", 3, (1, 2), False),
    ("one_of", True, (0, 1), None),
    ("one_of", "b", ("a", "b"), True),
    ("one_of", "1", (1,), None),
    ("one_of", None, ("a",), False),
    ("one_of", 3, ("3", 4), False),  # compared with those of its kind
    ("equals", 0.3, 0.30, True),
    ("equals", float("inf"), 1, None),
    ("contains", [1, 2], "1", None),
    ("contains", [1, "1"], "1", True),
    ("lacks", [80, 443], "80", None),
    ("equals", Several((1, 1)), 1, True),
    ("equals", Several((1, 2)), 1, None),
    ("equals", Several((2, 3)), 1, False),
    ("equals", Untold("why"), "why", None),
    ("contains", "abc", "b", True),
    ("contains", "abc", "", True),
    ("contains", "abc", "B", False),
    ("contains", ["UP", "LOOPBACK"], "UP", True),
    ("contains", ("UP",), "U", False),  # a list has it as a whole, or not
    ("contains", [], "UP", False),
    ("contains", None, "a", False),
    ("contains", 10, "1", None),
    ("contains", True, "T", None),
    ("lacks", "abc", "d", True),
    ("lacks", "abc", "c", False),
    ("lacks", ["UP"], "DOWN", True),
    ("lacks", ["UP"], "UP", False),
    ("lacks", None, "a", True),
    ("lacks", 10, "1", None),
    ("matches", "one\ntwo", "^two$", False),  # of the text
    ("matches", "one\ntwo", "(?m)^two$", True),
    ("matches", "one\n\ntwo", "^$", False),
    ("matches", "one\ntwo", "(?m)^one$", True),
    ("matches", "xtwox", "two", True),
    ("matches", "one\ntwo", "one.two", False),  # a dot is no line break
    ("matches", "one", "two", False),
    ("matches", "", "^$", True),
    ("matches", None, ".*", False),
    ("matches", 10, "1", None),
    ("matches", ["one"], "one", None),
    ("ge", 2, 2, True),
    ("ge", 1, 2, False),
    ("gt", 3, 2, True),
    ("gt", 2, 2, False),
    ("le", 2, 2, True),
    ("le", 3, 2, False),
    ("lt", 1.5, 2, True),
    ("lt", 2, 2, False),
    *[(operator, actual, 2, None) for operator in ("ge", "gt", "le", "lt") for actual in ("2", True, [2], "")],
    *[(operator, 2, expected, None) for operator in ("ge", "gt", "le", "lt") for expected in ("2", False)],
    *[(operator, None, 2, False) for operator in ("ge", "gt", "le", "lt")],
]  # fmt: skip


@pytest.mark.parametrize(("operator", "actual", "expected", "truth"), CASES)
def test_an_operator_is_true_false_or_unknown(operator, actual, expected, truth):
    assert holds(operator, actual, expected) is truth


def test_every_operator_of_the_language_has_a_true_and_a_false_case():
    for operator in Check.model_fields:
        assert {True, False} <= {truth for name, _, _, truth in CASES if name == operator}, operator


@given(st.text() | st.integers() | st.booleans() | st.none() | st.lists(st.text()), st.text())
def test_lacks_is_the_opposite_of_contains(actual, expected):
    assert holds("lacks", actual, expected) is negate(holds("contains", actual, expected))


@given(st.integers(), st.integers())
def test_orders_of_numbers_are_those_of_python(a, b):
    assert [holds(operator, a, b) for operator in ("ge", "gt", "le", "lt")] == [a >= b, a > b, a <= b, a < b]


AND = {
    (True, True): True, (True, False): False, (True, None): None,
    (False, True): False, (False, False): False, (False, None): False,
    (None, True): None, (None, False): False, (None, None): None,
}  # fmt: skip
OR = {
    (True, True): True, (True, False): True, (True, None): True,
    (False, True): True, (False, False): False, (False, None): None,
    (None, True): True, (None, False): None, (None, None): None,
}  # fmt: skip


@pytest.mark.parametrize(("pair", "truth"), AND.items())
def test_and_is_kleenes(pair, truth):
    assert all_of(pair) is truth
    assert all_of(iter(pair)) is truth


@pytest.mark.parametrize(("pair", "truth"), OR.items())
def test_or_is_kleenes(pair, truth):
    assert any_of(pair) is truth
    assert any_of(iter(pair)) is truth


def test_negation_and_the_empty_joins():
    assert [negate(truth) for truth in (True, False, None)] == [False, True, None]
    assert all_of(()) is True
    assert any_of(()) is False


@given(st.lists(TRUTH))
def test_de_morgan(truths):
    assert negate(all_of(truths)) is any_of([negate(truth) for truth in truths])
    assert negate(any_of(truths)) is all_of([negate(truth) for truth in truths])


@given(TRUTH)
def test_twice_negated_is_the_same(truth):
    assert negate(negate(truth)) is truth


@given(st.lists(TRUTH, min_size=1), st.lists(TRUTH, min_size=1))
def test_joining_is_associative_and_its_order_does_not_matter(one, other):
    for join in (all_of, any_of):
        assert join(one + other) is join(other + one)
        assert join(one + other) is join([join(one), join(other)])


LOW, SPAN, BEYOND = st.integers(0, 6), st.integers(0, 6), 30
NUMBER = st.integers(-2, 16) | st.sampled_from([0.5, 1.5, 2.0, 2.5, 7.0, -0.5, math.inf, -math.inf, math.nan])


def brute(numbers, operator, expected):
    """True if it holds for all numbers, False if for none, else unknown."""
    found = {holds(operator, number, expected) for number in numbers}
    return found.pop() if len(found) == 1 else None


@given(LOW, SPAN, st.sampled_from(["equals", "ge", "le", "gt", "lt"]), NUMBER)
def test_a_count_agrees_with_each_number_in_its_range(low, span, operator, expected):
    numbers = range(low, low + span + 1)
    assert Count(low, low + span).holds(operator, expected) is brute(numbers, operator, expected)


@given(LOW, SPAN, st.lists(NUMBER, min_size=1, max_size=9))
def test_a_count_is_one_of_if_every_number_in_its_range_is(low, span, wanted):
    numbers = range(low, low + span + 1)
    assert Count(low, low + span).holds("one_of", tuple(wanted)) is brute(numbers, "one_of", tuple(wanted))


@given(LOW, st.sampled_from(["equals", "ge", "le", "gt", "lt"]), NUMBER)
def test_a_count_without_bound_agrees_with_a_long_range(low, operator, expected):
    numbers = range(low, low + BEYOND)
    assert Count(low, None).holds(operator, expected) is brute(numbers, operator, expected)


@given(LOW, st.lists(NUMBER, min_size=1, max_size=9))
def test_a_count_without_bound_is_never_surely_one_of_a_few(low, wanted):
    numbers = range(low, low + BEYOND)
    assert Count(low, None).holds("one_of", tuple(wanted)) is brute(numbers, "one_of", tuple(wanted))


@given(LOW, SPAN | st.none(), st.sampled_from(["contains", "lacks", "matches"]))
def test_a_count_is_no_text(low, span, operator):
    assert Count(low, None if span is None else low + span).holds(operator, "1") is None


def test_a_wide_range_costs_nothing():
    assert Count(0, 10**15).holds("equals", 5) is None
    assert Count(0, 10**15).holds("one_of", (1, 2)) is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(Count(2, 2), "2"), (Count(0, 0), "0"), (Count(1, 4), "1 to 4"), (Count(3, None), "at least 3")],
)
def test_a_count_says_how_sure_it_is(count, text):
    assert str(count) == text
