"""What came of a step: the one place that says why it did not do what its lab says. Every observation asks here.

Two questions. *Did the step take place?* It ended, in its time, and the shell found its commands. *Did its command
fail?* Its exit status, or that of a part of its pipeline, is not one that the lab means: 0, or those that the step's
`exit` names. How a command ends may also be what a prediction asks for; `Accounts` knows that. A step with `may_fail`
may have failed: what comes after it counts all the same, unless it never tried (a typo is not meant). What a failed
command printed decides nothing even so, for a prediction that does not look at how it ended.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterable

from labrun.evidence.record import StepRecord, VariantRecord
from labrun.lab.predictions import CommandIs, ExprIs, Prediction, SuiteIs, leaves
from labrun.observe.shell import (
    ANSWERS,
    ASSIGNMENT,
    DID_NOT_TRY,
    SHELLS,
    SIGPIPE,
    answered,
    asks_how,
    complaint,
    error_line,
    hidden_shell,
    not_allowed,
    not_found,
    pipelines,
    script_of,
    several,
)
from labrun.observe.unknown import NOT_FOUND, Unknown, missing, step_trouble
from labrun.protocol.actions import Run, Start
from labrun.protocol.events import CommandResult, FailedInside, ProcessEnded
from labrun.protocol.plan import Step
from labrun.protocol.record import dataclass

_SIGNALS = 128  # an exit status above it tells of a signal
_READ = 64 * 1024  # bytes of stderr that are searched for complaints, from its beginning and from its end


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that failed. ``status``: by which it says so; None: a signal, or a part of its pipeline.

    ``needs_name``: it never tried; only a lab that names the very status means that.
    """

    why: Unknown
    status: int | None
    needs_name: bool


@dataclass(frozen=True, slots=True)
class Accounts:
    """The exits that predictions look at, the statuses that they name, and the steps whose complaints they ask for."""

    looked_at: frozenset[str]
    named: frozenset[tuple[str, int]]
    complaints: frozenset[str] = frozenset()

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> Accounts:
        looked: set[str] = set()
        named: set[tuple[str, int]] = set()
        complaints: set[str] = set()
        for prediction in predictions:
            for _, leaf in leaves(prediction):
                if isinstance(leaf, CommandIs) and leaf.stderr is not None:
                    asked = leaf.stderr
                    complaints |= {leaf.command} if asked.equals or asked.contains or asked.matches else set()
                if isinstance(leaf, CommandIs) and leaf.exit is not None:
                    looked.add(leaf.command)
                    named |= {(leaf.command, status) for status in _named(leaf)}
                elif isinstance(leaf, SuiteIs):
                    looked.add(leaf.tests)
                elif isinstance(leaf, ExprIs):
                    looked |= set(leaf.exits.values())
                    named |= leaf.named_exits()
        return cls(frozenset(looked), frozenset(named), frozenset(complaints))

    def cover(self, step: str, failure: Failure) -> bool:
        """Does a prediction ask for this, so that the failure is what is observed?"""
        if failure.needs_name:
            return (step, failure.status) in self.named or step in self.complaints
        return failure.status is not None and step in self.looked_at


def _named(leaf: CommandIs) -> set[int]:
    assert leaf.exit is not None
    values = [leaf.exit.equals, *(leaf.exit.one_of or ())]
    return {value for value in values if isinstance(value, int) and not isinstance(value, bool)}


def not_done(variant: VariantRecord, step_id: str) -> Unknown | None:
    """Why the step did not take place as its plan says; None if it did."""
    record = variant.step(step_id)
    if record is None or record.started is None or record.ended is None:
        return missing(variant, f"step '{step_id}'")
    return step_trouble(record)


def failure(variant: VariantRecord, record: StepRecord) -> Failure | None:
    """How the step's command failed; None if it did not, has not ended, or was stopped by the lab."""
    key = f"failure {record.step.id}"
    if key not in variant.memo:
        variant.memo[key] = _failure(variant, record)
    found: Failure | None = variant.memo[key]  # type: ignore[assignment]
    return found


def unaccounted(variant: VariantRecord, accounts: Accounts, before_ns: int | None) -> tuple[StepRecord, Unknown] | None:
    """The first step that failed, that nothing accounts for, and that began before the observation ended.

    ``before_ns``: when the observation ended, on the agent's clock. None: with the lab, as that of a whole capture:
    there what was seen stays seen, whichever way a step failed whose end some prediction looks at.
    """
    for record in variant.steps:
        if record.started is None or (before_ns is not None and record.started.t_ns >= before_ns):
            continue
        found = failure(variant, record)
        if found is not None and record.step.may_fail and not found.needs_name:
            continue
        known = before_ns is None and record.step.id in accounts.looked_at
        if found is not None and not known and not accounts.cover(record.step.id, found):
            return record, found.why
    return None


def _failure(variant: VariantRecord, record: StepRecord) -> Failure | None:
    step = record.step
    ended = ending(record)
    if step_trouble(record) is not None or ended is None or not isinstance(step.action, Run | Start):
        return None
    if isinstance(ended, ProcessEnded) and ended.stopped:
        return None
    status = ended.exit
    if step.exits is not None and status in step.exits:
        return None
    stderr = _stderr(variant, ended)
    said = _last_line(stderr)
    if ended.signal is not None:
        number = signal_status(ended.signal)
        code = "step-failed" if number is not None else "no-exit-status"
        return Failure(Unknown(code, f"step '{step.id}': the command was ended by {ended.signal}{said}"), number, False)
    if status is None:
        return Failure(Unknown("no-exit-status", f"step '{step.id}': nobody knows how the command ended"), None, False)
    line = _line(step)
    by_shell = line is not None or _program(step.action.argv) in SHELLS
    lacking = next(iter(ended.missing or ()), None) or (not_found(stderr) if by_shell else None)
    if lacking is not None or (by_shell and status in NOT_FOUND):
        words = f"does not find '{lacking}'" if lacking else f"cannot run the command (exit {status})"
        why = Unknown("missing-tool", f"step '{step.id}': the shell {words}")
        return Failure(why, status if status in NOT_FOUND else None, True)
    called = pipelines(line) if line is not None else ((_program(step.action.argv),),)
    for failed in ended.failed or ():
        if failed.background:
            earlier = _in_background(step.id, failed.parts[0], pipelines(line or "", background=True) or called, stderr)
        else:
            earlier = _inside(step.id, failed, called, stderr, asks_how(line))
        if earlier is not None:
            return earlier
    parts = ended.parts or (status,)
    names = called[-1] if called and len(called[-1]) == len(parts) else ("",) * len(parts)
    heads = {name for pipeline in called for name in pipeline} if len(parts) == 1 else set()
    for number, (part, name) in enumerate(zip(parts, names, strict=True)):
        last = number == len(parts) - 1
        refused = answered(name, stderr)
        did_not_try = not refused and any(part in DID_NOT_TRY.get(head, ()) for head in (heads or {name}))
        which = f"'{name}', a part of its pipeline, exited" if name and not last else "it exited"
        complains = complaint(stderr, part) if part or last else None
        if part and (did_not_try or complains):
            words = f": {complains[:200]}" if complains else said
            text = f"step '{step.id}': {which} with {part}, which says that it did not try{words}"
            return Failure(Unknown("usage-error", text), status if last else None, True)
        if complains:
            text = f"step '{step.id}' complains of its arguments: {complains}"
            return Failure(Unknown("usage-error", text), None, True)
        answers = part == 0 or refused or part in ANSWERS.get(name, ()) or (part == SIGPIPE and not last)
        if last and step.exits is not None:
            answers = False
        if not answers:
            text = f"step '{step.id}': {which} with {part}{said}"
            return Failure(Unknown("step-failed", text), status if last else None, False)
    if len(parts) > 1 and (forbidden := not_allowed(stderr)) is not None:
        return Failure(Unknown("step-failed", f"step '{step.id}': a part of it says: {forbidden}"), None, False)
    return None


def _inside(
    step_id: str, failed: FailedInside, called: tuple[tuple[str, ...], ...], stderr: str, asks: bool
) -> Failure | None:
    """A command before the last one of a line that failed, and whose failure the line passes over.

    Where the line looks at a status itself (`if`, `||`), only what says that a command did not try is a failure, and a
    part of a pipeline that nobody looks at. ``asks``: the line looks at `$?`.
    """
    known = [names for names in called if len(names) == len(failed.parts)]
    if failed.command is not None and len(failed.parts) == 1:
        known = list(pipelines(failed.command))[-1:]
        if not known and ASSIGNMENT.fullmatch(failed.command):
            return None  # its status is that of what it holds, which was reported itself
    for number, status in enumerate(failed.parts):
        names = {programs[number] for programs in known} or {""}
        last = number == len(failed.parts) - 1
        if not status or any(status in ANSWERS.get(name, ()) or answered(name, stderr) for name in names):
            continue
        if (status == SIGPIPE and not last) or (names == {"wait"} and status > _SIGNALS):
            continue  # its reader had enough, or the line ended what it waits for
        never_tried = any(status in DID_NOT_TRY.get(name, ()) for name in names)
        if last and not never_tried and (asks or (failed.command is None and status not in NOT_FOUND)):
            continue
        command = f"'{failed.command[:80]}'" if failed.command else "whose end the line looks at"
        statuses = " | ".join(map(str, failed.parts))
        text = f"step '{step_id}': one of its commands, {command}, exited with {statuses}{_last_line(stderr)}"
        if never_tried or (complaint(stderr, status) and failed.command is not None):
            return Failure(Unknown("usage-error", text), None, True)
        return Failure(Unknown("step-failed", text), None, False)
    return None


def _in_background(step_id: str, status: int, called: tuple[tuple[str, ...], ...], stderr: str) -> Failure | None:
    """A command that failed beside the line, which went on. ``called``: those that it may be."""
    names = {programs[-1] for programs in called}
    if any(status in ANSWERS.get(name, ()) or answered(name, stderr) for name in names):
        return None
    never_tried = any(status in DID_NOT_TRY.get(name, ()) for name in names) or complaint(stderr, status) is not None
    text = f"step '{step_id}': a command in the background exited with {status}{_last_line(stderr)}"
    return Failure(Unknown("usage-error" if never_tried else "step-failed", text), None, never_tried)


def _line(step: Step) -> str | None:
    """The line for bash, also where the lab names bash itself: [bash, -c, LINE]."""
    if step.shell is not None or not isinstance(step.action, Run | Start):
        return step.shell
    return script_of(step.action.argv, step.action.stdin) if _program(step.action.argv) == "bash" else None


def _hides(step: Step) -> str | None:
    """A shell that runs several commands, of which it does not tell us how they ended."""
    if not isinstance(step.action, Run | Start):
        return None
    line = _line(step)
    if line is not None:
        return hidden_shell(line)
    argv = step.action.argv
    script = script_of(argv, step.action.stdin)
    if script is not None:
        return _program(argv) if several(script) else None
    return hidden_shell(shlex.join(argv))


def signal_status(name: str) -> int | None:
    """The exit status by which a shell tells of a signal: 128 + N; None of a signal without a known number."""
    try:
        return 128 + signal.Signals[name].value
    except KeyError:
        return None


def ending(record: StepRecord) -> CommandResult | ProcessEnded | None:
    """How the step's command ended; None if it did not end, or is no command."""
    if record.process is not None:
        return record.process
    result = record.ended.result if record.ended is not None else None
    return result if isinstance(result, CommandResult) else None


def complaints(variant: VariantRecord, record: StepRecord) -> Unknown | None:
    """That something in the command failed, or may have, which its statuses do not tell."""
    key = f"complaints {record.step.id}"
    if key not in variant.memo:
        ended = ending(record)
        line = None if ended is None or asks_how(_line(record.step)) else error_line(_stderr(variant, ended))
        shell = _hides(record.step)
        if line:
            trouble = Unknown("step-failed", f"step '{record.step.id}': a part of it says: {line[:200]}")
        elif shell:
            what = f"how the commands that {shell} runs ended is not known; give its line to `run:`"
            trouble = Unknown("no-exit-status", f"step '{record.step.id}': {what}")
        variant.memo[key] = trouble if line or shell else None
    found: Unknown | None = variant.memo[key]  # type: ignore[assignment]
    return found


def last_words(variant: VariantRecord, record: StepRecord) -> str | None:
    """The last line of a command's stderr."""
    ended = ending(record)
    return _final(_stderr(variant, ended)) if ended is not None else None


def _stderr(variant: VariantRecord, ended: CommandResult | ProcessEnded) -> str:
    if not ended.stderr.size:
        return ""
    data = variant.output(ended.stderr, _READ)
    if ended.stderr.size > len(data):
        data += b"\n" + variant.output_end(ended.stderr, _READ)
    return data.decode(errors="replace")


def _last_line(stderr: str) -> str:
    line = _final(stderr)
    return f": {line[:200]}" if line else ""


def _final(text: str) -> str | None:
    """Its last line that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)


def _program(argv: tuple[str, ...]) -> str:
    return argv[0].rpartition("/")[2] if argv else ""
