"""The agent's stdout: events, and the bytes of evidence files, in one ordered stream.

A frame is one line of JSON. ``{"event": {...}}`` is an event. ``{"file": PATH, "bytes": N}`` says that N raw bytes
follow, to be appended to PATH of the run directory: so evidence leaves the sandbox as it is made, and what was
sent before a crash survives it. The stream needs no terminator and no escaping.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any

from labrun.protocol.codec import ProtocolError, decode, dumps, parse
from labrun.protocol.events import (
    CaptureEnded,
    CaptureResult,
    CommandResult,
    Event,
    ProcessEnded,
    SeriesResult,
    SnapshotResult,
    StateNoted,
    StepEnded,
    TraceEnded,
    TraceResult,
)
from labrun.protocol.record import dataclass

MAX_LINE = 16 * 1024 * 1024  # a header longer than this is not ours
CHUNK = 256 * 1024
# Paths that the host will write below a run directory: plain relative names, nothing that could climb out.
SAFE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){0,3}")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes to append to an evidence file."""

    path: str
    data: bytes


def event_frame(event: Event) -> bytes:
    return b'{"event":' + dumps(event).encode() + b"}\n"


def piece_frame(path: str, data: bytes) -> bytes:
    return json.dumps({"file": path, "bytes": len(data)}).encode() + b"\n" + data


def read_frames(chunks: Iterable[bytes]) -> Iterator[Event | Piece]:
    """The frames in a stream of byte chunks of any size. A stream cut off in a frame just ends there.

    Raises ProtocolError on anything that is not ours: the sandbox is not trusted.
    """
    buffer = bytearray()
    path: str | None = None
    missing = 0
    for chunk in chunks:
        buffer += chunk
        while buffer:
            if path is not None:
                data = bytes(buffer[:missing])
                del buffer[: len(data)]
                missing -= len(data)
                yield Piece(path, data)
                if missing:
                    break
                path = None
                continue
            end = buffer.find(b"\n")
            if end < 0:
                if len(buffer) > MAX_LINE:
                    raise ProtocolError("a frame's first line does not end")
                break
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            header = _header(line)
            if "event" in header:
                yield _event(header)
            else:
                path, missing = _piece(header)
                if not missing:  # an empty file is evidence too
                    yield Piece(path, b"")
                    path = None


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = parse(line)
    except ProtocolError as error:
        raise ProtocolError(f"not a frame: {line[:80]!r}") from error
    if not isinstance(header, dict):
        raise ProtocolError(f"not a frame: {line[:80]!r}")
    return header


def _event(header: dict[str, Any]) -> Event:
    if len(header) != 1:
        raise ProtocolError(f"not a frame: {', '.join(header)[:80]!r} in one header")
    return checked(decode(Event, header["event"], "event"))


def checked(event: Event) -> Event:
    """The event, if the files that it names stay inside a run directory; else ProtocolError."""
    for path in _paths(event):
        if not SAFE_PATH.fullmatch(path):
            raise ProtocolError(f"not a path for evidence: {path[:200]!r}")
    return event


def _paths(event: Event) -> tuple[str, ...]:
    """The evidence files that an event points at: the host will open them."""
    if isinstance(event, CaptureEnded | TraceEnded | StateNoted):
        return (event.path,)
    if isinstance(event, ProcessEnded):
        return (event.stdout.path, event.stderr.path)
    result = event.result if isinstance(event, StepEnded) else None
    if isinstance(result, CommandResult):
        return (result.stdout.path, result.stderr.path)
    return (result.path,) if isinstance(result, SnapshotResult | SeriesResult | TraceResult | CaptureResult) else ()


def _piece(header: dict[str, Any]) -> tuple[str, int]:
    if header.keys() != {"file", "bytes"}:
        raise ProtocolError(f"not a frame: {', '.join(header)[:80]!r} in one header")
    path, size = header["file"], header["bytes"]
    if not isinstance(path, str) or not SAFE_PATH.fullmatch(path):
        raise ProtocolError(f"not a path for evidence: {str(path)[:200]!r}")
    if type(size) is not int or not 0 <= size <= 1 << 40:
        raise ProtocolError(f"not a size: {reprlib.repr(size)}")
    return path, size
