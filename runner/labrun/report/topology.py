"""The network of a lab as nodes, interfaces and links, gathered from its typed steps.

The steps that make the declared topology come first; what later typed steps add is marked with the step that did.
What a command changed (`ip link add ...` in a `run` step) is not seen here: that is in the transcript.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import field, replace

from labrun.protocol.actions import Address, Link, Namespace, Route
from labrun.protocol.plan import Step
from labrun.protocol.record import dataclass
from labrun.report.visible import one_line


@dataclass(frozen=True, slots=True)
class InterfaceView:
    """``made_by``: the step that added it, None if it was there at the start."""

    name: str
    kind: str
    addresses: tuple[str, ...] = ()
    master: str | None = None
    up: bool = False
    mtu: int | None = None
    mac: str | None = None
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class NodeView:
    name: str
    interfaces: tuple[InterfaceView, ...]
    routes: tuple[str, ...] = ()
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class LinkView:
    """A veth pair: (node, interface) of both ends."""

    ends: tuple[tuple[str, str], tuple[str, str]]
    mtu: int | None = None
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class TopologyView:
    nodes: tuple[NodeView, ...]
    links: tuple[LinkView, ...]


@dataclasses.dataclass(slots=True)
class _Node:
    made_by: str | None
    interfaces: dict[str, InterfaceView]
    routes: list[str] = field(default_factory=list)


def topology_of(steps: Iterable[Step]) -> TopologyView | None:
    """None where there is nothing to draw."""
    nodes: dict[str, _Node] = {}
    links: list[LinkView] = []
    for step in steps:
        made_by = None if step.phase == "topology" else one_line(step.id)
        action = step.action
        if isinstance(action, Namespace) and action.op == "add":
            nodes[one_line(action.name)] = _Node(made_by, {"lo": InterfaceView("lo", "loopback", made_by=made_by)})
            continue
        node = nodes.get(one_line(step.node)) if step.node else None
        if node is None or step.node is None:
            continue
        if isinstance(action, Link):
            _link(nodes, links, one_line(step.node), action, made_by)
        elif isinstance(action, Address) and action.op != "delete":
            _change(node, one_line(action.dev), address=one_line(action.address))
        elif isinstance(action, Route) and action.op != "delete" and made_by is None:
            words = [one_line(action.to), *(("via", one_line(action.via)) if action.via else ()),
                     *(("dev", one_line(action.dev)) if action.dev else ())]  # fmt: skip
            node.routes.append(" ".join(words))
    if not nodes:
        return None
    return TopologyView(
        tuple(
            NodeView(name, _ordered(node.interfaces.values()), tuple(node.routes), node.made_by)
            for name, node in nodes.items()
        ),
        tuple(links),
    )


def _link(nodes: dict[str, _Node], links: list[LinkView], node: str, action: Link, made_by: str | None) -> None:
    name = one_line(action.name)
    here = nodes[node].interfaces
    if action.op == "add":
        kind = one_line(action.type or "link")
        here[name] = InterfaceView(name, kind, (), _word(action.master), bool(action.up), action.mtu,
                                   _word(action.mac), made_by)  # fmt: skip
        if action.peer is not None:
            peer, where = one_line(action.peer.name), one_line(action.peer.node or node)
            if where in nodes:
                nodes[where].interfaces[peer] = InterfaceView(
                    peer, kind, (), None, False, action.peer.mtu, _word(action.peer.mac), made_by
                )
                links.append(LinkView(((node, name), (where, peer)), action.mtu, made_by))
    elif action.op == "set" and name in here and here[name].made_by == made_by:
        # A later step's change of what was there at the start is part of the story, not of the picture.
        _change(nodes[node], name, up=action.up, master=_word(action.master))
        if action.move_to and one_line(action.move_to) in nodes:
            moved = one_line(action.move_to)
            nodes[moved].interfaces[name] = here.pop(name)
            for index, link in enumerate(links):
                one, other = ((moved, name) if end == (node, name) else end for end in link.ends)
                links[index] = replace(link, ends=(one, other))


def _word(value: str | None) -> str | None:
    return one_line(value) if value else None


def _change(
    node: _Node, name: str, up: bool | None = None, master: str | None = None, address: str | None = None
) -> None:
    old = node.interfaces.get(name)
    if old is None:
        return
    node.interfaces[name] = replace(
        old,
        up=old.up if up is None else up,
        master=master or old.master,
        addresses=(*old.addresses, address) if address and address not in old.addresses else old.addresses,
    )


def _ordered(interfaces: Iterable[InterfaceView]) -> tuple[InterfaceView, ...]:
    """lo first, and the ports of a bridge right after it."""
    given = list(interfaces)
    ports = {name: [i for i in given if i.master == name] for name in (i.name for i in given)}
    loose = [i for i in given if i.master is None or i.master not in ports]
    return tuple(each for one in loose for each in (one, *ports[one.name]))
