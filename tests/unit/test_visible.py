"""No character that steers, hides or is not seen passes: not to the page, not to an explanation, not to the terminal."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from labrun.logic.visible import is_plain, sign, visible
from labrun.report.visible import one_line

HIDDEN = [
    0x2028,
    0xFEFF,
    0xAD,
    0xE0041,
    0x2060,
    0xE000,
    0x202E,
    0x2066,
    0x200B,
    0x85,
    0x1B,
    0x7F,
    0xDC80,
    0x3164,
    0xFE0F,
]


@pytest.mark.parametrize("code", HIDDEN)
def test_a_hidden_character_is_a_sign(code: int) -> None:
    assert visible(f"a{chr(code)}b") == f"a{sign(chr(code))}b"
    assert sign(chr(code)).isprintable() and all(map(is_plain, sign(chr(code))))


def test_of_all_characters_none_that_is_hidden_is_plain() -> None:
    hidden = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in hidden:
            assert not is_plain(chr(code)), hex(code)


def test_what_is_kept_is_kept_and_nothing_is_dropped() -> None:
    assert visible("a\n\tb\r", "\n\t") == "a\n\tb␍"
    assert one_line("a\u2060b") == "a\\u2060b" and visible("größe ✔") == "größe ✔"
