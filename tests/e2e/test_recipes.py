"""The recipes of the documentation come out as they say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.recipes import recipes


def test_each_recipe_comes_out_as_it_says(tmp_path: Path, backend_of: Callable[[str], Any]) -> None:
    for slug, text in recipes().items():
        folder = tmp_path / "labs" / slug
        folder.mkdir(parents=True)
        (folder / "lab.yaml").write_text(text)
    command = backend_of("native").command("all")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    results = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text())
    verdicts = {lab["id"]: [h["verdict"] for h in lab["hypotheses"]] for lab in results["labs"]}
    assert verdicts == {slug: ["supported"] for slug in recipes()}, done.stdout
    assert done.returncode == 0
