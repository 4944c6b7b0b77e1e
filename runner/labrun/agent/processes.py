"""Commands of a lab: started in a node, their output kept in files up to a limit, all of it counted.

One thread a process reads both pipes and waits for its end (pidfd), so that a full pipe never stops a command and
its end is known at once. What a command's orphans still write after its end is not part of its output.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from labrun.agent.shell import Report, Told
from labrun.agent.socket_state import lab_pid
from labrun.protocol.events import Output

# argv, environment, and its open files (its number for it -> ours): the pid of our new child
Start = Callable[[tuple[str, ...], dict[str, str], dict[int, int]], int]
_READ = 256 * 1024
_NAMES = 20  # of processes that a command left running
_TAIL = 64 * 1024  # where `ready: output` looks; a banner is not farther apart from itself than this
_DYING_S = 1.0  # to take a signal, on a busy machine
_PENDING = re.compile(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", re.MULTILINE)
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PYTHONUNBUFFERED": "1",
}


def _report(line: str) -> Report | None:
    try:
        return Report(line)
    except OSError:
        return None


def _process_ids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208  a tenth of iterdir()'s price


def _stat(pid: int) -> tuple[str, int, int] | None:
    """Name, parent and session of a process; None of one that has ended (proc_pid_stat(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    state, parent, _, session = rest.split()[:4]
    return (name, int(parent), int(session)) if state not in "ZX" else None


def _dying(pid: int) -> bool:
    """Has it a signal that it did not take yet? Then it may be about to end (proc_pid_status(5), SigPnd and ShdPnd)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(int(mask, 16) for mask in _PENDING.findall(status))


class _Stream:
    """One pipe into one file."""

    def __init__(self, name: str, path: Path, limit: int) -> None:
        self.name = name
        self.size = 0
        self.kept = 0
        self.tail = b""
        self.trouble: OSError | None = None  # why no more is kept
        self._limit = limit
        self._file: BinaryIO = path.open("wb", buffering=0)

    def take(self, data: bytes) -> None:
        self.size += len(data)
        self.tail = (self.tail + data)[-_TAIL:]
        part = memoryview(data)[: max(0, self._limit - self.kept)]
        try:
            while part and self.trouble is None:
                written = self._file.write(part)
                self.kept += written
                part = part[written:]
        except OSError as error:  # a full sandbox must not stop the command, nor hide that it ended
            self.trouble = error

    def close(self) -> None:
        self._file.close()

    def output(self) -> Output:
        return Output(self.name, self.size, self.kept)


class Process:
    """A running command."""

    def __init__(self, argv: tuple[str, ...], stdin: str | None, out: tuple[str, Path], err: tuple[str, Path],
                 limit: int, start: Start, extra_env: dict[str, str] | None = None,
                 shell: bool = False) -> None:  # fmt: skip
        """``out`` and ``err``: the evidence name and where it grows. ``shell``: ``argv`` is bash.

        Raises OSError if it cannot be started.
        """
        self.argv = argv
        self.stopped = False
        self._holders: tuple[str, ...] = ()
        self._more = False  # may come, or came, after it ended
        self._changed = threading.Condition()
        self._ended = False
        self._streams = (_Stream(*out, limit), _Stream(*err, limit))
        self._code: int | None = None
        self._report = _report("\n".join((*argv, stdin or ""))) if shell else None
        self._told: Told | None = None
        self._before = _process_ids()
        self._stdin = stdin
        self._feeds, self._reads = -1, [-1, -1]
        theirs = []
        try:
            if stdin is None:
                theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            else:
                source, self._feeds = os.pipe()
                theirs.append(source)
            for place in range(2):
                self._reads[place], target = os.pipe()
                theirs.append(target)
            environment = {**ENVIRONMENT, **(extra_env or {}), **(self._report.environment if self._report else {})}
            files = dict(enumerate(theirs)) | {fd: fd for fd in (self._report.fds if self._report else ())}
            self.pid = start(argv, environment, files)
        except OSError:
            theirs += [fd for fd in (self._feeds, *self._reads) if fd >= 0]
            for stream in self._streams:
                stream.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        if self._report is not None:
            self._report.started()
        self.lab_pid = lab_pid(self.pid)
        threading.Thread(target=self._pump, name=f"pump {self.pid}", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """True when it has ended within the time. Raises OSError, at once, where its output cannot be kept."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._trouble() is not None, timeout_s)
            self.check()
            return self._ended

    def check(self) -> None:
        """Raises OSError if output could not be kept."""
        if (trouble := self._trouble()) is not None:
            raise trouble

    def _trouble(self) -> OSError | None:
        return next((stream.trouble for stream in self._streams if stream.trouble is not None), None)

    def wait_output(self, pattern: str, timeout_s: float) -> bool:
        """True when its output matches; False when it ended without, or the time is over. Raises as `wait` does."""
        regex = re.compile(pattern.encode())

        def matched() -> bool:
            return any(regex.search(stream.tail) for stream in self._streams)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or matched() or self._trouble() is not None, timeout_s)
            self.check()
            return matched()

    @property
    def ended(self) -> bool:
        with self._changed:
            return self._ended

    @property
    def status(self) -> tuple[int | None, str | None]:
        """(exit, signal name) once it has ended; (None, None) before."""
        code = self._code
        if code is None:
            return None, None
        if code >= 0:
            return code, None
        try:
            return None, signal.Signals(-code).name
        except ValueError:  # a real-time signal
            return None, f"SIG{-code}"

    def outputs(self) -> tuple[Output, Output]:
        """What there is by now, (stdout, stderr)."""
        with self._changed:
            return self._streams[0].output(), self._streams[1].output()

    def told(self) -> Told | None:
        """What the shell reported; None of what is no line for the shell."""
        if self._told is None and self._report is not None and self.ended:
            self._told = self._report.read()
            self._report.close()
        return self._told

    def left(self, others: set[int]) -> tuple[str, ...]:
        """The names of processes that came while this one ran and outlive it. ``others``: sessions of other steps."""
        came = {pid: _stat(pid) for pid in sorted(_process_ids() - self._before - {self.pid})}
        end = time.monotonic() + _DYING_S
        while any(stat is not None and _dying(pid) for pid, stat in came.items()) and time.monotonic() < end:
            time.sleep(0.005)
            came = {pid: _stat(pid) for pid in came}
        return tuple(
            name
            for name, parent, session in filter(None, came.values())
            if session not in others and (session == self.pid or parent != os.getpid())
        )[:_NAMES]

    def holders(self) -> tuple[str, ...]:
        """Who could write more when it had ended, and wrote more or still can."""
        return self._holders if self._more else ()

    def stop(self, name: str, grace_s: float) -> None:
        """Signal the process and its group; SIGKILL if that does not end it within ``grace_s``."""
        if not self.ended:
            self.stopped = True
            self._signal(signal.Signals[f"SIG{name}"])
            if not self._wait(grace_s):
                self._signal(signal.SIGKILL)
                self._wait(5.0)
        self._signal(signal.SIGKILL)  # what is left of its group

    def _wait(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _pump(self) -> None:
        pidfd = os.pidfd_open(self.pid)
        with selectors.DefaultSelector() as selector:
            for pipe, stream in zip(self._reads, self._streams, strict=True):
                os.set_blocking(pipe, False)
                selector.register(pipe, selectors.EVENT_READ, stream)
            selector.register(pidfd, selectors.EVENT_READ, None)
            if self._stdin is not None:
                threading.Thread(target=self._feed, name=f"feed {self.pid}", daemon=True).start()
            running = True
            while running:
                for key, _ in selector.select():
                    if key.data is None:
                        running = False
                    elif not self._read(key.fd, key.data):
                        selector.unregister(key.fileobj)
            whole = [self._read_all(pipe, stream) for pipe, stream in zip(self._reads, self._streams, strict=True)]
        if not all(whole):
            self._more = True
            self._holders = self.left(set()) or ("a process without a name",)
        _, status = os.waitpid(self.pid, 0)
        os.close(pidfd)
        with self._changed:
            self._code = os.waitstatus_to_exitcode(status)
            for stream in self._streams:
                stream.close()
            self._ended = True
            self._changed.notify_all()
        self._swallow()

    def _swallow(self) -> None:
        """Orphans may hold the pipes: go on reading, so that they are neither blocked nor killed by SIGPIPE."""
        late = False
        with selectors.DefaultSelector() as selector:
            for pipe in self._reads:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    if os.read(key.fd, _READ):
                        late = True
                    else:
                        selector.unregister(key.fileobj)
        self._more = late
        for pipe in self._reads:
            os.close(pipe)

    def _feed(self) -> None:
        assert self._stdin is not None
        try:
            with open(self._feeds, "wb") as pipe:  # noqa: PTH123
                pipe.write(self._stdin.encode())
        except (BrokenPipeError, ConnectionError):
            return  # the command did not want it all

    def _read(self, fd: int, stream: _Stream) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return True
        if not data:
            return False
        with self._changed:
            stream.take(data)
            self._changed.notify_all()
        return True

    def _read_all(self, fd: int, stream: _Stream) -> bool:
        """All that is there; False where somebody may write more."""
        while True:
            try:
                data = os.read(fd, _READ)
            except BlockingIOError:
                return False
            if not data:
                return True
            with self._changed:
                stream.take(data)
