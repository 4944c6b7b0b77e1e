"""What is wrong with a lab file, and where. The author's failures; never mixed with verdicts or faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from unicodedata import combining, east_asian_width

from labrun.logic.visible import visible
from labrun.protocol.record import dataclass

_LONGEST = 1000  # characters of one problem
_MOST = 100  # problems that are told
_WIDTH = 100  # characters of a line of the file that are shown


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


def excerpt(problem: Problem, text: str) -> str:
    """The line of the file with a caret under the place; nothing where the file has no such line."""
    lines = text.splitlines()
    if not 0 < problem.line <= len(lines):
        return ""
    line = lines[problem.line - 1]
    place = min(problem.column - 1, len(line))
    start = max(0, place - _WIDTH // 2) if len(line) > _WIDTH else 0
    before, after = (visible(part.replace("\t", " ")) for part in (line[start:place], line[place : start + _WIDTH]))
    gutter = " " * len(str(problem.line))
    return f"  {problem.line} | {before}{after}\n  {gutter} | {' ' * _cells(before)}^"


def _cells(text: str) -> int:
    """Columns on a terminal (UAX #11: wide characters take two, marks that combine none)."""
    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)


class LabError(Exception):
    """A lab cannot be used as it is written. Carries every problem that was found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.told({}))

    def told(self, texts: Mapping[str, str]) -> str:
        """All problems, as lines. ``texts``: of files, for the line of each."""
        more = len(self.problems) - _MOST
        shown = [(str(problem), excerpt(problem, texts.get(problem.file, ""))) for problem in self.problems[:_MOST]]
        lines = [line for both in shown for line in both if line]
        return "\n".join([*lines, *([f"and {more} more problems"] if more > 0 else [])])
