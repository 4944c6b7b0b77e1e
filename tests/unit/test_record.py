"""Records are dataclasses in all that anybody can see; only that their functions are compiled late."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from typing import Any, ClassVar

import pytest
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Late:
    KIND: ClassVar[str] = "late"
    name: str
    number: int = 7
    parts: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Plain:
    KIND: ClassVar[str] = "late"
    name: str
    number: int = 7
    parts: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    one: int
    other: tuple[int, ...] = ()


@pytest.mark.parametrize("arguments", [("a",), ("a", 3), ("a", 3, {"x": 1})])
def test_a_record_is_made_as_a_dataclass_is(arguments: tuple[Any, ...]) -> None:
    assert dataclasses.asdict(Late(*arguments)) == dataclasses.asdict(Plain(*arguments))
    assert repr(Late(*arguments)) == repr(Plain(*arguments)).replace("Plain", "Late")


def test_named_arguments_and_what_is_missing_or_unknown() -> None:
    assert Late(name="a", number=1) == Late("a", 1)
    for cls in (Late, Plain):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
            cls()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
            cls("a", nothing=1)  # type: ignore[call-arg]


def test_each_object_has_its_own_default() -> None:
    assert Late("a").parts is not Late("a").parts


def test_nothing_of_it_can_be_changed() -> None:
    made = Late("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.number = 8  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.number
    with pytest.raises(AttributeError):
        made.other = 8  # type: ignore[attr-defined]
    assert not hasattr(made, "__dict__")


def test_equal_ones_have_one_hash_and_other_classes_are_never_equal() -> None:
    assert Pair(1, (2,)) == Pair(1, (2,)) and hash(Pair(1, (2,))) == hash(Pair(1, (2,)))
    assert Pair(1) != Pair(2) and Pair(1) != (1, ())
    assert len({Pair(1), Pair(1), Pair(2)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(Late("a"))


def test_copies_and_replacements() -> None:
    made = Late("a", 1, {"x": 2})
    assert dataclasses.replace(made, number=2) == Late("a", 2, {"x": 2})
    assert copy.deepcopy(made) == made and pickle.loads(pickle.dumps(made)) == made
    assert [field.name for field in dataclasses.fields(Late)] == ["name", "number", "parts"]


def test_its_signature_is_a_dataclass_s() -> None:
    ours, theirs = (list(inspect.signature(cls).parameters.values()) for cls in (Late, Plain))
    assert [(one.name, one.kind, one.annotation) for one in ours] == [(o.name, o.kind, o.annotation) for o in theirs]
    assert [one.default for one in ours[:2]] == [one.default for one in theirs[:2]]


def test_matching_by_position() -> None:
    match Pair(1, (2,)):
        case Pair(one, other):
            assert (one, other) == (1, (2,))


def test_one_that_no_constructor_made_is_whole_too() -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh:
        one: int

    made, same = Fresh.__new__(Fresh), Fresh.__new__(Fresh)
    for each in (made, same):
        object.__setattr__(each, "one", 1)
    assert made == same and hash(made) == hash(same) and repr(made).endswith("Fresh(one=1)")


def test_defining_one_compiles_nothing() -> None:
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "compile" and watching:
            seen.append(str(arguments[1]))

    watching = True
    sys.addaudithook(hook)
    dataclass(frozen=True, slots=True)(type("Bare", (), {"__annotations__": {"one": "int"}}))
    watching = False
    assert seen == []
