"""The kernel calls behind nodes: unshare, setns, mount. ctypes, for Python 3.11 has none of them.

All of them act on the calling thread alone; `man 2 setns`, `man 2 unshare`, `man 2 mount`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20
MNT_DETACH = 2
PR_CAPBSET_DROP, CAP_MKNOD = 24, 27

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, fstype: str | None, flags: int) -> None:
    kind = fstype.encode() if fstype else None
    _check(_libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), None), f"mount on {target}")


def unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


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


def own(kind: str) -> int:
    """An open descriptor of the calling thread's namespace: net, mnt or uts."""
    return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def kept(*kinds: tuple[str, int]) -> Iterator[None]:
    """Afterwards the calling thread is in the namespaces where it was before."""
    before = [(own(name), flag) for name, flag in kinds]
    try:
        yield
    finally:
        for fd, flag in before:
            if flag == CLONE_NEWNS:
                unshare(CLONE_FS)  # setns to a mount namespace needs the thread's own root and cwd
            setns(fd, flag)
            os.close(fd)
