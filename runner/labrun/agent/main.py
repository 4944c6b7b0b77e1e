"""The agent from its start to its end: a plan comes in on stdin, frames go out on what was stdout.

stdin stays open as the lifeline: when it ends, whoever wanted this is gone, and so is the agent, at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import labrun
from labrun.agent import environment
from labrun.agent.emitter import Emitter, as_no_room
from labrun.agent.handlers import TimedOut, carry_out
from labrun.agent.lab_root import LAB_FILES
from labrun.agent.lab_side import LabSide, refusing
from labrun.agent.load import LoadWatch
from labrun.agent.nodes import Nodes
from labrun.agent.processes import ENVIRONMENT
from labrun.agent.settle import settle
from labrun.agent.stage import Stage, StepFailed, StepTimeout
from labrun.agent.watch import Watch
from labrun.protocol.actions import Link, Prompt
from labrun.protocol.codec import loads
from labrun.protocol.events import Done, Fault, Hello, Result, StepEnded, StepStarted, StepStatus
from labrun.protocol.plan import Plan, Step

ORPHANED = 71  # the exit status when the lifeline ends


def main(lab: LabSide) -> None:
    """Read one plan from stdin, carry it out."""
    events_fd = os.dup(1)
    os.dup2(2, 1)  # a stray print must not get into the stream
    import labrun.agent.snapshot  # noqa: F401  most plans need it, and this one may not be there yet

    with refusing():
        lab.ready()
    plan = loads(Plan, sys.stdin.buffer.readline())
    if plan.files is not None:
        from labrun.agent.lab_files import receive

        receive(plan.files, sys.stdin.buffer)
        lab.home = LAB_FILES
    typed, keys = os.pipe() if any(isinstance(step.action, Prompt) for step in plan.steps) else (-1, -1)
    threading.Thread(target=_lifeline, args=(keys,), name="lifeline", daemon=True).start()
    folder = Path(f"/tmp/labrun-{os.urandom(8).hex()}")
    folder.mkdir(mode=0o700)
    emitter = Emitter(events_fd, folder)
    stage = Stage(plan, emitter, Nodes(lab), typed=typed, values=dict(plan.values))
    try:
        if _begin(stage):
            _steps(stage)
    except Exception as error:  # noqa: BLE001  a crash of ours must reach the host as a fault
        emitter.event(fault_of(emitter, error))
    stage.stop_all()
    emitter.event(Done(*emitter.now()))
    os._exit(0)  # what labs left running ends with the sandbox; nothing here is worth waiting for


def fault_of(emitter: Emitter, error: Exception) -> Fault:
    """What ends the plan here. A sandbox without room is no defect of ours."""
    if (full := as_no_room(error, emitter.folder)) is not None:
        return Fault(emitter.t_ns(), "evidence-full", str(full))
    import traceback

    detail = {"traceback": traceback.format_exc()}
    return Fault(emitter.t_ns(), "agent-crashed", f"{type(error).__name__}: {error}", None, detail)


def _lifeline(keys: int) -> None:
    """``keys``: where what comes goes; -1: nothing should come."""
    while data := os.read(0, 4096):
        if keys >= 0:
            os.write(keys, data)
    os._exit(ORPHANED)


def _begin(stage: Stage) -> bool:
    """Say what the sandbox is made of, and whether it has what the plan needs."""
    plan, emitter = stage.plan, stage.emitter
    t_ns, wall_ns = emitter.now()
    try:
        programs = environment.programs(plan.filters)
        trouble = None
    except ValueError as error:
        programs, trouble = (), Fault(t_ns, "bad-filter", str(error))
    kernel, machine = environment.kernel()
    emitter.event(
        Hello(
            t_ns,
            wall_ns,
            labrun.__version__,
            plan.digest,
            kernel,
            machine,
            environment.python_version(),
            environment.capabilities(),
            environment.packages(),
            programs,
            environment.userland(),
            stage.nodes.settings() or None,
            environment.kernel_build(),
        )
    )
    missing = environment.missing_tools(plan.tools, ENVIRONMENT["PATH"])
    if missing:
        trouble = Fault(t_ns, "missing-tool", environment.where_to_get(missing))
    elif plan.features:
        from labrun.agent.features import lacking

        without = lacking(plan.features)
        if without:
            words = ", ".join(f"{name} ({why})" for name, why in without.items())
            trouble = Fault(t_ns, "missing-feature", f"not in this kernel: {words}", None, {"lacking": without})
    layered = plan.files is not None or any(getattr(step.action, "machine", None) is not None for step in plan.steps)
    if trouble is None and layered and not stage.nodes.lab.has_files:
        words = "own files need overlayfs, which this kernel does not give to user namespaces (Linux 5.11 does)"
        trouble = Fault(t_ns, "missing-feature", words, None, {"lacking": {"overlay": "no file systems in layers"}})
    if trouble is not None:
        emitter.event(trouble)
        return False
    return True


def _steps(stage: Stage) -> None:
    emitter = stage.emitter
    end = time.monotonic() + stage.plan.limits.lab_timeout_s
    watch = Watch(stage)
    load = LoadWatch()
    topology = tuple(step for step in stage.plan.steps if step.phase == "topology")
    if topology:
        from labrun.agent.topology import build

        if not build(stage, topology, end):
            return
        watch.after(topology[-1])
    for step in stage.plan.steps[len(topology) :]:
        if time.monotonic() >= end:
            text = f"the lab took longer than {stage.plan.limits.lab_timeout_s:g} s"
            emitter.event(Fault(emitter.t_ns(), "lab-timeout", text, step.id))
            return
        # What is left of the lab's time may be less than the step's own; messages then say so.
        bounded = replace(step, timeout_s=min(step.timeout_s, round(max(0.0, end - time.monotonic()), 3)))
        if not _step(stage, bounded, time.monotonic() + bounded.timeout_s, load):
            last = stage.plan.steps[-1]
            if isinstance(last.action, Prompt) and last is not step:  # whoever types wants to see why
                _step(stage, last, end, load)
            return
        stage.ship_running()
        watch.after(step)


def _step(stage: Stage, step: Step, deadline: float, load: LoadWatch) -> bool:
    """One step with its two events; False when the plan cannot go on."""
    emitter = stage.emitter
    load.start()
    emitter.event(StepStarted(step.id, *emitter.now()))
    result: Result | None = None
    status: StepStatus = "ok"
    message = None
    try:
        result = carry_out(stage, step, deadline)
        # After a link step also where it was taken away: another link may have lost its carrier with it.
        if isinstance(step.action, Link):
            settle(stage, stage.nodes.fds())
    except StepTimeout as error:
        status, message = "timeout", str(error)
        result = error.result if isinstance(error, TimedOut) else None
    except StepFailed as error:
        status, message = "failed", str(error)
    t_ns, wall_ns = emitter.now()
    saved = {save.name: stage.values[save.name] for save in step.save if save.name in stage.values} or None
    emitter.event(StepEnded(step.id, t_ns, wall_ns, status, message, result, saved, load.since_start()))
    return status == "ok"
