"""What a line for the shell does not tell by its exit status: how each part of its pipeline ended, and what is missing.

bash(1) reads the file that BASH_ENV names before it runs a line. Ours notes, in a file that only the agent reads,

- the statuses of the last pipeline (PIPESTATUS), when the shell ends;
- each command that the shell does not find (command_not_found_handle), wherever the line sends its complaints;
- each that failed outside of conditions, and of lists with `&&` and `||` but for their ends (the ERR trap), in
  functions, subshells and `$(...)`, too;
- in conditions, statuses that are more than yes and no, such as that of a part of a pipeline: the DEBUG trap, which
  comes before each command, finds those of the one before it;
- each command in the background (`&`) that failed. bash keeps the status of a child that ended until `wait` without
  operands discards it, so the shell waits for each of them before that, and looks at those that ended when it ends.

The line itself, its exit status and what it prints stay as they are; `$-` has E and T. A line with traps of its own,
one that ends with `exec`, or one with `wait -n` reports less.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterator

from labrun.protocol.events import FailedInside
from labrun.protocol.record import dataclass

_WAIT_ANY = re.compile(r"\bwait\s+-\w*n")  # bash 5.2 finds a child that has ended only if little comes in between
_FIRST_FD = 200  # far from the numbers that scripts choose
_MOST = 64 * 1024  # bytes that are read of a report
_NAMES = 20
_FAILURES = 50
_COMMAND = 200  # characters of one that are kept
_ENDED = {127} | {
    128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGPIPE, signal.SIGTERM)
}
_PROLOGUE = """\
unset BASH_ENV
exec {own}<&-
command_not_found_handle() {{
    trap - ERR DEBUG
    printf 'missing %s\\n' "${{1//[[:space:]]/ }}" >&{report}
    printf '%s: line %d: %s: command not found\\n' "$0" "${{BASH_LINENO[0]}}" "$1" >&2
    return 127
}}
__labrun_jobs=()
__labrun_last=
__labrun_look() {{
    __labrun_word=$1
    case $2 in 0|1);; *[1-9]*) printf 'looked %s\\n' "$2" >&{report};; esac
    case ${{!-}} in "$__labrun_last");; *)
        __labrun_last=$!
        __labrun_jobs+=("$BASHPID $!")
        [[ $BASH_SUBSHELL == 0 ]] || trap 'trap - DEBUG ERR; __labrun_ended' EXIT;;
    esac
    case $BASH_COMMAND in wait) __labrun_ended wait;; esac
}}
__labrun_ended() {{
    local job
    for job in "${{__labrun_jobs[@]}}"; do
        [[ ${{job% *}} == "$BASHPID" ]] && {{ [[ $# == 1 ]] || ! kill -0 "${{job#* }}"; }} || continue
        builtin wait "${{job#* }}" || printf 'background %d\\n' $? >&{report}
    done 2>/dev/null
    [[ $# == 0 ]] || __labrun_jobs=()
}}
trap 'printf "statuses %s\\n" "${{PIPESTATUS[*]}}" >&{report}; trap - DEBUG ERR; __labrun_ended' EXIT
trap 'printf "failed %s\\t%d\\t%s\\n" "${{PIPESTATUS[*]}}" $((BASH_SUBSHELL + ${{#FUNCNAME[*]}})) \\
"${{BASH_COMMAND//[[:space:]]/ }}" >&{report}' ERR
set -ET
"""
_BEFORE_EACH = """\
trap 'case ${{PIPESTATUS[*]}}:${{!-}}:$BASH_COMMAND in
*:wait) __labrun_look "$_" "${{PIPESTATUS[*]}}"; : "$__labrun_word";;
[01]:$__labrun_last:*);;
*) __labrun_look "$_" "${{PIPESTATUS[*]}}"; : "$__labrun_word";; esac' DEBUG
"""


@dataclass(frozen=True, slots=True)
class Told:
    """``parts``: exit statuses of the last pipeline; None where the shell did not say. ``missing``: not found.

    ``failed``: pipelines before the last one, and commands in the background, that failed, each once.
    """

    parts: tuple[int, ...] | None
    missing: tuple[str, ...]
    failed: tuple[FailedInside, ...] = ()


UNTOLD = Told(None, ())  # of what is no line for the shell


class Report:
    """A file for one shell. Close it after reading."""

    def __init__(self, line: str) -> None:
        """Raises OSError where no such file can be made, as under a low limit of open files."""
        self._report = _high(os.memfd_create("report"))
        try:
            self._prologue = _high(os.memfd_create("prologue"))
        except OSError:
            os.close(self._report)
            raise
        prologue = _PROLOGUE if _WAIT_ANY.search(line) else _PROLOGUE + _BEFORE_EACH
        os.write(self._prologue, prologue.format(own=self._prologue, report=self._report).encode())

    @property
    def fds(self) -> tuple[int, ...]:
        """What the shell inherits."""
        return self._prologue, self._report

    @property
    def environment(self) -> dict[str, str]:
        return {"BASH_ENV": f"/proc/self/fd/{self._prologue}"}

    def started(self) -> None:
        """The shell has its own copies now."""
        os.close(self._prologue)
        self._prologue = -1

    def read(self) -> Told:
        size = os.fstat(self._report).st_size
        data = os.pread(self._report, _MOST, 0)
        if size > _MOST:
            data += b"\n" + os.pread(self._report, _MOST, max(_MOST, size - _MOST))
        told = [line.partition(" ") for line in data.decode(errors="replace").split("\n")]
        statuses = [_numbers(rest) for word, _, rest in told if word == "statuses"]
        missing = dict.fromkeys(rest for word, _, rest in told if word == "missing")
        parts = statuses[-1] if statuses else None
        failed = _failed([(word, rest) for word, _, rest in told], parts) + tuple(_background(told))
        return Told(parts, tuple(missing)[:_NAMES], tuple(dict.fromkeys(failed))[-_FAILURES:])

    def close(self) -> None:
        for fd in (self._prologue, self._report):
            if fd >= 0:
                os.close(fd)
        self._prologue = self._report = -1


def _failed(told: list[tuple[str, str]], parts: tuple[int, ...] | None) -> tuple[FailedInside, ...]:
    """Without the last pipeline, whose statuses (``parts``) are told as such, and what it passed on."""
    found: list[tuple[int, FailedInside]] = []  # with how deep in functions and subshells
    for word, rest in told:
        numbers, *more = rest.split("\t", 2)
        if word == "failed" and len(more) == 2 and more[0].isdecimal():
            if found and found[-1][1] == FailedInside(_numbers(numbers)):
                found.pop()  # the DEBUG trap comes before the ERR trap, too, and after it
            one = int(more[0]), FailedInside(_numbers(numbers), more[1][:_COMMAND])
            if not (more[1].startswith("(") and found and found[-1] == one):  # bash tells of a subshell twice
                found.append(one)
        elif word == "looked" and not (found and found[-1][1].parts == _numbers(numbers)):
            found.append((0, FailedInside(_numbers(numbers))))
    if found and found[-1][1] == FailedInside(parts or ()):
        found.pop()
    if found and found[-1][1].command is not None and parts and parts[-1]:
        depth, last = found.pop()
        while found and found[-1][0] > depth and found[-1][1].parts == last.parts:
            found.pop()
    return tuple(failed for _, failed in found)


def _background(told: list[tuple[str, str, str]]) -> Iterator[FailedInside]:
    """Commands in the background that failed; not those that somebody ended by a signal, as lines do with servers."""
    for word, _, rest in told:
        if word == "background" and (status := _numbers(rest)) and not _ENDED & set(status):
            yield FailedInside(status, background=True)


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split() if word.isdecimal())


def _high(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
    finally:
        os.close(fd)
