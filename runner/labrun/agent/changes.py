"""Whether the kernel's state changed: rtnetlink's multicast groups of some nodes, waited for together (rtnetlink(7)).

Links, addresses, routes, rules and neighbours report each change; sockets, nft and counters do not. What the reports
say of an object is compared: where it had two states since the last look, no look saw the first of them.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from types import TracebackType

from labrun.agent.netfilter import attributes_at
from labrun.agent.nodes import Nodes

# linux/rtnetlink.h: RTNLGRP_* less one: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE,
# IPV6_RULE
_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 8, 9, 11, 19))
_BUFFER = 1 << 20
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
# By RTM_NEW* (linux/rtnetlink.h; RTM_DEL* is one more): the kind of state, the length of the fixed part behind the
# header, which bytes of that and which attributes name the object, and which tell its state.
_LINK, _NEIGHBOUR = 16, 28
_MESSAGES: dict[int, tuple[str, int, slice, tuple[int, ...], slice, tuple[int, ...]]] = {
    _LINK: ("links", 16, slice(4, 8), (), slice(8, 12), (1, 3, 4, 5, 10, 13, 16)),
    20: ("addresses", 8, slice(0, 8), (1,), slice(0, 0), (2, 4, 8)),
    24: ("routes", 12, slice(0, 8), (1, 4, 5, 6, 15), slice(0, 0), ()),
    _NEIGHBOUR: ("neighbours", 12, slice(0, 8), (1,), slice(8, 11), (2,)),
    32: ("rules", 12, slice(0, 12), tuple(range(1, 30)), slice(0, 0), ()),
}
_KINDS = tuple(kind for kind, *_ in _MESSAGES.values())


class Changes:
    """A context manager. Whoever looks after `wait` says so sees the change, and all before it."""

    def __init__(self, nodes: Nodes, names: Iterable[str]) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._states: dict[tuple[str, str, bytes], list[bytes]] = {}  # since the last look, of each object
        self._unseen: set[str] = set()
        self._pending = False
        for name in names:
            with contextlib.suppress(OSError), nodes.inside(name):
                self._open(name)

    def _open(self, name: str) -> None:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sockets.append(made)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind((0, _GROUPS))
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ, name)

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
        ready = self._drain(0.0 if self._pending else timeout_s)
        changed = ready or self._pending
        self._pending = False
        return changed

    def unseen(self) -> tuple[str, ...]:
        """After a look: of which nodes and kinds (``a.links``) it may have missed a state. Begins anew."""
        before = {name: len(states) for name, states in self._states.items()}
        self._pending = self._drain(0.0) or self._pending  # came during the look: who knows what that saw
        self._unseen |= {f"{node}.{kind}" for (node, kind, _), states in self._states.items() if len(states) > 1}
        found, self._unseen = tuple(sorted(self._unseen)), set()
        self._states = {name: states[-1:] for name, states in self._states.items() if len(states) > before.get(name, 0)}
        return found

    def _drain(self, timeout_s: float) -> bool:
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            while True:
                try:
                    self._take(key.data, key.fileobj.recv(1 << 16))  # type: ignore[union-attr]
                except BlockingIOError:
                    break
                except OSError:  # ENOBUFS: some were lost, and something did change
                    self._unseen |= {f"{key.data}.{kind}" for kind in _KINDS}
        return bool(ready)

    def _take(self, node: str, data: bytes) -> None:
        for kind, name, state in told(data):
            states = self._states.setdefault((node, kind, name), [])
            if not states or states[-1] != state:
                states.append(state)


def told(data: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """(kind, which object, its state) of each report. The state of what is gone is empty."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, number, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        body = data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3
        layout = _MESSAGES.get(number & ~1)
        if layout is None or (number & ~1 == _LINK and body[:1] != b"\0"):  # a bridge's own words about its ports
            continue
        kind, size, named, naming, told_by, telling = layout
        attributes = attributes_at(body, size)
        name = repr((bytes(body[named]), [attributes.get(one) for one in naming])).encode()
        state = repr((bytes(body[told_by]), [attributes.get(one) for one in telling])).encode()
        yield kind, name, b"" if number & 1 else state
