"""What a plan has built up so far: nodes, sockets, running processes and captures; and how all of it ends."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labrun.agent.emitter import Emitter, as_no_room
from labrun.agent.nodes import Nodes
from labrun.agent.processes import Process
from labrun.agent.shell import UNTOLD
from labrun.protocol.events import CaptureEnded, Fault, ProcessEnded, TraceEnded
from labrun.protocol.plan import Plan, Step

if TYPE_CHECKING:
    from labrun.agent.capture import Capture
    from labrun.agent.rtnetlink import Rtnetlink
    from labrun.agent.trace import Trace

_GRACE_S = 2.0


class StepFailed(Exception):
    """The step could not be done. The message says why; later steps do not run."""


class StepTimeout(StepFailed):
    """The step's deadline is over. The message names what was awaited."""


@dataclass
class Stage:
    """State of one plan. Handlers get it, with the step and its deadline."""

    plan: Plan
    emitter: Emitter
    nodes: Nodes
    processes: dict[str, Process] = field(default_factory=dict)
    captures: dict[str, Capture] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    typed: int = -1  # what comes on stdin after the plan, where a step of the plan wants it
    values: dict[str, str | int | float] = field(default_factory=dict)  # parameters, and what steps saved
    _running: list[str] = field(default_factory=list)  # started things, in order
    _netlink: dict[str, Rtnetlink] = field(default_factory=dict)

    def netlink(self, node: str) -> Rtnetlink:
        """The node's rtnetlink socket. Call inside the node."""
        if node not in self._netlink:
            from labrun.agent.rtnetlink import open_rtnetlink

            self._netlink[node] = open_rtnetlink()
        return self._netlink[node]

    def forget_node(self, node: str) -> None:
        if node in self._netlink:
            self._netlink.pop(node).close()

    def spawn(self, step: Step, argv: tuple[str, ...], stdin: str | None, name: str | None = None) -> Process:
        """Start a command in the step's node. Raises StepFailed if it cannot be started."""
        assert step.node is not None
        base = f"outputs/{name or step.id}"
        out, err = f"{base}.stdout", f"{base}.stderr"
        try:
            return Process(
                argv,
                stdin,
                (out, self.emitter.path(out)),
                (err, self.emitter.path(err)),
                self.plan.limits.output_bytes,
                functools.partial(self.nodes.start, step.node),
                self.environment(step),
                shell=argv[0].rpartition("/")[2] == "bash",
            )
        except FileNotFoundError as error:
            words = error.strerror or ""
            text = words if words.startswith("no node") else f"no such command: {argv[0]}"
            raise StepFailed(text) from error
        except OSError as error:
            if (full := as_no_room(error, self.emitter.folder)) is not None:
                raise full from error
            raise StepFailed(f"cannot start {argv[0]}: {error.strerror}") from error

    def environment(self, step: Step) -> dict[str, str]:
        """What a command of the step gets on top of what all have: the lab's values, and what is said of it."""
        from labrun.agent.values import filled

        own = {name: filled(text, self.values) for name, text in step.env or ()}
        return {**{name: str(value) for name, value in self.values.items()}, **own}

    def began(self, step_id: str) -> None:
        self._running.append(step_id)

    def ship_running(self) -> None:
        """Hand over what running processes and captures have produced so far. Raises OSError where some is not kept."""
        for name in self._running:
            if name in self.captures:
                self.captures[name].flush()
                self.emitter.ship(f"captures/{name}.pcapng")
            elif name in self.traces:
                self.traces[name].flush()
                self.emitter.ship(f"traces/{name}.jsonl")
            else:
                for output in self.processes[name].outputs():
                    self.emitter.ship(output.path)
                self.processes[name].check()

    def stop(self, step_id: str, signal: str = "TERM", grace_s: float = _GRACE_S) -> None:
        """Stop a started process or capture, and say what became of it."""
        if step_id not in self._running:
            return
        self._running.remove(step_id)
        if step_id in self.captures:
            self._stop_capture(step_id)
        elif step_id in self.traces:
            self._stop_trace(step_id)
        else:
            self._stop_process(step_id, signal, grace_s)

    def stop_all(self) -> None:
        """The end of the plan: the last started goes first. Each trouble is reported, none stops the rest."""
        for name in reversed(self._running.copy()):
            try:
                self.stop(name)
            except Exception as error:  # noqa: BLE001  teardown always goes on, and says what went wrong
                self.emitter.event(Fault(self.emitter.t_ns(), "teardown", f"{name}: {error}", name))

    def _stop_capture(self, step_id: str) -> None:
        name = f"captures/{step_id}.pcapng"
        stats = self.captures[step_id].stop()
        self.emitter.ship(name, final=True)
        t_ns, wall_ns = self.emitter.now()
        self.emitter.event(
            CaptureEnded(
                step_id,
                t_ns,
                wall_ns,
                name,
                stats.interfaces,
                stats.packets,
                stats.drops,
                stats.not_kept,
                stats.started_ns,
                stats.ended_ns,
                stats.reason,
                stats.interface_ends if any(stats.interface_ends) else None,
                stats.interface_starts if any(stats.interface_starts) else None,
                stats.bridges,
            )
        )

    def _stop_trace(self, step_id: str) -> None:
        name = f"traces/{step_id}.jsonl"
        stats = self.traces[step_id].stop()
        self.emitter.ship(name, final=True)
        t_ns, wall_ns = self.emitter.now()
        self.emitter.event(
            TraceEnded(
                step_id, t_ns, wall_ns, name, stats.events, stats.drops, stats.trouble, stats.blind, stats.silencers
            )
        )

    def _stop_process(self, step_id: str, signal: str, grace_s: float) -> None:
        process = self.processes[step_id]
        holders = process.holders()
        process.stop(signal, grace_s)
        out, err = process.outputs()
        for output in (out, err):
            self.emitter.ship(output.path, final=True)
        code, name = process.status
        t_ns, wall_ns = self.emitter.now()
        told = process.told() or UNTOLD
        self.emitter.event(
            ProcessEnded(
                step_id,
                t_ns,
                wall_ns,
                process.stopped,
                code,
                name,
                out,
                err,
                told.parts,
                told.missing or None,
                (() if process.stopped else holders) or None,
                told.failed or None,
            )
        )


def poll(condition: Callable[[], bool], deadline: float, every_s: float, first_s: float | None = None) -> bool:
    """Ask until it holds or ``deadline`` (time.monotonic) is over. Asks at least once, and once at the very end.

    ``first_s``: the first pause, which doubles up to ``every_s``: for what is mostly true in a moment.
    """
    pause_s = every_s if first_s is None else first_s
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause_s, left))
        pause_s = min(2 * pause_s, every_s)
    return True
