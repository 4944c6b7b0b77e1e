"""`labrun capture`: packets come while the lab still runs, whole, on each engine; and as Wireshark asks for them."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import REPOSITORY, Backend
from labrun.cli.capture import live_plan
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_lab
from labrun.packets.pcapng import PcapngError, TruncatedCapture, read_packets

Labrun = Callable[..., Any]
LAB = """title: Live
question: What?
topology:
  nodes: {one: {}, two: {}}
  links: [{one.eth0: 10.0.0.1/24, two.eth0: 10.0.0.2/24}]
steps:
  - {id: ping, in: one, run: ping -c 1 -W 2 10.0.0.2}
  - {id: pause, in: one, run: sleep 600, timeout: 600s}
hypotheses:
  - {id: h, claim: It runs., predict: {command: ping, exit: 0}, control: {none: It has no cause.}}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    file = tmp_path / "labs" / "live" / "lab.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(LAB)
    return file


def packets(data: bytes, folder: Path) -> int:
    (folder / "got.pcapng").write_bytes(data)
    found = 0
    try:
        for _ in read_packets(folder / "got.pcapng"):
            found += 1
    except (TruncatedCapture, PcapngError):  # the rest is still to come
        return found
    return found


@pytest.mark.parametrize("backend", ["docker", "native"], indirect=True)
def test_packets_come_while_the_lab_runs(backend: Backend, lab: Path, tmp_path: Path) -> None:
    command = [*backend.argv, "capture", "live", "two:eth0", "-w", "-", "-f", "icmp", *backend.options]
    env = {**os.environ, **backend.env}
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        data, end = b"", time.monotonic() + 120
        while packets(data, tmp_path) < 2:  # the request and its reply; the lab sleeps for ten minutes
            assert time.monotonic() < end and process.poll() is None, (data, process.stderr.read())
            if select.select([process.stdout], [], [], 1)[0]:
                data += os.read(process.stdout.fileno(), 65536)
        process.stdout.close()  # whoever reads has enough
        process.terminate()
        assert process.wait(60) == 0
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_a_lab_to_its_end_and_what_cannot_be(labrun: Labrun, lab: Path, tmp_path: Path) -> None:
    lab.write_text(LAB.replace("sleep 600", "'true'"))
    native = ("--engine", "native", "--userland", "image")
    ran = labrun("capture", "live", "one:any", "-w", "all.pcapng", *native)
    assert ran.exit == 0 and "ping: done\n" in ran.err
    assert packets((tmp_path / "all.pcapng").read_bytes(), tmp_path) >= 4
    for place, code, said in (
        ("one", 2, "NODE:INTERFACE is needed"), ("onf:eth0", 2, "no node 'onf'. Did you mean 'one'?"),
        ("one:eth7", 3, "no interface 'eth7' to capture on; there are: eth0, lo"),
    ):  # fmt: skip
        ran = labrun("capture", "live", place, "-w", "x.pcapng", *native)
        assert (ran.exit, said in ran.err) == (code, True), ran.err


def test_a_capture_begins_when_its_interface_is_made() -> None:
    """Of a lab that makes its namespaces by steps."""
    compiled = compile_lab(load_lab(REPOSITORY / "labs" / "packet-path"))
    before = len(compiled.experiment.steps)
    nodes = [step.action.name for step in compiled.experiment.steps if step.action.KIND == "namespace"]  # type: ignore[union-attr]
    plan = live_plan(compiled.experiment, nodes[0], "lo", None)
    place = [step.id for step in plan.steps].index("live-capture")
    assert len(plan.steps) == before + 1 and plan.steps[place].node == nodes[0] and place > 0


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_wireshark_is_told_and_gets_packets(backend: Backend, lab: Path, tmp_path: Path) -> None:
    lab.write_text(LAB.replace("sleep 600", "'true'"))
    program = tmp_path / "labrun"
    program.write_text(f'#!/bin/sh\nexec {" ".join(backend.argv)} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "labrun.toml").write_text('engine = "native"\nuserland = "image"\n')
    env = {**os.environ, "LABRUN_PROJECT": str(tmp_path), "LABRUN": str(program)}

    def asked(*words: str) -> str:
        done = subprocess.run([REPOSITORY / "tools" / "labrun-extcap", *words], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = asked("--extcap-interfaces", "--extcap-version=4.0")
    assert "interface {value=labrun:live:one:eth0}{display=lab live, one:eth0}\n" in told and told.startswith(
        "extcap {"
    )
    assert asked("--extcap-interface", "labrun:live:one:eth0", "--extcap-dlts").startswith("dlt {number=1}")
    assert asked("--extcap-interface", "labrun:live:one:eth0", "--extcap-config") == ""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        asked(
            "--extcap-interface",
            "labrun:live:one:eth0",
            "--capture",
            "--fifo",
            str(fifo),
            "--extcap-capture-filter",
            "icmp",
        )
        assert reader.stdout is not None
        assert packets(reader.stdout.read(), tmp_path) == 2
