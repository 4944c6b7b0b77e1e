"""Why a sandbox of namespaces cannot be made on this machine, and the command that mends it.

What was refused is found out by trying, which the native engine does. This only reads settings, and explains.
"""

from __future__ import annotations

import os
from pathlib import Path

from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Obstacle:
    """``what`` is a fact, ``remedy`` says what mends it. ``mends``: the commands for root, where they are all of it."""

    what: str
    remedy: str
    mends: tuple[str, ...] = ()


def obstacles(root: Path = Path("/"), uid: int | None = None) -> tuple[Obstacle, ...]:
    """Settings that close user namespaces to this account. ``root`` has /proc, where tests say otherwise."""
    uid = os.geteuid() if uid is None else uid
    settings = root / "proc/sys"
    found = []
    if not (root / "proc/self/ns/user").exists():
        found.append(
            Obstacle(
                "this kernel has no user namespaces (CONFIG_USER_NS)", "boot a kernel that has them, or use Docker"
            )
        )
    if _number(settings / "user/max_user_namespaces") == 0:
        found.append(_closed("user.max_user_namespaces is 0: no user namespaces", "user.max_user_namespaces=15000"))
    if uid != 0 and _number(settings / "kernel/unprivileged_userns_clone") == 0:
        found.append(
            _closed(
                "kernel.unprivileged_userns_clone is 0: user namespaces are for root",
                "kernel.unprivileged_userns_clone=1",
            )
        )
    if uid != 0 and _number(settings / "kernel/apparmor_restrict_unprivileged_userns") == 1:
        found.append(
            _closed(
                "AppArmor keeps user namespaces from programs without a profile (Ubuntu 24.04 and later)",
                "kernel.apparmor_restrict_unprivileged_userns=0",
            )
        )
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        found.append(
            Obstacle(
                "this is a container, whose engine may forbid namespaces in it",
                "start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
                "--security-opt systempaths=unconfined",
            )
        )
    return tuple(found)


def _closed(what: str, setting: str) -> Obstacle:
    remedy = f"as root: sysctl -w {setting}; to keep it: echo {setting} > /etc/sysctl.d/60-labrun.conf"
    return Obstacle(what, remedy, (f"sysctl -w {setting}",))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
