"""Observations of commands: how they ended and what they printed."""

from __future__ import annotations

from typing import Literal

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.evidence.ref import Ref
from labrun.logic.compare import holds
from labrun.observe.outcome import Accounts, complaints, ending, failure, signal_status
from labrun.observe.unknown import Unknown, cut_short, missing, step_trouble
from labrun.protocol.events import Output
from labrun.protocol.record import dataclass

# Text for comparison is read up to this; what a lab asserts on more than that, it cannot mean.
READ_LIMIT = 64 * 1024 * 1024


# What a pattern can ask of that which follows.
_ENDS = ("(?!", "\\Z", "\\z")

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Text:
    """What a command printed on one stream, without the last line break. ``cut``: why that may not be all.

    ``ended``: there was a last line break.
    """

    value: str
    cut: Unknown | None
    ref: Ref
    ended: bool = False

    def surely(self, operator: str, expected: str) -> bool:
        """On a text that was cut: is the comparison decided, whatever followed?

        What was found stays found. A pattern is looked for in whole lines only, for the last one went on, and never
        where it can ask what does not follow.
        """
        if operator in ("contains", "lacks"):
            return expected in self.value
        whole_lines, line_break, _ = self.value.rpartition("\n")
        of_lines = "(?m" in expected  # then $ is the end of a line that is whole
        ends = any(mark in expected for mark in _ENDS) or ("$" in expected and not of_lines)
        if operator != "matches" or not line_break or ends:
            return False
        return holds("matches", whole_lines, expected) is True


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ran. ``exit`` as a shell counts it: 128 + N after signal N.

    ``early``: why it was ended before it had said all that the lab waits for. ``doubt``: why its stdout may lack what
    it was to print: something in it failed.
    """

    exit: int | Unknown
    stdout: Output
    stderr: Output
    early: Unknown | None = None
    doubt: Unknown | None = None


def observe_command(variant: VariantRecord, step_id: str, accounts: Accounts) -> Ended | Unknown:
    """A run step, or a started process that has ended or was stopped.

    ``accounts``: the exits that whoever asks looks at. What a command printed decides nothing where it failed and
    nobody looks at how it ended.
    """
    record = variant.step(step_id)
    if record is None or record.ended is None:
        return missing(variant, f"step '{step_id}'")
    trouble = step_trouble(record)
    if record.process is not None:
        process = record.process
        if process.stopped:
            text = f"the process of step '{step_id}' was still running when it was stopped: it has no exit status"
            early = trouble or cut_short(variant)
            return Ended(Unknown("still-running", text), process.stdout, process.stderr, early)
    if trouble is not None and record.process is None:
        return trouble
    ended = ending(record)
    if ended is None:
        return missing(variant, f"the end of step '{step_id}'")
    failed = failure(variant, record)
    doubt = failed.why if failed is not None and not accounts.cover(step_id, failed) else None
    if failed is not None and doubt is not None and (failed.needs_name or not record.step.may_fail):
        return doubt
    if doubt is None and step_id not in accounts.complaints:
        doubt = complaints(variant, record)
    left = ", ".join(ended.left or ())
    text = f"step '{step_id}' left processes running ({left}), which may print more"
    early = Unknown("still-running", text) if left else None
    return Ended(_status(ended.exit, ended.signal), ended.stdout, ended.stderr, early, doubt)


def duration_s(variant: VariantRecord, step_id: str) -> float | Unknown:
    """From the step's start to its end, on the monotonic clock, in seconds."""
    record = variant.step(step_id)
    if record is None or record.started is None or record.ended is None:
        return missing(variant, f"step '{step_id}'")
    trouble = step_trouble(record)
    return trouble if trouble is not None else (record.ended.t_ns - record.started.t_ns) / 1e9


def read_text(variant: VariantRecord, ended: Ended, stream: Stream, prefix: str) -> Text:
    """Bytes that are not UTF-8 become U+FFFD: they still differ from what was expected."""
    output = ended.stdout if stream == "stdout" else ended.stderr
    data = variant.output(output, READ_LIMIT)
    whole = data.decode(errors="replace")
    value = whole.removesuffix("\n")
    cut = Unknown("output-cut", "the command printed more than was kept") if output.size > len(data) else ended.early
    if cut is None and stream == "stdout":
        cut = ended.doubt
    return Text(value, cut, Ref(prefix + output.path), value != whole)


def _status(code: int | None, name: str | None) -> int | Unknown:
    status = code if code is not None else signal_status(name or "")
    return status if status is not None else Unknown("no-exit-status", f"the command was ended by {name}")


def step_ref(record: StepRecord | None, prefix: str, events: str) -> tuple[Ref, ...]:
    """Where the events say how the step ended."""
    return (Ref(prefix + events, line=record.line),) if record is not None and record.line is not None else ()
