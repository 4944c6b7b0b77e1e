"""Where a sandbox of the native engine gets its limits: in cgroups that we may make, else by rlimits.

Finds out by looking and by making one; what the launcher then does is data. cgroup v1: one folder in each hierarchy.
v2: below a folder that hands the controllers down (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process
Constraint": that is never the folder where we are ourselves). An ordinary user has such a place where systemd delegates
one, as in a user's own services.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from labrun.lease import began
from labrun.protocol.record import dataclass

MEMORY_BYTES = 1024**3
PIDS = 1024
_PREFIX = "labrun-"
_GONE_S = 1.0  # the last processes of a sandbox are on their way out


@dataclass(frozen=True, slots=True)
class Limits:
    """``cgroups``: (folder in which to make the sandbox's own, its settings). ``words``: for people and the record."""

    cgroups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    rlimits: tuple[tuple[str, int], ...]
    words: str


def find_limits(own: str | None = None, mounts: str | None = None) -> Limits:
    """What can be had here. The arguments are /proc/self/cgroup and /proc/self/mountinfo, where tests say otherwise."""
    own = own if own is not None else _read("/proc/self/cgroup")
    mounts = mounts if mounts is not None else _read("/proc/self/mountinfo")
    found = {name: folder for name in ("memory", "pids") if (folder := _v1(name, own, mounts)) is not None}
    unified = None if len(found) == 2 else _v2(own, mounts)
    if len(found) == 2:
        cgroups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
            (found["memory"], (("memory.limit_in_bytes", str(MEMORY_BYTES)),)),
            (found["pids"], (("pids.max", str(PIDS)),)),
        )
        return Limits(cgroups, (), "memory and processes by cgroups (v1)")
    if unified is not None:
        settings = (("memory.max", str(MEMORY_BYTES)), ("memory.swap.max", "0"), ("pids.max", str(PIDS)))
        swap = any(Path(unified).glob("*/memory.swap.max"))
        present = tuple(pair for pair in settings if swap or pair[0] != "memory.swap.max")
        return Limits(((unified, present),), (), "memory and processes by cgroups (v2)")
    return Limits(
        (), rlimits(), "processes, and the memory of each but not of all, by rlimits: no cgroup may be made here"
    )


def rlimits() -> tuple[tuple[str, int], ...]:
    """RLIMIT_DATA bounds each process alone. RLIMIT_NPROC counts per user namespace from Linux 5.14 on."""
    release = os.uname().release.split(".")
    new = (int(release[0]), int("".join(c for c in release[1] if c.isdigit()) or 0)) >= (5, 14)
    return (("RLIMIT_DATA", MEMORY_BYTES), *((("RLIMIT_NPROC", PIDS),) if new else ()))


def name_for(run_id: str, number: int) -> str:
    """Of a sandbox's folders: the runner's pid, its pid namespace and when it began, for pids come again."""
    pid = os.getpid()
    return f"{_PREFIX}{pid}-{_pids()}-{began(pid)}-{run_id}-{number}"


def remove(folder: str) -> None:
    """Remove a sandbox's own cgroup after its launcher, which does so itself unless it was killed."""
    deadline = time.monotonic() + _GONE_S
    while True:
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)
        else:
            return


def sweep(limits: Limits | None = None) -> tuple[str, ...]:
    """Remove the empty cgroups of runners that are gone; what was removed.

    One of a runner in another pid namespace stays: nobody here can tell whether it lives.
    """
    removed = []
    for folder, _ in (limits or find_limits()).cgroups:
        for left in Path(folder).glob(f"{_PREFIX}*"):
            words = left.name.split("-")
            if len(words) > 3 and words[1].isdigit() and words[2] == _pids() and began(int(words[1])) != words[3]:
                with contextlib.suppress(OSError):
                    left.rmdir()
                    removed.append(str(left))
    return tuple(removed)


def _pids() -> str:
    """The pid namespace, in which a pid means what it says."""
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def _v1(controller: str, own: str, mounts: str) -> str | None:
    """Our own folder in the controller's hierarchy, so that limits on us hold for the sandbox too; else its top."""
    for root, place, kind, options in _mounts(mounts):
        if kind != "cgroup" or controller not in options.split(","):
            continue
        for line in own.splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                inside = path.removeprefix(root) if root != "/" else path
                for parent in dict.fromkeys((f"{place}/{inside.strip('/')}".rstrip("/"), place)):
                    if os.access(parent, os.W_OK):
                        return parent
    return None


def _v2(own: str, mounts: str) -> str | None:
    place = next((place for _, place, kind, _ in _mounts(mounts) if kind == "cgroup2"), None)
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), None)
    if place is None or path is None:
        return None
    inside = Path(place + path)
    parents = [parent for parent in inside.parents if str(parent).startswith(place)]
    for parent in (*reversed(parents), inside):
        if os.access(parent, os.W_OK) and {"memory", "pids"} <= _words(parent / "cgroup.subtree_control"):
            return str(parent)
    return None


def _mounts(text: str) -> Iterator[tuple[str, str, str, str]]:
    """(root, mount point, type, options of the file system) of each line (proc(5), mountinfo)."""
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, more = head.split(), tail.split()
        if len(fields) > 4 and len(more) > 2:
            yield fields[3], fields[4], more[0], more[2]


def _words(file: Path) -> set[str]:
    return set(_read(str(file)).split())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
