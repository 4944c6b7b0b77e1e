"""Halving finds the one change there is, in few looks, and an undecided place is never taken for a verdict."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from labrun.logic.halving import UNDECIDED, change_in, next_look


def all_looks(truth: list[str]) -> tuple[list[str | None], int]:
    found: list[str | None] = [None] * len(truth)
    looks = 0
    while (place := next_look(found)) is not None:
        assert found[place] is None, "nothing is looked at twice"
        found[place] = truth[place]
        looks += 1
    return found, looks


@given(st.integers(1, 60), st.integers(1, 60))
def test_one_change_is_found_in_as_many_looks_as_halving_takes(before: int, after: int) -> None:
    found, looks = all_looks(["supported"] * before + ["refuted"] * after)
    assert change_in(found) == (before - 1, before)
    assert looks <= 2 + math.ceil(math.log2(before + after))


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_what_is_undecided_is_stepped_over_and_never_a_side(before: int, after: int, data: st.DataObject) -> None:
    truth = ["refuted"] * before + ["supported"] * after
    blind = data.draw(st.sets(st.integers(0, len(truth) - 1)))
    seen = [UNDECIDED if place in blind else verdict for place, verdict in enumerate(truth)]
    found, _ = all_looks(seen)
    left = [place for place in range(before) if place not in blind]
    right = [place for place in range(before, len(truth)) if place not in blind]
    assert change_in(found) == ((left[-1], right[0]) if left and right else None)


@given(st.integers(0, 20), st.sampled_from(["supported", "refuted", UNDECIDED]))
def test_where_both_ends_are_the_same_nothing_is_looked_for_between_them(count: int, verdict: str) -> None:
    found, looks = all_looks([verdict] * count)
    assert change_in(found) is None
    assert looks == (count if verdict == UNDECIDED else min(count, 2))
