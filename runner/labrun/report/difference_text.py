"""The difference of two runs as text for a terminal, and as Markdown."""

from __future__ import annotations

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


def total(difference: Difference) -> str:
    """In one sentence."""
    decided = difference.decided
    other = sum(not change.decided for section in difference.sections for change in section.changes)
    words = f"{difference.same} verdicts are the same" if difference.same != 1 else "1 verdict is the same"
    words += f", {decided} {'differs' if decided == 1 else 'differ'}"
    return words + f"; {other} other {'difference' if other == 1 else 'differences'} in what was done and observed."
