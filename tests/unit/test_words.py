"""Words joined by and, or, not: Python reads the same, and says what they mean."""

from __future__ import annotations

import ast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from labrun.logic.words import meaning

_PLAIN = (ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Name, ast.Load)


def pythons(text: str) -> ast.Expression | None:
    """None where it is no such expression. Python knows calls and empty brackets too."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return None
    return tree if all(isinstance(node, _PLAIN) for node in ast.walk(tree)) else None


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(("and", "or", "not", "(", ")", "a", "b", "c")), max_size=9))
@example(["or", "a"])
@example(["and"])
@example(["(", ")"])
@example(["a", "or", "b", "and", "not", "c"])
def test_words_mean_what_python_says(tokens: list[str]) -> None:
    text = " ".join(tokens)
    tree = pythons(text)
    if tree is None:
        with pytest.raises(ValueError, match=r"missing|expected"):
            meaning(text)
        return
    for true in ("", "a", "b", "c", "ab", "ac", "bc", "abc"):
        expected = eval(compile(tree, "", "eval"), {name: name in true for name in "abc"})
        assert meaning(text)(lambda word, true=true: word in true) is expected
