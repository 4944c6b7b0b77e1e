"""What is wrong with a lab file, and where. The author's failures; never mixed with verdicts or faults."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``line`` and ``column`` count from 1; 0 where a file has no such place."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}"


class LabError(Exception):
    """A lab cannot be used as it is written. Carries every problem that was found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" if one of the known words is close, else " Known: ..." if they are few, else nothing."""
    words = sorted(set(known))
    close = difflib.get_close_matches(word[:100], words, n=1, cutoff=0.6)
    if close:
        return f" Did you mean '{close[0]}'?"
    if 0 < len(words) <= 14:
        return " Known: " + ", ".join(words) + "."
    return ""
