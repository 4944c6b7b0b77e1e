"""Terminal output becomes coloured text; whatever is not a colour or a weight is shown and not obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.logic.visible import visible
from labrun.report.ansi import Span, Style, plain_text, terminal_lines
from labrun.report.palette import DARK_TERMINAL, LIGHT_TERMINAL, contrast, palette_css
from labrun.report.visible import code_spans, one_line, size, text_of


def classes(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(span.text, span.style.classes()) for line in terminal_lines(text) for span in line]


@pytest.mark.parametrize(
    ("sgr", "expected"),
    [
        ("31", ("f1",)),
        ("1;32", ("f2", "bold")),
        ("97", ("f15",)),
        ("41", ("b1",)),
        ("107", ("b15",)),
        ("38;5;226", ("f226",)),
        ("48;5;17", ("b17",)),
        ("38:5:226", ("f226",)),
        ("38;2;255;0;0", ("f196",)),
        ("7", ("inverse",)),
        ("7;31", ("b1",)),
        ("2;3;4;9", ("dim", "italic", "strike", "underline")),
    ],
)
def test_colours_and_weights(sgr: str, expected: tuple[str, ...]) -> None:
    assert classes(f"\x1b[{sgr}mx\x1b[m y") == [("x", expected), (" y", ())]


def test_resets_take_back_one_thing() -> None:
    assert classes("\x1b[1;31;44ma\x1b[22mb\x1b[39mc\x1b[49md") == [
        ("a", ("f1", "b4", "bold")),
        ("b", ("f1", "b4")),
        ("c", ("b4",)),
        ("d", ()),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b]8;;http://evil\x1b\\link", "␛]8;;http://evil␛\\link"),
        ("\x1b[8mhidden", "␛[8mhidden"),
        ("\x1b[5mblink", "␛[5mblink"),
        ("\x1b[38;5;999mx", "␛[38;5;999mx"),
        ("\x1b[38mx", "␛[38mx"),
        ("a\rb", "a␍b"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x00\x7f\ufeff", "␀␡\\ufeff"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_other_escapes_are_shown(text: str, shown: str) -> None:
    assert plain_text(terminal_lines(text)) == shown


def test_what_was_not_obeyed_is_marked() -> None:
    assert terminal_lines("a\x1b[2J") == ((Span("a"), Span("␛", Style(), True), Span("[2J")),)


def test_bytes_that_are_no_text_are_shown_one_by_one() -> None:
    assert plain_text(terminal_lines(text_of(b"caf\xc3\xa9 \xff\xc0\x80"))) == "café \\xff\\xc0\\x80"


def test_a_final_line_break_makes_no_line() -> None:
    assert len(terminal_lines("a\nb\n")) == 2
    assert len(terminal_lines("a\n\n")) == 2
    assert terminal_lines("") == ((),)


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_nothing_hidden_is_left(text: str) -> None:
    shown = plain_text(terminal_lines(text)) + visible(text) + one_line(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown if c not in "\n\t")


@given(st.binary(max_size=300))
def test_any_bytes_can_be_written_as_utf8(data: bytes) -> None:
    plain_text(terminal_lines(text_of(data))).encode("utf-8")


def test_every_colour_can_be_read_on_both_papers() -> None:
    css = palette_css([Style(foreground=n) for n in range(256)])
    light, dark = css.split("@media")
    for part, paper in ((light, LIGHT_TERMINAL), (dark.split("{", 1)[1], DARK_TERMINAL)):
        colours = [piece.split("#")[1][:6] for piece in part.split("}") if "{color:#" in piece]
        assert len(colours) == 240
        for colour in colours:
            red, green, blue = (int(colour[i : i + 2], 16) for i in (0, 2, 4))
            assert contrast((red, green, blue), paper) >= 4.5


def test_code_spans_and_sizes() -> None:
    assert code_spans("a `b` c") == ((False, "a "), (True, "b"), (False, " c"))
    assert code_spans("`` a`b `` ` c") == ((True, "a`b"), (False, " ` c"))
    assert code_spans("") == ((False, ""),)
    assert [size(n) for n in (1, 512, 1536, 50 << 20, 5 << 40)] == [
        "1 byte",
        "512 bytes",
        "1.5 KiB",
        "50 MiB",
        "5120 GiB",
    ]
