"""What a hypothesis predicts: typed matchers over observations, and the operators that compare.

Only the shape is here; `judge` gives it meaning. A prediction that asserts nothing is an error.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from labrun.lab.base import (
    Duration,
    Flag,
    Interface,
    Regex,
    Scalar,
    Slug,
    Strict,
    ValueName,
    author_check,
    fail,
    is_reference,
)
from labrun.lab.check.satisfiable import Numbers, contradiction, known, outcomes, text_contradiction, told
from labrun.lab.expression import check_expression, parse_expression
from labrun.logic.suggest import did_you_mean
from labrun.protocol.traces import HOOKS, STATION

ReferenceText = Annotated[str, Field(pattern=r"^\$\{[a-z_][a-z0-9_]{0,31}\}$")]


def _number(value: object) -> object:
    if is_reference(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fail("number", f"a number is needed, not {value!r}")
    return value


Number = Annotated[int | float | str, BeforeValidator(_number, json_schema_input_type=int | float | ReferenceText)]


_ANY_TEXT = ("", "a", "0", " ", "-\tZ.", "\x00é\nb 1\n")  # with nothing in common


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

    @author_check
    def _asserts(self) -> Check:
        if not self.operators():
            raise fail("empty", f"no operator: this asserts nothing. Give one of {', '.join(type(self).model_fields)}")
        if "" in (self.contains, self.lacks):
            raise fail("empty", "every text contains the empty one: this asserts nothing")
        if self.matches is not None and all(re.search(self.matches, text) for text in _ANY_TEXT):
            raise fail("empty", f"every text matches {self.matches!r}: this asserts nothing")
        if (impossible := contradiction(self.operators())) is not None:
            raise fail("never", impossible)
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

    @author_check
    def _text_only(self) -> TextCheck:
        ordered = [name for name in ("ge", "le", "gt", "lt") if getattr(self, name) is not None]
        if ordered:
            raise fail("operator", f"{ordered[0]} compares numbers; this is text")
        if (impossible := text_contradiction(self.operators())) is not None:
            raise fail("never", impossible)
        return self


class NumberCheck(Check):
    equals: Number | None = None
    one_of: Annotated[tuple[Number, ...], Field(min_length=1)] | None = None

    @author_check
    def _numbers_only(self) -> NumberCheck:
        texts = [name for name in ("contains", "lacks", "matches") if getattr(self, name) is not None]
        if texts:
            raise fail("operator", f"{texts[0]} compares text; this is a number")
        return self


class CountCheck(NumberCheck):
    """Of something that is counted, and so is a whole number from 0 on."""

    @author_check
    def _countable(self) -> CountCheck:
        _possible(self, "a count", Numbers(0))
        return self


class ExitCheck(NumberCheck):
    """Of an exit status: a whole number from 0 to 255."""

    @author_check
    def _status(self) -> ExitCheck:
        _possible(self, "an exit status", Numbers(0, 255))
        return self


class DurationCheck(NumberCheck):
    """Of a time in seconds."""

    @author_check
    def _time(self) -> DurationCheck:
        _possible(self, "a duration", Numbers(0, whole=False))
        return self


def _possible(check: NumberCheck, what: str, numbers: Numbers) -> None:
    """Refuses what no such number fulfils, and what all of them do."""
    given = check.operators()
    fixed = known(given)
    for value in (*fixed.get("one_of", ()), *([fixed["equals"]] if "equals" in fixed else [])):
        if not numbers.has(value):
            raise fail("never", f"{what} is never {value}")
    found = outcomes(fixed, numbers.samples(fixed))
    if found == {False}:
        raise fail("never", f"{what} is never {told(fixed)}")
    if found == {True} and fixed == given:
        raise fail("empty", f"{what} is always {told(fixed)}: this asserts nothing")


def _one_at_least(count: CountCheck | None, other: str | None, least: int = 1) -> None:
    """What is said of each needs one: a count that allows none of them, or too few, can never be true beside it."""
    given = known(count.operators()) if count is not None and other is not None else {}
    if given and outcomes(given, Numbers(least).samples(given)) == {False}:
        raise fail("never", f"{other} needs {least} at least, and the count is {told(given)}: this can never be true")


TextTest = Annotated[TextCheck, BeforeValidator(_check, json_schema_input_type=str | TextCheck)]
CountTest = Annotated[CountCheck, BeforeValidator(_check, json_schema_input_type=int | CountCheck)]
ExitTest = Annotated[ExitCheck, BeforeValidator(_check, json_schema_input_type=int | ExitCheck)]
DurationTest = Annotated[DurationCheck, BeforeValidator(_check, json_schema_input_type=int | float | DurationCheck)]
AnyTest = Annotated[Check, BeforeValidator(_check, json_schema_input_type=Scalar | Check)]


Fields = Annotated[dict[str, AnyTest], Field(min_length=1)]


def _jmespath(expressions: dict[str, Any]) -> dict[str, Any]:
    import jmespath
    from jmespath.exceptions import JMESPathError

    for expression in expressions:
        try:
            jmespath.compile(expression)
        except JMESPathError as error:
            text = " ".join(str(error).split())
            raise fail("jmespath", f"not a JMESPath expression: {expression!r}: {text}") from error
    return expressions


class CommandIs(Strict):
    """What a command did: its exit status (a process ended by signal N counts as 128+N) and its outputs.

    ``json``: stdout as JSON, JMESPath expression -> check. ``duration``: seconds from the step's start to its end.
    """

    command: Slug
    exit: ExitTest | None = None
    stdout: TextTest | None = None
    stderr: TextTest | None = None
    json_: Annotated[Fields, AfterValidator(_jmespath)] | None = Field(default=None, alias="json")
    duration: DurationTest | None = None

    @author_check
    def _asserts(self) -> CommandIs:
        if all(getattr(self, name) is None for name in ("exit", "stdout", "stderr", "json_", "duration")):
            raise fail("empty", "command: this asserts nothing. Give exit, stdout, stderr, json or duration")
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
    ``match``: a pcap-filter expression. ``fields``: checks by Wireshark's field names, such as ip.ttl; all are about
    the outermost headers, as ``match`` is. ``inner``: the same of a packet that a tunnel carries in it; ``quoted``: of
    the packet that an ICMP error quotes. ``capture``: the step, where more than one captures there.
    """

    on: str
    during: Annotated[Window, BeforeValidator(_window, json_schema_input_type=str | Window)] | None = None
    match: str | None = None
    fields: Fields | None = None
    inner: Fields | None = None
    quoted: Fields | None = None
    direction: Literal["in", "out"] | None = None
    capture: Slug | None = None

    @property
    def place(self) -> tuple[str, str]:
        """(node, interface), of which the second may have dots of its own."""
        node, _, interface = self.on.partition(".")
        return node, interface

    def checks(self) -> dict[Literal["fields", "inner", "quoted"], dict[str, Check]]:
        """The field checks by the headers that they are about."""
        return {"fields": self.fields or {}, "inner": self.inner or {}, "quoted": self.quoted or {}}

    def may_mean(self, step: str, node: str | None, interfaces: Sequence[str]) -> bool:
        """Does this capture step look where the selector asks? A lab must have exactly one that does."""
        where, interface = self.place
        there = node == where and (interface in interfaces or "any" in (interface, *interfaces))
        return there and self.capture in (None, step)


class PacketsAre(Strict):
    """How many packets there are, or where each of them was seen.

    Absence is judged only from a capture that was healthy all the time. ``seen_on``: every selected packet was seen on
    just these interfaces, once on each, in this order; the same packet is told by its content. ``nat``: what address
    translation changes does not count as content.
    """

    packets: PacketSelector
    count: CountTest | None = None
    seen_on: Annotated[tuple[Interface, ...], Field(min_length=1)] | None = None
    nat: Flag = False

    @author_check
    def _asserts(self) -> PacketsAre:
        if self.count is None and self.seen_on is None:
            raise fail("empty", "packets: this asserts nothing. Give count or seen_on")
        if self.seen_on is not None and not self.packets.on.endswith(".any"):
            raise fail("seen_on", "seen_on looks at all interfaces of a node: packets: {on: NODE.any, ...}")
        if self.seen_on is not None and len(self.seen_on) == 1:
            raise fail("seen_on", "seen_on is about the way of a packet: two interfaces at least; on one, give count")
        _one_at_least(self.count, "seen_on" if self.seen_on is not None else None, len(self.seen_on or ()))
        return self


StateKind = Literal["links", "addresses", "routes", "rules", "neighbours", "sockets", "nft", "nft_counters", "counters"]
STATE_KINDS: tuple[StateKind, ...] = (
    "links", "addresses", "routes", "rules", "neighbours", "sockets", "nft", "nft_counters", "counters",
)  # fmt: skip


class StateSelector(Strict):
    """Objects of a snapshot: those whose fields pass every check of ``where``."""

    at: Slug
    node: Slug | None = Field(default=None, alias="in")
    where: dict[str, AnyTest] = {}


def _looks_enough(lasts_s: float, every_s: float, word: str) -> None:
    """One at the beginning and one at the end, at least."""
    if lasts_s < every_s:
        raise fail("time", f"every {every_s:g} s, {word} {lasts_s:g} s: there would be one look alone")


class Eventually(Strict):
    """True at one moment within the time at least. The snapshot is repeated for this; each is kept as evidence.

    The kernel reports changes of links, addresses, routes, rules and neighbours: each is one more look.
    """

    within: Duration
    every: Duration = 0.1

    @author_check
    def _enough(self) -> Eventually:
        _looks_enough(self.within, self.every, "within")
        return self


class Throughout(Strict):
    """At every moment of the time. The snapshot is repeated for this; each is kept as evidence. See `Eventually`."""

    for_: Duration = Field(alias="for")
    every: Duration = 0.1

    @author_check
    def _enough(self) -> Throughout:
        _looks_enough(self.for_, self.every, "for")
        return self


class Timed(Strict):
    """A prediction about a snapshot holds now (the first moment), or as one of these says."""

    eventually: Eventually | None = None
    never: Throughout | None = None
    consistently: Throughout | None = None

    @author_check
    def _one_time(self) -> Timed:
        given = [name for name in ("eventually", "never", "consistently") if getattr(self, name) is not None]
        if len(given) > 1:
            raise fail("time", f"one of eventually, never and consistently; given: {', '.join(given)}")
        return self

    def sampling(self) -> tuple[float, float] | None:
        """(for, every) in seconds that the snapshot must be repeated; None for now."""
        if self.eventually is not None:
            return self.eventually.within, self.eventually.every
        lasting = self.never or self.consistently
        return (lasting.for_, lasting.every) if lasting is not None else None


class StateIs(Timed):
    """How many objects of the kernel's state there are, or what each of them is like."""

    links: StateSelector | None = None
    addresses: StateSelector | None = None
    routes: StateSelector | None = None
    rules: StateSelector | None = None
    neighbours: StateSelector | None = None
    sockets: StateSelector | None = None
    nft: StateSelector | None = None
    nft_counters: StateSelector | None = None
    counters: StateSelector | None = None
    count: CountTest | None = None
    each: Fields | None = None

    @author_check
    def _asserts(self) -> StateIs:
        given = [kind for kind in STATE_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            text = f"{given[0]} needs a mapping such as {{at: SNAPSHOT}}" if given else "a selector needs a mapping"
            raise fail("selector", f"{text}, such as links: {{at: SNAPSHOT}}")
        if self.count is None and self.each is None:
            raise fail("empty", f"{self.kind}: this asserts nothing. Give count, or each: {{field: check}}")
        _one_at_least(self.count, "each" if self.each is not None else None)
        return self

    @property
    def kind(self) -> StateKind:
        return next(kind for kind in STATE_KINDS if getattr(self, kind) is not None)

    @property
    def selector(self) -> StateSelector:
        selector: StateSelector = getattr(self, self.kind)
        return selector


class ChangesSelector(Strict):
    """What differs between two snapshots of a node: objects of one kind, those that pass ``where``."""

    start: Slug = Field(alias="from")
    end: Slug = Field(alias="to")
    of: StateKind
    node: Slug | None = Field(default=None, alias="in")
    where: dict[str, AnyTest] = {}


class ChangesAre(Strict):
    """How many objects were added and removed between two snapshots. One that changed is removed and added."""

    changes: ChangesSelector
    added: CountTest | None = None
    removed: CountTest | None = None

    @author_check
    def _asserts(self) -> ChangesAre:
        if self.added is None and self.removed is None:
            raise fail("empty", "changes: this asserts nothing. Give added or removed")
        return self


class LookupIs(Strict):
    """What the kernel answered to a ``lookup`` step: fields of the route, or its refusal by name (none: a route).

    Of the route that it found for IPv4 it tells no ``protocol``, ``scope``, ``metric``, ``nhid`` and ``flags``.
    """

    lookup: Slug
    route: Fields | None = None
    errno: TextTest | None = None

    @author_check
    def _asserts(self) -> LookupIs:
        if self.route is None and self.errno is None:
            raise fail("empty", "lookup: this asserts nothing. Give route: {field: check}, or errno")
        return self


class SuiteIs(Strict):
    """All tests of a test program passed: TAP, or lines as the kernel's selftests print them, and its exit status.

    Text and exit status must agree, else it is inconclusive, as what was skipped is. ``tests``: the step that runs it.
    ``name``: the test of that name alone. A hypothesis that predicts all of them is also judged for each of them.
    """

    tests: Slug
    name: Annotated[str, Field(min_length=1)] | None = None


class TraceSelector(Strict):
    """Packets of a ``trace`` step: those whose first headers pass every check of ``where``.

    ``where``: source, destination, protocol, sport, dport, icmp_type, icmp_code, ttl.
    """

    at: Slug
    during: Annotated[Window, BeforeValidator(_window, json_schema_input_type=str | Window)] | None = None
    where: dict[str, AnyTest] = {}


def _station(value: str) -> str:
    if value != "drop" and STATION.fullmatch(value) is None:
        hook, at, _ = value.partition("@")
        if hook in HOOKS:
            raise fail("station", f"not a station: {value!r}; after the {at} comes a device, or two as in forward@a>b")
        hint = did_you_mean(hook, (*HOOKS, "drop"))
        raise fail("station", f"not a station: {value!r}; one is a hook, such as prerouting@eth0.{hint}")
    return value


StationText = Annotated[str, AfterValidator(_station)]


class TraceIs(Strict):
    """The hooks that each selected packet crossed, in order: ``path: [prerouting@eth0, forward, postrouting@eth1]``.

    A device that is not written may be any; a last ``drop`` says that it was dropped there. ``ends``: how its way
    ended; ``lost``: the kernel said nothing more of it, as of a packet that routing or a socket refuses. What entered a
    hook and was not seen again is inconclusive: iptables-legacy drops and does not report, a rule may end tracing.
    """

    trace: TraceSelector
    path: Annotated[tuple[StationText, ...], Field(min_length=1)] | None = None
    ends: Literal["accept", "drop", "stolen", "lost"] | None = None
    count: CountTest | None = None

    @author_check
    def _asserts(self) -> TraceIs:
        if self.path is None and self.ends is None and self.count is None:
            raise fail("empty", "trace: this asserts nothing. Give path, ends or count")
        _one_at_least(self.count, "path" if self.path is not None else "ends" if self.ends is not None else None)
        return self


class ValueOf(Strict):
    """A value for an expression: the number of packets or objects, or ``of`` what a command or an object has.

    ``of`` a command: exit, stdout, stderr, number (what it printed, as one), duration, or json: JMESPath. ``of`` a
    state: a field of the one object.
    """

    packets: PacketSelector | None = None
    command: Slug | None = None
    links: StateSelector | None = None
    addresses: StateSelector | None = None
    routes: StateSelector | None = None
    rules: StateSelector | None = None
    neighbours: StateSelector | None = None
    sockets: StateSelector | None = None
    nft: StateSelector | None = None
    nft_counters: StateSelector | None = None
    counters: StateSelector | None = None
    of: str | None = None
    json_: str | None = Field(default=None, alias="json")

    @author_check
    def _one(self) -> ValueOf:
        given = [name for name in ("packets", "command", *STATE_KINDS) if getattr(self, name) is not None]
        if len(given) != 1:
            raise fail("value", "a value is one of packets, command, " + ", ".join(STATE_KINDS))
        if self.command is not None and (self.of is None) == (self.json_ is None):
            raise fail("value", "of a command: give of: exit, stdout, stderr, number or duration; or json: JMESPATH")
        if self.command is not None and self.of not in (None, "exit", "stdout", "stderr", "number", "duration"):
            raise fail("value", f"of: exit, stdout, stderr, number or duration, not {self.of!r}")
        if self.json_ is not None:
            if self.command is None:
                raise fail("value", "json goes with command")
            _jmespath({self.json_: None})
        if self.packets is not None and self.of is not None:
            raise fail("value", "packets are counted: leave `of` out")
        return self

    @property
    def state(self) -> StateKind | None:
        return next((kind for kind in STATE_KINDS if getattr(self, kind) is not None), None)


class ExprIs(Strict):
    """Arithmetic across observations: an expression that must be true, over named values (``let``)."""

    expr: str
    let: Annotated[dict[ValueName, ValueOf], Field(min_length=1)]

    @author_check
    def _valid(self) -> ExprIs:
        problem = check_expression(self.expr, self.let)
        if problem is not None:
            raise fail("expr", problem)
        return self

    @property
    def exits(self) -> dict[str, str]:
        """Name -> command, of the names that stand for a command's exit status."""
        return {name: value.command for name, value in self.let.items() if value.command and value.of == "exit"}

    def named_exits(self) -> set[tuple[str, int]]:
        """(command, exit status) that the expression itself asks for."""
        found: set[tuple[str, int]] = set()
        for node in ast.walk(parse_expression(self.expr)):
            if isinstance(node, ast.Compare) and all(isinstance(sign, ast.Eq | ast.NotEq) for sign in node.ops):
                sides = (node.left, *node.comparators)
                commands = [
                    self.exits[side.id] for side in sides if isinstance(side, ast.Name) and side.id in self.exits
                ]
                codes = [side.value for side in sides if isinstance(side, ast.Constant) and type(side.value) is int]
                found |= {(command, code) for command in commands for code in codes}
        return found


class AllOf(Strict):
    all: Annotated[tuple[Prediction, ...], Field(min_length=1)]


class AnyOf(Strict):
    any: Annotated[tuple[Prediction, ...], Field(min_length=1)]


class Not(Strict):
    not_: Prediction = Field(alias="not")


_SELECTORS = (
    "all", "any", "not", "command", "change", "packets", "changes", "lookup", "tests", "trace", "expr",
    *STATE_KINDS,
)  # fmt: skip


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
    ChangesAre: "=changes",
    LookupIs: "=lookup",
    SuiteIs: "=tests",
    TraceIs: "=trace",
    ExprIs: "=expr",
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
    | Annotated[ChangesAre, Tag("=changes")]
    | Annotated[LookupIs, Tag("=lookup")]
    | Annotated[SuiteIs, Tag("=tests")]
    | Annotated[TraceIs, Tag("=trace")]
    | Annotated[ExprIs, Tag("=expr")]
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


def timed_steps(prediction: Prediction) -> list[str]:
    """The steps whose duration, or whose looks in time, it is about; in reading order."""
    found: list[str] = []
    for _, leaf in leaves(prediction):
        if isinstance(leaf, CommandIs) and leaf.duration is not None:
            found.append(leaf.command)
        elif isinstance(leaf, StateIs) and leaf.sampling() is not None:
            found.append(leaf.selector.at)
        elif isinstance(leaf, ExprIs):
            found += [value.command for value in leaf.let.values() if value.command and value.of == "duration"]
    return list(dict.fromkeys(found))
