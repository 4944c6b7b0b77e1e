"""`@dataclass(frozen=True, slots=True)` without its price at import; to everybody else these are dataclasses.

The standard one writes and compiles six functions for every class as it is defined: 0.4 ms, which each sandbox and each
command paid for some hundred classes, most of which it then made no object of. Here a class's functions are compiled
when its first object is made. `fields`, `replace`, `is_dataclass` and type checkers know no difference. It refuses
everything but frozen classes with slots that stand on no other class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        assert frozen and slots
        return _record


class _Missing:
    """Stands for an argument that was not given, where a default is made anew for each object."""


class _Signature:
    """For `inspect.signature` of the class, which a shared ``__init__`` does not tell."""

    def __get__(self, made: object, cls: Any) -> Any:
        import inspect

        _complete(cls)
        signature = inspect.signature(cls.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


def _record(cls: type) -> type:
    assert cls.__bases__ == (object,)
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # else the standard library writes a signature into it, by `inspect`
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    made.__init__, made.__repr__ = _first_init, _repr
    made.__eq__, made.__hash__ = _first_eq, _first_hash
    made.__setattr__, made.__delattr__ = _frozen, _frozen
    made.__getstate__, made.__setstate__ = _getstate, _setstate
    made.__signature__ = _Signature()
    return made  # type: ignore[no-any-return]


def _first_init(self: Any, *args: Any, **kwargs: Any) -> None:
    _complete(type(self))
    self.__init__(*args, **kwargs)


def _first_eq(self: Any, other: object) -> bool:
    _complete(type(self))
    return bool(self == other)


def _first_hash(self: Any) -> int:
    _complete(type(self))
    return hash(self)


def _complete(cls: Any) -> None:
    """Give the class its own ``__init__``, ``__eq__`` and ``__hash__``."""
    scope: dict[str, Any] = {"Missing": _Missing, "NotImplemented": NotImplemented}
    parameters, body = ["self"], []
    for field in dataclasses.fields(cls):
        name = field.name
        scope[f"put_{name}"] = cls.__dict__[name].__set__  # of the slot: __setattr__ refuses
        value = name
        if field.default is not dataclasses.MISSING:
            scope[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"make_{name}"] = field.default_factory
            parameters.append(f"{name}=Missing")
            value = f"make_{name}() if {name} is Missing else {name}"
        else:
            parameters.append(name)
        body.append(f"    put_{name}(self, {value})")
    own, others = (
        "(" + "".join(f"{who}.{field.name}, " for field in dataclasses.fields(cls)) + ")" for who in ("self", "other")
    )
    source = (
        f"def __init__({', '.join(parameters)}):\n" + ("\n".join(body) or "    pass") + "\n"
        "def __eq__(self, other):\n"
        f"    return {own} == {others} if other.__class__ is self.__class__ else NotImplemented\n"
        f"def __hash__(self):\n    return hash({own})\n"
    )
    exec(source, scope)
    scope["__init__"].__annotations__ = {field.name: field.type for field in dataclasses.fields(cls)} | {"return": None}
    for name in ("__init__", "__eq__", "__hash__"):
        scope[name].__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, scope[name])


def _repr(self: Any) -> str:
    values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{type(self).__qualname__}({values})"


def _frozen(self: Any, name: str, *value: Any) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot {'assign to' if value else 'delete'} field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
