"""`labrun all`, natively: as many sandboxes as the machine has room for, against `--jobs 2` and `--jobs 9`, in turn.

    .venv/bin/python bench/pace.py [--runs 30]

A run cannot end before its longest sandbox, nor before what all of it computes is done by all processors: `bound` is
the larger of these two, of that same run, and the ratio is what the run took by that. `differ`: verdicts that are not
those of the first run. `machine`: how much of the time something waited for a processor just before the run; on a
machine that is busy with other things, labrun starts no more sandboxes than there are processors.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from labrun.evidence.durations import read_durations
from labrun.pace import look_at_machine

WAYS: dict[str, list[str]] = {
    "labrun all": [],
    "labrun all --jobs 2": ["--jobs", "2"],
    "labrun all --jobs 9": ["--jobs", "9"],
}


class Took(NamedTuple):
    seconds: float
    computed_s: float
    longest_s: float
    pressure: float
    verdicts: dict[str, str]

    @property
    def bound_s(self) -> float:
        return max(self.longest_s, self.computed_s / len(os.sched_getaffinity(0)))


def run(options: list[str], out: Path) -> Took:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    labrun = str(Path(sys.executable).parent / "labrun")
    argv = [labrun, "all", "--engine", "native", "--out", str(out), "--quiet", *options]
    pressure = _pressure(0.5)
    begin = time.perf_counter()
    with Path(os.devnull).open("w") as nothing:
        pid = os.posix_spawn(
            labrun, argv, environment, file_actions=[(os.POSIX_SPAWN_DUP2, nothing.fileno(), fd) for fd in (1, 2)]
        )
        _, _, used = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    results = json.loads((out / "latest" / "results.json").read_text())
    verdicts = {f"{lab['id']}/{h['id']}": h["verdict"] for lab in results["labs"] for h in lab["hypotheses"]}
    return Took(seconds, used.ru_utime + used.ru_stime, max(read_durations(out).values()), pressure, verdicts)


def _pressure(seconds: float) -> float:
    before = look_at_machine().waited_us or 0
    time.sleep(seconds)
    return ((look_at_machine().waited_us or 0) - before) / 1e6 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    took: dict[str, list[Took]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        first = run([], Path(folder))  # not counted: from it the order of all others comes
        for _ in range(options.runs):
            for name, words in WAYS.items():
                took[name].append(run(words, Path(folder)))
    print(f"{options.runs} runs each, in turn, {len(os.sched_getaffinity(0))} processors; medians")
    print(
        f"{'':20} {'took':>7} {'computed':>9} {'longest':>8} {'bound':>7} {'ratio':>6} {'best':>6} {'machine':>8} differ"
    )
    for name, runs in took.items():
        values = [[one.seconds, one.computed_s, one.longest_s, one.bound_s] for one in runs]
        seconds, computed, longest, bound = (statistics.median(column) for column in zip(*values, strict=True))
        ratios = [one.seconds / one.bound_s for one in runs]
        differ = sum(1 for one in runs for h in first.verdicts.keys() | one.verdicts.keys()
                     if one.verdicts.get(h) != first.verdicts.get(h))  # fmt: skip
        pressure = statistics.median(one.pressure for one in runs)
        print(
            f"{name:20} {seconds:6.2f}s {computed:8.2f}s {longest:7.2f}s {bound:6.2f}s {statistics.median(ratios):6.2f} "
            f"{min(ratios):6.2f} {pressure:8.0%} {differ:6} of {sum(len(one.verdicts) for one in runs)}"
        )


if __name__ == "__main__":
    main()
