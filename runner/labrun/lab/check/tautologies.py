"""Predictions that come out the same whatever is observed: they would be judged, and say nothing.

Found by trying: a prediction with every combination of its parts being true and false, or of the numbers that they ask
for; an expression with values of many kinds. What is true, or false, in each of them does not depend on what happens.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from labrun.lab.check.satisfiable import Numbers, known, named, outcomes
from labrun.lab.expression import parse_expression
from labrun.lab.load import Lab
from labrun.lab.model import placed_predictions
from labrun.lab.predictions import STATE_KINDS, AllOf, AnyOf, ExprIs, Not, Prediction, leaves
from labrun.lab.problems import Problem

_MOST = 4096  # combinations
_NUMBERS_OF = {"exit": Numbers(0, 255), "duration": Numbers(0, whole=False), "count": Numbers(0)}
_TRIES = 60
_Asked = tuple[str, Numbers | None, Mapping[str, Any]]
_NUMBERS = (0, 1, 2, 3, 7, 64, 1500, 10**6, 10**12)
_TEXTS = ("", "a", "0", "no such text", "\x00é b\n1")


def check_tautologies(lab: Lab) -> Iterator[Problem]:
    for path, prediction in placed_predictions(lab.model):
        outcome = _outcome(prediction)
        if outcome is not None:
            word = "holds" if outcome else "can never hold"
            yield lab.problem(path, f"this {word} whatever is observed: it asserts nothing")
        for where, leaf in leaves(prediction):
            if isinstance(leaf, ExprIs) and _always(leaf.expr):
                yield lab.problem((*path, *where, "expr"), f"`{leaf.expr}` is true of all values: it asserts nothing")


def _outcome(prediction: Prediction) -> bool | None:
    """The one outcome that there can be; None where there are two.

    Leaves that ask for one number (an exit status, a duration, a count) of the same thing are about the same number.
    """
    asked = {id(leaf): _asked(leaf) for _, leaf in leaves(prediction)}
    checks: dict[str, tuple[Numbers | None, list[Mapping[str, Any]]]] = {}
    for name, numbers, operators in asked.values():
        checks.setdefault(name, (numbers, []))[1].append(operators)
    values = [_values(numbers, given) for numbers, given in checks.values()]
    if math.prod(map(len, values)) > _MOST:
        return None
    combinations = (dict(zip(checks, given, strict=True)) for given in itertools.product(*values))
    found = {_holds(prediction, asked, given) for given in combinations}
    return found.pop() if len(found) == 1 else None


def _asked(leaf: Any) -> _Asked:
    """(what a leaf asks about, which numbers that can be, the check of it). None: it just holds or does not."""
    what = leaf.model_dump(exclude_defaults=True, mode="json")
    told = set(what) - {"command", "packets", *STATE_KINDS}
    for name, numbers in _NUMBERS_OF.items():
        check = getattr(leaf, name, None)
        if check is not None and told == {name} and known(check.operators()) == check.operators():
            return f"{name} {json.dumps({key: what[key] for key in what if key != name})}", numbers, check.operators()
    return f"{type(leaf).__name__} {json.dumps(what)}", None, {}


def _values(numbers: Numbers | None, checks: list[Mapping[str, Any]]) -> list[Any]:
    """What to try. One check alone just holds or does not: whether it ever does is found elsewhere."""
    if numbers is None or len(checks) == 1:
        return [False, True]
    return sorted(numbers.samples({"one_of": tuple(value for check in checks for value in named(check))}))


def _holds(prediction: Prediction, asked: Mapping[int, _Asked], given: Mapping[str, Any]) -> bool:
    """``asked``: by the id of the leaf. ``given``: what each thing that is asked about is."""
    if isinstance(prediction, AllOf):
        return all(_holds(part, asked, given) for part in prediction.all)
    if isinstance(prediction, AnyOf):
        return any(_holds(part, asked, given) for part in prediction.any)
    if isinstance(prediction, Not):
        return not _holds(prediction.not_, asked, given)
    name, _, operators = asked[id(prediction)]
    return given[name] if isinstance(given[name], bool) else outcomes(operators, (given[name],)) == {True}


def _always(expression: str) -> bool:
    """True of every value that was tried. What cannot be computed decides nothing here."""
    tree = parse_expression(expression)
    functions = {"abs": abs, "min": min, "max": max, "round": round, "len": len}
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - functions.keys())
    code = compile(ast.Expression(tree), "expr", "eval")
    rolls = random.Random(0)
    computed = 0
    texts = any(isinstance(node, ast.In | ast.NotIn) or getattr(node, "id", "") == "len" for node in ast.walk(tree))
    for values in (_TEXTS,) if texts else (_NUMBERS,):
        for _ in range(_TRIES):
            given = {name: rolls.choice(values) for name in names}
            try:
                if not eval(code, {"__builtins__": functions}, given):
                    return False
            except (TypeError, ValueError, ArithmeticError):
                continue
            computed += 1
    return computed > 0
