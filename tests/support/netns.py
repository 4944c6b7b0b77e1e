"""Network namespaces for tests: made in this thread and left again, no fork, no trace under /run/netns."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def setns(fd: int) -> None:
    _check(libc.setns(fd, CLONE_NEWNET))


def current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Netns:
    """One namespace, open until the `with` that made it ends. ``enter`` is for the calling thread only."""

    def __init__(self) -> None:
        home = current()
        try:
            _check(libc.unshare(CLONE_NEWNET))
            self.fd = current()
        finally:
            setns(home)
            os.close(home)

    def __enter__(self) -> Netns:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.fd)

    @contextmanager
    def enter(self) -> Iterator[None]:
        home = current()
        try:
            setns(self.fd)
            yield
        finally:
            setns(home)
            os.close(home)

    def sh(self, command: str) -> str:
        """A shell command in the namespace: its stdout. It must succeed."""
        with self.enter():
            done = subprocess.run(
                ["/bin/sh", "-ec", textwrap.dedent(command)], capture_output=True, text=True, timeout=20, check=False
            )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def until(self, condition: str) -> None:
        """Wait, 10 s at most, until a shell command succeeds in the namespace."""
        self.sh(f"for i in $(seq 1000); do if {condition}; then exit 0; fi; sleep 0.01; done; exit 1")

    def ip(self, arguments: str) -> Any:
        """What `ip -json -details` says."""
        return json.loads(self.sh(f"ip -json -details {arguments}") or "[]")
