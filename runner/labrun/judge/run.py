"""A run directory to its results: each lab read back, compiled as it was, and judged. Needs no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord, read_variant
from labrun.evidence.run import EvidenceError, LabEntry, read_run
from labrun.judge.edited import match
from labrun.judge.repeats import repeated
from labrun.judge.results import CaptureSummary, LabResult, RunResult
from labrun.judge.verdict import judge_hypothesis, variant_prefix
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import EXPERIMENT, CompiledLab, compile_lab
from labrun.lab.load import parse_lab
from labrun.lab.model import all_predictions
from labrun.lab.problems import LabError
from labrun.lab.text import read_text
from labrun.observe.outcome import Accounts
from labrun.observe.packets import scan_ahead
from labrun.observe.unknown import Unknown, first_cause
from labrun.protocol.actions import Capture
from labrun.protocol.codec import encode
from labrun.protocol.events import CaptureResult

SKIPPING = ("missing-tool", "missing-feature")  # faults that say: this sandbox cannot run the lab, nothing was tried

NONE: Mapping[str, LabResult] = {}


def judge_run(run: Path, judged: Mapping[str, LabResult] = NONE) -> RunResult:
    """``judged``: slug -> result of labs that were judged already. Raises EvidenceError where the folder is no run."""
    record = read_run(run)
    labs = [judged.get(entry.slug) or judge_entry(run, entry) for entry in record.labs]
    labs += [
        LabResult(lab.slug, lab.slug, lab.shown, "error", (), (), "invalid-lab", "\n".join(lab.problems))
        for lab in record.invalid
    ]
    return RunResult(encode(record), tuple(labs))


def judge_edited(run: Path, entries: tuple[LabEntry, ...], text: str, shown: str) -> RunResult:
    """These labs of the run by another text of their file. Raises LabError where that text is wrong."""
    for entry in entries:
        problems = check_filters(parse_lab(text, run, entry.slug, shown, entry.cell))
        if problems:
            raise LabError(problems)
    labs = tuple(judge_lab(run, replace(entry, shown=shown), text) for entry in entries)
    return RunResult(encode(read_run(run)), labs)


def judge_entry(run: Path, entry: LabEntry) -> LabResult:
    """What cannot be read back of one lab is that lab's error; the others are still judged."""
    try:
        return judge_lab(run, entry)
    except LabError as error:
        return LabResult(entry.slug, entry.slug, entry.shown, "error", (), (), "invalid-lab", str(error))
    except EvidenceError as error:
        return LabResult(entry.slug, entry.slug, entry.shown, "error", (), (), "evidence-unreadable", str(error))


def judge_lab(run: Path, entry: LabEntry, edited: str | None = None) -> LabResult:
    """One lab of the run. Variants that are not there are unknown, not wrong.

    ``edited``: another text of the lab file, whose predictions are judged on what was done as it says. Raises LabError
    where the lab file does not load, EvidenceError where its evidence is damaged.
    """
    file = layout.lab_folder(run, entry.slug) / layout.LAB
    text = edited if edited is not None else read_text(file, entry.shown)
    lab = parse_lab(text, file, entry.slug, entry.shown, entry.cell)
    compiled = compile_lab(lab)
    predictions = tuple(all_predictions(lab.model))
    results = []
    for repeat in range(1, entry.repeats + 1):
        variants: dict[str, VariantRecord] = {}
        for name in entry.variants:
            folder = layout.variant_folder(run, entry.slug, name, repeat)
            if (folder / layout.EVENTS).exists():
                variants[name] = read_variant(folder)
        gone: dict[str, Unknown] = {}
        if edited is not None:
            variants, gone = match(compiled, variants)
        for variant in variants.values():
            scan_ahead(variant, predictions, variant_prefix(entry.slug, variant), Accounts.of(predictions))
        results.append(_result(compiled, entry, variants, gone))
    return results[0] if len(results) == 1 else repeated(results)


def _result(
    compiled: CompiledLab, entry: LabEntry, variants: dict[str, VariantRecord], gone: dict[str, Unknown]
) -> LabResult:
    """``gone``: why a variant that is not there has no evidence, where that is known."""
    lab = compiled.lab
    experiment = variants.get(EXPERIMENT)
    skip = next((f for f in experiment.faults if f.code in SKIPPING), None) if experiment is not None else None
    if skip is not None:
        ids = tuple(hypothesis.id for hypothesis in lab.model.hypotheses)
        return LabResult(lab.slug, lab.model.title, entry.shown, "skipped", (), (), skip.code, skip.message, ids)
    hypotheses = tuple(
        judge_hypothesis(lab, index, variants, compiled.controls[hypothesis.id], gone)
        for index, hypothesis in enumerate(lab.model.hypotheses)
    )
    captures = _captures(experiment, entry.slug) if experiment is not None else ()
    cause = first_cause(experiment) if experiment is not None else None
    if experiment is None:
        cause = gone.get(EXPERIMENT) or Unknown("not-run", "it did not run")
    status: Literal["done", "error"] = "done" if cause is None else "error"
    code, message = (None, None) if cause is None else (cause.code, cause.message)
    return LabResult(lab.slug, lab.model.title, entry.shown, status, hypotheses, captures, code, message)


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
