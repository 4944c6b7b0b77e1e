"""What it costs to note the kernel's state after each step, from the events of a run.

    python bench/watch.py RUN

The time between a step's end and the next step's start is the watch's (and the shipping of running outputs). Labs with
`watch: false` and those of more nodes than it looks at show what there is without it.
"""

from __future__ import annotations

import os
import statistics
import sys
from itertools import pairwise
from pathlib import Path

from labrun.evidence.record import read_variant


def main() -> None:
    run = Path(os.path.realpath(sys.argv[1]))
    gaps: dict[int, list[float]] = {}
    for plan in sorted(run.glob("labs/*/*/plan.json")):
        variant = read_variant(plan.parent)
        steps = [record for record in variant.steps if record.step.phase == "lab" and record.started and record.ended]
        for one, other in pairwise(steps):
            if one.ended and other.started:
                gaps.setdefault(len(variant.plan.nodes), []).append((other.started.t_ns - one.ended.t_ns) / 1e6)
    print("nodes  steps  median ms  p90 ms  max ms")
    for nodes, values in sorted(gaps.items()):
        ninety = sorted(values)[int(len(values) * 0.9)]
        print(f"{nodes:5}  {len(values):5}  {statistics.median(values):9.2f}  {ninety:6.2f}  {max(values):6.2f}")


if __name__ == "__main__":
    main()
