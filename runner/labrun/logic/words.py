"""Which names are meant: words joined by ``and``, ``or``, ``not`` and parentheses, as in `routing and not slow`.

What a word means is the caller's: a part of a name, or a whole tag. ``not`` binds closest, then ``and``, then ``or``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(r"[()]|[^\s()]+")
_DEEPEST = 50  # parentheses and nots within each other

Matches = Callable[[str], bool]
Meaning = Callable[[Matches], bool]


def meaning(text: str) -> Meaning:
    """The expression as a function of what a single word matches. Raises ValueError with what is wrong with it."""
    tokens = _TOKEN.findall(text)[::-1]  # the next one is the last: it is popped
    found = _any(tokens, 0)
    if tokens:
        raise ValueError(f"'{tokens[-1]}' is not expected here: words are joined by and, or, not")
    return found


def _any(tokens: list[str], depth: int) -> Meaning:
    parts = [_all(tokens, depth)]
    while tokens and tokens[-1] == "or":
        tokens.pop()
        parts.append(_all(tokens, depth))
    return lambda matches: any(part(matches) for part in parts)


def _all(tokens: list[str], depth: int) -> Meaning:
    parts = [_one(tokens, depth)]
    while tokens and tokens[-1] == "and":
        tokens.pop()
        parts.append(_one(tokens, depth))
    return lambda matches: all(part(matches) for part in parts)


def _one(tokens: list[str], depth: int) -> Meaning:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if not tokens:
        raise ValueError("a word is missing at the end; such as: routing and not slow")
    token = tokens.pop()
    if token == "not":
        inner = _one(tokens, depth + 1)
        return lambda matches: not inner(matches)
    if token == "(":
        inside = _any(tokens, depth + 1)
        if not tokens or tokens.pop() != ")":
            raise ValueError("a ')' is missing")
        return inside
    if token in (")", "and", "or"):
        raise ValueError(f"a word is missing before '{token}'")
    return lambda matches: matches(token)
