"""`labrun bundle`, `labrun verify` and `labrun reproduce`: a finding as one file, checked, and run again here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labrun.cli import options
from labrun.cli.defaults import Configured
from labrun.cli.options import EngineName, IsolationName, UserlandName

if TYPE_CHECKING:
    from labrun.finding.compared import Compared, Fact
    from labrun.finding.verify import Verification

_CODES = {"verified": 0, "broken": 1, "undecided": 3}
_MARKS = {"verified": "✔", "broken": "✘", "undecided": "?"}
_MAX_KEY = 64 * 1024
_MANY = 12  # differences of two environments that are worth a line

_FILE = click.argument("file", type=options.PATH)
_KEY = click.option(
    "--key", metavar="PUB", type=options.PATH, help="The public key (Ed25519, PEM) by which it must be signed."
)


@click.command(cls=Configured)
@options.run
@click.option(
    "--lab", "labs", metavar="LAB", multiple=True, help="Only this lab of the run; may be given several times."
)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    type=options.PATH,
    default=Path("finding.zip"),
    show_default=True,
    help="The file to write.",
)
@click.option("--sign", metavar="KEY", type=options.PATH, help="Sign it by this private key (Ed25519, PEM).")
@options.out
def bundle(run: Path, labs: tuple[str, ...], target: Path, sign: Path | None, out: Path) -> None:
    """Put a run into one file that anyone can verify and run again: labs, evidence, results, report.

    RUN is a run directory, or its id (latest: the newest).
    """
    from labrun.evidence.run import resolve_run
    from labrun.finding.bundle import bundle as go

    folder = resolve_run(run, out)
    if target.is_dir():
        raise click.UsageError(f"{target} is a folder: name a file, such as {target / 'finding.zip'}")
    made = go(folder, target.absolute(), labs, _signing(sign) if sign is not None else None)
    print(f"{target}: {made.files} files, {target.stat().st_size} bytes")
    if made.no_recipe is not None:
        print(f"without the userland's recipe: {made.no_recipe}")
    for name, files in made.names.items():
        print(f"names {name} of this machine: {', '.join(files[:3])}{' ...' if len(files) > 3 else ''}")


def _signing(file: Path) -> Callable[[bytes], str]:
    from labrun.finding.sign import KeyUnusable, signed

    key = _read_key(file)

    def sign(payload: bytes) -> str:
        try:
            return signed(payload, key)
        except KeyUnusable as error:
            raise click.UsageError(f"{file}: {error}") from error

    return sign


def _read_key(file: Path) -> bytes:
    with file.open("rb") as found:
        return found.read(_MAX_KEY)


@click.command
@_FILE
@_KEY
def verify(file: Path, key: Path | None) -> int:
    """Check a finding's file: is it whole, and do its verdicts follow from its evidence? Starts nothing.

    Exits with 0 for verified, 1 for broken, 3 where this labrun cannot decide it.
    """
    with tempfile.TemporaryDirectory(prefix="labrun-verify-") as scratch:
        found = _verified(file, Path(scratch) / "finding", key)
    print(found.word)
    return _CODES[found.word]


def _verified(file: Path, into: Path, key: Path | None) -> Verification:
    """And a line for each step."""
    from labrun.cli.terminal import console_for
    from labrun.finding.sign import KeyUnusable
    from labrun.finding.verify import verify as go
    from labrun.logic.visible import visible

    if not file.is_file():
        raise click.UsageError(f"{file}: no such file")
    try:
        found = go(file.absolute(), into, _read_key(key) if key is not None else None)
    except KeyUnusable as error:
        raise click.UsageError(f"{key}: {error}") from error
    console = console_for(sys.stdout)
    for step in found.steps:
        console.print(f"{_MARKS[step.word]} {step.name:<10} {visible(step.message)}")
    return found


@click.command(cls=Configured)
@_FILE
@options.engine
@options.isolation
@options.userland
@options.jobs
@options.out
@_KEY
@click.option(
    "--level",
    metavar="N",
    type=click.IntRange(0, 4),
    default=2,
    show_default=True,
    help="What it takes to exit with 0: 1 judged again the same, 2 verdicts, 3 observations, 4 the report.",
)
def reproduce(
    file: Path, engine: EngineName, isolation: IsolationName | None, userland: UserlandName, jobs: int | None,
    out: Path, key: Path | None, level: int,
) -> int:  # fmt: skip
    """Verify a finding's file, run its labs here, and say how far both are the same.

    A finding may be a stranger's: containers get few rights, unless --isolation says otherwise. Exits with 0 where the
    level is reached, 1 where it is not, 3 where that could not be decided here.
    """
    from labrun.cli.again import labs_of_run
    from labrun.cli.run import RunOptions, run_labs
    from labrun.evidence.run import read_run

    with tempfile.TemporaryDirectory(prefix="labrun-reproduce-") as scratch, ExitStack() as stack:
        into = Path(scratch) / "finding"
        found = _verified(file, into, key)
        print(found.word, flush=True)
        if found.word != "verified":
            return _CODES[found.word]
        repeats = {entry.repeats for entry in read_run(into).labs}
        wanted = RunOptions(
            engine=engine, isolation=isolation or (None if engine is EngineName.native else IsolationName.least),
            userland=userland, jobs=jobs, out=out, tags=(), timeout_s=None, strict=False, as_json=False,
            repeat=max(repeats, default=1), words=None, values={}, last_failed=False, failed_first=False,
            first_failure=False, max_failures=None, shard=None, durations=None, quiet=True, verbose=False,
        )  # fmt: skip
        run, _ = run_labs(labs_of_run(into, stack), wanted)
        compared = _compared(into, run)
    _tell(compared)
    if compared.level >= level:
        return 0
    return 3 if compared.first is not None and _is_unsure(compared.first) else 1


def _compared(there: Path, here: Path) -> Compared:
    from labrun.finding.compared import compared
    from labrun.judge.run import judge_run
    from labrun.report.build import build_view
    from labrun.report.difference import difference, side
    from labrun.report.markdown import lab_markdown

    results = [judge_run(run) for run in (there, here)]
    one, two = (side(run, result) for run, result in zip((there, here), results, strict=True))
    pages = [
        {lab.slug: lab_markdown(lab) for lab in build_view(run, result).labs}
        for run, result in zip((there, here), results, strict=True)
    ]
    return compared(difference(one, two), *pages)


def _tell(compared: Compared) -> None:
    from labrun.cli.terminal import console_for
    from labrun.finding.compared import LEVELS
    from labrun.logic.visible import visible

    console = console_for(sys.stdout)
    console.print(f"level {compared.level} of {len(LEVELS) - 1}: {LEVELS[compared.level]}")
    if compared.first is not None:
        console.print(f"not {LEVELS[compared.level + 1]}. The first that differs is {visible(compared.first.where)}:")
        console.print(f"  there  {visible(compared.first.there)}\n  here   {visible(compared.first.here)}")
        if compared.environment:
            console.print("What they ran on differs, which may be why:")
        for change in compared.environment[:_MANY]:
            console.print(visible(f"  {change.what}: {change.before or 'none'} there, {change.after or 'none'} here"))
        if len(compared.environment) > _MANY:
            console.print(f"  and {len(compared.environment) - _MANY} more: `labrun diff` has all")


def _is_unsure(fact: Fact) -> bool:
    """What keeps the two apart is not known to be so here: an error is no refutation."""
    return fact.decided and fact.here.startswith(("inconclusive", "skipped", "error", "(not there)"))
