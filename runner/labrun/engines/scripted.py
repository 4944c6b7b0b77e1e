"""An engine that replays what it is told: for tests, and for whoever builds on `conduct`. It starts nothing.

A real engine in all that its users see: sandboxes run at once from several threads, may fail at any point, may hang
until they are cancelled, and are gone when their context ends. It refuses to invent evidence: a variant without a
script is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from labrun.engines.base import EngineError, EngineInfo, Frame, Keys
from labrun.protocol.plan import NO_CONTENTS, Contents, Plan
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """Here the sandbox hangs until the engine is cancelled; then it dies."""


Line = Frame | Block | Exception
Script = Sequence[Line]
"""What a sandbox gives, in order. An exception is raised where it stands: EngineError, or a defect of an engine's."""


class ScriptedEngine:
    """``scripts``: (lab, variant) -> its script."""

    def __init__(self, scripts: Mapping[tuple[str, str], Script], info: EngineInfo | None = None) -> None:
        self._scripts = scripts
        self._info = info or EngineInfo("scripted", "1", "privileged")
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self.blocked = threading.Semaphore(0)
        """Released once for each sandbox that has come to a `Block`."""
        self.names: list[str] = []
        """Of the sandboxes, in the order in which they were asked for."""
        self.running = 0
        self.most = 0
        """How many sandboxes there have been at once, at most."""

    @property
    def info(self) -> EngineInfo:
        return self._info

    def expect(self, plans: int) -> None:
        """See `Engine.expect`."""

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        self._cancelled.set()

    @contextmanager
    def sandbox(
        self, plan: Plan, name: str, contents: Contents = NO_CONTENTS, keys: Keys | None = None
    ) -> Iterator[Iterator[Frame]]:
        """See `Engine.sandbox`."""
        if self._cancelled.is_set():
            raise EngineError("interrupted", "interrupted before it started")
        try:
            script = self._scripts[plan.lab, plan.variant]
        except KeyError as error:
            raise EngineError("sandbox-refused", f"no script for {plan.lab}, variant {plan.variant}") from error
        with self._lock:
            self.names.append(name)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            yield self._frames(script)
        finally:
            with self._lock:
                self.running -= 1

    def _frames(self, script: Script) -> Iterator[Frame]:
        for line in script:
            if isinstance(line, Block):
                self.blocked.release()
                self._cancelled.wait()
            if self._cancelled.is_set():
                raise EngineError("sandbox-died", "the sandbox was removed before its agent was done")
            if isinstance(line, Exception):
                raise line
            if not isinstance(line, Block):
                yield line
