"""The root file system that a lab's commands see: what the sandbox has below, memory above.

The agent's own files are not in it: its code, the evidence, its /proc. Nothing that a lab writes gets into the agent's
root: it goes to one tmpfs, which has a size. overlayfs: Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labrun.agent import namespaces as ns

if TYPE_CHECKING:
    from labrun.protocol.actions import Machine, Put

TUN = Path("/dev/net/tun")
STAGE = Path("/run/labrun-lab")
BESIDE = Path("/run/labrun-files")  # what the agent puts there is at LAB_FILES for the lab
LAB_FILES = "/lab"
BYTES, INODES = 512 * 1024**2, 262_144  # of all that a lab writes into files
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
FILES = (("/etc/hosts", HOSTS), ("/etc/hostname", "lab\n"), ("/etc/resolv.conf", ""))
OVERLAY = "overlay"
_CAREFUL = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")
_LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


def enter_lab_root(binds: tuple[str, ...], machine: Machine | None = None, hostname: str = "lab") -> None:
    """Build it, and go there, in a mount namespace of the caller's own.

    ``binds``: what is mounted below / and belongs to the lab too. /proc is that of the caller's pid namespace.
    ``machine``: of a node of its own, what it has on top.
    """
    os.umask(0o022)
    STAGE.mkdir(exist_ok=True)
    ns.mount("lab", str(STAGE), "tmpfs", ns.MS_NODEV, f"size={BYTES},nr_inodes={INODES},mode=755")
    root = _layers(None if machine is None else _puts(machine, hostname), binds)
    for name, mode in (("run", 0o755), ("tmp", 0o1777)):
        _own_folder(name, root / name, mode)
    _mount_point(root / "proc")
    ns.mount("proc", str(root / "proc"), "proc", _CAREFUL)
    _mount_point(root / "sys")
    ns.mount("sysfs", str(root / "sys"), "sysfs", _CAREFUL)
    if os.statvfs(root / "sys").f_flag & os.ST_RDONLY:
        # A container's: then no user namespace below may mount a writable one for a node (mount_namespaces(7)).
        ns.mount("", str(root / "sys"), None, ns.MS_REMOUNT | _CAREFUL)
    _devices(root / "dev")
    for path in (*binds, *_python(binds)):
        target = Path(f"{root}{path}")
        if Path(path).is_dir():
            _mount_point(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        if (over := STAGE / f"over{path.replace('/', '-')}").exists():
            _overlay(path, over, over.with_name(f"work{path.replace('/', '-')}"), target)
        else:
            ns.mount(path, str(target), None, ns.MS_BIND | ns.MS_REC)
    with contextlib.suppress(OSError):  # without overlay there is no place for it
        _files(Path(f"{root}{LAB_FILES}"))
    ns.pivot_to(str(root))
    for name, text in FILES if machine is None else ():
        _put(Path(name), text)


def _files(target: Path) -> None:
    """The lab's files, read-only for it; the agent may still be going to put them there."""
    _mount_point(target)
    ns.mount(str(BESIDE), str(target), None, ns.MS_BIND)
    ns.mount("", str(target), None, ns.MS_REMOUNT | ns.MS_BIND | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV)


def _python(binds: tuple[str, ...]) -> tuple[str, ...]:
    """Where the interpreter is, if one of the lab's own folders would hide it: steps run it, too."""
    found = (sys.base_prefix, sys.prefix, str(Path(sys.executable).parents[1]))  # -S does not read pyvenv.cfg
    inside = {path for path in found if path.startswith(("/tmp/", "/run/"))}
    return tuple(path for path in sorted(inside) if not any(f"{path}/".startswith(f"{bind}/") for bind in binds))


def make_tun_device() -> None:
    """/dev/net/tun where the engine allows the device but did not make it. Without it, links of type tun fail."""
    if not TUN.exists():
        with contextlib.suppress(OSError):
            TUN.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(TUN, 0o666 | stat.S_IFCHR, os.makedev(10, 200))  # Documentation/admin-guide/devices.txt


def _puts(machine: Machine, hostname: str) -> tuple[Put, ...]:
    from labrun.protocol.actions import Put

    hosts = HOSTS + "".join(f"{address}\t{name}\n" for address, name in machine.hosts)
    if hostname not in (name for _, name in machine.hosts):
        hosts += f"127.0.1.1\t{hostname}\n"
    texts = (("/etc/hosts", hosts), ("/etc/hostname", f"{hostname}\n"), ("/etc/resolv.conf", ""))
    return (*(Put(path, text=text) for path, text in texts), *machine.files)


def _overlay(lower: str, upper: Path, work: Path, root: Path) -> None:
    """Raises OSError where the kernel has no overlay for us."""
    work.mkdir(exist_ok=True)
    trouble: OSError | None = None
    for extra in (",userxattr", ""):
        try:
            ns.mount("lab", str(root), OVERLAY, 0, f"lowerdir={lower},upperdir={upper},workdir={work}{extra}")
            return
        except OSError as error:
            trouble = error
    assert trouble is not None
    raise trouble


def _layers(puts: tuple[Put, ...] | None, binds: tuple[str, ...] = ()) -> Path:
    """The sandbox's root below and the tmpfs above. Without overlay (before Linux 5.11), it can be read alone.

    ``puts``: what a machine has in its upper layer; it has to have one.
    """
    root, upper = STAGE / "root", STAGE / "upper"
    for folder in (root, upper):
        folder.mkdir()
    if puts is not None:
        from labrun.agent.node_files import OWN, Upper, fill, move_out

        for name in OWN:
            (STAGE / name).mkdir()
        fill(puts, Upper(upper, STAGE, BESIDE))
        for path in binds:
            move_out(upper, path, STAGE)
    try:
        _overlay("/", upper, STAGE / "work", root)
        return root
    except OSError as error:
        if puts is not None:
            raise OSError(error.errno, f"a node of its own needs overlayfs: {error.strerror}") from error
    ns.mount("/", str(root), None, ns.MS_BIND)
    with contextlib.suppress(OSError):  # it is read-only already, and locked
        ns.mount("", str(root), None, ns.MS_REMOUNT | ns.MS_BIND | ns.MS_RDONLY)
    import shutil

    for name in ("etc", "root", "var/tmp"):
        copy = STAGE / f"copy-{Path(name).name}"
        shutil.copytree(root / name, copy, symlinks=True, copy_function=shutil.copyfile)
        ns.mount(str(copy), str(root / name), None, ns.MS_BIND)
    return root


def _own_folder(name: str, target: Path, mode: int) -> None:
    """A folder of the one tmpfs."""
    own = STAGE / name
    own.mkdir(exist_ok=True)
    own.chmod(mode)
    _mount_point(target)
    ns.mount(str(own), str(target), None, ns.MS_BIND)


def _devices(folder: Path) -> None:
    _mount_point(folder)
    ns.mount("dev", str(folder), "tmpfs", ns.MS_NOSUID, "size=64k,mode=755")
    for name in _DEVICES:
        source, target = Path("/dev", name), folder / name
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            target.touch()
            ns.mount(str(source), str(target), None, ns.MS_BIND)
    _own_folder("shm", folder / "shm", 0o1777)
    (folder / "pts").mkdir()
    options = "newinstance,ptmxmode=0666,mode=620"
    ns.mount("devpts", str(folder / "pts"), "devpts", ns.MS_NOSUID | ns.MS_NOEXEC, options)
    for link, text in _LINKS:
        (folder / link).symlink_to(text)


def _mount_point(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def _put(path: Path, text: str) -> None:
    """A small file of ours, over a read-only one if need be."""
    real = path.resolve()
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(text, encoding="utf-8")
    except OSError:
        if not real.exists():
            return  # a host without it, which we may not give it
        copy = Path("/run/.labrun-file")
        copy.write_text(text, encoding="utf-8")
        ns.mount(str(copy), str(real), None, ns.MS_BIND)
        copy.unlink()
