"""Which labs are there: ./labs if there is one, else those that ship with labrun; or the given slugs and paths.

It looks at names alone, and does not need the lab language for that, which takes 0.2 s to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labrun.lab.problems import LabError, Problem
from labrun.logic.suggest import did_you_mean

LAB_FILE = "lab.yaml"


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


def find_labs(names: Sequence[str], cwd: Path) -> tuple[Path, ...]:
    """The lab files that are meant: a path (a folder with a lab.yaml, or a YAML file), else a slug.

    Raises LabError naming the slugs that are close.
    """
    folder = labs_folder(cwd)
    known = {path.parent.name: path for path in all_labs(folder)}
    found: list[Path] = []
    problems: list[Problem] = []
    for name in names:
        path = cwd / name
        if "/" not in name and name in known:
            found.append(known[name])
        elif path.is_file():
            found.append(path)
        elif (path / LAB_FILE).is_file():
            found.append(path / LAB_FILE)
        elif path.is_dir():
            problems.append(Problem(name, 0, 0, f"no {LAB_FILE} in this folder"))
        else:
            problems.append(Problem(name, 0, 0, f"no such lab, neither a path nor in {folder}."
                                                f"{did_you_mean(name, known)}"))  # fmt: skip
    if problems:
        raise LabError(problems)
    return tuple(dict.fromkeys(found))
