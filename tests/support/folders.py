"""Folders of other formats, for tests that import them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labrun.importers.base import Imported, Options
from labrun.importers.formats import importer, read_folder
from labrun.importers.written import write_lab
from labrun.lab.compile import CompiledLab, compile_lab
from labrun.lab.load import load_lab


def make(folder: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def imported(name: str, folder: Path, **options: Any) -> Imported:
    """The only lab of the folder, or of the file."""
    (lab,) = importer(name).read(read_folder(folder), Options(**options))
    return lab


def compiled(lab: Imported, source: Path, target: Path) -> CompiledLab:
    """As it is when it was written and read back."""
    return compile_lab(load_lab(write_lab(lab, read_folder(source), target / lab.name)))


def remarks(lab: Imported, kind: str) -> dict[str, str]:
    return {remark.what: remark.why for remark in lab.remarks if remark.kind == kind}
