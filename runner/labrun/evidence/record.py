"""One variant's evidence, read back: each step with what came of it. Missing parts are missing, never guessed."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TypeVar

from labrun.evidence import layout
from labrun.evidence.run import EvidenceError
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
    """All that is known of one variant. ``complete``: the agent said that everything was handed over."""

    folder: Path
    plan: Plan
    hello: Hello | None
    steps: tuple[StepRecord, ...]
    faults: tuple[Fault, ...]
    complete: bool
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

    def _lines(self, kind: type[T], path: str) -> tuple[T, ...] | None:
        """One object of this kind a line; None where the file never arrived."""
        file = self.folder / path
        try:
            return tuple(loads(kind, line) for line in file.read_bytes().splitlines())
        except FileNotFoundError:
            return None
        except (OSError, ProtocolError) as error:
            raise EvidenceError(f"{file}: {error}") from error

    def step(self, step_id: str) -> StepRecord | None:
        return next((record for record in self.steps if record.step.id == step_id), None)

    def output(self, output: Output, limit: int | None = None) -> bytes:
        """What was kept of a stream, up to ``limit`` bytes. b"" where the file never arrived."""
        try:
            with (self.folder / output.path).open("rb") as file:
                return file.read() if limit is None else file.read(limit)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise EvidenceError(f"{self.folder / output.path}: {error.strerror}") from error

    def output_end(self, output: Output, limit: int) -> bytes:
        """The last ``limit`` bytes of what was kept of a stream. b"" where the file never arrived."""
        try:
            with (self.folder / output.path).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - limit))
                return file.read(limit)
        except FileNotFoundError:
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
        file = self.folder / path
        try:
            return loads(KernelState, file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ProtocolError) as error:
            raise EvidenceError(f"{file}: {error}") from error


def read_variant(folder: Path) -> VariantRecord:
    """Raises EvidenceError where the folder is not a variant's. A half-written last line is left out."""
    try:
        plan = loads(Plan, (folder / layout.PLAN).read_bytes())
        text = (folder / layout.EVENTS).read_bytes()
    except (OSError, ProtocolError) as error:
        raise EvidenceError(f"{folder}: not a variant's evidence: {error}") from error
    lines = text.split(b"\n")
    lines.pop()  # what follows the last line break: nothing, or a line cut off by a crash
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(checked(loads(Event, line)))  # type: ignore[arg-type]
        except ProtocolError as error:
            raise EvidenceError(f"{folder / layout.EVENTS}:{number}: {error}") from error
    return _assemble(folder, plan, events)


def _assemble(folder: Path, plan: Plan, events: list[Event]) -> VariantRecord:
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
    )
