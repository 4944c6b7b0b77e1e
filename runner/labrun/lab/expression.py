"""The small expression language of predictions: arithmetic, comparison and logic over named values.

Python's own parser reads it, and a whitelist of its nodes is all that there is: no attributes, no subscripts, no
calls but a handful of functions, no loops, no powers. So it is total, and its time is bounded by its length.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator

from labrun.logic.suggest import did_you_mean

FUNCTIONS = ("abs", "min", "max", "round", "len")
MAX_LENGTH = 500
MAX_DEPTH = 30
_NODES = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
    ast.Call, ast.Name, ast.Load, ast.Constant,
)  # fmt: skip


def parse_expression(text: str) -> ast.expr:
    """The expression's tree. Raises ValueError in words for its author."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters: split it into several predictions")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that means nothing is an error here, and no line on stderr
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, Warning, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"not an expression: {reason}") from error
    for node in ast.walk(tree):
        _check(node)
    if _depth(tree.body) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return tree.body


def check_expression(text: str, names: Iterable[str]) -> str | None:
    """What is wrong with an expression over these names; None if nothing is."""
    known = tuple(names)
    try:
        tree = parse_expression(text)
    except ValueError as error:
        return str(error)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    values = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    used = {node.id for node in values}
    function = next((name for name in FUNCTIONS if name in used), None)
    if function is not None:
        return f"{function} is a function: call it, as in {function}(...)"
    for name in sorted(used):
        if name not in known:
            return f"unknown value '{name}'.{did_you_mean(name, known)}"
    unused = sorted(set(known) - used)
    if unused:
        return f"the value '{unused[0]}' is not used"
    if not isinstance(tree, ast.Compare | ast.BoolOp) and not _is_not(tree):
        return "it must be true or false: compare something, such as `sent == 2 * seen`"
    return None


def _pairs(text: str) -> Iterator[tuple[ast.cmpop, ast.expr, ast.expr]]:
    """What is compared in a sound expression, pair by pair."""
    for node in ast.walk(parse_expression(text)):
        if isinstance(node, ast.Compare):
            yield from zip(node.ops, (node.left, *node.comparators), node.comparators, strict=False)


def unobserved(text: str) -> list[str]:
    """The comparisons that no observation decides: of something with itself, and of constants."""
    found = []
    for _, one, other in _pairs(text):
        if ast.dump(one) == ast.dump(other):
            found.append(f"{ast.unparse(one)} is compared with itself")
        elif isinstance(one, ast.Constant) and isinstance(other, ast.Constant):
            found.append(f"{ast.unparse(one)} is compared with {ast.unparse(other)}")
    return found


def comparisons(text: str) -> Iterator[tuple[str, str, int | float]]:
    """(name, operator as of a check, number) of each comparison of a value with a number."""
    for sign, one, other in _pairs(text):
        for name, number, words in ((one, other, _OPERATORS), (other, one, _MIRRORED)):
            value = number.value if isinstance(number, ast.Constant) else None
            if isinstance(value, bool) or not isinstance(name, ast.Name) or type(sign) not in words:
                continue
            if isinstance(value, int | float):
                yield name.id, words[type(sign)], value


_OPERATORS: dict[type, str] = {ast.Eq: "equals", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_MIRRORED: dict[type, str] = {ast.Eq: "equals", ast.Gt: "lt", ast.GtE: "le", ast.Lt: "gt", ast.LtE: "ge"}


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _check(node: ast.AST) -> None:
    if not isinstance(node, _NODES):
        raise ValueError(f"{type(node).__name__} is not part of this language (arithmetic, comparison, and, or, not)")
    if isinstance(node, ast.Constant) and not isinstance(node.value, int | float | str | bool):
        raise ValueError(f"not a number or a text: {node.value!r}")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise ValueError(f"only these functions can be called: {', '.join(FUNCTIONS)}")
        if node.keywords or not node.args:
            raise ValueError(f"{node.func.id} takes plain arguments")


def _depth(node: ast.AST) -> int:
    """Level by level: what is nested too deeply must not be walked by recursion."""
    depth, level = 0, [node]
    while level:
        depth += 1
        level = [child for parent in level for child in ast.iter_child_nodes(parent)]
    return depth
