"""Text from a sandbox or a lab file, made safe to look at: what would steer a terminal, a browser's text direction or
an XML parser is shown as a visible sign, never obeyed and never dropped."""

from __future__ import annotations

import re
import unicodedata

# Cc control, Cf format (bidi overrides, zero-width, tags), Cs surrogates, Co private use, Zl/Zp separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LARGER = {"bytes": "KiB", "KiB": "MiB", "MiB": "GiB"}
_SURROGATE_LOW, _SURROGATE_HIGH = 0xDC80, 0xDCFF  # where surrogateescape puts bytes that are not UTF-8


def is_plain(char: str) -> bool:
    """May the character be shown as it is? Noncharacters (U+FFFE, U+FFFF of each plane) are forbidden in XML."""
    if " " <= char <= "~":
        return True
    return unicodedata.category(char) not in _HIDDEN and ord(char) & 0xFFFE != 0xFFFE


def sign(char: str) -> str:
    """What stands for a character that must not be obeyed: ␛ for ESC, \\xff for a stray byte, \\u202e for others."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if _SURROGATE_LOW <= code <= _SURROGATE_HIGH:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def text_of(data: bytes) -> str:
    """Bytes as text; those that are not UTF-8 stay apart as surrogates, for `sign` to show."""
    return data.decode("utf-8", "surrogateescape")


def visible(text: str, keep: str = "") -> str:
    """The text with every hidden character as its sign, except those in ``keep`` (such as a line break)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in keep or is_plain(char) else sign(char) for char in text)


def one_line(text: str) -> str:
    """For titles, claims and cells: runs of white space are one space, the rest as `visible` shows it."""
    return visible(" ".join(text.split(" "))) if text.isprintable() else visible(re.sub(r"\s+", " ", text).strip())


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, the cut shown."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def code_spans(text: str) -> tuple[tuple[bool, str], ...]:
    """One line of an author's prose as (is code, text) pieces: backticks are the only markup that labels know."""
    pieces: list[tuple[bool, str]] = []
    end = 0
    for match in _CODE.finditer(text):
        if match.start() > end:
            pieces.append((False, text[end : match.start()]))
        pieces.append((True, match[2].strip() or match[2]))
        end = match.end()
    if end < len(text) or not pieces:
        pieces.append((False, text[end:]))
    return tuple(pieces)


def size(count: int) -> str:
    """Bytes in words, for people: 512 bytes, 1.5 KiB, 50 MiB."""
    if count < 1024:
        return "1 byte" if count == 1 else f"{count} bytes"
    amount, unit = float(count), "bytes"
    while amount >= 1024 and unit != "GiB":
        amount, unit = amount / 1024, _LARGER[unit]
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
