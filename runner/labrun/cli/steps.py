"""A lab's steps as text on a terminal, from its evidence: each command, and what it printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError
from labrun.evidence.record import StepRecord, VariantRecord, read_variant
from labrun.logic.visible import visible
from labrun.protocol.events import CommandResult, Output
from labrun.protocol.plan import EXPERIMENT
from labrun.protocol.shown import equivalent

MAX_BYTES = 256 * 1024  # shown of each output
MAX_LINES = 200


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
