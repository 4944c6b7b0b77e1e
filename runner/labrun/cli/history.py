"""`labrun history`: one page from several runs. Reads their results.json, judges nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from labrun.cli import options
from labrun.cli.defaults import Configured

if TYPE_CHECKING:
    from labrun.report.history import Past

_MOST = 256 * 1024 * 1024  # bytes of a results.json


@click.command(cls=Configured)
@click.argument("runs", metavar="[RUN...]", nargs=-1, type=options.PATH, shell_complete=options.complete_runs)
@options.out
@click.option("--page", metavar="FILE", type=options.PATH, help="Where the page goes (default: history.html in --out).")
def history(runs: tuple[Path, ...], out: Path, page: Path | None) -> int:
    """Write one page from several runs: which verdicts changed, when, and what else was new then.

    RUN is a run directory, its id, or a results.json; without any, all runs in --out.
    """
    from labrun.evidence.files import EvidenceError, write_whole
    from labrun.logic.visible import visible
    from labrun.report.history import history as of_runs
    from labrun.report.html import render_history

    target = page or out / "history.html"
    found: list[Past] = []
    for file in [_results(run, out) for run in runs] or sorted(out.glob("2*/results.json")):
        try:
            found.append(_read(file, target))
        except EvidenceError as error:
            if runs:
                raise
            print(visible(f"left out: {error}"), file=sys.stderr)  # one of many that nobody named
    if not found:
        raise click.UsageError(f"{out}: no run is there")
    made = of_runs(found)
    write_whole(target, render_history(made))
    from labrun.cli.terminal import counted

    what = (counted(len(made.runs), "run"), counted(made.claims, "claim"), counted(len(made.turns), "verdict"))
    print(f"{what[0]}, {what[1]}: {what[2]} changed")
    print(target)
    return 0


def _results(run: Path, out: Path) -> Path:
    if run.is_file():
        return run
    return (run if run.is_dir() else out / run).resolve() / "results.json"


def _read(file: Path, page: Path) -> Past:
    """Raises EvidenceError."""
    from labrun.evidence.files import EvidenceError, read_below
    from labrun.protocol.codec import ProtocolError, parse
    from labrun.report.history import NoResults, past

    beside = file.parent / "index.html"
    href = quote(os.path.relpath(beside, page.parent)) if beside.is_file() else None
    try:
        return past(parse(read_below(file.parent, file.name, _MOST)), href)
    except (ProtocolError, NoResults) as error:
        raise EvidenceError(f"{file}: not the results of a run: {error}") from error
