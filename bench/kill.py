"""What does a run leave behind when one of its processes is killed? Counted after every kill, before anything sweeps.

    python bench/kill.py [--rounds 100] [--seed 1] [--engine native|docker] [--whom any|runner]

Each round starts `labrun run` of a small lab, waits for a random moment, and kills (SIGKILL) one process of that run at
random: the runner, or, natively, any below it. Then it waits until the runner is gone, up to ten seconds more for the
rest to follow, and looks for what is left: processes of the run, cgroups, mounts, containers. What a killed runner could
not remove itself may be left, and the next run removes it: that is counted apart.

Needs what the engine needs. Seeded: the same seed gives the same moments, as far as the machine allows.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def cgroups() -> set[str]:
    return {str(path) for path in Path("/sys/fs/cgroup").glob("**/labrun-*") if path.is_dir()}


def mounts() -> int:
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


def containers() -> set[str]:
    import docker

    client = docker.from_env()
    return {one.id for one in client.containers.list(all=True, filters={"label": "labrun.run"}, ignore_removed=True)}


def one_round(draw: random.Random, engine: str, whom: str, folder: Path) -> tuple[str, dict[str, int]]:
    before = cgroups(), mounts(), containers() if engine == "docker" else set()
    runner = subprocess.Popen(
        [sys.executable, "-m", "labrun", "run", "slow", "--engine", engine], cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    time.sleep(draw.uniform(0.2, 2.0))
    family = below(runner.pid)
    victim = runner.pid if whom == "runner" else draw.choice(alive(family) or [runner.pid])
    family = sorted({*family, *below(runner.pid)})
    who = "the runner" if victim == runner.pid else "another"
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        who = "nobody: it was over"
    runner.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        left = {
            "processes": len(alive(family)),
            "cgroups": len(cgroups() - before[0]),
            "mounts": max(0, mounts() - before[1]),
            "containers": len(containers() - before[2]) if engine == "docker" else 0,
        }
        if not any(left.values()):
            break
        time.sleep(0.1)
    return who, left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["native", "docker"], default="native")
    parser.add_argument("--whom", choices=["any", "runner"], default="any")
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    killed: dict[str, int] = {}
    sums: dict[str, int] = {}
    rounds_with = 0
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        folder = Path(name)
        (folder / "labs" / "slow").mkdir(parents=True)
        (folder / "labs" / "slow" / "lab.yaml").write_text(LAB)
        for number in range(asked.rounds):
            who, left = one_round(draw, asked.engine, asked.whom, folder)
            killed[who] = killed.get(who, 0) + 1
            rounds_with += any(left.values())
            for what, count in left.items():
                sums[what] = sums.get(what, 0) + count
            if any(left.values()):
                print(f"round {number}: killed {who}, left {left}", flush=True)
        start = cgroups(), containers() if asked.engine == "docker" else set()
        subprocess.run([sys.executable, "-m", "labrun", "run", "slow", "--engine", asked.engine], cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # fmt: skip
        swept = len(start[0] - cgroups()) + len(start[1] - (containers() if asked.engine == "docker" else set()))
    told = ", ".join(f"{count} times {who}" for who, count in sorted(killed.items()))
    print(f"{asked.rounds} rounds on {asked.engine} with seed {asked.seed}, killed: {told}")
    print(f"left right after a kill: {rounds_with} rounds; {', '.join(f'{n} {what}' for what, n in sums.items())}")
    print(f"of these the next run removed {swept}")
    return 1 if sums.get("processes") or sums.get("mounts") else 0


if __name__ == "__main__":
    sys.exit(main())
