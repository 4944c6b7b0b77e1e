"""The steps of a topology, carried out together: in waves, and a node's netlink messages of a wave in one system call.

A topology says what there is to be, not an order: that all of a kind is made before the next kind is no different to a
lab, and saves two thousand system calls at a hundred nodes. What was done is told step by step in the plan's order,
each with the time of its wave; at the first refusal the telling ends with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from labrun.agent.handlers import carry_out
from labrun.agent.netlink import apply
from labrun.agent.outgoing import Outgoing
from labrun.agent.rtnetlink import KernelRefused, Rtnetlink
from labrun.agent.settle import settle
from labrun.agent.stage import Stage, StepFailed, StepTimeout
from labrun.protocol import actions
from labrun.protocol.events import ChangeResult, Fault, StepEnded, StepStarted, StepStatus
from labrun.protocol.plan import Step

Time = tuple[int, int]


class _Batch:
    """Stands in for a node's socket: keeps what it is asked to change. Knows the interfaces that are there by now."""

    def __init__(self, ipr: Rtnetlink) -> None:
        self._ipr = ipr
        self._names: dict[str, int] | None = None
        self.requests: list[tuple[int, int, Outgoing]] = []

    def change(self, kind: int, flags: int, message: Outgoing) -> None:
        self.requests.append((kind, flags, message))

    def index_of(self, name: str) -> int:
        if self._names is None:
            self._names = self._ipr.names()
        if name not in self._names:
            return self._ipr.index_of(name)  # it knows how to say that there is none
        return self._names[name]


def build(stage: Stage, steps: tuple[Step, ...], deadline: float) -> bool:
    """Whether all of it was done. Tells each step with its two events."""
    made = [step.action for step in steps if isinstance(step.action, actions.Namespace)]
    stage.nodes.prepare([(action.name, action.machine) for action in made if action.machine is not None])
    told: dict[str, tuple[Time, Time]] = {}
    failed: dict[str, str] = {}
    late: Step | None = None
    for wave in _waves(steps):
        if time.monotonic() >= deadline:
            late = wave[0]
            break
        before = stage.emitter.now()
        failed |= _wave(stage, wave, deadline)
        after = stage.emitter.now()
        told |= {step.id: (before, after) for step in wave}
        if failed:
            break
    timed_out = None
    if not failed and late is None:
        try:
            settle(stage, stage.nodes.fds(), addresses=True)
        except StepTimeout as error:
            timed_out = str(error)
        told[steps[-1].id] = (told[steps[-1].id][0], stage.emitter.now())
    good = _tell(stage, [step for step in steps if step.id in told], told, failed, timed_out)
    if late is not None:
        text = f"the lab took longer than {stage.plan.limits.lab_timeout_s:g} s"
        stage.emitter.event(Fault(stage.emitter.t_ns(), "lab-timeout", text, late.id))
    return good and late is None


def _tell(
    stage: Stage, steps: list[Step], told: dict[str, tuple[Time, Time]], failed: dict[str, str], timed_out: str | None
) -> bool:
    events: list[StepStarted | StepEnded] = []
    good = True
    for step in steps:
        before, after = told[step.id]
        status: StepStatus = "ok"
        message = None
        if step.id in failed:
            status, message = "failed", failed[step.id]
        elif timed_out is not None and step is steps[-1]:
            status, message = "timeout", timed_out
        events.append(StepStarted(step.id, *before))
        events.append(StepEnded(step.id, *after, status, message, ChangeResult() if status == "ok" else None))
        good = status == "ok"
        if not good:
            break
    stage.emitter.events(events)
    return good


def _waves(steps: tuple[Step, ...]) -> list[list[Step]]:
    """Each needs only what earlier ones made: nodes, settings for links to come, links, their state, and the rest."""
    waves: list[list[Step]] = [[] for _ in range(7)]
    seen_link = False
    for step in steps:
        action = step.action
        if isinstance(action, actions.Namespace):
            waves[0].append(step)
        elif isinstance(action, actions.Sysctl):
            waves[4 if seen_link else 1].append(step)
        elif isinstance(action, actions.Link):
            seen_link = seen_link or action.op == "add"
            waves[2 if action.op == "add" else 3].append(step)
        else:
            waves[5 if isinstance(action, actions.Address) else 6].append(step)
    return [wave for wave in waves if wave]


def _wave(stage: Stage, wave: list[Step], deadline: float) -> dict[str, str]:
    """Do it; the steps that failed, each with its reason."""
    failed: dict[str, str] = {}
    by_node: dict[str, list[Step]] = {}
    for step in wave:
        if isinstance(step.action, actions.Namespace | actions.Sysctl) or step.node is None:
            try:
                carry_out(stage, step, deadline)
            except StepFailed as error:
                return {step.id: str(error)}
        else:
            by_node.setdefault(step.node, []).append(step)
    for node, steps in by_node.items():
        failed |= _netlink(stage, node, steps)
    return failed


def _netlink(stage: Stage, node: str, steps: Iterable[Step]) -> dict[str, str]:
    owners: list[str] = []
    try:
        with stage.nodes.inside(node):
            ipr = stage.netlink(node)
            batch: Any = _Batch(ipr)
            for step in steps:
                try:
                    apply(step.action, batch, stage.nodes.netns_fd)  # type: ignore[arg-type]
                except KernelRefused as error:
                    return {step.id: _sentence(error)}
                owners += [step.id] * (len(batch.requests) - len(owners))
            outcomes = ipr.changes(batch.requests)
    except FileNotFoundError as error:
        return {step.id: str(error) for step in steps}
    return {owner: _sentence(error) for owner, error in zip(owners, outcomes, strict=True) if error is not None}


def _sentence(error: KernelRefused) -> str:
    text = str(error)
    return text if error.errno_name in text else f"{error.errno_name}: {text}"
