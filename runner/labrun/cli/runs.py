"""`labrun judge` and `labrun report`: everything after a run, from its directory alone. No engine."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labrun.cli import options
from labrun.cli.defaults import Configured

if TYPE_CHECKING:
    from labrun.evidence.run import LabEntry
    from labrun.judge.results import RunResult
    from labrun.judge.run import Edited


class PageLayout(StrEnum):
    single = "single"
    folder = "folder"


@click.command(cls=Configured)
@options.run
@options.out
@options.strict
@options.as_json
@click.option(
    "--lab",
    metavar="FILE",
    type=options.PATH,
    help="Judge the stored evidence by this edited lab; nothing is written.",
)
def judge(run: Path, out: Path, strict: bool, as_json: bool, lab: Path | None) -> int:
    """Judge a stored run again, and write its results.json; with --lab, by that file's predictions.

    RUN is a run directory, or its id (latest: the newest).
    """
    from labrun.cli.terminal import print_summary
    from labrun.conduct import write_results
    from labrun.judge.results import exit_code, results_json

    folder, result = _judged(run, out, lab)
    if lab is None:
        write_results(folder, result)
    print_summary(result, sys.stderr if as_json else sys.stdout, run=folder)
    if as_json:
        import json

        print(json.dumps(results_json(result), indent=1))
    return exit_code(result, strict)


@click.command(cls=Configured)
@options.run
@options.out
@click.option(
    "--format",
    "formats",
    metavar="LIST",
    default="html,md,junit",
    show_default=True,
    help="Some of html, md, junit, ctrf; commas between.",
)
@click.option(
    "--layout",
    type=click.Choice(PageLayout),
    default=PageLayout.single,
    help="The page as a single file, or a folder: style and script beside it.",
)
def report(run: Path, out: Path, formats: str, layout: PageLayout) -> None:
    """Render a stored run's reports again, from its evidence alone.

    RUN is a run directory, or its id (latest: the newest).
    """
    from labrun.cli.ci import attach_evidence
    from labrun.conduct import write_results
    from labrun.report.write import FORMATS, write_reports

    wanted = tuple(dict.fromkeys(name.strip() for name in formats.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        known = ", ".join(FORMATS)
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'} is not one of {known}", param_hint="--format")
    folder, result = _judged(run, out)
    write_results(folder, result)
    for path in write_reports(folder, result, wanted, layout.value):
        print(path)
    if "junit" in wanted:
        attach_evidence(folder, result)


def _judged(run: Path, out: Path, edited: Path | None = None) -> tuple[Path, RunResult]:
    """``edited``: another version of one of the run's labs; only that lab is judged, and nothing is written."""
    from labrun.evidence.run import EvidenceError, read_run, resolve_run
    from labrun.judge.run import judge_run

    folder = resolve_run(run, out)
    if edited is None:
        return folder, judge_run(folder)
    from labrun.judge.run import judge_edited
    from labrun.lab.catalogue import LAB_FILE
    from labrun.lab.text import read_text

    file = edited / LAB_FILE if edited.is_dir() else edited
    text = read_text(file, str(file))
    names = {file.absolute().parent.name, file.stem}
    entries = [entry for entry in read_run(folder).labs if entry.slug.partition("--")[0] in names]
    if not entries and len(read_run(folder).labs) == 1:
        entries = list(read_run(folder).labs)
    if not entries:
        raise EvidenceError(f"{folder}: this run has no lab named {' or '.join(sorted(names))}")
    return folder, judge_edited(folder, [edited_lab(entry, text, file) for entry in entries])


def edited_lab(entry: LabEntry, text: str, file: Path) -> Edited:
    """A lab of a run by another text of its file. Raises LabError where that text is wrong."""
    from dataclasses import replace

    from labrun.evidence.lab import stored
    from labrun.judge.run import Edited
    from labrun.lab.check.filters import check_filters
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import parse_lab
    from labrun.lab.problems import LabError

    compiled = compile_lab(parse_lab(text, file, entry.slug, str(file), entry.cell))
    problems = check_filters(compiled.lab)
    if problems:
        raise LabError(problems)
    return Edited(replace(entry, shown=str(file)), stored(compiled), compiled.plans)
