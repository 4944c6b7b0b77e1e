"""The `labrun` command and the one place where errors become a line on stderr and an exit code.

0 as expected; 1 a surprise; 2 a lab or the command line is wrong; 3 inconclusive or broken.
No traceback reaches a user.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import sys
from typing import NoReturn

import click

from labrun import __version__
from labrun.logic.suggest import did_you_mean

COMMANDS = {
    "all": "labrun.cli.run:all_labs",
    "run": "labrun.cli.run:some_labs",
    "watch": "labrun.cli.watch:watch",
    "shell": "labrun.cli.shell:shell",
    "capture": "labrun.cli.capture:capture",
    "list": "labrun.cli.labs:list_labs",
    "show": "labrun.cli.labs:show",
    "check": "labrun.cli.labs:check",
    "new": "labrun.cli.new:new",
    "import": "labrun.cli.imports:import_labs",
    "judge": "labrun.cli.runs:judge",
    "report": "labrun.cli.runs:report",
    "explain": "labrun.cli.look:explain",
    "diff": "labrun.cli.look:diff",
    "history": "labrun.cli.history:history",
    "open": "labrun.cli.look:open_report",
    "merge": "labrun.cli.merge:merge",
    "bundle": "labrun.cli.findings:bundle",
    "verify": "labrun.cli.findings:verify",
    "reproduce": "labrun.cli.findings:reproduce",
    "gallery": "labrun.cli.gallery:gallery",
    "image": "labrun.cli.image:image",
    "kernel": "labrun.cli.kernel:kernel",
    "bisect": "labrun.cli.bisect:bisect",
    "clean": "labrun.cli.clean:clean",
    "doctor": "labrun.cli.doctor:doctor",
}


_COMPLETE = "_LABRUN_COMPLETE"  # bash_source, zsh_source, fish_source: see the README


class _Labrun(click.Group):
    """Each command is imported when it is asked for: it costs the others nothing."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, command = COMMANDS[name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), command)
        return found

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if words[0] not in COMMANDS and not words[0].startswith("-"):
            context.fail(f"No such command '{words[0]}'.{did_you_mean(words[0], COMMANDS)}")
        return super().resolve_command(context, words)


@click.command(cls=_Labrun, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="labrun %(version)s", help="Print the version.")
def app() -> None:
    """Is what I believe about this network true? Runs labs in sandboxes and judges their hypotheses on evidence."""


def main() -> NoReturn:
    """Run the command and exit, at once: to take all modules apart, as Python does at its end, is a fifth of a run."""
    code = _command()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = 0
    os._exit(code)


def _command() -> int:
    """The exit code. What we raise on purpose is a sentence; what we do not is a defect, and says so."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup(1) has it ignored, and then that is wanted
        signal.signal(signal.SIGHUP, _terminated)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # we have none, and looking for them takes 12 ms
    gc.set_threshold(50_000, 20, 20)  # of what we make next to nothing is in cycles: looking for them is 10 % of a run
    try:
        if _COMPLETE in os.environ:
            from click.shell_completion import shell_complete

            return shell_complete(app, {}, "labrun", _COMPLETE, os.environ[_COMPLETE])
        with app.make_context("labrun", sys.argv[1:]) as context:
            return app.invoke(context) or 0
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return _told("interrupted", 3)
    except BrokenPipeError:
        # Whoever read our output has had enough (labrun list | head): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        sentence, code = _explain(error)
        if os.environ.get("LABRUN_DEBUG"):
            raise
        return _told(sentence, code)


def _terminated(number: int, frame: object) -> None:
    """Being told to end is the same as Ctrl-C: tear down, keep the evidence, report what was done."""
    raise KeyboardInterrupt


def _explain(error: Exception) -> tuple[str, int]:
    from labrun.engines.base import EngineError
    from labrun.evidence.run import EvidenceError
    from labrun.image.errors import ImageError
    from labrun.lab.problems import LabError

    if isinstance(error, LabError):
        from labrun.lab.text import told

        return told(error), 2
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


def _told(sentence: str, code: int) -> int:
    from labrun.logic.visible import visible

    print(visible(f"labrun: {sentence}", "\n\t"), file=sys.stderr)
    return code
