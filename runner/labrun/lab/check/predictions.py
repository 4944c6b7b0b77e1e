"""Does what a prediction names exist, and can it be compared so? Steps, interfaces, windows, fields and their types."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from labrun.lab.base import REFERENCE, is_reference
from labrun.lab.check.known import CHANGES, Found, Known, wrong_step
from labrun.lab.check.satisfiable import Numbers, outcomes, told
from labrun.lab.check.values import errno_misfit, misfit, only_one_way
from labrun.lab.expression import comparisons, unobserved
from labrun.lab.predictions import (
    ChangeIs,
    ChangesAre,
    Check,
    CommandIs,
    CountCheck,
    ExprIs,
    LookupIs,
    NumberCheck,
    PacketsAre,
    StateIs,
    StateKind,
    StateSelector,
    SuiteIs,
    TextCheck,
    TraceIs,
    ValueOf,
    Window,
)
from labrun.lab.text import Keys
from labrun.logic.suggest import did_you_mean
from labrun.protocol.state import (
    AddressState,
    CounterState,
    LinkState,
    NeighbourState,
    NftCounter,
    NftRule,
    RouteState,
    RuleState,
    SocketState,
)


def leaf_problems(leaf: Any, known: Known) -> Found:
    """What is wrong with one leaf of a prediction, with the place below the leaf."""
    return _leaf(leaf, known) + _references(leaf, known)


def _leaf(leaf: Any, known: Known) -> Found:
    if isinstance(leaf, CommandIs):
        return [(("command",), text) for text in wrong_step(leaf.command, ("run", "start"), known)]
    if isinstance(leaf, SuiteIs):
        return [(("tests",), text) for text in wrong_step(leaf.tests, ("run",), known)]
    if isinstance(leaf, ChangeIs):
        return [(("change",), text) for text in wrong_step(leaf.change, CHANGES, known)] + _errno(leaf.errno)
    if isinstance(leaf, PacketsAre):
        return _packets(leaf, known)
    if isinstance(leaf, StateIs):
        return _state(leaf.kind, leaf.selector, known) + _fields(leaf.kind, leaf.each or {}, ("each",), known)
    if isinstance(leaf, ChangesAre):
        return _changes(leaf, known)
    if isinstance(leaf, LookupIs):
        return _lookup(leaf, known)
    if isinstance(leaf, TraceIs):
        return _trace(leaf, known)
    if isinstance(leaf, ExprIs):
        return [item for name, value in leaf.let.items() for item in _value(name, value, known)] + _decided(leaf)
    return []


def _decided(leaf: ExprIs) -> Found:
    """Comparisons of an expression that no such value passes, or every one."""
    found: Found = [(("expr",), f"{text}: this decides nothing") for text in unobserved(leaf.expr)]
    for name, operator, number in comparisons(leaf.expr):
        numbers = _range_of(leaf.let[name])
        results = outcomes({operator: number}, numbers.samples({operator: number})) if numbers is not None else set()
        if len(results) == 1:
            much = "always" if results == {True} else "never"
            found.append((("expr",), f"{name} is {much} {told({operator: number})}: this decides nothing"))
    return found


def _range_of(value: ValueOf) -> Numbers | None:
    """What a name of an expression can be: a count, an exit status, a time; None if it is anything."""
    if value.command is not None:
        return {"exit": Numbers(0, 255), "duration": Numbers(0, whole=False)}.get(value.of or "")
    return Numbers(0) if value.of is None else None


def _references(leaf: Any, known: Known) -> Found:
    """Each ``${name}`` must be a parameter, or be saved by a step, as what the check can compare."""
    found: Found = []
    for check in checks_of(leaf):
        for operator, expected in check.operators().items():
            for item in expected if isinstance(expected, tuple) else (expected,):
                text = _reference(check, operator, item, known) if isinstance(item, str) else None
                if text is not None:
                    found.append(((), text))
    return found


def _reference(check: Check, operator: str, expected: str, known: Known) -> str | None:
    """What is wrong with the ``${name}`` in an expected value. Parameters have been put in before."""
    match = REFERENCE.search(expected)
    if match is None:
        return None
    name = match[1]
    if name not in known.values:
        return f"no step saves '{name}', and it is no parameter.{did_you_mean(name, known.values)}"
    if match[0] != expected:
        return f"'${{{name}}}' is saved while the lab runs: it can be a whole value, not part of a longer text"
    save = known.values[name]
    if save is None:
        return None
    is_text = save.type == "text"
    if is_text and (isinstance(check, NumberCheck) or operator in ("ge", "le", "gt", "lt")):
        return f"'{name}' is saved as text, and a number is needed: give its save `type: int`, or float"
    if not is_text and (isinstance(check, TextCheck) or operator in ("contains", "lacks", "matches")):
        return f"'{name}' is saved as a number ({save.type}), and text is needed: leave its `type` out"
    return None


def checks_of(model: Any) -> list[Check]:
    """Every check inside a model, wherever it is."""
    if isinstance(model, Check):
        return [model]
    if isinstance(model, dict):
        return [check for item in model.values() for check in checks_of(item)]
    if isinstance(model, tuple):
        return [check for item in model for check in checks_of(item)]
    if hasattr(type(model), "model_fields"):
        return [check for name in type(model).model_fields for check in checks_of(getattr(model, name))]
    return []


def _packets(leaf: PacketsAre, known: Known) -> Found:
    found: Found = []
    selector = leaf.packets
    if "." not in selector.on:
        return [(("packets", "on"), f"'{selector.on}' is not node.interface, such as host.lo or host.any")]
    here = {step: names for step, (home, names) in known.captures.items() if selector.may_mean(step, home, names)}
    if not here and selector.capture is not None:
        hint = did_you_mean(selector.capture, known.captures)
        return [(("packets", "capture"), f"no capture step '{selector.capture}' captures on {selector.on}.{hint}")]
    if not here:
        captured = sorted(f"{home}.{name}" for home, names in known.captures.values() for name in names)
        return [(("packets", "on"), f"nothing captures on {selector.on}.{did_you_mean(selector.on, captured)}")]
    if len(here) > 1:
        return [(("packets",), f"{selector.on} is captured by {', '.join(here)}: say which with capture:")]
    capture, interfaces = next(iter(here.items()))
    for index, name in enumerate(leaf.seen_on or ()):
        if name not in interfaces and "any" not in interfaces:
            text = f"'{capture}' does not capture on '{name}'.{did_you_mean(name, interfaces)}"
            found.append((("seen_on", index), text))
    if selector.direction == "out" and selector.place[1] == "lo":
        text = "a packet through lo is kept once, as it comes in: leave direction out, or say in"
        found.append((("packets", "direction"), text))
    if selector.during is None:
        return found
    return found + _window(capture, selector.during, ("packets", "during"), known)


def _window(capture: str, window: Window, where: Keys, known: Known, what: str = "capture") -> Found:
    """Both steps are there, in order, and while the capture (or trace) ran."""
    found: Found = []
    begin, end = window.start, window.end
    for name in dict.fromkeys((begin, end)):
        if name not in known.order:
            found.append((where, f"unknown step '{name}'.{did_you_mean(name, known.order)}"))
    if not found:
        if known.order[begin] > known.order[end]:
            found.append((where, f"step '{begin}' comes after '{end}'"))
        if known.order[begin] <= known.order[capture]:
            text = f"step '{begin}' does not come after '{capture}', which starts the {what}"
            found.append((where, text))
        if known.stopped.get(capture, len(known.order)) <= known.order[end]:
            found.append((where, f"the {what} '{capture}' is stopped before '{end}' ends"))
    return found


def _state(kind: StateKind, selector: StateSelector, known: Known) -> Found:
    wrong = wrong_step(selector.at, ("snapshot",), known)
    if wrong:
        return [((kind, "at"), text) for text in wrong]
    found = _snapshot(selector.at, selector.node, kind, (kind, "at"), (kind,), known)
    return found + _fields(kind, selector.where, (kind, "where"), known)


def _snapshot(at: str, node: str | None, kind: StateKind, where: Keys, base: Keys, known: Known) -> Found:
    """The snapshot keeps this kind, of this node."""
    nodes, parts = known.snapshots[at]
    part = "nft" if kind == "nft_counters" else kind
    found: Found = []
    if part not in parts:
        found.append((where, f"snapshot '{at}' does not keep {part}, only {', '.join(parts)}"))
    if node is None and len(nodes) != 1:
        found.append((base, f"'in' is missing: the state of which node? Snapshot '{at}' has {', '.join(nodes)}"))
    if node is not None and node not in nodes:
        hint = did_you_mean(node, nodes)
        found.append(((*base, "in"), f"snapshot '{at}' does not have node '{node}'.{hint}"))
    return found


OBJECTS: dict[StateKind, type] = {
    "links": LinkState,
    "addresses": AddressState,
    "routes": RouteState,
    "rules": RuleState,
    "neighbours": NeighbourState,
    "sockets": SocketState,
    "nft": NftRule,
    "nft_counters": NftCounter,
    "counters": CounterState,
}


@functools.cache
def state_fields(kind: StateKind) -> dict[str, tuple[type, ...]]:
    """The fields that an object of this kind has, and the types of their values (tuple: a list of texts)."""
    found = {}
    for name, hint in typing.get_type_hints(OBJECTS[kind]).items():
        members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        plain = [str if typing.get_origin(m) is Literal else typing.get_origin(m) or m for m in members]
        found[name] = tuple(member for member in plain if member is not types.NoneType)
    return found


def _fields(kind: StateKind, checks: Mapping[str, Check], where: Keys, known: Known) -> Found:
    fields = state_fields(kind)
    found: Found = []
    for name, check in checks.items():
        if name not in fields:
            found.append(((*where, name), f"unknown field '{name}' of {kind}.{did_you_mean(name, fields)}"))
        else:
            found += [((*where, name), text) for text in _values(kind, name, fields[name], check, known)]
    return found


def _values(kind: str, name: str, field: tuple[type, ...], check: Check, known: Known) -> list[str]:
    """What is wrong with what a field is compared with: its type, or how it is written."""
    found = []
    for operator, expected in check.operators().items():
        text = wrong_type(name, field, operator, expected) or _saved_type(name, field, operator, expected, known)
        text = text or (None if is_reference(expected) else only_one_way(kind, name, operator, expected))
        if text is not None:
            found.append(text)
        elif operator in ("equals", "one_of"):
            written = expected if isinstance(expected, tuple) else (expected,)
            told = (misfit(kind, name, one) for one in written if isinstance(one, str) and not is_reference(one))
            found += [text for text in told if text is not None]
    return found


def _saved_type(name: str, field: tuple[type, ...], operator: str, expected: object, known: Known) -> str | None:
    """A value that a step saves as what this field can never be."""
    match = REFERENCE.fullmatch(expected) if isinstance(expected, str) else None
    save = known.values.get(match[1]) if match is not None else None
    if save is None or match is None or operator not in ("equals", "one_of"):
        return None
    if save.type == "text" and str not in field:
        return f"'{match[1]}' is saved as text, and {name} is a number: give its save `type: int`"
    if save.type != "text" and int not in field and float not in field:
        return f"'{match[1]}' is saved as a number ({save.type}), and {name} is text: leave its `type` out"
    return None


def wrong_type(name: str, field: tuple[type, ...], operator: str, expected: object) -> str | None:
    """Why this operator cannot compare this field; None if it can."""
    if is_reference(expected):
        return None
    if operator in ("ge", "le", "gt", "lt"):
        return None if int in field or float in field else f"{operator} compares numbers; {name} is not one"
    if operator in ("contains", "lacks"):
        return None if str in field or tuple in field else f"{operator} searches text; {name} is a number"
    if operator == "matches":
        return None if str in field else f"matches searches text; {name} is not text"
    for value in expected if isinstance(expected, tuple) else (expected,):
        if not any(_is_a(value, one) for one in field):
            wanted = " or ".join(_NAMES.get(one, one.__name__) for one in field)
            return f"{name} is {wanted}; {value!r} can never be equal"
    return None


_NAMES = {str: "text", int: "a number", bool: "true or false", float: "a number", tuple: "a list"}


def _is_a(value: object, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is wanted


def _value(name: str, value: ValueOf, known: Known) -> Found:
    if value.packets is not None:
        inner = _packets(PacketsAre(packets=value.packets, count=CountCheck(equals=0)), known)
        return [(("let", name, *where), text) for where, text in inner]
    if value.command is not None:
        return [(("let", name, "command"), text) for text in wrong_step(value.command, ("run", "start"), known)]
    kind = value.state
    if kind is None:
        return []
    found = [(("let", name, *where), text) for where, text in _state(kind, getattr(value, kind), known)]
    if value.of is not None and value.of not in state_fields(kind):
        text = f"unknown field '{value.of}' of {kind}.{did_you_mean(value.of, state_fields(kind))}"
        found.append((("let", name, "of"), text))
    return found


def _changes(leaf: ChangesAre, known: Known) -> Found:
    selector = leaf.changes
    found: Found = []
    for key, at in (("from", selector.start), ("to", selector.end)):
        wrong = wrong_step(at, ("snapshot",), known)
        found += [(("changes", key), text) for text in wrong]
        if not wrong:
            found += _snapshot(at, selector.node, selector.of, ("changes", key), ("changes",), known)
    if not found and known.order[selector.start] >= known.order[selector.end]:
        found.append((("changes", "to"), f"snapshot '{selector.end}' does not come after '{selector.start}'"))
    return found + _fields(selector.of, selector.where, ("changes", "where"), known)


def _errno(check: Check) -> Found:
    names = check.one_of or ((check.equals,) if check.equals is not None else ())
    told = (errno_misfit(str(name)) for name in names if not is_reference(name))
    return [(("errno",), text) for text in told if text is not None]


ASKED = ("dst", "source", "tos", "nexthops")
"""What an answer to a lookup has of the question; of several ways it has the one."""


def _lookup(leaf: LookupIs, known: Known) -> Found:
    found: Found = [(("lookup",), text) for text in wrong_step(leaf.lookup, ("lookup",), known)]
    found += _errno(leaf.errno) if leaf.errno is not None else []
    for field in leaf.route or {}:
        if field in ASKED:
            text = f"of a lookup, {field} is what was asked for, and not the route's: leave it out"
            found.append((("route", field), text))
    return found + _fields("routes", leaf.route or {}, ("route",), known)


_TRACED: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("source", "destination", "protocol"), (str,)),
    **dict.fromkeys(("sport", "dport", "icmp_type", "icmp_code", "ttl"), (int,)),
}


def _trace(leaf: TraceIs, known: Known) -> Found:
    found: Found = [(("trace", "at"), text) for text in wrong_step(leaf.trace.at, ("trace",), known)]
    for name, check in leaf.trace.where.items():
        if name not in _TRACED:
            found.append(
                (("trace", "where", name), f"unknown field '{name}' of traced packets.{did_you_mean(name, _TRACED)}")
            )
            continue
        found += [(("trace", "where", name), text) for text in _values("trace", name, _TRACED[name], check, known)]
    if found or leaf.trace.during is None:
        return found
    return _window(leaf.trace.at, leaf.trace.during, ("trace", "during"), known, "trace")
