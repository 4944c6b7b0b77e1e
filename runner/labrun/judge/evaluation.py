"""How every leaf of a prediction tells what it found: both sides, the operator, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labrun.evidence.ref import Ref
from labrun.judge.results import Evaluation, Truth
from labrun.lab.predictions import Check
from labrun.logic.compare import Untold, all_of, any_of, holds
from labrun.observe.unknown import Unknown, untold

SYMBOLS = {"equals": "==", "ge": ">=", "le": "<=", "gt": ">", "lt": "<"}
_SHOWN = 200  # characters of an actual value in a message; the evidence has all of it


def join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def joined(path: str, word: str, subject: str, children: tuple[Evaluation, ...]) -> Evaluation:
    truths = [child.truth for child in children]
    truth = any_of(truths) if word == "any" else all_of(truths)
    reason = next((child.reason for child in children if child.truth is None), None) if truth is None else None
    return Evaluation(path, subject, truth, word, reason=reason, children=children)


def several(path: str, subject: str, traces: list[Evaluation]) -> Evaluation:
    """Several checks on one subject: one node, or a branch over them."""
    return traces[0] if len(traces) == 1 else joined(path, "all", subject, tuple(traces))


def unknown(path: str, subject: str, operator: str | None, expected: str | None, why: Unknown,
             refs: tuple[Ref, ...] = ()) -> Evaluation:  # fmt: skip
    return Evaluation(path, subject, None, operator, expected, None, why.code, why.message, refs)


def compared(path: str, subject: str, operator: str, expected: Any, actual: Any, truth: Truth,
              refs: tuple[Ref, ...], doubt: Unknown | None = None) -> Evaluation:  # fmt: skip
    shown_expected, shown_actual = show(expected), show(actual)
    symbol = SYMBOLS.get(operator, operator)
    message = f"{subject} {symbol} {shown_expected}, actual {shown_actual}"
    if refs:
        message += f" ({', '.join(str(ref) for ref in refs)})"
    reason = None
    if truth is None:
        mismatch = Unknown("type-mismatch", f"{operator} cannot compare {shown_actual} with {shown_expected}")
        doubt = doubt or (untold(subject) if isinstance(actual, Untold) else mismatch)
        reason, message = doubt.code, f"{message}; {doubt.message}"
    return Evaluation(path, subject, truth, operator, shown_expected, shown_actual, reason, message, refs)


def times(counts: Mapping[str, int]) -> str:
    """`refuted once, supported 3 times`."""
    return ", ".join(f"{what} {'once' if count == 1 else f'{count} times'}" for what, count in counts.items())


def show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN else value[:_SHOWN] + f"... ({len(value)} characters)"
        return f'"{text}"'
    return str(value)


def conditions(where: Mapping[str, Check]) -> str:
    """`` where name == "lo" and up == true``; nothing for no conditions."""
    told = [
        f"{field} {SYMBOLS.get(operator, operator)} {show(expected)}"
        for field, check in where.items()
        for operator, expected in check.operators().items()
    ]
    return f" where {' and '.join(told)}" if told else ""


def checks(path: str, subject: str, check: Check, actual: Any, refs: tuple[Ref, ...]) -> list[Evaluation]:
    return [
        compared(join(path, operator), subject, operator, expected, actual, holds(operator, actual, expected), refs)
        for operator, expected in check.operators().items()
    ]


def unknowns(path: str, subject: str, check: Check, why: Unknown, refs: tuple[Ref, ...] = ()) -> list[Evaluation]:
    """Every operator of a check, of which nothing is known."""
    return [
        unknown(join(path, operator), subject, operator, show(expected), why, refs)
        for operator, expected in check.operators().items()
    ]
