"""Whether the kernel's state changed: rtnetlink's multicast groups of some nodes, waited for together (rtnetlink(7)).

Links, addresses, routes, rules and neighbours report each change; sockets, nft and counters do not.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterable
from types import TracebackType

from labrun.agent.nodes import Nodes

# linux/rtnetlink.h: RTNLGRP_* less one: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE,
# IPV6_RULE
_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 8, 9, 11, 19))
_BUFFER = 1 << 20


class Changes:
    """A context manager. Whoever looks after `wait` says so sees the change, and all before it."""

    def __init__(self, nodes: Nodes, names: Iterable[str]) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for name in names:
            with contextlib.suppress(OSError), nodes.inside(name):
                self._open()

    def _open(self) -> None:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sockets.append(made)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind((0, _GROUPS))
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ)

    def __enter__(self) -> Changes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for each in self._sockets:
            each.close()

    def wait(self, timeout_s: float) -> bool:
        """True as soon as something changed; False when the time is over."""
        if not self._sockets:
            time.sleep(timeout_s)
            return False
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            self._drain(key.fileobj)  # type: ignore[arg-type]
        return bool(ready)

    def _drain(self, source: socket.socket) -> None:
        while True:
            try:
                source.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: some were lost, and something did change
                continue
