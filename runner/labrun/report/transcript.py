"""Steps as a terminal shows them: prompt, command, outputs, and what a prompt would not show (an exit status that is
not 0, a signal, a refusal). Long outputs show their beginning and say how much is missing and where the whole is."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.evidence.run import EvidenceError
from labrun.logic.visible import visible
from labrun.protocol.actions import Capture, Run, Send, Snapshot, Start, Stop, Wait
from labrun.protocol.actions import Link as LinkAction
from labrun.protocol.events import (
    ChangeResult,
    CommandResult,
    LookupResult,
    Output,
    ProcessEnded,
    SendResult,
    WaitResult,
)
from labrun.protocol.shown import equivalent
from labrun.protocol.state import KernelState, NodeState
from labrun.report import anchors
from labrun.report.ansi import terminal_lines
from labrun.report.kernel import Change, Course
from labrun.report.room import Room
from labrun.report.view import Link, NodeFacts, StepView, StreamView
from labrun.report.visible import one_line, size, text_of

MAX_BYTES = 32 * 1024  # shown of each stream
MAX_LINES = 800
_TAIL = 4  # the end gets a quarter as much as the beginning
MAX_FACTS = 200  # objects of a node's snapshot


def step_view(slug: str, variant: VariantRecord, record: StepRecord, run: Path, room: Room, course: Course) -> StepView:
    step = record.step
    result = record.ended.result if record.ended else None
    outputs = result if isinstance(result, CommandResult) else record.process
    return StepView(
        id=step.id,
        anchor=anchors.setup(slug, variant.plan.variant) if step.phase == "topology"
        else anchors.step(slug, variant.plan.variant, step.id),
        prompt=(one_line(step.node) if step.node else "lab") + (">>>" if isinstance(step.action, Send) else "#"),
        command=_command(record),
        note=visible(step.note, "\n\t") if step.note else None,
        stdin=_stdin(record),
        outputs=_streams(variant, outputs, run, room) if outputs is not None else (),
        facts=_facts(variant, record),
        changes=_changes(variant, record, course),
        ended=_ended(outputs) if outputs is not None else None,
        trouble=_trouble(record),
        remark=_remark(record),
        took=_took(record),
        changed=False,
        like=None,
        typed=not isinstance(step.action, Run | Start | Stop | Capture | Snapshot | Wait),
    )  # fmt: skip


def _command(record: StepRecord) -> tuple[str, ...]:
    action = record.step.action
    if isinstance(action, Run | Start):
        text = record.step.shell or shlex.join(action.argv)
        text = text.rstrip("\n") + (" &" if isinstance(action, Start) else "")
    else:
        text = equivalent(action)
    return tuple(visible(text, "\n\t").split("\n"))


def _stdin(record: StepRecord) -> str | None:
    action = record.step.action
    return visible(action.stdin, "\n\t") if isinstance(action, Run | Start) and action.stdin else None


def _streams(
    variant: VariantRecord, outputs: CommandResult | ProcessEnded, run: Path, room: Room
) -> tuple[StreamView, ...]:
    shown: list[StreamView] = []
    if outputs.stdout.size:
        shown.append(_stream(variant, "stdout", outputs.stdout, run, room))
    if outputs.stderr.size:
        shown.append(_stream(variant, "stderr", outputs.stderr, run, room))
    return tuple(shown)


def _stream(variant: VariantRecord, name: str, output: Output, run: Path, room: Room) -> StreamView:
    """The beginning of an output, and its end where the middle had to go: that is where a program says how it went."""
    file = f"{variant.folder.relative_to(run).as_posix()}/{output.path}"
    link = Link(output.path.rpartition("/")[2], anchors.file_href(file))
    most, most_lines = room.text(MAX_BYTES), room.lines(MAX_LINES)
    cut: list[str] = []
    data = rest = b""
    try:
        data = variant.output(output, most)
        if output.kept > len(data) == most:
            rest = variant.output_end(output, min(most // _TAIL, output.kept - most))
    except EvidenceError:
        cut.append("The file could not be read.")
    lines, tail = terminal_lines(text_of(data)), terminal_lines(text_of(rest)) if rest else ()
    if len(lines) > most_lines:
        tail = (*lines[most_lines:], *tail)
        lines = lines[:most_lines]
    tail = tail[-(most_lines // _TAIL) :]
    gap = None
    if tail:
        gap = "some lines are left out here"
        cut.append(f"The first {len(lines)} and the last {len(tail)} lines of {size(output.size)} are shown.")
    elif len(data) < min(output.kept, most):
        cut.append(f"{size(len(data))} of {size(output.size)} arrived from the sandbox.")
    if output.size > output.kept:
        cut.append(f"labrun kept the first {size(output.kept)} of {size(output.size)}.")
    room.took(len(lines) + len(tail), sum(len(span.text) for line in (*lines, *tail) for span in line))
    return StreamView("stderr" if name == "stderr" else "stdout", lines, link, " ".join(cut) or None, tail, gap)


def _ended(outputs: CommandResult | ProcessEnded) -> str | None:
    if isinstance(outputs, ProcessEnded) and outputs.stopped:
        return "stopped by labrun"
    if outputs.signal:
        return f"ended by {one_line(outputs.signal)}"
    if outputs.exit:
        return f"exit {outputs.exit}"
    return "ended by itself, exit 0" if isinstance(outputs, ProcessEnded) else None


def _trouble(record: StepRecord) -> str | None:
    """What went wrong with the step itself: the experiment did not go as planned."""
    ended = record.ended
    if record.started is None:
        return "This step did not run."
    if ended is None:
        return "This step never ended: the evidence stops here."
    if ended.status == "ok":
        return None
    word = "Deadline passed" if ended.status == "timeout" else "Failed"
    return f"{word}: {one_line(ended.message)}" if ended.message else f"{word}."


def _remark(record: StepRecord) -> str | None:
    """What a typed step has to say that no output shows."""
    result = record.ended.result if record.ended else None
    if isinstance(result, ChangeResult) and result.errno:
        return f"The kernel refused: {one_line(result.message or result.errno)} ({one_line(result.errno)})"
    if isinstance(record.step.action, LinkAction) and record.step.phase == "lab" and record.step.action.up:
        return "labrun then waited until the kernel knew whether the link has a carrier"
    if isinstance(result, SendResult):
        return f"sent {result.packets}: {one_line(result.summary)}"
    if isinstance(result, LookupResult):
        if result.route is not None:
            return f"The kernel answered: {_fact(result.route)}"
        return f"The kernel has no route: {one_line(result.message or '')} ({one_line(result.errno or 'no answer')})"
    if isinstance(result, WaitResult):
        return f"looked {result.attempts} time{'s' if result.attempts != 1 else ''}"
    return None


def _took(record: StepRecord) -> str | None:
    if record.started is None or record.ended is None:
        return None
    took_ns = record.ended.t_ns - record.started.t_ns
    return "<1 ms" if took_ns < 1_000_000 else f"{took_ns // 1_000_000} ms"


def _changes(variant: VariantRecord, record: StepRecord, course: Course) -> tuple[Change, ...]:
    try:
        snapshot = variant.snapshot(record.step.id) if isinstance(record.step.action, Snapshot) else None
        return course.after(variant.state_after(record), snapshot)
    except EvidenceError:
        return ()


def _facts(variant: VariantRecord, record: StepRecord) -> tuple[NodeFacts, ...]:
    if not isinstance(record.step.action, Snapshot):
        return ()
    try:
        state: KernelState | None = variant.snapshot(record.step.id)
    except EvidenceError:
        return ()
    if state is None:
        return ()
    return tuple(_node_facts(one_line(name), node) for name, node in state.nodes.items())


def _node_facts(name: str, node: NodeState) -> NodeFacts:
    counts: list[str] = []
    lines: list[str] = []
    for part in dataclasses.fields(node):
        objects = getattr(node, part.name)
        if isinstance(objects, tuple):
            counts.append(f"{len(objects)} {part.name if len(objects) != 1 else _SINGULAR.get(part.name, part.name)}")
            lines += [f"{_SINGULAR.get(part.name, part.name)}: {_fact(each)}" for each in objects]
        elif part.name == "nft" and objects is not None:
            counts.append(f"{len(objects.rules)} nft rule{'s' if len(objects.rules) != 1 else ''}")
            lines += [f"nft: {_fact(each)}" for each in (*objects.chains, *objects.rules, *objects.counters)]
    lines += [f"{one_line(part)}: not available: {one_line(why)}" for part, why in node.unavailable.items()]
    if len(lines) > MAX_FACTS:
        lines[MAX_FACTS:] = [f"… {len(lines) - MAX_FACTS} more in the file"]
    return NodeFacts(name, ", ".join(counts), tuple(lines))


_SINGULAR = {
    "links": "link", "addresses": "address", "routes": "route", "rules": "rule", "neighbours": "neighbour",
    "sockets": "socket",
}  # fmt: skip


def _fact(each: object) -> str:
    """The fields that say something, as iproute2 would string them together."""
    words: list[str] = []
    for item in dataclasses.fields(each):  # type: ignore[arg-type]
        value = getattr(each, item.name)
        if value in (None, ()) or value is False or value == item.default:
            continue
        if isinstance(value, tuple):
            value = ",".join(_fact(one) if dataclasses.is_dataclass(one) else str(one) for one in value)
        words.append(f"{item.name}={value}")
    return one_line(" ".join(words))
