"""What a lab has made by a certain step: the nodes, steps, captures and values that the next one may name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labrun.lab.text import Keys
from labrun.logic.suggest import did_you_mean

CHANGES = ("link", "address", "route", "rule", "neighbour", "sysctl", "nft", "namespace")
Found = list[tuple[Keys, str]]


@dataclass
class Known:
    """What is there so far, while the steps are walked in order."""

    nodes: list[str]
    order: dict[str, int] = field(default_factory=dict)  # step id -> its number
    verbs: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str | None] = field(default_factory=dict)  # step id -> its node
    captures: dict[str, tuple[str | None, tuple[str, ...]]] = field(default_factory=dict)
    snapshots: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)  # capture step -> number of the step that stops it
    traces: set[str] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)  # parameters, and what steps have saved


def wrong_step(target: str, verbs: tuple[str, ...], known: Known) -> list[str]:
    """Why ``target`` is not an earlier step with one of these verbs; empty if it is."""
    if target not in known.verbs:
        fitting = [name for name, verb in known.verbs.items() if verb in verbs]
        return [f"unknown step '{target}'.{did_you_mean(target, fitting)}"]
    if known.verbs[target] not in verbs:
        return [f"step '{target}' is a {known.verbs[target]} step; one of these is needed: {', '.join(verbs)}"]
    return []
