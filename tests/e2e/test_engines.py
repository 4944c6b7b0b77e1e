"""One lab, one truth: engines agree; and none lets a lab reach out of its sandbox."""

import contextlib
import json
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Backend, Labrun, Ran, _call
from e2e.test_breakage import eventually
from labrun.cli.security import ATTEMPTS, Kind, plan
from support.remount import REMOUNT

WriteLab = Callable[..., Path]
# What may differ between two runs of one lab anywhere, as the design names it: times, ports, ids. And whether a bridge
# without ports still says RUNNING, which the kernel's linkwatch decides a moment after it is made.
VOLATILE = (
    (re.compile(r"\.jsonl:\d+"), ".jsonl"),  # what the kernel changes by itself is noted when it happens
    (re.compile(r"after [\d.e-]+ s \(moment \d+ of \d+\)"), "after a time"),
    (re.compile(r"(any of|all|moment \d+ of) \d+"), "moments"),
    (re.compile(r"flags=\d+<[A-Z,]*>"), "flags"),
    (re.compile(r"\(\d+ characters\)"), "(characters)"),
    (re.compile(r"\.\.\. \(characters\).*$"), "..."),
    (re.compile(r"RX pa[^.\"]*\.\.\."), "RX ..."),
)


def steady(value: Any) -> Any:
    """Without the volatile parts."""
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, str):
        for pattern, word in VOLATILE:
            value = pattern.sub(word, value)
    return value


@pytest.mark.parametrize("other", ["native", "rootless"])
def test_engines_agree_in_every_verdict_and_observation(every_lab: Callable[[str], Ran], other: str) -> None:
    docker, native = every_lab("docker"), every_lab(other)
    assert docker.exit == native.exit == 0, docker.err + native.err
    assert (native.results["run"]["engine"], native.results["run"]["userland"]) == ("native", "image"), native.err
    for lab in docker.results["labs"]:
        assert steady(native.lab(lab["id"])) == steady(lab), lab["id"]


def test_the_evidence_says_whose_programs_ran(
    every_lab: Callable[[str], Ran], labrun: Labrun, backend: Backend
) -> None:
    hello = json.loads(
        (every_lab(backend.name).run / "labs/listing/experiment/events.jsonl").read_text().split("\n")[0]
    )
    assert hello["userland"] == "image" and hello["packages"]["net-tools"]
    if backend.name != "docker":
        ran = labrun("run", "listing", "--engine", "native", "--userland", "host")
        assert ran.exit == 0, ran.err
        assert ran.results["run"]["userland"] == "host"
        hello = json.loads((ran.run / "labs/listing/experiment/events.jsonl").read_text().split("\n")[0])
        assert hello["userland"].startswith("host (") and hello["packages"]


def test_a_tool_that_the_host_lacks_skips_the_lab_and_names_the_package(
    write_lab: WriteLab, labrun: Labrun, backend: Backend
) -> None:
    if backend.name == "docker":
        pytest.skip("a container has the image's programs")
    missing = next(tool for tool in ("drill", "wg", "arping", "tracepath") if not Path(f"/usr/bin/{tool}").exists())
    write_lab("lacks", "  - {id: a, run: 'true'}", "{command: a, exit: 0}", extra=f"requires: {{tools: [{missing}]}}")
    ran = labrun("run", "lacks", "--engine", "native", "--userland", "host")
    lab = ran.lab("lacks")
    assert (ran.exit, lab["status"], lab["reason"]) == (3, "skipped", "missing-tool")
    assert re.search(rf"{missing}; Debian: \S+", lab["message"]), lab


def test_a_kernel_feature_that_is_lacking_skips_the_lab_with_the_same_reason(
    write_lab: WriteLab, labrun: Labrun, docker_labrun: Labrun
) -> None:
    write_lab("has", "  - {id: a, run: 'true'}", "{command: a, exit: 0}", extra="requires: {kernel: [veth, bridge]}")
    names = "[vrf, wireguard, netem, geneve, bond, macvlan]"
    write_lab("may", "  - {id: a, run: 'true'}", "{command: a, exit: 0}", extra=f"requires: {{kernel: {names}}}")
    write_lab("typo", "  - {id: a, run: 'true'}", "{command: a, exit: 0}", extra="requires: {kernel: [wireguad]}")
    ran = labrun("run", "has", "may", "typo")
    assert "unknown kernel feature 'wireguad'. Did you mean 'wireguard'?" in ran.err
    assert ran.verdicts("has") == {"h1": ("supported", "as-predicted")}
    lab = ran.lab("may")
    assert lab["status"] == "done" or (lab["status"], lab["reason"]) == ("skipped", "missing-feature")
    assert docker_labrun("run", "may", "--engine", "docker").lab("may") == lab


PROBE_MODULE = """python3 -c 'import ctypes, os; libc = ctypes.CDLL(None, use_errno=True);
number = {"x86_64": 175}.get(os.uname().machine, 105);
print(libc.syscall(number, bytes(64), 64, b""), os.strerror(ctypes.get_errno()))'"""


# The image has no mount(8): try by the system call.
MOUNT = """mount() { python3 -c 'import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True);
words = [word.encode() for word in sys.argv[1:]];
result = libc.mount(words[0], words[1], words[2], 0, words[3] if words[3:] else None);
print(result, os.strerror(ctypes.get_errno()), file=sys.stderr); sys.exit(-result)' "$@"; };""".replace("\n", " ")


def _mounts() -> list[str]:
    """Those of this host, but for what the daemon makes for anybody's containers."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if "/docker/" not in line.split()[4]]


def test_a_lab_cannot_reach_out(write_lab: WriteLab, labrun: Labrun, backend: Backend, tmp_path: Path) -> None:
    word = f"labrun-victim-{os.getpid()}-{backend.name}"
    mounts = _mounts()
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()} - {"lo", "bonding_masters"}
    disk = next((line.split()[2] for line in mounts if " / / " in line), "254:0").split(":")
    commands = {
        "processes": "cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        "kill": f"kill -9 VICTIM; for p in /proc/[0-9]*; do grep -q {word} $p/cmdline && kill -9 ${{p#/proc/}}; done; true",
        "write": f"echo {word} > /etc/{word}; echo {word} > /usr/{word}; true",
        "module": PROBE_MODULE.replace("\n", " "),
        "mount": f"{MOUNT} mount none /mnt tmpfs; mount none /etc tmpfs; true",
        "disk": f"{MOUNT} mknod /tmp/disk b {disk[0]} {disk[1]} && mount /tmp/disk /mnt ext4; ls /mnt; head -c 16 /tmp/disk",
        "interfaces": "nsenter --net=/proc/1/ns/net ip -oneline link; cat /proc/1/net/dev",
        "home": "ls /root /home /work /srv 2>/dev/null; cat /etc/shadow",
    }
    if backend.name != "docker":
        commands["setting"] = "cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern"
        commands["cgroup"] = f"{MOUNT} mkdir /tmp/c && mount none /tmp/c cgroup memory"
        commands["devices"] = f"{MOUNT} mkdir /tmp/d && mount none /tmp/d devtmpfs"
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", word])
    try:
        lines = [
            f"  - id: {name}\n    run: |\n      {command.replace('VICTIM', str(victim.pid))}"
            for name, command in commands.items()
        ]
        write_lab("hostile", "\n".join(lines), "{command: module, exit: 0}")
        isolation = ("--isolation", "least", "--engine", "docker") if backend.name == "docker" else ()
        ran = labrun("run", "hostile", *isolation)
        assert ran.lab("hostile")["status"] == "done", ran.lab("hostile")["message"]
        assert victim.poll() is None, "the host's process lives"
    finally:
        victim.kill()
        victim.wait()

    def output(name: str, stream: str = "stdout") -> str:
        return (ran.run / f"labs/hostile/experiment/outputs/{name}.{stream}").read_text(errors="replace")

    assert word not in output("processes"), "nor is it seen"
    assert not list(Path("/etc").glob("labrun-victim*")) + list(Path("/usr").glob("labrun-victim*"))
    # A module that is none: ENOEXEC would mean that it may. (A kernel without modules says ENOSYS.)
    assert output("module").startswith(("-1 Operation not permitted", "-1 Function not implemented")), output("module")
    assert _mounts() == mounts
    assert output("disk") == "", "the host's disk cannot be read"
    assert not any(re.search(rf"\b{re.escape(name)}[@:]", output("interfaces")) for name in interfaces)
    assert "lo:" in output("interfaces")
    assert str(tmp_path.name) not in output("home")
    if backend.name != "docker":
        assert "ermission denied" in output("setting", "stderr"), output("setting", "stderr")
        for name in ("cgroup", "devices"):
            assert "not permitted" in output(name, "stderr"), output(name, "stderr")


def test_limits_hold(write_lab: WriteLab, labrun: Labrun) -> None:
    fork = (
        "import os, time\nn, all = 0, []\nwhile n < 3000:\n    try:\n        child = os.fork()\n    except OSError:\n        break\n"
        "    if child == 0:\n        time.sleep(30)\n        os._exit(0)\n    n += 1\n    all.append(child)\nprint(n)\n"
        "for child in all:\n    os.kill(child, 9)\n    os.waitpid(child, 0)\n"
    )
    folder = write_lab(
        "greedy",
        "  - {id: memory, timeout: 60s, run: 'python3 -c \"x = bytearray(1600 * 1024 * 1024)\"; echo rc=$?'}\n"
        "  - {id: processes, timeout: 60s, run: [python3, -c, " + json.dumps(fork) + "]}",
        "{command: memory, stdout: {matches: 'rc=(1|137)'}}",
        "{command: processes, stdout: {matches: '^(9\\d\\d|10[0-2]\\d)$'}}",
    )
    ran = labrun("run", str(folder))
    assert set(ran.verdicts("greedy").values()) == {("supported", "as-predicted")}, ran.out


def test_a_named_engine_is_never_replaced(write_lab: WriteLab, docker_labrun: Labrun) -> None:
    write_lab("quick", "  - {id: a, run: 'true'}", "{command: a, exit: 0}")
    for args in (("--engine", "docker"), ()):
        ran = docker_labrun("run", "quick", *args, env={"DOCKER_HOST": "unix:///nowhere.sock"})
        assert ran.exit == 3 and "no Docker engine answers" in ran.err
    assert docker_labrun("run", "quick", "--engine", "native", "--isolation", "privileged").exit == 3
    assert docker_labrun("run", "quick", "--engine", "docker", "--userland", "host").exit == 3


def test_a_lab_reaches_neither_the_runner_s_secrets_nor_the_hypervisor(write_lab: WriteLab, labrun: Labrun) -> None:
    """Process 1 is no way out: neither its environment, nor its program, nor sockets that no network namespace keeps.

    Nor are cgroup namespaces, by either way to ask for one.
    """
    look = (
        "import ctypes\n"
        "libc, NEWCGROUP = ctypes.CDLL(None), 0x02000000\n"
        "print('cgroups', libc.unshare(NEWCGROUP) == 0)\n"
        "print('clone3', libc.syscall(435, ctypes.byref((ctypes.c_uint64 * 8)(NEWCGROUP)), 64) >= 0)\n"
        "import os, socket\n"
        "print('environ', open('/proc/1/environ', 'rb').read() != b'')\n"
        "print('exe', os.path.basename(os.readlink('/proc/1/exe')) != 'sleep')\n"
        "try:\n    os.close(os.open('/proc/1/exe', os.O_RDWR))\n    print('exe', True)\n"
        "except OSError:\n    print('exe', False)\n"
        "for family in (40, 38):\n"
        "    try:\n        socket.socket(family, socket.SOCK_STREAM if family == 40 else socket.SOCK_SEQPACKET)\n"
        "        print(family, True)\n"
        "    except OSError:\n        print(family, False)\n"
    )
    write_lab(
        "nosy",
        "  - {id: look, run: [python3, -c, " + json.dumps(look) + "]}",
        "{command: look, exit: 0, stdout: {lacks: 'True', contains: '40 False'}}",
    )
    ran = labrun("run", "nosy", env={"CANARY": "a token"})
    assert ran.verdicts("nosy") == {"h1": ("supported", "as-predicted")}, ran.out


FORGE = """
import ctypes, json, os, stat, time
libc = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438
wall, t = time.time_ns(), 10**9
answer = b"64 bytes from 8.8.8.8: icmp_seq=1 ttl=118 time=1.0 ms\\n"
def event(**fields):
    return b'{"event":' + json.dumps(fields).encode() + b'}\\n'
def piece(name, data):
    return json.dumps({"file": name, "bytes": len(data)}).encode() + b"\\n" + data
def ended(step, size):
    out = {"path": "outputs/" + step + ".stdout", "size": size, "kept": size}
    err = {"path": "outputs/" + step + ".stderr", "size": 0, "kept": 0}
    result = {"kind": "command", "exit": 0, "signal": None, "stdout": out, "stderr": err}
    return event(kind="step-ended", step=step, t_ns=t, wall_ns=wall, status="ok", result=result)
frames = [
    ended("attack", 0), event(kind="step-started", step="ping", t_ns=t, wall_ns=wall),
    piece("outputs/ping.stdout", answer), piece("outputs/ping.stderr", b""), ended("ping", len(answer)),
    event(kind="done", t_ns=t, wall_ns=wall),
]
others = [pid for pid in range(1, 5000) if pid != os.getpid() and os.path.exists(f"/proc/{pid}")]
pipes = 0
for pid in others:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        continue
    for number in range(64):
        fd = libc.syscall(PIDFD_GETFD, handle, number, 0)
        if fd < 0:
            try:
                fd = os.open(f"/proc/{pid}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                continue
        kind = os.fstat(fd).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            try:
                os.write(fd, b"".join(frames))
                pipes += 1
            except OSError:
                pass
for pid in [*others, -1]:
    try:
        os.kill(pid, 9)
    except OSError:
        pass
print("processes", len(others), "pipes", pipes)
"""


@pytest.mark.parametrize("isolation", ["as-is", "least"])
def test_a_lab_cannot_speak_for_the_agent(
    write_lab: WriteLab, labrun: Labrun, backend: Backend, isolation: str
) -> None:
    """Its commands find no process but their own: no file of the agent's to write frames into, nothing to kill."""
    if isolation == "least" and backend.name != "docker":
        pytest.skip("only Docker has a choice")
    write_lab(
        "forging",
        "  - {id: attack, run: [python3, -c, " + json.dumps(FORGE) + "]}\n"
        "  - {id: ping, run: 'ping -c 1 -W 1 8.8.8.8'}",
        "{command: ping, stdout: {contains: '64 bytes from 8.8.8.8'}}",
    )
    ran = labrun("run", "forging", *(("--engine", "docker", "--isolation", "least") if isolation == "least" else ()))
    assert ran.lab("forging")["status"] == "done", ran.lab("forging")["message"]
    assert ran.verdicts("forging")["h1"][0] != "supported", ran.out
    outputs = ran.run / "labs/forging/experiment/outputs"
    assert (outputs / "attack.stdout").read_text() == "processes 1 pipes 0\n"
    assert "unreachable" in (outputs / "ping.stderr").read_text()


def test_what_is_read_only_stays_so(write_lab: WriteLab, backend_of: Callable[[str], Backend]) -> None:
    """The host's own programs, in the sandbox of an account without rights: its root is that account outside."""
    backend = backend_of("rootless")
    folder = write_lab(
        "writing",
        "  - {id: remount, run: [python3, -c, " + json.dumps(REMOUNT) + "]}\n"
        "  - {id: read, run: 'cat /etc/passwd; echo --; cat /etc/shadow; ls -A /root; true'}",
        "{command: remount, exit: 0}",
    )
    ran = _call(backend, ("run", str(folder), "--engine", "native", "--userland", "host"), folder.parent.parent, {})
    seen = (ran.run / "labs/writing/experiment/outputs/read.stdout").read_text()
    assert seen == Path("/etc/passwd").read_text() + "--\n", "what this account may read can be read, and nothing else"
    found = (ran.run / "labs/writing/experiment/outputs/remount.stdout").read_text().splitlines()
    assert "kept /usr" in found and not [line for line in found if line.startswith("got")], found


def test_what_labs_write_is_bounded_and_a_full_one_goes_on(write_lab: WriteLab, labrun: Labrun) -> None:
    write_lab(
        "sized",
        "  - {id: memory, run: \"grep -c -- '- tmpfs' /proc/self/mountinfo\"}\n"
        "  - {id: unbounded, run: \"grep -- '- tmpfs' /proc/self/mountinfo | grep -v size=; true\"}",
        "{command: memory, stdout: {matches: '[1-9]'}}",
        "{command: unbounded, stdout: {equals: ''}}",
    )
    write_lab(
        "filling",
        '  - {id: fill, run: "head -c 600M /dev/zero >/tmp/full 2>&1; echo exit $?; cat /tmp/full >/root/full; true"}\n'
        '  - {id: after, run: "rm /tmp/full /root/full; echo x >/tmp/x; cat /tmp/x"}',
        "{command: fill, stdout: {contains: exit 1}}",
        "{command: after, stdout: {contains: x}}",
    )
    ran = labrun("run", "sized", "filling")
    for slug in ("sized", "filling"):
        assert set(ran.verdicts(slug).values()) == {("supported", "as-predicted")}, ran.out


def test_the_doctor_finds_no_way_out(labrun: Labrun, backend: Backend) -> None:
    """And that what is open by design is open: a promise of the table, too."""
    ran = labrun("doctor", "--security")
    assert ran.exit == 0 and "HOLE" not in ran.out, ran.out
    kind: Kind = "docker least" if backend.name == "docker" else "native"
    (said,) = [part for part in ran.out.split("\n\n") if part.startswith(f"{kind}:")]
    assert "not tried" not in said and "not found out" not in said
    for attempt in ATTEMPTS:
        assert f"{attempt.tries.replace('`', '')}: {'yes' if kind in attempt.open else 'no'}" in said, said


def test_a_program_of_the_engine_s_would_be_found(docker_client: Any, lab_image: str) -> None:
    """In a container without labrun's own root, docker-init is there, and root makes it writable."""
    (argv,) = (step.action.argv for step in plan("word", "lo").steps if step.id == "init")
    said = docker_client.containers.run(
        lab_image, list(argv), init=True, cap_add=["SYS_ADMIN"], network_mode="none", remove=True,
        security_opt=["seccomp=unconfined", "apparmor=unconfined"], environment={"DOCTOR_WORD": "word"},
    )  # fmt: skip
    assert said == b"yes\n"


def test_who_root_in_the_sandbox_is_out_here(write_lab: WriteLab, backend: Backend, tmp_path: Path) -> None:
    word = f"sleep 60.{os.getpid()}"
    write_lab("waiting", f"  - {{id: a, run: '{word}'}}", "{command: a, exit: 0}")
    isolation = ("--engine", "docker", "--isolation", "least") if backend.name == "docker" else ()
    process = subprocess.Popen(
        backend.command("run", "waiting", *isolation), cwd=tmp_path, env={**os.environ, **backend.env},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        (found,) = eventually(lambda: _running(word))
        uids = set((found / "status").read_text().partition("Uid:")[2].split("\n")[0].split())
        score = int((found / "oom_score_adj").read_text())
        own = (found / "ns/user").samefile("/proc/self/ns/user")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert not own, "its rights are those of a user namespace of its own"
    assert score == 1000, "where memory runs out it goes first"
    if backend.name == "native":
        (uid,) = uids
        with pytest.raises(KeyError):
            pwd.getpwuid(int(uid))
    else:
        name = backend.env.get("USER", "root") if backend.name == "rootless" else "root"
        assert uids == {str(pwd.getpwnam(name).pw_uid)}


def _running(command: str) -> list[Path]:
    """Those of /proc whose whole command line this is."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cmdline").read_bytes().replace(b"\0", b" ").strip() == command.encode():
                found.append(path)
    return found
