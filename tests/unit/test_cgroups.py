"""Which cgroups `clean` removes: those of runners that are gone, asked of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from labrun.engines.cgroups import Limits, find_limits, name_for, rlimits, sweep

NAME = "from labrun.engines.cgroups import name_for; print(name_for('run', 1))"


def test_sweep_removes_what_a_runner_left_and_nothing_else(tmp_path: Path) -> None:
    """Also where another process has its pid by now; never of one that lives, or that nobody here can ask."""
    gone = subprocess.run([sys.executable, "-c", NAME], capture_output=True, text=True, check=True).stdout.strip()
    live = name_for("run", 1)
    prefix, pid, pids, began, *rest = live.split("-")
    again = "-".join([prefix, pid, pids, str(int(began) - 1), *rest])
    elsewhere = "-".join([prefix, "4194305", "1", began, *rest])
    assert int(pid) == os.getpid()
    for name in (gone, live, again, elsewhere, "labrun-other", "else"):
        (tmp_path / name).mkdir()
    assert set(sweep(Limits(((str(tmp_path), ()),), (), ""))) == {str(tmp_path / gone), str(tmp_path / again)}
    assert {path.name for path in tmp_path.iterdir()} == {live, elsewhere, "labrun-other", "else"}


def test_where_systemd_delegates_cgroups_labs_get_theirs(tmp_path: Path) -> None:
    """As in `systemd-run --user --scope -p Delegate=yes`: the folder above is the user's, and hands controllers down."""
    scope = "user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"
    folder = tmp_path / scope
    folder.mkdir(parents=True)
    mounts = f"30 23 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw\n"
    found = find_limits(f"0::/{scope}\n", mounts)
    assert found.cgroups == () and found.rlimits == rlimits() and "the memory of each but not of all" in found.words
    (folder.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    ((parent, settings),) = find_limits(f"0::/{scope}\n", mounts).cgroups
    assert parent == str(folder.parent) and dict(settings).keys() >= {"memory.max", "pids.max"}
    assert not find_limits(f"0::/{scope}\n", mounts).rlimits
