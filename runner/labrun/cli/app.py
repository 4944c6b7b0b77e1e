"""The `labrun` command and the one place where errors become a line on stderr and an exit code.

0 as expected; 1 a surprise; 2 a lab or the command line is wrong; 3 inconclusive or broken.
No traceback reaches a user.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from typing import NoReturn

import typer

from labrun import __version__
from labrun.cli import clean, doctor, image, labs, run, runs

app = typer.Typer(
    name="labrun",
    help="Is what I believe about this network true? Runs labs in sandboxes and judges their hypotheses on evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"labrun {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Is what I believe about this network true? Runs labs in sandboxes and judges their hypotheses on evidence."""


app.command("all")(run.all_labs)
app.command("run")(run.some_labs)
app.command("list")(labs.list_labs)
app.command("show")(labs.show)
app.command("check")(labs.check)
app.command("judge")(runs.judge)
app.command("report")(runs.report)
app.add_typer(image.app, name="image")
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)


def main() -> NoReturn:
    """Run the command and exit, at once: to take all modules apart, as Python does at its end, is a fifth of a run."""
    try:
        _command()
        code: object = 0
    except SystemExit as left:
        code = left.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = 0
    os._exit(code or 0)


def _command() -> None:
    """What we raise on purpose is a sentence; what we do not is a defect, and says so."""
    signal.signal(signal.SIGTERM, _terminated)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # we have none, and looking for them takes 12 ms
    gc.set_threshold(50_000, 20, 20)  # of what we make next to nothing is in cycles: looking for them is 10 % of a run
    try:
        app(prog_name="labrun")
    except KeyboardInterrupt:
        _leave("interrupted", 3)
    except BrokenPipeError:
        # Whoever read our output has had enough (labrun list | head): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        sentence, code = _explain(error)
        if os.environ.get("LABRUN_DEBUG"):
            raise
        _leave(sentence, code)


def _terminated(number: int, frame: object) -> None:
    """Being told to end is the same as Ctrl-C: tear down, keep the evidence, report what was done."""
    raise KeyboardInterrupt


def _explain(error: Exception) -> tuple[str, int]:
    from labrun.engines.base import EngineError
    from labrun.evidence.run import EvidenceError
    from labrun.image.errors import ImageError
    from labrun.lab.problems import LabError

    if isinstance(error, LabError):
        return str(error), 2
    if isinstance(error, EvidenceError):
        return str(error), 2
    if isinstance(error, EngineError | ImageError):
        return str(error), 3
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
        return (
            "no space left where the run is kept: free some, or say --out DIR; `labrun judge RUN` judges what there is",
            3,
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", 3
    return (
        f"a defect in labrun: {type(error).__name__}: {error}\n"
        "Please report it. LABRUN_DEBUG=1 shows where it happened.",
        3,
    )


def _leave(sentence: str, code: int) -> None:
    from labrun.cli.terminal import visible

    print(visible(f"labrun: {sentence}", keep_lines=True), file=sys.stderr)
    sys.exit(code)
