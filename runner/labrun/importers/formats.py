"""The formats that labrun knows, and those that other packages add. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from labrun.importers.base import Folder, Imported, Importer, Options
from labrun.lab.catalogue import LAB_FILE
from labrun.lab.files import FilesError, read_files
from labrun.lab.problems import LabError, Problem
from labrun.logic.suggest import did_you_mean

GROUP = "labrun.importers"
# The order in which a folder is asked for; scripts come last, for other formats have some beside them.
OURS = {
    "kathara-lab-checker": "labrun.importers.checker:IMPORTER",
    "kathara": "labrun.importers.kathara:IMPORTER",
    "containerlab": "labrun.importers.containerlab:IMPORTER",
    "compose": "labrun.importers.compose:IMPORTER",
    "selftests": "labrun.importers.selftests:IMPORTER",
}


def _others() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def format_names() -> tuple[str, ...]:
    return tuple(dict.fromkeys((*OURS, *sorted(_others()))))


def importer(name: str) -> Importer:
    """Raises LabError naming close formats."""
    known = {**_others(), **OURS}
    if name not in known:
        hint = did_you_mean(name, known) or f" Known are {', '.join(known)}."
        raise LabError([Problem(name, 0, 0, f"unknown format.{hint}")])
    module, _, attribute = known[name].partition(":")
    found: Importer = getattr(importlib.import_module(module), attribute)
    return found


def read_folder(path: Path) -> Folder:
    """The folder, or the folder that the named file is in. Raises LabError where it cannot be used as it is.

    No link is followed, none may leave the folder, and there is a bound on the files and their bytes.
    """
    chosen = path.name if path.is_file() else None
    folder = path.parent if chosen else path
    try:
        with_folders = [entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]
        files = read_files(folder, LAB_FILE, with_folders)
    except (FilesError, OSError) as error:
        raise LabError([Problem(str(path), 0, 0, str(getattr(error, "strerror", None) or error))]) from error
    return Folder(folder.absolute().name or "lab", files, chosen)


def recognised(path: Path) -> str | None:
    """The format of a folder, by the names of what is in it; None if it is none that we know."""
    try:
        names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else [path.name]
    except OSError:
        return None
    return next((name for name in format_names() if importer(name).recognises(names)), None)


def import_labs(name: str, path: Path, options: Options) -> tuple[Imported, ...]:
    return importer(name).read(read_folder(path), options)
