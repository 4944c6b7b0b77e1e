"""The options that several commands share, and what they mean."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import click


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
    "-j", "--jobs", metavar="N", type=click.IntRange(min=1), help="Sandboxes at a time (default: cores)."
)
out = click.option(
    "--out", metavar="DIR", type=PATH, default=Path("reports"), show_default=True, help="Where run directories go."
)
tag = click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="Only labs with this tag; may be given several times."
)
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
    """The slugs of the labs here and of those that ship, for the shell's completion."""
    from labrun.lab.catalogue import all_labs, labs_folder, shipped_labs

    paths = (*all_labs(labs_folder(Path.cwd())), *all_labs(shipped_labs()))
    return sorted({path.parent.name for path in paths if path.parent.name.startswith(typed)})


def complete_runs(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """The ids of the runs under --out, newest first."""
    out = context.params.get("out") or Path("reports")
    runs = (path.parent.name for path in out.glob("*/run.json"))
    return sorted((name for name in runs if name.startswith(typed)), reverse=True)


run = click.argument("run", type=PATH, shell_complete=complete_runs)


def default_jobs() -> int:
    return len(os.sched_getaffinity(0))


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
