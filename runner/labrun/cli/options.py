"""The options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from labrun.cli.shards import ShardName
    from labrun.lab.base import Scalar
    from labrun.lab.load import Lab


class EngineName(StrEnum):
    auto = "auto"
    docker = "docker"
    podman = "podman"
    native = "native"
    vm = "vm"


class UserlandName(StrEnum):
    auto = "auto"
    image = "image"
    host = "host"


class IsolationName(StrEnum):
    privileged = "privileged"
    least = "least"


PATH = click.Path(path_type=Path)

engine = click.option(
    "--engine",
    type=click.Choice(EngineName),
    default=EngineName.auto,
    help="Where labs run. auto: Docker or Podman if one answers, else native: no daemon, no root.",
)
kernel = click.option(
    "--kernel",
    metavar="KERNEL",
    help="Labs run in virtual machines with it: 6.1, 6.12, a .deb file, a folder (default of vm: the newest at hand).",
)
userland = click.option(
    "--userland",
    type=click.Choice(UserlandName),
    default=UserlandName.auto,
    help="Whose programs labs run, natively. auto: the lab image's if it is there or can be built.",
)
isolation = click.option(
    "--isolation",
    type=click.Choice(IsolationName),
    help="Containers: privileged (the default; least where refused), or least capabilities.",
)
jobs = click.option(
    "-j",
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    help="Sandboxes at a time. Default: as many as the machine has room for.",
)
out = click.option(
    "--out", metavar="DIR", type=PATH, default=Path("reports"), show_default=True, help="Where run directories go."
)
words = click.option(
    "-k",
    "words",
    metavar="EXPR",
    callback=lambda context, option, value: _means(value),
    help="Only hypotheses whose lab, name or tags have these words: 'mtu and not slow'.",
)
tag = click.option(
    "--tag",
    "tags",
    metavar="TAG",
    multiple=True,
    callback=lambda context, option, value: tuple(map(_means, value)),
    shell_complete=lambda context, option, typed: complete_tags(typed),
    help="Only labs with this tag, or without: 'not slow'; may be given several times.",
)
last_failed = click.option(
    "--last-failed", "--lf", is_flag=True, help="Only hypotheses that were not as expected when they last ran."
)
failed_first = click.option("--failed-first", "--ff", is_flag=True, help="Labs that last failed run first.")
first_failure = click.option(
    "-x", "first_failure", is_flag=True, help="Begin no lab after the first failure; as --max-failures 1."
)
max_failures = click.option(
    "--max-failures", metavar="N", type=click.IntRange(min=1), help="Begin no lab after N verdicts not as expected."
)
values = click.option(
    "--set",
    "values",
    metavar="NAME=VALUE",
    multiple=True,
    callback=lambda context, option, value: _values(value),
    help="Labs with this parameter run with this value; several values, several runs.",
)
shard = click.option(
    "--shard",
    metavar="K/N",
    callback=lambda context, option, value: _shard(value),
    help="Only this share of the labs, such as 2/5; `labrun merge` puts the runs together.",
)
durations = click.option(
    "--durations",
    metavar="FILE",
    type=PATH,
    help="A durations.json, to deal labs by how long they take. The same for every --shard.",
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Say only what is not as expected.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Show each step of the experiments, and what it printed.")
timeout = click.option(
    "--timeout",
    "timeout_s",
    metavar="DURATION",
    callback=lambda context, option, value: _duration_s(value),
    help="Bound on each lab, such as 30s or 2m.",
)
strict = click.option("--strict", is_flag=True, help="Exit with 3 if a lab was skipped.")
repeat = click.option(
    "--repeat",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=1,
    help="Run every lab N times (at most 1000); verdicts must agree.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print results.json to stdout; people's text goes to stderr."
)


def complete_labs(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Labs here and those that ship, for the shell's completion; after `LAB--` its runs, after `LAB/` its claims."""
    from labrun.lab.catalogue import all_labs, labs_folder, shipped_labs

    paths = {path.parent.name: path for path in (*all_labs(shipped_labs()), *all_labs(labs_folder(Path.cwd())))}
    found = [*paths]
    for slug, path in paths.items():
        if typed.startswith((f"{slug}/", f"{slug}--")):
            cells = _cells(path)
            found += [lab.slug for lab in cells if lab.slug != slug]
            found += [f"{name}/{h.id}" for lab in cells for name in {slug, lab.slug} for h in lab.model.hypotheses]
    return sorted({name for name in found if name.startswith(typed)})


def complete_tags(typed: str) -> list[str]:
    """The tags of the labs here."""
    from labrun.lab.catalogue import all_labs, labs_folder

    tags = {tag for path in all_labs(labs_folder(Path.cwd())) for lab in _cells(path)[:1] for tag in lab.model.tags}
    return sorted(tag for tag in tags if tag.startswith(typed))


def _cells(path: Path) -> Sequence[Lab]:
    """None where the lab is wrong: a shell's completion has no place to say so."""
    from labrun.lab.load import load_cells
    from labrun.lab.problems import LabError

    try:
        return load_cells(path)
    except LabError:
        return ()


def complete_runs(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """The ids of the runs under --out, newest first."""
    out = context.params.get("out") or Path("reports")
    runs = (path.parent.name for path in out.glob("*/run.json"))
    return sorted((name for name in runs if name.startswith(typed)), reverse=True)


run = click.argument("run", type=PATH, shell_complete=complete_runs)


def _shard(text: str | None) -> ShardName | None:
    from labrun.cli.shards import shard_name

    return shard_name(text)


def _duration_s(text: str | None) -> float | None:
    """A duration option in seconds; a wrong one is a usage error."""
    if text is None:
        return None
    from pydantic import TypeAdapter, ValidationError

    from labrun.lab.base import Duration

    try:
        seconds: float = TypeAdapter(Duration).validate_python(float(text) if text.isdigit() else text)
    except ValidationError as error:
        raise click.BadParameter(error.errors()[0]["msg"]) from error
    return seconds


def _means(text: str | None) -> str | None:
    """The words of an option, unchanged; words that mean nothing are a usage error."""
    from labrun.logic.words import meaning

    if text is not None:
        try:
            meaning(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return text


def _values(given: Sequence[str]) -> dict[str, tuple[Scalar, ...]]:
    """Parameter -> its values, typed as they would be in a lab's file."""
    from labrun.lab.problems import LabError
    from labrun.lab.text import parse_yaml

    found: dict[str, tuple[Scalar, ...]] = {}
    for text in given:
        name, sign, written = text.partition("=")
        try:
            value = parse_yaml(written, f"--set {name}")[0] if sign else None
        except LabError as error:
            raise click.BadParameter(str(error)) from error
        if not name or not isinstance(value, str | int | float | bool):
            raise click.BadParameter(f"'{text}' is not NAME=VALUE, such as mtu=9000")
        if not any(type(value) is type(old) and value == old for old in found.get(name, ())):
            found[name] = (*found.get(name, ()), value)
    return found
