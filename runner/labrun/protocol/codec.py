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
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
MAX_DEPTH = 32  # of free-form values; whoever writes them again must not run out of stack


class ProtocolError(ValueError):
    """The text is not what the protocol says; the message names the place."""


_Shape = tuple[tuple[str, Any] | None, tuple[tuple[str, bool], ...]]


@functools.cache
def _shape(cls: type) -> _Shape | None:
    """Of a dataclass: its tag, and its fields, each with whether None is left out; None for other classes."""
    if not dataclasses.is_dataclass(cls):
        return None
    kind = getattr(cls, "KIND", None)
    tag = None if kind is None else ("kind", kind)
    return tag, tuple((field.name, field.default is None) for field in dataclasses.fields(cls))


def encode(value: Any) -> Any:
    """A dataclass (or tuple, mapping, scalar) as plain JSON values. None is left out where it is the default."""
    cls: Any = type(value)
    if cls is str or cls is int or value is None:
        return value
    if cls is tuple or cls is list or isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    shape = _shape(cls)
    if shape is None:
        return value
    tag, fields = shape
    out: dict[str, Any] = {} if tag is None else dict((tag,))
    for name, optional in fields:
        item = getattr(value, name)
        if item is not None or not optional:
            out[name] = encode(item)
    return out


def dumps(value: Any) -> str:
    """One line of JSON, keys in the order of the fields, no line break inside."""
    return json.dumps(encode(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)


class _Misfit(Exception):
    """A value is not what it should be: (place below where decoding began, words), one for each way that was tried."""

    def __init__(self, *ways: tuple[str, str]) -> None:
        self.ways = ways

    def below(self, place: str) -> _Misfit:
        return _Misfit(*((place + rest, words) for rest, words in self.ways))


def decode(cls: Any, value: Any, where: str = "$") -> Any:
    """``value`` (parsed JSON) as ``cls``: a dataclass, a union of tagged dataclasses, tuple[X, ...], Literal, ..."""
    try:
        return _decoder(cls)(value)
    except _Misfit as error:
        raise ProtocolError("; ".join(f"{where}{place}: {words}" for place, words in error.ways)) from None


Decoder = Callable[[Any], Any]


@functools.cache
def _decoder(cls: Any) -> Decoder:
    """What decodes to ``cls``. Made once: a run has as many events as it has steps, thousands."""
    origin = typing.get_origin(cls)
    if cls is Any:
        return _decode_any
    if origin in (Union, types.UnionType):
        return _union(typing.get_args(cls))
    if origin is Literal:
        return _literal(typing.get_args(cls))
    if origin is tuple:
        return _tuple(typing.get_args(cls))
    if origin in (dict, Mapping):
        return _mapping(_decoder(typing.get_args(cls)[1]))
    if dataclasses.is_dataclass(cls):
        return _dataclass(typing.cast("type", cls))
    return _scalar(cls)


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


def _decode_any(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise _Misfit(("", f"nested more than {MAX_DEPTH} deep"))
    if isinstance(value, dict):
        return {_text(key): _decode_any(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode_any(item, depth + 1) for item in value]
    return _text(value) if isinstance(value, str) else value


def _needed(what: str, value: Any) -> _Misfit:
    return _Misfit(("", f"{what} is needed, got {type(value).__name__}"))


def _scalar(cls: Any) -> Decoder:
    name = getattr(cls, "__name__", str(cls))

    def decode_scalar(value: Any) -> Any:
        if type(value) is not cls:
            if cls is float and type(value) is int:
                return float(value)
            raise _needed(name, value)
        return _text(value) if cls is str else value

    return decode_scalar


def _literal(words: tuple[Any, ...]) -> Decoder:
    def decode_literal(value: Any) -> Any:
        if value not in words:
            raise _Misfit(("", f"{reprlib.repr(value)} is none of {words}"))
        return value

    return decode_literal


def _mapping(decoder: Decoder) -> Decoder:
    def decode_mapping(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _needed("an object", value)
        return {_text(key): _item(decoder, item, f".{key}") for key, item in value.items()}

    return decode_mapping


def _item(decoder: Decoder, value: Any, place: str) -> Any:
    try:
        return decoder(value)
    except _Misfit as error:
        raise error.below(place) from None


def _tuple(args: tuple[Any, ...]) -> Decoder:
    same = _decoder(args[0]) if len(args) == 2 and args[1] is Ellipsis else None
    each = () if same is not None else tuple(_decoder(arg) for arg in args)

    def decode_tuple(value: Any) -> Any:
        if not isinstance(value, list):
            raise _needed("a list", value)
        if same is None and len(each) != len(value):
            raise _Misfit(("", f"{len(each)} items are needed, got {len(value)}"))
        decoders = each if same is None else (same,) * len(value)
        found: list[Any] = []
        try:
            for decoder, item in zip(decoders, value, strict=True):
                found.append(decoder(item))
        except _Misfit as error:
            raise error.below(f"[{len(found)}]") from None
        return tuple(found)

    return decode_tuple


def _union(members: tuple[Any, ...]) -> Decoder:
    optional = types.NoneType in members
    rest = [member for member in members if member is not types.NoneType]
    tagged = {member.KIND: _decoder(member) for member in reversed(rest) if hasattr(member, "KIND")}
    decoders = [_decoder(member) for member in rest]

    def decode_union(value: Any) -> Any:
        if value is None:
            if optional:
                return None
            raise _Misfit(("", "null is not allowed"))
        if tagged and isinstance(value, dict):
            if "kind" not in value:
                raise _Misfit(("", "the kind is missing"))
            kind = value["kind"]
            decoder = tagged.get(kind) if isinstance(kind, str) else None
            if decoder is None:
                raise _Misfit(("", f"unknown kind {reprlib.repr(kind)}"))
            return decoder(value)
        ways: list[tuple[str, str]] = []
        for decoder in decoders:
            try:
                return decoder(value)
            except _Misfit as error:
                ways += error.ways
        raise _Misfit(*ways)

    return decode_union


def _dataclass(cls: type) -> Decoder:
    names = frozenset(field.name for field in dataclasses.fields(cls))
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    kind = getattr(cls, "KIND", None)
    decoders: dict[str, Decoder] | None = None  # made at the first use: a class may contain itself

    def decode_dataclass(value: Any) -> Any:
        nonlocal decoders
        if not isinstance(value, dict):
            raise _needed("an object", value)
        given = value
        if kind is not None and "kind" in value:
            given = {name: item for name, item in value.items() if name != "kind"}
            if value["kind"] != kind:
                raise _Misfit(("", f"kind {reprlib.repr(value['kind'])} is not {kind!r}"))
        if not given.keys() <= names:
            unknown = min(given.keys() - names)
            raise _Misfit(("", f"unknown key {reprlib.repr(unknown)} for {cls.__name__}"))
        if decoders is None:
            hints = typing.get_type_hints(cls)
            decoders = {name: _decoder(hints[name]) for name in names}  # whole at once: other threads decode, too
        arguments = {}
        name = ""
        try:
            for name, item in given.items():
                arguments[name] = decoders[name](item)
        except _Misfit as error:
            raise error.below(f".{name}") from None
        try:
            return cls(**arguments)
        except TypeError as error:
            missing = ", ".join(name for name in required if name not in arguments)
            raise _Misfit(("", f"{cls.__name__}: {f'without {missing}' if missing else error}")) from error

    return decode_dataclass
