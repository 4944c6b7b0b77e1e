"""`labrun bundle` and `labrun verify`: a finding as one file, and whether such a file is whole."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from labrun.cli import options
from labrun.cli.defaults import Configured

_CODES = {"verified": 0, "broken": 1, "undecided": 3}
_MARKS = {"verified": "✔", "broken": "✘", "undecided": "?"}


@click.command(cls=Configured)
@options.run
@click.option(
    "--lab", "labs", metavar="LAB", multiple=True, help="Only this lab of the run; may be given several times."
)
@click.option(
    "-o", "--output", "target", metavar="FILE", type=options.PATH, default=Path("finding.zip"), show_default=True,
    help="The file to write.",
)  # fmt: skip
@options.out
def bundle(run: Path, labs: tuple[str, ...], target: Path, out: Path) -> None:
    """Put a run into one file that anyone can verify and run again: labs, evidence, results, report.

    RUN is a run directory, or its id (latest: the newest).
    """
    from labrun.evidence.run import resolve_run
    from labrun.finding.bundle import bundle as go

    folder = resolve_run(run, out)
    if target.is_dir():
        raise click.UsageError(f"{target} is a folder: name a file, such as {target / 'finding.zip'}")
    made = go(folder, target.absolute(), labs)
    print(f"{target}: {made.files} files, {target.stat().st_size} bytes")
    if made.no_recipe is not None:
        print(f"without the userland's recipe: {made.no_recipe}")
    for name, files in made.names.items():
        print(f"names {name} of this machine: {', '.join(files[:3])}{' ...' if len(files) > 3 else ''}")


@click.command
@click.argument("file", type=options.PATH)
def verify(file: Path) -> int:
    """Check a finding's file: is it whole, and do its verdicts follow from its evidence? Starts nothing.

    Exits with 0 for verified, 1 for broken, 3 where this labrun cannot decide it.
    """
    import tempfile

    from labrun.cli.terminal import console_for
    from labrun.finding.verify import verify as go
    from labrun.logic.visible import visible

    if not file.is_file():
        raise click.UsageError(f"{file}: no such file")
    console = console_for(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="labrun-verify-") as scratch:
        found = go(file.absolute(), Path(scratch) / "finding")
    for step in found.steps:
        console.print(f"{_MARKS[step.word]} {step.name:<9} {visible(step.message)}")
    console.print(found.word)
    return _CODES[found.word]
