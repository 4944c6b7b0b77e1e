"""`labrun judge` and `labrun report`: everything after a run, from its directory alone. No engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labrun.cli.options import REPORTS, Json, Out, Strict

if TYPE_CHECKING:
    from labrun.judge.results import RunResult

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, or its id (latest: the newest).")]


def judge(run: Run, out: Out = REPORTS, strict: Strict = False, as_json: Json = False) -> None:
    """Judge a stored run again, and write its results.json."""
    from labrun.cli.terminal import print_summary
    from labrun.conduct import write_results
    from labrun.judge.results import exit_code, results_json

    folder, result = _judged(run, out)
    write_results(folder, result)
    print_summary(result, sys.stderr if as_json else sys.stdout)
    if as_json:
        import json

        print(json.dumps(results_json(result), indent=1))
    raise typer.Exit(exit_code(result, strict))


def report(run: Run, out: Out = REPORTS) -> None:
    """Render a stored run's reports again: index.html, index.md, junit.xml."""
    from labrun.conduct import write_results
    from labrun.report.write import write_reports

    folder, result = _judged(run, out)
    write_results(folder, result)
    for path in write_reports(folder, result):
        print(path)


def _judged(run: Path, out: Path) -> tuple[Path, RunResult]:
    from labrun.evidence.run import resolve_run
    from labrun.judge.run import judge_run

    folder = resolve_run(run, out)
    return folder, judge_run(folder)
