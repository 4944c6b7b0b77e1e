"""The sandboxes of a run as the machine shows them: containers, or processes, cgroups and mounts."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors


@dataclass(frozen=True)
class Sandbox:
    """One that is there. ``runs``: does a command line with these words run in it? ``kill``: the hard way."""

    name: str
    runs: Callable[[str], bool]
    kill: Callable[[], None]


def containers_of(client: Any, run_id: str) -> list[Sandbox]:
    found = client.containers.list(all=True, filters={"label": f"labrun.run={run_id}"}, ignore_removed=True)

    def sandbox(container: Any) -> Sandbox:
        def runs(words: str) -> bool:
            try:
                rows = container.top()["Processes"]
            except docker.errors.APIError:  # it is just starting, or gone already
                return False
            return any(words in " ".join(row) for row in rows)

        return Sandbox(container.name, runs, container.kill)

    return [sandbox(container) for container in found]


def namespaces_of(run_id: str) -> list[Sandbox]:
    """Launchers of the native engine, and what a dead one would have left: cgroups."""
    found = []
    for pid, words in _processes():
        # The sandbox's init is a clone of the launcher, command line and all.
        if "launcher.main" in words and f"-{run_id}-" in words and "launcher.main" not in _command(_parent(pid)):
            found.append(_of_launcher(pid))
    for folder, _, _ in os.walk("/sys/fs/cgroup"):  # those of others may go meanwhile
        if not found and Path(folder).name.startswith("labrun-") and run_id in folder:
            found.append(Sandbox(folder, lambda words: False, lambda: None))
    return found


def launched_by(runner: int) -> list[int]:
    """Launchers of the native engine that a runner started, by its pid."""
    return [pid for pid, words in _processes() if "launcher.main" in words and f"labrun-{runner}-" in words]


def descendants(pid: int) -> list[tuple[int, str]]:
    """Processes below one, each with its command line."""
    return [(child, _command(child)) for child in _below(pid)]


def _of_launcher(pid: int) -> Sandbox:
    def runs(words: str) -> bool:
        return any(words in line for _, line in descendants(pid))

    def kill() -> None:
        os.kill(_children(pid)[0], signal.SIGKILL)

    return Sandbox(str(pid), runs, kill)


def _below(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _below(child)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()]
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name), _command(int(entry.name))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
