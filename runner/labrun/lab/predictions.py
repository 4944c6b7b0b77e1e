"""What a hypothesis predicts: typed matchers over observations, and the operators that compare.

Only the shape is here; `judge` gives it meaning. A prediction that asserts nothing is an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from labrun.lab.base import Regex, Scalar, Slug, Strict, fail
from labrun.lab.problems import did_you_mean


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fail("number", f"a number is needed, not {value!r}")
    return value


Number = Annotated[int | float, BeforeValidator(_number, json_schema_input_type=int | float)]


class Check(Strict):
    """Operators on one value; all that are given must hold. A bare value means ``equals``."""

    equals: Scalar | None = None
    contains: str | None = None
    lacks: str | None = None
    matches: Regex | None = None
    one_of: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    ge: Number | None = None
    le: Number | None = None
    gt: Number | None = None
    lt: Number | None = None

    @model_validator(mode="after")
    def _asserts(self) -> Check:
        if not self.operators():
            raise fail("empty", f"no operator: this asserts nothing. Give one of {', '.join(type(self).model_fields)}")
        return self

    def operators(self) -> dict[str, Any]:
        """Operator name -> expected value, in a fixed order."""
        given = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in given if value is not None}


def _check(value: object) -> object:
    return value if isinstance(value, dict | Check) else {"equals": value}


class TextCheck(Check):
    """On text: a final line break does not count. ``contains``, ``lacks`` and ``matches`` search anywhere."""

    equals: str | None = None
    one_of: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _text_only(self) -> TextCheck:
        ordered = [name for name in ("ge", "le", "gt", "lt") if getattr(self, name) is not None]
        if ordered:
            raise fail("operator", f"{ordered[0]} compares numbers; this is text")
        return self


class NumberCheck(Check):
    equals: Number | None = None
    one_of: Annotated[tuple[Number, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _numbers_only(self) -> NumberCheck:
        texts = [name for name in ("contains", "lacks", "matches") if getattr(self, name) is not None]
        if texts:
            raise fail("operator", f"{texts[0]} compares text; this is a number")
        return self


TextTest = Annotated[TextCheck, BeforeValidator(_check, json_schema_input_type=str | TextCheck)]
NumberTest = Annotated[NumberCheck, BeforeValidator(_check, json_schema_input_type=int | float | NumberCheck)]
AnyTest = Annotated[Check, BeforeValidator(_check, json_schema_input_type=Scalar | Check)]


class CommandIs(Strict):
    """What a command did: its exit status (a process ended by signal N counts as 128+N) and its outputs."""

    command: Slug
    exit: NumberTest | None = None
    stdout: TextTest | None = None
    stderr: TextTest | None = None

    @model_validator(mode="after")
    def _asserts(self) -> CommandIs:
        if self.exit is None and self.stdout is None and self.stderr is None:
            raise fail("empty", "command: this asserts nothing. Give exit, stdout or stderr")
        return self


class ChangeIs(Strict):
    """What the kernel said to a typed change that may fail: ``errno`` is a name such as EEXIST, or none."""

    change: Slug
    errno: TextTest


class Window(Strict):
    """From the start of one step to the end of another (or the same)."""

    start: Slug = Field(alias="from")
    end: Slug = Field(alias="to")


def _window(value: object) -> object:
    return {"from": value, "to": value} if isinstance(value, str) else value


class PacketSelector(Strict):
    """Packets of a capture. ``on``: node.interface, or node.any for all captured interfaces of the node.

    ``during``: a step (from its start to its end), or {from: step, to: step}; without it, the whole capture.
    ``match``: a pcap-filter expression. ``capture``: the step, where more than one captures there.
    """

    on: str
    during: Annotated[Window, BeforeValidator(_window, json_schema_input_type=str | Window)] | None = None
    match: str | None = None
    direction: Literal["in", "out"] | None = None
    capture: Slug | None = None


class PacketsAre(Strict):
    """How many packets there are. Absence is judged only from a capture that was healthy all the time."""

    packets: PacketSelector
    count: NumberTest


StateKind = Literal["links", "addresses", "routes", "rules", "neighbours", "sockets", "nft"]


class StateSelector(Strict):
    """Objects of a snapshot: those whose fields pass every check of ``where``."""

    at: Slug
    node: Slug | None = Field(default=None, alias="in")
    where: dict[str, AnyTest] = {}


class StateIs(Strict):
    """How many objects of the kernel's state there are, or what each of them is like."""

    links: StateSelector | None = None
    addresses: StateSelector | None = None
    routes: StateSelector | None = None
    rules: StateSelector | None = None
    neighbours: StateSelector | None = None
    sockets: StateSelector | None = None
    nft: StateSelector | None = None
    count: NumberTest | None = None
    each: Annotated[dict[str, AnyTest], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _asserts(self) -> StateIs:
        if all(getattr(self, kind) is None for kind in STATE_KINDS):
            raise fail("empty", "which snapshot? Give at: STEP")
        if self.count is None and self.each is None:
            raise fail("empty", f"{self.kind}: this asserts nothing. Give count, or each: {{field: check}}")
        return self

    @property
    def kind(self) -> StateKind:
        return next(kind for kind in STATE_KINDS if getattr(self, kind) is not None)

    @property
    def selector(self) -> StateSelector:
        selector: StateSelector = getattr(self, self.kind)
        return selector


STATE_KINDS: tuple[StateKind, ...] = ("links", "addresses", "routes", "rules", "neighbours", "sockets", "nft")


class AllOf(Strict):
    all: Annotated[tuple[Prediction, ...], Field(min_length=1)]


class AnyOf(Strict):
    any: Annotated[tuple[Prediction, ...], Field(min_length=1)]


class Not(Strict):
    not_: Prediction = Field(alias="not")


_SELECTORS = ("all", "any", "not", "command", "change", "packets", *STATE_KINDS)


def _one_selector(value: object) -> object:
    """Says what is wrong before the union does, whose words are about tags."""
    if not isinstance(value, dict):
        return value
    given = [key for key in value if key in _SELECTORS]
    if len(given) > 1:
        raise fail("selector", f"one thing at a time: {', '.join(given)} are given; join them with all: or any:")
    if not given:
        hint = did_you_mean(str(next(iter(value), "")), _SELECTORS)
        text = f"a prediction needs one of {', '.join(_SELECTORS)}."
        raise fail("selector", text + (hint if hint.startswith(" Did") else ""))
    return value


# Tags begin with "=" so that they never look like a key of the file in an error's location.
_TAGS: dict[Any, str] = {
    AllOf: "=all",
    AnyOf: "=any",
    Not: "=not",
    CommandIs: "=command",
    ChangeIs: "=change",
    PacketsAre: "=packets",
    StateIs: "=state",
}


def _tag(value: Any) -> str | None:
    if not isinstance(value, dict):
        return _TAGS.get(type(value))
    selector = next(key for key in value if key in _SELECTORS)
    return "=state" if selector in STATE_KINDS else f"={selector}"


Prediction = Annotated[
    Annotated[AllOf, Tag("=all")]
    | Annotated[AnyOf, Tag("=any")]
    | Annotated[Not, Tag("=not")]
    | Annotated[CommandIs, Tag("=command")]
    | Annotated[ChangeIs, Tag("=change")]
    | Annotated[PacketsAre, Tag("=packets")]
    | Annotated[StateIs, Tag("=state")],
    Discriminator(
        _tag,
        custom_error_type="prediction",
        custom_error_message="a prediction is a mapping such as {command: STEP, exit: 0}",
    ),
    BeforeValidator(_one_selector),
]

for _model in (AllOf, AnyOf, Not, PacketSelector):
    _model.model_rebuild()


def leaves(prediction: Prediction, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every leaf with its path in the lab file, in reading order."""
    if isinstance(prediction, AllOf):
        return [leaf for i, child in enumerate(prediction.all) for leaf in leaves(child, (*path, "all", i))]
    if isinstance(prediction, AnyOf):
        return [leaf for i, child in enumerate(prediction.any) for leaf in leaves(child, (*path, "any", i))]
    if isinstance(prediction, Not):
        return leaves(prediction.not_, (*path, "not"))
    return [(path, prediction)]
