"""The difference of two runs as text for a terminal, as Markdown, and as a page that asks for nothing."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup, escape

from labrun.logic.visible import visible
from labrun.report import gfm
from labrun.report.difference import Change, Difference


def as_text(difference: Difference) -> str:
    """Lines without a final line break."""
    lines = [f"from {visible(difference.before)} to {visible(difference.after)}"]
    for section in difference.sections:
        lines += ["", visible(section.title), *map(_line, section.changes)]
    if difference.environment:
        lines += ["", "what they ran on", *map(_line, difference.environment)]
    return "\n".join([*lines, "", total(difference)])


def _line(change: Change) -> str:
    mark = "!" if change.decided else " "
    return f"{mark} {visible(change.what)}: {_shown(change.before)} -> {_shown(change.after)}"


def _shown(value: str | None) -> str:
    return "(not there)" if value is None else visible(value)


def as_markdown(difference: Difference) -> str:
    """GitHub's; with a final line break."""
    before, after = gfm.code(visible(difference.before)), gfm.code(visible(difference.after))
    parts = [f"# From {before} to {after}", gfm.text(total(difference))]
    for section in difference.sections:
        parts += [f"## {gfm.text(visible(section.title))}", _table(section.changes)]
    if difference.environment:
        parts += ["## What they ran on", _table(difference.environment)]
    return "\n\n".join(parts) + "\n"


def _table(changes: tuple[Change, ...]) -> str:
    rows = [[_bold(change), *(gfm.code(_shown(side)) for side in (change.before, change.after))] for change in changes]
    return gfm.table(["", "before", "after"], rows)


def _bold(change: Change) -> str:
    words = gfm.text(visible(change.what))
    return f"**{words}**" if change.decided else words


_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{border:1px solid #8888;padding:.3rem .5rem;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}td{font-family:ui-monospace,monospace;font-size:.875em}"
)


def as_html(difference: Difference) -> str:
    """One page, without a script."""
    before, after = escape(visible(difference.before)), escape(visible(difference.after))
    parts = [Markup("<h1>From {} to {}</h1>\n<p>{}</p>").format(before, after, total(difference))]
    sections = [(section.title, section.changes) for section in difference.sections]
    if difference.environment:
        sections.append(("What they ran on", difference.environment))
    for title, changes in sections:
        rows = Markup("\n").join(map(_row, changes))
        parts.append(
            Markup(
                "<h2>{}</h2>\n<table>\n<thead><tr><th></th><th>before</th><th>after</th></tr></thead>\n"
                "<tbody>\n{}\n</tbody></table>"
            ).format(visible(title), rows)
        )
    policy = (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
    )
    return Markup(
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="{}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>From {} to {}</title>\n'
        "<style>{}</style>\n{}\n</html>\n"
    ).format(policy, before, after, Markup(_STYLE), Markup("\n").join(parts))


def _row(change: Change) -> Markup:
    what = Markup("<strong>{}</strong>" if change.decided else "{}").format(visible(change.what))
    return Markup('<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>').format(
        what, _shown(change.before), _shown(change.after)
    )


def total(difference: Difference) -> str:
    """In one sentence."""
    decided = difference.decided
    other = sum(not change.decided for section in difference.sections for change in section.changes)
    words = f"{difference.same} verdicts are the same" if difference.same != 1 else "1 verdict is the same"
    words += f", {decided} {'differs' if decided == 1 else 'differ'}"
    return words + f"; {other} other {'difference' if other == 1 else 'differences'} in what was done and observed."
