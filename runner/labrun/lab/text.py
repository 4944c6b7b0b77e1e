"""YAML 1.2 to plain values, with the line and column of every key and value. Hostile files get an error, not a hang.

Built on ruamel's events rather than its objects: what a plain scalar means is decided here (the core schema of YAML
1.2.2, chapter 10.3, so a MAC stays text and `off` is not false), nesting and aliases are bounded before they cost
anything, and there is no tag, no merge key and no object behind a key.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from labrun.lab.hints import unquoted
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
        """The place of a path, or of its nearest ancestor that is in the file.

        One thing may stand for a list of one: then the file has no 0 in the path, and it is passed over.
        """
        found: Keys = ()
        for part in path:
            if (*found, part) in self._values:
                found = (*found, part)
            elif part != 0:
                return self._values[found]
        return self._keys.get(found, self._values[found]) if key else self._values[found]

    def has(self, path: Keys) -> bool:
        return path in self._values


def read_text(path: Path, shown: str) -> str:
    """The file as text; a clear LabError where it cannot be read or is not text."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        text = getattr(error, "strerror", None) or str(error)
        raise LabError([Problem(shown, 0, 0, f"cannot be read: {text}")]) from error
    return as_text(data, shown)


def told(error: LabError) -> str:
    """What is wrong, with the lines of the files where it can be read."""
    texts = {}
    for name in {problem.file for problem in error.problems if problem.line}:
        with suppress(LabError):
            texts[name] = read_text(Path(name), name)
    return error.told(texts)


def as_text(data: bytes, shown: str) -> str:
    """A file's bytes as text; a clear LabError where they are none, or too many."""
    if len(data) > MAX_BYTES:
        raise LabError([Problem(shown, 0, 0, f"too large for a lab file: the limit is {MAX_BYTES} bytes")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabError([Problem(shown, line, 1, "not UTF-8 text: a lab file is YAML")]) from error


def parse_yaml(text: str, shown: str, merge: bool = False) -> tuple[Any, Places]:
    """Plain dicts, lists and scalars, and the places of all of them. ``merge``: merge keys are allowed."""
    try:
        root = _composed(text)
        places = Places()
        return (None if root is None else _Plain(places, merge).value(root, (), 0)), places
    except _Wrong as error:
        raise LabError([Problem(shown, *error.place, error.message)]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place: Place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        lines = text.splitlines()
        hint = unquoted(lines[mark.line]) if mark and mark.line < len(lines) else ""
        raise LabError([Problem(shown, *place, f"not YAML: {_one_line(error.problem or error)}{hint}")]) from error
    except ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        character = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"not YAML: the character U+{character:04X} is not allowed in it"
        raise LabError([Problem(shown, *place, message)]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise LabError([Problem(shown, 0, 0, f"not YAML: {_one_line(error)[:300]}")]) from error


@functools.lru_cache(maxsize=128)
def _composed(text: str) -> _Node | None:
    """A run needs a lab's text several times, to compile, judge and report it; scanning it is the slow part of each."""
    return _compose(YAML(typ="safe", pure=True).parse(text))


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Wrong(Exception):
    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(slots=True)
class _Node:
    """A value of the file. ``items``: of a list, or the keys and values of a mapping in turn."""

    kind: type
    place: Place
    scalar: Any = None
    text: str = ""
    items: list[_Node] = field(default_factory=list)
    closed: bool = False


def _compose(events: Iterable[Event]) -> _Node | None:
    """The one document's root, or None. Aliases are shared nodes."""
    root: _Node | None = None
    stack: list[_Node] = []
    anchors: dict[str, _Node] = {}
    documents = 0
    for event in events:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Wrong(place, "not YAML as labs use it: a second document begins here")
            if event.version not in (None, (1, 2)):
                raise _Wrong(place, "a lab file is YAML 1.2; leave the %YAML line out")
        elif isinstance(event, CollectionEndEvent):
            stack.pop().closed = True
        elif isinstance(event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent):
            node = _alias(event, place, anchors) if isinstance(event, AliasEvent) else _node(event, place)
            if not isinstance(event, AliasEvent) and event.anchor:
                anchors[event.anchor] = node
            if stack:
                stack[-1].items.append(node)
            else:
                root = node
            if isinstance(event, SequenceStartEvent | MappingStartEvent):
                stack.append(node)
                if len(stack) > MAX_DEPTH:
                    raise _Wrong(place, f"nested too deeply: more than {MAX_DEPTH} levels")
    return root


def _alias(event: AliasEvent, place: Place, anchors: dict[str, _Node]) -> _Node:
    node = anchors.get(event.anchor)
    if node is None:
        raise _Wrong(place, f"not YAML: nothing before is named &{event.anchor[:60]}")
    if not node.closed:
        raise _Wrong(place, f"the alias *{event.anchor[:60]} is inside of what it stands for")
    return node


def _node(event: ScalarEvent | SequenceStartEvent | MappingStartEvent, place: Place) -> _Node:
    if event.tag is not None:
        raise _Wrong(place, f"tags such as {str(event.tag)[:60]} are not used in lab files")
    if isinstance(event, SequenceStartEvent):
        return _Node(list, place)
    if isinstance(event, MappingStartEvent):
        return _Node(dict, place)
    text = event.value
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _Wrong(place, "half of a surrogate pair is not a character")
    plain = event.style is None or event.style == ""
    return _Node(str, place, _scalar(text, place) if plain else text, text, closed=True)


_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None,
          "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # fmt: skip


def _scalar(text: str, place: Place) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) <= 24 else 1 << 64
        if not -(1 << 63) <= number < 1 << 63:
            raise _Wrong(place, "this number is too large; in quotes it would be text")
        return number
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        value = math.inf if _NOT_FINITE.fullmatch(text) else float(text)
        if not math.isfinite(value):
            raise _Wrong(place, "a number must be finite; in quotes it would be text")
        return value
    return text


class _Plain:
    """Nodes to values. Counts, because aliases multiply."""

    def __init__(self, places: Places, merge: bool) -> None:
        self._places = places
        self._merge = merge
        self._count = 0

    def value(self, node: _Node, path: Keys, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise _Wrong(node.place, f"more than {MAX_VALUES} values (do aliases multiply?)")
        if depth > MAX_DEPTH:
            raise _Wrong(node.place, f"nested too deeply: more than {MAX_DEPTH} levels")
        self._places.put(path, node.place)
        if node.kind is list:
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
        if node.kind is dict:
            return self._mapping(node, path, depth)
        return node.scalar

    def _mapping(self, node: _Node, path: Keys, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, item in zip(node.items[::2], node.items[1::2], strict=True):
            if key.kind is not str:
                raise _Wrong(key.place, "a key must be a word, not a list or a mapping")
            name = key.text
            if name == "<<" and self._merge:
                merged |= self._merged(item, path, depth + 1)
                continue
            if name == "<<":
                raise _Wrong(key.place, "merge keys (<<) are not YAML 1.2; write the keys out")
            if name in lines:
                raise _Wrong(key.place, f"the key '{name[:60]}' is there already, in line {lines[name]}")
            lines[name] = key.place[0]
            out[name] = self.value(item, (*path, name), depth + 1)
            # What is not written has no place of its own: its key's place is where a reader looks.
            empty = item.kind is str and not item.text and item.scalar is None
            self._places.put((*path, name), key.place if empty else item.place, key.place)
        return {**merged, **out}

    def _merged(self, node: _Node, path: Keys, depth: int) -> dict[str, Any]:
        """What a merge key brings: of several mappings, the first one that has a key counts."""
        found: dict[str, Any] = {}
        for one in node.items if node.kind is list else [node]:
            if one.kind is not dict:
                raise _Wrong(one.place, "a merge key (<<) takes a mapping, or a list of mappings")
            found = {**self.value(one, path, depth), **found}
        return found
