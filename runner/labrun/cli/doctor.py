"""`labrun doctor`: what works here, what does not, and what to do about it. Finds out by trying."""

from __future__ import annotations

import click


@click.command
@click.option("--security", is_flag=True, help="Try what a lab can do to this machine, in each engine.")
def doctor(security: bool) -> int:
    """Check this machine: engine, isolation, lab image, kernel features. Exits with 3 if labs cannot run here.

    With --security: exits with 1 where a sandbox can be left in a way that SECURITY.md rules out.
    """
    return _security() if security else _health()


def _health() -> int:
    from labrun.cli.checkup import checkup

    good = True
    for finding in sorted(checkup(), key=lambda finding: finding.good is not False):  # what stops labs comes first
        mark = {True: "ok  ", False: "FAIL", None: "note"}[finding.good]
        print(f"{mark}  {finding.what}: {finding.found}")
        if finding.remedy:
            print(f"      -> {finding.remedy}")
        good = good and finding.good is not False
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
