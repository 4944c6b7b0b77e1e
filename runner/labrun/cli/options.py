"""The options that several commands share, and what they mean."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class EngineName(StrEnum):
    auto = "auto"
    docker = "docker"
    podman = "podman"
    native = "native"


class UserlandName(StrEnum):
    auto = "auto"
    image = "image"
    host = "host"


class IsolationName(StrEnum):
    privileged = "privileged"
    least = "least"


Engine = Annotated[
    EngineName,
    typer.Option(help="Where labs run. auto: Docker or Podman if one answers, else native: no daemon, no root."),
]
Userland = Annotated[
    UserlandName,
    typer.Option(help="Whose programs labs run, natively. auto: the lab image's if it is there or can be built."),
]
Isolation = Annotated[
    IsolationName | None,
    typer.Option(help="Containers: privileged (the default; least where refused), or least capabilities."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Sandboxes at a time (default: cores).")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run directories go.")]
Tag = Annotated[list[str] | None, typer.Option(help="Only labs with this tag; may be given several times.")]
Timeout = Annotated[str | None, typer.Option(metavar="DURATION", help="Bound on each lab, such as 30s or 2m.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if a lab was skipped.")]
Repeat = Annotated[int, typer.Option(min=1, max=1000, help="Run every lab N times; verdicts must agree.")]
Json = Annotated[bool, typer.Option("--json", help="Print results.json to stdout; people's text goes to stderr.")]
REPORTS = Path("reports")


def default_jobs() -> int:
    return len(os.sched_getaffinity(0))


def duration_s(text: str | None) -> float | None:
    """A duration option in seconds; a wrong one is a usage error."""
    if text is None:
        return None
    from pydantic import TypeAdapter, ValidationError

    from labrun.lab.base import Duration

    try:
        seconds: float = TypeAdapter(Duration).validate_python(float(text) if text.isdigit() else text)
    except ValidationError as error:
        raise typer.BadParameter(f"--timeout: {error.errors()[0]['msg']}") from error
    return seconds
