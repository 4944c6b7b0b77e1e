"""Observations of traces: which packets a `trace` step followed, the way of each, and how sure that is.

A trace that lost anything is not believed at all. What the ruleset can do unseen is in its last event: what drops
before the first hook leaves the number of packets without an upper bound, and a rule that ends tracing leaves open
where the packets went that were not seen again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from labrun.evidence.record import VariantRecord
from labrun.lab.predictions import TraceSelector
from labrun.logic.compare import Count, all_of, holds
from labrun.observe.hooks import PacketPath, packet_paths
from labrun.observe.unknown import Unknown, cut_short, missing
from labrun.observe.window import span_of
from labrun.protocol.events import TraceEnded, TraceResult
from labrun.protocol.record import dataclass

_END_OF_TIME = 1 << 63  # ns


@dataclass(frozen=True, slots=True)
class Paths:
    """``doubt``: why ``count`` is a range, where it is one."""

    found: tuple[PacketPath, ...]
    count: Count
    doubt: Unknown | None


def observe_paths(variant: VariantRecord, selector: TraceSelector) -> Paths | Unknown:
    """The ways of the selected packets."""
    name = selector.at
    record = variant.step(name)
    if record is None or record.ended is None or not isinstance(record.ended.result, TraceResult):
        return missing(variant, f"the trace '{name}'")
    if record.trace is None:
        return Unknown("trace-unhealthy", f"the trace '{name}' was never finished")
    if record.trace.trouble is not None:
        return Unknown("trace-unhealthy", f"the trace '{name}': {record.trace.trouble}")
    if record.trace.drops:
        return Unknown("packets-dropped", f"the trace '{name}' lost {record.trace.drops} messages of the kernel")
    window = _window(selector, variant)
    if isinstance(window, Unknown):
        return window
    events = variant.trace_events(name)
    if events is None:
        return missing(variant, f"the events of trace '{name}'")
    if len(events) != record.trace.events:
        text = f"the trace '{name}' kept {record.trace.events} events, and its file has {len(events)}"
        return Unknown("trace-unhealthy", text)
    paths = (one for one in packet_paths(events) if window[0] <= one.wall_ns < window[1])
    found = _selected(paths, selector)
    return found if isinstance(found, Unknown) else _weighed(found, record.trace, window[1])


def _selected(paths: Iterable[PacketPath], selector: TraceSelector) -> tuple[PacketPath, ...] | Unknown:
    """Those whose first headers pass. A header that was not told leaves it open."""
    found = []
    untold = 0
    for one in paths:
        hidden = one.first.hidden()
        told = all_of(
            holds(operator, getattr(one.first, field), expected)
            for field, check in selector.where.items()
            if field not in hidden
            for operator, expected in check.operators().items()
        )
        if told is None:
            return Unknown("type-mismatch", "where: a check does not fit what packets have")
        if told and hidden & selector.where.keys():
            untold += 1
        elif told:
            found.append(one)
    if untold:
        text = f"{untold} packets of trace '{selector.at}' may be meant: the kernel did not tell all of their headers"
        return Unknown("headers-not-told", text)
    return tuple(found)


def _weighed(found: tuple[PacketPath, ...], trace: TraceEnded, until_ns: int) -> Paths:
    """With what may have happened unseen by then."""
    silencers = [one.what for one in trace.silencers if one.since_ns < until_ns]
    blind = [one.what for one in trace.blind if one.since_ns < until_ns]
    if silencers:
        text = f"not seen again, and its tracing may have been ended by {silencers[0]}"
        found = tuple(replace(one, doubt=text, part=True) if one.outcome == "lost" else one for one in found)
    # What may be a part of another way is perhaps no packet of its own.
    least = len(found) - sum(one.part for one in found)
    doubts = [one.doubt for one in found if one.part]
    if blind:
        text = f"packets may have gone unseen: {blind[0]} judges them before the trace does, and does not report"
        return Paths(found, Count(least, None), Unknown("trace-blind", text))
    doubt = Unknown("trace-blind", f"how many packets they were is not sure: {doubts[0]}") if doubts else None
    return Paths(found, Count(least, len(found)), doubt)


def _window(selector: TraceSelector, variant: VariantRecord) -> tuple[int, int] | Unknown:
    """From the first step's start to the start of the step after the last one.

    The kernel gives traces no time, so a packet has that of being read: after it was there, and, as the agent reads
    out every trace between two steps, before the next step.
    """
    if selector.during is None:
        return cut_short(variant) or (0, _END_OF_TIME)
    span = span_of(variant, selector.during)
    if isinstance(span, Unknown):
        return span
    if span.doubt is not None:
        return span.doubt
    later = (record.started.wall_ns for record in variant.steps if record.started is not None)
    return span.begin_ns, min((start for start in later if start >= span.end_ns), default=_END_OF_TIME)
