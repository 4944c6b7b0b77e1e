"""When a run starts another sandbox: labs wait more than they compute, so it depends on how busy the machine is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MOST = 64  # sandboxes at a time, however idle the machine is
LOOK_S = 0.05
_LOW = 0.6  # of the time since the last look, in which something waited for a processor
_ROOM_BYTES = 1024**3  # what one sandbox may take at most (engines.cgroups)


class Pace(Protocol):
    """``most``: never so many sandboxes and one more. ``look_s``: how often it is worth asking."""

    @property
    def most(self) -> int: ...
    @property
    def look_s(self) -> float: ...

    def another(self, running: int, starting: int = 0) -> bool:
        """May another be started now? Always, where none runs. ``starting``: those of them that have not begun yet."""
        ...


@dataclass(frozen=True)
class Fixed:
    """As many as somebody said."""

    most: int
    look_s: float = 1.0

    def another(self, running: int, starting: int = 0) -> bool:
        return running < self.most


@dataclass(frozen=True)
class Machine:
    """``waited_us``: for how long something waited for a processor since boot; None where that is not counted.

    ``runnable``: threads that run or wait for a processor now; None where it is not known. ``free_bytes``: memory that
    can be had without swapping; None where it is not known.
    """

    waited_us: int | None
    runnable: int | None
    free_bytes: int | None


class ByPressure:
    """One for each processor in any case; more while processors are hardly waited for and memory is free.

    A sandbox that has just been started has not shown yet what it needs. So never more of them start at once than there
    are processors; and after a look that finds the machine idle, half as many are started, until the next look.
    """

    most = MOST
    look_s = LOOK_S

    def __init__(
        self,
        cores: int,
        look: Callable[[], Machine] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cores = cores
        self._always = min(cores, self.most)
        self._look = look or look_at_machine
        self._clock = clock
        self._looked_at = clock()
        self._before = self._look()
        self._may_start = 0

    def another(self, running: int, starting: int = 0) -> bool:
        """See `Pace.another`."""
        if running < self._always:
            return True
        if running >= self.most or starting >= self._always:
            return False
        now = self._clock()
        if now - self._looked_at >= self.look_s:
            seen = self._look()
            idle = is_idle(self._before, seen, now - self._looked_at, self._cores)
            self._may_start = max(1, self._cores // 2) if idle else 0
            self._before, self._looked_at = seen, now
        self._may_start -= 1
        return self._may_start >= 0


def is_idle(before: Machine, now: Machine, seconds: float, cores: int) -> bool:
    """Is there room for another sandbox? What is not known is no room."""
    if now.free_bytes is None or now.free_bytes < _ROOM_BYTES:
        return False
    if before.waited_us is not None and now.waited_us is not None:
        return (now.waited_us - before.waited_us) / 1e6 < _LOW * seconds
    return now.runnable is not None and now.runnable <= cores


def longest_first(names: Sequence[str], lasted_s: Mapping[str, float]) -> list[int]:
    """The places of ``names`` in the order in which to start them. Those that nobody knows come first."""
    return sorted(range(len(names)), key=lambda place: -lasted_s.get(names[place], float("inf")))


def look_at_machine(root: Path = Path("/")) -> Machine:
    """Documentation/accounting/psi.rst (cpu, `some`), proc_loadavg(5), proc_meminfo(5), and the cgroup's own memory."""
    pressure = _read(root / "proc/pressure/cpu").partition("total=")[2].split()
    load = _read(root / "proc/loadavg").split()
    running = load[3].partition("/")[0] if len(load) > 3 else ""
    return Machine(
        waited_us=int(pressure[0]) if pressure and pressure[0].isdigit() else None,
        runnable=int(running) - 1 if running.isdigit() else None,  # without whoever reads this
        free_bytes=_free_bytes(root),
    )


def _free_bytes(root: Path) -> int | None:
    lines = (line.split() for line in _read(root / "proc/meminfo").splitlines())
    known = {words[0]: int(words[1]) * 1024 for words in lines if len(words) > 1 and words[1].isdigit()}
    free = [known["MemAvailable:"]] if "MemAvailable:" in known else []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names and "memory" not in names.split(","):
            continue
        place, files = ("memory", _V1) if names else ("", _V2)
        top = root / "sys/fs/cgroup" / place
        here = top / path.strip("/")
        for folder in (here, *here.parents):
            limit, used = (_read(folder / name).strip() for name in files)
            if limit.isdigit() and used.isdigit():
                free.append(int(limit) - int(used) + _cache(folder))
            if folder == top:
                break
    return min(free, default=None)


_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_V2 = ("memory.max", "memory.current")


def _cache(folder: Path) -> int:
    """What the kernel gives back before it refuses memory: file pages that were not used for long."""
    lines = (line.split() for line in _read(folder / "memory.stat").splitlines())
    known = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    return known.get("total_inactive_file", known.get("inactive_file", 0))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # PSI may be there and switched off (EOPNOTSUPP)
        return ""


def cores() -> int:
    return len(os.sched_getaffinity(0))
