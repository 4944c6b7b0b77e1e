"""Native: namespaces of the kernel around the agent, without any daemon; as root or not, always as nobody's root.

The sandbox has a user namespace of its own in either case: whoever is root in there has no right out here. It ends with
the runner, however that ends, and leaves nothing (see launcher.py, which does the work in a process of its own).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import marshal
import os
import platform
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from labrun.engines.base import EngineError, EngineInfo, Frame, Keys, refusal
from labrun.engines.cgroups import Limits, find_limits, name_for, sweep
from labrun.engines.cgroups import remove as remove_cgroup
from labrun.engines.shipment import agent_command, agent_parcel, plan_parcel
from labrun.engines.userland import Userland
from labrun.protocol.codec import ProtocolError
from labrun.protocol.frames import Piece, read_frames
from labrun.protocol.plan import NO_CONTENTS, Contents, Plan

# Imported and not run by its path: so its bytecode is kept.
_LAUNCH = "import sys; sys.path.insert(0, sys.argv.pop(1)); import launcher; del sys.path[0]; launcher.main()"
# Root in a sandbox that root starts is this user out here: of no account, in the range for containers
# (systemd, docs/UIDS-GIDS.md).
FIRST_ID, IDS = 0x6C61_0000, 65536
_GRACE_S = 15.0
_END_S = 10.0
_TMPFS_BYTES = 512 * 1024**2  # of what the agent keeps until it is shipped; labs have a file system of their own
_AGENT_LOG = "agent.log"
_LOG_LIMIT = 1024 * 1024
_READ = 1 << 20
_REFUSED = 70  # launcher.py
_ENVIRONMENT = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
PACKAGES = "/run/labrun/packages.json"


class NativeEngine:
    """Sandboxes on this kernel. Enter it before use: that finds out whether one can be made."""

    grace_s = _GRACE_S  # beyond a plan's own time

    def __init__(
        self,
        userland: Userland,
        run_id: str,
        limits: Limits | None = None,
        note: str | None = None,
        ahead: int = 1,
        first: int = 1,
    ) -> None:
        """``ahead``: how many sandboxes are started before anybody asks for them. ``first``: number of the first."""
        self._userland = userland
        self._run_id = run_id
        self._limits = limits or find_limits()
        self._note = note
        self._numbers = itertools.count(first)
        self._lock = threading.Lock()
        self._live: set[_Sandbox] = set()
        self._cancelled = False
        # The kernel ends a launcher when the *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG). So one that
        # lives as long as the engine starts them all; what follows is its own.
        self._starter = ThreadPoolExecutor(1, "starter")
        self._ahead = ahead
        self._expected: int | None = None
        self._spares: list[_Sandbox] = []

    def __enter__(self) -> NativeEngine:
        """Start the first sandboxes; the first plans get them. What killed runners left is removed meanwhile."""
        self._starter.submit(self._prepare).result()
        sweep(self._limits)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        with self._lock:
            left = tuple(self._live)
        for sandbox in left:
            sandbox.remove()
        self._starter.shutdown()

    def sibling(self, userland: Userland, first: int) -> NativeEngine:
        """An engine of the same run with other programs. ``first``: the number of its first sandbox."""
        return NativeEngine(userland, self._run_id, self._limits, self._note, 1, first)

    @property
    def info(self) -> EngineInfo:
        words = [self._note, f"limits: {self._limits.words}"]
        return EngineInfo(
            name="native",
            version=f"linux {platform.release()}",
            isolation="user-namespace",
            note="; ".join(word for word in words if word),
            kernel=platform.release(),
            image=self._userland.name,
            image_id=None,
            userland=self._userland.kind,
        )

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        with self._lock:
            self._cancelled = True
            live = tuple(self._live)
        for sandbox in live:
            sandbox.end()

    @contextmanager
    def sandbox(
        self, plan: Plan, name: str, contents: Contents = NO_CONTENTS, keys: Keys | None = None
    ) -> Iterator[Iterator[Frame]]:
        """See `Engine.sandbox`."""
        sandbox = self._starter.submit(self._take).result()
        self._starter.submit(self._prepare)  # should that fail, whoever needs the one that is not there is told
        if keys is not None:
            keys.write = sandbox.type
        try:
            yield self._passed_on(sandbox.frames(plan, contents, self.grace_s))
        finally:
            sandbox.remove()
            with self._lock:
                self._live.discard(sandbox)

    def _passed_on(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        return frames

    def expect(self, plans: int) -> None:
        """See `Engine.expect`."""
        self._starter.submit(self._expect, plans)

    def _expect(self, plans: int) -> None:
        self._expected = plans
        self._ahead += 1  # while those at work are at it, the next one gets ready
        for sandbox in self._spares[plans:]:
            sandbox.end()
        del self._spares[plans:]
        self._prepare()

    def _take(self) -> _Sandbox:
        sandbox = self._spares.pop(0) if self._spares else self._start()
        if self._expected is None:
            self._ahead = 0  # nobody said that there will be more
        else:
            self._expected -= 1
        return sandbox

    def _prepare(self) -> None:
        """Have as many sandboxes in waiting as are wanted."""
        wanted = self._ahead if self._expected is None else min(self._ahead, self._expected)
        while len(self._spares) < wanted:
            self._spares.append(self._start())

    def _start(self) -> _Sandbox:
        with self._lock:
            if self._cancelled:
                raise EngineError("interrupted", "interrupted before it started")
            number = next(self._numbers)
            name = name_for(self._run_id, number)
            folders = [f"{parent}/{name}" for parent, _ in self._limits.cgroups]
            sandbox = _Sandbox(self._job(name), folders)
            self._live.add(sandbox)
        return sandbox

    def _job(self, name: str) -> dict[str, object]:
        return sandbox_job(self._userland, self._limits, name)


def launch_command(job: dict[str, object]) -> list[str]:
    """Of the outer process, see launcher.py."""
    folder, data = str(Path(__file__).parent), marshal.dumps(job).hex()
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, folder, str(job["name"]), data]


def sandbox_job(userland: Userland, limits: Limits, name: str) -> dict[str, object]:
    root = os.geteuid() == 0
    packages = {"userland": userland.name, "packages": dict(userland.packages)}
    files = [[PACKAGES, json.dumps(packages)]] if userland.kind == "host" else []
    return {
        "name": name,  # for people who look at `ps`
        "parent": os.getpid(),
        "root": userland.root,
        "binds": userland.binds,
        "links": userland.links,
        "files": files,
        "first_id": FIRST_ID if root else os.geteuid(),
        "ids": IDS if root else 1,
        "cgroups": [[f"{parent}/{name}", settings] for parent, settings in limits.cgroups],
        "rlimits": limits.rlimits,
        "tmpfs_bytes": _TMPFS_BYTES,
        "hostname": "lab",
        "command": agent_command(userland.python, paths=userland.paths, nested=True, binds=userland.binds),
        "environment": {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    }


class _Sandbox:
    """A launcher whose agent waits for a plan."""

    def __init__(self, job: dict[str, object], cgroups: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._cgroups = tuple(cgroups)
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                launch_command(job),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the runner, which ends this in order
                env=_ENVIRONMENT,  # process 1 of the sandbox is a copy of it, and what the runner has may be secret
            )
        except OSError as error:
            raise EngineError("sandbox-refused", f"no process could be started: {error.strerror}") from error
        self._sending = threading.Thread(target=self._send, args=(agent_parcel,), name="agent", daemon=True)
        self._sending.start()

    def frames(self, plan: Plan, contents: Contents, grace_s: float) -> Iterator[Frame]:
        """Hand the plan over, and pass on what comes back, the agent's stderr as its log."""
        deadline = time.monotonic() + plan.limits.lab_timeout_s + grace_s
        log: list[bytes] = []
        tail = b""
        left = _LOG_LIMIT
        done = False
        threading.Thread(target=self._send_plan, args=(plan, contents), name="plan", daemon=True).start()
        try:
            for frame in itertools.chain(read_frames(self._chunks(log, deadline)), [None]):
                while log:
                    data = log.pop(0)
                    tail = (tail + data)[-4096:]
                    if data[:left]:
                        yield Piece(_AGENT_LOG, data[:left])
                    left -= len(data[:left])
                if frame is None:
                    break
                yield frame
                done = not isinstance(frame, Piece) and frame.KIND == "done"
        except ProtocolError as error:
            raise EngineError("sandbox-garbled", f"the sandbox's stream makes no sense: {error}") from error
        if not done:
            raise self._cause(tail)

    def _send_plan(self, plan: Plan, contents: Contents) -> None:
        self._sending.join()
        self._send(lambda: plan_parcel(plan, contents))

    def _send(self, parcel: Callable[[], bytes]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # a sandbox that dies early is reported by the reading side
            self._process.stdin.write(parcel())
            self._process.stdin.flush()

    def type(self, data: bytes) -> None:
        """After the plan was taken."""
        self._send(lambda: data)

    def _chunks(self, log: list[bytes], deadline: float) -> Iterator[bytes]:
        """stdout as it comes, until both streams end; stderr is put into ``log``."""
        out, err = self._process.stdout, self._process.stderr
        assert out is not None and err is not None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(err, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise EngineError("sandbox-stuck", "the sandbox did not end within its time and was removed")
                for key, _ in ready:
                    data = os.read(key.fd, _READ)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is out:
                        yield data
                    else:
                        log.append(data)

    def _cause(self, tail: bytes) -> EngineError:
        """Why there was no `Done`."""
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return EngineError("sandbox-died", "the sandbox's stream ended and its processes did not")
        if status == _REFUSED:
            reason = refusal(tail) or "no reason"
            return EngineError("sandbox-refused", f"the kernel refused a sandbox: {reason}. `labrun doctor` says more")
        words = "the sandbox died before its agent was done"
        if status in (128 + 9, -9):
            return EngineError("sandbox-died", f"{words}: it was killed (signal 9), by hand or for want of memory")
        return EngineError("sandbox-died", f"{words} (exit status {status})")

    def end(self) -> None:
        """The launcher ends the sandbox and cleans up. From any thread, any number of times."""
        with self._lock:
            if self._process.poll() is None:
                self._process.terminate()

    def remove(self) -> None:
        """Gone when this returns, with its cgroups: the launcher removes them, and one that was killed cannot."""
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            _close(stream)
        for folder in self._cgroups:
            remove_cgroup(folder)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.close()
