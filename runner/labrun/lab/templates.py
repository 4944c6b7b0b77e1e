"""Labs to begin with: each is a whole lab that runs as it is. They are files beside this module."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).with_suffix("")


def template_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def template_text(name: str) -> str:
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
