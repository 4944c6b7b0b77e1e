"""`labrun bisect`: from which kernel on is a verdict another one?"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from labrun.cli import options
from labrun.cli.defaults import Configured


@dataclass(frozen=True)
class _Tried:
    """What came of a hypothesis on one kernel. ``word``: its verdict, or that the lab was skipped or broke."""

    run: Path
    word: str
    reason: str
    message: str


@click.command("bisect", cls=Configured)
@click.argument("what", metavar="LAB/HYPOTHESIS", shell_complete=options.complete_labs)
@click.option(
    "--kernel",
    "names",
    metavar="KERNEL",
    multiple=True,
    help="One of those to try, as of `run`; several times, the oldest first. Default: all at hand.",
)
@options.jobs
@options.out
@options.timeout
def bisect(what: str, names: tuple[str, ...], jobs: int | None, out: Path, timeout_s: float | None) -> int:
    """Find the first kernel on which a hypothesis has another verdict: tried on both ends, then by halving.

    Each try is a run of its own in virtual machines (see `run --kernel`). Exits with 0 where the change was found, with
    3 where there is none or it could not be decided.
    """
    from labrun.cli.choose import Wanted, choose_labs
    from labrun.image.kernel import find_kernel, kernels
    from labrun.lab.catalogue import find_labs
    from labrun.logic.halving import UNDECIDED, change_in, next_look
    from labrun.logic.visible import visible

    found = find_labs((what,), Path.cwd())
    labs = choose_labs(found, Wanted()).labs
    if len(found) != 1 or found[0].hypothesis is None or len(labs) != 1:
        raise click.UsageError(
            f"{what}: name one hypothesis of one lab, as in LAB/HYPOTHESIS or LAB[mtu=1400]/HYPOTHESIS"
        )
    slug, hypothesis = labs[0].lab.slug, found[0].hypothesis
    chosen = [(name, find_kernel(name, _say)) for name in names] or [(k.release, k) for k in reversed(kernels())]
    if len({kernel.folder for _, kernel in chosen}) < 2 or len({kernel.folder for _, kernel in chosen}) < len(chosen):
        told = ", ".join(kernel.release for _, kernel in chosen) or "none"
        raise click.UsageError(f"two kernels at least, and none twice: {told}. Get another: labrun kernel get 6.12")
    tried: dict[int, _Tried] = {}
    verdicts: list[str | None] = [None] * len(chosen)
    while (place := next_look(verdicts)) is not None:
        name, kernel = chosen[place]
        _say(f"kernel {kernel.release}:")
        one = tried[place] = _try(what, name, slug, hypothesis, jobs, out, timeout_s)
        verdicts[place] = one.word if one.word in ("supported", "refuted") else UNDECIDED
        if one.reason == "interrupted":
            break
    print()
    for place, one in sorted(tried.items()):
        why = "" if verdicts[place] else f" ({one.reason})"
        print(f"{chosen[place][1].release:28} {one.word}{why}  {one.run}")
    change = change_in(verdicts)
    if change is None:
        print("No two of them differ." if all(verdicts[place] for place in tried) else "It could not be decided.")
        return 3
    low, high = change
    print(f"\nThe verdict changes after {chosen[low][1].release}, with {chosen[high][1].release} at the latest.")
    for place in change:
        print(f"  {chosen[place][1].release}: {tried[place].word}: {visible(tried[place].message)}")
    between = [chosen[place][1].release for place in range(low + 1, high)]
    if between:
        print(f"  Not decided between them: {', '.join(between)}")
    print(f"  What differs: labrun diff {tried[low].run} {tried[high].run}")
    return 3 if between else 0


def _try(
    what: str, kernel: str, slug: str, hypothesis: str, jobs: int | None, out: Path, timeout_s: float | None
) -> _Tried:
    from labrun.cli.options import EngineName, UserlandName
    from labrun.cli.run import RunOptions, run_labs
    from labrun.evidence import layout
    from labrun.lab.catalogue import find_labs

    wanted = RunOptions(
        engine=EngineName.vm, isolation=None, userland=UserlandName.auto, jobs=jobs, out=out, tags=(),
        timeout_s=timeout_s, strict=False, as_json=False, repeat=1, words=None, values={}, last_failed=False,
        failed_first=False, first_failure=False, max_failures=None, shard=None, durations=None,
        quiet=True, verbose=False, kernel=kernel,
    )  # fmt: skip
    run, _ = run_labs(find_labs((what,), Path.cwd()), wanted)
    results = json.loads((run / layout.RESULTS).read_text(encoding="utf-8"))
    lab = next((lab for lab in results["labs"] if lab["id"] == slug), None)
    one = next((one for one in lab["hypotheses"] if one["id"] == hypothesis), None) if lab is not None else None
    if lab is None or one is None:
        told = lab or {}
        return _Tried(run, str(told.get("status", "not run")), str(told.get("reason")), str(told.get("message")))
    return _Tried(run, one["verdict"], one["reason"], one["message"])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
