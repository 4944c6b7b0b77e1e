"""Predictions in time: eventually, never, consistently, judged over the moments of a repeated snapshot.

Each moment was kept as evidence. Between two moments nobody looked: `never` and `consistently` speak of the moments,
which their message says by giving the number of them. Where more than two in a row were missed, as on a machine that
slept or was busy, silence proves nothing; nor where the kernel reported two changes of an object between two looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from labrun.evidence.record import VariantRecord
from labrun.judge.evaluation import SYMBOLS, unknown
from labrun.judge.results import Evaluation, Truth
from labrun.lab.predictions import StateIs
from labrun.logic.compare import all_of, any_of, negate
from labrun.observe.load import busy
from labrun.observe.unknown import Unknown, missing
from labrun.protocol.actions import Snapshot
from labrun.protocol.state import Sample

_NS = 1_000_000_000
_EARLY_NS = 1_000_000  # that a planned look may be before its time
_BUSY_NS = 50_000_000  # that a look may be late, on a machine that is busy
_GAP_PERIODS = 3
_OVER: dict[str, Callable[[Sequence[Truth]], Truth]] = {
    "eventually": any_of,
    "consistently": all_of,
    "never": lambda truths: negate(any_of(truths)),
}


def in_time(
    leaf: StateIs,
    sampling: tuple[float, float],
    variant: VariantRecord,
    path: str,
    at_moment: Callable[[int], Evaluation],
) -> Evaluation:
    """``sampling``: for how long and how often, in s. ``at_moment(n)`` evaluates the leaf at moment n, from 0."""
    word = next(name for name in ("eventually", "never", "consistently") if getattr(leaf, name) is not None)
    lasts_s, every_s = sampling
    period_ns = round(every_s * _NS)
    subject = f"{word} {'within' if word == 'eventually' else 'for'} {lasts_s:g} s"
    series = variant.series(leaf.selector.at)
    if not series:
        return unknown(path, subject, word, None, missing(variant, f"the moments of '{leaf.selector.at}'"))
    end_ns = series[0].t_ns + round(lasts_s * _NS)
    numbers = [number for number in _own(series, period_ns) if series[number].t_ns <= end_ns] or [0]
    traces = [at_moment(number) for number in numbers]
    truths = [trace.truth for trace in traces]
    truth = _OVER[word](truths)
    # The last look in the time is within one period before its end, else the end was not seen.
    covered = series[numbers[-1]].t_ns >= end_ns - period_ns - _BUSY_NS
    if not covered and truth is (word != "eventually"):
        text = f"'{leaf.selector.at}' was watched for less than {lasts_s:g} s{_busy(variant, leaf)}"
        return unknown(path, subject, word, None, Unknown("not-watched-to-the-end", text))
    times = [series[number].t_ns for number in numbers]
    gap_ns = max((later - earlier for earlier, later in pairwise(times)), default=0)
    if gap_ns > _GAP_PERIODS * period_ns + _BUSY_NS and truth is (word != "eventually"):
        text = (
            f"nobody looked at '{leaf.selector.at}' for {gap_ns / _NS:.3g} s of the {lasts_s:g} s{_busy(variant, leaf)}"
        )
        return unknown(path, subject, word, None, Unknown("watched-with-gaps", text))
    action = getattr(getattr(variant.step(leaf.selector.at), "step", None), "action", None)
    node = leaf.selector.node or (action.nodes[0] if isinstance(action, Snapshot) else "")
    mark = f"{node}.{leaf.kind}"
    watched = (sample for sample in series if sample.t_ns <= end_ns)
    if truth is (word != "eventually") and any(mark in (sample.unseen or ()) for sample in watched):
        text = f"{leaf.kind} of {node} changed faster than anybody looked at '{leaf.selector.at}'"
        return unknown(path, subject, word, None, Unknown("watched-with-gaps", text))
    return _told(path, subject, word, truth, numbers, traces, [time - times[0] for time in times])


def _busy(variant: VariantRecord, leaf: StateIs) -> str:
    """Whether that is the machine's doing."""
    why = busy(variant.step(leaf.selector.at))
    return f"; {why}" if why else ""


def _own(series: Sequence[Sample], period_ns: int) -> list[int]:
    """The looks that this prediction asked for, and those at changes: another may look more often at the snapshot."""
    found: list[int] = []
    due_ns = series[0].t_ns
    for number, sample in enumerate(series):
        if sample.change or sample.t_ns >= due_ns - _EARLY_NS or number == len(series) - 1:
            found.append(number)
        if not sample.change and sample.t_ns >= due_ns - _EARLY_NS:
            passed = (sample.t_ns - series[0].t_ns + _EARLY_NS) // period_ns
            due_ns = series[0].t_ns + (passed + 1) * period_ns
    return found


def _told(
    path: str,
    subject: str,
    word: str,
    truth: bool | None,
    numbers: list[int],
    traces: list[Evaluation],
    times: list[int],
) -> Evaluation:
    """The moment that decided, and how many there were."""
    decisive = {"eventually": True, "never": True, "consistently": False}[word]
    at = next((index for index, trace in enumerate(traces) if trace.truth is decisive), None)
    total = len(numbers)
    if at is not None:
        what = "it held" if decisive else "it did not hold"
        words = f"{what} after {times[at] / _NS:.3g} s (moment {numbers[at] + 1} of {total})"
    elif truth is None:
        at = next(index for index, trace in enumerate(traces) if trace.truth is None)
        words = f"moment {numbers[at] + 1} of {total} is not known"
    else:
        at = total - 1
        words = f"it did not hold at any of {total} moments" if decisive else (f"it held at all {total} moments")
    shown = traces[at]
    first = (shown.deciding(shown.truth) or shown.leaves())[0]
    open_ = truth is None
    return Evaluation(
        path, replace(first.subject, quantity=f"{first.subject.quantity}: {subject}".removeprefix(": ")), truth, word,
        _asked(shown), words, shown.reason if open_ else None, first.note if open_ else None, first.refs,
    )  # fmt: skip


def _asked(trace: Evaluation) -> str:
    """What must hold at a moment: `== 0`."""
    checks = ((SYMBOLS.get(leaf.operator or "", leaf.operator), leaf.expected) for leaf in trace.leaves())
    told = (" ".join(word for word in check if word) for check in checks)
    return " and ".join(dict.fromkeys(told))
