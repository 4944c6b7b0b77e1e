"""Labs that take all they can get: each ends in time, says what became of it, and leaves nothing; the others go on."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.conftest import Backend, Ran, _call
from support.account import temporary_folder

SLEEP = f"sleep 1000.{os.getpid()}"  # nobody else's
FORK = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.2)
"""
SHARED = """
import mmap
room = mmap.mmap(-1, 1300 << 20)  # MAP_SHARED
for place in range(0, len(room), 4096):
    room[place] = 1
print("had it all")
"""
OWN_TMPFS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("/tmp/own")
assert libc.mount(b"own", b"/tmp/own", b"tmpfs", 0, b"size=3g") == 0
with open("/tmp/own/file", "wb", buffering=0) as file:
    for _ in range(1300):
        assert file.write(bytes(1 << 20)) == 1 << 20
print("had it all")
"""
MANY_FILES = """
import os
os.mkdir("/tmp/many")
for number in range(20000):
    os.close(os.open("/tmp/many/%d" % number, os.O_CREAT | os.O_WRONLY))
print(len(os.listdir("/tmp/many")))
"""
PACKETS = """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100000):
    sender.sendto(b"x", ("127.0.0.1", 9))
"""
DAEMONS = (
    f"for i in 1 2 3 4 5; do setsid sh -c 'trap \"\" TERM HUP; {SLEEP}; {SLEEP}' >/dev/null 2>&1 & done; "
    f"({SLEEP} &) >/dev/null 2>&1; echo away"
)


def python(program: str) -> str:
    return "[python3, -c, " + json.dumps(program) + "]"


SUPPORTED, TIMEOUT = ("supported", "as-predicted"), ("inconclusive", "timeout")
ENDED = ("inconclusive", "step-failed")  # by SIGKILL: the kernel did so for want of memory
# slug -> (steps, prediction, the answers that are honest)
LABS = {
    "fork": (f"  - {{id: a, run: {python(FORK)}, timeout: 3s}}", "{command: a, exit: 0}", {TIMEOUT}),
    "shared": (f"  - {{id: a, run: {python(SHARED)}, timeout: 60s}}", "{command: a, stdout: had it all}", {ENDED}),
    "tmpfs": (f"  - {{id: a, run: {python(OWN_TMPFS)}, timeout: 60s}}", "{command: a, stdout: had it all}", {ENDED}),
    "output": ("  - {id: a, run: 'yes', timeout: 2s}", "{command: a, exit: 0}", {TIMEOUT}),
    "packets": (
        f"  - {{id: seen, capture: {{on: lo, filter: udp}}}}\n  - {{id: a, run: {python(PACKETS)}, timeout: 60s}}",
        "{packets: {on: host.lo, during: a, direction: in}, count: 100000}",
        {SUPPORTED, ("inconclusive", "packets-dropped")},
    ),
    "files": (f"  - {{id: a, run: {python(MANY_FILES)}, timeout: 60s}}", "{command: a, stdout: '20000'}", {SUPPORTED}),
    "events": (
        '  - {id: s, start: "while ip link set lo up; do ip link set lo down; done"}\n'
        "  - {id: look, snapshot: {nodes: [host]}}",
        "{links: {in: host, at: look, where: {name: eth0}}, count: 0, consistently: {for: 1s, every: 10ms}}",
        {SUPPORTED, ("inconclusive", "watched-with-gaps"), ("inconclusive", "not-watched-to-the-end")},
    ),
    "stubborn": (
        f"  - {{id: s, start: \"trap '' TERM; echo up; {SLEEP}; {SLEEP}\", ready: {{output: up}}}}\n"
        f"  - {{id: a, run: [sh, -c, \"trap '' TERM; {SLEEP}; {SLEEP}\"], timeout: 1s}}",
        "{command: a, exit: 0}",
        {TIMEOUT},
    ),
    "daemons": (
        f"  - {{id: a, run: [sh, -c, {json.dumps(DAEMONS)}]}}",
        "{command: a, stdout: away}",
        {("inconclusive", "still-running")},
    ),
    "killing": (
        "  - {id: k, run: [sh, -c, 'kill -9 1; kill -9 -1; true']}\n  - {id: a, run: 'echo alive'}",
        "{command: a, stdout: alive}",
        {SUPPORTED},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def greedy(backend: Backend) -> Iterator[Ran]:
    """All of them at once, and what is left afterwards: nothing."""
    with temporary_folder() as folder:
        for slug, (steps, prediction, _) in LABS.items():
            (folder / "labs" / slug).mkdir(parents=True)
            (folder / "labs" / slug / "lab.yaml").write_text(
                f"title: {slug}\nquestion: q\ntopology: {{nodes: {{host: {{}}}}}}\nsteps:\n{steps}\n"
                f"hypotheses:\n  - {{id: h, claim: x, predict: {prediction}}}\n"
            )
        ran = _call(backend, ("run", *LABS, "--jobs", "2"), folder, {})
        deadline = time.monotonic() + 10
        while (left := [*backend.sandboxes(folder), *sleepers()]) and time.monotonic() < deadline:
            time.sleep(0.1)  # AutoRemove takes a moment
        assert not left
        yield ran


def sleepers() -> list[str]:
    """What these labs have still running on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words.startswith(SLEEP):
            found.append(words)
    return found


@pytest.mark.parametrize("slug", LABS)
def test_a_lab_that_takes_all_it_can_get_ends_with_an_honest_answer(greedy: Ran, slug: str) -> None:
    honest = set(LABS[slug][2])
    if "the memory of each but not of all" in str(greedy.results["run"]["isolation_note"]):
        assert "the memory of each but not of all" in greedy.err, "and the first line of the run says so"
        honest |= {SUPPORTED} if ENDED in honest else set()  # it did have it all
    assert greedy.verdicts(slug)["h"] in honest, greedy.lab(slug)


def test_past_what_is_bounded_the_words_say_so(greedy: Ran) -> None:
    message = greedy.lab("output")["message"]
    assert "step 'a': the command did not end within 2 s and was killed" in message
    kept = (greedy.run / "labs/output/experiment/outputs/a.stdout").stat().st_size
    assert 0 < kept <= 64 * 1024**2
