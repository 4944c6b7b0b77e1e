"""`labrun shell`: a lab runs up to a step and waits, with a prompt in each of its nodes.

Nothing of it is kept: what somebody types is no evidence, so there is no run directory and no verdict.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from labrun.cli import options
from labrun.cli.defaults import Configured
from labrun.cli.options import EngineName, IsolationName, UserlandName

if TYPE_CHECKING:
    from labrun.engines.base import Engine, Keys
    from labrun.lab.compile import CompiledLab
    from labrun.protocol.plan import Plan

_NEXT = b"\x1d"  # Ctrl-]
_END_OF_INPUT = b"\x04"  # Ctrl-D
_HELD = 64 * 1024  # bytes of a terminal that nobody looks at
_DAYS_S = 7 * 86400.0
_STEP = "prompt"


@click.command(cls=Configured)
@click.argument("lab", metavar="LAB", shell_complete=options.complete_labs)
@click.option("--at", metavar="STEP", help="The last step that runs; else all of them.")
@click.option("--node", metavar="NODE", help="Where the first prompt is; else in the first node.")
@options.engine
@options.isolation
@options.userland
@options.values
def shell(
    lab: str,
    at: str | None,
    node: str | None,
    engine: EngineName,
    isolation: IsolationName | None,
    userland: UserlandName,
    values: dict[str, tuple[object, ...]],
) -> int:
    """Run a lab up to a step, and wait with a prompt in its nodes.

    Ctrl-] goes to the next node; the end of the last shell is the end of the sandbox. No verdict comes of it.
    """
    from labrun.cli.engines import choose

    compiled = one_lab(lab, values)
    plan = up_to(compiled.experiment, at)
    nodes = nodes_of(plan)
    if node is not None:
        nodes = (node, *(name for name in nodes if name != node))
    if not nodes:
        raise click.UsageError(f"{lab}: no node is there after {at or 'its last step'}")
    run_id = f"shell-{secrets.token_hex(3)}"
    with choose(engine, userland, isolation, run_id, _say, 1).engine as entered:
        return _Session(nodes, sys.stdout).run(entered, plan)


def one_lab(name: str, values: dict[str, tuple[object, ...]]) -> CompiledLab:
    """Raises LabError. Of a lab with parameters, the first of its runs that is meant."""
    from labrun.cli.choose import Wanted, choose_labs
    from labrun.lab.catalogue import find_labs
    from labrun.lab.problems import LabError

    chosen = choose_labs(find_labs((name,), Path.cwd()), Wanted(values=values))  # type: ignore[arg-type]
    if chosen.invalid:
        _say("\n".join(problem for lab in chosen.invalid for problem in lab.problems))
        raise click.exceptions.Exit(2)
    if not chosen.labs:
        raise LabError([])
    if len(chosen.labs) > 1:
        _say(f"{chosen.labs[0].lab.slug}, the first of {len(chosen.labs)} runs")
    return chosen.labs[0]


def up_to(plan: Plan, at: str | None) -> Plan:
    """The steps up to ``at``, that included, and then a prompt. Raises UsageError where there is no such step."""
    from labrun.logic.suggest import did_you_mean
    from labrun.protocol.actions import Prompt
    from labrun.protocol.plan import Step

    steps = plan.steps
    if at is not None:
        names = [step.id for step in steps if step.phase == "lab"]
        if at not in names:
            raise click.UsageError(f"{plan.lab}: no step '{at}'.{did_you_mean(at, names)}")
        last = next(number for number, step in enumerate(steps) if step.id == at and step.phase == "lab")
        steps = steps[: last + 1]
    prompt = Step(_STEP, Prompt(os.environ.get("TERM") or "dumb" if sys.stdin.isatty() else "dumb"), timeout_s=_DAYS_S)
    limits = replace(plan.limits, lab_timeout_s=_DAYS_S)
    return replace(plan, variant="shell", steps=(*steps, prompt), watch=False, limits=limits).sealed()


def nodes_of(plan: Plan) -> tuple[str, ...]:
    """Those that are there after its steps, as far as it tells."""
    from labrun.protocol.actions import Namespace

    nodes = list(plan.nodes)
    for step in plan.steps:
        if isinstance(step.action, Namespace) and step.phase == "lab":
            if step.action.op == "add":
                nodes.append(step.action.name)
            elif step.action.name in nodes:
                nodes.remove(step.action.name)
    return tuple(dict.fromkeys(nodes))


class _Session:
    """``nodes``: in the order in which Ctrl-] goes through them."""

    def __init__(self, nodes: Sequence[str], out: TextIO) -> None:
        from labrun.engines.base import Keys

        self._nodes = nodes
        self._keys: Keys = Keys()
        self._out = out
        self._lock = threading.RLock()
        self._at = 0
        self._numbers: dict[str, int] = {}
        """Node -> number of its latest terminal."""
        self._open: set[int] = set()
        self._held: dict[int, bytes] = {}

    def run(self, engine: Engine, plan: Plan) -> int:
        """The exit code: 3 where there was no prompt."""
        from labrun.protocol.events import Fault, StepEnded, StepStarted
        from labrun.protocol.frames import Piece

        prompted, trouble = False, None
        with engine.sandbox(plan, plan.lab, keys=self._keys) as frames, ExitStack() as stack:
            phases = {step.id: step.phase for step in plan.steps}
            for frame in frames:
                if isinstance(frame, Piece):
                    self._show(frame.path, frame.data)
                elif isinstance(frame, Fault):
                    trouble = frame.message
                elif isinstance(frame, StepStarted) and frame.step == _STEP:
                    prompted = True
                    wake = stack.enter_context(_raw_terminal())  # not before: Ctrl-C ends a step that takes long
                    self._tell(f"nodes: {', '.join(self._nodes)}. Ctrl-] goes to the next, `exit` ends it.")
                    self._tell("What is done here is no evidence, and nothing of it is kept.")
                    self._enter()
                    threading.Thread(target=self._type, args=(wake,), name="keys", daemon=True).start()
                elif isinstance(frame, StepEnded) and phases.get(frame.step) == "lab":
                    if frame.step == _STEP:
                        trouble = frame.message
                    else:
                        self._tell(f"{frame.step}: {frame.message or 'done'}")
        if trouble is not None:
            _say(trouble)
        return 0 if prompted and trouble is None else 3

    def _tell(self, text: str) -> None:
        from labrun.logic.visible import visible

        self._out.write(f"{visible(text)}\r\n" if self._out.isatty() else f"{visible(text)}\n")
        self._out.flush()

    def _enter(self) -> None:
        """Type in the current node from now on, and show what came there meanwhile."""
        with self._lock:
            node = self._nodes[self._at]
            if self._numbers.get(node) not in self._open:
                self._numbers[node] = 1 + max(self._numbers.values(), default=0)
                self._open.add(self._numbers[node])
            number = self._numbers[node]
            rows, columns = _size()
            self._send({"open": node, "number": number, "rows": rows, "columns": columns})
            self._write(self._held.pop(number, b""))

    def _show(self, path: str, data: bytes) -> None:
        """Of the terminal that is looked at; what others print is held until one looks."""
        kind, _, name = path.partition("/")
        number, _, ended = name.partition(".")
        if kind != "prompt" or not number.isdecimal():
            return  # evidence of the lab's own steps, which nobody keeps
        with self._lock:
            if ended:
                self._open.discard(int(number))
                self._next()
            elif self._numbers.get(self._nodes[self._at]) == int(number):
                self._write(data)
            else:
                self._held[int(number)] = (self._held.get(int(number), b"") + data)[-_HELD:]

    def _next(self) -> None:
        """After a shell has ended: another that is still there, or the end."""
        if self._numbers.get(self._nodes[self._at]) in self._open:
            return
        for at, node in enumerate(self._nodes):
            if self._numbers.get(node) in self._open:
                self._at = at
                self._tell(f"[{node}]")
                self._enter()
                return
        self._send({"end": True})

    def _type(self, wake: int) -> None:
        """From stdin to the sandbox, until it ends. ``wake``: readable when the window has another size."""
        import select

        while True:
            ready, _, _ = select.select([0, *([wake] if wake >= 0 else [])], [], [])
            if wake in ready:
                os.read(wake, 64)
                self._send({"size": _size()})
            if 0 not in ready:
                continue
            data = os.read(0, 4096)
            if not data:
                self._keys_of(_END_OF_INPUT)
                return
            first, *others = data.split(_NEXT) if sys.stdin.isatty() else [data]
            self._keys_of(first)
            for part in others:
                with self._lock:
                    self._at = (self._at + 1) % len(self._nodes)
                    self._tell(f"[{self._nodes[self._at]}]")
                    self._enter()
                self._keys_of(part)

    def _keys_of(self, data: bytes) -> None:
        if data:
            self._send({"keys": data.decode("latin-1")})

    def _send(self, message: object) -> None:
        with self._lock:
            if self._keys.write is not None:
                self._keys.write(json.dumps(message).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        """As it is: a prompt is a terminal, and whoever asks for one lets the lab's programs write on theirs."""
        self._out.flush()
        self._out.buffer.write(data)
        self._out.buffer.flush()


def _size() -> tuple[int, int]:
    """Rows and columns."""
    try:
        columns, rows = os.get_terminal_size(0)
    except OSError:
        columns, rows = 80, 24
    return rows, columns


@contextmanager
def _raw_terminal() -> Iterator[int]:
    """stdin gives each key as it is typed, Ctrl-C included; as it was when this ends. Readable when its size changes.

    -1 where stdin is no terminal.
    """
    if not sys.stdin.isatty():
        yield -1
        return
    import signal
    import termios
    import tty

    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    before = termios.tcgetattr(0)
    signal.signal(signal.SIGWINCH, lambda number, frame: os.write(woken, b"w"))
    try:
        tty.setraw(0)
        yield wake
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)


def _say(text: str) -> None:
    from labrun.logic.visible import visible

    print(visible(text, "\n\t"), file=sys.stderr, flush=True)
