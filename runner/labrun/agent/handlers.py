"""One handler a step kind: short actors over the stage. What they import is paid only by plans that need it."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labrun.agent.shell import UNTOLD
from labrun.agent.stage import Stage, StepFailed, StepTimeout, poll
from labrun.agent.values import filled, resolved, taken
from labrun.protocol import actions
from labrun.protocol.codec import dumps
from labrun.protocol.events import (
    CaptureResult,
    ChangeResult,
    CommandResult,
    LookupResult,
    Output,
    Result,
    SendResult,
    SeriesResult,
    SnapshotResult,
    StartResult,
    TraceResult,
    WaitResult,
)
from labrun.protocol.plan import Step
from labrun.protocol.state import KernelState, Sample

if TYPE_CHECKING:
    from labrun.agent.capture import Capture

Handler = Callable[[Stage, Step, Any, float], Result | None]
_POLL_S = 0.01
_LIVE_S = 0.1
_MOST_LOOKS = 10_000  # of one snapshot; what changes more often is looked at as planned
_FIRST_POLL_S = 0.001  # a server listens a few milliseconds after its start
# Commands have values in their environment; nft and scapy have languages of their own.
_OWN_VALUES = ("run", "start", "nft", "send", "stop")
_LINKS: tuple[actions.SnapshotPart, ...] = ("links",)
# The child that builds packets gets its program as text: a lab cannot see the agent's own files.
_CHILD = "import sys; sys.path[:] = sys.argv[2:]; room = {'__name__': 'send'}; exec(sys.argv[1], room); room['main']()"


class TimedOut(StepTimeout):
    """A command's deadline: what it printed so far is kept."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def carry_out(stage: Stage, step: Step, deadline: float) -> Result | None:
    """Do the step. ``deadline`` is in time.monotonic(). Raises StepFailed or StepTimeout."""
    action = step.action
    if step.phase == "lab" and step.action.KIND not in _OWN_VALUES:
        action = resolved(action, stage.values)
    return HANDLERS[step.action.KIND](stage, step, action, deadline)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _run(stage: Stage, step: Step, action: actions.Run, deadline: float) -> Result:
    process = stage.spawn(step, *_command(stage, step, action))
    in_time = process.wait(_left(deadline))
    if not in_time:
        process.stop("KILL", 1.0)
    out, err = process.outputs()
    texts = _texts(stage, out, err) if step.save else {}
    for output in (out, err):
        stage.emitter.ship(output.path, final=True)
    code, signal = process.status
    told = process.told() or UNTOLD
    others = {other.pid for other in stage.processes.values()}
    left = process.left(others) or None
    result = CommandResult(code, signal, out, err, told.parts, told.missing or None, left, told.failed or None)
    if not in_time:
        raise TimedOut(f"the command did not end within {step.timeout_s:g} s and was killed", result)
    for save in step.save:
        stage.values[save.name] = taken(save, texts[save.stream])
    return result


def _command(stage: Stage, step: Step, action: actions.Run | actions.Start) -> tuple[tuple[str, ...], str | None]:
    """What is run, and its stdin, with the values in it; a shell has them in its environment."""
    by_shell = action.argv[0].rpartition("/")[2] in ("bash", "sh", "dash")
    argv = action.argv if by_shell else tuple(filled(word, stage.values) for word in action.argv)
    return argv, None if action.stdin is None else filled(action.stdin, stage.values)


def _texts(stage: Stage, out: Output, err: Output) -> dict[str, str]:
    return {
        stream: stage.emitter.path(output.path).read_text(encoding="utf-8", errors="replace")
        for stream, output in (("stdout", out), ("stderr", err))
    }


def _start(stage: Stage, step: Step, action: actions.Start, deadline: float) -> Result:
    process = stage.spawn(step, *_command(stage, step, action))
    stage.processes[step.id] = process
    stage.began(step.id)
    ready = action.ready
    if ready is None:
        return StartResult(process.lab_pid)
    if ready.output is not None:
        is_ready = process.wait_output(ready.output, _left(deadline))
        awaited = f"output that matches {ready.output!r}"
    elif ready.succeeds is not None:
        is_ready = poll(
            lambda: process.ended or _succeeds(stage, step, ready.succeeds or (), deadline), deadline, _POLL_S
        )
        is_ready = is_ready and not process.ended
        awaited = f"success of: {' '.join(ready.succeeds)}"
    else:
        assert ready.port is not None and step.node is not None
        with stage.nodes.inside(step.node):
            from labrun.agent.listening import session_listens

            def listens_or_ended() -> bool:
                return process.ended or session_listens(process.pid, ready.port or 0, ready.protocol)

            poll(listens_or_ended, deadline, _POLL_S, _FIRST_POLL_S)
            is_ready = not process.ended
            is_ready = is_ready and session_listens(process.pid, ready.port, ready.protocol)
        awaited = f"it to listen on {ready.protocol} port {ready.port}"
    if is_ready or (process.ended and step.may_fail):
        return StartResult(process.lab_pid)
    if process.ended:
        code, signal = process.status
        what = f"exit status {code}" if signal is None else signal
        raise StepFailed(f"the process ended ({what}) before it was ready; awaited was {awaited}")
    raise StepTimeout(f"not ready within {step.timeout_s:g} s; awaited was {awaited}")


def _stop(stage: Stage, step: Step, action: actions.Stop, deadline: float) -> None:
    stage.stop(action.step, action.signal, _left(deadline))


def _capture(stage: Stage, step: Step, action: actions.Capture, deadline: float) -> Result:
    from labrun.agent.capture import Capture, CaptureError
    from labrun.agent.pcap_filter import FilterError

    assert step.node is not None
    name = f"captures/{step.id}.pcapng"
    try:
        with stage.nodes.inside(step.node):
            capture = Capture(
                stage.emitter.path(name),
                action.interfaces,
                action.filter,
                snaplen=action.snaplen,
                limit_bytes=stage.plan.limits.capture_bytes,
                promiscuous=action.promiscuous,
            )
            capture.start()
    except (CaptureError, FilterError) as error:
        raise StepFailed(str(error)) from error
    stage.captures[step.id] = capture
    stage.began(step.id)
    if action.live:
        threading.Thread(target=_hand_over, args=(stage, capture, name), name="live", daemon=True).start()
    return CaptureResult(name, action.interfaces)


def _hand_over(stage: Stage, capture: Capture, name: str) -> None:
    """What a capture keeps, as it comes, until it ends."""
    from labrun.agent.capture import CaptureError

    try:
        while True:
            capture.flush()
            stage.emitter.ship(name)
            time.sleep(_LIVE_S)
    except CaptureError:
        return  # it was stopped, or it broke: its end is told there


def _trace(stage: Stage, step: Step, action: actions.Trace, deadline: float) -> Result:
    from labrun.agent.trace import Trace
    from labrun.agent.trace_table import TraceError

    assert step.node is not None
    name = f"traces/{step.id}.jsonl"
    limit = stage.plan.limits.capture_bytes
    try:
        with stage.nodes.inside(step.node):
            trace = Trace(
                stage.emitter.path(name), action.match, action.families, devices=action.devices, limit_bytes=limit
            )
            trace.start()
    except TraceError as error:
        raise StepFailed(str(error)) from error
    stage.traces[step.id] = trace
    stage.began(step.id)
    return TraceResult(name)


def _namespace(stage: Stage, step: Step, action: actions.Namespace, deadline: float) -> Result:
    def change() -> None:
        if action.op == "add" and action.machine is not None:
            stage.nodes.add_machine(action.name, action.machine)
        elif action.op == "add":
            stage.nodes.add(action.name)
        else:
            stage.forget_node(action.name)
            stage.nodes.delete(action.name)

    return _refusable(step, change)


def _netlink(stage: Stage, step: Step, action: Any, deadline: float) -> Result:
    from labrun.agent.netlink import apply
    from labrun.agent.rtnetlink import KernelRefused

    assert step.node is not None
    with stage.nodes.inside(step.node):
        try:
            apply(action, stage.netlink(step.node), stage.nodes.netns_fd)
        except KernelRefused as error:
            return _refused(step, error.errno_name, str(error))
        except FileNotFoundError as error:
            raise StepFailed(error.strerror or str(error)) from error
    return ChangeResult()


def _refused(step: Step, name: str, message: str) -> Result:
    """The kernel said no: an observation if the lab allows for it, else the step has failed."""
    if step.may_fail:
        return ChangeResult(name, message)
    raise StepFailed(message if name in message else f"{name}: {message}")


def _refusable(step: Step, change: Callable[[], None]) -> Result:
    try:
        change()
    except OSError as error:
        return _refused(step, errno.errorcode.get(error.errno or 0, "EIO"), error.strerror or str(error))
    return ChangeResult()


def _sysctl(stage: Stage, step: Step, action: actions.Sysctl, deadline: float) -> Result:
    assert step.node is not None

    def change() -> None:
        for key, value in action.settings:
            # As sysctl(8): dots part the levels; with a slash in the key it is the other way round.
            path = Path("/proc/sys", key if "/" in key else key.replace(".", "/"))
            if ".." in path.parts:
                raise StepFailed(f"not a kernel setting: {key}")
            try:
                path.write_text(value + "\n", encoding="utf-8")
            except OSError as error:
                raise OSError(error.errno, f"{key} = {value}: {error.strerror}") from error

    with stage.nodes.inside(step.node):
        return _refusable(step, change)


def _nft(stage: Stage, step: Step, action: actions.Nft, deadline: float) -> Result:
    process = stage.spawn(step, ("nft", "-f", "-"), filled(action.ruleset, stage.values))
    in_time = process.wait(_left(deadline))
    process.stop("KILL", 1.0)
    out, err = process.outputs()
    message = stage.emitter.path(err.path).read_text(encoding="utf-8", errors="replace").strip()
    for output in (out, err):
        stage.emitter.ship(output.path, final=True)
    if not in_time:
        raise StepTimeout(f"nft did not end within {step.timeout_s:g} s")
    if process.status != (0, None):
        line = message.split("\n")[0].partition(";")[0]  # "No such file or directory; did you mean ..."
        named = next((name for code, name in errno.errorcode.items() if line.endswith(os.strerror(code))), None)
        if named is None:  # nft itself did not understand it: the kernel was never asked
            raise StepFailed(message or "nft failed and said nothing")
        return _refused(step, named, message)
    return ChangeResult()


def _send(stage: Stage, step: Step, action: actions.Send, deadline: float) -> Result:
    packet = filled(action.packet, stage.values)
    job = json.dumps({"packet": packet, "dev": action.dev, "count": action.count, "seed": stage.plan.seed})
    argv = (sys.executable, "-I", "-c", _CHILD, _send_program(), *sys.path)
    process = stage.spawn(step, argv, job)
    in_time = process.wait(_left(deadline))
    process.stop("KILL", 1.0)
    out, err = process.outputs()
    answer = stage.emitter.path(out.path).read_text(encoding="utf-8", errors="replace")
    complaint = stage.emitter.path(err.path).read_text(encoding="utf-8", errors="replace").strip()
    for output in (out, err):
        stage.emitter.ship(output.path, final=True)
    if not in_time:
        raise StepTimeout(f"the packets were not sent within {step.timeout_s:g} s")
    if process.status != (0, None):
        raise StepFailed(complaint.rsplit("\n", 1)[-1] or "the packet could not be sent")
    sent = json.loads(answer)
    return SendResult(sent["packets"], sent["summary"])


def _send_program() -> str:
    import importlib.util

    spec = importlib.util.find_spec("labrun.agent.send")
    loader: Any = spec.loader if spec is not None else None
    source: str = loader.get_source("labrun.agent.send")
    return source


def _snapshot(stage: Stage, step: Step, action: actions.Snapshot, deadline: float) -> Result:
    if action.for_s is not None:
        return _series(stage, step, action, action.for_s)
    name = f"snapshots/{step.id}.json"
    stage.emitter.path(name).write_text(dumps(_state(stage, action)) + "\n", encoding="utf-8")
    stage.emitter.ship(name, final=True)
    return SnapshotResult(name)


def _series(stage: Stage, step: Step, action: actions.Snapshot, for_s: float) -> Result:
    """Look again and again, at fixed moments from the first one on; a late look does not delay those after it."""
    from labrun.agent.changes import Changes

    name = f"snapshots/{step.id}.jsonl"
    count = 0
    begin = time.monotonic()
    due = begin
    with stage.emitter.path(name).open("w", encoding="utf-8") as file, Changes(stage.nodes, action.nodes) as changes:
        changed = False
        while True:
            t_ns = stage.emitter.t_ns()
            state = _state(stage, action)
            file.write(dumps(Sample(t_ns, state, changed or None, changes.unseen() or None)) + "\n")
            count += 1
            now = time.monotonic()
            if now - begin >= for_s:
                break
            if now >= due:
                due = begin + min((int((now - begin) / action.every_s) + 1) * action.every_s, for_s)
            changed = count < _MOST_LOOKS and changes.wait(max(0.0, due - now))
            if not changed:
                time.sleep(max(0.0, due - time.monotonic()))
    stage.emitter.ship(name, final=True)
    return SeriesResult(name, count)


def _state(stage: Stage, action: actions.Snapshot) -> KernelState:
    from labrun.agent.snapshot import node_state

    states = {}
    for node in action.nodes:
        try:
            with stage.nodes.inside(node):
                states[node] = node_state(action.parts, stage.netlink(node), stage.nodes.fds())
        except FileNotFoundError as error:
            raise StepFailed(error.strerror or str(error)) from error
    return KernelState(states)


def _lookup(stage: Stage, step: Step, action: actions.Lookup, deadline: float) -> Result:
    from labrun.agent.lookup import look_up, question
    from labrun.agent.rtnetlink import KernelRefused

    assert step.node is not None
    with stage.nodes.inside(step.node):
        ipr = stage.netlink(step.node)
        try:
            message = question(action, ipr)
        except KernelRefused as error:
            raise StepFailed(str(error)) from error
        try:
            return LookupResult(look_up(message, ipr))
        except KernelRefused as error:  # no route is an answer too
            return LookupResult(None, error.errno_name, error.message)


def _wait(stage: Stage, step: Step, action: actions.Wait, deadline: float) -> Result:
    attempts = 0
    ask, awaited = _condition(stage, step, action, deadline)

    def once() -> bool:
        nonlocal attempts
        attempts += 1
        return ask()

    if not poll(once, deadline, action.every_s):
        if step.may_fail:
            return WaitResult(attempts, False)
        raise StepTimeout(f"waited {step.timeout_s:g} s ({attempts} attempts) for {awaited}")
    return WaitResult(attempts)


def _condition(stage: Stage, step: Step, action: actions.Wait, deadline: float) -> tuple[Callable[[], bool], str]:
    assert step.node is not None
    node = step.node
    if action.port is not None:
        from labrun.agent.listening import is_listening

        port = action.port

        def listening() -> bool:
            with stage.nodes.inside(node):
                return is_listening(port, action.protocol)

        return listening, f"{action.protocol} port {port} to be listened on"
    if action.link_up is not None:
        from labrun.agent.snapshot import node_state

        name = action.link_up

        def up() -> bool:
            with stage.nodes.inside(node):
                links = node_state(_LINKS, stage.netlink(node)).links or ()
            return any(link.name == name and link.up and link.operstate in ("UP", "UNKNOWN") for link in links)

        return up, f"{name} to be up"
    if action.addresses:
        from labrun.agent.settle import tentative

        def usable() -> bool:
            with stage.nodes.inside(node):
                return not tentative(stage.netlink(node))

        return usable, "no address to be tentative"
    if action.packets is not None:
        capture = stage.captures[action.packets]

        def enough() -> bool:
            capture.flush()
            return capture.kept >= action.count

        return enough, f"{action.count} packets in capture {action.packets}"
    if action.output is not None:
        process, pattern = stage.processes[action.output], action.matches or ""
        return lambda: process.wait_output(pattern, 0), f"output of {action.output} that matches {pattern!r}"
    argv = action.succeeds or ()

    return lambda: _succeeds(stage, step, argv, deadline), f"success of: {' '.join(argv)}"


def _succeeds(stage: Stage, step: Step, argv: tuple[str, ...], deadline: float) -> bool:
    """Whether one attempt does. What it prints is no evidence."""
    attempt = stage.spawn(step, argv, None, f"{step.id}.attempt")
    done = attempt.wait(_left(deadline))
    attempt.stop("KILL", 1.0)
    return done and attempt.status == (0, None)


def _prompt(stage: Stage, step: Step, action: actions.Prompt, deadline: float) -> None:
    from labrun.agent.prompt import prompt

    prompt(stage, action)


HANDLERS: dict[str, Handler] = {
    "run": _run,
    "start": _start,
    "stop": _stop,
    "capture": _capture,
    "namespace": _namespace,
    "link": _netlink,
    "address": _netlink,
    "route": _netlink,
    "rule": _netlink,
    "neighbour": _netlink,
    "sysctl": _sysctl,
    "nft": _nft,
    "send": _send,
    "snapshot": _snapshot,
    "lookup": _lookup,
    "trace": _trace,
    "wait": _wait,
    "prompt": _prompt,
}
