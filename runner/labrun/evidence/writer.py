"""Writes one variant's evidence as it arrives. Append only: nothing that was written is touched again."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from labrun.evidence import layout
from labrun.evidence.files import EvidenceMissing, digest_below, write_whole
from labrun.evidence.seal import Kept, Seal, beside
from labrun.protocol.codec import dumps
from labrun.protocol.events import Event, Fault
from labrun.protocol.frames import SAFE_PATH, Piece
from labrun.protocol.plan import Plan

# What the sandboxes of a run may write to the host's disk in all. Agents keep limits of their own; this needs no trust.
MAX_BYTES = 8 * 1024**3
MAX_EVENTS = 32 * 1024**2  # of one variant's events, which are read into memory
_FILES_A_STEP = 8  # two outputs, a capture, a snapshot, a trace, the kernel's state: six
_OWN = (layout.PLAN, layout.EVENTS, layout.SEAL)


class EvidenceFull(Exception):
    """The sandbox sent more than may be kept."""


class DiskRoom:
    """How many bytes a run's evidence may still take. Shared by its writers, from several threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._left = max_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            return self._left >= 0


class EvidenceWriter:
    """A context manager over a variant's folder. Single-threaded: one writer a variant.

    ``run``: the run directory that it is in; without one, the folder stands alone. Files are as many as the plan's
    steps can need. Left without an error, it closes the evidence with a seal.
    """

    def __init__(self, folder: Path, plan: Plan, room: DiskRoom | None = None, run: Path | None = None) -> None:
        self._folder = folder
        self._plan = plan
        self._room = room or DiskRoom()
        self._run = run or folder
        self._sums: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._files_left = 16 + _FILES_A_STEP * len(plan.steps)
        self._events: BinaryIO

    def __enter__(self) -> EvidenceWriter:
        self._folder.mkdir(parents=True)
        text = dumps(self._plan) + "\n"
        write_whole(self._folder / layout.PLAN, text)
        self._count(layout.PLAN, text.encode())
        self._events = (self._folder / layout.EVENTS).open("ab")
        self._count(layout.EVENTS, b"")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        if kind is None:
            self._seal()

    def put(self, frame: Event | Piece) -> None:
        """Append an event or a piece. Raises EvidenceFull past the limits."""
        if isinstance(frame, Piece):
            if not SAFE_PATH.fullmatch(frame.path) or frame.path in _OWN:
                raise ValueError(f"not a path for evidence: {frame.path!r}")
            self._append(frame.path, frame.data)
        else:
            # A fault must be told even when there is no room left: it says that there is none.
            self._append(layout.EVENTS, dumps(frame).encode() + b"\n", isinstance(frame, Fault))

    def _append(self, path: str, data: bytes, always: bool = False) -> None:
        if not self._room.take(len(data)) and not always:
            raise EvidenceFull(f"more evidence than one run may keep; stopped in {path}")
        if path == layout.EVENTS:
            if self._sizes[path] + len(data) > MAX_EVENTS and not always:
                raise EvidenceFull(f"more events than one variant may have: {MAX_EVENTS} bytes")
            self._events.write(data)
            self._events.flush()
            self._count(path, data)
            return
        if path not in self._sizes:
            self._files_left -= 1
            if self._files_left < 0:
                raise EvidenceFull(f"more files than the steps of the plan can make; stopped in {path}")
        # Opened for each piece: a hostile sandbox may name more files than a process may have open.
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(data)
        self._count(path, data)

    def _count(self, path: str, data: bytes) -> None:
        if path not in self._sums:
            self._sums[path], self._sizes[path] = hashlib.sha256(), 0
        self._sums[path].update(data)
        self._sizes[path] += len(data)

    def _seal(self) -> None:
        here = self._folder.relative_to(self._run).as_posix()
        files = {}
        for path in beside(here) if here != "." else ():
            try:
                files[path] = Kept(*digest_below(self._run, path))
            except EvidenceMissing:
                continue  # of a run that is put together otherwise
        for path, found in self._sums.items():
            files[path if here == "." else f"{here}/{path}"] = Kept(self._sizes[path], found.hexdigest())
        write_whole(self._folder / layout.SEAL, dumps(Seal(files)) + "\n")
