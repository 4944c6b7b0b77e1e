"""No character that steers, hides or is not seen passes: not to the page, not to an explanation, not to the terminal."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from labrun.logic.visible import ascii_only, is_plain, look_alike, sign, visible
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


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("\u00e9", "e\u0301", True), ("eth0", "\u0435th0", True), ("a b", "a\u00a0b", True), ("10", "\uff11\uff10", True),
        ("\u00e9", "caf e\u0301 bar", True), ("\u00e9", "\u00e9", False), ("caf\u00e9", "caf\u00e9 au lait", False),
        ("a", "b", False), ("\u00e9", "x", True), ("\u00e9a", "xb", False),
    ],
)  # fmt: skip
def test_texts_that_a_reader_may_take_for_the_same(one: str, other: str, alike: bool) -> None:
    assert look_alike(one, other) is look_alike(other, one) is alike
    assert ascii_only(one).isascii()
