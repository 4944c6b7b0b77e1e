"""Two or more commands timed in turn, A B A B ..., so that a machine's drift hits all alike. Medians and ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def timed(argv: Sequence[str], cwd: Path) -> float:
    """Whole-process seconds. A command that fails ends the benchmark: its time would mean nothing.

    Python may keep its bytecode, whatever the environment says: an installed program has it.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        raise SystemExit(
            f"{' '.join(argv)[:200]} failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
    return seconds


def side_by_side(commands: Mapping[str, Sequence[str]], runs: int, cwd: Path) -> dict[str, float]:
    """Print a table against the last command, and return the medians. One warm-up round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for round_number in range(runs + 1):
        for name, argv in commands.items():
            took = timed(argv, cwd)
            if round_number:
                seconds[name].append(took)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = medians[list(commands)[-1]]
    width = max(len(name) for name in commands)
    print(f"{'':{width}}   median      min      max    ratio   ({runs} runs each, in turn, {os.cpu_count()} cores)")
    for name, values in seconds.items():
        print(
            f"{name:{width}}  {medians[name]:6.3f}s  {min(values):6.3f}s  {max(values):6.3f}s  {medians[name] / base:6.2f}x"
        )
    return medians
