"""The files of a run, which may be a stranger's: opened below its directory or not at all, written whole or not at all.

A run that somebody sends is a folder of files. What is none of those is never followed, waited for or read: links,
named pipes, devices, folders in a file's place.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class EvidenceError(Exception):
    """The folder is not a run directory, or what is in it cannot be read. The message says which and why."""


class EvidenceMissing(EvidenceError):
    """There is no such file in the run."""


def open_below(root: Path, path: str) -> BufferedReader:
    """The regular file at ``path`` (slashes between) below ``root``, for reading; no part of the way may be a link.

    Raises EvidenceMissing where there is none, EvidenceError where it is something else.
    """
    parts = path.split("/")
    if not all(part not in ("", ".", "..") and "\0" not in part for part in parts):
        raise EvidenceError(f"{path[:200]!r} is no path of a file in a run")
    here = -1
    try:
        here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts[:-1]:
            below = os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        found = os.open(parts[-1], _FLAGS, dir_fd=here)
    except (FileNotFoundError, NotADirectoryError) as error:
        link = _link(root, parts)
        if link is not None:
            raise EvidenceError(f"{root / link}: a link is not followed") from error
        raise EvidenceMissing(f"{root / path}: there is no such file") from error
    except OSError as error:
        link = _link(root, parts)
        why = "a link is not followed" if link is not None else error.strerror
        raise EvidenceError(f"{root / (link or path)}: {why}") from error
    finally:
        if here >= 0:
            os.close(here)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise EvidenceError(f"{root / path}: not a regular file")
    return os.fdopen(found, "rb")


def _link(root: Path, parts: list[str]) -> str | None:
    """The first part of the way that is a link, if one is: for the message."""
    for number in range(1, len(parts) + 1):
        path = "/".join(parts[:number])
        if (root / path).is_symlink():
            return path
    return None


def read_below(root: Path, path: str, limit: int) -> bytes:
    """All of that file. Raises as `open_below`, and EvidenceError where it is larger than ``limit`` bytes."""
    with open_below(root, path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise EvidenceError(f"{root / path}: more than {limit} bytes")
        try:
            return file.read(size)  # not ``limit``, of which Python would make a buffer
        except OSError as error:
            raise EvidenceError(f"{root / path}: {error.strerror}") from error


def size_below(root: Path, path: str) -> int:
    """Its length in bytes. Raises as `open_below`."""
    with open_below(root, path) as file:
        return os.fstat(file.fileno()).st_size


def digest_below(root: Path, path: str) -> tuple[int, str]:
    """Length and SHA-256 of that file. Raises as `open_below`."""
    with open_below(root, path) as file:
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EvidenceError(f"{root / path}: {error.strerror}") from error
        return file.tell(), digest


def plain_name(name: str) -> bool:
    """May this stand for one file or folder of a run?"""
    return 0 < len(name.encode(errors="replace")) <= 255 and name not in (".", "..") and not set(name) & {"/", "\0"}


def write_whole(path: Path, text: str) -> None:
    """Put a file of this text at ``path``, in one step: a reader, or a crash, finds the old one or the new one.

    A link in its place is replaced, not followed. What is replaced goes when the new one is on the disk. Raises OSError
    where nothing can be written; then what was there before is still there.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            if path.exists():
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
