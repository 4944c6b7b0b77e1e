"""The kernel calls behind nodes: unshare, setns, mount. ctypes, for Python 3.11 has none of them.

All of them act on the calling thread alone; `man 2 setns`, `man 2 unshare`, `man 2 mount`.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_FS = 0x00000200
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, CAP_MKNOD = 1, 4, 24, 27
_SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}

_libc = ctypes.CDLL(None, use_errno=True)
_held_libc = ctypes.PyDLL(None, use_errno=True)  # keeps Python's lock, which the child of a clone must own


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    words = [text.encode() if text is not None else None for text in (source, target, fstype, data)]
    _check(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount on {target}")


def unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_to(root: str) -> None:
    """The calling process has ``root``, a mount, as its root, and the old root is out of its mount namespace."""
    os.chdir(root)
    _check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")  # pivot_root(2), NOTES
    unmount(".")
    os.chdir("/")


def prctl(option: int, value: int, data: bytes | None = None) -> None:
    _check(_libc.prctl(option, value, data, 0, 0), f"prctl {option}")


def give_up_mknod() -> None:
    """The calling thread and all that it starts can make no device node: with one, the host's disk is a mount away.

    `man 2 capset`: version 3, two words a set; `man 2 prctl`, PR_CAPBSET_DROP. Where we lack it, nothing is lost.
    """
    _libc.prctl(PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of the lower 32; then of the upper
    if _libc.capget(header, sets) == 0:
        for place in range(3):
            sets[place] &= ~(1 << CAP_MKNOD) & 0xFFFFFFFF
        _check(_libc.capset(header, sets), "capset")


def clone(flags: int) -> int:
    """As os.fork, of a process with one thread. Of the libraries nobody in the child is told."""
    child: int = _held_libc.syscall(_SYS_CLONE[os.uname().machine], flags | signal.SIGCHLD, 0, 0, 0, 0)
    if child < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return child


def own(kind: str, folder: int | None = None) -> int:
    """An open descriptor of the calling thread's namespace: net, mnt, uts or pid.

    ``folder``: the open /proc/PID/ns of the caller, where /proc is that of another pid namespace.
    """
    path = kind if folder is not None else f"/proc/thread-self/ns/{kind}"
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)


@contextmanager
def kept(*kinds: tuple[str, int], folder: int | None = None) -> Iterator[None]:
    """Afterwards the calling thread is in the namespaces where it was before. ``folder``: as in `own`."""
    before = [(own(name, folder), flag) for name, flag in kinds]
    try:
        yield
    finally:
        for fd, flag in before:
            if flag == CLONE_NEWNS:
                unshare(CLONE_FS)  # setns to a mount namespace needs the thread's own root and cwd
            setns(fd, flag)
            os.close(fd)
