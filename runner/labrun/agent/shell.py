"""What a line for the shell does not tell by its exit status: how each of its commands ended, and what is missing.

bash(1) reads the file that BASH_ENV names before it runs a line. Ours notes, in a file that only the agent reads, the
statuses of the last pipeline (PIPESTATUS) when the shell ends, those of each pipeline before it that failed, and each
command that the shell does not find (command_not_found_handle), wherever the line sends its complaints. The line
itself, its exit status and what it prints stay as they are. A line with traps of its own for EXIT, ERR or DEBUG, or one
that ends with `exec`, reports less.

Bash calls the ERR trap where it would end with `set -e`: not where the line itself looks at the status (`if`, `while`,
`||`, `!`). There the DEBUG trap, which comes before the next command, finds statuses that are more than yes and no.
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
    printf 'missing %s\\n' "${{1//[[:space:]]/ }}" >&{report}
    printf '%s: line %d: %s: command not found\\n' "$0" "${{BASH_LINENO[0]}}" "$1" >&2
    return 127
}}
trap 'printf "statuses %s\\n" "${{PIPESTATUS[*]}}" >&{report}' EXIT
trap 'printf "failed %s\\t%s\\n" "${{PIPESTATUS[*]}}" "${{BASH_COMMAND//[[:space:]]/ }}" >&{report}' ERR
set -ET
trap 'case "${{PIPESTATUS[*]}}" in 0|1);; *[1-9]*) printf "looked %s\\n" "${{PIPESTATUS[*]}}" >&{report};; esac' DEBUG
"""


@dataclass(frozen=True, slots=True)
class Told:
    """``parts``: exit statuses of the last pipeline; None where the shell did not say. ``missing``: not found.

    ``inside``: pipelines that failed, each once, in order. The last one is among them where it failed.
    """

    parts: tuple[int, ...] | None
    missing: tuple[str, ...]
    inside: tuple[FailedInside, ...] = ()


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
        inside: dict[FailedInside, None] = {}
        for word, _, rest in told:
            numbers, tab, command = rest.partition("\t")
            if word == "looked" or (word == "failed" and tab):
                found = FailedInside(_numbers(numbers), command[:_COMMAND] if word == "failed" else None)
                inside.pop(found, None)
                inside[found] = None
        return Told(statuses[-1] if statuses else None, tuple(missing)[:_NAMES], tuple(inside)[-_FAILURES:])

    def close(self) -> None:
        for fd in (self._prologue, self._report):
            if fd >= 0:
                os.close(fd)
        self._prologue = self._report = -1


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split() if word.isdecimal())


def _high(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
    finally:
        os.close(fd)
