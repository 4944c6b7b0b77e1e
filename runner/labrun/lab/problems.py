"""What is wrong with a lab file, and where. The author's failures; never mixed with verdicts or faults."""

from __future__ import annotations

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
