"""How far a finding and a run here are the same: the level, and what keeps it from the next."""

from __future__ import annotations

import pytest
from labrun.cli.findings import _is_unsure
from labrun.finding.compared import LEVELS, compared
from labrun.report.difference import Change, Difference, Section

VERDICT = Change("verdict", "supported (as-predicted)", "refuted (contradicted)", True)
LOST = Change("verdict", "supported (as-predicted)", "inconclusive (timeout)", True)
SEEN = Change("packets on host.lo: count equals 1", "1, holds", "2, does not hold")
KERNEL = (Change("kernel", "6.1", "6.18"),)
PAGE = {"own": "the run 20260921-141320-abcd took 3.2 ms\nport 40000\nend\n"}


def difference(*changes: Change) -> Difference:
    sections = (Section("own/h", changes),) if changes else ()
    return Difference("there", "here", 1, KERNEL, sections)


@pytest.mark.parametrize(
    ("changes", "page", "level", "where", "unsure"),
    [
        ((), PAGE, 4, None, False),
        ((), {"own": PAGE["own"].replace("3.2", "9.9").replace("40000", "50000")}, 4, None, False),
        ((), {"own": PAGE["own"].replace("end", "END")}, 3, "a line of the report of own", False),
        ((), {"own": "the run <run>"}, 3, "a line of the report of own", False),
        ((), {}, 3, "a line of the report of own", False),
        ((SEEN,), PAGE, 2, "own/h: packets on host.lo: count equals 1", False),
        ((SEEN, VERDICT), PAGE, 1, "own/h: verdict", False),
        ((LOST,), PAGE, 1, "own/h: verdict", True),
        ((Change("lab", "done", "skipped (missing-tool)", True),), PAGE, 1, "own/h: lab", True),
        ((Change("lab", "done", None, True),), PAGE, 1, "own/h: lab", True),
    ],
)
def test_levels(changes: tuple[Change, ...], page: dict[str, str], level: int, where: str | None, unsure: bool) -> None:
    found = compared(difference(*changes), PAGE, page)
    assert (found.level, found.first.where if found.first else None) == (level, where)
    assert found.environment == KERNEL
    assert found.first is None or _is_unsure(found.first) is unsure
    assert len(LEVELS) == 5
