"""Gives a node's namespace the settings of `protocol.settings`, whatever the host's are. Call inside the namespace.

Reading all of them takes 4 ms, so that is done once; the nodes made within a second from then differ in the same
settings, and only those are written.
"""

from __future__ import annotations

import contextlib
import os
import time

from labrun.protocol.settings import MACHINE_WIDE, SETTINGS

_ROOT = "/proc/sys/net/"
_FRESH_S = 1.0


class Settings:
    """``left``: name as sysctl(8) writes it -> value, of what is not as the table says and could not be set."""

    def __init__(self) -> None:
        self.left: dict[str, str] = {}
        self._differ: dict[str, str] = {}
        self._until = 0.0

    def pin(self) -> None:
        """Set what differs. What the kernel refuses stays as it is, and is in ``left``."""
        if time.monotonic() < self._until:
            for path, value in self._differ.items():
                with contextlib.suppress(OSError):
                    _write(path, value)
            return
        self._differ = {}
        for path, value in SETTINGS.items():
            if _read(path) not in (None, value):
                self._differ[path] = value
                with contextlib.suppress(OSError):
                    _write(path, value)
        wanted = self._differ | MACHINE_WIDE
        found = {path: _read(path) for path in wanted}
        self.left = {_name(path): now for path, now in found.items() if now not in (None, wanted[path])}
        self._until = time.monotonic() + _FRESH_S


def _name(path: str) -> str:
    return "net." + path.replace("/", ".")


def _read(path: str) -> str | None:
    """Its words with one space between them; None where this kernel does not have it."""
    try:
        fd = os.open(_ROOT + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return " ".join(os.read(fd, 4096).decode("ascii", "replace").split())
        finally:
            os.close(fd)
    except OSError:
        return None


def _write(path: str, value: str) -> None:
    fd = os.open(_ROOT + path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode() + b"\n")
    finally:
        os.close(fd)
