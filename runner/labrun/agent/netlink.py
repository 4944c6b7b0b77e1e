"""The typed changes of a plan, carried out in the current network namespace: one door to `ip`'s verbs.

Nothing is defaulted that iproute2 does not default, nothing is retried, and a refusal is told, not judged: whether
it fails the step is for the caller (a step may be there to show the refusal).
"""

from __future__ import annotations

from collections.abc import Callable

from labrun.agent.addresses import apply_address, apply_neighbour
from labrun.agent.links import apply_link
from labrun.agent.routes import apply_route, apply_rule
from labrun.agent.rtnetlink import KernelRefused, Rtnetlink, open_rtnetlink
from labrun.protocol.actions import Address, Link, Neighbour, Route, Rule

__all__ = ["KernelRefused", "Rtnetlink", "apply", "open_rtnetlink"]


def apply(action: Link | Address | Route | Rule | Neighbour, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> None:
    """Do ``action`` in the namespace of ``ipr``, which must be the calling thread's too (a tun is made there).

    ``netns_of`` gives an open namespace fd of a node, for a veth's peer and for ``move_to``; it stays the caller's.
    Raises KernelRefused.
    """
    match action:
        case Link():
            apply_link(action, ipr, netns_of)
        case Address():
            apply_address(action, ipr)
        case Route():
            apply_route(action, ipr)
        case Rule():
            apply_rule(action, ipr)
        case Neighbour():
            apply_neighbour(action, ipr)
