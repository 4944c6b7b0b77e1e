"""Parameters of a lab: every combination is a cell, a lab of its own. Values are put in typed, into the parsed file.

``${mtu}`` as a whole value becomes the parameter's value with its type; inside a longer text it becomes text. Nothing
is pasted into YAML, so a value cannot change what the file means. Commands are left alone: they get parameters (and
what steps save) as environment variables, so that a shell line says ``${mtu}`` and the shell fills it in.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from labrun.lab.base import REFERENCE, Scalar

MAX_CELLS = 64
_WORD, _NAME = 32, 160  # characters in a folder's name, which has 255 at most
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


def cell_names(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Each cell in a folder's name: --mtu-1500; empty for a lab without parameters. No two are the same."""
    names: list[str] = []
    for cell in cells:
        name = "".join(f"--{_plain(name)}-{_plain(_written(value))}" for name, value in cell.items())[:_NAME]
        number = 1 + sum(name == other for other in names)
        while (unique := name if number == 1 else f"{name}--{number}") in names:
            number += 1
        names.append(unique)
    return tuple(names)


def repeated_value(value: object) -> tuple[str, int] | None:
    """(parameter, index) of a value that is there before: its cell would be the same again."""
    parameters = value.get("parameters") if isinstance(value, dict) else None
    for name, values in parameters.items() if isinstance(parameters, dict) else ():
        seen: list[tuple[type, object]] = []
        for index, item in enumerate(values if isinstance(values, list) else ()):
            if (type(item), item) in seen:
                return name, index
            seen.append((type(item), item))
    return None


def _written(value: Scalar) -> str:
    text = str(value).lower()
    return f"minus-{text[1:]}" if not isinstance(value, str) and text.startswith("-") else text


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_WORD].strip("-") or "x"
