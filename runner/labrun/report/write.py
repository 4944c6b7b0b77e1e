"""The reports of a run as files beside its evidence. The only module of the room that writes."""

from __future__ import annotations

from pathlib import Path

from labrun.evidence.files import write_whole
from labrun.judge.results import RunResult
from labrun.report.build import build_view
from labrun.report.ctrf import render_ctrf
from labrun.report.html import render_folder, render_html
from labrun.report.junit import render_junit
from labrun.report.markdown import render_markdown
from labrun.report.view import RunView

FORMATS: dict[str, str] = {"html": "index.html", "md": "index.md", "junit": "junit.xml", "ctrf": "ctrf.json"}
DEFAULT = ("html", "md", "junit")


def write_reports(
    run_dir: Path,
    result: RunResult,
    formats: tuple[str, ...] = DEFAULT,
    layout: str = "single",
    evidence: str | None = None,
) -> tuple[Path, ...]:
    """Write each format's file into ``run_dir`` and return their paths, in the order of ``formats``.

    ``layout``: the HTML page as a single file, or with its style and script beside it. ``evidence``: the run
    directory as CI knows it, for attachments. A reader never sees half a file: each is replaced in one step. Raises
    KeyError for a format that is none of FORMATS, EvidenceError where ``run_dir`` is no run, OSError where nothing
    can be written.
    """
    names = [FORMATS[name] for name in formats]
    for file, text in rendered(run_dir, result, formats, layout, evidence).items():
        write_whole(run_dir / file, text)
    return tuple(run_dir / name for name in names)


def rendered(
    run_dir: Path,
    result: RunResult,
    formats: tuple[str, ...] = DEFAULT,
    layout: str = "single",
    evidence: str | None = None,
) -> dict[str, str]:
    """File -> its text, of all these formats. As `write_reports`, and writes nothing."""
    view = build_view(run_dir, result)
    found: dict[str, str] = {}
    for name in formats:
        found |= _rendered(name, view, layout, evidence)
    return found


def _rendered(name: str, view: RunView, layout: str, evidence: str | None) -> dict[str, str]:
    if name == "html":
        return render_folder(view) if layout == "folder" else {FORMATS[name]: render_html(view)}
    if name == "junit":
        return {FORMATS[name]: render_junit(view, evidence)}
    return {FORMATS[name]: render_ctrf(view) if name == "ctrf" else render_markdown(view)}
