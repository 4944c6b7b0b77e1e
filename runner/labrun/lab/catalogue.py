"""Which labs are there: ./labs if there is one, else those that ship with labrun; or the given slugs and paths.

It looks at names alone, and does not need the lab language for that, which takes 0.2 s to import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labrun.lab.problems import LabError, Problem
from labrun.logic.suggest import did_you_mean

LAB_FILE = "lab.yaml"
_CELL = re.compile(r"(.+?)(?:\[(.+)\]|(--[^/]+))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kept:
    """A lab as an earlier run had it. ``values``: of its parameters. ``hypotheses``: the ids of those that were meant;
    none: all. ``folder``: where the files are that were beside its own; None: there were none."""

    text: str
    values: Mapping[str, Any]
    hypotheses: tuple[str, ...]
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A lab as it was asked for. ``cell``: of a lab with parameters one run, as `mtu=1400` or as in its name.

    ``hypothesis``: the only one of it that is meant. ``kept``: from an earlier run; then there need be no ``file``.
    """

    file: Path
    cell: str | None = None
    hypothesis: str | None = None
    kept: Kept | None = None

    def means(self, slug: str, cell: Mapping[str, object]) -> bool:
        """Whether the run of that name, with these values, is asked for."""
        if self.cell is None or (self.cell.startswith("--") and slug.endswith(self.cell)):
            return True
        given = {f"{name}={value}".lower() for name, value in cell.items()}
        return {part.strip().lower() for part in self.cell.split(",")} <= given


def shipped_labs() -> Path:
    """The labs inside the installed package, or those of the source checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_shipped" / "labs"
    return inside if inside.is_dir() else package.parent.parent / "labs"


def labs_folder(cwd: Path) -> Path:
    """The folder that slugs are looked up in."""
    local = cwd / "labs"
    return local if local.is_dir() else shipped_labs()


def all_labs(folder: Path) -> tuple[Path, ...]:
    """Every lab.yaml one level below ``folder``, by slug."""
    return tuple(sorted(folder.glob(f"*/{LAB_FILE}")))


def portable(shown: str) -> str:
    """A lab's path without the folders of this machine, for evidence and reports: `labs/own-address/lab.yaml`."""
    parts = Path(shown).parts
    if not Path(shown).is_absolute() and ".." not in parts:
        return shown
    return "/".join(parts[-3:] if len(parts) > 3 and parts[-3] == "labs" else parts[-2:])


def find_labs(names: Sequence[str], cwd: Path) -> tuple[Named, ...]:
    """The labs that are meant: a path (a folder with a lab.yaml, or a YAML file), else a slug, here or shipped.

    `LAB[mtu=1400]` and `LAB--mtu-1400` are one run of a lab with parameters; `LAB/HYPOTHESIS` is one hypothesis of a
    lab. Raises LabError naming close slugs.
    """
    folder = labs_folder(cwd)
    known = {path.parent.name: path for path in (*all_labs(shipped_labs()), *all_labs(folder))}
    found: list[Named] = []
    problems: list[Problem] = []
    for name in names:
        one = _find(name, known, cwd)
        if one is None and "/" in name.rstrip("/"):
            lab, _, hypothesis = name.rstrip("/").rpartition("/")
            one = _find(lab, known, cwd)
            one = replace(one, hypothesis=hypothesis) if one is not None else None
        if one is not None:
            found.append(one)
        elif (cwd / name).is_dir():
            problems.append(Problem(name, 0, 0, f"no {LAB_FILE} in this folder"))
        else:
            where = f"not a path, not in {folder.name}/, and not shipped with labrun"
            problems.append(Problem(name, 0, 0, f"no such lab: {where}.{did_you_mean(name, known)}"))
    if problems:
        raise LabError(problems)
    return tuple(dict.fromkeys(found))


def cell_of(name: str) -> tuple[str, str | None]:
    """A lab's name, and which of its runs is meant, where one is."""
    match = _CELL.fullmatch(name)
    return (match[1], match[2] or match[3]) if match else (name, None)


def _find(name: str, known: Mapping[str, Path], cwd: Path) -> Named | None:
    cell = None
    if name not in known and not (cwd / name).exists():
        name, cell = cell_of(name)
    if "/" not in name and name in known:
        return Named(known[name], cell)
    if (cwd / name).is_file():
        return Named(cwd / name, cell)
    if (cwd / name / LAB_FILE).is_file():
        return Named(cwd / name / LAB_FILE, cell)
    return None
