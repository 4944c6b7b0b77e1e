"""The Markdown report of a recorded run, byte for byte. `LABRUN_GOLDEN=write` writes it anew, for a look at the diff."""

from __future__ import annotations

import os
from pathlib import Path

from labrun.report.build import build_view
from labrun.report.markdown import render_markdown
from support.recorded import recorded_run

GOLDEN = Path(__file__).parent / "recorded-index.md"


def test_index_md_of_the_recorded_run(tmp_path: Path) -> None:
    text = render_markdown(build_view(*recorded_run(tmp_path)))
    if os.environ.get("LABRUN_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
