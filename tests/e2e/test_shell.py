"""`labrun shell` through a real terminal, on each backend: the lab waits, and what is typed in it leaves nothing."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.conftest import Backend
from labrun.cli.shell import nodes_of, up_to
from labrun.evidence.files import EvidenceError
from labrun.evidence.record import read_variant
from labrun.evidence.writer import EvidenceWriter
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_lab
from labrun.protocol.events import Done

LAB = """title: Shell
question: What?
topology:
  nodes: {one: {}, two: {}}
  links: [{one.eth0: 10.0.0.1/24, two.eth0: 10.0.0.2/24}]
steps:
  - {id: first, in: one, run: 'echo 4711; touch /tmp/first', save: {number: {matches: '\\d+'}}}
  - {id: second, in: two, run: 'touch /tmp/second; exit 7', exit: 0}
  - {id: third, in: two, run: touch /tmp/third}
hypotheses:
  - {id: h, claim: It runs., predict: {command: first, exit: 0}, control: {none: It has no cause.}}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    file = tmp_path / "labs" / "sh" / "lab.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(LAB)
    return file


class Terminal:
    """What a person has before them: a screen's text so far, and keys."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.master, self.process, self.seen = master, process, ""

    def until(self, text: str) -> str:
        """What came until this was seen. It is told apart from what was typed: nobody types it whole."""
        end = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError as ended:
                    raise AssertionError(self.seen) from ended
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def rest(self) -> str:
        try:
            while data := os.read(self.master, 65536):
                self.seen += data.decode(errors="replace")
        except OSError:
            pass
        return self.seen


@contextmanager
def at_a_terminal(backend: Backend, cwd: Path, *words: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    command = [*backend.argv, "shell", *words, *backend.options]
    environment = {**os.environ, **backend.env, "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, env=environment,
                               start_new_session=True)  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize("backend", ["docker", "native"], indirect=True)
def test_the_lab_waits_with_a_prompt_in_each_node(backend: Backend, lab: Path, tmp_path: Path) -> None:
    with at_a_terminal(backend, tmp_path, "sh", "--at", "first") as terminal:
        terminal.until("one:/# ")
        terminal.type("ls /tmp; echo $number $TERM; stty size; hostname; tty\r")
        told = terminal.until("one:/# ")
        assert "first" in told and "second" not in told and "4711 xterm" in told
        assert "\none\r" in told and "/dev/pts/" in told
        terminal.type("sh -c 'echo be\"gun\"; exec sleep 600'\r")
        terminal.until("begun")
        terminal.type("\x03")  # Ctrl-C is for the command
        terminal.until("one:/# ")
        terminal.type("echo wa''iting; sleep 0.1; ec''ho later\r\x1d")  # Ctrl-] while it prints
        terminal.until("[two]")
        terminal.until("two:/# ")
        terminal.type("ping -c 1 -W 2 10.0.0.1 >/dev/null && echo rea''ched; exit\r")
        terminal.until("reached")
        terminal.until("[one]")
        terminal.until("later")
        terminal.type("exit\r")
        terminal.rest()
        assert terminal.process.wait(60) == 0
    assert not (tmp_path / "reports").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labs"]


@pytest.mark.parametrize("backend", ["docker", "native"], indirect=True)
def test_a_lab_that_broke_can_be_looked_at(backend: Backend, lab: Path, tmp_path: Path) -> None:
    """The third step fails to begin, for the second took its folder away."""
    lab.write_text(LAB.replace("run: touch /tmp/third", "address: {add: 10.9.9.9/24, dev: nowhere}"))
    with at_a_terminal(backend, tmp_path, "sh", "--node", "two") as terminal:
        told = terminal.until("two:/# ")
        assert "third: " in told and "nodes: two, one." in told
        terminal.type("ls /tmp\r")
        assert "second" in terminal.until("two:/# ")
        terminal.type("\x04")
        terminal.rest()
        assert terminal.process.wait(60) == 0


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_without_a_terminal_it_takes_what_comes(backend: Backend, lab: Path, tmp_path: Path) -> None:
    command = [*backend.argv, "shell", "sh", "--at", "first", *backend.options]
    done = subprocess.run(command, cwd=tmp_path, input="ip -br addr show eth0\n", capture_output=True, text=True)
    assert done.returncode == 0 and "10.0.0.1/24" in done.stdout, done.stdout + done.stderr
    for words, code, said in (
        (["sh", "--at", "frist"], 2, "no step 'frist'. Did you mean 'first'?"),
        (["sh", "--node", "three"], 3, "no prompt in three: no node named three"),
        (["nothing"], 2, "no such lab"),
    ):
        command = [*backend.argv, "shell", *words, *backend.options]
        done = subprocess.run(command, cwd=tmp_path, input="", capture_output=True, text=True)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_what_somebody_typed_in_is_no_evidence(backend: Backend, lab: Path, tmp_path: Path) -> None:
    """Should such a plan ever get into a run directory, nothing is judged by it."""
    plan = up_to(compile_lab(load_lab(lab)).experiment, "first")
    assert nodes_of(plan) == ("one", "two")
    with EvidenceWriter(tmp_path / "experiment", replace(plan, variant="experiment").sealed()) as writer:
        writer.put(Done(0, 0))
    with pytest.raises(EvidenceError, match="somebody typed commands in it"):
        read_variant(tmp_path / "experiment")
    json.loads((tmp_path / "experiment" / "plan.json").read_text())
