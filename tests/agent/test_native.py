"""The native engine's sandboxes on this host's own programs: who starts them, when, and that they live long enough."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from labrun.engines import native, shipment
from labrun.engines.base import EngineError
from labrun.engines.native import NativeEngine
from labrun.engines.userland import host_userland
from labrun.protocol import actions
from labrun.protocol.events import Done, StepEnded
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Plan, Step
from support.remount import REMOUNT

PLAN = Plan(
    "lab",
    "experiment",
    (Step("n", actions.Namespace("add", "n")), Step("a", actions.Run(("true",)), node="n")),
    (),
)


@pytest.fixture
def engine() -> NativeEngine:
    return NativeEngine(host_userland(), "test")


def go(engine: NativeEngine) -> list[str]:
    """What became of each step, and whether the agent came to its end."""
    with engine.sandbox(PLAN, "test") as frames:
        events = list(frames)
    ended = [f"{event.step} {event.status}" for event in events if isinstance(event, StepEnded)]
    return [*ended, *("done" for event in events if isinstance(event, Done))]


def test_a_sandbox_outlives_the_thread_that_had_it_started(engine: NativeEngine) -> None:
    found: list[list[str]] = []
    with engine:
        engine.expect(3)
        for _ in range(2):
            thread = threading.Thread(target=lambda: found.append(go(engine)))
            thread.start()
            thread.join()
        found.append(go(engine))
    assert found == [["n ok", "a ok", "done"]] * 3


def test_no_more_are_kept_in_waiting_than_will_be_asked_for(engine: NativeEngine) -> None:
    with engine:
        engine.expect(2)
        engine._starter.submit(int).result()  # what was asked of it before is done
        assert len(engine._spares) == 2
        go(engine)
        engine._starter.submit(int).result()
        assert len(engine._spares) == 1
        engine.expect(0)
        engine._starter.submit(int).result()
        assert engine._spares == []
    assert engine._live == set() or all(sandbox._process.poll() is not None for sandbox in engine._live)


def test_nobody_asked_for_more_than_one(engine: NativeEngine) -> None:
    with engine:
        assert go(engine)[-1] == "done"
        engine._starter.submit(int).result()
        assert engine._spares == []


def test_a_python_in_a_folder_that_the_sandbox_has_its_own_of(tmp_path: Path) -> None:
    """A checkout under /tmp with its venv: the host's /tmp is not the sandbox's, and the Python in it still is."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    tmp_path.chmod(0o755)  # the root of a sandbox is nobody out here
    python.symlink_to(os.path.realpath(sys.executable))
    host = host_userland()
    userland = replace(host, python=str(python), binds=(*host.binds, str(tmp_path)))
    assert any(str(tmp_path).startswith(f"{folder}/") for folder in ("/tmp", "/run"))
    with NativeEngine(userland, "test") as engine:
        assert go(engine)[-1] == "done"


def test_none_starts_after_it_was_cancelled(engine: NativeEngine) -> None:
    with engine:
        engine.cancel()
        with pytest.raises(EngineError, match="died"):  # the one that was waiting
            go(engine)
        with pytest.raises(EngineError, match="interrupted"):
            go(engine)


def test_limits_can_be_swept_when_it_is_over(engine: NativeEngine) -> None:
    with engine:
        go(engine)
        folders = [folder for folder, _ in engine._limits.cgroups]
    assert not [left for folder in folders for left in Path(folder).glob("labrun-*-test-*")]


def test_limits_of_a_launcher_that_was_killed_are_removed(engine: NativeEngine) -> None:
    with engine:
        folders = [folder for folder, _ in engine._limits.cgroups]
        with engine.sandbox(PLAN, "test") as frames:
            next(frames)
            assert not folders or [one for folder in folders for one in Path(folder).glob("labrun-*-test-*")]
            (sandbox,) = engine._live
            sandbox._process.kill()
            with pytest.raises(EngineError, match="signal 9"):
                list(frames)
    assert not [left for folder in folders for left in Path(folder).glob("labrun-*-test-*")]


def outputs_of(engine: NativeEngine, *argv: str) -> dict[str, bytes]:
    """What a command of a node left as evidence, with how the step ended."""
    plan = replace(PLAN, steps=(PLAN.steps[0], Step("a", actions.Run(argv), node="n", timeout_s=20.0)))
    found: dict[str, bytes] = {}
    with engine, engine.sandbox(plan, "test") as frames:
        for frame in frames:
            if isinstance(frame, Piece):
                found[frame.path] = found.get(frame.path, b"") + frame.data
            elif isinstance(frame, StepEnded):
                found[frame.step] = frame.status.encode()
    return found


@pytest.mark.parametrize("kernel", ["this", "before 5.11"])
def test_what_is_read_only_stays_so(kernel: str, engine: NativeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the kernel has neither overlay for us nor mount_setattr; small files of ours are put there too."""
    if kernel != "this":
        older = native._LAUNCH.replace("launcher.main()", "launcher.SYS_MOUNT_SETATTR = 9999; launcher.main()")
        monkeypatch.setattr(native, "_LAUNCH", older)
        place = "import labrun.agent.lab_root; labrun.agent.lab_root.OVERLAY = 'none'; from labrun.agent.lab_side"
        monkeypatch.setattr(shipment, "_BOOT", shipment._BOOT.replace("from labrun.agent.lab_side", place))
    found = outputs_of(engine, sys.executable, "-c", REMOUNT + "\nprint(open('/etc/hostname').read(), os.getcwd())")
    lines = found["outputs/a.stdout"].decode().splitlines()
    assert found["a"] == b"ok" and "kept /usr" in lines, found
    assert not [line for line in lines if line.startswith("got")]
    assert lines[-2:] == ["lab", " /"]
