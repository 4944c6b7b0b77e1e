"""A node's own files, put into the upper layer of its root before that is mounted: so nothing of the layer below is
copied, and a folder that is there on both layers shows what either has.

Places are looked up as cp(1) would find them: a link of the layer below that stands for a folder is followed, inside of
the root; a file that is written over keeps its owner and its mode.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from labrun.protocol.actions import Put

OWN = ("run", "tmp")  # folders that a root has of its own, beside the upper layer
_LINKS = 40  # of links to links; path_resolution(7)


class Upper:
    """``upper``: the layer; ``own``: the folder that has those of `OWN`; ``lower``: the root below, as we see it."""

    def __init__(self, upper: Path, own: Path, beside: Path, lower: Path = Path("/")) -> None:
        """``beside``: where the lab's files are."""
        self._upper = upper
        self._own = own
        self._beside = beside
        self._lower = lower

    def put(self, item: Put) -> None:
        """Raises OSError with a message that names the file."""
        try:
            if item.text is not None:
                self._file(item.path, item.text.encode(), False, item)
            else:
                self._copy(self._beside / (item.source or "."), item.path, item)
        except OSError as error:
            raise OSError(error.errno or errno.EIO, f"{item.path}: {error.strerror or error}") from error

    def _copy(self, source: Path, path: str, item: Put) -> None:
        mode = source.lstat().st_mode
        if stat.S_ISDIR(mode):
            if path != "/":
                self._folder(self._place(path))
            for name in sorted(os.listdir(source)):  # noqa: PTH208
                self._copy(source / name, f"{path.rstrip('/')}/{name}", item)
        elif stat.S_ISLNK(mode):
            target = self._target(path)
            target.unlink(missing_ok=True)
            target.symlink_to(source.readlink())
        else:
            self._file(path, source.read_bytes(), bool(mode & 0o100), item)

    def _file(self, path: str, data: bytes, executable: bool, item: Put) -> None:
        target = self._target(path)
        if target.is_dir() and not target.is_symlink():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        below = self._below(target)
        was = _stat(below) if below is not None else None
        if was is not None and stat.S_ISDIR(was.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        target.unlink(missing_ok=True)
        target.write_bytes(data)
        mode, uid, gid = (0o755 if executable else 0o644), 0, 0
        if was is not None and stat.S_ISREG(was.st_mode):
            mode, uid, gid = stat.S_IMODE(was.st_mode) | (0o111 if executable else 0), was.st_uid, was.st_gid
        if item.owner is not None:
            uid, gid = self._owner(item.owner)
        _give(target, uid, gid)
        target.chmod(mode if item.mode is None else item.mode)

    def _target(self, path: str) -> Path:
        """Where the layer has it; the folders above it are made."""
        folder, _, name = path.rpartition("/")
        place = self._place(folder or "/")
        self._folder(place)
        return self._layer(place) / name

    def _place(self, path: str) -> str:
        """The path without the links of folders in it: those that were put, and those of the layer below."""
        done: list[str] = []
        left = [part for part in path.split("/") if part]
        links = 0
        while left:
            part = left.pop(0)
            if part == ".":
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = "/".join(("", *done, part))
            link = self._link(here)
            if link is None:
                done.append(part)
                continue
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if link.startswith("/"):
                done = []
            left = [word for word in link.split("/") if word] + left
        return "/" + "/".join(done)

    def _link(self, place: str) -> str | None:
        for root in (self._layer(place), self._below(self._layer(place))):
            if root is None:
                continue
            with contextlib.suppress(OSError):
                return os.readlink(root)  # noqa: PTH115
            if os.path.lexists(root):
                return None
        return None

    def _layer(self, place: str) -> Path:
        first = place.split("/")[1]
        return Path(f"{self._own if first in OWN else self._upper}{place}")

    def _below(self, layer: Path) -> Path | None:
        """The same place in the layer below; None where the root has a folder of its own instead."""
        if layer.is_relative_to(self._upper):
            return self._lower / layer.relative_to(self._upper)
        return None

    def _folder(self, place: str) -> None:
        """Make it and those above it, each as it is below."""
        parts = [part for part in place.split("/") if part]
        for count in range(1, len(parts) + 1):
            layer = self._layer("/" + "/".join(parts[:count]))
            if layer.is_dir():
                continue
            layer.unlink(missing_ok=True)
            layer.mkdir()
            below = self._below(layer)
            was = _stat(below) if below is not None else None
            if was is not None and stat.S_ISDIR(was.st_mode):
                _give(layer, was.st_uid, was.st_gid)
                layer.chmod(stat.S_IMODE(was.st_mode))

    def _owner(self, words: str) -> tuple[int, int]:
        """``user``, ``user:group`` or ``:group``, by name or number, as chown(1) has them; names are the node's."""
        user, _, group = words.partition(":")
        uid, gid = 0, 0
        if user:
            entry = self._entry("/etc/passwd", user)
            uid, gid = int(entry[2]), int(entry[3])
        if group:
            gid = int(self._entry("/etc/group", group)[2])
        return uid, gid

    def _entry(self, file: str, name: str) -> list[str]:
        if name.isdecimal():
            return [name, "", name, name]
        layer = self._layer(file)
        below = self._below(layer)
        for place in (layer, below):
            with contextlib.suppress(OSError, AttributeError):
                for line in place.read_text(encoding="utf-8", errors="replace").splitlines():  # type: ignore[union-attr]
                    words = line.split(":")
                    if words[0] == name and len(words) >= 4:
                        return words
        raise OSError(errno.EINVAL, f"there is no '{name}' in {file}")


def fill(puts: Sequence[Put], upper: Upper) -> None:
    """Put all of them; what comes later goes over what was there."""
    for item in puts:
        upper.put(item)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _give(path: Path, uid: int, gid: int) -> None:
    """Where the sandbox has one account only, all files are its own."""
    with contextlib.suppress(OSError):
        os.lchown(path, uid, gid)


def move_out(upper: Path, path: str, stage: Path) -> Path | None:
    """What was put below ``path``, out of the layer into a folder of its own; None where nothing was."""
    here = Path(f"{upper}{path}")
    if not here.is_dir():
        return None
    target = stage / f"over{path.replace('/', '-')}"
    shutil.move(here, target)
    return target
