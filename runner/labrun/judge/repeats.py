"""Several runs of one lab into one result: a verdict that is not the same each time is not known to be true."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from labrun.judge.evaluation import DURATION, times
from labrun.judge.results import HypothesisResult, LabResult


def repeated(results: Sequence[LabResult]) -> LabResult:
    """``results``: of the same lab, in the order of the runs. Traces and captures are the first run's.

    A run that broke or was skipped stands for the lab: it is the first one's status that differs from done.
    """
    first = next((result for result in results if result.status != "done"), results[0])
    if any(not result.hypotheses for result in results):
        return first
    judged = [{one.id: one for one in result.hypotheses} for result in results]
    ids = dict.fromkeys(name for each in judged for name in each)
    columns = [[each[name] for each in judged if name in each] for name in ids]
    return replace(first, hypotheses=tuple(_same(column, len(results)) for column in columns))


def _same(column: Sequence[HypothesisResult], runs: int) -> HypothesisResult:
    """``runs``: how many there were. A test that not every run has is in fewer."""
    counts: dict[str, int] = dict(sorted(Counter(str(result.verdict) for result in column).items()))
    first = replace(column[0], repeats=counts, timing=_timing(column))
    if len(column) < runs:
        text = f"only {len(column)} of {runs} runs have it"
        return replace(first, verdict="inconclusive", as_expected=False, reason="unstable", message=text)
    if len(counts) == 1:
        return first
    odd = next(result for result in column if result.verdict != column[0].verdict)
    text = f"{len(column)} runs did not agree: {times(counts)}; one of them says: {odd.message}"
    return replace(first, verdict="inconclusive", as_expected=False, reason="unstable", message=text)


def _timing(column: Sequence[HypothesisResult]) -> dict[str, tuple[float, float, float]] | None:
    """(min, median, max) in seconds of every duration that the prediction looks at."""
    seen: dict[str, list[float]] = {}
    for result in column:
        for leaf in result.trace.leaves():
            if leaf.subject.quantity == DURATION and leaf.actual is not None:
                seen.setdefault(str(leaf.subject), []).append(float(leaf.actual))
    found = {what: (min(seconds), statistics.median(seconds), max(seconds)) for what, seconds in seen.items()}
    return found or None
