"""An author's Markdown as harmless HTML: no raw HTML, no images, links only to the web, nothing that runs.

Two fences: python-markdown without its HTML rules, so that tags in a lab are shown as they are written; then nh3,
which keeps a short list of tags and drops the rest, whatever slipped through.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from labrun.logic.visible import visible
from labrun.report.visible import code_spans

if TYPE_CHECKING:
    import markdown

MAX_CHARS = 20_000  # of one piece of prose; what is longer is shown as it is written, unformatted
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_TAGS = {
    "p", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "a", "br", "hr",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}


@functools.cache
def _converter() -> markdown.Markdown:
    from xml.etree.ElementTree import Element

    import markdown
    from markdown.treeprocessors import Treeprocessor

    class NoHeadings(Treeprocessor):
        """The page owns its headings: an author's become bold paragraphs, so that the outline stays in order."""

        def run(self, root: Element) -> None:
            for element in root.iter():
                if element.tag in _HEADINGS:
                    element.tag = "p"
                    strong = Element("strong")
                    strong.text, element.text = element.text, None
                    strong.extend(list(element))
                    for child in list(element):
                        element.remove(child)
                    element.append(strong)

    converter = markdown.Markdown(extensions=["tables", "fenced_code", "sane_lists"], output_format="html")
    converter.preprocessors.deregister("html_block")
    for rule in ("html", "image_link", "image_reference", "short_image_ref", "automail"):
        converter.inlinePatterns.deregister(rule)
    # Before "inline" (priority 20), which fills in the text of what it finds: headings are still one text then.
    converter.treeprocessors.register(NoHeadings(converter), "no-headings", 30)
    return converter


@functools.lru_cache(maxsize=512)
def prose(text: str) -> Markup:
    """Markdown to HTML, for a template."""
    shown = visible(text, keep="\n\t")
    if len(shown) > MAX_CHARS:
        return _as_written(shown)
    return plain(shown) or full(shown)


# Paragraphs of words, `code`, *emphasis*: no character that Markdown knows otherwise, no line that begins anything.
_CODE = r"`[^`\\|\s](?:[^`\\|]*[^`\\|\s])?`"
_NAMED = r"[A-Za-z]+(?: [A-Za-z]+)*"
_MARKED = re.compile(rf"({_CODE})|(?<![*\w])\*\*({_NAMED})\*\*(?![*\w])|(?<![*\w])\*({_NAMED})\*(?![*\w])")
_WORDS = re.compile(r"(?:[A-Za-z0-9 \n.,:;'\"()/?!%@$→←–…]|(?<=[A-Za-z0-9])[-_](?=[A-Za-z0-9]))*")
_BEGIN = re.compile(r"(?!\d+\.\s)[A-Za-z0-9'\"(.`*]")


def plain(text: str) -> Markup | None:
    """What most prose is, as `full` would give it and a hundred times sooner; None where there is more to it.

    Markdown and nh3 take 20 ms to be imported and a millisecond each time.
    """
    paragraphs = []
    for part in text.strip("\n").split("\n\n"):
        lines = part.split("\n")
        if not all(_BEGIN.match(line) and not line.endswith(" ") for line in lines):
            return None
        pieces: list[Markup] = []
        end = 0
        for match in _MARKED.finditer(part):
            pieces.append(Markup(part[end : match.start()]))
            kind = {1: "code", 2: "strong", 3: "em"}[match.lastindex or 1]
            words = match[1][1:-1] if kind == "code" else match[match.lastindex or 1]
            pieces.append(Markup(f"<{kind}>{_text(words)}</{kind}>"))
            end = match.end()
        pieces.append(Markup(part[end:]))
        if not all(_WORDS.fullmatch(words) for words in pieces[::2]):
            return None
        paragraphs.append(Markup("<p>{}</p>").format(Markup("").join(pieces)))
    return Markup("\n").join(paragraphs)


def _text(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def full(shown: str) -> Markup:
    """By python-markdown, then nh3."""
    import nh3

    if len(shown) <= MAX_CHARS:
        try:
            rendered = _converter().reset().convert(shown)
        except (RecursionError, ValueError, IndexError):  # absurd nesting; the text itself is still worth showing
            rendered = None
        if rendered is not None:
            clean = nh3.clean(rendered, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes={"http", "https"},
                              url_relative="deny", link_rel="noopener noreferrer")  # fmt: skip
            return Markup(clean)
    return _as_written(shown)


def _as_written(shown: str) -> Markup:
    return Markup("<pre>") + escape(shown) + Markup("</pre>")


def label(text: str) -> Markup:
    """One line of an author's words: `code` between backticks, all else as it is."""
    return Markup("").join(
        Markup("<code>") + escape(piece) + Markup("</code>") if is_code else escape(piece)
        for is_code, piece in code_spans(text)
    )
