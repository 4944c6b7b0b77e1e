"""The operators, on values and on counts that are only known to lie in a range. Three values: true, false, unknown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
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
    """A text that is there and that nobody told. Nothing can be said of it."""

    __slots__ = ()


def holds(operator: str, actual: Any, expected: Any) -> Truth:
    """Does ``actual OPERATOR expected`` hold? None where the two cannot be compared by it.

    A missing value (None) equals nothing, contains and matches nothing, and is in no order with a number. Numbers
    and booleans are never text.
    """
    if isinstance(actual, Untold):
        return None
    if operator == "equals":
        return _same(actual, expected)
    if operator == "one_of":
        return any(_same(actual, item) for item in expected)
    if operator in ("contains", "lacks"):
        found = _contains(actual, expected)
        return found if operator == "contains" else negate(found)
    if actual is None:
        return False
    if operator == "matches":
        return None if not isinstance(actual, str) else re.search(expected, actual, re.MULTILINE) is not None
    if not _is_number(actual) or not _is_number(expected):
        return None
    return bool(_ORDER[operator](actual, expected))


_ORDER = {
    "ge": lambda actual, expected: actual >= expected,
    "le": lambda actual, expected: actual <= expected,
    "gt": lambda actual, expected: actual > expected,
    "lt": lambda actual, expected: actual < expected,
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(actual: Any, expected: Any) -> bool:
    # In Python True == 1; in an observation a flag that is set is not the number one.
    return isinstance(actual, bool) == isinstance(expected, bool) and bool(actual == expected)


def _contains(actual: Any, expected: str) -> Truth:
    if actual is None:
        return False
    if isinstance(actual, str):
        return expected in actual
    if isinstance(actual, list | tuple):
        return expected in actual
    return None


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

    def _member(self, wanted: Iterable[Any]) -> Truth:
        whole = {item for item in wanted if math.isfinite(item) and item == int(item)}  # a count is never 1.5
        inside = {item for item in whole if self.low <= item and (self.high is None or item <= self.high)}
        if not inside:
            return False
        if self.high is None:
            return None
        return True if len(inside) == self.high - self.low + 1 else None
