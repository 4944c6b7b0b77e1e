"""vm: a virtual machine a plan, with a kernel of its own, under QEMU; no daemon, no root, no network.

QEMU itself runs in a native sandbox (see launcher.py): an account of no rights, namespaces of its own, limits, and this
host's programs read-only; so it ends with the runner and leaves nothing. Its stdin and stdout are the guest's
virtio-serial port, on which the same agent speaks as everywhere. Its stderr has the guest's console: the kernel's
warnings and the agent's log.

The guest has two read-only disks: the lab image, under a tmpfs, and the kernel's modules. Labs run in there as in a
native sandbox, in a user namespace below the agent's: so they see the same on this engine.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from labrun.engines.base import EngineError, EngineInfo, Frame
from labrun.engines.cgroups import Limits
from labrun.engines.native import NativeEngine, sandbox_job
from labrun.engines.shipment import agent_command
from labrun.engines.userland import host_userland
from labrun.protocol.frames import Piece
from labrun.protocol.record import dataclass

MEMORY_MIB = 768  # with QEMU's own it stays below the limit of a sandbox
_TRANSLATED_MIB = 64
_THREADS = 600  # of all, the kernel's own too
_BOOT_S = 60.0  # on a busy machine; an emulated processor needs seconds where there is time for it
# The machine and processor for each architecture, and what the console is called there.
MACHINES = {"x86_64": ("pc", "max,-la57", "ttyS0"), "aarch64": ("virt", "max", "ttyAMA0")}
# panic() and die() of the kernel. The second does not end the machine by itself: oops=panic in its command line does.
_CRASHED = ("Kernel panic - not syncing", "Oops:", "BUG: unable to handle")
_CONSOLE = 16384
# Warnings are evidence, a crash is the end, and an emulated timer that is late on a busy machine is none
# (Documentation/admin-guide/kernel-parameters.txt).
_KERNEL_OPTIONS = "loglevel=5 panic=-1 oops=panic random.trust_cpu=on no_timer_check"
KERNEL = "/run/labrun/kernel.json"  # environment.py reads it
# Reading from a port that QEMU has not opened yet gives an end of file, and poll a hang-up (virtio_console.c).
_CONNECTED = """import select, time
port = select.poll()
port.register(0, select.POLLIN)
while any(events & select.POLLHUP for _, events in port.poll(0)): time.sleep(0.01)
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a virtual machine is made of. The four files must be for everybody to read.

    ``root`` and ``modules`` are squashfs images: the lab image's root file system, and `/lib/modules/RELEASE`.
    """

    qemu: str
    release: str
    package: str
    vmlinuz: Path
    initramfs: Path
    modules: Path
    root: Path


def find_qemu() -> str | None:
    """QEMU for this machine's architecture."""
    return shutil.which(f"qemu-system-{platform.machine()}")


class VmEngine(NativeEngine):
    """Machines with one kernel."""

    grace_s = _BOOT_S

    def __init__(self, machine: Machine, image: str, run_id: str, limits: Limits | None = None, ahead: int = 1) -> None:
        """``image``: the name of the lab image that ``machine.root`` was made of."""
        host = host_userland()
        files = (machine.vmlinuz, machine.initramfs, machine.modules, machine.root)
        super().__init__(replace(host, binds=(*host.binds, *map(str, files))), run_id, limits, ahead=ahead)
        self._machine = machine
        self._image = image
        self._command = qemu_command(machine)

    @property
    def info(self) -> EngineInfo:
        return replace(
            super().info,
            name="vm",
            version=qemu_version(self._machine.qemu),
            isolation="virtual-machine",
            note=f"{self._machine.package}; the processor is emulated (TCG); {super().info.note}",
            kernel=self._machine.release,
            image=self._image,
            userland="image",
        )

    def _job(self, name: str) -> dict[str, object]:
        job = sandbox_job(self._userland, self._limits, name)
        return {**job, "command": self._command, "files": []}

    def _passed_on(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        return _until_done(frames)


def _until_done(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The machine is not asked to switch itself off: what it had to say is said. A crashed kernel is its own reason."""
    console = b""
    try:
        for frame in frames:
            if isinstance(frame, Piece) and frame.path == "agent.log":
                console = (console + frame.data)[-_CONSOLE:]
            yield frame
            if not isinstance(frame, Piece) and frame.KIND == "done":
                return
    except EngineError as error:
        crash = crash_in(console.decode(errors="replace"))
        if crash is None:
            raise
        raise EngineError("kernel-crashed", f"the kernel of the virtual machine crashed: {crash}") from error


def crash_in(console: str) -> str | None:
    """The line in which a kernel says that it crashed, without its time."""
    for line in console.splitlines():
        words = line.strip().partition("] ")[2] if line.lstrip().startswith("[") else line.strip()
        if any(word in line for word in _CRASHED):
            return words[:300]
    return None


def qemu_command(machine: Machine) -> tuple[str, ...]:
    """Under a shell that hands stderr on as descriptor 3: QEMU does not let the first three be named."""
    kind, processor, console = MACHINES[platform.machine()]
    words = [
        machine.qemu, "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-monitor", "none", "-nic", "none",
        "-machine", kind, "-cpu", processor, "-smp", "1", "-m", str(MEMORY_MIB),
        "-accel", f"tcg,tb-size={_TRANSLATED_MIB}",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-kernel", str(machine.vmlinuz), "-initrd", str(machine.initramfs),
        "-append", f"console={console} {_KERNEL_OPTIONS}",
        "-add-fd", "fd=3,set=1",
        "-chardev", "file,id=console,path=/dev/fdset/1,append=on", "-serial", "chardev:console",
        "-chardev", "stdio,id=frames,signal=off",
        "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=frames,name=labrun",
    ]  # fmt: skip
    for number, disk in enumerate((machine.root, machine.modules)):
        words += ["-drive", f"if=none,id=disk{number},file={_comma(disk)},format=raw,readonly=on"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    return ("/bin/sh", "-c", 'exec "$@" 3>&2', "sh", *words)


def _comma(path: Path) -> str:
    return str(path).replace(",", ",,")


def init_script(release: str, identity: Mapping[str, str]) -> str:
    """The guest's first program: mounts, then the agent on the port. When the agent ends, the machine is off.

    ``identity``: what the agent shall say about the kernel.
    """
    python, *words = agent_command("/usr/bin/python3", nested=True)
    words[2] = _CONNECTED + words[2].replace("import sys; n =", "import sys\nn =", 1)
    agent = shlex.join((python, *words))
    # A busybox whose name does not begin with "busybox" takes that name for the program that is wanted.
    inside = f"""b=/usr/sbin/busybox-labrun
$b mount -t tmpfs -o mode=755 run /run; $b mount -t tmpfs -o mode=1777 tmp /tmp
$b mkdir -p /dev/pts /dev/shm /dev/net /run/netns /run/labrun
echo {shlex.quote(json.dumps(dict(identity)))} > {KERNEL}
$b mount -t devpts -o ptmxmode=0666,mode=620 devpts /dev/pts; $b mount -t tmpfs -o mode=1777 shm /dev/shm
[ -e /dev/net/tun ] || $b mknod -m 666 /dev/net/tun c 10 200
$b ln -sf /proc/self/fd /dev/fd; $b ln -sf /proc/self/fd/0 /dev/stdin
$b ln -sf /proc/self/fd/1 /dev/stdout; $b ln -sf /proc/self/fd/2 /dev/stderr
echo {_THREADS} > /proc/sys/kernel/threads-max
$b hostname lab; echo lab > /etc/hostname; : > /etc/resolv.conf
printf '127.0.0.1\\tlocalhost\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n' > /etc/hosts
while [ ! -c /dev/vport0p1 ]; do $b usleep 5000; done
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 {agent} 0<>/dev/vport0p1 1>&0
echo "labrun: the agent ended with status $?"
$b usleep 300000
$b poweroff -f
"""
    return f"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev; $b mount -t proc proc /proc; $b mount -t sysfs sys /sys
for m in /m/*; do $b insmod $m || echo "labrun: $m cannot be loaded"; done
while [ ! -e /dev/vdb ]; do $b usleep 5000; done
$b mount -t squashfs -o ro /dev/vda /lower
$b mount -t tmpfs rw /rw; $b mkdir /rw/u /rw/w
$b mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w over /new
$b mkdir -p /new/lib/modules/{release} /new/sys /new/proc /new/dev /new/run /new/tmp
$b mount -t squashfs -o ro /dev/vdb /new/lib/modules/{release}
$b cp /bin/busybox /new/usr/sbin/busybox-labrun
[ -e /new/usr/sbin/modprobe ] || $b ln -s busybox-labrun /new/usr/sbin/modprobe
for d in dev proc sys; do $b mount -o move /$d /new/$d; done
exec $b switch_root /new /usr/sbin/busybox-labrun sh -c {shlex.quote(inside)}
"""


def qemu_version(qemu: str) -> str:
    """`QEMU emulator version 7.2.22 (Debian ...)`."""
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "qemu"
    words = done.stdout.split()
    return f"qemu {words[3]}" if len(words) > 3 else "qemu"
