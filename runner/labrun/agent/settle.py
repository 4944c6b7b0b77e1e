"""Waits until links that were set up carry packets.

A link with a carrier is not at once operational: the kernel's linkwatch does that a moment later, in a work queue, and
until then what is sent on it vanishes (net/core/link_watch.c; the queueing discipline is attached by dev_activate()).
A lab's first packet must not depend on that race.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from labrun.agent.stage import Stage, StepTimeout, poll

_EVERY_S = 0.002
_LIMIT_S = 5.0  # linkwatch holds events back for up to a second when there are many (LW_URGENT)
_UP, _LOWER_UP = 0x1, 0x10000  # include/uapi/linux/if.h
_OPERATIONAL = (6, 0)  # IF_OPER_UP, and IF_OPER_UNKNOWN: lo and tunnels do not say (RFC 2863)


def settle(stage: Stage, nodes: Iterable[str]) -> None:
    """Raises StepTimeout with the link that has a carrier and still is not operational."""
    waiting = ""
    deadline = time.monotonic() + _LIMIT_S

    for node in nodes:

        def settled(node: str = node) -> bool:
            nonlocal waiting
            with stage.nodes.inside(node):
                for _index, name, flags, state in stage.netlink(node).links():
                    if flags & _UP and flags & _LOWER_UP and state not in _OPERATIONAL:
                        waiting = f"{name} of {node}"
                        return False
            return True

        if not poll(settled, deadline, _EVERY_S):
            raise StepTimeout(f"not operational after {_LIMIT_S:g} s, though it has a carrier: {waiting}")
