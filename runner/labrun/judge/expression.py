"""Arithmetic across observations: the whitelisted tree walked, the value of every sub-expression in the trace.

Unknown is contagious, except where the known side decides (False and unknown is False). Dividing by zero, and
comparing what cannot be compared, give unknown: no error is ever a refutation.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from labrun.evidence.record import VariantRecord
from labrun.judge.evaluation import join, show
from labrun.judge.results import Evaluation, Subject
from labrun.lab.expression import parse_expression
from labrun.lab.predictions import ExprIs, ValueOf
from labrun.logic.compare import Untold, all_of, any_of, negate
from labrun.observe.commands import Ended, duration_s, observe_command, read_text
from labrun.observe.jsonpath import search_json
from labrun.observe.outcome import Accounts
from labrun.observe.packets import observe_packets
from labrun.observe.states import observe_objects
from labrun.observe.unknown import Unknown, untold

Value = int | float | str | bool
_MAX_TEXT = 10_000_000
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_EQUAL = (ast.Eq, ast.NotEq)
_MAX_BITS = 10_000  # of a whole number, as JSON may have them; what multiplies stays small, and can be shown
_MAX_DIGITS = 300  # a float has no more


def _round(value: Any, digits: int = 0) -> Any:
    """As Python's, but whole numbers of digits that a number can have: round(1, -10**9) would never end."""
    if not -_MAX_DIGITS <= digits <= _MAX_DIGITS:
        raise ValueError(f"round to {digits} digits")
    return round(value, digits) if digits else round(value)


_CALLS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max, "round": _round, "len": len}


def evaluate_expression(
    leaf: ExprIs, variant: VariantRecord, prefix: str, path: str, accounts: Accounts | None = None
) -> Evaluation:
    values = {
        name: _value(value, variant, prefix, accounts or Accounts.of((leaf,))) for name, value in leaf.let.items()
    }
    children: list[Evaluation] = []
    result = _walk(parse_expression(leaf.expr), values, join(path, "expr"), children)
    truth = None if isinstance(result, Unknown) else bool(result)
    told = ", ".join(f"{name} = {_told(value)}" for name, value in values.items())
    note = f"where {told}"
    reason = result.code if isinstance(result, Unknown) else None
    if isinstance(result, Unknown):
        note += f"; {result.message}"
    return Evaluation(
        path, Subject(leaf.expr), truth, "expr", "true", _told(result), reason, note, children=tuple(children),
    )  # fmt: skip


def _told(value: Value | Unknown) -> str:
    return f"unknown ({value.message})" if isinstance(value, Unknown) else show(value)


def _value(value: ValueOf, variant: VariantRecord, prefix: str, accounts: Accounts) -> Value | Unknown:
    """What a name of ``let`` stands for. A count that is only known as a range is unknown here."""
    if value.packets is not None:
        seen = observe_packets(variant, value.packets, prefix)
        if isinstance(seen, Unknown):
            return seen
        if seen.count.low != seen.count.high:
            assert seen.doubt is not None  # it says why the count is a range
            return seen.doubt
        return seen.count.low
    if value.command is not None:
        return _of_command(value, value.command, variant, prefix, accounts)
    kind = value.state
    assert kind is not None
    objects = observe_objects(variant, kind, getattr(value, kind), prefix)
    if isinstance(objects, Unknown):
        return objects
    if objects.doubt is not None:
        return objects.doubt
    if value.of is None:
        return len(objects.found)
    if len(objects.found) != 1:
        return Unknown("not-one", f"`of` needs one object, there are {len(objects.found)} of {kind}")
    found = objects.found[0].value.get(value.of)
    if isinstance(found, Untold):
        return untold(f"{value.of} of {kind}")
    if not isinstance(found, int | float | str):
        return Unknown("type-mismatch", f"{value.of} of {kind} is {show(found)}, neither a number nor a text")
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
    if value.json_ is None:
        return text.value
    found = search_json(text.value, value.json_)
    if isinstance(found, int) and found.bit_length() > _MAX_BITS:
        return Unknown("expression-failed", f"{value.json_} is too large: more than {_MAX_BITS} bits")
    if not isinstance(found, int | float | str | Unknown):
        return Unknown("type-mismatch", f"{value.json_} is {show(found)}, neither a number nor a text")
    return found


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
        return node.value
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
        return negate(bool(inner)) if isinstance(node.op, ast.Not) else _safely(operator.neg, inner)
    if isinstance(node, ast.BinOp):
        left, right = (_walk(part, values, path, out) for part in (node.left, node.right))
        return _arithmetic(node.op, left, right)
    if isinstance(node, ast.Compare):
        return _comparison(node, values, path, out)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    arguments = [_walk(part, values, path, out) for part in node.args]
    return _first_unknown(arguments) or _safely(_CALLS[node.func.id], *arguments)


def _comparison(node: ast.Compare, values: Mapping[str, Value | Unknown], path: str, out: list[Evaluation]) -> Any:
    sides = [_walk(part, values, path, out) for part in (node.left, *node.comparators)]
    results = []
    for index, sign in enumerate(node.ops):
        pair = sides[index : index + 2]
        results.append(_first_unknown(pair) or _compared(sign, *pair))
    truth = all_of([None if isinstance(result, Unknown) else bool(result) for result in results])
    return _first_unknown(results) if truth is None else truth


def _compared(sign: ast.cmpop, left: Any, right: Any) -> Any:
    """A text and a number are never equal and never different: whoever compares them made a mistake."""
    if isinstance(sign, _EQUAL) and isinstance(left, str) is not isinstance(right, str):
        return Unknown("type-mismatch", f"{show(left)} and {show(right)}: a text and a number cannot be compared")
    return _safely(_COMPARE[type(sign)], left, right)


def _arithmetic(sign: ast.operator, left: Any, right: Any) -> Any:
    why = _first_unknown([left, right])
    if why is not None:
        return why
    texts = isinstance(left, str), isinstance(right, str)
    if any(texts) and not (all(texts) and isinstance(sign, ast.Add) and len(left) + len(right) <= _MAX_TEXT):
        return Unknown("type-mismatch", f"{show(left)} and {show(right)}: arithmetic needs numbers")
    return _safely(_BINARY[type(sign)], left, right)


def _first_unknown(values: list[Any]) -> Unknown | None:
    return next((value for value in values if isinstance(value, Unknown)), None)


def _safely(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        result = function(*arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        told = ", ".join(show(argument) for argument in arguments)
        return Unknown("expression-failed", f"{error}: {told}")
    if isinstance(result, int) and result.bit_length() > _MAX_BITS:
        return Unknown("expression-failed", f"the result is too large: more than {_MAX_BITS} bits")
    return result
