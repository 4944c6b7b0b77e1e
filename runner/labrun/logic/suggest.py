"""The word that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" if one of the known words is close, else " Known: ..." if they are few, else nothing."""
    words = sorted(set(known))
    close = difflib.get_close_matches(word[:100], words, n=1, cutoff=0.6)
    if close:
        return f" Did you mean '{close[0]}'?"
    if 0 < len(words) <= 20:
        return " Known: " + ", ".join(words) + "."
    return ""
