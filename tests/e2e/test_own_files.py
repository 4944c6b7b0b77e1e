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


MACHINES = """\
title: Machines
question: Is a node like a machine?
topology:
  nodes:
    r1:
      services: {web: {run: exec python3 serve.py, ready: {port: 8080}, env: {WORD: one}}}
      files: {/bin/tool: tool, /var/lib/x/secret: {text: "s\\n", mode: "0600"}}
    r2: {services: {web: {run: exec python3 serve.py, ready: {succeeds: test -s /run/web.pid}}}}
    plain: {}
  links: [{r1.e: 10.0.0.1/24, r2.e: 10.0.0.2/24}]
steps:
  - {id: own, in: r1, run: "hostname; cat /etc/hostname /etc/motd; tool; cat /var/lib/x/secret; stat -c %a /var/lib/x/secret"}
  - {id: other, in: r1, run: nc -N r2 8080 < /dev/null}
  - {id: alone, in: r2, run: "touch /etc/only-here /tmp/only-here; cat /proc/[0-9]*/comm; kill -0 $(cat /run/web.pid)"}
  - {id: orphan, in: r2, run: "(sleep 0.05 & echo $! > /tmp/id); while kill -0 $(cat /tmp/id); do sleep 0.05; done 2> /dev/null"}
  - {id: unseen, in: plain, run: "hostname; cat /etc/hosts; test ! -e /etc/only-here -a ! -e /tmp/only-here"}
  - {id: sockets, snapshot: {nodes: [r1], parts: [sockets]}}
hypotheses:
  - {id: own, claim: c, predict: {command: own, stdout: {equals: "r1\\nr1\\nof r1\\nran\\ns\\n600\\n"}}}
  - {id: name, claim: c, predict: {command: other, stdout: {equals: "of r2\\n"}}, control: {without: r2-web}}
  - {id: alone, claim: c, predict: {command: alone, exit: 0, stdout: {equals: "sleep\\npython3\\nbash\\n"}}}
  - {id: reaped, claim: c, predict: {command: orphan, exit: 0}}
  - {id: unseen, claim: c, predict: {command: unseen, exit: 0, stdout: {lacks: "r2"}}}
  - {id: log, claim: c, predict: {command: r1-web, stdout: {equals: "serving one\\n"}}}
  - {id: socket, claim: c, predict: {sockets: {at: sockets, where: {process: python3, port: 8080}}, count: 1}}
"""
SERVE = """\
import os, socket
server = socket.create_server(("", 8080))
print("serving", os.environ.get("WORD"), flush=True)
with open("/run/web.pid", "w") as file:
    file.write(str(os.getpid()))
while True:
    with server.accept()[0] as client, open("/etc/motd", "rb") as file:
        client.sendall(file.read())
"""


def test_nodes_like_machines_with_services(tmp_path: Path, labrun: Labrun) -> None:
    folder = tmp_path / "labs" / "machines"
    for node in ("r1", "r2"):
        (folder / node / "etc").mkdir(parents=True)
        (folder / node / "etc" / "motd").write_text(f"of {node}\n")
    (folder / "lab.yaml").write_text(MACHINES)
    (folder / "serve.py").write_text(SERVE)
    (folder / "tool").write_text("#!/bin/sh\necho ran\n")
    (folder / "tool").chmod(0o755)
    ran = labrun("run", "machines")
    assert ran.exit == 0, ran.out + ran.err
    ended = [json.loads(line) for line in (ran.run / "labs/machines/experiment/events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in ended if event["kind"] == "process-ended"] == ["r2-web", "r1-web"]


def test_a_file_that_cannot_be_put_stops_the_lab(labrun: Labrun, write_lab: Callable[..., Path]) -> None:
    folder = write_lab("own", "  - {id: a, run: ls}", "{command: a, exit: 0}")
    text = (folder / "lab.yaml").read_text()
    (folder / "lab.yaml").write_text(text.replace("host: {}", "host: {files: {/etc: {text: x}}}"))
    ran = labrun("run", "own")
    assert ran.exit == 3
    assert "/etc: Is a directory" in ran.out
