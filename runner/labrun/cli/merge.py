"""`labrun merge`: shards of a run, or several attempts at it, as one run: one report, one exit code."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from labrun import __version__
from labrun.cli import options
from labrun.cli.defaults import Configured


@click.command(cls=Configured)
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=options.PATH, shell_complete=options.complete_runs
)
@click.option(
    "-o", "--output", "target", metavar="DIR", type=options.PATH, help="The run to make; else one under --out."
)
@options.strict
@options.out
def merge(runs: tuple[Path, ...], target: Path | None, strict: bool, out: Path) -> int:
    """Put runs together: the shards of one, or several attempts at the same labs.

    RUN is a run directory, or its id. Every attempt is kept, and where two do not agree, the verdict is inconclusive.
    What is missing, or not the same in all, is said. Exits as `labrun run` does.
    """
    from labrun.cli.terminal import print_summary
    from labrun.conduct import finish
    from labrun.evidence.attempts import merge as put_together
    from labrun.evidence.run import RunRecord, new_run_id, resolve_run
    from labrun.judge.results import exit_code
    from labrun.logic.visible import visible

    now = datetime.now(UTC)
    name = new_run_id(now)
    run = target or out / name
    if run.exists() and any(run.iterdir()):
        raise click.UsageError(f"{run} is there already: name a folder that is not")
    about = RunRecord(
        id=name, started=now.isoformat(timespec="seconds"), labrun=__version__, engine="", engine_version="",
        isolation="", isolation_note=None, kernel=None, image=None, image_id=None, python=platform.python_version(),
        command=("labrun", "merge", *(path.name for path in runs)), labs=(),
    )  # fmt: skip
    made = put_together([resolve_run(path, out) for path in runs], run, about)
    for note in made.notes:
        print(visible(note), file=sys.stderr)
    result = finish(run)
    print_summary(result, sys.stdout, run=run)
    print(f"report: {run / 'index.html'}")
    return exit_code(result, strict)
