"""The reports of a run as files beside its evidence. The only module of the room that writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from labrun.judge.results import RunResult
from labrun.report.build import build_view
from labrun.report.html import render_html
from labrun.report.junit import render_junit
from labrun.report.markdown import render_markdown
from labrun.report.view import RunView

FORMATS: dict[str, tuple[str, Callable[[RunView], str]]] = {
    "html": ("index.html", render_html),
    "md": ("index.md", render_markdown),
    "junit": ("junit.xml", render_junit),
}


def write_reports(
    run_dir: Path, result: RunResult, formats: tuple[str, ...] = ("html", "md", "junit")
) -> tuple[Path, ...]:
    """Write each format's file into ``run_dir`` and return their paths, in the order of ``formats``.

    A reader never sees half a file: each is replaced in one step. Raises KeyError for a format that is none of
    FORMATS, EvidenceError where ``run_dir`` is no run, OSError where nothing can be written.
    """
    chosen = [FORMATS[name] for name in formats]
    view = build_view(run_dir, result)
    written = []
    for name, render in chosen:
        path = run_dir / name
        fresh = run_dir / f".{name}.{os.getpid()}"
        try:
            fresh.write_text(render(view), encoding="utf-8", newline="\n")
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        written.append(path)
    return tuple(written)
