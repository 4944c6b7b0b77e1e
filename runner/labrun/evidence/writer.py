"""Writes one variant's evidence as it arrives. Append only: nothing that was written is touched again."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from labrun.evidence import layout
from labrun.protocol.codec import dumps
from labrun.protocol.events import Event, Fault
from labrun.protocol.frames import SAFE_PATH, Piece
from labrun.protocol.plan import Plan

# What a sandbox may write to the host's disk in all. The agent keeps its own limits; this one needs no trust in it.
MAX_BYTES = 4 * 1024**3


class EvidenceFull(Exception):
    """The sandbox sent more than a variant may keep."""


class EvidenceWriter:
    """A context manager over a variant's folder. Single-threaded: one writer a variant."""

    def __init__(self, folder: Path, plan: Plan, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._plan = plan
        self._left = max_bytes
        self._events: BinaryIO

    def __enter__(self) -> EvidenceWriter:
        self._folder.mkdir(parents=True)
        (self._folder / layout.PLAN).write_text(dumps(self._plan) + "\n", encoding="utf-8")
        self._events = (self._folder / layout.EVENTS).open("ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def put(self, frame: Event | Piece) -> None:
        """Append an event or a piece. Raises EvidenceFull past the limit."""
        if isinstance(frame, Piece):
            if not SAFE_PATH.fullmatch(frame.path) or frame.path in (layout.PLAN, layout.EVENTS):
                raise ValueError(f"not a path for evidence: {frame.path!r}")
            self._append(frame.path, frame.data)
        else:
            # A fault must be told even when there is no room left: it says that there is none.
            self._append(layout.EVENTS, dumps(frame).encode() + b"\n", isinstance(frame, Fault))

    def _append(self, path: str, data: bytes, always: bool = False) -> None:
        self._left -= len(data)
        if self._left < 0 and not always:
            raise EvidenceFull(f"more evidence than one lab may keep; stopped in {path}")
        if path == layout.EVENTS:
            self._events.write(data)
            self._events.flush()
            return
        # Opened for each piece: a hostile sandbox may name more files than a process may have open.
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as file:
            file.write(data)
