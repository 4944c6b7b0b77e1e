"""Observations of kernel state: the objects of a snapshot that a selector means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labrun.evidence.record import VariantRecord
from labrun.judge.compare import all_of, holds
from labrun.judge.results import Ref
from labrun.judge.why import Unknown, missing
from labrun.lab.predictions import StateIs
from labrun.protocol.actions import Snapshot
from labrun.protocol.codec import encode


@dataclass(frozen=True, slots=True)
class Found:
    """An object with its place in the snapshot."""

    value: dict[str, Any]
    ref: Ref


@dataclass(frozen=True, slots=True)
class Objects:
    """Those that passed ``where``, and how many there were in all. ``node`` as resolved."""

    node: str
    found: tuple[Found, ...]
    total: int
    file: Ref


def observe_state(variant: VariantRecord, leaf: StateIs, prefix: str) -> Objects | Unknown:
    """Every field check of ``where`` must be decidable: a comparison without meaning is unknown, not false."""
    selector = leaf.selector
    snapshot = variant.snapshot(selector.at)
    record = variant.step(selector.at)
    if snapshot is None or record is None or not isinstance(record.step.action, Snapshot):
        return missing(variant, f"snapshot '{selector.at}'")
    node = selector.node or record.step.action.nodes[0]
    state = snapshot.nodes.get(node)
    if state is None:
        return missing(variant, f"node '{node}' in snapshot '{selector.at}'")
    part = getattr(state, leaf.kind)
    if part is None:
        why = state.unavailable.get(leaf.kind, "the snapshot does not have it")
        return Unknown("not-observable", f"{leaf.kind} of {node}: {why}")
    items = part.rules if leaf.kind == "nft" else part
    base = f"nodes.{node}.{leaf.kind}" + (".rules" if leaf.kind == "nft" else "")
    file = f"{prefix}snapshots/{selector.at}.json"
    found = []
    for index, item in enumerate(items):
        value: dict[str, Any] = encode(item)
        passed = all_of(
            holds(operator, value.get(field), expected)
            for field, check in selector.where.items()
            for operator, expected in check.operators().items()
        )
        if passed is None:
            return Unknown("type-mismatch", f"where: a check does not fit the fields of {base}[{index}]")
        if passed:
            found.append(Found(value, Ref(file, path=f"{base}[{index}]")))
    return Objects(node, tuple(found), len(items), Ref(file, path=base))
