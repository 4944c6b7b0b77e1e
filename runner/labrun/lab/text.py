"""YAML 1.2 to plain values, with the line and column of every key and value. Hostile files get an error, not a hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from labrun.lab.problems import LabError, Problem

MAX_BYTES = 1024 * 1024  # a lab file is prose and commands; larger is a mistake
MAX_VALUES = 100_000  # aliases can make a small file endless
MAX_DEPTH = 64

Place = tuple[int, int]
Keys = tuple[str | int, ...]


class Places:
    """Where things stand in the file: by path, the value's place, and the key's own place."""

    def __init__(self) -> None:
        self._values: dict[Keys, Place] = {(): (1, 1)}
        self._keys: dict[Keys, Place] = {}

    def put(self, path: Keys, value: Place, key: Place | None = None) -> None:
        self._values[path] = value
        if key is not None:
            self._keys[path] = key

    def of(self, path: Keys, key: bool = False) -> Place:
        """The place of a path, or of its nearest ancestor that is in the file."""
        if key and path in self._keys:
            return self._keys[path]
        while path and path not in self._values:
            path = path[:-1]
        return self._values[path]

    def has(self, path: Keys) -> bool:
        return path in self._values


def read_text(path: Path, shown: str) -> str:
    """The file as text; a clear LabError where it cannot be read or is not text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabError([Problem(shown, 0, 0, f"cannot be read: {error.strerror or error}")]) from error
    if len(data) > MAX_BYTES:
        raise LabError([Problem(shown, 0, 0, f"too large for a lab file: {len(data)} bytes, the limit is {MAX_BYTES}")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabError([Problem(shown, line, 1, "not UTF-8 text: a lab file is YAML")]) from error


def parse_yaml(text: str, shown: str) -> tuple[Any, Places]:
    """Plain dicts, lists and scalars, and the places of all of them."""
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_duplicate_keys = False
    try:
        root = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = " ".join(str(error.problem or error).split())
        raise LabError([Problem(shown, line, column, f"not YAML: {message}")]) from error
    except (YAMLError, ValueError, RecursionError, KeyError, AttributeError, TypeError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        line = getattr(error, "line", None)
        raise LabError([Problem(shown, 0, 0, f"not YAML: {message[:300]}")]) from error
    places = Places()
    return _Plain(shown, places).value(root, (), (1, 1), 0), places


class _Plain:
    def __init__(self, shown: str, places: Places) -> None:
        self._shown = shown
        self._places = places
        self._count = 0

    def value(self, node: Any, path: Keys, place: Place, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            text = "too many or too deeply nested values (does an alias contain itself?)"
            raise LabError([Problem(self._shown, *place, text)])
        self._places.put(path, place)
        if isinstance(node, CommentedMap):
            return self._mapping(node, path, depth)
        if isinstance(node, CommentedSeq):
            items = []
            for index, item in enumerate(node):
                line, column = node.lc.item(index)
                items.append(self.value(item, (*path, index), (line + 1, column + 1), depth + 1))
            return items
        if node is None or isinstance(node, bool):
            return node
        for scalar in (int, float, str):  # ruamel's scalars are subclasses that carry formatting
            if isinstance(node, scalar):
                return scalar(node)
        if type(node).__name__ == "ScalarBoolean":
            return bool(node)
        return str(node)

    def _mapping(self, node: CommentedMap, path: Keys, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in node.items():
            name = str(key)
            at_key, at_value = node.lc.data.get(key, (0, 0, 0, 0))[:2], node.lc.data.get(key, (0, 0, 0, 0))[2:]
            place = (at_value[0] + 1, at_value[1] + 1)
            out[name] = self.value(item, (*path, name), place, depth + 1)
            self._places.put((*path, name), place, (at_key[0] + 1, at_key[1] + 1))
        return out
