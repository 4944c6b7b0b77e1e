"""Traces to verdicts. Supported: true here and false in every control. Refuted: contradicted by a valid observation.

Everything else is inconclusive, with a code. An error is never a refutation.
"""

from __future__ import annotations

from collections.abc import Mapping

from labrun.evidence.lab import StoredControl, StoredHypothesis, StoredLab, StoredPrediction, Unreadable
from labrun.evidence.record import VariantRecord
from labrun.evidence.run import EvidenceError
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import joined, sentence
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, Subject, Verdict
from labrun.lab.predictions import timed_steps
from labrun.observe.contrast import contrast
from labrun.observe.load import busy
from labrun.observe.outcome import Accounts
from labrun.observe.unknown import Unknown, cut_short, first_cause
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
    if verdict == "refuted" and hypothesis.expect != "refuted" and (why := _busy(hypothesis, variants)):
        message += f"; {why}"
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


def _busy(hypothesis: StoredHypothesis, variants: Mapping[str, VariantRecord]) -> str | None:
    """Whether the machine was busy during a step whose time the prediction is about."""
    experiment = variants.get(EXPERIMENT)
    if experiment is None or isinstance(hypothesis.predict, Unreadable):
        return None
    told = (busy(experiment.step(step_id)) for step_id in timed_steps(hypothesis.predict))
    return next((words for words in told if words is not None), None)


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
    trace = _undisturbed(trace, _no_counterfactual(variants.get(name)))
    experiment, control = variants.get(EXPERIMENT), variants.get(name)
    differs = contrast(experiment, control) if experiment is not None and control is not None else ()
    must = model.predict is not None
    return ControlResult(name, _change(model, control), trace.truth, trace, model.note, must, differs)


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


def _no_counterfactual(variant: VariantRecord | None) -> Unknown | None:
    """Why a control is not what it says: it broke off. What it never came to does not fail for want of the cause."""
    return cut_short(variant) if variant is not None else None


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
        if variant.damage is not None:
            return Evaluation("", Subject("the evidence"), None, reason="evidence-damaged", note=variant.damage)
        trace = evaluate(prediction, variant, prefix, accounts=Accounts.of(lab.predictions()))
        cause = None if variant.complete else first_cause(variant)
        if cause is None:
            return trace
        # What arrived before a sandbox died is shown, but it is not known to be all that there was.
        return Evaluation("", Subject("the evidence"), None, reason=cause.code, note=cause.message, children=(trace,))
    except EvidenceError as error:
        return Evaluation("", Subject("the evidence"), None, reason="evidence-unreadable", note=str(error))
    except Exception as error:  # noqa: BLE001  a checker that crashes has found nothing out
        note = f"{type(error).__name__}: {error}"
        return Evaluation("", Subject("the prediction"), None, reason="checker-crashed", note=note)


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
    notes = dict.fromkeys(leaf.note for leaf in trace.deciding(True) if leaf.note and leaf.operator != "expr")
    shown = "as predicted"
    if controls:
        shown += ", and not so in the control" if len(controls) == 1 else f", and not so in {len(controls)} controls"
    return "supported", "as-predicted", "; ".join([shown, *notes])


def _because(trace: Evaluation, truth: bool | None) -> str:
    """The messages of the leaves that made it so."""
    leaves = trace.deciding(truth) or (trace,)
    rest = f" (and {len(leaves) - 1} more)" if len(leaves) > 1 else ""
    return sentence(leaves[0]) + rest
