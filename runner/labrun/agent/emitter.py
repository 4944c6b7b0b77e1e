"""The agent's voice: events and evidence files, as frames on the one stream that the host reads.

Files grow in a work folder and are shipped piece by piece, always up to what is there now, so that a crash loses at
most what came since the last step.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from labrun.protocol.events import Event
from labrun.protocol.frames import CHUNK, event_frame, piece_frame

_TIGHT_NS = 20_000  # two reads with nothing between them take less than 1 us
_READS = 50
_FULL = (errno.ENOSPC, errno.EDQUOT)


class NoRoom(Exception):
    """There is no room left for the evidence in the sandbox. The message says where."""


def as_no_room(error: BaseException, folder: Path) -> NoRoom | None:
    """What an error comes to, if it says that there is no room."""
    if isinstance(error, NoRoom):
        return error
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    state = os.statvfs(folder)
    size = state.f_blocks * state.f_frsize // 1024**2
    return NoRoom(f"the sandbox is full: what steps print and captures keep is more than its {size} MiB")


def read_clocks(
    monotonic: Callable[[], int] = time.monotonic_ns, wall: Callable[[], int] = time.time_ns
) -> tuple[int, int]:
    """(monotonic_ns, wall_ns) of one moment: the wall clock is read between two reads of the other.

    A loaded machine may stop us between two reads, and then the two clocks seem to have moved apart. So the tightest of
    a few tries counts, and the first that is tight enough ends them. The error is at most half of its width.
    """
    width, found = 1 << 63, (0, 0)
    for _ in range(_READS):
        before = monotonic()
        wall_ns = wall()
        after = monotonic()
        if after - before < width:
            width, found = after - before, ((before + after) // 2, wall_ns)
        if width <= _TIGHT_NS:
            break
    return found


class Emitter:
    """Writes frames to a file descriptor, whole and one at a time, from any thread."""

    def __init__(self, fd: int, folder: Path) -> None:
        self.folder = folder
        self._fd = fd
        self._lock = threading.Lock()
        self._shipping = threading.Lock()
        self._shipped: dict[str, int] = {}
        self._start_ns = time.monotonic_ns()

    def now(self) -> tuple[int, int]:
        """(t_ns, wall_ns), both of one moment."""
        monotonic_ns, wall_ns = read_clocks()
        return monotonic_ns - self._start_ns, wall_ns

    def t_ns(self) -> int:
        return time.monotonic_ns() - self._start_ns

    def event(self, event: Event) -> None:
        self._write(event_frame(event))

    def events(self, events: Iterable[Event]) -> None:
        """Several at once."""
        self._write(b"".join(map(event_frame, events)))

    def piece(self, name: str, data: bytes) -> None:
        """Bytes that are in no file here."""
        self._write(piece_frame(name, data))

    def path(self, name: str) -> Path:
        """Where the evidence file ``name`` grows."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def ship(self, name: str, final: bool = False) -> None:
        """Send what the file has that was not sent yet. ``final``: nothing more will come; the copy here goes."""
        with self._shipping:
            self._ship(name, final)

    def _ship(self, name: str, final: bool) -> None:
        path = self.folder / name
        done = self._shipped.get(name, 0)
        try:
            with path.open("rb") as file:
                file.seek(done)
                while data := file.read(CHUNK):
                    self._write(piece_frame(name, data))
                    done += len(data)
                if done == 0:
                    self._write(piece_frame(name, b""))  # an empty file is evidence too
        except FileNotFoundError:
            return
        self._shipped[name] = done
        if final:
            path.unlink()

    def _write(self, frame: bytes) -> None:
        view = memoryview(frame)
        with self._lock:
            while view:
                view = view[os.write(self._fd, view) :]
