"""The kernel state of one node: each part from the place that cannot be mistaken for another namespace's.

A part that cannot be read is unavailable with its reason, and the others are still read: "could not look" and
"nothing there" are different evidence. The parts are read one after the other; no lock makes them one moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from labrun.agent.link_state import address_states, link_names, link_states, neighbour_states, read_link_messages
from labrun.agent.nft_state import Unavailable, nft_state
from labrun.agent.route_state import route_states, rule_states
from labrun.agent.rtnetlink import KernelRefused, Rtnetlink
from labrun.agent.socket_state import socket_states
from labrun.protocol.actions import ALL_PARTS, SnapshotPart
from labrun.protocol.state import NodeState

NOBODY: Mapping[str, int] = {}


def node_state(
    parts: tuple[SnapshotPart, ...],
    ipr: Rtnetlink,
    nodes: Mapping[str, int] = NOBODY,
    own_pid: int | None = None,
) -> NodeState:
    """The ``parts`` of the current namespace, to which ``ipr`` must belong.

    ``nodes`` (name -> open namespace fd) tells in which node a veth's peer is. Sockets that only ``own_pid``
    (by default this process) has open are left out: the agent's own are not the lab's. -1 leaves out none.
    """
    try:
        messages = read_link_messages(ipr)
    except (KernelRefused, OSError) as error:  # without interface names nothing can be told
        return NodeState(unavailable=dict.fromkeys(sorted(parts), str(error)))
    names = link_names(messages)
    readers: dict[SnapshotPart, Callable[[], Any]] = {
        "links": lambda: link_states(messages, ipr, nodes),
        "addresses": lambda: address_states(names, ipr),
        "routes": lambda: route_states(names, ipr),
        "rules": lambda: rule_states(ipr),
        "neighbours": lambda: neighbour_states(names, ipr),
        "sockets": lambda: socket_states(names, os.getpid() if own_pid is None else own_pid),
        "nft": nft_state,
        "counters": lambda: _counters(ipr),
    }
    read: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    for part in ALL_PARTS:
        if part in parts:
            try:
                read[part] = readers[part]()
            except (KernelRefused, Unavailable, OSError) as error:
                unavailable[part] = str(error)
    return NodeState(**read, unavailable=unavailable)


def _counters(ipr: Rtnetlink) -> Any:
    from labrun.agent.counters import counter_states  # with pyroute2, 25 ms

    return counter_states(ipr)
