"""Waits until the state of links that were set up is what it will be: those with a carrier carry packets, those without
are known to have none, and IPv6 addresses may be used.

A link with a carrier is not at once operational: the kernel's linkwatch does that a moment later, in a work queue, and
until then what is sent on it vanishes (net/core/link_watch.c; the queueing discipline is attached by dev_activate()).
Nor is a link without one at once down: a bridge without ports is of unknown state, without NO-CARRIER and its routes
without `linkdown`, until linkwatch has come to it, which may take a second. An IPv6 address is tentative, and nobody
answers for it, until the kernel has asked whether another machine has it (RFC 4862, 5.4): one or two seconds. A lab's
first packet, and what its first `ip link` shows, must not depend on that race.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from labrun.agent.outgoing import LinkMessage
from labrun.agent.rtnetlink import RTM_GETLINK, KernelRefused, Rtnetlink
from labrun.agent.stage import Stage, StepTimeout, poll

_EVERY_S = 0.002
_LIMIT_S = 5.0  # linkwatch holds events back for up to a second when there are many (LW_URGENT)
_UP, _LOWER_UP = 0x1, 0x10000  # include/uapi/linux/if.h
_IPV6 = "/proc/thread-self/net/if_inet6"
_OPTIMISTIC, _DAD_FAILED, _TENTATIVE = 0x04, 0x08, 0x40  # include/uapi/linux/if_addr.h: IFA_F_*
_UNKNOWN = 0  # IF_OPER_UNKNOWN: lo and tunnels do not say (RFC 2863)
_OPERATIONAL = (6, _UNKNOWN)  # IF_OPER_UP


def settle(stage: Stage, nodes: Iterable[str], addresses: bool = False) -> None:
    """After a topology (then also for ``addresses``) and after a link step; nothing else waits by itself.

    Raises StepTimeout with the link that has a carrier and still is not operational, or has none and is not down.
    """
    waiting = ""
    deadline = time.monotonic() + _LIMIT_S

    for node in nodes:

        def settled(node: str = node) -> bool:
            nonlocal waiting
            with stage.nodes.inside(node):
                ipr = stage.netlink(node)
                # With a carrier and of unknown state: lo stays so, a veth is up a moment later.
                for index, _name in _undecided(ipr, also=(_UNKNOWN,)):
                    _hurry(ipr, index)
                left = _undecided(ipr)
                waiting = f"{left[0][1]} of {node}" if left else ""
            return not left

        if not poll(settled, deadline, _EVERY_S):
            raise StepTimeout(f"the kernel does not say after {_LIMIT_S:g} s whether it has a carrier: {waiting}")

        def unique(node: str = node) -> bool:
            nonlocal waiting
            with stage.nodes.inside(node):
                waiting = next((f"{address} of {node}" for address in tentative(stage.netlink(node))), "")
            return not waiting

        if addresses and not poll(unique, deadline, _EVERY_S * 5):
            raise StepTimeout(f"an IPv6 address is still tentative after {_LIMIT_S:g} s: {waiting}")


def tentative(ipr: Rtnetlink) -> list[str]:
    """The tentative addresses of running links; one without a carrier stays so."""
    asked = _tentative()
    links = ipr.links() if asked else ()  # most nodes have no IPv6
    running = {index for index, _, flags, _ in links if flags & _LOWER_UP}
    return [address for address, index in asked if index in running]


def _tentative() -> list[tuple[str, int]]:
    """(address, interface index) in this namespace; one that another machine has stays so, and is not waited for."""
    try:
        lines = Path(_IPV6).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []
    entries = ((words[0], int(words[1], 16), int(words[4], 16)) for words in map(str.split, lines))
    return [
        (socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)), index)
        for address, index, flags in entries
        if flags & _TENTATIVE and not flags & (_DAD_FAILED | _OPTIMISTIC)
    ]


def _undecided(ipr: Rtnetlink, also: tuple[int, ...] = ()) -> list[tuple[int, str]]:
    """(index, name). ``also``: operational states that are in doubt whatever the carrier."""
    return [
        (index, name)
        for index, name, flags, state in ipr.links()
        if flags & _UP and (state in also or bool(flags & _LOWER_UP) != (state in _OPERATIONAL))
    ]


def _hurry(ipr: Rtnetlink, index: int) -> None:
    """Who asks for one link is told what linkwatch has to say of it, so that it is said now (since Linux 6.8,
    rtnl_getlink(), linkwatch_sync_dev()); older kernels take their time."""
    message = LinkMessage()
    message["index"] = index
    with contextlib.suppress(KernelRefused):  # it is gone
        ipr.get(RTM_GETLINK, message)
