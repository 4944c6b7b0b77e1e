"""Nodes: network namespaces with a name, also under /run/netns, so that `ip netns exec` finds them in any command.

A command of a node sees the node's own /sys and host name too (as `ip netns exec` does for /sys), through a mount
and UTS namespace made when the first command runs there. All of them are the lab's (see lab_side.py). Everything dies
with the sandbox. A node that is a machine has more of its own: a lab side for itself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from labrun.agent import namespaces as ns
from labrun.agent.lab_side import LabSide
from labrun.agent.settings import Settings
from labrun.protocol.actions import Machine


class Nodes:
    """The nodes of one plan, by name. Used from the main thread only."""

    def __init__(self, lab: LabSide) -> None:
        self.lab = lab
        self._net: dict[str, int] = {}
        self._sides: dict[str, LabSide] = {}  # of nodes that are machines
        self._views: dict[str, tuple[int, int]] = {}
        self._settings = Settings()
        self._spare: int | None = None

    def settings(self) -> dict[str, str]:
        """What no node of this sandbox can be given as the table says. The first node gets the namespace looked at."""
        if self._spare is None:
            self._spare = self._new()
        return self._settings.left

    def prepare(self, machines: Iterable[tuple[str, Machine]]) -> None:
        """Several machines get ready at a time: `add` then waits for its own."""
        for name, machine in machines:
            self._sides[name] = self.lab.machine(name, machine)

    def _new(self, side: LabSide | None = None) -> int:
        fd = (side or self.lab).make_network()
        with ns.kept(("net", ns.CLONE_NEWNET)):
            ns.setns(fd, ns.CLONE_NEWNET)
            self._settings.pin()
        return fd

    def add_machine(self, name: str, machine: Machine) -> None:
        """A node with a root file system and processes of its own. Raises OSError with what could not be made."""
        if name in self._net:
            raise FileExistsError(errno.EEXIST, f"there is a node named {name}")
        if name not in self._sides:
            self.prepare([(name, machine)])
        self._sides[name].ready()
        self._net[name] = self._new(self._sides[name])

    def add(self, name: str) -> None:
        """A bare namespace, with the settings of `protocol.settings`. Raises FileExistsError if the name is taken."""
        spare, self._spare = self._spare, None
        network = self._new() if spare is None else spare
        try:
            self.lab.name_network(name, network)
        except OSError:
            self._spare = network
            raise
        self._net[name] = network

    def delete(self, name: str) -> None:
        """The name goes; the namespace itself lives on while a process is in it, as with `ip netns delete`."""
        os.close(self.netns_fd(name))
        del self._net[name]
        for fd in self._views.pop(name, ()):
            os.close(fd)
        side = self._sides.pop(name, None)
        if side is not None:
            side.end()
        else:
            self.lab.remove_name(name)

    def netns_fd(self, name: str) -> int:
        """Also one that a command made with `ip netns add`. Raises FileNotFoundError with the name."""
        if name not in self._net:
            try:
                self._net[name] = self.lab.open_name(name)
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

    def start(self, name: str, argv: tuple[str, ...], environment: dict[str, str], files: dict[int, int]) -> int:
        """A command of the node, with the node's own /sys and host name: its pid. See `LabSide.start`."""
        network = self.netns_fd(name)
        side = self._sides.get(name, self.lab)
        if name not in self._views:
            self._views[name] = side.make_view(name, network)
        mounts, names = self._views[name]
        return side.start(argv, environment, files, (network, names, mounts))
