"""A run directory to its results: each lab read back, compiled as it was, and judged. Needs no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord, read_variant
from labrun.evidence.run import EvidenceError, LabEntry, read_run
from labrun.judge.results import CaptureSummary, LabResult, RunResult
from labrun.judge.verdict import judge_hypothesis
from labrun.judge.why import Unknown, first_cause
from labrun.lab.compile import EXPERIMENT, CompiledLab, compile_lab
from labrun.lab.load import parse_lab
from labrun.lab.problems import LabError
from labrun.lab.text import read_text
from labrun.protocol.actions import Capture
from labrun.protocol.codec import encode
from labrun.protocol.events import CaptureResult

SKIPPING = ("missing-tool", "missing-feature")  # faults that say: this sandbox cannot run the lab, nothing was tried


def judge_run(run: Path) -> RunResult:
    """Raises EvidenceError where the folder is no run."""
    record = read_run(run)
    labs = [judge_entry(run, entry) for entry in record.labs]
    labs += [
        LabResult(lab.slug, lab.slug, lab.shown, "error", (), (), "invalid-lab", "\n".join(lab.problems))
        for lab in record.invalid
    ]
    return RunResult(encode(record), tuple(labs))


def judge_entry(run: Path, entry: LabEntry) -> LabResult:
    """What cannot be read back of one lab is that lab's error; the others are still judged."""
    try:
        return judge_lab(run, entry)
    except LabError as error:
        return LabResult(entry.slug, entry.slug, entry.shown, "error", (), (), "invalid-lab", str(error))
    except EvidenceError as error:
        return LabResult(entry.slug, entry.slug, entry.shown, "error", (), (), "evidence-unreadable", str(error))


def judge_lab(run: Path, entry: LabEntry) -> LabResult:
    """One lab of the run. Variants that are not there are unknown, not wrong.

    Raises LabError where the kept lab file no longer loads, EvidenceError where its evidence is damaged.
    """
    file = layout.lab_folder(run, entry.slug) / layout.LAB
    lab = parse_lab(read_text(file, entry.shown), file, entry.slug, entry.shown)
    compiled = compile_lab(lab)
    variants: dict[str, VariantRecord] = {}
    for name in entry.variants:
        folder = layout.variant_folder(run, entry.slug, name)
        if (folder / layout.EVENTS).exists():
            variants[name] = read_variant(folder)
    return _result(compiled, entry, variants)


def _result(compiled: CompiledLab, entry: LabEntry, variants: dict[str, VariantRecord]) -> LabResult:
    lab = compiled.lab
    experiment = variants.get(EXPERIMENT)
    skip = next((f for f in experiment.faults if f.code in SKIPPING), None) if experiment is not None else None
    if skip is not None:
        ids = tuple(hypothesis.id for hypothesis in lab.model.hypotheses)
        return LabResult(lab.slug, lab.model.title, entry.shown, "skipped", (), (), skip.code, skip.message, ids)
    hypotheses = tuple(
        judge_hypothesis(lab, index, variants, compiled.controls[hypothesis.id])
        for index, hypothesis in enumerate(lab.model.hypotheses)
    )
    captures = _captures(experiment, entry.slug) if experiment is not None else ()
    cause = first_cause(experiment) if experiment is not None else None
    if experiment is None:
        cause = Unknown("not-run", "it did not run")
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
