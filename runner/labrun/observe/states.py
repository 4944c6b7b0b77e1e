"""Observations of kernel state: the objects of a snapshot that a selector means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labrun.evidence.record import VariantRecord
from labrun.evidence.ref import Ref
from labrun.lab.check.predictions import OBJECTS, state_fields
from labrun.lab.predictions import Check, StateIs, StateKind, StateSelector
from labrun.logic.compare import Several, Spelled, Untold, all_of, any_of, holds
from labrun.observe.unknown import Unknown, missing
from labrun.protocol.actions import Snapshot
from labrun.protocol.codec import encode
from labrun.protocol.events import SeriesResult
from labrun.protocol.record import dataclass
from labrun.protocol.state import UNTOLD, KernelState, NftRule, RouteState, SocketState

__all__ = ["OBJECTS", "Found", "Objects", "observe_objects", "observe_state"]

# Where in a node's state the objects are, when not under the kind's own name.
_INSIDE: dict[StateKind, tuple[str, str]] = {"nft": ("nft", "rules"), "nft_counters": ("nft", "counters")}


@dataclass(frozen=True, slots=True)
class Found:
    """An object with its place in the snapshot."""

    value: dict[str, Any]
    ref: Ref


@dataclass(frozen=True, slots=True)
class Objects:
    """Those that passed ``where``, and how many there were in all. ``node`` as resolved.

    ``perhaps``: how many more may have passed, and ``doubt`` why that is not known.
    """

    node: str
    found: tuple[Found, ...]
    total: int
    file: Ref
    perhaps: int = 0
    doubt: Unknown | None = None


def observe_state(variant: VariantRecord, leaf: StateIs, prefix: str, moment: int = 0) -> Objects | Unknown:
    """The objects that a leaf is about. ``moment``: of a repeated snapshot, from 0."""
    strange = next((name for name in leaf.each or {} if name not in state_fields(leaf.kind)), None)
    if strange is not None:
        return Unknown("unknown-field", f"{leaf.kind} have no field '{strange}'")
    return observe_objects(variant, leaf.kind, leaf.selector, prefix, moment)


def observe_objects(
    variant: VariantRecord, kind: StateKind, selector: StateSelector, prefix: str, moment: int = 0
) -> Objects | Unknown:
    """Every field check must be decidable: a comparison without meaning is unknown, not false.

    So is a check on a field that no such object has: "there is none with it" would always be true.
    """
    strange = next((name for name in selector.where if name not in state_fields(kind)), None)
    if strange is not None:
        return Unknown("unknown-field", f"{kind} have no field '{strange}'")
    record = variant.step(selector.at)
    place = _moment(variant, selector.at, prefix, moment)
    if place is None or record is None or not isinstance(record.step.action, Snapshot):
        return missing(variant, f"snapshot '{selector.at}'")
    snapshot, file, line = place
    node = selector.node or record.step.action.nodes[0]
    state = snapshot.nodes.get(node)
    if state is None:
        return missing(variant, f"node '{node}' in snapshot '{selector.at}'")
    part_name, inner = _INSIDE.get(kind, (kind, ""))
    part = getattr(state, part_name)
    if part is None:
        why = state.unavailable.get(part_name, "the snapshot does not have it")
        return Unknown("not-observable", f"{kind} of {node}: {why}")
    items = getattr(part, inner) if inner else part
    base = f"nodes.{node}.{part_name}" + (f".{inner}" if inner else "")
    found = []
    perhaps: list[Unknown] = []
    for index, item in enumerate(items):
        value = _value(item)
        passed = _passes(value, selector.where)
        if passed is None:
            reason = _open(value, selector.where)
            if reason is None:
                return Unknown("type-mismatch", f"where: a check does not fit the fields of {base}[{index}]")
            perhaps.append(Unknown("not-observable", f"{reason[0]} of {base}[{index}]: {reason[1]}"))
        elif passed:
            found.append(Found(value, Ref(file, line, path=f"{base}[{index}]")))
    doubt = perhaps[0] if perhaps else None
    return Objects(node, tuple(found), len(items), Ref(file, line, path=base), len(perhaps), doubt)


def _value(item: object) -> dict[str, Any]:
    """With what the kernel does not report as such: it is not "none". Where it is there several times, with all."""
    value: dict[str, Any] = encode(item)
    if isinstance(item, SocketState) and item.dev == UNTOLD:
        value["dev"] = Untold("the kernel does not report it of this kind of socket")
    if isinstance(item, NftRule):
        value["expression"] = Spelled(item.expression)
        if item.packets is None:
            value["packets"] = value["bytes"] = Untold("the rule has no counter")
    if isinstance(item, RouteState):
        if item.nexthops:
            value |= {name: Several(getattr(hop, name) for hop in item.nexthops) for name in _OF_A_HOP}
        elif item.nhid is not None and item.gateway is None and item.dev is None:
            value |= dict.fromkeys(
                _OF_A_HOP, Untold(f"the nexthop group {item.nhid} has it, which is not in a snapshot")
            )
        if item.mtu is None and item.type == "unicast":
            value["mtu"] = Untold("a path MTU that was learned is in no dump of routes: ask with a lookup")
    return value


_OF_A_HOP = ("gateway", "dev", "encap", "encap_data", "realms")


def _passes(value: Mapping[str, Any], where: Mapping[str, Check]) -> bool | None:
    """All checks hold. Those of a multipath route's hops must hold of one hop together."""
    hops = [name for name in where if isinstance(value.get(name), Several)]
    whole = all_of(_holds(value.get(name), check) for name, check in where.items() if name not in hops)
    if not hops:
        return whole
    ways = zip(*(value[name] for name in hops), strict=True)
    one = any_of(all_of(_holds(got, where[name]) for name, got in zip(hops, way, strict=True)) for way in ways)
    return all_of((whole, one))


def _holds(value: Any, check: Check) -> bool | None:
    return all_of(holds(operator, value, expected) for operator, expected in check.operators().items())


def _open(value: Mapping[str, Any], where: Mapping[str, Check]) -> tuple[str, str] | None:
    """(field, why) of a check that the kernel's report leaves open; None where the check makes no sense."""
    for name, check in where.items():
        got = value.get(name)
        if isinstance(got, Untold):
            return name, str(got)
        if isinstance(got, Spelled) and _holds(got, check) is None:
            return name, "nft may write it in another way"
    return None


def _moment(
    variant: VariantRecord, step_id: str, prefix: str, moment: int
) -> tuple[KernelState, str, int | None] | None:
    """(state, file, line) of a snapshot, or of one moment of a repeated one."""
    record = variant.step(step_id)
    if record is not None and record.ended is not None and isinstance(record.ended.result, SeriesResult):
        series = variant.series(step_id)
        if series is None or moment >= len(series):
            return None
        return series[moment].state, prefix + record.ended.result.path, moment + 1
    snapshot = variant.snapshot(step_id)
    return None if snapshot is None else (snapshot, f"{prefix}snapshots/{step_id}.json", None)
