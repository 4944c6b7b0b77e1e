"""The hooks and devices that packets crossed, as a `trace` step followed them, held against what was predicted."""

from __future__ import annotations

from dataclasses import fields, replace

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.evidence.ref import Ref
from labrun.judge.evaluation import SYMBOLS, compared, join, several, show, unknown
from labrun.judge.results import Evaluation, Subject
from labrun.lab.predictions import TraceIs, TraceSelector
from labrun.logic.compare import Count, all_of, holds
from labrun.observe.hooks import Identity, PacketPath, difference, packet_paths
from labrun.observe.unknown import Unknown, cut_short, missing
from labrun.observe.window import span_of
from labrun.protocol.events import TraceResult

SHOWN = 10
_END_OF_TIME = 1 << 63  # ns

IDENTITY = tuple(field.name for field in fields(Identity))
"""What `where` may ask of a packet."""


def evaluate_path(leaf: TraceIs, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    """Every selected packet went this way, and there is one at least."""
    subject = _selected(leaf.trace)
    record = variant.step(leaf.trace.at)
    observed = _observe(leaf.trace, record, variant)
    traces: list[Evaluation] = []
    file = f"{prefix}traces/{leaf.trace.at}.jsonl"
    if leaf.path is not None:
        expected = ", ".join(leaf.path)
        wrong = [] if isinstance(observed, Unknown) else [(one, difference(one, leaf.path)) for one in observed]
        told = [(one, text) for one, text in wrong if text is not None]
        traces.append(
            _each(join(path, "path"), replace(subject, quantity="path"), "path", expected, observed, told, file)
        )
    if leaf.ends is not None:
        others = [] if isinstance(observed, Unknown) else [one for one in observed if one.outcome != leaf.ends]
        told_ends = [(one, one.end) for one in others]
        traces.append(
            _each(join(path, "ends"), replace(subject, quantity="ends"), "ends", leaf.ends, observed, told_ends, file)
        )
    for operator, wanted in (leaf.count.operators() if leaf.count is not None else {}).items():
        where, what = join(path, f"count.{operator}"), replace(subject, quantity="count")
        if isinstance(observed, Unknown):
            traces.append(unknown(where, what, operator, show(wanted), observed))
            continue
        count = Count(len(observed), len(observed))
        refs = _refs(file, observed)
        traces.append(compared(where, what, operator, wanted, count, count.holds(operator, wanted), refs))
    return several(path, subject, traces)


def _each(
    path: str, subject: Subject, operator: str, expected: str, observed: tuple[PacketPath, ...] | Unknown,
    wrong: list[tuple[PacketPath, str]], file: str,
) -> Evaluation:  # fmt: skip
    """True if there are packets and none of them is wrong. ``wrong``: with what is different."""
    if isinstance(observed, Unknown):
        return unknown(path, subject, operator, expected, observed)
    if not observed:
        text = "no such packet was traced"
        return Evaluation(path, subject, False, operator, expected, "no packet", None, text, (Ref(file),))
    shown = wrong[0][0] if wrong else observed[0]
    actual = ", ".join(shown.path) + f" ({shown.end})"
    note = None
    if wrong:
        more = f" (and {len(wrong) - 1} more packets)" if len(wrong) > 1 else ""
        note = f"{shown.first}: {wrong[0][1]}{more}"
    refs = _refs(file, tuple(one for one, _ in wrong) or observed)
    return Evaluation(path, subject, not wrong, operator, expected, actual, None, note, refs)


def _refs(file: str, paths: tuple[PacketPath, ...]) -> tuple[Ref, ...]:
    return tuple(Ref(file, line=one.lines[0]) for one in paths[:SHOWN] if one.lines) or (Ref(file),)


def _selected(selector: TraceSelector) -> Subject:
    words = [f"packets of trace {selector.at}"]
    if selector.during is not None:
        begin, end = selector.during.start, selector.during.end
        words.append(f"during {begin}" if begin == end else f"from {begin} to {end}")
    where = [
        f"with {field} {SYMBOLS.get(operator, operator)} {show(expected)}"
        for field, check in selector.where.items()
        for operator, expected in check.operators().items()
    ]
    return Subject(" ".join(words), " ".join(where))


def _observe(
    selector: TraceSelector, record: StepRecord | None, variant: VariantRecord
) -> tuple[PacketPath, ...] | Unknown:
    """The ways of the selected packets. A trace that lost anything is not believed at all."""
    name = selector.at
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
    found = []
    untold = 0
    for one in packet_paths(events):
        if not window[0] <= one.wall_ns < window[1]:
            continue
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
        text = f"{untold} packets of trace '{name}' may be meant: the kernel did not tell all of their headers"
        return Unknown("headers-not-told", text)
    return tuple(found)


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
