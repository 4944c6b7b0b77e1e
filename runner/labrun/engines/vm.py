"""vm: a virtual machine a plan, with a kernel of its own, under QEMU; no daemon, no root, no network.

QEMU itself runs in a native sandbox (see launcher.py): an account of no rights, namespaces of its own, limits, this host's
programs read-only; so it ends with the runner and leaves nothing. Its stdin and stdout are the guest's virtio-serial port,
on which the same agent speaks as everywhere. Its stderr has the guest's console: the kernel's warnings and the agent's log.

The guest has two read-only disks: the lab image, under a tmpfs, and the kernel's modules. The processor is emulated (TCG).
"""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from labrun.engines.base import EngineError, EngineInfo, Frame
from labrun.engines.cgroups import Limits
from labrun.engines.native import NativeEngine, sandbox_job
from labrun.engines.shipment import agent_command
from labrun.engines.userland import host_userland
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Plan

MEMORY_MIB = 768  # with QEMU's own it stays below the limit of a sandbox
_TRANSLATED_MIB = 64
# The machine and processor for each architecture, and what the console is called there.
_MACHINES = {"x86_64": ("pc", "max,-la57", "ttyS0"), "aarch64": ("virt", "max", "ttyAMA0")}
_OOPS = (b"Kernel panic - not syncing", b"Oops:", b"BUG: unable to handle")
# Reading from a port that QEMU has not opened yet gives an end of file, and poll a hang-up (virtio_console.c).
_CONNECTED = """import select, time
port = select.poll()
port.register(0, select.POLLIN)
while any(events & select.POLLHUP for _, events in port.poll(0)): time.sleep(0.01)
"""


def find_qemu() -> str | None:
    """QEMU for this machine's architecture."""
    return shutil.which(f"qemu-system-{platform.machine()}")


class VmEngine(NativeEngine):
    """Machines with one kernel. ``vmlinuz``, ``initramfs``, ``modules`` and ``image`` are files that everybody can read."""

    def __init__(
        self,
        qemu: str,
        release: str,
        package: str,
        files: tuple[Path, Path, Path, Path],
        image: str,
        run_id: str,
        limits: Limits | None = None,
        ahead: int = 1,
    ) -> None:
        vmlinuz, initramfs, modules, root = files
        host = host_userland()
        super().__init__(replace(host, binds=(*host.binds, *map(str, files))), run_id, limits, ahead=ahead)
        self._qemu = qemu
        self._release = release
        self._package = package
        self._image = image
        self._command = qemu_command(qemu, vmlinuz, initramfs, (root, modules))

    @property
    def info(self) -> EngineInfo:
        return replace(
            super().info,
            name="vm",
            version=_version(self._qemu),
            isolation="virtual-machine",
            note=f"{self._package}; the processor is emulated (TCG); {super().info.note}",
            kernel=self._release,
            image=self._image,
            userland="image",
        )

    def _job(self, name: str) -> dict[str, object]:
        job = sandbox_job(self._userland, self._limits, name)
        return {**job, "command": self._command, "files": []}

    @contextmanager
    def sandbox(self, plan: Plan, name: str) -> Iterator[Iterator[Frame]]:
        """See `Engine.sandbox`."""
        with super().sandbox(plan, name) as frames:
            yield _until_done(frames)


def _until_done(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The machine is not asked to switch itself off: what it had to say is said. A crash of its kernel has its own words."""
    console = b""
    try:
        for frame in frames:
            if isinstance(frame, Piece) and frame.path == "agent.log":
                console = (console + frame.data)[-16384:]
            yield frame
            if not isinstance(frame, Piece) and frame.KIND == "done":
                return
    except EngineError as error:
        lines = console.decode(errors="replace").splitlines()
        crash = next((line.strip() for line in lines if any(word.decode() in line for word in _OOPS)), None)
        if crash is None:
            raise
        raise EngineError("sandbox-died", f"the kernel of the virtual machine crashed: {crash}") from error


def qemu_command(qemu: str, vmlinuz: Path, initramfs: Path, disks: tuple[Path, Path]) -> tuple[str, ...]:
    """Under a shell that hands stderr on as descriptor 3: QEMU does not let the first three be named."""
    machine, processor, console = _MACHINES[platform.machine()]
    words = [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
        "-machine", machine, "-cpu", processor, "-smp", "1", "-m", str(MEMORY_MIB),
        "-accel", f"tcg,tb-size={_TRANSLATED_MIB}",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-kernel", str(vmlinuz), "-initrd", str(initramfs),
        "-append", f"console={console} loglevel=5 panic=-1 oops=panic random.trust_cpu=on",
        "-add-fd", "fd=3,set=1",
        "-chardev", "file,id=console,path=/dev/fdset/1,append=on", "-serial", "chardev:console",
        "-chardev", "stdio,id=frames,signal=off",
        "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=frames,name=labrun",
    ]  # fmt: skip
    for number, disk in enumerate(disks):
        words += ["-drive", f"if=none,id=disk{number},file={_comma(disk)},format=raw,readonly=on"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number}"]
    return ("/bin/sh", "-c", 'exec "$@" 3>&2', "sh", *words)


def _comma(path: Path) -> str:
    return str(path).replace(",", ",,")


def init_script(release: str) -> str:
    """The guest's first program: mounts, then the agent on the port. When the agent ends, the machine is off."""
    python, *words = agent_command("/usr/bin/python3")
    words[2] = _CONNECTED + words[2].replace("import sys; n =", "import sys\nn =", 1)
    agent = shlex.join((python, *words))
    # A busybox whose name does not begin with "busybox" takes that name for the program that is wanted.
    inside = f"""b=/usr/sbin/busybox-labrun
$b mount -t tmpfs -o mode=755 run /run; $b mount -t tmpfs -o mode=1777 tmp /tmp
$b mkdir -p /dev/pts /dev/shm /dev/net /run/netns
$b mount -t devpts -o ptmxmode=0666,mode=620 devpts /dev/pts; $b mount -t tmpfs -o mode=1777 shm /dev/shm
[ -e /dev/net/tun ] || $b mknod -m 666 /dev/net/tun c 10 200
$b ln -sf /proc/self/fd /dev/fd; $b ln -sf /proc/self/fd/0 /dev/stdin
$b ln -sf /proc/self/fd/1 /dev/stdout; $b ln -sf /proc/self/fd/2 /dev/stderr
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


def _version(qemu: str) -> str:
    """`QEMU emulator version 7.2.22 (Debian ...)`."""
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "qemu"
    words = done.stdout.split()
    return f"qemu {words[3]}" if len(words) > 3 else "qemu"
