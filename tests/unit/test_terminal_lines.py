"""The lines of a run on a terminal of 80 and of 120 columns, in a pipe, and with colours asked for or forbidden."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from labrun.evidence.lab import lab_json, stored
from labrun.evidence.run import LabEntry, write_run
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from support.recorded import run_record

SLUG, ID = "a-lab-with-a-long-name", "a-hypothesis-with-a-name-as-long"
CLAIM = "This is a claim of many words, and no terminal of eighty columns has room for all of it beside its name."
LAB = f"""\
title: T
question: Q
topology: {{nodes: {{host: {{}}}}}}
steps: [{{id: probe, in: host, run: "true"}}]
hypotheses: [{{id: {ID}, claim: "{CLAIM}", predict: {{command: probe, exit: 0}}, control: {{none: it is a test}}}}]
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose only lab has no evidence: it broke."""
    folder = tmp_path / "reports" / "run"
    lab = compile_lab(parse_lab(LAB, tmp_path / "lab.yaml", SLUG, f"labs/{SLUG}/lab.yaml"))
    (folder / "labs" / SLUG).mkdir(parents=True)
    (folder / "labs" / SLUG / "lab.json").write_text(lab_json(stored(lab)))
    write_run(folder, run_record((LabEntry(SLUG, f"labs/{SLUG}/lab.yaml", ("experiment",)),)))
    return folder


def on_terminal(columns: int, run: Path, **env: str) -> str:
    """What `labrun judge` writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    command = [sys.executable, "-m", "labrun", "judge", str(run)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm", **env}
    )
    os.close(theirs)
    data = b""
    while True:
        try:
            got = os.read(ours, 65536)
        except OSError:  # EIO: the last writer has closed it
            break
        if not got:
            break
        data += got
    os.close(ours)
    assert process.wait() == 3
    return data.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_line_fits_into_the_terminal_and_names_are_whole(run: Path, columns: int) -> None:
    lines = plain(on_terminal(columns, run)).split("\n")
    (line,) = [line for line in lines if line.startswith("? inconclusive")]
    assert f"{SLUG}/{ID}" in line
    assert len(line) <= columns
    assert ("This is a claim" in line) is (columns == 120)
    assert CLAIM not in line


def test_nothing_is_cut_or_wrapped_in_a_pipe(run: Path) -> None:
    command = [sys.executable, "-m", "labrun", "judge", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "20"})
    assert f"? inconclusive {SLUG}/{ID}  {CLAIM}\n" in done.stdout
    assert "\x1b" not in done.stdout


def test_one_reason_is_given_once(run: Path) -> None:
    text = plain(on_terminal(80, run))
    assert text.count("it did not run") == 1
    assert f"so nothing is known of: {ID}" in text


def test_colours_can_be_forbidden_and_forced(run: Path) -> None:
    assert "\x1b[" in on_terminal(80, run)
    assert "\x1b[3" not in on_terminal(80, run, NO_COLOR="1")
    command = [sys.executable, "-m", "labrun", "judge", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "FORCE_COLOR": "1"})
    assert "\x1b[33m" in done.stdout
