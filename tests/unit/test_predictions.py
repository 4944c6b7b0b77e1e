"""The shape of predictions: what can be written, what it is short for, and that each one asserts something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.lab.predictions import (
    STATE_KINDS,
    AllOf,
    AnyOf,
    ChangeIs,
    CommandIs,
    Not,
    PacketsAre,
    Prediction,
    StateIs,
    leaves,
)
from pydantic import TypeAdapter, ValidationError

ADAPTER: TypeAdapter[Prediction] = TypeAdapter(Prediction)


def read(value: object) -> Prediction:
    return ADAPTER.validate_python(value)


KINDS = {
    "command": ({"command": "a", "exit": 0}, CommandIs),
    "change": ({"change": "a", "errno": "EEXIST"}, ChangeIs),
    "packets": ({"packets": {"on": "n.lo"}, "count": 0}, PacketsAre),
    "all": ({"all": [{"command": "a", "exit": 0}]}, AllOf),
    "any": ({"any": [{"command": "a", "exit": 0}]}, AnyOf),
    "not": ({"not": {"command": "a", "exit": 0}}, Not),
    **{kind: ({kind: {"at": "s"}, "count": 0}, StateIs) for kind in STATE_KINDS},
}


@pytest.mark.parametrize(("written", "model"), KINDS.values(), ids=KINDS)
def test_the_selector_decides_what_a_prediction_is(written, model):
    assert type(read(written)) is model


@pytest.mark.parametrize("kind", STATE_KINDS)
def test_a_state_knows_its_kind_and_selector(kind):
    state = read({kind: {"at": "s", "in": "n", "where": {"name": "lo"}}, "count": 1})
    assert (state.kind, state.selector.at, state.selector.node) == (kind, "s", "n")
    assert state.selector.where["name"].operators() == {"equals": "lo"}


@pytest.mark.parametrize("value", [0, 7, "0", True, False, "", 1.5])
def test_a_bare_value_means_equals(value):
    field = read({"links": {"at": "s"}, "each": {"f": value}}).each["f"]
    assert field.operators() == {"equals": value}
    assert type(field.equals) is type(value)


def test_operators_are_listed_in_a_fixed_order_however_they_are_written():
    check = read({"packets": {"on": "n.lo"}, "count": {"lt": 9, "ge": 1, "equals": 3}}).count
    assert list(check.operators()) == ["equals", "ge", "lt"]


def test_zero_false_and_the_empty_string_are_assertions():
    assert read({"command": "a", "exit": 0, "stdout": ""}).stdout.operators() == {"equals": ""}
    assert read({"links": {"at": "s"}, "each": {"up": False}}).each["up"].operators() == {"equals": False}


def test_a_step_stands_for_the_window_from_its_start_to_its_end():
    short = read({"packets": {"on": "n.lo", "during": "a"}, "count": 0}).packets.during
    long = read({"packets": {"on": "n.lo", "during": {"from": "a", "to": "a"}}, "count": 0}).packets.during
    assert short == long


EMPTY = {
    "nothing": {},
    "command": {"command": "a"},
    "command with nothing": {"command": "a", "exit": None},
    "no operator": {"command": "a", "exit": {}},
    "operators of nothing": {"command": "a", "exit": {"equals": None}},
    "packets": {"packets": {"on": "n.lo"}},
    "change": {"change": "a"},
    "links": {"links": {"at": "s"}},
    "links of nowhere": {"links": None, "count": 1},
    "each of nothing": {"links": {"at": "s"}, "each": {}},
    "all": {"all": []},
    "any": {"any": []},
    "not": {"not": None},
    "one of none": {"command": "a", "stdout": {"one_of": []}},
    "where of nothing": {"links": {"at": "s", "where": {"name": {}}}, "count": 1},
}


@pytest.mark.parametrize("written", EMPTY.values(), ids=EMPTY)
def test_a_prediction_that_asserts_nothing_is_an_error(written):
    with pytest.raises(ValidationError):
        read(written)


MISFITS = {
    "text compared by size": {"command": "a", "stdout": {"le": 3}},
    "a number searched": {"command": "a", "exit": {"contains": "0"}},
    "text as a number": {"command": "a", "exit": "0"},
    "a truth as a number": {"packets": {"on": "n.lo"}, "count": True},
    "a number as text": {"command": "a", "stdout": 5},
    "a bad regex": {"command": "a", "stdout": {"matches": "["}},
    "two selectors": {"command": "a", "packets": {"on": "n.lo"}, "count": 0},
    "two states": {"links": {"at": "s"}, "routes": {"at": "s"}, "count": 0},
    "an unknown operator": {"command": "a", "exit": {"eq": 0}},
    "a count of a command": {"command": "a", "exit": 0, "count": 1},
    "a list": [{"command": "a", "exit": 0}],
    "text": "a",
    "null": None,
    "a direction that is none": {"packets": {"on": "n.lo", "direction": "both"}, "count": 0},
}


@pytest.mark.parametrize("written", MISFITS.values(), ids=MISFITS)
def test_a_check_that_does_not_fit_what_it_checks_is_an_error(written):
    with pytest.raises(ValidationError):
        read(written)


def test_leaves_come_in_reading_order_with_their_paths_in_the_file():
    tree = read({"all": [{"command": "a", "exit": 0}, {"not": {"any": [{"command": "b", "exit": 0},
                                                                     {"command": "c", "exit": 0}]}}]})  # fmt: skip
    assert [(path, leaf.command) for path, leaf in leaves(tree)] == [
        (("all", 0), "a"),
        (("all", 1, "not", "any", 0), "b"),
        (("all", 1, "not", "any", 1), "c"),
    ]


LEAF = st.sampled_from([written for written, model in KINDS.values() if model not in (AllOf, AnyOf, Not)])
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"all": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"any": items}),
        inner.map(lambda item: {"not": item}),
    ),
    max_leaves=12,
)


@given(TREE)
def test_a_prediction_written_out_again_is_the_same(written):
    prediction = read(written)
    again = read(ADAPTER.dump_python(prediction, by_alias=True, exclude_none=True))
    assert again == prediction
    assert all(isinstance(leaf, CommandIs | ChangeIs | PacketsAre | StateIs) for _, leaf in leaves(prediction))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from([*KINDS, "on", "exit", "count", "at", "each"]), inner, max_size=3),
                    max_leaves=10))  # fmt: skip
def test_whatever_is_written_is_a_prediction_or_a_validation_error(written):
    try:
        read(written)
    except ValidationError as error:
        assert error.errors(include_url=False)
