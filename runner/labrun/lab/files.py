"""The files of a lab: what is beside its lab.yaml. Commands find them at /lab, the plan's digest has them.

Nothing is followed or waited for: links stay links, what is no file, folder or link is an error, and so is a link that
leaves the folder. Bounded in number and bytes, since each sandbox gets all of them.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Collection, Iterator
from dataclasses import field
from pathlib import Path

from labrun.protocol.plan import Contents, LabFile
from labrun.protocol.record import dataclass

MAX_FILES = 2000  # files, folders and links
MAX_BYTES = 128 * 1024 * 1024  # of all files
MAX_DEPTH = 32  # folders in folders
# Of version control, editors and file managers; what labrun itself writes when it is started in the lab's folder.
_NEVER = (".git", ".hg", ".svn", ".DS_Store", "__pycache__")
_BACKUPS = ("~", ".swp", ".swo", ".pyc")
_REPORTS = "reports"


class FilesError(Exception):
    """What is beside the lab's file cannot be used. The message names the file, from the lab's folder."""


@dataclass(frozen=True, slots=True)
class LabFiles:
    """``entries`` by path; ``contents``: the bytes of all of them."""

    entries: tuple[LabFile, ...] = ()
    contents: Contents = field(default_factory=dict)

    def below(self, path: str) -> tuple[LabFile, ...]:
        """The file or link at ``path``, or all in the folder there."""
        wanted = posixpath.normpath(path)
        if wanted == ".":
            return self.entries
        return tuple(file for file in self.entries if file.path == wanted or file.path.startswith(f"{wanted}/"))

    def folder(self, name: str) -> bool:
        """Whether ``name`` is a folder with something in it."""
        return any(file.path.startswith(f"{name}/") for file in self.entries)


NO_FILES = LabFiles()


def read_files(folder: Path, lab_file: str, nodes: Collection[str], only: Collection[str] | None = None) -> LabFiles:
    """All that is below ``folder``, or of ``only`` these paths, except the lab's own file (its name).

    ``nodes``: in the folder of a node a link may be absolute, as it is one of the node's. Raises FilesError.
    """
    if only is not None and not only:
        return NO_FILES
    reading = _Reading(lab_file, frozenset(nodes))
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FilesError(f"the folder cannot be read: {error.strerror}") from error
    try:
        if only is None:
            reading.folder(top, "", 0)
        else:
            for path in sorted(map(posixpath.normpath, only)):
                reading.one(top, path)
    finally:
        os.close(top)
    return LabFiles(tuple(reading.entries[path] for path in sorted(reading.entries)), reading.contents)


class _Reading:
    def __init__(self, lab_file: str, nodes: frozenset[str]) -> None:
        self._lab_file = lab_file
        self._nodes = nodes
        self._left = MAX_BYTES
        self.entries: dict[str, LabFile] = {}
        self.contents: dict[str, bytes] = {}

    def one(self, top: int, path: str) -> None:
        """A path that the lab names."""
        if path.startswith(("/", "../")) or path == "..":
            raise FilesError(f"files: {path[:200]!r} is not below the lab's folder")
        if path == ".":
            self.folder(top, "", 0)
            return
        *way, name = path.split("/")
        here = os.dup(top)
        try:
            for depth, part in enumerate(way):
                here = self._into(here, part, "/".join(way[: depth + 1]))
            self._entry(here, name, path, len(way))
        except FileNotFoundError as error:
            raise FilesError(f"files: there is no {path[:200]!r} in the lab's folder") from error
        finally:
            os.close(here)

    @staticmethod
    def _into(here: int, part: str, path: str) -> int:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FilesError(f"files: {path[:200]!r} is no folder: {error.strerror}") from error
        os.close(here)
        return below

    def folder(self, fd: int, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise FilesError(f"{path[:200]!r}: more than {MAX_DEPTH} folders in folders")
        names = list(self._names(fd, path, depth))
        if not names and path:
            self._add(LabFile(path))
        for name in sorted(names):
            self._entry(fd, name, f"{path}/{name}" if path else name, depth)

    def _names(self, fd: int, path: str, depth: int) -> Iterator[str]:
        """Not more than there may be: a folder of a million files is not listed to its end."""
        try:
            with os.scandir(fd) as found:
                for number, entry in enumerate(found):
                    if number > MAX_FILES:
                        raise FilesError(_too_many())
                    name = entry.name
                    own = depth == 0 and name in (self._lab_file, _REPORTS)
                    if not own and name not in _NEVER and not name.endswith(_BACKUPS):
                        yield name
        except OSError as error:
            raise FilesError(f"{path[:200]!r} cannot be read: {error.strerror}") from error

    def _add(self, entry: LabFile) -> None:
        if len(self.entries) >= MAX_FILES:
            raise FilesError(_too_many())
        self.entries[entry.path] = entry

    def _entry(self, fd: int, name: str, path: str, depth: int) -> None:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise FilesError(f"{path[:200]!r}: a file's name must be UTF-8") from error
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                self._add(LabFile(path, target=self._target(os.readlink(name, dir_fd=fd), path)))
            elif stat.S_ISDIR(mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    self.folder(below, path, depth + 1)
                finally:
                    os.close(below)
            elif stat.S_ISREG(mode):
                self._file(fd, name, path)
            else:
                raise FilesError(f"{path[:200]!r} is neither a file, a folder nor a link")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FilesError(f"{path[:200]!r} cannot be read: {error.strerror}") from error

    def _file(self, fd: int, name: str, path: str) -> None:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        with os.fdopen(opened, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(self._left + 1) if stat.S_ISREG(mode) else b""
        self._left -= len(data)
        if self._left < 0:
            raise FilesError(f"more than {MAX_BYTES // 1024**2} MiB beside the lab's file.{_REMEDY}")
        digest = hashlib.sha256(data).hexdigest()
        self.contents.setdefault(digest, data)
        self._add(LabFile(path, digest, len(data), True if mode & 0o111 else None))

    def _target(self, target: str, path: str) -> str:
        """The link's text, if it stays inside: the lab's folder, or of a node's folder, the node's own root."""
        try:
            target.encode()
        except UnicodeEncodeError as error:
            raise FilesError(f"{path[:200]!r}: what a link says must be UTF-8") from error
        of_node = path.partition("/")[0] in self._nodes and "/" in path
        if target.startswith("/"):
            if of_node:
                return target
        else:
            end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if end != ".." and not end.startswith("../"):
                return target
        raise FilesError(f"{path[:200]!r} is a link that leaves the lab's folder: it says {target[:200]!r}")


_REMEDY = " Give the lab a folder of its own, or say which of them it needs: `files: [...]`"


def _too_many() -> str:
    return f"more than {MAX_FILES} files beside the lab's file.{_REMEDY}"
