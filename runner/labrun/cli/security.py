"""`labrun doctor --security`: what a lab can do to this machine, in each engine here, found out by trying.

`ATTEMPTS` is the table of SECURITY.md as a program. Each attempt is a few lines of Python that run as a lab's command;
they set ``found``. An attempt only opens the way: it opens a disk and writes nothing to it. Where ``found`` is true in
an engine for which ``open`` does not say so, there is a hole.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from labrun.engines.base import Engine, EngineError
from labrun.protocol.actions import Namespace, Run
from labrun.protocol.events import Fault
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Limits, Plan, Step
from labrun.protocol.record import dataclass

Kind = Literal["vm", "native", "docker least", "docker privileged"]
KINDS: tuple[Kind, ...] = ("vm", "native", "docker least", "docker privileged")
TITLES = {
    "vm": "virtual machine",
    "native": "native",
    "docker least": "Docker, least",
    "docker privileged": "Docker, privileged",
}
CANARY = "LABRUN_DOCTOR_CANARY"  # an environment variable of the runner's, which no lab may read


@dataclass(frozen=True, slots=True)
class Attempt:
    """``open``: the engines in which the way is open by design, each with what it takes (often nothing)."""

    id: str
    tries: str
    script: str
    open: Mapping[Kind, str]


_COMMON = """
import ctypes, errno, glob, os, socket, stat, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
WORD = os.environ["DOCTOR_WORD"]
def call(*arguments):
    ctypes.set_errno(0)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(*arguments)
    return result, ctypes.get_errno()
def number(name):
    numbers = {"finit_module": (313, 273), "adjtimex": (159, 171), "kexec_file_load": (320, 294),
               "pidfd_open": (434, 434), "pidfd_getfd": (438, 438)}
    return numbers[name][os.uname().machine != "x86_64"]
def mount(kind):
    os.makedirs("/tmp/doctor", exist_ok=True)
    if libc.mount(b"none", b"/tmp/doctor", kind, 0, None):
        return False
    libc.umount(b"/tmp/doctor")
    return True
def others():
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
def opens(path, flags):
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True
def disks():
    found = []
    os.makedirs("/tmp/doctor", exist_ok=True)
    devices = not libc.mount(b"none", b"/tmp/doctor", b"devtmpfs", 0, None)
    for line in open("/proc/partitions").read().split("\\n")[2:]:
        if line.split():
            major, minor, _, name = line.split()
            found.append(devices and opens("/tmp/doctor/" + name, os.O_RDONLY))
            path = "/tmp/doctor-" + name
            try:
                os.mknod(path, 0o60600, os.makedev(int(major), int(minor)))
            except OSError:
                continue
            found.append(opens(path, os.O_RDONLY))
            os.unlink(path)
    if devices:
        libc.umount(b"/tmp/doctor")
    return any(found)
"""

# A privileged container has the host's disks and every capability: from there all else follows.
_PRIVILEGED: Mapping[Kind, str] = {"docker privileged": "once the disk is mounted"}
_AT_ONCE: Mapping[Kind, str] = {"docker privileged": ""}
_REAL_ROOT: Mapping[Kind, str] = {"docker least": "", "docker privileged": ""}
# Root in there is the root of a kernel that is the machine's alone.
_OWN_KERNEL: Mapping[Kind, str] = {"vm": "those of its own kernel", **_REAL_ROOT}

ATTEMPTS = (
    Attempt("processes", "see or signal processes of the host",
            "found = any(WORD.encode() in open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/cmdline'))",
            _PRIVILEGED),
    Attempt("files", "write to the host's `/etc` or `/usr`", """
for folder in ("/etc", "/usr"):
    try:
        open(folder + "/" + WORD, "w").close()
    except OSError:
        pass
found = disks()""", _PRIVILEGED),
    Attempt("module", "load a kernel module", """
fd = os.memfd_create("module")
found = call(number("finit_module"), fd, b"", 0)[1] not in (errno.EPERM, errno.ENOSYS)""", _PRIVILEGED),
    Attempt("disk", "open the host's disk, by a device node", "found = disks()", _AT_ONCE),
    Attempt("mount", "mount over something of the host's", """
libc.mount(b"none", b"/etc", b"tmpfs", 0, None)
found = disks()""", _PRIVILEGED),
    Attempt("interfaces", "see the host's interfaces", """
names = set()
for path in glob.glob("/proc/[0-9]*/ns/net"):
    shown = subprocess.run(["nsenter", "--net=" + path, "ip", "-oneline", "link"], capture_output=True, text=True)
    names |= {line.split(":")[1].strip().partition("@")[0] for line in shown.stdout.splitlines() if ":" in line}
found = bool(names & set(os.environ["DOCTOR_INTERFACES"].split()))""", _PRIVILEGED),
    Attempt("settings", "change kernel settings that no namespace has (`/proc/sys/kernel`)",
            "found = opens('/proc/sys/kernel/core_pattern', os.O_WRONLY)", _OWN_KERNEL),
    Attempt("mounts", "mount cgroups or devtmpfs",
            "found = any([mount(b'cgroup2'), mount(b'cgroup'), mount(b'devtmpfs')])", _AT_ONCE),
    Attempt("limits", "raise its own limits, by a cgroup that it mounts", """
CLONE_NEWCGROUP = 0x02000000
def settings():
    for kind, data in ((b"cgroup2", None), (b"cgroup", b"memory"), (b"cgroup", b"pids")):
        if not libc.mount(b"none", b"/tmp/doctor", kind, 0, data):
            for folder, _, names in os.walk("/tmp/doctor"):
                for name in names:
                    if name in ("memory.max", "memory.limit_in_bytes", "pids.max"):
                        yield opens(folder + "/" + name, os.O_WRONLY)
            libc.umount(b"/tmp/doctor")
os.makedirs("/tmp/doctor", exist_ok=True)
found = any([*settings()])
if not libc.unshare(CLONE_NEWCGROUP):
    found = any([found, *settings()])""", _AT_ONCE),
    Attempt("init", "write to a program of the engine's, such as `docker-init`", """
found = False
for path in ("/proc/1/exe", "/sbin/docker-init", "/dev/init", "/run/podman-init", "/catatonit"):
    try:
        size = os.stat(path).st_size
    except OSError:
        continue
    if libc.mount(b"none", path.encode(), None, 0x20 | 0x1000, None) == 0:  # MS_REMOUNT, MS_BIND: no longer read-only
        found = found or size > 0
    # The lab's own copy in memory is its own, and empty where the engine's lies over it.
    lines = [line.split() for line in open("/proc/self/mountinfo")]
    found = found or any(line[4] == path for line in lines) and opens(path, os.O_RDWR)""", _PRIVILEGED),
    Attempt("environment", "read the runner's environment, or its programs, through `/proc`", """
found = False
for pid in others():
    try:
        found = found or (WORD + "-secret").encode() in open("/proc/%d/environ" % pid, "rb").read()
    except OSError:
        pass
    found = found or (pid == 1 and opens("/proc/1/exe", os.O_RDWR))""", _PRIVILEGED),
    Attempt("hypervisor", "open sockets that reach the hypervisor (AF_VSOCK)", """
found = False
try:
    socket.socket(40, socket.SOCK_STREAM).close()
    found = True
except OSError:
    pass""", _PRIVILEGED),
    Attempt("clock", "set the clock, or load another kernel", """
class Timex(ctypes.Structure):
    _fields_ = [("modes", ctypes.c_uint), ("rest", ctypes.c_long * 40)]
clock = Timex(modes=0x4000)  # ADJ_TICK, to a tick that is refused after the right to set it was asked for
found = call(number("adjtimex"), ctypes.byref(clock))[1] == errno.EINVAL
found = found or call(number("kexec_file_load"), -1, -1, 0, b"", 0xffff)[1] not in (errno.EPERM, errno.ENOSYS)""",
            _AT_ONCE),
    Attempt("agent", "see labrun's agent in the sandbox, end it, or forge the lab's own evidence", """
found = False
for pid in others():
    handle = call(number("pidfd_open"), pid, 0)[0]
    for place in range(64):
        fd = call(number("pidfd_getfd"), handle, place, 0)[0]
        if fd >= 0:
            kind = os.fstat(fd).st_mode
            found = found or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)
            os.close(fd)
    if handle >= 0:
        os.close(handle)
    found = found or any(b"labrun" in open(p, "rb").read() for p in glob.glob("/proc/%d/cmdline" % pid))""",
            _PRIVILEGED),
    Attempt("read-only", "make files of the host that it may only read writable", """
MS_REMOUNT, MS_BIND = 0x20, 0x1000
def read_only():
    lines = [line.split() for line in open("/proc/self/mountinfo")]
    return {line[0]: line[4] for line in lines if line[5].split(",")[0] == "ro"}
before = read_only()
for place in before.values():
    libc.mount(b"none", place.encode(), None, MS_REMOUNT | MS_BIND, None)
found = read_only() != before""", _PRIVILEGED),
    Attempt("full", "fill the host's disk", """
found = False
for line in open("/proc/self/mountinfo"):
    device, place = line.split()[2], line.split()[4]
    path = place + "/" + WORD
    if not os.path.isdir(place) or line.split(" - ")[1].split()[0] == "tmpfs":
        continue
    number = os.stat(place).st_dev
    is_seen = device == "%d:%d" % (os.major(number), os.minor(number))  # nothing is mounted over it
    if is_seen and opens(path, os.O_CREAT | os.O_WRONLY):
        os.unlink(path)
        state = os.statvfs(place)
        found = found or state.f_blocks * state.f_frsize > 1 << 30""", _PRIVILEGED),
    Attempt("processes-many", "start more than 1,200 processes", """
children = []
found = True
for _ in range(1200):
    try:
        child = os.fork()
    except OSError:
        found = False
        break
    if not child:
        import time
        time.sleep(60)
        os._exit(0)
    children.append(child)
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)""", _PRIVILEGED),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """``open`` is None where it was not found out; ``why`` says why then."""

    open: bool | None
    why: str = ""

    def hole(self, attempt: Attempt, kind: Kind) -> bool:
        return self.open is True and kind not in attempt.open


def plan(word: str, interfaces: str) -> Plan:
    node = Step("lab", Namespace("add", "lab"), phase="topology")
    steps = (
        node,
        *(
            Step(
                one.id, Run(("python3", "-c", f"{_COMMON}{one.script}\nprint('yes' if found else 'no')\n")), "lab", 90.0
            )
            for one in ATTEMPTS
        ),
    )
    values = (("DOCTOR_INTERFACES", interfaces), ("DOCTOR_WORD", word))
    return Plan(
        "doctor", "security", steps, ("lab",), values=values, limits=Limits(lab_timeout_s=600.0), watch=False
    ).sealed()


def tried(engine: Engine) -> dict[str, Answer]:
    """Attempt -> what came of it, in one sandbox of ``engine``. What it leaves on this host is found and removed."""
    word = f"labrun-doctor-{secrets.token_hex(6)}"
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()} - {"lo", "bonding_masters"}
    mounts = _mounts()
    said: dict[str, bytes] = {}
    trouble = "the sandbox ended before it"
    os.environ[CANARY] = f"{word}-secret"
    victim = subprocess.Popen([sys.executable, "-c", "input()", word], stdin=subprocess.PIPE)
    try:
        with engine.sandbox(plan(word, " ".join(sorted(interfaces))), "doctor") as frames:
            for frame in frames:
                if isinstance(frame, Piece) and frame.path.startswith("outputs/"):
                    said[frame.path] = said.get(frame.path, b"") + frame.data
                elif isinstance(frame, Fault):
                    trouble = frame.message
    except EngineError as error:
        trouble = str(error)
    finally:
        del os.environ[CANARY]
        alive = victim.poll() is None
        victim.kill()
        victim.wait()
    found = {one.id: _answer(said, one.id, trouble) for one in ATTEMPTS}
    if not alive:
        found["processes"] = Answer(True, "a process of this host was ended")
    written = [folder / word for folder in (Path("/etc"), Path("/usr")) if (folder / word).exists()]
    for path in written:
        with contextlib.suppress(OSError):
            path.unlink()
    if written:
        found["files"] = Answer(True, "a file of the lab's was on this host")
    if _mounts() != mounts:
        found["mount"] = Answer(True, "a mount of the lab's was on this host")
    return found


def _mounts() -> int:
    """How many mounts there are on this host where attempts make some."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return sum(line.split()[4] in ("/etc", "/tmp/doctor") for line in lines)


def _answer(said: Mapping[str, bytes], attempt: str, trouble: str) -> Answer:
    out = said.get(f"outputs/{attempt}.stdout", b"").decode("utf-8", "replace").strip()
    if out in ("yes", "no"):
        return Answer(out == "yes")
    errors = said.get(f"outputs/{attempt}.stderr", b"").decode("utf-8", "replace").strip().splitlines()
    return Answer(None, errors[-1] if errors else trouble)


def survey() -> Iterator[tuple[Kind, dict[str, Answer] | str]]:
    """Each engine's answers, or why it could not be asked."""
    from labrun.cli.engines import find_daemon

    yield "vm", _asked(_vm)
    yield "native", _asked(_native)
    try:
        client, why_not = find_daemon()
    except EngineError as error:
        client, why_not = None, str(error)
    yield "docker least", why_not if client is None else _asked(partial(_docker, client, "least"))
    yield "docker privileged", why_not if client is None else _asked(partial(_docker, client, "privileged"))


def _asked(engine: Callable[[], Any]) -> dict[str, Answer] | str:
    from labrun.image.errors import ImageError

    try:
        with engine() as running:
            return tried(running)
    except (EngineError, ImageError) as error:
        return str(error)


def _vm() -> Any:
    from labrun.cli.engines import machine, see_to_qemu
    from labrun.engines.vm import VmEngine
    from labrun.image.kept import find_rootfs
    from labrun.image.kernel import find_kernel
    from labrun.image.recipe import load_recipe

    qemu, recipe = see_to_qemu(), load_recipe()
    kernel, rootfs = find_kernel(None, lambda text: None), find_rootfs(recipe)
    if rootfs is None:
        raise EngineError("image-missing", "the lab image is not unpacked yet: labrun image build --engine native")
    return VmEngine(machine(qemu, kernel, rootfs), recipe.tag, f"doctor-{secrets.token_hex(3)}")


def _native() -> Any:
    from labrun.cli.checkup_native import userland_at_hand
    from labrun.engines.cgroups import find_limits
    from labrun.engines.native import NativeEngine

    return NativeEngine(userland_at_hand(), f"doctor-{secrets.token_hex(3)}", find_limits())


@contextlib.contextmanager
def _docker(client: Any, isolation: Any) -> Iterator[Any]:
    from labrun.engines.docker import DockerEngine
    from labrun.image.build import find_image
    from labrun.image.recipe import load_recipe

    image = find_image(client, load_recipe())
    if image is None:
        raise EngineError("image-missing", "the lab image is not built yet: labrun image build")
    with DockerEngine(client, image, image, isolation, f"doctor-{secrets.token_hex(3)}") as engine:
        if engine.info.isolation != isolation:
            raise EngineError("sandbox-refused", engine.info.note or "refused")
        yield engine


def table() -> str:
    """What each engine promises, as SECURITY.md has it, in Markdown."""
    lines = [f"| a lab tries to | {' | '.join(TITLES[kind] for kind in KINDS)} |", f"|{'---|' * (len(KINDS) + 1)}"]
    for one in ATTEMPTS:
        lines.append(f"| {one.tries} | {' | '.join(_promise(one, kind) for kind in KINDS)} |")
    return "\n".join(lines) + "\n"


def _promise(attempt: Attempt, kind: Kind) -> str:
    if kind not in attempt.open:
        return "no"
    return "**yes**" + (f", {attempt.open[kind]}" if attempt.open[kind] else "")


if __name__ == "__main__":
    print(table(), end="")
