"""What `labrun doctor` tells to do: one command, for all that it found."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from labrun.cli import checkup, doctor
from labrun.cli.checkup import Finding, mending
from labrun.engines.obstacles import obstacles


def note(*mends: str) -> Finding:
    return Finding("x", "found", None, "words", mends)


CASES = [
    ([], None),
    ([note()], None),
    ([note("modprobe -a a b"), note("modprobe -a b c")], "modprobe -a a b c"),
    ([note("apt-get install -y a"), note("sysctl -w k=1"), note("apt-get install -y b a")],
     "apt-get install -y a b && sysctl -w k=1"),
    ([note("modprobe -a a"), note("usermod -aG docker me"), note("usermod -aG docker me")],
     "usermod -aG docker me && modprobe -a a"),
]  # fmt: skip


@pytest.mark.parametrize(("findings", "command"), CASES)
def test_one_command_mends_all_of_it(findings: list[Finding], command: str | None) -> None:
    assert mending(findings, 0) == command
    said = mending(findings, 1000)
    if command is None:
        assert said is None
    elif "&&" in command:
        assert said is not None and shlex.split(said) == ["sudo", "sh", "-c", command]
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0
    else:
        assert said == f"sudo {command}"


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *found: Finding) -> tuple[int, str]:
    def findings() -> Iterator[Finding]:
        yield from found

    monkeypatch.setattr(checkup, "checkup", findings)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    return doctor._health(), capsys.readouterr().out


def test_what_stops_labs_comes_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fine, lacks = Finding("fine", "works", True), note("modprobe -a a")
    stops = Finding("engines", "none works here", False, None, ("sysctl -w k=1",))
    code, said = told(monkeypatch, capsys, fine, Finding("note", "only told", None), lacks, stops)
    assert code == 3
    assert said.startswith(
        "Labs cannot run here. This mends it:\n    sysctl -w k=1\n\nFAIL  engines: none works here\n"
    )
    assert [line.split()[1] for line in said.splitlines() if line[:4] in ("ok  ", "note", "FAIL")] == [
        "engines:", "x:", "note:", "fine:",
    ]  # fmt: skip
    code, said = told(monkeypatch, capsys, fine, lacks)
    assert (code, "this mends as far as it can be mended:\n    modprobe -a a\n" in said) == (0, True)
    code, said = told(monkeypatch, capsys, fine)
    assert (code, said) == (0, "ok    fine: works\n")
    code, said = told(monkeypatch, capsys, Finding("engines", "none", False))
    assert said.startswith(
        "Labs cannot run here. No command mends it; see what is said below.\n\nFAIL  engines: none\n"
    )


def test_a_setting_that_closes_namespaces_is_one_command(tmp_path: Path) -> None:
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/user").touch()
    for name in ("user/max_user_namespaces", "kernel/unprivileged_userns_clone"):
        (tmp_path / "proc/sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/sys" / name).write_text("0\n")
    found = [Finding("native", one.what, None, one.remedy, one.mends) for one in obstacles(tmp_path, 1000)]
    both = "sysctl -w user.max_user_namespaces=15000 && sysctl -w kernel.unprivileged_userns_clone=1"
    assert mending(found, 0) == both
