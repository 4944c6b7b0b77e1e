"""What every importer gets and gives: a folder's files in; labs, and remarks on what became of each thing, out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Literal, Protocol

from labrun.lab.files import LabFiles
from labrun.lab.problems import LabError, Problem
from labrun.protocol.plan import LabFile
from labrun.protocol.record import dataclass

MAX_TEXT = 1024 * 1024  # bytes of a file that an importer reads as text
Kind = Literal["mapped", "changed", "left out"]


@dataclass(frozen=True, slots=True)
class Remark:
    """What became of one thing of the lab: mapped as it is, changed, or left out, and why."""

    kind: Kind
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


@dataclass(frozen=True, slots=True)
class Imported:
    """A lab: what its lab.yaml says, and the files beside that. ``name``: of its folder."""

    name: str
    lab: dict[str, Any]
    files: tuple[tuple[str, LabFile | str], ...] = ()  # path in the lab's folder -> a file of the imported one, or text
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """``images``: name of an image -> the packages that stand for it, from the command line."""

    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Folder:
    """The files of a folder that somebody has. ``chosen``: the one that was named, where it was not the folder."""

    def __init__(self, name: str, files: LabFiles, chosen: str | None = None) -> None:
        self.name = name
        self.chosen = chosen
        self.entries: dict[str, LabFile] = {file.path: file for file in files.entries}
        self._contents = files.contents

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def data(self, path: str) -> bytes:
        """Raises LabError where that is no plain file."""
        file = self.entries.get(path)
        if file is None or file.sha256 is None:
            raise self.wrong(
                path, 0, "no such file" if file is None else "a plain file is needed, no link and no folder"
            )
        return self.content(file)

    def content(self, file: LabFile) -> bytes:
        """Of a plain file of this folder, or of a folder in it."""
        return self._contents[file.sha256] if file.sha256 is not None else b""

    def text(self, path: str) -> str:
        """Raises LabError where it is no text, or too much of it. Line breaks of Windows become those of Unix."""
        data = self.data(path)
        if len(data) > MAX_TEXT:
            raise self.wrong(path, 0, f"too large: the limit is {MAX_TEXT} bytes")
        try:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise self.wrong(path, data.count(b"\n", 0, error.start) + 1, "not UTF-8 text") from error

    def below(self, folder: str) -> tuple[LabFile, ...]:
        return tuple(file for path, file in self.entries.items() if path.startswith(f"{folder}/"))

    def at(self, path: str) -> tuple[LabFile, ...]:
        """The file, or all that is in the folder; nothing where neither is there."""
        return (self.entries[path],) if path in self.entries else self.below(path)

    def top(self) -> tuple[str, ...]:
        """Names of the files and folders of the first level."""
        return tuple(sorted({path.partition("/")[0] for path in self.entries}))

    def has_folder(self, name: str) -> bool:
        return any(path.startswith(f"{name}/") for path in self.entries)

    def below_as_one(self, folder: str) -> Folder:
        """A folder in it, as if it were the one that was named."""
        if not folder:
            return self
        found = tuple(replace(file, path=file.path[len(folder) + 1 :]) for file in self.below(folder))
        return Folder(f"{self.name}/{folder}", LabFiles(found, self._contents))

    def wrong(self, path: str, line: int, message: str) -> LabError:
        return LabError([Problem(f"{self.name}/{path}", line, 1 if line else 0, message)])


class Importer(Protocol):
    """A format. ``recognises``: is a folder with these names on its first level one of it?"""

    title: str

    def recognises(self, names: Sequence[str]) -> bool: ...

    def read(self, folder: Folder, options: Options) -> tuple[Imported, ...]:
        """Raises LabError with the place in the folder where it is not of this format."""
        ...


def slug(text: str, default: str = "lab") -> str:
    """A name as labs, nodes and steps have: small letters, digits and dashes."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:63].rstrip("-") or default


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Names:
    """A slug for each name, none twice."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._given:
            base, number = slug(name, "node")[:60], 1
            found = base
            while found in self._given.values():
                number += 1
                found = f"{base}-{number}"
            self._given[name] = found
        return self._given[name]
