"""What a line for the shell does not tell by its exit status: how each part of its pipeline ended, and what is missing.

bash(1) reads the file that BASH_ENV names before it runs a line. Ours notes, in a file that only the agent reads,

- the statuses of the last pipeline (PIPESTATUS), when the shell ends;
- each command that the shell does not find (command_not_found_handle), wherever the line sends its complaints;
- each that failed outside of conditions, and of lists with `&&` and `||` but for their ends (the ERR trap), in
  functions, subshells and `$(...)`, too;
- in conditions, statuses that are more than yes and no, such as that of a part of a pipeline: the DEBUG trap, which
  comes before each command, finds those of the one before it.

The line itself, its exit status and what it prints stay as they are; `$-` has E and T. A line with traps of its own, or
one that ends with `exec`, reports less.
"""

from __future__ import annotations

import fcntl
import os

from labrun.protocol.events import FailedInside
from labrun.protocol.record import dataclass

_FIRST_FD = 200  # far from the numbers that scripts choose
_MOST = 64 * 1024  # bytes that are read of a report
_NAMES = 20
_FAILURES = 50
_COMMAND = 200  # characters of one that are kept
_PROLOGUE = """\
unset BASH_ENV
exec {own}<&-
command_not_found_handle() {{
    trap - ERR DEBUG
    printf 'missing %s\\n' "${{1//[[:space:]]/ }}" >&{report}
    printf '%s: line %d: %s: command not found\\n' "$0" "${{BASH_LINENO[0]}}" "$1" >&2
    return 127
}}
trap 'printf "statuses %s\\n" "${{PIPESTATUS[*]}}" >&{report}' EXIT
trap 'printf "failed %s\\t%d\\t%s\\n" "${{PIPESTATUS[*]}}" $((BASH_SUBSHELL + ${{#FUNCNAME[*]}})) \\
"${{BASH_COMMAND//[[:space:]]/ }}" >&{report}' ERR
set -ET
trap 'case "${{PIPESTATUS[*]}}" in 0|1);; *[1-9]*) printf "looked %s\\n" "${{PIPESTATUS[*]}}" >&{report};; esac' DEBUG
"""


@dataclass(frozen=True, slots=True)
class Told:
    """``parts``: exit statuses of the last pipeline; None where the shell did not say. ``missing``: not found.

    ``failed``: pipelines before the last one that failed, each once.
    """

    parts: tuple[int, ...] | None
    missing: tuple[str, ...]
    failed: tuple[FailedInside, ...] = ()


UNTOLD = Told(None, ())  # of what is no line for the shell


class Report:
    """A file for one shell. Close it after reading."""

    def __init__(self) -> None:
        """Raises OSError where no such file can be made, as under a low limit of open files."""
        self._report = _high(os.memfd_create("report"))
        try:
            self._prologue = _high(os.memfd_create("prologue"))
        except OSError:
            os.close(self._report)
            raise
        os.write(self._prologue, _PROLOGUE.format(own=self._prologue, report=self._report).encode())

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
        failed = _failed([(word, rest) for word, _, rest in told], parts)
        return Told(parts, tuple(missing)[:_NAMES], failed)

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
    return tuple(dict.fromkeys(failed for _, failed in found))[-_FAILURES:]


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split() if word.isdecimal())


def _high(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
    finally:
        os.close(fd)
