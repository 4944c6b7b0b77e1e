"""Findings and shards for real: what ran in one engine is reproduced in another, and shards together are one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2e.conftest import Backend, Labrun, Ran
from labrun.finding.bundle import bundle

LABS = ("own-address", "loopback-up", "listing")


def test_what_ran_without_an_engine_is_reproduced_in_docker(
    every_lab: Callable[[str], Ran], tmp_path: Path, docker_labrun: Labrun
) -> None:
    bundle(every_lab("native").run, tmp_path / "finding.zip", LABS)
    found = docker_labrun("reproduce", str(tmp_path / "finding.zip"), "--level", "3")
    assert found.exit == 0, found.out + found.err
    assert "level 3 of 4" in found.out or "level 4 of 4" in found.out
    assert found.results["run"]["isolation"] == "least"


def test_shards_together_are_one_run(labrun: Labrun, tmp_path: Path, backend: Backend) -> None:
    runs = []
    for number in (1, 2):
        done = labrun("run", *LABS, "--shard", f"{number}/2")
        assert done.exit == 0, done.out + done.err
        runs.append(done.run)
    assert sorted(lab.name for run in runs for lab in (run / "labs").iterdir()) == sorted(LABS)
    whole = labrun("merge", *(run.name for run in runs))
    assert whole.exit == 0, whole.out + whole.err
    assert sorted(lab["id"] for lab in whole.results["labs"]) == sorted(LABS)
    assert all(h["as_expected"] for lab in whole.results["labs"] for h in lab["hypotheses"])
