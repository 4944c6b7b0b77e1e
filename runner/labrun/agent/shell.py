"""What a line for the shell does not tell by its exit status: how each part of its pipeline ended, and what is missing.

bash(1) reads the file that BASH_ENV names before it runs a line. Ours notes, in a file that only the agent reads,

- the statuses of the last pipeline (PIPESTATUS), when the shell ends;
- each command that the shell does not find (command_not_found_handle), wherever the line sends its complaints;
- each that failed outside of conditions, and of lists with `&&` and `||` but for their ends (the ERR trap).

The line itself, its exit status and what it prints stay as they are. A line with traps of its own, or one that ends
with `exec`, reports less.
"""

from __future__ import annotations

import fcntl
import os

from labrun.protocol.record import dataclass

_FIRST_FD = 200  # far from the numbers that scripts choose
_MOST = 64 * 1024  # bytes that are read of a report
_NAMES = 20
_PROLOGUE = """\
unset BASH_ENV
exec {own}<&-
command_not_found_handle() {{
    printf 'missing %s\\n' "${{1//[[:space:]]/ }}" >&{report}
    printf '%s: line %d: %s: command not found\\n' "$0" "${{BASH_LINENO[0]}}" "$1" >&2
    return 127
}}
trap 'printf "failed $BASH_SUBSHELL %s %s\\n" $? "${{BASH_COMMAND//[[:space:]]/ }}" >&{report}' ERR
trap 'printf "statuses %s\\n" "${{PIPESTATUS[*]}}" >&{report}' EXIT
"""


@dataclass(frozen=True, slots=True)
class Told:
    """``parts``: exit statuses of the last pipeline; None where the shell did not say. ``missing``: not found.

    ``failed``: (exit status, command) of earlier ones that failed while nothing in the line asks how they ended.
    """

    parts: tuple[int, ...] | None
    missing: tuple[str, ...]
    failed: tuple[tuple[int, str], ...] = ()


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
        lines = os.pread(self._report, _MOST, 0).decode(errors="replace").splitlines()
        statuses = [line.split()[1:] for line in lines if line.startswith("statuses ")]
        parts = tuple(int(word) for word in statuses[-1] if word.isdecimal()) if statuses else None
        missing = dict.fromkeys(line.removeprefix("missing ") for line in lines if line.startswith("missing "))
        words = [line.split(" ", 3)[2:] for line in lines if line.startswith("failed 0 ")]  # of no subshell
        failed: list[tuple[int, str]] = []
        for pair in words:
            if len(pair) == 2 and pair[0].isdecimal():
                one = (int(pair[0]), pair[1])
                if not (pair[1].startswith("(") and failed and failed[-1] == one):  # bash tells of a subshell twice
                    failed.append(one)
        if failed and (parts is None or (parts and parts[-1])):
            failed.pop()  # the last pipeline: its statuses are told
        return Told(parts, tuple(missing)[:_NAMES], tuple(dict.fromkeys(failed))[:_NAMES])

    def close(self) -> None:
        for fd in (self._prologue, self._report):
            if fd >= 0:
                os.close(fd)
        self._prologue = self._report = -1


def _high(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
    finally:
        os.close(fd)
