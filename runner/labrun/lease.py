"""Whose a container is: its labels name the process that made it, and it may be removed when that process is gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

OWNER = "labrun.owner"  # where the process is, its pid, and when it began, for pids come again
# What is no process here cannot be asked: it is on another machine, or in another container on this one.
_STRANGERS_S = 3600.0


def lease() -> dict[str, str]:
    """The label of what this process makes."""
    pid = os.getpid()
    return {OWNER: f"{_place()} {pid} {began(pid)}"}


def expired(labels: Mapping[str, str], *, running: bool, created: str) -> bool:
    """Whether nobody needs this container any more. ``created``: when, in UTC and RFC 3339, by the engine's clock.

    A container that was made and not yet started is a live run's as much as one that runs.
    """
    words = labels.get(OWNER, "").split()
    if len(words) == 3 and words[0] == _place() and words[1].isdigit():
        return began(int(words[1])) != words[2]
    try:
        made = datetime.fromisoformat(created[:19] + "+00:00")
    except ValueError:
        return False
    return not running and (datetime.now(UTC) - made).total_seconds() > _STRANGERS_S


def _place() -> str:
    """Where pids mean what they mean here: this boot of this machine, and this pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def began(pid: int) -> str | None:
    """When a process began, in ticks since boot (field 22 of /proc/PID/stat); None if there is none, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()
