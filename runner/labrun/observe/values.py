"""Values that steps saved, put into the predictions that name them: `${name}` as an expected value, with its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from labrun.lab.base import REFERENCE
from labrun.lab.predictions import Check

Value = str | int | float


def bound(leaf: Any, values: Mapping[str, Value]) -> Any:
    """The leaf with every reference in its checks replaced; or the name of the first value that is not there."""
    try:
        return _bound(leaf, values)
    except KeyError as error:
        return str(error.args[0])


def _bound(item: Any, values: Mapping[str, Value]) -> Any:
    if isinstance(item, Check):
        changes = {name: _filled(expected, values) for name, expected in item.operators().items()}
        return item.model_copy(update=changes)
    if isinstance(item, BaseModel):
        return item.model_copy(update={name: _bound(getattr(item, name), values) for name in type(item).model_fields})
    if isinstance(item, dict):
        return {name: _bound(value, values) for name, value in item.items()}
    if isinstance(item, tuple):
        return tuple(_bound(value, values) for value in item)
    return item


def _filled(expected: Any, values: Mapping[str, Value]) -> Any:
    if isinstance(expected, tuple):
        return tuple(_filled(item, values) for item in expected)
    match = REFERENCE.fullmatch(expected) if isinstance(expected, str) else None
    return expected if match is None else values[match[1]]
