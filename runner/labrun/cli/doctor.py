"""`labrun doctor`: what works here, what does not, and what to do about it. Finds out by trying."""

from __future__ import annotations

import os

import click


@click.command
@click.option("--security", is_flag=True, help="Try what a lab can do to this machine, in each engine.")
def doctor(security: bool) -> int:
    """Check this machine: engine, isolation, lab image, kernel features. Exits with 3 if labs cannot run here.

    With --security: exits with 1 where a sandbox can be left in a way that SECURITY.md rules out.
    """
    return _security() if security else _health()


def _health() -> int:
    from labrun.cli.checkup import checkup, mending

    found = list(checkup())
    stops = [finding for finding in found if finding.good is False]
    good = not stops
    command = mending(stops or found, os.geteuid())
    # What stops labs comes first, then what could be better.
    found.sort(key=lambda finding: {False: 0, None: 2 - bool(finding.remedy or finding.mends), True: 3}[finding.good])
    if stops:
        print(
            f"Labs cannot run here. {'This mends it:' if command else 'No command mends it; see what is said below.'}"
        )
    elif command:
        print("Labs run here. What is lacking for some of them, this mends as far as it can be mended:")
    if command:
        print(f"    {command}")
    if stops or command:
        print()
    for finding in found:
        mark = {True: "ok  ", False: "FAIL", None: "note"}[finding.good]
        print(f"{mark}  {finding.what}: {finding.found}")
        if finding.remedy:
            print(f"      -> {finding.remedy}")
    return 0 if good else 3


def _security() -> int:
    from labrun.cli.security import ATTEMPTS, survey

    holes, asked = 0, False
    for kind, answers in survey():
        if isinstance(answers, str):
            print(f"{kind}: not tried: {answers}\n")
            continue
        asked = True
        print(f"{kind}: can a lab ...")
        for attempt in ATTEMPTS:
            answer = answers[attempt.id]
            hole = answer.hole(attempt, kind)
            holes += hole
            word = {True: "yes", False: "no", None: "not found out"}[answer.open]
            mark = "HOLE" if hole else "ok  " if answer.open is False else "note"
            print(f"  {mark}  {attempt.tries.replace('`', '')}: {word}{f' ({answer.why})' if answer.why else ''}")
        print()
    if holes:
        print(f"{holes} {'way' if holes == 1 else 'ways'} out that should be closed. Please report this: SECURITY.md")
        return 1
    return 0 if asked else 3
