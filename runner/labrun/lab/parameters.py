"""Parameters of a lab: every combination is a cell, a lab of its own. Values are put in typed, into the parsed file.

``${mtu}`` as a whole value becomes the parameter's value with its type; inside a longer text it becomes text. Nothing
is pasted into YAML, so a value cannot change what the file means. Commands are left alone: they get parameters (and
what steps save) as environment variables, so that a shell line says ``${mtu}`` and the shell fills it in.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from labrun.lab.base import REFERENCE, Scalar

MAX_CELLS = 64
_INSIDE = re.compile(REFERENCE.pattern)
_COMMANDS = ("run", "start", "succeeds", "stdin")

Cell = Mapping[str, Scalar]


def cells_of(value: object) -> tuple[dict[str, Scalar], ...]:
    """Every combination of a parsed lab file's parameters, in order; one empty cell where there are none.

    What is no sound matrix gives one empty cell: validation will say what is wrong with it.
    """
    parameters = value.get("parameters") if isinstance(value, dict) else None
    if not isinstance(parameters, dict) or not parameters:
        return ({},)
    if not all(isinstance(values, list) and values for values in parameters.values()):
        return ({},)
    names = list(parameters)
    combined = itertools.islice(itertools.product(*parameters.values()), MAX_CELLS + 1)
    return tuple(dict(zip(names, values, strict=True)) for values in combined)


def fill(value: Any, cell: Cell) -> Any:
    """A parsed file with the cell's values in it."""
    return _filled(value, cell) if cell else value


def _filled(value: Any, cell: Cell, key: str | None = None) -> Any:
    if isinstance(value, dict):
        return {
            name: item if name == "parameters" and key is None else _filled(item, cell, name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_filled(item, cell, key or "") for item in value]
    if not isinstance(value, str) or key in _COMMANDS:
        return value
    whole = REFERENCE.fullmatch(value)
    if whole is not None:
        return cell.get(whole[1], value)
    return _INSIDE.sub(lambda match: str(cell.get(match[1], match[0])), value)


def cell_name(cell: Cell) -> str:
    """The cell in a folder's name: --mtu-1500; empty for a lab without parameters."""
    return "".join(f"--{_plain(name)}-{_plain(str(value))}" for name, value in cell.items())


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
