"""Whose a container is, asked of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from labrun.lease import OWNER, expired, lease

NOW = datetime.now(UTC).isoformat()
LONG_AGO = (datetime.now(UTC) - timedelta(days=1)).isoformat()
PRINT = f"from labrun.lease import *; print(lease()['{OWNER}'], flush=True)"


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("created", [NOW, LONG_AGO])
def test_what_a_live_process_made_is_never_left_over(running, created):
    assert not expired(lease(), running=running, created=created)


@pytest.mark.parametrize("running", [True, False])
def test_what_a_process_made_that_is_gone_is_left_over_at_once(running):
    owner = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True).stdout
    assert expired({OWNER: owner.strip()}, running=running, created=NOW)


def test_a_process_that_ended_and_was_not_reaped_is_gone():
    with subprocess.Popen([sys.executable, "-c", PRINT], stdout=subprocess.PIPE, text=True) as process:
        owner = process.stdout.read().strip()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert expired({OWNER: owner}, running=True, created=NOW)


def test_a_pid_that_came_again_is_another_process():
    place, pid, began = lease()[OWNER].split()
    assert expired({OWNER: f"{place} {pid} {int(began) - 1}"}, running=True, created=NOW)


@pytest.mark.parametrize("owner", [None, "", "elsewhere 1 1", f"elsewhere {os.getpid()} 1", "a b c d", "lab 5 None"])
def test_what_a_stranger_made_is_left_over_only_when_it_does_not_run_and_is_old(owner):
    labels = {} if owner is None else {OWNER: owner}
    assert not expired(labels, running=True, created=LONG_AGO)
    assert not expired(labels, running=False, created=NOW)
    assert not expired(labels, running=False, created="no time")
    assert expired(labels, running=False, created=LONG_AGO)
