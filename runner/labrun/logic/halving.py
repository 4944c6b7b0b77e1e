"""Where in a row of places a verdict changes, with as few looks as can be. Pure."""

from __future__ import annotations

from collections.abc import Sequence

UNDECIDED = ""  # it was looked at, and nothing came of it


def next_look(found: Sequence[str | None]) -> int | None:
    """The place to look at next; None: nothing more can be learnt. ``found``: a verdict, UNDECIDED, or not yet (None).

    First both ends, as far in as it takes to decide one; then the middle of what is left between two verdicts.
    """
    for places in (range(len(found)), range(len(found) - 1, -1, -1)):
        first = next((place for place in places if found[place] != UNDECIDED), None)
        if first is not None and found[first] is None:
            return first
    change = change_in(found)
    if change is None:
        return None
    low, high = change
    open_ones = [place for place in range(low + 1, high) if found[place] is None]
    return min(open_ones, key=lambda place: abs(2 * place - low - high), default=None)


def change_in(found: Sequence[str | None]) -> tuple[int, int] | None:
    """The last place with the first verdict, and the first with another one. None: no two verdicts differ."""
    firm = [place for place, verdict in enumerate(found) if verdict]
    high = next((place for place in firm if found[place] != found[firm[0]]), None)
    return None if high is None else (max(place for place in firm if place < high), high)
