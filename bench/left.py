"""What runs left on this machine, found by the runners' pids, so that other people's runs are not counted.

And how the programs beside this one start a runner: as root or in an account without rights, which is made for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENGINES = ("native", "rootless", "docker")
KINDS = ("processes", "cgroups", "mounts", "containers")
_OWNER = "labrun.owner"  # labrun/lease.py: place, pid, when it began


@dataclass(frozen=True)
class Way:
    """How labs are run: the command before labrun's own words, the options of `labrun run`, and the environment."""

    engine: str
    argv: tuple[str, ...]
    options: tuple[str, ...]
    environment: Mapping[str, str]

    def run(self, lab: str) -> list[str]:
        return [*self.argv, "run", lab, *self.options]

    def left(self, pids: Sequence[int]) -> dict[str, int]:
        """How much there is of these runners; nothing while they live means anything."""
        found = {
            "processes": len(processes(pids)),
            "cgroups": sum(_of(name, pids) for _, names, _ in os.walk("/sys/fs/cgroup") for name in names),
            "mounts": len(mounts()),
            "containers": 0,
        }
        if self.engine == "docker":
            found["containers"] = len(containers_of(pids))
        return found


@contextlib.contextmanager
def way(engine: str) -> Iterator[Way]:
    """``rootless`` is the native engine of an account without rights; as root, one is made (needs the tests' tools)."""
    labrun = (sys.executable, "-m", "labrun")
    if engine != "rootless":
        yield Way(engine, labrun, ("--engine", engine), dict(os.environ))
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.account import temporary_account

    with temporary_account() as account:
        options = ("--engine", "native", "--userland", "host")  # an image would have to be built for this account first
        yield Way(engine, account.command("-m", "labrun"), options, {**os.environ, **account.environment})


def processes(pids: Sequence[int]) -> list[int]:
    """Launchers and what they made: a sandbox's process 1 is a copy of its launcher, name and all."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if any(_of(word.decode(errors="replace"), pids) for word in words):
                    found.append(int(entry.name))
    return found


def mounts() -> list[str]:
    """Those of sandboxes that are seen from here; there should never be one."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.partition(" - ")[2].split()[1:2] in (["labrun"], ["lab"], ["tun"])]


@functools.cache
def _client() -> Any:
    import docker

    return docker.from_env()


def containers_of(pids: Sequence[int]) -> list[Any]:
    """Those that these runners made, started or not."""
    found = _client().containers.list(all=True, filters={"label": _OWNER}, ignore_removed=True)
    return [one for one in found if _owner(one.labels) in pids]


def _owner(labels: Mapping[str, str]) -> int:
    words = labels.get(_OWNER, "").split()
    return int(words[1]) if len(words) == 3 and words[1].isdigit() else 0


def _of(name: str, pids: Sequence[int]) -> bool:
    """Whether a launcher or a cgroup is one of these runners' (`labrun-PID-...`)."""
    words = name.split("-")
    return words[0] == "labrun" and len(words) > 3 and words[1].isdigit() and int(words[1]) in pids
