"""The view as one self-contained HTML page: no request, nothing outside the file, and nothing that needs a script.

The page forbids itself whatever it does not need: its Content-Security-Policy allows the one style sheet and the one
script, by their digests, and nothing else. Should a hostile byte ever get past the escaping, it finds nothing that it
may do.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from labrun.report.ansi import Line, Style
from labrun.report.compiled import Compiled
from labrun.report.drawing import draw
from labrun.report.history import History
from labrun.report.palette import palette_css
from labrun.report.prose import label, prose
from labrun.report.room import MAX_PAGE
from labrun.report.rungs import draw_ladder
from labrun.report.slim import LEVELS, slimmer
from labrun.report.view import RunView, StepView, VariantView

_TEMPLATES = Path(__file__).parent / "templates"
FOLD_LINES = 40  # an output longer than this shows its beginning, and the rest when asked
OPEN_LINES = 24
STYLE, SCRIPT = "report.css", "report.js"
TRUTHS: dict[bool | None, str] = {True: "holds", False: "does not hold", None: "unknown"}


def render_html(view: RunView) -> str:
    """One page with everything in it, of at most MAX_PAGE bytes. The same view gives the same bytes."""
    return _within_bounds(view, single=True)


def render_folder(view: RunView) -> dict[str, str]:
    """The page, its style and its script as files: name -> text. For where a server's policy (as Jenkins' by default)
    forbids what stands inside a page."""
    return {"index.html": _within_bounds(view, single=False), STYLE: _css(view), SCRIPT: _script()}


def _within_bounds(view: RunView, single: bool) -> str:
    page = _page(view, single)
    for level in range(1, len(LEVELS) + 1):
        if len(page.encode()) <= MAX_PAGE:
            break
        page = _page(slimmer(view, level), single)
    return page


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=Compiled(_TEMPLATES, "escaped, strict, blocks trimmed and stripped, final newline kept"),
    )
    environment.filters.update(prose=prose, label=label, terminal=_terminal)
    environment.globals.update(
        draw=draw,
        draw_ladder=draw_ladder,
        proto_class=_proto_class,
        truths=TRUTHS,
        fold_lines=FOLD_LINES,
        open_lines=OPEN_LINES,
        style_file=STYLE,
        script_file=SCRIPT,
    )
    return environment


def _page(view: RunView, single: bool) -> str:
    css, script = _css(view), _script()
    style, code = (_digest(css), _digest(script)) if single else ("'self'", "'self'")
    policy = f"default-src 'none'; style-src {style}; script-src {code}; base-uri 'none'; form-action 'none'"
    return (
        _environment()
        .get_template("index.html.j2")
        .render(run=view, single=single, css=Markup(css), script=Markup(script), policy=policy)
    )


def render_history(history: History) -> str:
    """The page of several runs: as quiet as that of one, and without any script."""
    css = _plain_css()
    policy = f"default-src 'none'; style-src {_digest(css)}; base-uri 'none'; form-action 'none'"
    return _environment().get_template("history.html.j2").render(history=history, css=Markup(css), policy=policy)


def _css(view: RunView) -> str:
    return _plain_css() + palette_css(_styles(view)) + _field_css(view)


def _plain_css() -> str:
    own = re.sub(r"/\*.*?\*/", "", (_TEMPLATES / "style.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s*([{};,>])\s*|(?<=[a-z0-9]:) ", r"\1", own).replace(";}", "}")


def _script() -> str:
    """As it is written, without the comments and the indentation."""
    lines = (line.strip() for line in (_TEMPLATES / "report.js").read_text(encoding="utf-8").split("\n"))
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _field_css(view: RunView) -> str:
    """Pointing at a field lights up its bytes, and at bytes their fields: a rule a field, for want of a script."""
    rows = (row for variant in _variants(view) for capture in variant.captures for row in capture.rows())
    every = range(max((len(row.bytes.fields) for row in rows if row.bytes is not None), default=0))
    if not every:
        return ""
    to_bytes = ",".join(f".hex:has(li:nth-child({n + 1}):hover) .x{n}" for n in every)
    to_fields = ",".join(f".hex:has(.x{n}:hover) li:nth-child({n + 1})" for n in every)
    return f"{to_bytes},{to_fields}{{background:var(--accent);color:var(--paper)}}"


def _proto_class(protocol: str) -> str:
    """A colour's class for the protocols that have one. The name is there too: colour is never alone."""
    return f"p-{protocol.lower()}" if protocol in ("ARP", "ICMP", "ICMPv6", "TCP", "UDP", "DNS") else ""


def _terminal(lines: tuple[Line, ...]) -> Markup:
    """Lines of a terminal as HTML, one span for each change of looks."""
    return Markup("\n").join(Markup("").join(_span(*part) for part in _merged(line)) for line in lines)


def _merged(line: Line) -> Iterator[tuple[str, str]]:
    """Neighbours that look alike are one: a line of raw bytes is one span, not thousands."""
    text, classes = "", ""
    for span in line:
        here = " ".join((*span.style.classes(), *(("control",) if span.control else ())))
        if here != classes and text:
            yield text, classes
            text = ""
        text, classes = text + span.text, here
    if text:
        yield text, classes


def _span(text: str, classes: str) -> Markup:
    return Markup('<span class="{}">{}</span>').format(classes, text) if classes else escape(text)


def _styles(view: RunView) -> Iterator[Style]:
    for step in _steps(view):
        for stream in step.outputs:
            for line in (*stream.lines, *stream.tail):
                yield from (span.style for span in line)


def _steps(view: RunView) -> Iterator[StepView]:
    for variant in _variants(view):
        yield from variant.topology_steps
        yield from variant.steps


def _variants(view: RunView) -> Iterator[VariantView]:
    for lab in view.labs:
        if lab.experiment is not None:
            yield lab.experiment
        yield from lab.controls
