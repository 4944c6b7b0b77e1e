"""An imported lab as a folder: a lab.yaml that people can read, with the report of the import, and its files."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from labrun.importers.base import Folder, Imported, Kind, Remark
from labrun.lab.catalogue import LAB_FILE
from labrun.lab.problems import LabError, Problem
from labrun.lab.text import parse_yaml

_HEADINGS: dict[Kind, str] = {
    "mapped": "Mapped as it is",
    "changed": "Changed",
    "left out": "Left out",
}
_FLOW = 100  # characters up to which a mapping or list stands in one line


def told(remarks: Iterable[Remark]) -> str:
    """The report of an import, as Markdown."""
    every = tuple(remarks)
    parts = []
    for kind, heading in _HEADINGS.items():
        lines = [f"- {' '.join(str(remark).split())}" for remark in every if remark.kind == kind]
        if lines:
            parts.append("\n".join([f"{heading}:", "", *lines]))
    return "\n\n".join(parts)


def lab_text(imported: Imported) -> str:
    """The lab.yaml. Raises LabError where it cannot be written so that it reads back the same: never seen."""
    value = dict(imported.lab)
    report = told(imported.remarks)
    if report:
        value["background"] = "\n\n".join(filter(None, (value.get("background"), report))) + "\n"
    ordered = _ordered(value)
    for write in (partial(_dumped, blocks=True), partial(_dumped, blocks=False), _plain):
        text = write(ordered)
        if _reads_back(text, value):
            return text
    raise LabError([Problem(LAB_FILE, 0, 0, "this lab cannot be written as YAML")])


def _reads_back(text: str, value: dict[str, Any]) -> bool:
    try:
        return bool(parse_yaml(text, LAB_FILE)[0] == value)
    except LabError:
        return False


def _plain(value: dict[str, Any]) -> str:
    """As JSON, which is YAML, with all escaped that might be taken for something else."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    return re.sub(r"[^\n\x20-\x7e]", lambda found: f"\\U{ord(found[0]):08x}", text)


def write_lab(imported: Imported, source: Folder, target: Path) -> Path:
    """Write the folder ``target``, which is not there yet; returns its lab.yaml. Raises LabError.

    Paths and links stay inside, as `read_files` made sure.
    """
    text = lab_text(imported)
    target.mkdir(parents=True)
    for path, file in imported.files:
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, str):
            place.write_text(file, encoding="utf-8")
        elif file.target is not None:
            place.symlink_to(file.target)
        elif file.sha256 is None:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(source.content(file))
            place.chmod(0o755 if file.executable else 0o644)
    lab = target / LAB_FILE
    lab.write_text(text, encoding="utf-8")
    return lab


_ORDER = (
    "title", "question", "source", "tags", "requires", "userland", "timeout", "watch", "env", "defaults", "topology",
    "steps", "hypotheses",
    "conclusion", "background",
)  # fmt: skip


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    known = [key for key in _ORDER if key in value]
    return {key: value[key] for key in (*known, *(key for key in value if key not in _ORDER))}


def _dumped(value: dict[str, Any], blocks: bool) -> str:
    """``blocks``: texts of several lines as they are; else in quotes."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.allow_unicode = True
    out = io.StringIO()
    yaml.dump(_styled(value, blocks, 0), out)
    return out.getvalue()


def _styled(value: Any, blocks: bool, depth: int) -> Any:
    """Small mappings and lists in one line, large texts as blocks."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if isinstance(value, str):
        if "\n" in value and blocks:
            return LiteralScalarString(value)
        return DoubleQuotedScalarString(value) if not value.isprintable() else value
    if isinstance(value, dict):
        made = CommentedMap({key: _styled(item, blocks, depth + 1) for key, item in value.items()})
    elif isinstance(value, list | tuple):
        made = CommentedSeq([_styled(item, blocks, depth + 1) for item in value])
    else:
        return value
    if depth > 2 and "\n" not in str(value).replace("\\n", "\n") and len(str(value)) < _FLOW:
        made.fa.set_flow_style()
    return made
