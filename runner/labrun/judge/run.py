"""A run directory to its results: each lab read back and judged on what was done. Needs no engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from labrun.evidence import layout
from labrun.evidence.attempts import later_attempts
from labrun.evidence.files import EvidenceMissing
from labrun.evidence.lab import StoredLab, read_lab
from labrun.evidence.record import VariantRecord, read_variant
from labrun.evidence.run import EvidenceError, LabEntry, RunRecord, read_run
from labrun.judge.edited import match
from labrun.judge.repeats import repeated
from labrun.judge.results import CaptureSummary, LabResult, RunResult
from labrun.judge.suites import SKIPPED, with_each_test
from labrun.judge.verdict import judge_hypothesis, variant_prefix
from labrun.lab.problems import LabError
from labrun.observe.outcome import Accounts, failure
from labrun.observe.packets import scan_ahead
from labrun.observe.unknown import Unknown, first_cause
from labrun.protocol.actions import Capture, Run, Start
from labrun.protocol.codec import encode
from labrun.protocol.events import CaptureResult
from labrun.protocol.plan import EXPERIMENT, Plan
from labrun.protocol.record import dataclass

SKIPPING = ("missing-tool", "missing-feature")  # faults that say: this sandbox cannot run the lab, nothing was tried

_TOLD = 20  # failed commands of a lab without claims

NONE: Mapping[str, LabResult] = {}


def judge_run(run: Path, judged: Mapping[str, LabResult] = NONE) -> RunResult:
    """``judged``: slug -> result of labs that were judged already. Raises EvidenceError where the folder is no run."""
    record = read_run(run)
    labs = [judged.get(entry.slug) or _attempts(run, record, entry) for entry in record.labs]
    labs += [
        LabResult(lab.slug, lab.slug, lab.shown, "error", (), (), "invalid-lab", "\n".join(lab.problems))
        for lab in record.invalid
    ]
    labs += [
        LabResult(slug, slug, slug, "error", (), (), "shard-missing", f"this lab did not run: {why}")
        for slug, why in (record.missing or {}).items()
    ]
    return RunResult(encode(record), tuple(labs))


def _attempts(run: Path, record: RunRecord, entry: LabEntry) -> LabResult:
    """All attempts at a lab, where the run was put together from several; their verdicts must agree."""
    results = [judge_entry(run, entry)]
    results += [judge_entry(folder, other) for folder, other in later_attempts(run, record, entry.slug)]
    return results[0] if len(results) == 1 else repeated(results)


@dataclass(frozen=True, slots=True)
class Edited:
    """Another text of a lab of the run, compiled. ``plans``: what it would do."""

    entry: LabEntry
    lab: StoredLab
    plans: tuple[Plan, ...]


def judge_edited(run: Path, labs: Sequence[Edited]) -> RunResult:
    """These labs of the run by another text of their file."""
    return RunResult(encode(read_run(run)), tuple(_judge(run, one.entry, one.lab, one.plans) for one in labs))


def judge_entry(run: Path, entry: LabEntry) -> LabResult:
    """What cannot be read back of one lab is that lab's error; the others are still judged."""
    try:
        return _judge(run, entry, read_lab(run, entry))
    except LabError as error:
        return LabResult(entry.slug, entry.slug, entry.shown, "error", (), (), "invalid-lab", str(error))
    except EvidenceError as error:
        return LabResult(entry.slug, entry.slug, entry.shown, "error", (), (), "evidence-unreadable", str(error))


def _judge(run: Path, entry: LabEntry, lab: StoredLab, edited: tuple[Plan, ...] | None = None) -> LabResult:
    """One lab of the run. Variants that are not there are unknown, not wrong. Raises EvidenceError.

    ``edited``: the plans of another text of the lab, whose predictions are judged on what was done as it says.
    """
    predictions = tuple(lab.predictions())
    results = []
    for repeat in range(1, entry.repeats + 1):
        variants: dict[str, VariantRecord] = {}
        for name in entry.variants:
            with suppress(EvidenceMissing):
                variants[name] = _read(run, entry, lab, name, repeat)
        gone: dict[str, Unknown] = {}
        if edited is not None:
            variants, gone = match(edited, variants)
        for variant in variants.values():
            if variant.damage is not None:
                continue  # it decides nothing
            # What cannot be answered ahead is asked again in its turn, where a failure is that hypothesis's alone.
            with suppress(Exception):
                scan_ahead(variant, predictions, variant_prefix(entry.slug, variant), Accounts.of(predictions))
        results.append(_result(lab, entry, variants, gone))
    return results[0] if len(results) == 1 else repeated(results)


def _read(run: Path, entry: LabEntry, lab: StoredLab, name: str, repeat: int) -> VariantRecord:
    """A variant's evidence; damaged also where it is another's. Raises EvidenceMissing where there is none."""
    record = read_variant(layout.variant_folder(run, entry.slug, name, repeat), run)
    if record.damage is None and record.plan.variant != name:
        return replace(record, damage=f"this is the evidence of '{record.plan.variant}', in the place of '{name}'")
    if record.damage is None and lab.plans.get(name, record.plan.digest) != record.plan.digest:
        return replace(record, damage="its plan is not the one that the lab was compiled to")
    return record


def _result(lab: StoredLab, entry: LabEntry, variants: dict[str, VariantRecord], gone: dict[str, Unknown]) -> LabResult:
    """``gone``: why a variant that is not there has no evidence, where that is known."""
    experiment = variants.get(EXPERIMENT)
    skip = next((f for f in experiment.faults if f.code in SKIPPING), None) if experiment is not None else None
    if skip is not None:
        ids = tuple(hypothesis.id for hypothesis in lab.hypotheses)
        return LabResult(entry.slug, lab.title, entry.shown, "skipped", (), (), skip.code, skip.message, ids)
    judged = [hypothesis for one in lab.hypotheses for hypothesis in with_each_test(one, lab, experiment)]
    hypotheses = tuple(judge_hypothesis(lab, hypothesis, variants, gone) for hypothesis in judged)
    if hypotheses and all(one.reason == SKIPPED for one in hypotheses):
        ids, why = tuple(one.id for one in hypotheses), hypotheses[0].trace.note or hypotheses[0].message
        return LabResult(entry.slug, lab.title, entry.shown, "skipped", (), (), SKIPPED, why, ids)
    captures = _captures(experiment, entry.slug) if experiment is not None else ()
    cause = first_cause(experiment) if experiment is not None else None
    if experiment is None:
        cause = gone.get(EXPERIMENT) or Unknown("not-run", "it did not run")
    status: Literal["done", "error"] = "done" if cause is None else "error"
    code, message = (None, None) if cause is None else (cause.code, cause.message)
    if not lab.hypotheses and cause is None and experiment is not None:
        message = _ran(experiment)
    return LabResult(entry.slug, lab.title, entry.shown, status, hypotheses, captures, code, message)


def _ran(variant: VariantRecord) -> str:
    """What a lab did that claims nothing, and a line for each command of it that failed."""
    commands = [record for record in variant.steps if isinstance(record.step.action, Run | Start)]
    failures = [found.why.message for record in commands if (found := failure(variant, record)) is not None]
    count = f"{len(commands)} command{'' if len(commands) == 1 else 's'}"
    more = [f"and {len(failures) - _TOLD} more"] if len(failures) > _TOLD else []
    return "\n".join([f"ran, {count}, {len(failures)} failed, nothing was claimed", *failures[:_TOLD], *more])


def _captures(variant: VariantRecord, slug: str) -> tuple[CaptureSummary, ...]:
    found = []
    for record in variant.steps:
        action = record.step.action
        if not isinstance(action, Capture) or record.ended is None:
            continue
        if not isinstance(record.ended.result, CaptureResult):
            continue
        end = record.capture
        found.append(
            CaptureSummary(
                step=record.step.id,
                node=record.step.node or "",
                interfaces=end.interfaces if end is not None else action.interfaces,
                file=f"labs/{slug}/{EXPERIMENT}/{record.ended.result.path}",
                packets=end.packets if end is not None else None,
                drops=end.drops if end is not None else None,
            )
        )
    return tuple(found)
