"""What a watched lab's files are, and when they have changed."""

from __future__ import annotations

import os
from pathlib import Path

from labrun.cli.watch import look


def test_every_file_of_a_lab_counts_and_runs_do_not(tmp_path: Path) -> None:
    out = tmp_path / "reports"
    (tmp_path / "files").mkdir()
    (tmp_path / "lab.yaml").write_text("a")
    before = look([tmp_path], out)
    out.mkdir()
    (out / "run.json").write_text("x")
    assert look([tmp_path], out) == before
    (tmp_path / "files" / "server.conf").write_text("x")
    more = look([tmp_path], out)
    assert more != before
    os.utime(tmp_path / "lab.yaml", ns=(1, 1))
    touched = look([tmp_path], out)
    assert touched != more
    (tmp_path / "lab.yaml").unlink()
    assert look([tmp_path], out) != touched
    assert look([tmp_path / "lab.yaml"], out) == {}
