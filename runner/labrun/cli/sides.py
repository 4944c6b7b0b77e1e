"""What `labrun diff` compares: a run directory, a finding's file, or a results.json, judged where there is evidence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labrun.report.difference import Side

_MAX_RESULTS = 256 * 1024 * 1024  # bytes


def side_of(path: Path, out: Path) -> Side:
    """A finding is opened and judged; whether it is whole is for `labrun verify`. Raises EvidenceError."""
    from labrun.evidence.run import resolve_run
    from labrun.judge.run import judge_run
    from labrun.report.difference import side

    if not path.is_file():
        run = resolve_run(path, out)
        return side(run, judge_run(run))
    file = path.absolute()
    with file.open("rb") as found:
        is_pack = found.read(2) == b"PK"
    if not is_pack:
        from labrun.evidence.files import read_below
        from labrun.report.results_side import side_of_results

        return side_of_results(read_below(file.parent, file.name, _MAX_RESULTS), str(path))
    from labrun.evidence.pack import open_pack

    with tempfile.TemporaryDirectory(prefix="labrun-diff-") as scratch:
        run = Path(scratch) / "finding"
        run.mkdir()
        open_pack(file, run)
        return side(run, judge_run(run))
