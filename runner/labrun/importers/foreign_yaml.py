"""YAML of other tools: with merge keys, and words of YAML 1.1 for true and false. Bounded as a lab's own file is.

Shapes are asked for with the place in the file, so that what is not of a format is an error there and not a crash.
"""

from __future__ import annotations

from typing import Any

from labrun.importers.base import Folder
from labrun.lab.problems import LabError, Problem
from labrun.lab.text import Keys, parse_yaml


class Document:
    """A YAML or JSON file of the folder. Raises LabError where it is none."""

    def __init__(self, folder: Folder, path: str) -> None:
        self.path = f"{folder.name}/{path}"
        self.value, self._places = parse_yaml(folder.text(path), self.path, merge=True)

    def wrong(self, keys: Keys, message: str) -> LabError:
        where = ".".join(str(key) for key in keys)
        return LabError([Problem(self.path, *self._places.of(keys), f"{where}: {message}" if where else message)])

    def mapping(self, value: Any, keys: Keys) -> dict[str, Any]:
        """``value``, found at ``keys``; nothing is an empty one."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(keys, "a mapping is needed")
        return value

    def items(self, value: Any, keys: Keys) -> list[Any]:
        """A list; nothing is an empty one."""
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(keys, "a list is needed")
        return value

    def text(self, value: Any, keys: Keys) -> str:
        """A scalar as it is written; nothing is an empty text."""
        if isinstance(value, dict | list):
            raise self.wrong(keys, "text is needed")
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def words(self, value: Any, keys: Keys) -> list[str]:
        """A list of texts, or one."""
        every = value if isinstance(value, list) else [] if value is None else [value]
        return [self.text(one, (*keys, index)) for index, one in enumerate(every)]

    def table(self, value: Any, keys: Keys) -> dict[str, str]:
        """A mapping of texts, or a list of NAME=VALUE."""
        if isinstance(value, list):
            told = [self.text(one, (*keys, index)).partition("=") for index, one in enumerate(value)]
            return {name: text for name, _, text in told}
        return {name: self.text(one, (*keys, name)) for name, one in self.mapping(value, keys).items()}
