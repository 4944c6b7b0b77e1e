"""Frozen dataclasses to JSON and back, strictly: an unknown key or a wrong type is an error, never a guess.

Small on purpose: the protocol needs dataclasses, tuples, optionals, literals, string dicts and tagged unions,
and pydantic is not in the sandbox. A class takes part in a union by a class attribute ``KIND``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union

T = TypeVar("T")
MAX_DEPTH = 32  # of free-form values; whoever writes them again must not run out of stack


class ProtocolError(ValueError):
    """The text is not what the protocol says; the message names the place."""


class Tagged(Protocol):
    """A member of a union: its JSON carries ``"kind": KIND``."""

    KIND: ClassVar[str]


def encode(value: Any) -> Any:
    """A dataclass (or tuple, mapping, scalar) as plain JSON values. None is left out where it is the default."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        kind = getattr(type(value), "KIND", None)
        if kind is not None:
            out["kind"] = kind
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if item is not None or field.default is not None:
                out[field.name] = encode(item)
        return out
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    return value


def dumps(value: Any) -> str:
    """One line of JSON, keys in the order of the fields, no line break inside."""
    return json.dumps(encode(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(cls: Any, value: Any, where: str = "$") -> Any:
    """``value`` (parsed JSON) as ``cls``: a dataclass, a union of tagged dataclasses, tuple[X, ...], Literal, ..."""
    origin = typing.get_origin(cls)
    if cls is Any:
        return _decode_any(value, where)
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(cls), value, where)
    if origin is Literal:
        if value not in typing.get_args(cls):
            raise ProtocolError(f"{where}: {reprlib.repr(value)} is none of {typing.get_args(cls)}")
        return value
    if origin is tuple:
        return _decode_tuple(typing.get_args(cls), value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ProtocolError(f"{where}: an object is needed, got {type(value).__name__}")
        item_type = typing.get_args(cls)[1]
        return {_text(key): decode(item_type, item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(cls):
        return _decode_dataclass(typing.cast("type", cls), value, where)
    if cls is float and type(value) is int:
        return float(value)
    if type(value) is not cls:
        raise ProtocolError(f"{where}: {getattr(cls, '__name__', cls)} is needed, got {type(value).__name__}")
    return _text(value) if cls is str else value


def parse(text: str | bytes) -> Any:
    """JSON as RFC 8259 has it: no NaN, no infinities. Every failure is a ProtocolError."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large")
    return number


def _text(value: str) -> str:
    """A lone surrogate, which JSON can smuggle in and no file can take, becomes a replacement character."""
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def loads(cls: type[T], text: str | bytes) -> T:
    """Parse one JSON text as ``cls``; every failure is a ProtocolError."""
    return typing.cast("T", decode(cls, parse(text)))


def _decode_any(value: Any, where: str, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ProtocolError(f"{where}: nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {_text(key): _decode_any(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode_any(item, where, depth + 1) for item in value]
    return _text(value) if isinstance(value, str) else value


def _decode_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ProtocolError(f"{where}: a list is needed, got {type(value).__name__}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(args) != len(value):
        raise ProtocolError(f"{where}: {len(args)} items are needed, got {len(value)}")
    return tuple(decode(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def _decode_union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None:
        if types.NoneType in members:
            return None
        raise ProtocolError(f"{where}: null is not allowed")
    rest = [member for member in members if member is not types.NoneType]
    if isinstance(value, dict) and any(hasattr(member, "KIND") for member in rest):
        if "kind" not in value:
            raise ProtocolError(f"{where}: the kind is missing")
        for member in rest:
            if getattr(member, "KIND", None) == value["kind"]:
                return decode(member, value, where)
        raise ProtocolError(f"{where}: unknown kind {reprlib.repr(value['kind'])}")
    errors = []
    for member in rest:
        try:
            return decode(member, value, where)
        except ProtocolError as error:
            errors.append(str(error))
    raise ProtocolError("; ".join(errors))


def _decode_dataclass(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ProtocolError(f"{where}: an object is needed, got {type(value).__name__}")
    hints = _hints(cls)
    given = dict(value)
    kind = getattr(cls, "KIND", None)
    if kind is not None and given.pop("kind", kind) != kind:
        raise ProtocolError(f"{where}: kind {reprlib.repr(value['kind'])} is not {kind!r}")
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(given) - names)
    if unknown:
        raise ProtocolError(f"{where}: unknown key {reprlib.repr(unknown[0])} for {cls.__name__}")
    arguments = {name: decode(hints[name], item, f"{where}.{name}") for name, item in given.items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ProtocolError(f"{where}: {cls.__name__}: {error}") from error
