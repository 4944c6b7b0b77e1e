"""How every leaf of a prediction tells what it found: both sides, the operator, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from labrun.evidence.ref import Ref
from labrun.judge.results import Evaluation, Subject, Truth
from labrun.lab.predictions import Check
from labrun.logic.compare import SEARCH_S, Several, Spelled, Untold, all_of, any_of, holds
from labrun.logic.visible import ascii_only, look_alike
from labrun.observe.unknown import Unknown

SYMBOLS = {"equals": "==", "ge": ">=", "le": "<=", "gt": ">", "lt": "<"}
IN_TIME = ("eventually", "never", "consistently")
DURATION = "duration in s"
NAMED = ("expr", "seen_on", "path", "ends", "each")  # operators that the subject names already
_SHOWN = 200  # characters of an actual value in a message; the evidence has all of it


def join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def joined(path: str, word: str, subject: Subject | str, children: tuple[Evaluation, ...]) -> Evaluation:
    truths = [child.truth for child in children]
    truth = any_of(truths) if word == "any" else all_of(truths)
    reason = next((child.reason for child in children if child.truth is None), None) if truth is None else None
    return Evaluation(path, of(subject), truth, word, reason=reason, children=children)


def several(path: str, subject: Subject | str, traces: list[Evaluation]) -> Evaluation:
    """Several checks on one subject: one node, or a branch over them."""
    return traces[0] if len(traces) == 1 else joined(path, "all", subject, tuple(traces))


def unknown(path: str, subject: Subject | str, operator: str | None, expected: str | None, why: Unknown,
             refs: tuple[Ref, ...] = ()) -> Evaluation:  # fmt: skip
    return Evaluation(path, of(subject), None, operator, expected, None, why.code, why.message, refs)


def compared(path: str, subject: Subject | str, operator: str, expected: Any, actual: Any, truth: Truth,
              refs: tuple[Ref, ...], doubt: Unknown | None = None) -> Evaluation:  # fmt: skip
    if truth is None and doubt is None:
        mismatch = Unknown("type-mismatch", f"{operator} cannot compare {show(actual)} with {show(expected)}")
        if operator == "matches" and isinstance(actual, str):
            mismatch = Unknown("pattern-too-slow", f"the search for {show(expected)} takes more than {SEARCH_S:g} s")
        doubt = _why(subject, actual) or mismatch
    reason, note = (doubt.code, doubt.message) if truth is None and doubt is not None else (None, None)
    sides = (show(expected), show(actual))
    if isinstance(expected, str) and isinstance(actual, str) and look_alike(sides[0].strip('"'), sides[1].strip('"')):
        sides = (ascii_only(sides[0]), ascii_only(sides[1]))
    return Evaluation(path, of(subject), truth, operator, *sides, reason, note, refs)


def _why(subject: Subject | str, actual: Any) -> Unknown | None:
    """Why a value that is there decides nothing."""
    if isinstance(actual, Untold):
        return Unknown("not-observable", f"{subject}: {actual}")
    if isinstance(actual, Several):
        return Unknown("not-one", f"{subject}: there are several, and they differ: {show(actual)}")
    if isinstance(actual, Spelled):
        return Unknown("not-observable", f"{subject}: it may be written in another way")
    return None


def of(subject: Subject | str) -> Subject:
    return subject if isinstance(subject, Subject) else Subject(subject)


def sentence(node: Evaluation) -> str:
    """Both sides, where to look, and the note: ``exit of probe == 0, actual 2 (.../events.jsonl:5); ...``."""
    if node.operator == "expr":
        return f"{node.subject}, {node.note}"
    if node.operator == "value":  # a part of an expression
        return f"{node.subject} = {node.actual}"
    if node.actual is None:
        return node.note or f"{node.subject}: not observed"
    if node.operator in IN_TIME:
        told = f": {node.note}" if node.note else ""
        return f"{node.subject}: {node.actual}{told}"
    if node.operator == "each":
        return f"{node.subject}: {node.note or node.actual}"
    if node.operator in ("path", "ends"):
        return f"{node.subject} {node.expected}: {node.note or node.actual}"
    symbol = SYMBOLS.get(node.operator or "", node.operator)
    both = f"{symbol} {node.expected}, actual {node.actual}"
    text = f"{node.subject} " + (f"{node.expected}: {node.actual}" if node.operator in NAMED else both)
    if node.refs:
        text += f" ({', '.join(str(ref) for ref in node.refs)})"
    return f"{text}; {node.note}" if node.note else text


def times(counts: Mapping[str, int]) -> str:
    """`refuted once, supported 3 times`."""
    return ", ".join(f"{what} {'once' if count == 1 else f'{count} times'}" for what, count in counts.items())


# As JSON and Python write them: what ends a line, or cannot be seen, is said.
_ESCAPES = {9: "\\t", 13: "\\r", 0: "\\0", 11: "\\v", 12: "\\f", 27: "\\e", 0xA0: "\\u00a0"}


def show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Fraction):
        return _decimal(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN else value[:_SHOWN] + f"... ({len(value)} characters)"
        return f'"{text.translate(_ESCAPES)}"'
    return str(value)


def _decimal(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    try:
        return f"{float(value):.15g}"
    except OverflowError:
        return f"{value.numerator}/{value.denominator}"


def conditions(where: Mapping[str, Check]) -> str:
    """``where name == "lo" and up == true``; nothing for no conditions."""
    shown = [
        f"{field} {SYMBOLS.get(operator, operator)} {show(expected)}"
        for field, check in where.items()
        for operator, expected in check.operators().items()
    ]
    return f"where {' and '.join(shown)}" if shown else ""


def checks(path: str, subject: Subject | str, check: Check, actual: Any, refs: tuple[Ref, ...]) -> list[Evaluation]:
    return [
        compared(join(path, operator), subject, operator, expected, actual, holds(operator, actual, expected), refs)
        for operator, expected in check.operators().items()
    ]


def undecided(node: Evaluation, why: Unknown) -> Evaluation:
    """The same, and nothing in it decides: what was observed is shown."""
    children = tuple(undecided(child, why) for child in node.children)
    if node.truth is None and not children:
        return node
    return replace(node, truth=None, reason=why.code, note=why.message, children=children)


def unknowns(
    path: str, subject: Subject | str, check: Check, why: Unknown, refs: tuple[Ref, ...] = ()
) -> list[Evaluation]:
    """Every operator of a check, of which nothing is known."""
    return [
        unknown(join(path, operator), subject, operator, show(expected), why, refs)
        for operator, expected in check.operators().items()
    ]
