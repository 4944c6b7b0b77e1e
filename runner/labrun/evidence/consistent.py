"""Does a variant's evidence contradict itself? What an agent never writes is no evidence of what it says.

Each rule is what agent/main.py and agent/stage.py keep to: one hello, with the digest of the plan that was handed
over; each step of the lab once and in the plan's order, ended before the next begins, and none after one that failed;
ends only of what began; numbers that are possible; files as long as their events say; nothing after `Done` but what the
runner has to add. Pure: who asks says how long the files are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence

from labrun.protocol import actions
from labrun.protocol.codec import parse
from labrun.protocol.events import (
    CaptureEnded,
    CaptureResult,
    ChangeResult,
    CommandResult,
    Done,
    Event,
    Fault,
    Hello,
    LookupResult,
    Output,
    ProcessEnded,
    SendResult,
    SeriesResult,
    SnapshotResult,
    StartResult,
    StateNoted,
    StepEnded,
    StepStarted,
    TraceEnded,
    TraceResult,
    WaitResult,
)
from labrun.protocol.plan import Plan

KILLED = "agent-killed"
"""The fault of an agent that said `Done`, and was then ended by somebody else."""
MAX_SIZE = 1 << 62

SizeOf = Callable[[str], int | None]
"""Path in the variant's folder -> length in bytes; None: there is no such file."""

_RESULTS: dict[type, tuple[type, ...]] = {
    actions.Run: (CommandResult,),
    actions.Start: (StartResult,),
    actions.Capture: (CaptureResult,),
    actions.Trace: (TraceResult,),
    actions.Snapshot: (SnapshotResult, SeriesResult),
    actions.Lookup: (LookupResult,),
    actions.Send: (SendResult,),
    actions.Wait: (WaitResult,),
    actions.Stop: (),
}
_ENDS = {CaptureEnded: actions.Capture, TraceEnded: actions.Trace, ProcessEnded: actions.Start}


def digest_of(kept: bytes) -> str:
    """The digest of a plan as it is kept, whatever a later labrun would write for it. See `Plan.sealed`."""
    value = parse(kept)
    if isinstance(value, dict):
        value["digest"] = ""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def contradiction(plan: Plan, events: Sequence[Event], size_of: SizeOf) -> str | None:
    """What cannot be so, in words; None where all fits."""
    for rule in (_beginning, _end, _steps, _ends, _numbers):
        for found in rule(plan, events):
            return found
    return next(_files(events, size_of), None)


def _beginning(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    hellos = [number for number, event in enumerate(events) if isinstance(event, Hello)]
    if len(hellos) > 1:
        yield "two agents said hello"
    first = next((number for number, event in enumerate(events) if not isinstance(event, Fault)), None)
    if first is not None and hellos != [first]:
        yield f"the events begin with {events[first].KIND}, not with the agent's hello"
    if hellos and (hello := events[hellos[0]]) and isinstance(hello, Hello) and hello.plan != plan.digest:
        yield "the agent was given another plan than the one that is kept here"


def _end(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    done = next((number for number, event in enumerate(events) if isinstance(event, Done)), None)
    if done is None:
        return
    for event in events[done + 1 :]:
        if not isinstance(event, Fault):
            yield f"{event.KIND} after the agent was done"
        elif event.code == KILLED:
            yield event.message
    before = events[:done]
    broke = any(isinstance(event, Fault) or (isinstance(event, StepEnded) and event.status != "ok") for event in before)
    ended = {event.step: event for event in before if isinstance(event, StepEnded)}
    closed = {event.step for event in before if isinstance(event, CaptureEnded | TraceEnded | ProcessEnded)}
    for step in plan.steps if not broke else ():
        if step.id not in ended:
            yield f"the agent was done, and step '{step.id}' never ended"
        elif isinstance(step.action, tuple(_ENDS.values())) and step.id not in closed:
            yield f"the agent was done, and what step '{step.id}' began never ended"


def _steps(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    steps = {step.id: step for step in plan.steps}
    order = {step.id: number for number, step in enumerate(plan.steps)}
    started: dict[str, StepStarted] = {}
    ended: dict[str, StepEnded] = {}
    last = -1
    failed: str | None = None
    for event in events:
        if isinstance(event, StepStarted):
            if event.step not in steps:
                yield f"a step '{event.step}' began that the plan does not have"
                return
            if event.step in started:
                yield f"step '{event.step}' began twice"
            if steps[event.step].phase == "lab":  # steps of the topology are made together
                open_ = [name for name in started if name not in ended]
                if order[event.step] < last or open_:
                    yield f"step '{event.step}' began out of its turn"
                last = order[event.step]
                if failed is not None:
                    yield f"step '{event.step}' began after step '{failed}' had ended the plan"
            started[event.step] = event
        elif isinstance(event, StepEnded):
            if event.step not in started or event.step in ended:
                yield f"step '{event.step}' ended without having begun, or twice"
                return
            if event.t_ns < started[event.step].t_ns:
                yield f"step '{event.step}' ended before it began"
            kinds = _RESULTS.get(type(steps[event.step].action), (ChangeResult,))
            if event.result is not None and not isinstance(event.result, kinds):
                yield f"step '{event.step}' ended with what its action does not give: {event.result.KIND}"
            if event.result is None and event.status == "ok" and kinds:
                yield f"step '{event.step}' ended well and without a result"
            ended[event.step] = event
            failed = failed or (event.step if event.status != "ok" else None)


def _ends(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    steps = {step.id: step for step in plan.steps}
    paths: dict[str, str] = {}
    begun: set[str] = set()
    closed: set[tuple[str, str]] = set()
    for event in events:
        if isinstance(event, StepStarted):
            begun.add(event.step)
        elif isinstance(event, StepEnded):
            if isinstance(event.result, CaptureResult | TraceResult):
                paths[event.step] = event.result.path
        elif isinstance(event, CaptureEnded | TraceEnded | ProcessEnded):
            step = steps.get(event.step)
            if step is None or not isinstance(step.action, _ENDS[type(event)]) or event.step not in begun:
                yield f"{event.KIND} of '{event.step}', which never began such a thing"
            if (event.KIND, event.step) in closed:
                yield f"{event.KIND} of '{event.step}' twice"
            if not isinstance(event, ProcessEnded) and paths.get(event.step, event.path) != event.path:
                yield f"{event.KIND} of '{event.step}' names another file than its beginning"
            closed.add((event.KIND, event.step))
        elif isinstance(event, StateNoted) and event.step not in begun:
            yield f"{event.KIND} after step '{event.step}', which never began"


def _numbers(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        result = event.result if isinstance(event, StepEnded) else None
        counts: dict[str, int | None] = {}
        if not isinstance(event, Fault):
            counts["t_ns"], counts["wall_ns"] = event.t_ns, event.wall_ns
        if isinstance(event, CaptureEnded):
            counts |= {"packets": event.packets, "drops": event.drops, "not_kept": event.not_kept,
                       "started_ns": event.started_ns, "time": event.ended_ns - event.started_ns}  # fmt: skip
            for times in (event.interface_ends, event.interface_starts):
                if times is not None and len(times) != len(event.interfaces):
                    yield f"{event.KIND} of '{event.step}': not one time for each interface"
        if isinstance(event, TraceEnded):
            counts |= {"events": event.events, "drops": event.drops}
        if isinstance(result, SeriesResult):
            counts["samples"] = result.samples
        if isinstance(result, SendResult):
            counts["packets"] = result.packets
        if isinstance(result, WaitResult):
            counts["attempts"] = result.attempts
        if isinstance(result, StartResult):
            counts["pid"] = result.pid
        ended = event if isinstance(event, ProcessEnded) else result
        if isinstance(ended, ProcessEnded | CommandResult):
            counts["exit"] = ended.exit
            if ended.exit is not None and (ended.exit > 255 or ended.signal is not None):
                yield f"an exit status of {ended.exit} (signal {ended.signal})"
            for output in (ended.stdout, ended.stderr):
                counts[output.path] = output.kept
                counts[f"{output.path} left out"] = output.size - output.kept
        for name, count in counts.items():
            if count is not None and not 0 <= count <= MAX_SIZE:
                yield f"{event.KIND}: {name} of {count}"


def _files(events: Sequence[Event], size_of: SizeOf) -> Iterator[str]:
    """One that never arrived is missing, which its readers see; one of another length is not what was sent."""
    seen: set[str] = set()
    for event in events:
        result = event.result if isinstance(event, StepEnded) else event
        outputs: tuple[Output, ...] = ()
        if isinstance(result, CommandResult | ProcessEnded):
            outputs = (result.stdout, result.stderr)
        for output in outputs:
            if output.path in seen:
                yield f"{output.path} is of two steps"
            seen.add(output.path)
            size = size_of(output.path)
            if size is not None and size != output.kept:
                yield f"{output.path} has {size} bytes, and {output.kept} were kept"
