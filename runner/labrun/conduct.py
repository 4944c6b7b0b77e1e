"""Conducts a run: every variant of every lab in a sandbox of its own, its evidence kept, then judged and reported.

Each lab stands alone: what breaks one is written into its evidence, and the others go on. What judges and reports is
imported when it is needed, so that sandboxes are at work meanwhile.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from labrun.engines.base import Engine, EngineError
from labrun.evidence import layout
from labrun.evidence.durations import keep_durations, read_durations
from labrun.evidence.files import write_whole
from labrun.evidence.kept import keep_files
from labrun.evidence.lab import lab_json, stored
from labrun.evidence.run import LabEntry, RunRecord, point_latest, write_left_out, write_run
from labrun.evidence.writer import DiskRoom, EvidenceFull, EvidenceWriter
from labrun.lab.catalogue import portable
from labrun.lab.compile import CompiledLab
from labrun.pace import Pace, longest_first
from labrun.protocol.events import Done, Fault, StepStarted
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Plan

if TYPE_CHECKING:
    from labrun.judge.results import LabResult, RunResult

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Conducted:
    """``whole``: not interrupted (Ctrl-C). ``judged``: slug -> result of each lab that ran to its end.

    ``left_out``: the labs that were not begun, because enough had failed.
    """

    whole: bool
    judged: Mapping[str, LabResult]
    left_out: tuple[str, ...] = ()


class Progress(Protocol):
    """Told as things happen, from several threads; one call at a time."""

    def started(self, slug: str, variants: int) -> None: ...
    def step(self, slug: str, variant: str, step: str) -> None: ...
    def judged(self, result: LabResult, seconds: float) -> None: ...


def entry_of(compiled: CompiledLab, repeats: int = 1) -> LabEntry:
    variants = tuple(plan.variant for plan in compiled.plans)
    return LabEntry(compiled.lab.slug, portable(compiled.lab.shown), variants, dict(compiled.lab.cell), repeats)


@dataclass
class _Conductor:
    engine: Engine
    run: Path
    progress: Progress
    clock: Callable[[], float]
    interrupted: threading.Event
    lock: threading.Lock
    room: DiskRoom
    pace: Pace
    lasted_s: dict[str, float] = field(default_factory=dict)
    running: int = 0
    """Sandboxes that have begun to tell, and have not ended."""

    def variant(self, compiled: CompiledLab, plan: Plan, repeat: int) -> None:
        """One plan in one sandbox. Whatever goes wrong ends up in the evidence as a fault; nothing is raised."""
        slug = compiled.lab.slug
        folder = layout.variant_folder(self.run, slug, plan.variant, repeat)
        name = layout.repeated(plan.variant, repeat)
        t_ns = 0
        done = False
        with EvidenceWriter(folder, plan, self.room, self.run) as writer, ExitStack() as stack:
            try:
                with self.engine.sandbox(plan, f"{slug}-{name}", compiled.lab.files.contents) as frames:
                    for number, frame in enumerate(frames):
                        if number == 0:
                            stack.enter_context(self._counted())
                        writer.put(frame)
                        if not isinstance(frame, Piece):
                            t_ns = frame.t_ns
                        if isinstance(frame, StepStarted):
                            self._tell_step(slug, name, frame.step)
                        done = done or isinstance(frame, Done)
                if done:
                    self.lasted_s[_name(plan)] = t_ns / 1e9
                    return
                fault = Fault(t_ns, "sandbox-died", "the sandbox ended before its agent was done")
            except EngineError as error:
                fault = Fault(t_ns, error.code, str(error))
            except EvidenceFull as error:
                fault = Fault(t_ns, "evidence-full", str(error))
            except Exception as error:  # noqa: BLE001  a defect of ours in one lab must not end the others
                fault = Fault(t_ns, "runner-crashed", f"{type(error).__name__}: {error}")
            if self.interrupted.is_set():
                fault = Fault(t_ns, "interrupted", "the run was interrupted")
            writer.put(fault)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self.lock:
            self.running += 1
        try:
            yield
        finally:
            with self.lock:
                self.running -= 1

    def _tell_step(self, slug: str, variant: str, step: str) -> None:
        with self.lock:
            self.progress.step(slug, variant, step)


def _name(plan: Plan) -> str:
    return f"{plan.lab}/{plan.variant}"


def conduct(
    labs: Sequence[CompiledLab],
    engine: Engine,
    run: Path,
    pace: Pace,
    progress: Progress,
    clock: Callable[[], float],
    repeats: int = 1,
    max_failures: int | None = None,
    in_order: bool = False,
) -> Conducted:
    """Run all labs, as many sandboxes at a time as ``pace`` says. ``run`` exists.

    ``max_failures``: after so many, no further lab is begun; those that run go on to their end. Without it, and not
    ``in_order``, what lasted longest when it last ran is started first.
    """
    conductor = _Conductor(engine, run, progress, clock, threading.Event(), threading.Lock(), DiskRoom(), pace)
    for compiled in labs:
        folder = layout.lab_folder(run, compiled.lab.slug)
        folder.mkdir(parents=True)
        write_whole(folder / layout.LAB, compiled.lab.text)
        write_whole(folder / layout.COMPILED, lab_json(stored(compiled)))
        keep_files(folder, compiled.lab.files.entries, compiled.lab.files.contents)
    queue = [(lab, plan, repeat) for lab in labs for repeat in range(1, repeats + 1) for plan in lab.plans]
    if max_failures is None and not in_order:
        lasted_s = read_durations(run.parent)
        queue = [queue[place] for place in longest_first([_name(plan) for _, plan, _ in queue], lasted_s)]
    pool = ThreadPoolExecutor(max_workers=pace.most, thread_name_prefix="sandbox")
    judged: dict[str, LabResult] = {}
    left_out: tuple[str, ...] = ()
    try:
        left_out = _all(conductor, pool, deque(queue), repeats, judged, max_failures)
    except KeyboardInterrupt:
        conductor.interrupted.set()
        pool.shutdown(wait=False, cancel_futures=True)
        engine.cancel()
        pool.shutdown(wait=True)
        return Conducted(False, judged)
    pool.shutdown(wait=True)
    with suppress(OSError):  # the next run is slower without, and no less right
        keep_durations(run.parent, conductor.lasted_s)
    if left_out:
        write_left_out(run, left_out)
    return Conducted(True, judged, left_out)


def _all(
    conductor: _Conductor,
    pool: ThreadPoolExecutor,
    queue: deque[tuple[CompiledLab, Plan, int]],
    repeats: int,
    judged: dict[str, LabResult],
    max_failures: int | None,
) -> tuple[str, ...]:
    """The labs that were not begun."""
    begun: dict[str, float] = {}
    pending: dict[Future[None], CompiledLab] = {}
    left = Counter(compiled.lab.slug for compiled, _, _ in queue)

    def work(compiled: CompiledLab, plan: Plan, repeat: int) -> None:
        slug = compiled.lab.slug
        with conductor.lock:
            if slug not in begun:
                begun[slug] = conductor.clock()
                conductor.progress.started(slug, left[slug])
        conductor.variant(compiled, plan, repeat)

    conductor.engine.expect(len(queue))
    from labrun.judge.results import failures
    from labrun.judge.run import judge_entry

    while queue or pending:
        while queue and conductor.pace.another(len(pending), len(pending) - conductor.running):
            one = queue.popleft()
            pending[pool.submit(work, *one)] = one[0]
        # Not for ever: a Ctrl-C that the kernel hands to another thread does not wake this one, which has to act on it.
        done, _ = wait(pending, conductor.pace.look_s if queue else _LOOK_S, FIRST_COMPLETED)
        for future in done:
            compiled = pending.pop(future)
            slug = compiled.lab.slug
            future.result()
            left[slug] -= 1
            if left[slug] == 0:
                judged[slug] = judge_entry(conductor.run, entry_of(compiled, repeats))
                with conductor.lock:
                    conductor.progress.judged(judged[slug], conductor.clock() - begun[slug])
        if max_failures is not None and sum(map(failures, judged.values())) >= max_failures:
            with conductor.lock:
                going_on = begun.keys() | {compiled.lab.slug for compiled in pending.values()}
            queue = deque(one for one in queue if one[0].lab.slug in going_on)
            if not pending and not queue:
                return tuple(slug for slug in left if slug not in going_on)
    return ()


def begin(run: Path, record: RunRecord) -> None:
    """Make the run directory. Its record is there from the start: a run that is killed can still be judged."""
    run.mkdir(parents=True)
    write_run(run, record)


def finish(run: Path, judged: Mapping[str, LabResult] | None = None) -> RunResult:
    """Judge what is there and was not ``judged`` yet, write results.json and the reports, point `latest` at the run."""
    from labrun.judge.run import judge_run
    from labrun.report.write import write_reports

    result = judge_run(run, judged or {})
    write_results(run, result)
    write_reports(run, result)
    point_latest(run)
    return result


def write_results(run: Path, result: RunResult) -> None:
    from labrun.judge.results import results_text

    write_whole(run / layout.RESULTS, results_text(result))
