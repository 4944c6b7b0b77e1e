"""A lab file to a `Lab`: parsed, validated and cross-checked, or a LabError with the place of every problem."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labrun.lab.base import Scalar
from labrun.lab.catalogue import LAB_FILE, Named
from labrun.lab.files import NO_FILES, FilesError, LabFiles, read_files
from labrun.lab.hints import comparison, shape
from labrun.lab.model import LabModel
from labrun.lab.parameters import MAX_CELLS, Cell, cell_names, cells_of, fill, repeated_value
from labrun.lab.problems import LabError, Problem
from labrun.lab.reuse import OWN, written_out
from labrun.lab.text import Keys, Places, parse_yaml, read_text
from labrun.lab.topology import TopologyModel
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Lab:
    """A valid lab: what it says, where it came from, and where each thing stands in its file."""

    slug: str
    path: Path  # of lab.yaml
    shown: str  # the path as messages name it
    text: str
    model: LabModel
    places: Places
    cell: Mapping[str, Scalar] = field(default_factory=dict)  # the parameters' values
    files: LabFiles = NO_FILES
    included: Mapping[str, Any] | None = None  # the topology of the file that it includes

    def problem(self, path: Keys, message: str, key: bool = False) -> Problem:
        return Problem(self.shown, *self.places.of(path, key), message)


def load_lab(path: Path) -> Lab:
    """Load ``path`` (a lab.yaml, or the folder that has one): of a lab with parameters, the first cell."""
    return load_cells(path)[0]


def load_cells(
    path: Path, named: Named | None = None, given: Mapping[str, Sequence[Scalar]] | None = None
) -> tuple[Lab, ...]:
    """The lab once for each combination of its parameters, or just once. ``named``: only those that it means.

    ``given``: values of parameters in place of those in the file.
    """
    kept = named.kept if named is not None else None
    if kept is not None:
        file, name, text = path, str(path), kept.text
    else:
        file = path / LAB_FILE if path.is_dir() else path
        name = _shown(file)
        text = read_text(file, name)
    value, places = parse_yaml(text, name)
    values = {parameter: (one,) for parameter, one in kept.values.items()} if kept is not None else {}
    cells = cells_of(_with_values(value, {**values, **(given or {})}))
    if len(cells) > MAX_CELLS:
        line, column = places.of(("parameters",))
        raise LabError([Problem(name, line, column, f"parameters: more than {MAX_CELLS} combinations")])
    if (again := repeated_value(value)) is not None:
        line, column = places.of(("parameters", *again))
        raise LabError([Problem(name, line, column, f"parameters: {again[0]} has this value already")])
    known = value.get("parameters") if isinstance(value, dict) else None
    if values and not values.keys() <= (known.keys() if isinstance(known, dict) else set()):
        raise LabError([Problem(name, 0, 0, f"it has not the parameters that it ran with: {', '.join(values)}")])
    base = file.absolute().parent.name
    slugs = [(base + suffix, cell) for cell, suffix in zip(cells, cell_names(cells), strict=True)]
    meant = [(slug, cell) for slug, cell in slugs if named is None or named.means(slug, cell)]
    if not meant:
        runs = ", ".join(slug for slug, _ in slugs[:8])
        raise LabError([Problem(name, 0, 0, f"no run of this lab is '{named and named.cell}'. Its runs: {runs}")])
    at = file if kept is None else kept.folder / LAB_FILE if kept.folder is not None else None
    included = _included(value, at, name, places)
    labs = tuple(parse_lab(text, file, slug, name, cell, included) for slug, cell in meant)
    files = _files(labs[0], at)
    return tuple(replace(lab, files=files) for lab in labs) if files.entries else labs


def _files(lab: Lab, at: Path | None) -> LabFiles:
    """What is beside a lab.yaml; a lab in a file of another name has what it names, for many may be in one folder.

    ``at``: where the file is, or was; None: nothing is kept of what was beside it.
    """
    only = lab.model.files
    if at is None or (only is None and at.name != LAB_FILE):
        return NO_FILES
    try:
        return read_files(at.absolute().parent, at.name, lab.model.topology.nodes, only)
    except FilesError as error:
        line, column = lab.places.of(("files",)) if lab.places.has(("files",)) else (0, 0)
        raise LabError([Problem(lab.shown, line, column, str(error))]) from error


def _included(value: object, file: Path | None, name: str, places: Places) -> Mapping[str, Any] | None:
    """The topology of the file that a lab includes: of its own folder, or of one beside it."""
    wanted = value.get("include") if isinstance(value, dict) else None
    if not isinstance(wanted, str):
        return None
    line, column = places.of(("include",))
    if file is None:
        words = f"include: the run kept no file {wanted[:200]!r}"
        raise LabError([Problem(name, line, column, words)])
    top = os.path.realpath(file.absolute().parent.parent)
    path = Path(os.path.realpath(file.absolute().parent / wanted))
    if "\0" in wanted or not path.is_relative_to(top) or Path(wanted).is_absolute():
        words = f"include: {wanted[:200]!r} is neither in the lab's folder nor in one beside it"
        raise LabError([Problem(name, line, column, words)])
    if not path.is_file():
        raise LabError([Problem(name, line, column, f"include: there is no file {wanted[:200]!r}")])
    shown = _shown(path)
    other, own_places = parse_yaml(read_text(path, shown), shown)
    keys = [key for key in other if not str(key).startswith(OWN)] if isinstance(other, dict) else []
    if keys != ["topology"] or not isinstance(other["topology"], dict):
        raise LabError([Problem(shown, 1, 1, "an included file has a topology, and nothing else")])
    try:
        TopologyModel.model_validate(other["topology"])
    except ValidationError as error:
        at = ("topology",)
        problems = _problems(error, other, own_places, shown, at)
        raise LabError(problems) from error
    topology: Mapping[str, Any] = other["topology"]
    return topology


def parse_lab(
    text: str, path: Path, slug: str, shown: str, cell: Cell | None = None, included: Mapping[str, Any] | None = None
) -> Lab:
    """The lab in ``text``. ``cell``: the values of its parameters (None: the first of each).

    ``included``: the topology of the file that it includes.
    """
    value, places = parse_yaml(text, shown)
    if not isinstance(value, dict):
        kind = {list: "a list", str: "text", type(None): "nothing", bool: "true or false"}.get(type(value), "a number")
        what = "a lab file is a mapping with title, question, steps and hypotheses"
        raise LabError([Problem(shown, 1, 1, f"{what}; this is {kind}")])
    chosen = cells_of(value)[0] if cell is None else cell
    filled = fill(written_out(value, included), chosen)
    try:
        model = LabModel.model_validate(filled)
    except ValidationError as error:
        raise LabError(_problems(error, filled, places, shown)) from error
    return Lab(slug, path, shown, text, model, places, dict(chosen), included=included)


def _with_values(value: object, given: Mapping[str, Sequence[Scalar]]) -> object:
    """A parsed file whose parameters have other values; those that it does not have are not meant."""
    parameters = value.get("parameters") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(parameters, dict):
        return value
    values = {name: list(given[name]) if name in given else old for name, old in parameters.items()}
    return {**value, "parameters": values}


def _shown(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _problems(error: ValidationError, value: Any, places: Places, shown: str, at: Keys = ()) -> list[Problem]:
    """``at``: the place in the file of what was checked."""
    found: dict[tuple[int, int, str], Problem] = {}
    for item in error.errors(include_url=False, include_input=True):
        path = _path_in_file((*at, *item["loc"]), value)
        if item["type"] == "too_short" and item["input"]:
            continue  # pydantic counts the valid items only; the invalid ones are reported themselves
        context = item.get("ctx") or {}
        at_key = item["type"] == "unknown_key"
        where = _where(path, value)
        if at_key:  # the message names the key itself
            path = (*path, str(context["key"]))
        problem = Problem(shown, *places.of(path, at_key), where + _say(item, path))
        found[problem.line, problem.column, problem.message] = problem
    return sorted(found.values(), key=lambda problem: (problem.line, problem.column))


def _path_in_file(loc: tuple[str | int, ...], value: Any) -> Keys:
    """pydantic's location without what is not in the file: union tags, and the fields behind a shorthand."""
    path: list[str | int] = []
    for part in loc:
        here: Any = value if isinstance(value, dict | list) else {}
        try:
            value = here[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(part)
    return tuple(path)


def _where(path: Keys, value: Any) -> str:
    """In words, what a reader would look for: the step or hypothesis by its id."""
    if len(path) >= 2 and path[0] in ("steps", "hypotheses") and isinstance(path[1], int):
        noun = "step" if path[0] == "steps" else "hypothesis"
        item = value[path[0]][path[1]]
        name = item.get("id") if isinstance(item, dict) else None
        label = f"{noun} '{name}'" if name else f"{noun} {path[1] + 1}"
        rest = [str(part) for part in path[2:]]
        return f"{label}: " + (f"{'.'.join(rest)}: " if rest else "")
    rest = [str(part) for part in path]
    return f"{'.'.join(rest)}: " if rest else ""


def _say(item: Any, path: Keys) -> str:
    if item["type"] == "missing":
        return f"'{item['loc'][-1]}' is missing"
    if item["type"] == "string_pattern_mismatch":
        return f"{_short(item['input'])} is not a name here: small letters, digits and dashes, such as 'probe' or 'ns1'"
    if item["type"] == "too_short":
        return "this is empty; at least one is needed"
    if item["type"] in _WANTED:
        hint = " (in quotes it is text)" if item["type"] == "string_type" and _is_number(item["input"]) else shape(path)
        return f"{_WANTED[item['type']]} is needed, not {_short(item['input'])}{hint}"
    if item["type"] in _BOUNDS:
        return f"{_short(item['input'])} is not {_BOUNDS[item['type']]} {next(iter(item['ctx'].values()))}"
    if item["type"] == "literal_error":
        return f"{_short(item['input'])} is not one of {item['ctx']['expected']}"
    return f"{item['msg']}{comparison(item['input'])}"


_WANTED = {
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
