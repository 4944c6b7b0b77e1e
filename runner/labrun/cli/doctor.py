"""`labrun doctor`: what works here, what does not, and what to do about it. Finds out by trying."""

from __future__ import annotations

import click


@click.command
def doctor() -> int:
    """Check this machine: engine, isolation, lab image, kernel features. Exits with 3 if labs cannot run here."""
    from labrun.cli.checkup import checkup

    good = True
    for finding in checkup():
        mark = {True: "ok  ", False: "FAIL", None: "note"}[finding.good]
        print(f"{mark}  {finding.what}: {finding.found}")
        if finding.remedy:
            print(f"      -> {finding.remedy}")
        good = good and finding.good is not False
    return 0 if good else 3
