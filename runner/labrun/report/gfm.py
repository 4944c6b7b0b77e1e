"""GitHub-flavoured Markdown out of hostile text: escaping for running text and cells, code, fences, and prose.

GitHub cleans HTML itself; what must be seen to here is that nothing leaves its cell, its fence or its section, that
no link goes anywhere but to the web, and that no image is fetched.
"""

from __future__ import annotations

import re

from labrun.report.visible import code_spans

_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_RUNS = re.compile(r"`+")
_FENCE = re.compile(r"^ {0,12}(`{3,}|~{3,})[^`]*$")
_CONTAINERS = r"^((?:[ \t>]|[-+*][ \t]+|\d{1,9}[.)][ \t]+)*)"  # quotations and list items that a line may begin
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+([^#].*?)[ \t#]*$")
_INNER_HEADING = re.compile(_CONTAINERS + r"(#{1,6}(?:[ \t]|$))")
_UNDERLINE = re.compile(_CONTAINERS + r"((?:=+|-+)[ \t]*)$")
_DEFINITION = re.compile(_CONTAINERS + r"(\[[^\]]*(?:\]:|$))")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)")


def text(words: str) -> str:
    """Running text in which no character means anything, safe in a table cell too."""
    return _SPECIAL.sub(r"\\\g<0>", _html(words)).replace("\n", " ")


def label(words: str) -> str:
    """An author's line: `code` between backticks, all else text."""
    return "".join(code(piece) if is_code else text(piece) for is_code, piece in code_spans(words))


def code(words: str) -> str:
    """A code span, also in a table cell, where a pipe must be escaped even in code."""
    words = words.replace("\n", " ")
    if not words.strip():
        return ""
    marks = "`" * (max((len(run) for run in _RUNS.findall(words)), default=0) + 1)
    pad = " " if words[0] in "` " or words[-1] in "` " else ""
    return f"{marks}{pad}{words}{pad}{marks}".replace("|", r"\|")


def fence(content: str, language: str = "") -> str:
    """A fenced block that its content cannot close."""
    marks = "`" * max(3, max((len(run) for run in _RUNS.findall(content)), default=0) + 1)
    return f"{marks}{language}\n{content}\n{marks}"


def link(words: str, href: str) -> str:
    return f"[{words}]({href})" if href != "#" else words


def anchor(name: str) -> str:
    """``name`` comes from `anchors`, so it needs no escaping."""
    return f'<a id="{name}"></a>'


def table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are ready Markdown without line breaks."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines)


def details(summary: str, content: str) -> str:
    return f"<details><summary>{_html(summary)}</summary>\n\n{content}\n\n</details>"


def _html(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def prose(markdown: str) -> str:
    """An author's Markdown, kept as Markdown, made unable to leave its place.

    Headings become bold lines, images and raw HTML are shown as they are written, links that are not to the web
    are no links, and code blocks stand on their own, where no list or quotation can end them early.
    """
    parts: list[str] = []
    lines = markdown.split("\n")
    block: list[str] = []
    while lines:
        line = lines.pop(0)
        opening = _FENCE.match(line)
        if opening is None:
            block.append(line)
            continue
        parts.append(_running("\n".join(block)))
        block, inside = [], []
        closing = re.compile(rf"^ {{0,12}}{re.escape(opening[1][0])}{{{len(opening[1])},}}[ \t]*$")
        while lines and not closing.match(lines[0]):
            inside.append(lines.pop(0))
        del lines[:1]
        parts.append(fence("\n".join(inside)))
    parts.append(_running("\n".join(block)))
    return "\n\n".join(part for part in parts if part)


def _running(block: str) -> str:
    """Without code blocks. Code spans that hold a tag are written as HTML, for where a span begins and ends is the
    reader's parser's decision, and no '<' may depend on it."""
    out: list[str] = []
    end = 0
    for match in _CODE.finditer(block):
        out.append(_plain(block[end : match.start()]))
        has_tag = "<" in match[2] or "\n\n" in match[2]
        out.append(f"<code>{text(match[2].strip())}</code>" if has_tag else match[0])
        end = match.end()
    out.append(_plain(block[end:]))
    return "\n".join(_line(line) for line in "".join(out).strip("\n").split("\n"))


def _plain(piece: str) -> str:
    # "&gt;" would break quotations, and a '>' without its '<' opens nothing.
    return _LINK.sub(r"]\\(", piece.replace("<", "&lt;").replace("![", "!\\["))


def _line(line: str) -> str:
    heading = _HEADING.match(line)
    if heading is not None:
        return f"**{heading[1].strip('*')}**"
    for rule in (_INNER_HEADING, _UNDERLINE, _DEFINITION):
        line = rule.sub(r"\1\\\2", line)
    return line
