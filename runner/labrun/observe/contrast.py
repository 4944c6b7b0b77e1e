"""What else differs between an experiment and its control, beside what the control changes.

A control that takes away more than the supposed cause proves less than it seems to.
"""

from __future__ import annotations

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.observe.outcome import ending
from labrun.protocol.events import ChangeResult

_MOST = 6
_LONGER = 2.0  # times
_AT_LEAST_S = 0.2  # of difference; less is nothing


def contrast(experiment: VariantRecord, control: VariantRecord) -> tuple[str, ...]:
    """Sentences about steps that both have: other ends, and much less or more time in which something could happen."""
    found = [text for here in experiment.steps for text in _of_step(here, control.step(here.step.id))]
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return (*found[:_MOST], *more)


def _of_step(here: StepRecord, there: StepRecord | None) -> list[str]:
    if there is None or here.step.phase != "lab":
        return []
    name, found = here.step.id, []
    one, other = _end(here), _end(there)
    if one != other and None not in (one, other):
        found.append(f"step '{name}' ended with {other}, in the experiment with {one}")
    long_s, short_s = _took_s(here), _took_s(there)  # no figures: they differ from run to run
    if long_s is not None and short_s is not None:
        low, high = sorted((long_s, short_s))
        if high - low > _AT_LEAST_S and high > _LONGER * low:
            word = "less" if short_s < long_s else "more"
            found.append(f"step '{name}' took much {word} time than in the experiment")
    return found


def _end(record: StepRecord) -> str | None:
    ended = ending(record)
    if ended is not None:
        return ended.signal or f"exit {ended.exit}"
    result = record.ended.result if record.ended is not None else None
    return f"errno {result.errno or 'none'}" if isinstance(result, ChangeResult) else None


def _took_s(record: StepRecord) -> float | None:
    if record.started is None or record.ended is None:
        return None
    return (record.ended.t_ns - record.started.t_ns) / 1e9
