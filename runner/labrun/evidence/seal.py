"""What closes a variant's evidence: the length and the SHA-256 of each of its files, and of those that it rests on.

Written last, so that a variant without one was not closed: the runner died. Paths begin at the run directory, so that
evidence in another variant's place does not fit either.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, EvidenceMissing, digest_below, read_below, size_below
from labrun.protocol.codec import ProtocolError, loads
from labrun.protocol.record import dataclass

SEAL_FORMAT = 1
MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """``size`` in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Seal:
    """``files``: path from the run directory, slashes between -> what it is."""

    files: dict[str, Kept]
    format: int = SEAL_FORMAT


def beside(variant: str) -> tuple[str, ...]:
    """The files that a variant (labs/SLUG/NAME) rests on: what was run, and what is predicted of it."""
    lab = variant.rpartition("/")[0]
    return (layout.RUN, f"{lab}/{layout.LAB}", f"{lab}/{layout.COMPILED}")


def broken(run: Path, variant: str) -> tuple[bool, str | None]:
    """Is there a seal at ``variant`` (its path in the run), and what does not fit it?"""
    place = f"{variant}/{layout.SEAL}" if variant != "." else layout.SEAL
    try:
        seal = loads(Seal, read_below(run, place, MAX_BYTES))
    except EvidenceMissing:
        return False, None
    except (EvidenceError, ProtocolError) as error:
        return True, f"{layout.SEAL} cannot be read: {_below(run, error)}"
    if seal.format != SEAL_FORMAT:
        return True, f"{layout.SEAL} has the format {seal.format}; this labrun reads {SEAL_FORMAT}"
    events = place.removesuffix(layout.SEAL) + layout.EVENTS
    if events not in seal.files:
        return True, f"{layout.SEAL} is of other evidence: it does not name {events}"
    own = place.removesuffix(layout.SEAL)
    for path, kept in seal.files.items():
        if not path.startswith(own) and path not in beside(variant):
            return True, f"{layout.SEAL} names {path[:200]!r}, which is no part of this evidence"
        try:
            if path == layout.RUN and _is_a_parts(run, kept):
                continue
            size = size_below(run, path)
            if size != kept.size:
                return True, f"{path} has {size} bytes, and had {kept.size} when it was closed"
            if digest_below(run, path)[1] != kept.sha256:
                return True, f"{path} is not as it was when it was closed"
        except EvidenceError as error:
            return True, _below(run, error)
    return True, None


def _is_a_parts(run: Path, kept: Kept) -> bool:
    """Was this the record of one of the runs that this one was put together from?"""
    parts = run / layout.PARTS
    names = sorted(path.name for path in parts.iterdir()) if parts.is_dir() and not parts.is_symlink() else ()
    for name in names:
        with suppress(EvidenceError):
            if digest_below(run, f"{layout.PARTS}/{name}/{layout.RUN}") == (kept.size, kept.sha256):
                return True
    return False


def own_files(run: Path, variant: str) -> tuple[str, ...]:
    """The paths of all files of a sealed variant, its seal too. Raises EvidenceError where it was not closed."""
    place = f"{variant}/{layout.SEAL}"
    try:
        seal = loads(Seal, read_below(run, place, MAX_BYTES))
    except EvidenceMissing as error:
        raise EvidenceError(f"{run / variant}: this evidence was never closed") from error
    except ProtocolError as error:
        raise EvidenceError(f"{run / place}: {error}") from error
    return (*sorted(path for path in seal.files if path.startswith(f"{variant}/")), place)


def _below(run: Path, error: Exception) -> str:
    return str(error).replace(f"{run}/", "")
