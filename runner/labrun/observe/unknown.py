"""Why something could not be observed: the first cause in a variant's evidence, as a code and a sentence."""

from __future__ import annotations

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.observe.load import busy
from labrun.protocol.record import dataclass

NOT_FOUND = (126, 127)  # exit statuses of a shell: a command that cannot be executed, or is not there


@dataclass(frozen=True, slots=True)
class Unknown:
    """An observation that is not there. ``code`` is for machines, ``message`` for people."""

    code: str
    message: str


def step_trouble(record: StepRecord) -> Unknown | None:
    """Why this step did not do what it should; None if it did, or did not end."""
    if record.ended is None:
        return None
    if record.ended.status == "timeout":
        why = busy(record)
        return Unknown("timeout", f"step '{record.step.id}': {record.ended.message}" + (f"; {why}" if why else ""))
    if record.ended.status == "failed":
        return Unknown("step-failed", f"step '{record.step.id}' failed: {record.ended.message}")
    return None


def first_cause(variant: VariantRecord) -> Unknown | None:
    """What went wrong first in this variant; None if nothing did."""
    for record in variant.steps:
        if (trouble := step_trouble(record)) is not None:
            return trouble
    if variant.faults:
        fault = variant.faults[0]
        return Unknown(fault.code, fault.message)
    if not variant.complete:
        return Unknown("evidence-incomplete", "the evidence ends before the agent was done")
    return None


def cut_short(variant: VariantRecord) -> Unknown | None:
    """Why not all of the plan was done; None if it was.

    What a plan that broke off never came to was never tried: that nothing is seen of it says nothing.
    """
    if all(record.ended is not None and step_trouble(record) is None for record in variant.steps):
        return None
    return first_cause(variant)


def missing(variant: VariantRecord, what: str) -> Unknown:
    """Why ``what`` is not in the evidence: the variant's first cause, or plainly that it is not there."""
    cause = first_cause(variant)
    if cause is None:
        return Unknown("evidence-missing", f"{what} is not in the evidence")
    return Unknown(cause.code, f"{what} was not observed: {cause.message}")
