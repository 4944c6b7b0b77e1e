"""From when to when a prediction looks: the time of the steps that it names, on both clocks of the evidence.

A step's time ends with it; that of a `start` step with its process, or when the lab stops that. Processes that a step
left running make the end uncertain: what they do comes later.
"""

from __future__ import annotations

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.lab.predictions import (
    ChangeIs,
    ChangesAre,
    CommandIs,
    ExprIs,
    LookupIs,
    PacketsAre,
    StateIs,
    SuiteIs,
    TraceIs,
    ValueOf,
    Window,
)
from labrun.observe.outcome import Accounts, ending, not_done, unaccounted
from labrun.observe.unknown import Unknown, missing
from labrun.protocol.actions import Start
from labrun.protocol.events import ProcessEnded, StepEnded, StepStarted
from labrun.protocol.record import dataclass

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """``begin_ns`` and ``end_ns`` on the wall clock, which packets have; ``until_ns``: the end on the agent's clock.

    ``doubt``: why what belongs to these steps may come after the end. ``beside``: other steps whose processes ran
    meanwhile, and are no servers, whose port the lab waits for: what is seen need not be because of these steps. Whose
    a packet is the kernel does not tell whoever captures it: its copy has no socket (`__skb_clone`, net/core/skbuff.c).
    """

    begin_ns: int
    end_ns: int
    until_ns: int
    doubt: Unknown | None = None
    beside: tuple[str, ...] = ()


def span_of(variant: VariantRecord, during: Window) -> Span | Unknown:
    """The time of the steps from the one to the other. Unknown where one of them did not take place."""
    first, last = variant.step(during.start), variant.step(during.end)
    for name, record in ((during.start, first), (during.end, last)):
        if record is None:
            return missing(variant, f"step '{name}'")
    assert first is not None and last is not None
    between = variant.steps[variant.steps.index(first) : variant.steps.index(last) + 1] or (first, last)
    for record in between:
        if (trouble := not_done(variant, record.step.id)) is not None:
            return trouble
    assert first.started is not None
    end = _end(last)
    if end is None:
        return missing(variant, f"the end of the process of step '{during.end}'")
    if clock_was_set(first.started, end):
        return Unknown("clock-stepped", "the clock was set meanwhile: the times of packets are not sure")
    beside = _beside(variant, between, first.started.t_ns, end.t_ns)
    return Span(first.started.wall_ns, end.wall_ns, end.t_ns, _left(between), beside)


def _end(record: StepRecord) -> StepEnded | ProcessEnded | None:
    return record.process if isinstance(record.step.action, Start) else record.ended


def _beside(variant: VariantRecord, between: tuple[StepRecord, ...], begin_ns: int, end_ns: int) -> tuple[str, ...]:
    found = []
    for record in variant.steps:
        if record in between or record.started is None or record.started.t_ns >= end_ns:
            continue
        action, ended = record.step.action, ending(record)
        serves = isinstance(action, Start) and action.ready is not None and action.ready.port is not None
        runs = isinstance(action, Start) and not serves and (ended is None or _end_ns(record) > begin_ns)
        if runs or (ended is not None and ended.left):
            found.append(record.step.id)
    return tuple(found)


def _end_ns(record: StepRecord) -> int:
    end = _end(record)
    return end.t_ns if end is not None else 1 << 63


def _left(records: tuple[StepRecord, ...]) -> Unknown | None:
    for record in records:
        ended = ending(record)
        if ended is not None and ended.left:
            text = f"step '{record.step.id}' left processes running ({', '.join(ended.left)}): what they do comes later"
            return Unknown("still-running", text)
    return None


def clock_was_set(begin: StepStarted, end: StepEnded | ProcessEnded) -> bool:
    """NTP may slew the wall clock by 500 ppm (man 2 adjtimex); a set clock jumps."""
    wall_ns, real_ns = end.wall_ns - begin.wall_ns, end.t_ns - begin.t_ns
    return 1000 * abs(wall_ns - real_ns) > 1000 * _MS + real_ns


def disturbed(variant: VariantRecord, leaf: object, accounts: Accounts) -> Unknown | None:
    """A step that failed before this observation was complete, and that nothing accounts for; None if there is none.

    What a whole capture saw before such a step stays seen: `observe_packets` knows.
    """
    ends = [_until(variant, part) for part in _parts(leaf)]
    known = [end for end in ends if end is not None]
    found = unaccounted(variant, accounts, max(known)) if known else None
    return found[1] if found is not None else None


def _parts(leaf: object) -> tuple[object, ...]:
    return tuple(leaf.let.values()) if isinstance(leaf, ExprIs) else (leaf,)


def _until(variant: VariantRecord, leaf: object) -> int | None:
    """When the observation was complete, on the agent's clock; None where it is not there, or knows by itself."""
    if isinstance(leaf, CommandIs) or (isinstance(leaf, ValueOf) and leaf.command is not None):
        record = variant.step(leaf.command or "")
        return record.started.t_ns if record is not None and record.started is not None else None
    if isinstance(leaf, SuiteIs):
        record = variant.step(leaf.tests)
        return record.started.t_ns if record is not None and record.started is not None else None
    if isinstance(leaf, PacketsAre) or (isinstance(leaf, ValueOf) and leaf.packets is not None):
        selector = leaf.packets
        assert selector is not None
        span = span_of(variant, selector.during) if selector.during is not None else None
        return span.until_ns if isinstance(span, Span) else None
    if isinstance(leaf, TraceIs):
        if leaf.trace.during is None:
            return 1 << 63
        span = span_of(variant, leaf.trace.during)
        return span.until_ns if isinstance(span, Span) else None
    step = None
    if isinstance(leaf, ChangeIs):
        step = leaf.change
    elif isinstance(leaf, LookupIs):
        step = leaf.lookup
    elif isinstance(leaf, ChangesAre):
        step = leaf.changes.end
    elif isinstance(leaf, StateIs):
        step = leaf.selector.at
    elif isinstance(leaf, ValueOf) and leaf.state is not None:
        step = getattr(leaf, leaf.state).at
    record = variant.step(step) if step is not None else None
    return record.ended.t_ns if record is not None and record.ended is not None else None
