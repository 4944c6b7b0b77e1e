"""What people bring along: files beside lab.yaml, on every engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from e2e.conftest import Labrun

STEPS = r"""
  - {id: start, run: pwd; umask}
  - {id: tool, run: ./bin/tool now, env: {WHO: "step"}}
  - {id: same, run: sha256sum -c sums}
  - {id: seen, run: "find . -printf '%M %p %l\n' | sort -k 2"}
  - {id: write, run: touch /lab/new /lab/bin/tool || echo > bin/tool, may_fail: true}
  - {id: undone, run: "python3 -c 'import ctypes; print(ctypes.CDLL(None).mount(None, b\"/lab\", None, 32|4096, None))'"}
  - {id: after, run: sha256sum -c sums}
"""
SEEN = """\
drwxr-xr-x . \\n\
drwxr-xr-x ./bin \\n\
-rwxr-xr-x ./bin/tool \\n\
lrwxrwxrwx ./link bin/tool\\n\
drwxr-xr-x ./none \\n\
-rw-r--r-- ./sums \\n"""


def test_files_beside_the_lab_are_in_the_sandbox(
    tmp_path: Path, labrun: Labrun, write_lab: Callable[..., Path]
) -> None:
    folder = write_lab(
        "own",
        STEPS,
        '{command: start, stdout: {equals: "/lab\\n0022\\n"}}',
        '{command: tool, stdout: {equals: "now step lab\\n"}}',
        "{command: same, exit: 0}",
        f'{{command: seen, stdout: {{equals: "{SEEN}"}}}}',
        "{not: {command: write, exit: 0}}",
        "{command: after, exit: 0}",
        extra="env: {WHO: lab, OTHER: lab}",
    )
    (folder / "bin").mkdir()
    (folder / "none").mkdir()
    tool = folder / "bin" / "tool"
    tool.write_text("#!/bin/sh\necho $1 $WHO $OTHER\n")
    tool.chmod(0o755)
    (folder / "sums").write_text(f"{hashlib.sha256(tool.read_bytes()).hexdigest()}  link\n")
    (folder / "link").symlink_to("bin/tool")
    ran = labrun("run", "own")
    assert ran.exit != 2, ran.err
    assert {verdict for verdict, _ in ran.verdicts("own").values()} == {"supported"}, ran.out
    kept = ran.run / "labs" / "own" / "lab.files"
    assert (kept / "bin" / "tool").read_bytes() == tool.read_bytes()
    files = json.loads((ran.run / "labs" / "own" / "experiment" / "plan.json").read_text())["files"]
    assert [file["path"] for file in files] == ["bin/tool", "link", "none", "sums"]
    assert 'href="./labs/own/lab.files/bin/tool"' in (ran.run / "index.html").read_text()


def test_a_hostile_folder_is_an_error_before_anything_runs(labrun: Labrun, write_lab: Callable[..., Path]) -> None:
    folder = write_lab("own", "  - {id: a, run: ls}", "{command: a, exit: 0}")
    (folder / "link").symlink_to("/etc/shadow")
    ran = labrun("run", "own")
    assert ran.exit == 2
    assert "'link' is a link that leaves the lab's folder" in ran.err
