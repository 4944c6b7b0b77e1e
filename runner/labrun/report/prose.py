"""An author's Markdown as harmless HTML: no raw HTML, no images, links only to the web, nothing that runs.

Two fences: python-markdown without its HTML rules, so that tags in a lab are shown as they are written; then nh3,
which keeps a short list of tags and drops the rest, whatever slipped through.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import markdown
import nh3
from markdown.treeprocessors import Treeprocessor
from markupsafe import Markup, escape

from labrun.report.visible import code_spans, visible

MAX_CHARS = 20_000  # of one piece of prose; what is longer is shown as it is written, unformatted
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_TAGS = {
    "p", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "a", "br", "hr",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}


class _NoHeadings(Treeprocessor):
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


def _converter() -> markdown.Markdown:
    converter = markdown.Markdown(extensions=["tables", "fenced_code", "sane_lists"], output_format="html")
    converter.preprocessors.deregister("html_block")
    for rule in ("html", "image_link", "image_reference", "short_image_ref", "automail"):
        converter.inlinePatterns.deregister(rule)
    # Before "inline" (priority 20), which fills in the text of what it finds: headings are still one text then.
    converter.treeprocessors.register(_NoHeadings(converter), "no-headings", 30)
    return converter


def prose(text: str) -> Markup:
    """Markdown to HTML, for a template."""
    shown = visible(text, keep="\n\t")
    if len(shown) <= MAX_CHARS:
        try:
            rendered = _converter().convert(shown)
        except (RecursionError, ValueError, IndexError):  # absurd nesting; the text itself is still worth showing
            rendered = None
        if rendered is not None:
            clean = nh3.clean(rendered, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes={"http", "https"},
                              url_relative="deny", link_rel="noopener noreferrer")  # fmt: skip
            return Markup(clean)
    return Markup("<pre>") + escape(shown) + Markup("</pre>")


def label(text: str) -> Markup:
    """One line of an author's words: `code` between backticks, all else as it is."""
    return Markup("").join(
        Markup("<code>") + escape(piece) + Markup("</code>") if is_code else escape(piece)
        for is_code, piece in code_spans(text)
    )
