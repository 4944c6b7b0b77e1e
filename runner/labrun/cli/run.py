"""`labrun all` and `labrun run`: labs in sandboxes, judged and reported."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labrun import __version__
from labrun.cli import options
from labrun.cli.defaults import Configured
from labrun.cli.options import EngineName, IsolationName, UserlandName

if TYPE_CHECKING:
    from labrun.cli.engines import Choice
    from labrun.cli.provenance import State
    from labrun.cli.shards import ShardName
    from labrun.conduct import Conducted
    from labrun.engines.base import Engine, EngineInfo
    from labrun.evidence.run import InvalidLab, RunRecord, Shard
    from labrun.lab.base import Scalar
    from labrun.lab.catalogue import Named
    from labrun.lab.compile import CompiledLab


Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True)
class RunOptions:
    """What the command line says of a run."""

    engine: EngineName
    isolation: IsolationName | None
    userland: UserlandName
    jobs: int | None
    out: Path
    tags: tuple[str, ...]
    timeout_s: float | None
    strict: bool
    as_json: bool
    repeat: int
    words: str | None
    values: Mapping[str, Sequence[Scalar]]
    last_failed: bool
    failed_first: bool
    first_failure: bool
    max_failures: int | None
    shard: ShardName | None
    durations: Path | None
    quiet: bool
    verbose: bool
    kernel: str | None = None


def run_options(command: Command) -> Command:
    """The options of every run; the command gets them as `RunOptions`, by name."""
    for option in reversed(
        (
            options.engine,
            options.kernel,
            options.isolation,
            options.userland,
            options.jobs,
            options.out,
            options.words,
            options.tag,
            options.last_failed,
            options.failed_first,
            options.first_failure,
            options.max_failures,
            options.shard,
            options.durations,
            options.values,
            options.timeout,
            options.strict,
            options.as_json,
            options.repeat,
            options.quiet,
            options.verbose,
        )
    ):
        command = option(command)
    return command


@click.command("all", cls=Configured)
@run_options
def all_labs(**given: Any) -> int:
    """Run every lab: those in ./labs if there is one, else those that ship with labrun."""
    from labrun.lab.catalogue import Named, labs_folder
    from labrun.lab.catalogue import all_labs as every
    from labrun.lab.problems import LabError, Problem

    folder = labs_folder(Path.cwd())
    paths = every(folder)
    if not paths:
        raise LabError([Problem(str(folder), 0, 0, "no labs here: a lab is a folder with a lab.yaml")])
    return run_labs([Named(path) for path in paths], RunOptions(**given))[1]


@click.command("run", cls=Configured)
@click.argument("labs", metavar="LAB...", nargs=-1, required=True, shell_complete=options.complete_labs)
@run_options
def some_labs(labs: tuple[str, ...], **given: Any) -> int:
    """Run the given labs. LAB is a slug, a folder with a lab.yaml, or a file.

    LAB/HYPOTHESIS is one hypothesis of a lab, LAB[mtu=1400] one run of a lab with parameters. A run (its directory or
    id), or its index.html alone, stands for all its labs, as they ran then. A folder in a format that `labrun import`
    knows is imported for this run.
    """
    wanted = RunOptions(**given)
    with ExitStack() as stack:
        return run_labs(_meant(labs, wanted.out, stack), wanted)[1]


def _meant(names: Sequence[str], out: Path, stack: ExitStack) -> tuple[Named, ...]:
    """Labs of earlier runs come after the others. ``stack``: for how long what is imported stays."""
    from labrun.cli.foreign import as_labs
    from labrun.lab.catalogue import find_labs

    from_runs: list[Named] = []
    others: list[str] = []
    for name in names:
        found = None
        if "/" in name or name[:1].isdigit() or name == "latest" or name.endswith((".html", ".htm")):
            from labrun.cli.again import again

            found = again(name, out, Path.cwd(), stack)
        if found is None:
            others.append(name)
        else:
            from_runs += found
    return (*find_labs(as_labs(others, Path.cwd(), stack, _say), Path.cwd()), *from_runs)


def run_labs(paths: Sequence[Named], wanted: RunOptions) -> tuple[Path, int]:
    """The run's directory, and the exit code."""
    from labrun.cli.engines import at_once, choose
    from labrun.evidence.run import new_run_id
    from labrun.pace import cores

    now = datetime.now(UTC)
    run_id = new_run_id(now)
    run = wanted.out / run_id
    ahead = wanted.jobs or cores()
    asking = ThreadPoolExecutor(1, "git")
    from_git = asking.submit(_states, [one.file for one in paths if one.kept is None], wanted.out)
    asking.shutdown(wait=False)
    with ExitStack() as stack:
        choice = None
        if at_once(wanted.engine, wanted.userland, wanted.kernel):
            choice = choose(wanted.engine, wanted.userland, wanted.isolation, run_id, _say, ahead, wanted.kernel)
            stack.enter_context(choice.engine)
        compiled, invalid, shard = _shared(*_usable(paths, wanted), wanted)
        if choice is None:
            choice = choose(wanted.engine, wanted.userland, wanted.isolation, run_id, _say, ahead, wanted.kernel)
            stack.enter_context(choice.engine)

        engine = choice.engine
        wanted_packages = {plan.userland for lab in compiled for plan in lab.plans if plan.userland is not None}
        if wanted_packages:
            from labrun.cli.engines import with_packages

            engine = with_packages(engine, wanted_packages, stack, _say)
        from labrun.conduct import begin

        info = choice.engine.info
        if not wanted.quiet:
            _say(_about(info, choice.reason))
        command = ("labrun", *map(_from_here, sys.argv[1:]))
        known = from_git.result()
        begin(run, record_of(run_id, now, command, choice, compiled, invalid, wanted.repeat, known, shard))
        conducted = _conduct(compiled, engine, run, wanted)

    from labrun.conduct import finish
    from labrun.judge.results import exit_code, results_json

    result = finish(run, conducted.judged)

    from labrun.cli.terminal import print_summary

    print_summary(result, sys.stderr if wanted.as_json else sys.stdout, wanted.quiet, run)
    from labrun.cli.ci import tell_ci

    tell_ci(run, result, sys.stderr if wanted.as_json else sys.stdout)
    where = f"report: {run / 'index.html'}"
    if wanted.as_json:
        import json

        print(json.dumps(results_json(result), indent=1))
        _say(where)
    else:
        print(where)
    if conducted.left_out:
        _say(f"not begun, after enough had failed: {', '.join(conducted.left_out)}")
    if not conducted.whole:
        _say("interrupted: what was done is in the report")
        return run, 3
    if shard is not None and not result.labs:
        return run, 0
    return run, exit_code(result, wanted.strict)


def record_of(
    run_id: str,
    now: datetime,
    command: tuple[str, ...],
    choice: Choice,
    compiled: Sequence[CompiledLab],
    invalid: Sequence[InvalidLab],
    repeat: int,
    known: Mapping[Path, State],
    shard: Shard | None = None,
) -> RunRecord:
    """``command``: what runs it again. ``known``: which commits have the labs' files."""
    from labrun.cli.provenance import checkouts, ci_job
    from labrun.conduct import entry_of
    from labrun.evidence.run import RunRecord

    info = choice.engine.info
    return RunRecord(
        id=run_id,
        started=now.isoformat(timespec="seconds"),
        labrun=__version__,
        engine=info.name,
        engine_version=info.version,
        isolation=info.isolation,
        isolation_note=info.note,
        kernel=info.kernel,
        image=info.image,
        image_id=info.image_id,
        python=platform.python_version(),
        command=command,
        labs=tuple(entry_of(lab, repeat) for lab in compiled),
        invalid=tuple(invalid),
        engine_reason=choice.reason,
        userland=info.userland,
        processor=_processor() if info.kernel == platform.release() else None,
        shard=shard,
        checkouts=checkouts(((lab.lab.slug, lab.lab.path) for lab in compiled), known),
        ci=ci_job(os.environ),
    )


def _states(files: Sequence[Path], out: Path) -> Mapping[Path, State]:
    from labrun.cli.provenance import states

    return states(files, out) if files else {}


def _from_here(word: str) -> str:
    """A word of the command line without this machine's folders: a path in it begins here."""
    option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if not value.startswith("/") or value.startswith("//"):
        return word
    return f"{option}{sign}{os.path.relpath(value)}"


def _usable(paths: Sequence[Named], wanted: RunOptions) -> tuple[Sequence[CompiledLab], Sequence[InvalidLab]]:
    """What can run and what cannot, the problems told. Raises LabError or Exit where nothing is left to run."""
    from labrun.cli.choose import Wanted, choose_labs

    before = None
    if wanted.last_failed or wanted.failed_first:
        from labrun.cli.earlier import earlier

        before = earlier(wanted.out)
    chosen = choose_labs(
        paths,
        Wanted(
            wanted.words, wanted.tags, wanted.values, wanted.timeout_s, wanted.last_failed, wanted.failed_first, before
        ),
    )
    for lab in chosen.invalid:
        _say("\n".join(lab.problems))
    if not chosen.labs:
        raise click.exceptions.Exit(2)
    if chosen.remark is not None:
        _say(chosen.remark)
    return chosen.labs, chosen.invalid


def _shared(
    compiled: Sequence[CompiledLab], invalid: Sequence[InvalidLab], wanted: RunOptions
) -> tuple[Sequence[CompiledLab], Sequence[InvalidLab], Shard | None]:
    """Those that this machine has to run, and which share that is."""
    if wanted.shard is None:
        return compiled, invalid, None
    from labrun.cli.shards import dealt
    from labrun.evidence.durations import read_durations
    from labrun.evidence.run import Shard

    variants = {lab.lab.slug: tuple(plan.variant for plan in lab.plans) for lab in compiled}
    every = {**variants, **{lab.slug: () for lab in invalid}}
    file = wanted.durations.absolute() if wanted.durations is not None else None
    seconds = read_durations(file.parent, file.name) if file is not None else {}
    if file is not None and not seconds:
        _say(f"{wanted.durations}: no durations are there; labs are dealt by their number of sandboxes")
    mine = dealt(every, seconds, wanted.shard.of)[wanted.shard.number - 1]
    _say(f"shard {wanted.shard.number}/{wanted.shard.of}: {len(mine)} of {len(every)} labs")
    return (
        [lab for lab in compiled if lab.lab.slug in mine],
        [lab for lab in invalid if lab.slug in mine],
        Shard(wanted.shard.number, wanted.shard.of, tuple(every)),
    )


def _conduct(compiled: Sequence[CompiledLab], engine: Engine, run: Path, wanted: RunOptions) -> Conducted:
    from labrun.cli.terminal import Detail, Lines, Live
    from labrun.conduct import conduct as go
    from labrun.pace import ByPressure, Fixed, cores

    Thread(target=_get_ready, name="get ready", daemon=True).start()
    detail = Detail(run if wanted.verbose else None, wanted.quiet)
    progress = Live(len(compiled), detail) if sys.stderr.isatty() else Lines(detail)
    limit = 1 if wanted.first_failure else wanted.max_failures
    pace = Fixed(wanted.jobs) if wanted.jobs else ByPressure(cores())
    try:
        return go(compiled, engine, run, pace, progress, time.monotonic, wanted.repeat, limit, wanted.failed_first)
    finally:
        progress.close()


def _get_ready() -> None:
    """While the sandboxes are at it: import what comes after them. If that fails, it fails again where it is needed."""
    with suppress(Exception):
        for name in ("labrun.report.write", "rich.table"):
            importlib.import_module(name)


def _processor() -> str | None:
    """Of this host, in the kernel's words; None where it has none for it."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        lines = file.read(4096).splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    return None


def _about(info: EngineInfo, reason: str | None) -> str:
    """One line: where labs run, with whose programs, and why."""
    programs = f", programs of the {info.userland}" if info.name == "native" else ""
    words = [f"engine: {info.name} {info.version}, {info.isolation}{programs}"]
    return words[0] + (f" ({reason})" if reason else "") + (f": {info.note}" if info.note else "")


def _say(text: str) -> None:
    from labrun.logic.visible import visible

    print(visible(text, "\n\t"), file=sys.stderr, flush=True)
