"""What does a run leave behind when one of its processes is killed? Counted after every kill, before anything sweeps.

    python bench/kill.py [--rounds 100] [--seed 1] [--engine native|rootless|docker] [--whom any|runner] [--at-create]

Each round starts `labrun run` of a small lab, waits for a random moment of the time that one such run took at first,
and kills (SIGKILL) one process of that run at random: the runner, any below it, or, with Docker, any in its container. With ``--at-create``, the moment is that at which
the daemon has made a container, and the runner is killed: the container is mostly not started yet.

Then it waits until the runner is gone, up to ten seconds more for the rest to follow, and counts what is left of this
run: processes, cgroups, mounts, containers. A killed runner cannot remove everything itself. So where something is left,
the lab is run again at once, and what is still left after that is counted apart: there must be nothing.

Needs what the engine needs. Seeded: the same seed gives the same moments, as far as the machine allows. Exits with 1 if
processes or mounts were left, or anything after the next run.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from left import ENGINES, KINDS, Way, containers_of, way
from left import processes as left_processes

LAB = """title: Slow
question: q
topology: {nodes: {a: {}, b: {}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]}
steps:
  - {id: seen, in: a, capture: {on: eth0}}
  - {id: bg, in: a, start: "ping 10.0.0.2"}
  - {id: long, in: b, run: sleep 1}
hypotheses:
  - {id: h, claim: x, predict: {command: long, exit: 0}, control: {none: x}}
"""


def below(pid: int) -> list[int]:
    """A process and all below it, as far as they can be seen."""
    found = [pid]
    for one in found:
        try:
            files = list(Path(f"/proc/{one}/task").glob("*/children"))
            found += [int(word) for file in files for word in file.read_text().split()]
        except OSError:
            continue
    return found


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie is gone."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


@contextlib.contextmanager
def folder_with_lab() -> Iterator[Path]:
    """For everyone, with the small lab."""
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "labs" / "slow").mkdir(parents=True)
        (folder / "labs" / "slow" / "lab.yaml").write_text(LAB)
        yield folder


def run(way: Way, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        way.run("slow"), cwd=folder, env=way.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def duration(way: Way, folder: Path) -> float:
    """Of a run that nobody kills, in seconds."""
    started = time.monotonic()
    if run(way, folder).wait() != 0:
        raise SystemExit("the lab does not run here: " + " ".join(way.run("slow")))
    return time.monotonic() - started


def family(way: Way, runner: int) -> list[int]:
    """The runner and all below it; in a container they are below the daemon."""
    found = below(runner)
    if way.engine == "docker":
        for one in containers_of([runner]):
            with contextlib.suppress(Exception):  # gone meanwhile
                one.reload()
                found += below(one.attrs["State"]["Pid"]) if one.attrs["State"]["Pid"] else []
    return found


def when_made(runner: int, within_s: float) -> None:
    """Wait until the daemon has a container of this runner's."""
    end = time.monotonic() + within_s
    while not containers_of([runner]) and time.monotonic() < end:
        time.sleep(0.005)


@dataclass(frozen=True)
class Round:
    """``who`` was killed; what was ``left`` of the run after ten seconds, and ``after`` the next run, by kind."""

    who: str
    left: Mapping[str, int]
    after: Mapping[str, int]


def one_round(draw: random.Random, way: Way, whom: str, folder: Path, takes_s: float, at_create: bool = False) -> Round:
    """``takes_s``: how long a run takes that nobody kills."""
    runner = run(way, folder)
    if at_create:
        when_made(runner.pid, 20.0)
        whom = "runner"
    else:
        time.sleep(draw.uniform(0.05, 1.0) * takes_s)
    seen = family(way, runner.pid)
    victim = runner.pid if whom == "runner" else draw.choice(alive(seen) or [runner.pid])
    seen = sorted({*seen, *below(runner.pid)})
    who = "the runner" if victim == runner.pid else "another"
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        who = "nobody: it was over"
    runner.wait()
    left = settled(way, runner.pid, seen)
    after = dict.fromkeys(KINDS, 0)
    if any(left.values()):
        run(way, folder).wait()
        after = settled(way, runner.pid, seen)
    return Round(who, left, after)


def settled(way: Way, runner: int, seen: list[int]) -> dict[str, int]:
    """What is left of a runner that is gone, once it no longer changes to nothing."""
    end = time.monotonic() + 10
    while True:
        left = way.left([runner])
        left["processes"] = len({*alive(seen), *alive(left_processes([runner]))})
        if not any(left.values()) or time.monotonic() > end:
            return left
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, default="native")
    parser.add_argument("--whom", choices=["any", "runner"], default="any")
    parser.add_argument("--at-create", action="store_true")
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    killed: collections.Counter[str] = collections.Counter()
    left: collections.Counter[str] = collections.Counter()
    after: collections.Counter[str] = collections.Counter()
    rounds_with = 0
    with folder_with_lab() as folder, way(asked.engine) as chosen:
        takes_s = duration(chosen, folder)
        for number in range(asked.rounds):
            one = one_round(draw, chosen, asked.whom, folder, takes_s, asked.at_create)
            killed[one.who] += 1
            rounds_with += any(one.left.values())
            left.update(one.left)
            after.update(one.after)
            if any(one.left.values()):
                print(
                    f"round {number}: killed {one.who}, left {dict(one.left)}, after the next run {dict(one.after)}",
                    flush=True,
                )
    told = ", ".join(f"{count} times {who}" for who, count in sorted(killed.items()))
    print(f"{asked.rounds} rounds on {asked.engine} with seed {asked.seed}, killed: {told}")
    print(f"left after a kill: {rounds_with} rounds; {', '.join(f'{left[what]} {what}' for what in KINDS)}")
    print(f"left after the next run: {', '.join(f'{after[what]} {what}' for what in KINDS)}")
    return 1 if left["processes"] or left["mounts"] or any(after.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
