"""Text of a sandbox or a lab file as a page shows it: in one line, cut, with code set apart; see logic/visible."""

from __future__ import annotations

import re

from labrun.logic.visible import visible

_SENTENCE_END = re.compile(r"(?<=[a-z0-9)`][.!?])\s+(?=[\"'(`*A-Z0-9])(?<!e\.g\.\s)(?<!i\.e\.\s)(?<!etc\.\s)")
_NO_SENTENCE = re.compile(r"\s*(?:```|~~~|[-*+] |\d+[.)] |>|#|\|)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*\*?)(\S(?:[^*]*\S)?)\1(?![\w*])")
_MD_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\([^()\s]*\)")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LARGER = {"bytes": "KiB", "KiB": "MiB", "MiB": "GiB"}


def text_of(data: bytes) -> str:
    """Bytes as text; those that are not UTF-8 stay apart as surrogates, for `sign` to show."""
    return data.decode("utf-8", "surrogateescape")


def one_line(text: str) -> str:
    """For titles, claims and cells: runs of white space are one space, the rest as `visible` shows it."""
    return visible(" ".join(text.split(" "))) if text.isprintable() else visible(re.sub(r"\s+", " ", text).strip())


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, the cut shown."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def first_sentence(prose: str) -> str:
    """Of an author's Markdown, as a label: its first paragraph up to the end of a sentence that is not in `code`.

    Emphasis and links leave their words alone; a list or a code block at the beginning has no sentence, and gives "".
    """
    paragraph = prose.strip().split("\n\n")[0]
    if _NO_SENTENCE.match(paragraph):
        return ""
    words = " ".join(paragraph.split())
    ends = (match.start() for match in _SENTENCE_END.finditer(words))
    words = words[: next((end for end in ends if words.count("`", 0, end) % 2 == 0), len(words))]
    return "".join(
        f"`{piece}`" if is_code else _EMPHASIS.sub(r"\2", _MD_LINK.sub(r"\1", piece))
        for is_code, piece in code_spans(words)
    )


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


def milliseconds(duration_ns: int) -> str:
    """Without the unit, which is said once. Integer arithmetic, so that no rounding differs between machines."""
    return f"{duration_ns // 1_000_000}.{duration_ns // 1000 % 1000:03}"


def size(count: int) -> str:
    """Bytes in words, for people: 512 bytes, 1.5 KiB, 50 MiB."""
    if count < 1024:
        return "1 byte" if count == 1 else f"{count} bytes"
    amount, unit = float(count), "bytes"
    while amount >= 1024 and unit != "GiB":
        amount, unit = amount / 1024, _LARGER[unit]
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
