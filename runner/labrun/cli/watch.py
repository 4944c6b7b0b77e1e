"""`labrun watch`: labs run again each time that one of their files is saved, with the last verdicts on screen."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from labrun.cli import options
from labrun.cli.defaults import Configured
from labrun.cli.run import run_options

_LOOK_S = 0.3

Seen = dict[str, tuple[int, int]]


@click.command(cls=Configured)
@click.argument("labs", metavar="LAB...", nargs=-1, required=True, shell_complete=options.complete_labs)
@run_options
def watch(labs: tuple[str, ...], **given: Any) -> int:
    """Run the given labs now, and again each time that a file of theirs is saved. Ctrl-C ends it.

    Takes what `labrun run` takes, and exits as the last run did.
    """
    from labrun.lab.catalogue import LAB_FILE, find_labs

    named = find_labs(labs, Path.cwd())
    places = [one.file.parent if one.file.name == LAB_FILE else one.file for one in named]
    command = [sys.executable, "-m", "labrun", "run", *sys.argv[2:]]
    out = given["out"].absolute()
    code = 0
    try:
        while True:
            seen = look(places, out)  # before it runs: what is saved meanwhile is a reason to run again
            if sys.stdout.isatty():
                click.clear()
            code = _run(command)
            print(f"watching {', '.join(map(str, places))}; Ctrl-C ends", flush=True)
            while look(places, out) == seen:
                time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return code


def _run(command: Sequence[str]) -> int:
    """The exit code. Ctrl-C reaches the run too, which tears down before it ends: that is waited for."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def look(places: Sequence[Path], out: Path) -> Seen:
    """Of each file its time and size. What is away for a moment, as editors do it, is just not there.

    ``out``: where runs are kept, which may be below a lab's folder: they are not of the lab.
    """
    found: Seen = {}
    for place in places:
        for file in (place, *place.rglob("*")):
            try:
                status = file.stat()
            except OSError:
                continue
            if not file.is_dir() and not file.absolute().is_relative_to(out):
                found[str(file)] = (status.st_mtime_ns, status.st_size)
    return found
