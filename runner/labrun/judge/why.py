"""Why something could not be observed: the first cause in a variant's evidence, as a code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from labrun.evidence.record import StepRecord, VariantRecord


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
        return Unknown("timeout", f"step '{record.step.id}': {record.ended.message}")
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


def missing(variant: VariantRecord, what: str) -> Unknown:
    """Why ``what`` is not in the evidence: the variant's first cause, or plainly that it is not there."""
    cause = first_cause(variant)
    if cause is None:
        return Unknown("evidence-missing", f"{what} is not in the evidence")
    return Unknown(cause.code, f"{what} was not observed: {cause.message}")
