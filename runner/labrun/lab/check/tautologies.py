"""Predictions that come out the same whatever is observed: they would be judged, and say nothing.

Found by trying: a prediction with every combination of its parts being true and false, an expression with values of
many kinds. What is true, or false, in each of them does not depend on what happens.
"""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Iterator

from labrun.lab.expression import parse_expression
from labrun.lab.load import Lab
from labrun.lab.model import placed_predictions
from labrun.lab.predictions import AllOf, AnyOf, ExprIs, Not, Prediction, leaves
from labrun.lab.problems import Problem

_MOST = 10  # different parts of a prediction: 1024 combinations
_TRIES = 60
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
    """The one outcome that there can be; None where there are two."""
    names = list(dict.fromkeys(_name(leaf) for _, leaf in leaves(prediction)))
    if len(names) > _MOST:
        return None
    combinations = itertools.product((False, True), repeat=len(names))
    found = {_holds(prediction, dict(zip(names, truths, strict=True))) for truths in combinations}
    return found.pop() if len(found) == 1 else None


def _name(leaf: Prediction) -> str:
    return f"{type(leaf).__name__} {leaf.model_dump_json()}"


def _holds(prediction: Prediction, truths: dict[str, bool]) -> bool:
    if isinstance(prediction, AllOf):
        return all(_holds(part, truths) for part in prediction.all)
    if isinstance(prediction, AnyOf):
        return any(_holds(part, truths) for part in prediction.any)
    if isinstance(prediction, Not):
        return not _holds(prediction.not_, truths)
    return truths[_name(prediction)]


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
