"""What else differs between an experiment and its control, beside what the control changes.

A control that takes away more than the supposed cause proves less than it seems to.
"""

from __future__ import annotations

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.observe.outcome import ending
from labrun.protocol.events import ChangeResult

_MOST = 6


def contrast(experiment: VariantRecord, control: VariantRecord) -> tuple[str, ...]:
    """Sentences about steps that both have and that ended in another way."""
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
    return found


def _end(record: StepRecord) -> str | None:
    ended = ending(record)
    if ended is not None:
        return ended.signal or f"exit {ended.exit}"
    result = record.ended.result if record.ended is not None else None
    return f"errno {result.errno or 'none'}" if isinstance(result, ChangeResult) else None
