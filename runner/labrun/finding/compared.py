"""How far a finding and a run of its labs here are the same, and the first fact in which they are not. Pure.

The levels: 0 the finding's files are whole; 1 its evidence, judged here, gives its results; 2 a run here gives the
same verdicts; 3 and the same observations, but for what differs between any two runs (`report.volatile`); 4 and the
report of each lab is the same text, likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from labrun.protocol.record import dataclass
from labrun.report.difference import Change, Difference
from labrun.report.volatile import named

LEVELS = (
    "its files are whole",
    "judged again, its evidence gives the same results",
    "run here, the same verdicts",
    "run here, the same observations",
    "run here, the same report",
)
NOT_THERE = "(not there)"


@dataclass(frozen=True, slots=True)
class Fact:
    """What differs, and both sides of it. ``decided``: a verdict, or what makes one impossible."""

    where: str
    there: str
    here: str
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """``first``: what keeps it from the next level; None at the last."""

    level: int
    first: Fact | None
    environment: tuple[Change, ...]


def compared(difference: Difference, there: Mapping[str, str], here: Mapping[str, str]) -> Compared:
    """``difference``: from the finding to the run here. ``there``, ``here``: lab -> its report as Markdown."""
    changes = [(section.title, change) for section in difference.sections for change in section.changes]
    for level, found in ((1, [each for each in changes if each[1].decided]), (2, changes)):
        if found:
            where, change = found[0]
            sides = (change.before or NOT_THERE, change.after or NOT_THERE)
            return Compared(level, Fact(f"{where}: {change.what}", *sides, change.decided), difference.environment)
    for lab in dict.fromkeys((*there, *here)):
        lines = zip_longest(named(there.get(lab, "")).split("\n"), named(here.get(lab, "")).split("\n"))
        for one, two in lines:
            if one != two:
                there_line, here_line = (line if line is not None else "(it ends)" for line in (one, two))
                fact = Fact(f"a line of the report of {lab}", there_line, here_line)
                return Compared(3, fact, difference.environment)
    return Compared(4, None, difference.environment)
