"""Can a check hold of any value that there can be, and does it not hold of all of them? Found out by trying some.

Operators change their mind only at the values that they name. So it is enough to ask, of numbers, at these, between
them and beyond them; of words, at each. What is not known before a lab runs (`${name}`) is left out: then a check is
called impossible only where the rest of it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from labrun.lab.base import is_reference
from labrun.logic.compare import holds
from labrun.protocol.record import dataclass

_HUGE = 1e300  # there is no telling apart of floats beyond
Operators = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Numbers:
    """From ``least`` to ``most``, or without bound."""

    least: int | None = None
    most: int | None = None
    whole: bool = True

    def has(self, value: float) -> bool:
        low = self.least is None or value >= self.least
        high = self.most is None or value <= self.most
        return low and high and (not self.whole or value == math.floor(value))

    def samples(self, operators: Operators) -> set[float]:
        """At, between and beyond the numbers that the operators name: those that there are."""
        marked = {value for value in named(operators) if _is_number(value) and abs(value) < math.inf}
        marks = sorted(marked | {bound for bound in (self.least, self.most, 0) if bound is not None})
        beyond = {
            near for mark in marks for whole in (math.floor(mark), math.ceil(mark)) for near in (whole - 1, whole + 1)
        }
        between = {(one + other) / 2 for one, other in pairwise(marks) if max(abs(one), abs(other)) < _HUGE}
        return {value for value in {*marks, *beyond, *between} if self.has(value)}


def outcomes(operators: Operators, values: Iterable[Any]) -> set[bool]:
    """What all operators together say of these values: True for some, False for some, or both."""
    return {all(_holds(name, value, expected) for name, expected in operators.items()) for value in values}


def known(operators: Operators) -> dict[str, Any]:
    """Those whose expected values are known before the lab runs."""
    return {name: expected for name, expected in operators.items() if not any(map(is_reference, _listed(expected)))}


def told(operators: Operators) -> str:
    """`ge 5 and le 3`; a value alone stands for `equals`."""
    return " and ".join(
        _words(expected) if name in ("equals", "one_of") and len(operators) == 1 else f"{name} {_words(expected)}"
        for name, expected in operators.items()
    )


def contradiction(operators: Operators) -> str | None:
    """Why no number, or no list and no text, passes all of these; None if one may.

    What `equals` means of a text depends on the text: an address may equal a network.
    """
    given = known(operators)
    numbers = {name: expected for name, expected in given.items() if all(map(_is_number, _listed(expected)))}
    exact = _listed(numbers.get("one_of", numbers.get("equals", ())))
    if len(numbers) > 1 and exact:
        impossible = outcomes(numbers, exact) == {False}
    elif len(numbers) > 1:
        impossible = outcomes(numbers, Numbers(whole=False).samples(numbers)) == {False}
    else:
        impossible = given.get("contains", 0) == given.get("lacks", 1)
    return f"nothing is {told(given)}" if impossible else None


def text_contradiction(operators: Operators) -> str | None:
    """Why no plain text passes all of these; None if one may."""
    given = known(operators)
    exact = _listed(given.get("one_of", given.get("equals", ())))
    impossible = bool(exact) and outcomes(given, exact) == {False}
    if "contains" in given and "lacks" in given:
        impossible = impossible or given["lacks"] in given["contains"]
    return f"no text {told(given)}" if impossible else None


def _listed(expected: Any) -> tuple[Any, ...]:
    return tuple(expected) if isinstance(expected, tuple | list) else (expected,)


def named(operators: Operators) -> list[Any]:
    return [value for expected in operators.values() for value in _listed(expected)]


def _words(expected: Any) -> str:
    return ", ".join(str(value) for value in _listed(expected))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _holds(name: str, value: Any, expected: Any) -> bool:
    """As judged; what cannot be compared so is found elsewhere, and counts as possible here."""
    return holds(name, value, expected) is not False
