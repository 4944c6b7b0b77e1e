"""Traces to verdicts. Supported: true here and false in every control. Refuted: contradicted by a valid observation.

Everything else is inconclusive, with a code. An error is never a refutation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from labrun.evidence.lab import StoredControl, StoredHypothesis, StoredLab, StoredPrediction, Unreadable
from labrun.evidence.record import StepRecord, VariantRecord
from labrun.evidence.run import EvidenceError
from labrun.judge.evaluate import evaluate, expects
from labrun.judge.evaluation import joined, sentence
from labrun.judge.expression import named_exits
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, Subject, Verdict
from labrun.lab.predictions import CommandIs, ExprIs, leaves
from labrun.observe.unknown import Unknown, cut_short, first_cause, never_ran, not_found
from labrun.protocol.events import CommandResult, ProcessEnded
from labrun.protocol.plan import EXPERIMENT
from labrun.protocol.shown import equivalent


def judge_hypothesis(
    lab: StoredLab,
    hypothesis: StoredHypothesis,
    variants: Mapping[str, VariantRecord],
    gone: Mapping[str, Unknown] = {},
) -> HypothesisResult:
    """``gone``: why a variant is not there, where that is known."""
    trace = _trace(hypothesis.predict, variants, gone, lab, EXPERIMENT)
    results = tuple(_control(lab, hypothesis, control, variants, gone) for control in hypothesis.controls)
    verdict, reason, message = _decide(trace, results)
    return HypothesisResult(
        id=hypothesis.id,
        claim=hypothesis.claim,
        expect=hypothesis.expect,
        verdict=verdict,
        as_expected=verdict == hypothesis.expect,
        reason=reason,
        message=message,
        line=hypothesis.line,
        trace=trace,
        controls=results,
        no_control=hypothesis.no_control,
        because=hypothesis.because,
    )


def variant_prefix(slug: str, variant: VariantRecord) -> str:
    """Where this evidence is, relative to the run directory: a repeat has a folder of its own."""
    return f"labs/{slug}/{variant.folder.name}/"


def _control(
    lab: StoredLab,
    hypothesis: StoredHypothesis,
    model: StoredControl,
    variants: Mapping[str, VariantRecord],
    gone: Mapping[str, Unknown],
) -> ControlResult:
    name = model.variant
    prediction = model.predict or hypothesis.predict
    trace = _trace(prediction, variants, gone, lab, name)
    if model.predict is not None:
        trace = _and_not(trace, _trace(hypothesis.predict, variants, gone, lab, name))
    trace = _undisturbed(trace, _no_counterfactual(model, prediction, variants.get(name), variants.get(EXPERIMENT)))
    return ControlResult(
        name, _change(model, variants.get(name)), trace.truth, trace, model.note, model.predict is not None
    )


def _and_not(own: Evaluation, claimed: Evaluation) -> Evaluation:
    """A control's own prediction says more than "the claim's is false there". Where that holds, too, it says nothing.

    What the claim's prediction names need not be in the control: where it is unknown, the own one is enough.
    """
    if own.truth is not True or claimed.truth is not True:
        return own
    return joined("", "all", "all of", (own, Evaluation("not", Subject("not"), False, "not", children=(claimed,))))


def _undisturbed(trace: Evaluation, cause: Unknown | None) -> Evaluation:
    """What a control without its counterfactual shows decides nothing, whichever way it is."""
    if cause is None or trace.truth is None:
        return trace
    return Evaluation("", Subject("the evidence"), None, reason=cause.code, note=cause.message, children=(trace,))


def _no_counterfactual(
    model: StoredControl, prediction: StoredPrediction, variant: VariantRecord | None, experiment: VariantRecord | None
) -> Unknown | None:
    """Why a control is not what it says: it broke off, or a command that makes the difference failed.

    What it never came to does not fail for want of the cause, and what was never changed changes nothing. How a command
    ends is an observation where the prediction looks at it, and is no matter where the experiment's ended so, too.
    """
    cause = cut_short(variant) if variant is not None else None
    if cause is not None or variant is None or experiment is None:
        return cause
    looked_at = _exits_looked_at(prediction)
    for record in variant.steps:
        before = experiment.step(record.step.id)
        status = _failure(record)
        if status is None or record.step.id in looked_at or not _makes_the_difference(model, record, before):
            continue
        if model.parameters is None or before is None or _failure(before) != status:
            text = (
                f"its own step '{record.step.id}' ended with {status}, so that it may not have changed what it was to"
                " change; where that is meant, look at the exit in its predict"
            )
            return Unknown("step-failed", text)
    return None


def _makes_the_difference(model: StoredControl, record: StepRecord, before: StepRecord | None) -> bool:
    """Is this step the control's own: new, another one, or with a parameter that is another?"""
    if before is None or (before.step.action, before.step.node) != (record.step.action, record.step.node):
        return True
    text = record.step.shell or ""
    return any(re.search(rf"\$\{{?{name}\b", text) for name in model.parameters or ())


def _failure(record: StepRecord) -> str | None:
    """How a command, or a process that the lab did not stop, ended other than well."""
    ended = record.process or (record.ended.result if record.ended is not None else None)
    if isinstance(ended, ProcessEnded) and (ended.stopped or record.step.may_fail):
        return None
    if not isinstance(ended, ProcessEnded | CommandResult) or ended.exit == 0:
        return None
    return f"exit status {ended.exit}" if ended.exit is not None else f"signal {ended.signal}"


def _exits_looked_at(prediction: StoredPrediction) -> set[str]:
    """The commands whose exit status the prediction asks for."""
    found: set[str] = set()
    for _, leaf in () if isinstance(prediction, Unreadable) else leaves(prediction):
        if isinstance(leaf, CommandIs) and leaf.exit is not None:
            found.add(leaf.command)
        elif isinstance(leaf, ExprIs):
            found |= set(leaf.exits.values())
    return found


def _trace(
    prediction: StoredPrediction,
    variants: Mapping[str, VariantRecord],
    gone: Mapping[str, Unknown],
    lab: StoredLab,
    name: str,
) -> Evaluation:
    if isinstance(prediction, Unreadable):
        note = f"this labrun cannot read it: {prediction.message}"
        return Evaluation("", Subject("the prediction"), None, reason="prediction-unreadable", note=note)
    variant = variants.get(name)
    if variant is None:
        why = gone.get(name) or Unknown("not-run", f"there is no evidence of '{name}': it did not run")
        return Evaluation("", Subject("the evidence"), None, reason=why.code, note=why.message)
    prefix = variant_prefix(lab.slug, variant)
    try:
        trace = evaluate(prediction, variant, prefix)
        cause = None if variant.complete else first_cause(variant)
        if cause is None:
            return _undisturbed(trace, _never_tried(lab, variant))
        # What arrived before a sandbox died is shown, but it is not known to be all that there was.
        return Evaluation("", Subject("the evidence"), None, reason=cause.code, note=cause.message, children=(trace,))
    except EvidenceError as error:
        return Evaluation("", Subject("the evidence"), None, reason="evidence-unreadable", note=str(error))
    except Exception as error:  # noqa: BLE001  a checker that crashes has found nothing out
        note = f"{type(error).__name__}: {error}"
        return Evaluation("", Subject("the prediction"), None, reason="checker-crashed", note=note)


def _never_tried(lab: StoredLab, variant: VariantRecord) -> Unknown | None:
    """A command that is not there, and that nobody expects to be missing: what it was to do was never tried.

    Whoever expects it says so in some prediction of the lab, by its exit status or by what the shell complains of.
    """
    asked = [leaf for prediction in lab.predictions() for _, leaf in leaves(prediction)]
    for record in variant.steps:
        absent = never_ran(variant, record)
        if absent is not None and not any(_expects(leaf, record) for leaf in asked):
            return absent
    return None


def _expects(leaf: object, record: StepRecord) -> bool:
    command, status = record.step.id, not_found(record)
    if isinstance(leaf, CommandIs):
        return leaf.command == command and expects(leaf, status)
    return status is not None and isinstance(leaf, ExprIs) and (command, status) in named_exits(leaf)


def _change(model: StoredControl, variant: VariantRecord | None) -> str:
    """What is different in the control, in words."""
    if model.without is not None:
        return f"without step '{model.without}'"
    if model.parameters is not None:
        return "with " + ", ".join(f"{name} = {value}" for name, value in model.parameters.items())
    steps = {record.step.id: record.step for record in variant.steps} if variant is not None else {}
    if model.replace is not None:
        step = steps.get(model.replace)
        return f"step '{model.replace}' replaced" + (f" by: {step.shell or equivalent(step.action)}" if step else "")
    commands = [steps[name].shell or equivalent(steps[name].action) for name in model.inserted if name in steps]
    place = f"before step '{model.before}'" if model.before else f"after step '{model.after}'"
    return f"{place}: {'; '.join(commands)}" if commands else f"{place}: {len(model.inserted)} more"


def _decide(trace: Evaluation, controls: tuple[ControlResult, ...]) -> tuple[Verdict, str, str]:
    """(verdict, reason code, sentence)"""
    if trace.truth is False:
        return "refuted", "contradicted", _because(trace, False)
    if trace.truth is None:
        return "inconclusive", trace.reason or "unknown", _because(trace, None)
    for control in controls:
        if control.truth is not None and control.truth is not control.must:
            if control.must:
                text = f"the control ({control.change}) is not as it must be: {_because(control.trace, control.truth)}"
                return "inconclusive", "control-differs", text
            text = f"the control shows the same ({control.change}): the cause is not what the claim says"
            return "inconclusive", "control-agrees", text
    for control in controls:
        if control.truth is None:
            text = f"the control ({control.change}) could not be judged: {_because(control.trace, None)}"
            return "inconclusive", f"control-{control.trace.reason or 'unknown'}", text
    shown = "as predicted"
    if controls:
        shown += ", and not so in the control" if len(controls) == 1 else f", and not so in {len(controls)} controls"
    return "supported", "as-predicted", shown


def _because(trace: Evaluation, truth: bool | None) -> str:
    """The messages of the leaves that made it so."""
    leaves = trace.deciding(truth) or (trace,)
    rest = f" (and {len(leaves) - 1} more)" if len(leaves) > 1 else ""
    return sentence(leaves[0]) + rest
