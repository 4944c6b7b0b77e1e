"""What every engine is: a place where a plan runs, told as events and pieces of evidence, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from labrun.protocol.events import Event
from labrun.protocol.frames import Piece
from labrun.protocol.plan import NO_CONTENTS, Contents, Plan
from labrun.protocol.record import dataclass

Isolation = Literal["privileged", "least", "user-namespace", "virtual-machine"]
Frame = Event | Piece


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the run record says about the engine. ``isolation`` is what it came to, not what was asked for."""

    name: str
    version: str
    isolation: Isolation
    note: str | None = None  # e.g. why privileged was not to be had
    kernel: str | None = None
    image: str | None = None
    image_id: str | None = None
    userland: str = "image"  # whose programs a lab has: the lab image's, or this host's


class EngineError(Exception):
    """The engine could not do its part; nothing is said about the network. ``code`` is for machines.

    Codes: engine-unreachable, sandbox-refused, sandbox-died, sandbox-garbled, sandbox-stuck, kernel-crashed,
    image-missing.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Keys:
    """Where what somebody types goes, once the engine has a sandbox for it. From any thread."""

    def __init__(self) -> None:
        self.write: Callable[[bytes], object] | None = None


class Engine(Protocol):
    """Runs plans, several at a time from several threads."""

    @property
    def info(self) -> EngineInfo:
        """About this engine; complete once it was entered."""
        ...

    def expect(self, plans: int) -> None:
        """So many sandboxes will be asked for: an engine may start some ahead."""
        ...

    def cancel(self) -> None:
        """End every sandbox of this engine now, from any thread; none starts after. Their iterators end."""
        ...

    def sandbox(
        self, plan: Plan, name: str, contents: Contents = NO_CONTENTS, keys: Keys | None = None
    ) -> AbstractContextManager[Iterator[Frame]]:
        """A fresh sandbox in which the plan runs, gone when the context ends, whatever happened.

        The iterator ends when the sandbox does: after `Done`, or early if it died. It raises EngineError where
        the engine itself fails. ``name`` labels the sandbox for people and for `labrun clean`. ``contents``: the bytes
        of the plan's files. ``keys``: gets the sandbox's stdin, for a plan with a prompt.
        """
        ...


MARK = "labrun-launcher: "  # before what a sandbox says of why there is none: launcher.py, agent/lab_side.py


def refusal(log: bytes) -> str | None:
    """The last thing that a sandbox's log has of this kind; None if there is nothing."""
    lines = log.decode(errors="replace").splitlines()
    return next((line.removeprefix(MARK) for line in reversed(lines) if line.startswith(MARK)), None)
