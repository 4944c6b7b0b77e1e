"""Text from a sandbox or a lab file, made safe to look at: what would steer a terminal, a browser's text direction or
an XML parser, or would not be seen at all, is shown as a visible sign, never obeyed and never dropped.

The one rule for pages, explanations and the terminal.
"""

from __future__ import annotations

import unicodedata

# Cc control, Cf format (bidi overrides, zero-width, tags), Cs surrogates, Co private use, Zl/Zp separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
# Of other categories, and shown by nothing: Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties.txt).
_IGNORABLE = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10),
     *range(0xE0100, 0xE01F0))
)  # fmt: skip
_SURROGATE_LOW, _SURROGATE_HIGH = 0xDC80, 0xDCFF  # where surrogateescape puts bytes that are not UTF-8


def is_plain(char: str) -> bool:
    """May the character be shown as it is? Noncharacters (U+FFFE, U+FFFF of each plane) are forbidden in XML."""
    if " " <= char <= "~":
        return True
    code = ord(char)
    return unicodedata.category(char) not in _HIDDEN and code & 0xFFFE != 0xFFFE and code not in _IGNORABLE


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


def visible(text: str, keep: str = "") -> str:
    """The text with every hidden character as its sign, except those in ``keep`` (such as a line break)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in keep or is_plain(char) else sign(char) for char in text)


def look_alike(one: str, other: str) -> bool:
    """Different texts that a reader may take for the same: é in one character and in two, Latin a and Cyrillic а.

    Also where one has what looks like the whole of the other in it.
    """
    if one in other or other in one or (one.isascii() and other.isascii()):
        return False
    first, second = (unicodedata.normalize("NFKC", text) for text in (one, other))
    if first in second or second in first:
        return True
    return len(first) == len(second) and all(
        a == b or not (a.isascii() and b.isascii()) for a, b in zip(first, second, strict=True)
    )


def ascii_only(text: str) -> str:
    """The text with every character that is not ASCII as its sign."""
    return "".join(char if char.isascii() else sign(char) for char in text)
