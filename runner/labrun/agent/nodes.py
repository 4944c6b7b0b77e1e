"""Nodes: network namespaces with a name, also under /run/netns, so that `ip netns exec` finds them in any command.

A command of a node sees the node's own /sys and host name too (as `ip netns exec` does for /sys), through a mount
and UTS namespace made when the first command runs there. Everything dies with the sandbox.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labrun.agent import namespaces as ns
from labrun.agent.settings import Settings

RUN_NETNS = Path("/run/netns")
TUN = Path("/dev/net/tun")


class Nodes:
    """The nodes of one plan, by name. Used from the main thread only."""

    def __init__(self) -> None:
        self._net: dict[str, int] = {}
        self._views: dict[str, tuple[int, int]] = {}
        self._settings = Settings()
        self._spare: int | None = None

    def settings(self) -> dict[str, str]:
        """What no node of this sandbox can be given as the table says. The first node gets the namespace looked at."""
        if self._spare is None:
            self._spare = self._new()
        return self._settings.left

    def _new(self) -> int:
        with ns.kept(("net", ns.CLONE_NEWNET)):
            ns.unshare(ns.CLONE_NEWNET)
            self._settings.pin()
            return ns.own("net")

    def prepare(self) -> None:
        """/run/netns as a shared mount, as `ip netns add` makes it, so that all nodes see the same names."""
        RUN_NETNS.mkdir(parents=True, exist_ok=True)
        ns.mount(str(RUN_NETNS), str(RUN_NETNS), None, ns.MS_BIND | ns.MS_REC)
        ns.mount("", str(RUN_NETNS), None, ns.MS_SHARED | ns.MS_REC)
        make_tun_device()
        ns.give_up_mknod()

    def add(self, name: str) -> None:
        """A bare namespace, with the settings of `protocol.settings`. Raises FileExistsError if the name is taken."""
        place = RUN_NETNS / name
        place.touch(exist_ok=False)
        spare, self._spare = self._spare, None
        self._net[name] = self._new() if spare is None else spare
        ns.mount(f"/proc/self/fd/{self._net[name]}", str(place), None, ns.MS_BIND)

    def delete(self, name: str) -> None:
        """The name goes; the namespace itself lives on while a process is in it, as with `ip netns delete`."""
        os.close(self.netns_fd(name))
        del self._net[name]
        for fd in self._views.pop(name, ()):
            os.close(fd)
        ns.unmount(str(RUN_NETNS / name))
        (RUN_NETNS / name).unlink()

    def netns_fd(self, name: str) -> int:
        """Also one that a command made with `ip netns add`. Raises FileNotFoundError with the name."""
        if name not in self._net:
            try:
                self._net[name] = os.open(RUN_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, f"no node named {name}") from error
        return self._net[name]

    def fds(self) -> dict[str, int]:
        """Every node that is known, with an open descriptor of its network namespace."""
        return dict(self._net)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """The calling thread is in the node's network: what it opens there stays there."""
        fd = self.netns_fd(name)
        with ns.kept(("net", ns.CLONE_NEWNET)):
            ns.setns(fd, ns.CLONE_NEWNET)
            yield

    @contextmanager
    def at_home(self, name: str) -> Iterator[None]:
        """As `inside`, with the node's own /sys and host name: for starting its processes."""
        with ns.kept(("net", ns.CLONE_NEWNET), ("mnt", ns.CLONE_NEWNS), ("uts", ns.CLONE_NEWUTS)):
            ns.setns(self.netns_fd(name), ns.CLONE_NEWNET)
            if name in self._views:
                mounts, uts = self._views[name]
                ns.unshare(ns.CLONE_FS)
                ns.setns(mounts, ns.CLONE_NEWNS)
                ns.setns(uts, ns.CLONE_NEWUTS)
            else:
                ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWUTS)
                ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
                socket.sethostname(name)
                self._views[name] = (ns.own("mnt"), ns.own("uts"))
            yield


def make_tun_device() -> None:
    """/dev/net/tun where the engine allows the device but did not make it. Without it, links of type tun fail."""
    if not TUN.exists():
        with contextlib.suppress(OSError):
            TUN.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(TUN, 0o666 | stat.S_IFCHR, os.makedev(10, 200))  # Documentation/admin-guide/devices.txt
