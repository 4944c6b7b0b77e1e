"""The operators, on values and on counts that are only known to lie in a range. Three values: true, false, unknown."""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from labrun.protocol.record import dataclass

Truth = bool | None


class Operators(Protocol):
    """A check: every operator that it has, with the value that is expected."""

    def operators(self) -> dict[str, Any]: ...


def all_of(truths: Iterable[Truth]) -> Truth:
    """Kleene's and: one false decides; else one unknown leaves it open."""
    found = list(truths)
    if False in found:
        return False
    return None if None in found else True


def any_of(truths: Iterable[Truth]) -> Truth:
    """Kleene's or: one true decides; else one unknown leaves it open."""
    found = list(truths)
    if True in found:
        return True
    return None if None in found else False


def negate(truth: Truth) -> Truth:
    return None if truth is None else not truth


class Untold(str):
    """A value that is there, or may be, and that nobody reported. Nothing can be said of it. The text says why."""

    __slots__ = ()


class Several(tuple[Any, ...]):
    """A value that is there several times, such as the gateways of a multipath route.

    A check holds where it holds of all, not where it holds of none; else nobody knows which one is meant.
    """

    __slots__ = ()


class Spelled(str):
    """A text that could be written in another way: what is found in it is there, what is not found may be.

    ``dport http`` and ``dport 80`` are the same rule of nftables.
    """

    __slots__ = ()


def kind(value: object) -> str:
    """What a value is, for comparing: nothing, bool, number, text, list, mapping."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float | Fraction | Decimal):
        return "number"
    if isinstance(value, str):
        return "text"
    return "mapping" if isinstance(value, Mapping) else "list"


def exact(value: Any) -> Fraction | None:
    """A number as it is written in decimal: 0.1 is a tenth. None of what is not finite, or is no number."""
    if kind(value) != "number":
        return None
    try:
        return Fraction(Decimal(repr(value))) if isinstance(value, float) else Fraction(value)
    except (ValueError, OverflowError, ArithmeticError):
        return None


def equal(actual: Any, expected: Any) -> Truth:
    """The one rule of what is equal to what: None where the two are of different kinds.

    Nothing is equal to nothing and different from everything else: that a field has no value is an observation. A text
    is never a number, and a flag is not the number one: whoever compares them made a mistake.
    """
    if "nothing" in (kind(actual), kind(expected)):
        return actual is None and expected is None
    if kind(actual) != kind(expected):
        return None
    if kind(actual) == "number":
        one, other = exact(actual), exact(expected)
        return None if one is None or other is None else one == other
    return bool(actual == expected)


def ordered(operator: str, actual: Any, expected: Any) -> Truth:
    """``ge``, ``le``, ``gt``, ``lt``: of numbers only. Nothing is in no order with a number."""
    if actual is None:
        return False
    one, other = exact(actual), exact(expected)
    return None if one is None or other is None else bool(ORDER[operator](one, other))


def contains(actual: Any, expected: Any) -> Truth:
    """A text in a text, or an item in a list by `equal`: None where an item of another kind may be what is meant."""
    if actual is None:
        return False
    if isinstance(actual, str):
        return expected in actual if isinstance(expected, str) else None
    if isinstance(actual, list | tuple):
        return any_of(equal(item, expected) for item in actual)
    return None


SEARCH_S = 1.0  # of processor time, for one search


def matches(actual: Any, pattern: str) -> Truth:
    """As Python's re.search: ^ and $ are the beginning and the end of the text; (?m) makes them those of its lines.

    None where the search takes too long, as (a|aa)+$ may, which has ever more ways. `regex` gives up when told to, and
    `re` cannot.
    """
    if actual is None:
        return False
    if not isinstance(actual, str):
        return None
    import regex  # 10 ms, and most labs have no pattern

    try:
        return regex.search(pattern, actual, timeout=SEARCH_S) is not None
    except TimeoutError:
        return None


def holds(operator: str, actual: Any, expected: Any) -> Truth:
    """Does ``actual OPERATOR expected`` hold? None where the two cannot be compared by it: `equal` and the others."""
    if isinstance(actual, Untold):
        return None
    if isinstance(actual, Several):
        truths = {holds(operator, item, expected) for item in actual}
        return truths.pop() if len(truths) == 1 else None
    if isinstance(actual, Spelled):
        truth = holds(operator, str(actual), expected)
        return truth if truth is (operator != "lacks") else None
    if operator == "equals":
        return equal(actual, expected)
    if operator == "one_of":
        alike = [item for item in expected if kind(item) == kind(actual)]
        return any_of(equal(actual, item) for item in alike or expected)
    if operator in ("contains", "lacks"):
        found = contains(actual, expected)
        return found if operator == "contains" else negate(found)
    if operator == "matches":
        return matches(actual, expected)
    return ordered(operator, actual, expected)


ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "ge": operators.ge,
    "le": operators.le,
    "gt": operators.gt,
    "lt": operators.lt,
}


@dataclass(frozen=True, slots=True)
class Count:
    """A number known to be at least ``low`` and at most ``high``; ``high`` None means without bound."""

    low: int
    high: int | None

    def __str__(self) -> str:
        if self.high == self.low:
            return str(self.low)
        return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"

    def holds(self, operator: str, expected: Any) -> Truth:
        """True if it holds for every number in the range, False if for none, else unknown."""
        if operator == "equals":
            return self._member((expected,))
        if operator == "one_of":
            return self._member(expected)
        low = holds(operator, self.low, expected)
        if low is None or (self.high is None and not math.isfinite(expected)):
            return low  # nothing to compare, or all numbers are on one side of it
        # Order operators change at most once along the range, so its two ends decide.
        high = (operator in ("ge", "gt")) if self.high is None else holds(operator, self.high, expected)
        return low if low == high else None

    def _member(self, given: Iterable[Any]) -> Truth:
        wanted = tuple(given)
        whole = {item for item in wanted if math.isfinite(item) and item == int(item)}  # a count is never 1.5
        inside = {item for item in whole if self.low <= item and (self.high is None or item <= self.high)}
        if not inside:
            return None if not all(math.isfinite(item) for item in wanted) else False
        if self.high is None:
            return None
        return True if len(inside) == self.high - self.low + 1 else None
