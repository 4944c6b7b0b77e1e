"""References of a verdict into the evidence, as links: to the row or step that this page shows, else to the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord
from labrun.evidence.ref import Ref
from labrun.judge.results import Evaluation, HypothesisResult
from labrun.protocol.events import CommandResult, SeriesResult, SnapshotResult, TraceResult
from labrun.protocol.plan import EXPERIMENT
from labrun.report import anchors
from labrun.report.packets import capture_path
from labrun.report.view import CaptureView, Link
from labrun.report.visible import one_line, shorten

MAX_PACKETS = 6  # linked of one reference; the rest are counted


class Places:
    """Where the files of a lab's evidence are shown on the page."""

    def __init__(self, slug: str, variants: Sequence[VariantRecord], run: Path) -> None:
        self._steps: dict[str, tuple[str, str]] = {}  # file -> words, anchor of its step
        self._captures: dict[str, tuple[str, str, str]] = {}  # file -> slug, variant, step
        self._events: dict[tuple[str, int], tuple[str, str]] = {}
        self._rows: set[str] = set()
        self.variants = frozenset(variant.plan.variant for variant in variants)
        for variant in variants:
            folder = variant.folder.relative_to(run).as_posix()
            name = variant.plan.variant
            for record in variant.steps:
                is_setup = record.step.phase == "topology"
                anchor = anchors.setup(slug, name) if is_setup else anchors.step(slug, name, record.step.id)
                if (path := capture_path(record)) is not None:
                    self._captures[f"{folder}/{path}"] = (slug, name, record.step.id)
                result = record.ended.result if record.ended else None
                for outputs in (result, record.process):
                    if isinstance(outputs, CommandResult) or (outputs is not None and outputs is record.process):
                        self._steps[f"{folder}/{outputs.stdout.path}"] = (f"stdout of {record.step.id}", anchor)
                        self._steps[f"{folder}/{outputs.stderr.path}"] = (f"stderr of {record.step.id}", anchor)
                if isinstance(result, SnapshotResult | SeriesResult):
                    self._steps[f"{folder}/{result.path}"] = (f"snapshot {record.step.id}", anchor)
                if isinstance(result, TraceResult):
                    self._steps[f"{folder}/{result.path}"] = (f"trace {record.step.id}", anchor)
                if record.line is not None and (record.step.phase == "lab" or name == EXPERIMENT):
                    self._events[f"{folder}/{layout.EVENTS}", record.line] = (f"step {record.step.id}", anchor)

    def show(self, captures: Iterable[CaptureView]) -> None:
        """These packet rows are on the page and can be linked to."""
        self._rows |= {row.anchor for capture in captures for group in capture.groups for row in group.rows}

    def links(self, ref: Ref) -> tuple[Link, ...]:
        if ref.file in self._captures:
            return self._packet_links(ref, *self._captures[ref.file])
        if ref.file in self._steps:
            words, anchor = self._steps[ref.file]
            more = f", line {ref.line}" if ref.line else f", {shorten(one_line(ref.path), 80)}" if ref.path else ""
            return (Link(words + more, f"#{anchor}", ref.file),)
        if ref.line is not None and (ref.file, ref.line) in self._events:
            words, anchor = self._events[ref.file, ref.line]
            return (Link(words, f"#{anchor}", ref.file),)
        return (Link(shorten(one_line(str(ref)), 120), anchors.file_href(ref.file), ref.file),)

    def _packet_links(self, ref: Ref, slug: str, variant: str, step: str) -> tuple[Link, ...]:
        links: list[Link] = []
        for number in ref.packets[:MAX_PACKETS]:
            anchor = anchors.packet(slug, variant, step, number)
            href = f"#{anchor}" if anchor in self._rows else anchors.file_href(ref.file)
            links.append(Link(str(number) if links else f"packet {number}", href, ref.file))
        rest = len(ref.packets) - MAX_PACKETS
        if rest > 0 or not links:
            words = f"and {rest} more in capture {step}" if rest > 0 else f"capture {step}"
            links.append(Link(words, f"#{anchors.capture(slug, variant, step)}", ref.file))
        return tuple(links)


def cited_packets(slug: str, hypotheses: Iterable[HypothesisResult]) -> dict[str, dict[int, tuple[Link, ...]]]:
    """File -> packet number -> the hypotheses whose traces, in the experiment or a control, refer to it."""
    found: dict[str, dict[int, tuple[Link, ...]]] = {}
    for hypothesis in hypotheses:
        link = Link(hypothesis.id, f"#{anchors.hypothesis(slug, hypothesis.id)}")
        for trace in (hypothesis.trace, *(control.trace for control in hypothesis.controls)):
            for ref in _refs(trace):
                numbers = found.setdefault(ref.file, {})
                for number in ref.packets:
                    if link not in numbers.get(number, ()):
                        numbers[number] = (*numbers.get(number, ()), link)
    return found


def _refs(trace: Evaluation) -> list[Ref]:
    return [*trace.refs, *(ref for child in trace.children for ref in _refs(child))]
