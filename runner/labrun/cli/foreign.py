"""Folders of other formats that are run as they are: imported into a folder of this run alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from labrun.lab.catalogue import LAB_FILE, labs_folder, shipped_labs

_SCRIPTS = (".sh", ".t", ".tap")


def as_labs(names: Sequence[str], cwd: Path, stack: ExitStack, say: Callable[[str], None]) -> tuple[str, ...]:
    """The names, and for each folder of another format the labs that it is imported to, which ``stack`` removes.

    Raises LabError where such a folder cannot be imported.
    """
    found: list[str] = []
    for name in names:
        path = cwd / name
        found += (_is_foreign(name, path, cwd) and _imported(path, stack, say)) or (name,)
    return tuple(found)


def _is_foreign(name: str, path: Path, cwd: Path) -> bool:
    """A folder without a lab.yaml that is no lab's name, or a script."""
    if path.is_file():
        return path.suffix in _SCRIPTS
    if not path.is_dir() or (path / LAB_FILE).exists():
        return False
    return "/" in name or not any((folder / name / LAB_FILE).is_file() for folder in (labs_folder(cwd), shipped_labs()))


def _imported(path: Path, stack: ExitStack, say: Callable[[str], None]) -> tuple[str, ...]:
    from labrun.importers.base import Options
    from labrun.importers.formats import importer, read_folder, recognised
    from labrun.importers.written import told, write_lab

    name = recognised(path)
    if name is None:
        return ()
    folder = read_folder(path)
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labrun-import-")))
    labs = importer(name).read(folder, Options())
    for lab in labs:
        write_lab(lab, folder, place / lab.name)
        report = told(remark for remark in lab.remarks if remark.kind != "mapped")
        say(f"imported: {lab.name} ({name})" + (f"\n{report}" if report else ""))
    return tuple(str(place / lab.name) for lab in labs)
