"""Does a lab come out the same a thousand times, on a loaded machine, and is nothing left?

    python bench/soak.py [--runs 1000] [--seed 1] [--engine native|rootless|docker] [--at-once 4] [--minutes M]
                         [--labs own-address,loopback-up,capture-duplicates]

Runs `labrun run` of a lab drawn at random, ``--at-once`` at a time, which is the load: say more than there are
processors. Counted as failures: a verdict or reason other than the lab's first, `clock-stepped` anywhere in the
results, an exit status other than 0, a run that takes more than five minutes, and what a run left (processes, cgroups,
mounts, containers).

Seeded: the same seed gives the same labs in the same order. A failure's report is kept and named. Exits with 1 if there
was one.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from left import ENGINES, Way, way

LABS = ("own-address", "loopback-up", "capture-duplicates")
LIMIT_S = 300.0
Verdicts = dict[str, tuple[str, str]]


@dataclass
class Counted:
    """``failures``: what happened -> how often. ``first``: lab -> the verdicts that all others are compared with."""

    runs: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: collections.Counter[str] = field(default_factory=collections.Counter)
    first: dict[str, Verdicts] = field(default_factory=dict)


def one_run(way: Way, lab: str, folder: Path) -> tuple[list[str], Verdicts]:
    """What went wrong, and the verdicts."""
    runner = subprocess.Popen(way.run(lab), cwd=folder, env=way.environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        _, err = runner.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        runner.kill()
        runner.communicate()
        return ["hang"], {}
    wrong = [] if runner.returncode == 0 else [f"exit {runner.returncode}: {(err.splitlines() or [''])[-1][:200]}"]
    wrong += [f"{count} {what} left" for what, count in _soon(way, runner.pid).items() if count]
    path = folder / "reports" / "latest" / "results.json"
    text = path.read_text() if path.is_file() else ""
    if "clock-stepped" in text:
        wrong.append("clock-stepped")
    results = json.loads(text or '{"labs": []}')
    return wrong, {h["id"]: (h["verdict"], h["reason"]) for lab in results["labs"] for h in lab["hypotheses"]}


def _soon(way: Way, pid: int) -> dict[str, int]:
    """What is left of a run that ended by itself. AutoRemove of the daemon takes a moment."""
    end = time.monotonic() + 5
    while any((left := way.left([pid])).values()) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def soak(way: Way, labs: Sequence[str], runs: int, seed: int, at_once: int, kept: Path, minutes: float) -> Counted:
    """``kept``: a folder for everyone, where the reports of failed runs stay."""
    draw = random.Random(seed)
    order = [draw.choice(labs) for _ in range(runs)]
    counted = Counted()
    end = time.monotonic() + 60 * minutes

    def work(number: int) -> None:
        if time.monotonic() > end:
            return
        lab = order[number]
        folder = kept / f"{number:05}-{lab}"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        wrong, verdicts = one_run(way, lab, folder)
        if verdicts != counted.first.setdefault(lab, verdicts):
            wrong.append(f"other verdicts: {sorted(set(verdicts.items()) ^ set(counted.first[lab].items()))}")
        counted.runs[lab] += 1
        counted.failures.update(wrong)
        if wrong:
            print(f"{folder}: {'; '.join(wrong)}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if sum(counted.runs.values()) % 100 == 0:
            print(f"{sum(counted.runs.values())} runs, {counted.failures.total()} failures", flush=True)

    with ThreadPoolExecutor(at_once) as pool:
        for future in [pool.submit(work, number) for number in range(runs)]:
            future.result()
    return counted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, default="native")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no run after so many")
    parser.add_argument("--labs", default=",".join(LABS))
    asked = parser.parse_args()
    kept = Path(tempfile.mkdtemp(prefix="soak-"))
    kept.chmod(0o777)
    started = time.monotonic()
    with way(asked.engine) as chosen:
        counted = soak(
            chosen, asked.labs.split(","), asked.runs, asked.seed, asked.at_once, kept, asked.minutes
        )  # fmt: skip
    told = ", ".join(f"{count} {lab}" for lab, count in sorted(counted.runs.items()))
    print(f"{sum(counted.runs.values())} runs on {asked.engine} with seed {asked.seed}, {asked.at_once} at once, in "
          f"{(time.monotonic() - started) / 60:.0f} min: {told}")  # fmt: skip
    print("failures: " + ("; ".join(f"{n} times {what}" for what, n in counted.failures.most_common()) or "none"))
    if not counted.failures:
        shutil.rmtree(kept, ignore_errors=True)
    return 1 if counted.failures else 0


if __name__ == "__main__":
    sys.exit(main())
