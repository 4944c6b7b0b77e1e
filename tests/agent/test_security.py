"""The attempts of `labrun doctor --security` where nothing holds them: on this host, each says yes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from labrun.cli.security import plan


@pytest.mark.parametrize("attempt", ["processes", "settings", "environment", "agent", "interfaces", "mounts", "limits"])
def test_without_a_sandbox_the_way_is_open(attempt: str) -> None:
    word = f"victim-of-{os.getpid()}"
    (argv,) = (step.action.argv for step in plan(word, "lo").steps if step.id == attempt)  # type: ignore[union-attr]
    victim = subprocess.Popen(
        [sys.executable, "-c", "input()", word], stdin=subprocess.PIPE, env={**os.environ, "X": f"{word}-secret"}
    )
    try:
        env = {**os.environ, "DOCTOR_WORD": word, "DOCTOR_INTERFACES": "lo"}
        said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    finally:
        victim.kill()
        victim.wait()
    assert said.stdout == "yes\n"
