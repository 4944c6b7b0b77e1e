"""A lab's steps as text on a terminal, from its evidence: each command, and what it printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError
from labrun.evidence.record import StepRecord, VariantRecord, read_variant
from labrun.judge.results import HypothesisResult
from labrun.logic.visible import visible
from labrun.protocol.events import CommandResult, Output
from labrun.protocol.plan import EXPERIMENT
from labrun.protocol.record import dataclass
from labrun.protocol.shown import equivalent

MAX_BYTES = 256 * 1024  # shown of each output
MAX_LINES = 200
LAST_BYTES = 4096
LAST_LINES = 5


def step_lines(run: Path, slug: str) -> Iterator[str]:
    """Of the experiment's own steps, whole lines. What cannot be read is said, and nothing is raised."""
    try:
        variant = read_variant(layout.variant_folder(run, slug, EXPERIMENT), run)
    except EvidenceError as error:
        yield visible(str(error))
        return
    for record in variant.steps:
        if record.step.phase == "lab":
            yield from _step(variant, record)


def _step(variant: VariantRecord, record: StepRecord) -> Iterator[str]:
    step = record.step
    first, *rest = (step.shell or equivalent(step.action)).rstrip("\n").split("\n")
    yield visible(f"{step.node or 'lab'}# {first}")
    yield from (visible(f"> {line}") for line in rest)
    result = record.ended.result if record.ended is not None else None
    outputs = result if isinstance(result, CommandResult) else record.process
    if outputs is not None:
        yield from output_lines(variant, outputs.stdout)
        yield from output_lines(variant, outputs.stderr)
        if outputs.exit or outputs.signal:
            yield f"[{visible(outputs.signal) if outputs.signal else f'exit {outputs.exit}'}]"
    yield from _trouble(record)


def _trouble(record: StepRecord) -> Iterator[str]:
    if record.started is None:
        yield "[not run]"
    elif record.ended is None:
        yield "[did not end]"
    elif record.ended.message:
        yield visible(f"[{record.ended.status}: {record.ended.message}]")


def output_lines(variant: VariantRecord, output: Output) -> Iterator[str]:
    try:
        data = variant.output(output, MAX_BYTES)
    except EvidenceError as error:
        yield visible(str(error))
        return
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    yield from (visible(line, "\t") for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES or output.size > len(data):
        yield f"[... {output.size} bytes in all: {visible(output.path)}]"


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a step printed last. ``path``: the file that has all of it."""

    step: str
    path: Path
    lines: tuple[str, ...]


def last_words(run: Path, slug: str, hypothesis: HypothesisResult | None) -> LastWords | None:
    """Of the step that decided a hypothesis, by the evidence that it cites; of a lab (None), of the step that broke it.

    None where that step printed nothing, or is none that prints.
    """
    try:
        variant = read_variant(layout.variant_folder(run, slug, EXPERIMENT), run)
        record = _broken(variant) if hypothesis is None else _decided(variant, slug, hypothesis)
        result = record.ended.result if record is not None and record.ended is not None else None
        outputs = result if isinstance(result, CommandResult) else record.process if record is not None else None
        if record is None or outputs is None:
            return None
        output = outputs.stderr if outputs.stderr.size else outputs.stdout
        text = variant.output_end(output, LAST_BYTES).decode("utf-8", "surrogateescape")
    except EvidenceError:
        return None
    lines = [visible(line, "\t") for line in text.splitlines() if line.strip()][-LAST_LINES:]
    return LastWords(record.step.id, variant.folder / output.path, tuple(lines)) if lines else None


def _broken(variant: VariantRecord) -> StepRecord | None:
    """The first that failed, or that did not end."""
    begun = [record for record in variant.steps if record.started is not None]
    return next((record for record in begun if record.ended is None or record.ended.status != "ok"), None)


def _decided(variant: VariantRecord, slug: str, hypothesis: HypothesisResult) -> StepRecord | None:
    """The first step of the experiment that a deciding check cites: its output, or the line of its end."""
    folder = f"labs/{slug}/{EXPERIMENT}/"
    for leaf in hypothesis.trace.deciding(hypothesis.trace.truth):
        for ref in leaf.refs:
            inside = ref.file.removeprefix(folder)
            for record in variant.steps:
                printed = inside.startswith(f"outputs/{record.step.id}.")
                if printed or (inside == layout.EVENTS and ref.line is not None and record.line == ref.line):
                    return record
    return None
