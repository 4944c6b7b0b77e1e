"""Arithmetic across observations: the whitelisted tree walked, the value of every sub-expression in the trace.

Unknown is contagious, except where the known side decides (False and unknown is False). Dividing by zero, and
comparing what cannot be compared, give unknown: no error is ever a refutation.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

from labrun.evidence.record import VariantRecord
from labrun.judge.evaluation import join, show
from labrun.judge.results import Evaluation, Subject
from labrun.lab.expression import parse_expression
from labrun.lab.predictions import ExprIs, ValueOf
from labrun.logic.compare import (
    Several,
    Spelled,
    Truth,
    Untold,
    all_of,
    any_of,
    contains,
    equal,
    exact,
    kind,
    negate,
    ordered,
)  # fmt: skip
from labrun.observe.commands import Ended, duration_s, observe_command, read_text
from labrun.observe.jsonpath import search_json
from labrun.observe.outcome import Accounts
from labrun.observe.packets import observe_packets
from labrun.observe.states import observe_objects
from labrun.observe.unknown import Unknown

Value = int | float | Fraction | str | bool
_MAX_TEXT = 10_000_000
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: lambda a, b: Fraction(a) / b,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], Truth]] = {
    ast.Eq: equal, ast.NotEq: lambda a, b: negate(equal(a, b)), ast.In: lambda a, b: contains(b, a),
    ast.NotIn: lambda a, b: negate(contains(b, a)),
    **{node: partial(ordered, name)
       for node, name in ((ast.Lt, "lt"), (ast.LtE, "le"), (ast.Gt, "gt"), (ast.GtE, "ge"))},
}  # fmt: skip
_MAX_BITS = 10_000  # of a whole number, as JSON may have them; what multiplies stays small, and can be shown
_MAX_DIGITS = 300  # a float has no more


def _round(value: Any, digits: int = 0) -> Any:
    """As Python's, but whole numbers of digits that a number can have: round(1, -10**9) would never end."""
    if not -_MAX_DIGITS <= digits <= _MAX_DIGITS:
        raise ValueError(f"round to {digits} digits")
    return round(value, digits) if digits else round(value)


class _Mismatch(TypeError):
    """A function of numbers was given something else."""


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of numbers only: the largest of two texts would be the last in the alphabet."""

    def call(*arguments: Any) -> Any:
        if any(kind(argument) != "number" for argument in arguments):
            raise _Mismatch(f"{function.__name__.strip('_')} needs numbers")
        return function(*arguments)

    return call


_CALLS: dict[str, Callable[..., Any]] = {
    "abs": _numbers(abs),
    "min": _numbers(min),
    "max": _numbers(max),
    "round": _numbers(_round),
    "len": len,
}


def evaluate_expression(
    leaf: ExprIs, variant: VariantRecord, prefix: str, path: str, accounts: Accounts | None = None
) -> Evaluation:
    own = accounts or Accounts.of((leaf,))
    company: dict[str, None] = {}
    values = {name: _exactly(_value(value, variant, prefix, own, company)) for name, value in leaf.let.items()}
    children: list[Evaluation] = []
    result = _walk(parse_expression(leaf.expr), values, join(path, "expr"), children)
    truth = None if isinstance(result, Unknown) else bool(result)
    told = ", ".join(f"{name} = {_told(value)}" for name, value in values.items())
    note = "; ".join((f"where {told}", *company))
    reason = result.code if isinstance(result, Unknown) else None
    if isinstance(result, Unknown):
        note += f"; {result.message}"
    return Evaluation(
        path, Subject(leaf.expr), truth, "expr", "true", _told(result), reason, note, children=tuple(children),
    )  # fmt: skip


def _exactly(value: Any) -> Any:
    """Decimal fractions as what they say: 0.1 + 0.2 is 0.3."""
    number = exact(value) if isinstance(value, float) else None
    return value if number is None else number


def _told(value: Value | Unknown) -> str:
    return f"unknown ({value.message})" if isinstance(value, Unknown) else show(value)


def _value(
    value: ValueOf, variant: VariantRecord, prefix: str, accounts: Accounts, company: dict[str, None]
) -> Value | Unknown:
    """What a name of ``let`` stands for. A count that is only known as a range is unknown here.

    ``company``: gets why packets need not be because of the steps that were asked for.
    """
    if value.packets is not None:
        seen = observe_packets(variant, value.packets, prefix)
        if isinstance(seen, Unknown):
            return seen
        if seen.count.low != seen.count.high:
            assert seen.doubt is not None  # it says why the count is a range
            return seen.doubt
        company |= dict.fromkeys([seen.company] if seen.company is not None else [])
        return seen.count.low
    if value.command is not None:
        return _of_command(value, value.command, variant, prefix, accounts)
    what = value.state
    assert what is not None
    objects = observe_objects(variant, what, getattr(value, what), prefix)
    if isinstance(objects, Unknown):
        return objects
    if objects.doubt is not None:
        return objects.doubt
    if value.of is None:
        return len(objects.found)
    if len(objects.found) != 1:
        return Unknown("not-one", f"`of` needs one object, there are {len(objects.found)} of {what}")
    found = objects.found[0].value.get(value.of)
    if isinstance(found, Untold | Spelled | Several):
        return Unknown("not-observable", f"{value.of} of {what}: {show(found)}")
    if not isinstance(found, int | float | str):
        return Unknown("type-mismatch", f"{value.of} of {what} is {show(found)}, neither a number nor a text")
    return found


def _of_command(
    value: ValueOf, command: str, variant: VariantRecord, prefix: str, accounts: Accounts
) -> Value | Unknown:
    ended = observe_command(variant, command, accounts)
    if value.of == "duration":
        return ended if isinstance(ended, Unknown) else duration_s(variant, command)
    if not isinstance(ended, Ended):
        return ended
    if value.of == "exit":
        return ended.exit
    text = read_text(variant, ended, "stderr" if value.of == "stderr" else "stdout", prefix)
    if text.cut is not None:
        return text.cut
    if value.of == "number":
        return _read_number(text.value, command)
    if value.json_ is None:
        return text.value
    found = search_json(text.value, value.json_)
    if isinstance(found, int) and found.bit_length() > _MAX_BITS:
        return Unknown("expression-failed", f"{value.json_} is too large: more than {_MAX_BITS} bits")
    if not isinstance(found, int | float | str | Unknown):
        return Unknown("type-mismatch", f"{value.json_} is {show(found)}, neither a number nor a text")
    return found


def _read_number(text: str, command: str) -> Value | Unknown:
    """What a command printed, as the number that it is."""
    try:
        number = Decimal(text.strip())
        if "_" not in text and number.is_finite() and abs(number.adjusted()) < _MAX_DIGITS:
            return Fraction(number)
    except ArithmeticError:
        pass
    return Unknown("type-mismatch", f"what {command} printed is not a number: {show(text)}")


def _walk(node: ast.expr, values: Mapping[str, Value | Unknown], path: str, out: list[Evaluation]) -> Any:
    """The node's value, or Unknown. Every sub-expression that is no constant is told."""
    result = _evaluate(node, values, path, out)
    if not isinstance(node, ast.Constant):
        truth = result if isinstance(result, bool) else None
        reason = result.code if isinstance(result, Unknown) else None
        text = ast.unparse(node)
        out.append(Evaluation(path, Subject(text), truth, "value", None, _told(result), reason))
    return result


def _evaluate(node: ast.expr, values: Mapping[str, Value | Unknown], path: str, out: list[Evaluation]) -> Any:
    if isinstance(node, ast.Constant):
        return _exactly(node.value)
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BoolOp):
        parts = [_walk(part, values, path, out) for part in node.values]
        truths = [None if isinstance(part, Unknown) else bool(part) for part in parts]
        truth = all_of(truths) if isinstance(node.op, ast.And) else any_of(truths)
        return next(part for part in parts if isinstance(part, Unknown)) if truth is None else truth
    if isinstance(node, ast.UnaryOp):
        inner = _walk(node.operand, values, path, out)
        if isinstance(inner, Unknown):
            return inner
        if isinstance(node.op, ast.Not):
            return negate(bool(inner))
        return _no_truth([node.operand], [inner]) or _safely(operator.neg, inner)
    if isinstance(node, ast.BinOp):
        left, right = (_walk(part, values, path, out) for part in (node.left, node.right))
        return _no_truth([node.left, node.right], [left, right]) or _arithmetic(node.op, left, right)
    if isinstance(node, ast.Compare):
        return _comparison(node, values, path, out)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    arguments = [_walk(part, values, path, out) for part in node.args]
    return _first_unknown(arguments) or _no_truth(node.args, arguments) or _safely(_CALLS[node.func.id], *arguments)


def _comparison(node: ast.Compare, values: Mapping[str, Value | Unknown], path: str, out: list[Evaluation]) -> Any:
    sides = [_walk(part, values, path, out) for part in (node.left, *node.comparators)]
    results = []
    for index, sign in enumerate(node.ops):
        pair = sides[index : index + 2]
        results.append(_first_unknown(pair) or _compared(sign, *pair))
    truth = all_of([None if isinstance(result, Unknown) else bool(result) for result in results])
    return _first_unknown(results) if truth is None else truth


def _compared(sign: ast.cmpop, left: Any, right: Any) -> Any:
    """By the table of `labrun.logic.compare`: what is in no order, and what is of two kinds, decides nothing."""
    truth = _COMPARE[type(sign)](left, right)
    if truth is None:
        words = f"{show(left)} and {show(right)}: a {kind(left)} and a {kind(right)} cannot be compared so"
        return Unknown("type-mismatch", words)
    return truth


def _arithmetic(sign: ast.operator, left: Any, right: Any) -> Any:
    why = _first_unknown([left, right])
    if why is not None:
        return why
    texts = isinstance(left, str), isinstance(right, str)
    if any(texts) and not (all(texts) and isinstance(sign, ast.Add) and len(left) + len(right) <= _MAX_TEXT):
        return Unknown("type-mismatch", f"{show(left)} and {show(right)}: arithmetic needs numbers")
    return _safely(_BINARY[type(sign)], left, right)


def _no_truth(nodes: Sequence[ast.expr], values: Sequence[Any]) -> Unknown | None:
    """An observed `true` is no 1: nothing can be added to it. That of a comparison counts: (a > 1) + (b > 1)."""
    pairs = zip(nodes, values, strict=True)
    named = any(isinstance(node, ast.Name) and isinstance(value, bool) for node, value in pairs)
    return Unknown("type-mismatch", f"{', '.join(map(show, values))}: arithmetic needs numbers") if named else None


def _first_unknown(values: list[Any]) -> Unknown | None:
    return next((value for value in values if isinstance(value, Unknown)), None)


def _safely(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        result = function(*arguments)
    except _Mismatch as error:
        return Unknown("type-mismatch", f"{error}: {', '.join(map(show, arguments))}")
    except ZeroDivisionError:
        return Unknown("expression-failed", f"division by zero: {', '.join(map(show, arguments))}")
    except (TypeError, ValueError, ArithmeticError) as error:
        told = ", ".join(show(argument) for argument in arguments)
        return Unknown("expression-failed", f"{error}: {told}")
    if _bits(result) > _MAX_BITS:
        return Unknown("expression-failed", f"the result is too large: more than {_MAX_BITS} bits")
    return result


def _bits(value: Any) -> int:
    if isinstance(value, Fraction):
        return max(value.numerator.bit_length(), value.denominator.bit_length())
    return value.bit_length() if isinstance(value, int) else 0
