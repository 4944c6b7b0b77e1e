"""Plans and events as JSON and back, strictly; and whatever else comes is a ProtocolError that names the place."""

from __future__ import annotations

import dataclasses
import json
import threading
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.protocol import actions, codec, events
from labrun.protocol.codec import MAX_DEPTH, ProtocolError, decode, dumps, encode, loads, parse
from labrun.protocol.plan import Limits, Plan, Step
from labrun.protocol.record import dataclass

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the protocol: what `decode` knows, and nothing else."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=8),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        types.NoneType: st.none(),
        Any: JSON,
    }
    if hint in simple:
        return simple[hint]
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(arg) for arg in args])
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[values_of(arg) for arg in args])
    if origin in (dict, Mapping):
        return st.dictionaries(st.text(max_size=8), values_of(args[1]), max_size=3)
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{field.name: values_of(hints[field.name]) for field in dataclasses.fields(hint)})


PLANS = values_of(Plan)
EVENTS = values_of(events.Event)


@settings(max_examples=300)
@given(PLANS)
def test_any_plan_survives_its_json(plan):
    line = dumps(plan)
    assert "\n" not in line
    assert loads(Plan, line) == plan
    assert dumps(loads(Plan, line)) == line


@settings(max_examples=300)
@given(EVENTS)
def test_any_event_survives_its_json(event):
    assert decode(events.Event, json.loads(dumps(event))) == event


@given(PLANS)
def test_a_digest_is_of_all_but_itself(plan):
    sealed = plan.sealed()
    assert sealed == dataclasses.replace(sealed, digest="x").sealed()
    assert sealed.digest != dataclasses.replace(sealed, seed=sealed.seed + 1).sealed().digest


@given(JSON)
def test_other_json_is_a_protocol_error_or_what_it_says(value):
    for kind in (Plan, events.Event):
        try:
            decoded = decode(kind, value)
        except ProtocolError:
            continue
        assert decode(kind, encode(decoded)) == decoded


@given(st.text(max_size=30) | st.binary(max_size=30))
def test_other_text_is_a_protocol_error(text):
    try:
        loads(Plan, text)
    except ProtocolError as error:
        assert str(error)
    else:  # pragma: no cover
        pytest.fail("a plan out of nothing")


@settings(max_examples=200)
@given(EVENTS, st.data())
def test_an_event_that_was_tampered_with_is_refused_or_still_an_event(event, data):
    tree = encode(event)
    at: Any = tree
    key = data.draw(st.sampled_from(sorted(at)))
    while isinstance(at[key], dict) and at[key] and data.draw(st.booleans()):
        at, key = at[key], data.draw(st.sampled_from(sorted(at[key])))
    at[key] = data.draw(JSON)
    try:
        decoded = decode(events.Event, tree)
    except ProtocolError:
        return
    assert decode(events.Event, encode(decoded)) == decoded


STEP = {"id": "a", "action": {"kind": "run", "argv": ["x"]}}
PLAN = {"lab": "l", "variant": "v", "steps": [STEP], "nodes": []}


def changed(**changes: object) -> str:
    return json.dumps({**PLAN, **changes})


def test_defaults_may_be_left_out():
    plan = loads(Plan, json.dumps(PLAN))
    assert plan == Plan("l", "v", (Step("a", actions.Run(("x",))),), ())
    assert plan.limits == Limits()


REFUSED = {
    "an unknown key": (changed(colour="red"), "$: unknown key 'colour' for Plan"),
    "a missing key": ("{}", "$: Plan: without lab, variant, steps, nodes"),
    "a list for an object": ("[]", "$: an object is needed, got list"),
    "text for a number": (changed(seed="0"), "$.seed: int is needed, got str"),
    "true for a number": (changed(seed=True), "$.seed: int is needed, got bool"),
    "a float for an integer": (changed(seed=1.0), "$.seed: int is needed, got float"),
    "null for text": (changed(lab=None), "$.lab: str is needed, got NoneType"),
    "an object for a list": (changed(nodes={}), "$.nodes: a list is needed, got dict"),
    "text for a list": (changed(nodes="host"), "$.nodes: a list is needed, got str"),
    "a number in a list of text": (changed(nodes=["a", 1]), "$.nodes[1]: str is needed, got int"),
    "an unknown kind": (changed(steps=[{**STEP, "action": {"kind": "rm"}}]), "$.steps[0].action: unknown kind 'rm'"),
    "a kind that is a list": (changed(steps=[{**STEP, "action": {"kind": [[]]}}]),
                              "$.steps[0].action: unknown kind [[]]"),
    "no kind": (changed(steps=[{**STEP, "action": {"argv": ["x"]}}]), "$.steps[0].action: the kind is missing"),
    "no action": (changed(steps=[{**STEP, "action": None}]), "$.steps[0].action: null is not allowed"),
    "a word that is not one of them": (changed(steps=[{**STEP, "phase": "later"}]),
                                       "$.steps[0].phase: 'later' is none of ('topology', 'lab')"),
    "a list for a word": (changed(steps=[{**STEP, "phase": ["lab"]}]),
                          "$.steps[0].phase: ['lab'] is none of ('topology', 'lab')"),
    "not a number": ('{"a": NaN}', "not JSON: NaN is not a number in JSON"),
    "infinity": ('{"a": -Infinity}', "not JSON: -Infinity is not a number in JSON"),
    "a float without end": ('{"a": 1e999}', "not JSON: 1e999 is too large"),
    "nothing": ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
    "two values": ("{}{}", "not JSON: Extra data: line 1 column 3 (char 2)"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_protocol_is_refused_with_its_place(text, said):
    with pytest.raises(ProtocolError) as caught:
        loads(Plan, text)
    assert str(caught.value) == said


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "9" * 100_000, b"\xff\xfe", b"\x00"])
def test_absurd_json_is_a_protocol_error(text):
    with pytest.raises(ProtocolError, match="not JSON"):
        parse(text)


def test_a_message_about_huge_values_is_short():
    with pytest.raises(ProtocolError) as caught:
        loads(Plan, changed(steps=[{**STEP, "phase": "x" * 100_000}]))
    assert len(str(caught.value)) < 200


def fault(detail: object) -> dict[str, object]:
    return {"kind": "fault", "t_ns": 0, "code": "c", "message": "m", "detail": detail}


def test_free_form_values_may_have_a_key_named_kind():
    assert decode(events.Event, fault({"kind": "x"})) == events.Fault(0, "c", "m", detail={"kind": "x"})


def test_free_form_values_nest_so_deep_that_they_can_be_written_again():
    detail: object = 1
    for _ in range(MAX_DEPTH):
        detail = {"a": detail}
    assert dumps(decode(events.Event, fault(detail)))
    with pytest.raises(ProtocolError, match="nested more than"):
        decode(events.Event, fault({"a": [detail]}))


def test_lone_surrogates_cannot_get_into_a_file():
    event = decode(events.Event, parse('{"kind":"fault","t_ns":0,"code":"c","message":"a\\ud800b","detail":'
                                       '{"\\udfff":["\\ud800"]}}'))  # fmt: skip
    assert event == events.Fault(0, "c", "a\ufffdb", detail={"\ufffd": ["\ufffd"]})
    assert decode(events.Event, fault({"a": "\U0001f600 ä"})).detail == {"a": "\U0001f600 ä"}


def test_none_is_left_out_only_where_it_is_the_default():
    event = events.ProcessEnded("s", 0, 0, True, None, None, events.Output("a", 0, 0), events.Output("b", 0, 0))
    assert json.loads(dumps(event))["exit"] is None
    assert "message" not in json.loads(dumps(events.StepEnded("s", 0, 0, "ok")))


def test_an_integer_may_stand_for_a_float():
    timeout = loads(Plan, changed(steps=[{**STEP, "timeout_s": 2}])).steps[0].timeout_s
    assert (timeout, type(timeout)) == (2.0, float)


@dataclass(frozen=True, slots=True)
class _Wide:
    one: int
    two: int
    three: str


def test_threads_that_decode_a_class_for_the_first_time_do_not_see_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sandboxes of a run send their first event of a kind at the same time."""
    wanted = {"one": 1, "two": 2, "three": "x"}
    others: list[_Wide] = []
    original = codec._decoder

    made: list[Any] = []

    def interrupted(cls: Any) -> Any:
        """Another thread comes in between when the second field's decoder is made."""
        if cls in (int, str) and threading.current_thread() is threading.main_thread():
            made.append(cls)
        if len(made) == 2 and not others:
            made.clear()
            thread = threading.Thread(target=lambda: others.append(loads(_Wide, json.dumps(wanted))))
            thread.start()
            thread.join()
        return original(cls)

    monkeypatch.setattr(codec, "_decoder", interrupted)
    assert loads(_Wide, json.dumps(wanted)) == _Wide(1, 2, "x")
    assert others == [_Wide(1, 2, "x")]
