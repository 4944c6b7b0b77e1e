"""A command's JSON, searched with JMESPath: https://jmespath.org/specification.html

What JMESPath takes in silence is unknown here: a key that no object has, an index past the end, a comparison of a text
with a number, two equal keys with different values (RFC 8259, section 4: unpredictable). A key that is there with
`null` is an observation. `a || b` and `not_null()` are how an expression says that something may be missing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from labrun.logic.compare import kind
from labrun.logic.suggest import did_you_mean
from labrun.observe.unknown import Unknown

_ORDERS = ("lt", "lte", "gt", "gte")


class _NoJson(ValueError):
    """Not JSON as RFC 8259 has it."""


class _Unpredictable(ValueError):
    """JSON that readers may understand in different ways."""


def _no_number(word: str) -> Any:
    """Python reads NaN and Infinity; RFC 8259, section 6, does not have them, and NaN would equal nothing."""
    raise _NoJson(f"{word} is not a number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Unpredictable(f"the number {text[:40]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made and made[name] != value:
            raise _Unpredictable(f"the key {name[:40]!r} is there twice, with different values")
        made[name] = value
    return made


def search_json(text: str, expression: str) -> Any:
    """What the expression finds; Unknown where the text is not JSON, or the expression asks for what is not there."""
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_float, object_pairs_hook=_object)
    except _Unpredictable as error:
        return Unknown("json-ambiguous", f"the output is ambiguous JSON: {error}")
    except (ValueError, RecursionError) as error:
        return Unknown("not-json", f"the output is not JSON: {error}")
    search = _Search()
    try:
        tree = jmespath.compile(expression).parsed
        found = search.visit(tree, value)
    except (JMESPathError, RecursionError) as error:
        return Unknown("json-search-failed", f"{expression}: {' '.join(str(error).split())}")
    optional = _optional(tree)
    why = search.trouble(expression)
    return why if why is not None and not (optional and found is not None) else found


def _optional(tree: Any) -> bool:
    if not isinstance(tree, dict):
        return False
    named = tree.get("type") == "or_expression" or (
        tree.get("type") == "function_expression" and tree["value"] == "not_null"
    )
    return named or any(_optional(child) for child in tree.get("children", ()))


class _Search(TreeInterpreter):
    """Notes which keys and places were asked for, and what was compared with what."""

    def __init__(self) -> None:
        super().__init__()
        self._found: Counter[str] = Counter()
        self._missed: dict[str, tuple[str, ...]] = {}
        self._past: str | None = None
        self._alike: Counter[int] = Counter()
        self._unlike: dict[int, str] = {}
        self._mixed: str | None = None

    def trouble(self, expression: str) -> Unknown | None:
        for name, keys in self._missed.items():
            if not self._found[name]:
                there = did_you_mean(name, keys) if keys else " There is no object to have it."
                return Unknown("json-nothing-found", f"{expression}: no object has the key '{name}'.{there}")
        if self._past is not None:
            return Unknown("json-nothing-found", f"{expression}: {self._past}")
        if self._mixed is not None:  # what JMESPath counts as false may be the one that the author means
            return Unknown("type-mismatch", f"{expression}: {self._mixed}")
        for node, words in self._unlike.items():
            if not self._alike[node]:
                return Unknown("type-mismatch", f"{expression}: {words}")
        return None

    def visit_field(self, node: Any, value: Any) -> Any:
        name = node["value"]
        if isinstance(value, dict) and name in value:
            self._found[name] += 1
            return value[name]
        if value is not None:
            known = tuple(value) if isinstance(value, dict) else ()
            self._missed[name] = (*self._missed.get(name, ()), *known[:100])[:1000]
        return None

    def visit_index(self, node: Any, value: Any) -> Any:
        found = super().visit_index(node, value)
        if isinstance(value, list) and not -len(value) <= node["value"] < len(value):
            self._past = f"there is no item [{node['value']}]: the list has {len(value)}"
        elif value is not None and not isinstance(value, list):
            self._past = f"[{node['value']}] of {kind(value)} is nothing"
        return found

    def visit_comparator(self, node: Any, value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        kinds = {kind(left), kind(right)}
        if len(kinds) == 1 and not (node["value"] in _ORDERS and kinds != {"number"}):
            self._alike[id(node)] += 1
        elif "nothing" not in kinds or node["value"] in _ORDERS:
            words = " with ".join(sorted(kinds)) if len(kinds) > 1 else f"the order of one {kinds.pop()} and another"
            self._unlike[id(node)] = f"it compares {words}"
            if "nothing" not in kinds:
                self._mixed = self._mixed or self._unlike[id(node)]
            return None
        return super().visit_comparator(node, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        """`contains` of a list without an item of the kind that is looked for: a text `"1"` is not the number 1."""
        if node["value"] == "contains":
            items, item = (self.visit(child, value) for child in node["children"])
            if isinstance(items, list) and items and kind(item) not in {kind(each) for each in items}:
                kinds = " and ".join(sorted({kind(each) for each in items}))
                self._unlike[id(node)] = f"it looks for a {kind(item)} in a list of {kinds}"
            else:
                self._alike[id(node)] += 1
        return super().visit_function_expression(node, value)
