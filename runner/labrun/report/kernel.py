"""What a step changed in the kernel: two states compared, object by object, told as iproute2 would name them.

Nothing is interpreted: what is new has a plus, what is gone a minus, and what became different says both. Inodes and
process ids are left out, for they differ in every run and say nothing. A part that was not looked at, before or after,
is not compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from labrun.protocol.record import dataclass
from labrun.protocol.state import (
    UNTOLD,
    VOLATILE,
    AddressState,
    KernelState,
    LinkState,
    NeighbourState,
    NodeState,
    RouteState,
    RuleState,
    SocketState,
)
from labrun.report.visible import one_line, shorten

Sign = Literal["+", "-", "~"]
MAX_CHANGES = 60  # of a step; the rest are counted
_MAX_TEXT = 200
_PARTS = ("links", "addresses", "routes", "rules", "neighbours", "sockets")


@dataclass(frozen=True, slots=True)
class Change:
    sign: Sign
    node: str
    text: str


def changes(before: KernelState, after: KernelState) -> tuple[Change, ...]:
    """Nodes in the order of their names, their parts in iproute2's: links, addresses, routes, ..."""
    found: list[Change] = []
    for name in sorted({*before.nodes, *after.nodes}):
        old, new = before.nodes.get(name), after.nodes.get(name)
        node = one_line(name)
        if old is None:
            found.append(Change("+", node, "node"))
        elif new is None:
            found.append(Change("-", node, "node"))
        else:
            found += [Change(sign, node, shorten(one_line(text), _MAX_TEXT)) for sign, text in _node(old, new)]
    if len(found) > MAX_CHANGES:
        found[MAX_CHANGES:] = [Change("~", "", f"and {len(found) - MAX_CHANGES} more changes")]
    return tuple(found)


def _node(before: NodeState, after: NodeState) -> Iterator[tuple[Sign, str]]:
    for part in _PARTS:
        old, new = getattr(before, part), getattr(after, part)
        if old is not None and new is not None and old != new:
            yield from _part(_keyed(old), _keyed(new))


def _keyed(objects: Iterable[Any]) -> dict[tuple[object, ...], Any]:
    """By what makes each the one that it is; equal ones are counted, so that none hides another."""
    found: dict[tuple[object, ...], Any] = {}
    for each in objects:
        key = tuple(getattr(each, name) for name in _KEYS[type(each)])
        number = 0
        while (*key, number) in found:
            number += 1
        found[*key, number] = each
    return found


def _part(old: dict[tuple[object, ...], Any], new: dict[tuple[object, ...], Any]) -> Iterator[tuple[Sign, str]]:
    for key, each in old.items():
        if key not in new:
            yield "-", _TOLD[type(each)](each)
    for key, each in new.items():
        if key not in old:
            yield "+", _TOLD[type(each)](each)
        elif differences := list(_differences(old[key], each)):
            yield "~", f"{_TOLD[type(each)](each).split(': ')[0]}: {', '.join(differences)}"


def _differences(old: Any, new: Any) -> Iterator[str]:
    kind = type(new)
    skipped = {*_KEYS[kind], *VOLATILE.get(kind.__name__, ())}
    for item in dataclasses.fields(kind):
        one, other = getattr(old, item.name), getattr(new, item.name)
        if item.name in skipped or one == other:
            continue
        if isinstance(one, tuple) and isinstance(other, tuple):
            gone = [f"-{_word(each)}" for each in one if each not in other]
            come = [f"+{_word(each)}" for each in other if each not in one]
            yield f"{item.name} {' '.join((*gone, *come))}"
        else:
            yield f"{item.name} {_word(one)} → {_word(other)}"


def _word(value: object) -> str:
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _link(link: LinkState) -> str:
    words = [link.type or link.link_type, "up" if link.up else "down", f"mtu {link.mtu}"]
    words += [f"master {link.master}"] if link.master else []
    return f"link {link.name}: {', '.join(words)}"


def _address(address: AddressState) -> str:
    return f"address {address.address}/{address.prefixlen} dev {address.dev}"


def _route(route: RouteState) -> str:
    words = ["route", *([route.type] if route.type != "unicast" else []), route.dst]
    words += ["via", route.gateway] if route.gateway else []
    words += ["dev", route.dev] if route.dev else []
    words += ["tos", f"{route.tos:#04x}"] if route.tos else []
    words += ["from", route.source] if route.source != "all" else []
    words += ["table", route.table] if route.table not in ("main", "local") else []
    return " ".join(words)


def _rule(rule: RuleState) -> str:
    words = [f"rule {rule.priority}", *(["not"] if rule.inverted else []), f"from {rule.source}"]
    words += [f"to {rule.to}"] if rule.to != "all" else []
    words += [f"{name} {value}" for name in _RULE_SELECTORS if (value := getattr(rule, name))]
    words += [rule.action, *([rule.table] if rule.table else []), *([str(rule.goto)] if rule.goto else [])]
    return " ".join(words)


_RULE_SELECTORS = (
    "tos", "dscp", "fwmark", "iif", "oif", "ipproto", "sport", "sport_start", "sport_end", "dport", "dport_start",
    "dport_end", "uid_start", "uid_end",
)  # fmt: skip


def _neighbour(neighbour: NeighbourState) -> str:
    lladdr = f" lladdr {neighbour.lladdr}" if neighbour.lladdr else ""
    return f"neighbour {neighbour.address} dev {neighbour.dev}{lladdr}: {neighbour.state}"


def _socket(socket: SocketState) -> str:
    def end(address: str | None, port: int | None) -> str:
        host = f"[{address}]" if address and ":" in address else address or "*"
        host += f"%{socket.dev}" if socket.dev not in (None, UNTOLD) and address == socket.address else ""
        return f"{host}:{port if port is not None else '*'}"

    if socket.protocol == "packet":
        where = f"on {socket.dev or 'all interfaces'}"
    else:
        where = end(socket.address, socket.port)
        if socket.remote_address:
            where += f" to {end(socket.remote_address, socket.remote_port)}"
    return f"socket {socket.protocol} {socket.state} {where}" + (f" ({socket.process})" if socket.process else "")


_KEYS: dict[type, tuple[str, ...]] = {
    LinkState: ("index",),
    AddressState: ("dev", "address", "prefixlen"),
    RouteState: ("family", "table", "dst", "source", "tos", "type", "gateway", "dev", "metric"),
    RuleState: ("family", "priority", "source", "to", "action", "table"),
    NeighbourState: ("dev", "address"),
    SocketState: ("protocol", "family", "state", "address", "port", "remote_address", "remote_port", "dev", "process"),
}
_TOLD: dict[type, Callable[[Any], str]] = {
    LinkState: _link,
    AddressState: _address,
    RouteState: _route,
    RuleState: _rule,
    NeighbourState: _neighbour,
    SocketState: _socket,
}


class Course:
    """States in the order of the steps. What each is compared with is the last one before it, of its own kind."""

    def __init__(self) -> None:
        self._noted: KernelState | None = None
        self._snapshot: KernelState | None = None

    def after(self, noted: KernelState | None, snapshot: KernelState | None) -> tuple[Change, ...]:
        """``noted`` by the agent after the step; ``snapshot``: by the step itself, used where nothing is noted."""
        found: tuple[Change, ...] = ()
        if noted is not None:
            found = changes(self._noted, noted) if self._noted is not None else ()
            self._noted = noted
        elif snapshot is not None and self._noted is None:
            found = changes(self._snapshot, snapshot) if self._snapshot is not None else ()
        if snapshot is not None:
            self._snapshot = snapshot
        return found
