"""One variant's evidence, read back: each step with what came of it. Missing parts are missing, never guessed."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import BinaryIO, TypeVar

from labrun.evidence import layout
from labrun.evidence.consistent import contradiction, digest_of
from labrun.evidence.files import EvidenceError, EvidenceMissing, open_below, read_below, size_below
from labrun.evidence.seal import broken
from labrun.evidence.writer import MAX_EVENTS
from labrun.protocol.actions import Prompt
from labrun.protocol.codec import ProtocolError, loads
from labrun.protocol.events import (
    CaptureEnded,
    Done,
    Event,
    Fault,
    Hello,
    Output,
    ProcessEnded,
    SeriesResult,
    SnapshotResult,
    StateNoted,
    StepEnded,
    StepStarted,
    TraceEnded,
    TraceResult,
)
from labrun.protocol.frames import checked
from labrun.protocol.plan import Plan, Step
from labrun.protocol.record import dataclass
from labrun.protocol.state import KernelState, Sample
from labrun.protocol.traces import TraceEvent

T = TypeVar("T")
MAX_STATE = 64 * 1024**2  # bytes of a file of JSON


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of the plan and its events. ``line``: of events.jsonl (from 1) where it ended, else where it started."""

    step: Step
    started: StepStarted | None = None
    ended: StepEnded | None = None
    capture: CaptureEnded | None = None
    process: ProcessEnded | None = None
    trace: TraceEnded | None = None
    noted: StateNoted | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """All that is known of one variant. ``complete``: the agent said that everything was handed over.

    ``run``: the run directory; ``folder``: this variant's, below it. ``damage``: what shows that the evidence is not as
    it was recorded, or contradicts itself; then it decides nothing. ``sealed``: it was closed, and is as it was then.
    """

    folder: Path
    plan: Plan
    hello: Hello | None
    steps: tuple[StepRecord, ...]
    faults: tuple[Fault, ...]
    complete: bool
    run: Path
    damage: str | None = None
    sealed: bool = False
    memo: dict[str, object] = field(default_factory=dict, compare=False)
    """For whoever reads this evidence: what was worked out from it already. The files never change."""

    def values(self) -> dict[str, str | int | float]:
        """Parameters, and what steps have saved, by name."""
        found: dict[str, str | int | float] = dict(self.plan.values)
        for record in self.steps:
            if record.ended is not None and record.ended.saved:
                found |= record.ended.saved
        return found

    def series(self, step_id: str) -> tuple[Sample, ...] | None:
        """The moments of a repeated snapshot, in order; None if there are none in the evidence."""
        record = self.step(step_id)
        if record is None or record.ended is None or not isinstance(record.ended.result, SeriesResult):
            return None
        key = f"series {step_id}"
        if key not in self.memo:  # asked for at each of its moments
            self.memo[key] = self._lines(Sample, record.ended.result.path)
        found: tuple[Sample, ...] | None = self.memo[key]  # type: ignore[assignment]
        return found

    def trace_events(self, step_id: str) -> tuple[TraceEvent, ...] | None:
        """What a trace step kept, in order; None if it is not there."""
        record = self.step(step_id)
        if record is None or record.ended is None or not isinstance(record.ended.result, TraceResult):
            return None
        return self._lines(TraceEvent, record.ended.result.path)

    def open(self, path: str) -> BinaryIO:
        """A file of this evidence. Raises EvidenceMissing where it never arrived, EvidenceError where it is none."""
        return open_below(self.run, self._place(path))

    def _place(self, path: str) -> str:
        """From the run directory."""
        here = self.folder.relative_to(self.run).as_posix()
        return path if here == "." else f"{here}/{path}"

    def size(self, path: str) -> int:
        """Of a file, in bytes. Raises as `open`."""
        with self.open(path) as file:
            return os.fstat(file.fileno()).st_size

    def read(self, path: str, limit: int) -> bytes:
        """All of a file. Raises as `open`, and EvidenceError where it has more than ``limit`` bytes."""
        return read_below(self.run, self._place(path), limit)

    def _lines(self, kind: type[T], path: str) -> tuple[T, ...] | None:
        """One object of this kind a line; None where the file never arrived."""
        try:
            with self.open(path) as file:
                if os.fstat(file.fileno()).st_size > MAX_STATE:
                    raise EvidenceError(f"{self.folder / path}: more than {MAX_STATE} bytes")
                return tuple(loads(kind, line) for line in file)
        except EvidenceMissing:
            return None
        except (OSError, ProtocolError) as error:
            raise EvidenceError(f"{self.folder / path}: {error}") from error

    def step(self, step_id: str) -> StepRecord | None:
        return next((record for record in self.steps if record.step.id == step_id), None)

    def output(self, output: Output, limit: int = MAX_STATE) -> bytes:
        """What was kept of a stream, up to ``limit`` bytes. b"" where the file never arrived."""
        try:
            with self.open(output.path) as file:
                return file.read(min(limit, os.fstat(file.fileno()).st_size))
        except EvidenceMissing:
            return b""
        except OSError as error:
            raise EvidenceError(f"{self.folder / output.path}: {error.strerror}") from error

    def output_end(self, output: Output, limit: int) -> bytes:
        """The last ``limit`` bytes of what was kept of a stream. b"" where the file never arrived."""
        try:
            with self.open(output.path) as file:
                file.seek(max(0, file.seek(0, 2) - limit))
                return file.read(limit)
        except EvidenceMissing:
            return b""
        except OSError as error:
            raise EvidenceError(f"{self.folder / output.path}: {error.strerror}") from error

    def snapshot(self, step_id: str) -> KernelState | None:
        """The kernel state that a snapshot step wrote down (of a repeated one, the first); None if it never did."""
        series = self.series(step_id)
        if series:
            return series[0].state
        record = self.step(step_id)
        if record is None or record.ended is None or not isinstance(record.ended.result, SnapshotResult):
            return None
        return self._state(record.ended.result.path)

    def state_after(self, record: StepRecord) -> KernelState | None:
        """The kernel state after the step, where it was noted: where it differs from the one before."""
        return self._state(record.noted.path) if record.noted is not None else None

    def _state(self, path: str) -> KernelState | None:
        try:
            return loads(KernelState, self.read(path, MAX_STATE))
        except EvidenceMissing:
            return None
        except ProtocolError as error:
            raise EvidenceError(f"{self.folder / path}: {error}") from error


def read_variant(folder: Path, run: Path | None = None) -> VariantRecord:
    """``run``: the directory of the run that it is in; without one, the folder stands alone.

    Raises EvidenceMissing where nothing was recorded, EvidenceError where it cannot be read. A half-written last line
    is left out.
    """
    root = run or folder
    here = folder.relative_to(root).as_posix()
    below = "" if here == "." else f"{here}/"
    text = read_below(root, below + layout.EVENTS, MAX_EVENTS)
    try:
        kept = read_below(root, below + layout.PLAN, MAX_STATE)
        plan = loads(Plan, kept)
    except (EvidenceMissing, ProtocolError) as error:
        raise EvidenceError(f"{folder}: not a variant's evidence: {error}") from error
    if any(isinstance(step.action, Prompt) for step in plan.steps):
        raise EvidenceError(f"{folder}: somebody typed commands in it: that is no evidence")
    lines = text.split(b"\n")
    lines.pop()  # what follows the last line break: nothing, or a line cut off by a crash
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(checked(loads(Event, line)))  # type: ignore[arg-type]
        except ProtocolError as error:
            raise EvidenceError(f"{folder / layout.EVENTS}:{number}: {error}") from error
    sealed, damage = broken(root, here)
    if damage is None and digest_of(kept) != plan.digest:
        damage = f"{layout.PLAN} does not have the digest that it names"
    if damage is None:
        damage = contradiction(plan, events, lambda path: _size(root, below + path))
    return _assemble(folder, root, plan, events, damage, sealed and damage is None)


def _size(run: Path, path: str) -> int | None:
    try:
        return size_below(run, path)
    except EvidenceMissing:
        return None


def _assemble(
    folder: Path, run: Path, plan: Plan, events: list[Event], damage: str | None, sealed: bool
) -> VariantRecord:
    started: dict[str, StepStarted] = {}
    ended: dict[str, StepEnded] = {}
    captures: dict[str, CaptureEnded] = {}
    processes: dict[str, ProcessEnded] = {}
    traces: dict[str, TraceEnded] = {}
    noted: dict[str, StateNoted] = {}
    places: dict[str, int] = {}
    for number, event in enumerate(events, start=1):
        if isinstance(event, StepStarted):
            started[event.step] = event
            places[event.step] = number
        elif isinstance(event, StepEnded):
            ended[event.step] = event
            places[event.step] = number
        elif isinstance(event, StateNoted):
            noted[event.step] = event
        elif isinstance(event, CaptureEnded):
            captures[event.step] = event
        elif isinstance(event, ProcessEnded):
            processes[event.step] = event
        elif isinstance(event, TraceEnded):
            traces[event.step] = event
    steps = tuple(
        StepRecord(
            step,
            started.get(step.id),
            ended.get(step.id),
            captures.get(step.id),
            processes.get(step.id),
            traces.get(step.id),
            noted.get(step.id),
            places.get(step.id),
        )
        for step in plan.steps
    )
    return VariantRecord(
        folder=folder,
        plan=plan,
        hello=next((event for event in events if isinstance(event, Hello)), None),
        steps=steps,
        faults=tuple(event for event in events if isinstance(event, Fault)),
        complete=any(isinstance(event, Done) for event in events),
        run=run,
        damage=damage,
        sealed=sealed,
    )
