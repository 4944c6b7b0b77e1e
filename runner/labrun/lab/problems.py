"""What is wrong with a lab file, and where. The author's failures; never mixed with verdicts or faults."""

from __future__ import annotations

from collections.abc import Iterable

from labrun.logic.visible import visible
from labrun.protocol.record import dataclass

_LONGEST = 1000  # characters of one problem
_MOST = 100  # problems that are told


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``line`` and ``column`` count from 1; 0 where a file has no such place."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """One line, whatever is in the file: a CI service would obey a line of its own."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = visible(f"{place}: {self.message}")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


class LabError(Exception):
    """A lab cannot be used as it is written. Carries every problem that was found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - _MOST
        shown = [str(problem) for problem in self.problems[:_MOST]]
        super().__init__("\n".join([*shown, *([f"and {more} more problems"] if more > 0 else [])]))
