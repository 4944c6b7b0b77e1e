"""What an author writes once: a lab file with its `defaults` and the topology that it includes written out.

On plain values, before they are checked: what is written out is then checked as if the author had written it there. A
value that is not of the shape that it should have is left alone, for the check to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ENV = "env"  # its variables are filled in one by one
OWN = "x-"  # keys of a lab file that begin with it are the author's own
_STEPS = {
    "in": None,
    "timeout": None,
    "may_fail": ("run", "start", "wait"),
    "exit": ("run", "start"),
}


def written_out(value: Mapping[str, Any], topology: Mapping[str, Any] | None) -> dict[str, Any]:
    """``topology``: that of the included file."""
    found = {key: item for key, item in value.items() if not str(key).startswith(OWN)}
    if topology is not None:
        found["topology"] = _joined(found.get("topology"), topology)
    defaults = found.get("defaults")
    return _with_defaults(found, defaults) if isinstance(defaults, dict) else found


def _joined(own: Any, included: Mapping[str, Any]) -> Any:
    """The included one below, this one above: nodes key by key, links one after the other, first those of this one."""
    if own is None:
        return dict(included)
    if not isinstance(own, dict):
        return own
    joined = dict(own)
    for key, item in included.items():
        mine = own.get(key)
        if mine is None:
            joined[key] = item
        elif isinstance(mine, list) and isinstance(item, list):
            joined[key] = [*mine, *item]
        elif isinstance(mine, dict) and isinstance(item, dict):
            joined[key] = {name: _below(mine.get(name), item.get(name)) for name in {**item, **mine}}
    return joined


def _below(own: Any, other: Any) -> Any:
    """The mapping ``own``, with those keys of the other that it does not have."""
    if own is None:
        return other
    if not isinstance(own, dict) or not isinstance(other, dict):
        return own
    return {**other, **own, **({_ENV: _below(own[_ENV], other[_ENV])} if _ENV in own and _ENV in other else {})}


def _with_defaults(value: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    topology = value.get("topology")
    if isinstance(topology, dict):
        nodes, links = topology.get("nodes"), topology.get("links")
        topology = dict(topology)
        if isinstance(nodes, dict):
            topology["nodes"] = {name: _below(node, defaults.get("nodes")) for name, node in nodes.items()}
        if isinstance(links, list):
            topology["links"] = [_below(link, defaults.get("links")) for link in links]
        value = {**value, "topology": topology}
    return _in_steps(value, defaults.get("steps"))


def _in_steps(value: dict[str, Any], given: Any) -> dict[str, Any]:
    """In each step, those of controls included."""
    from labrun.lab.steps import NODELESS, VERBS

    def filled(step: Any) -> Any:
        verb = next((verb for verb in VERBS if isinstance(step, dict) and verb in step), None)
        if verb is None:
            return step
        fitting = {
            key: item
            for key, item in given.items()
            if key not in step
            and (verb in verbs if (verbs := _STEPS.get(key)) else not (key == "in" and verb in NODELESS))
            and not (key == "may_fail" and "exit" in step)
            and not (key == "exit" and step.get("may_fail"))
        }
        return {**step, **fitting}

    def changed(item: Any) -> Any:
        if not isinstance(item, dict):
            return item
        found = {key: filled(part) for key, part in item.items() if key in ("with", "insert")}
        if isinstance(item.get("insert"), list):
            found["insert"] = [filled(step) for step in item["insert"]]
        return {**item, **found}

    def controlled(hypothesis: Any) -> Any:
        control = hypothesis.get("control") if isinstance(hypothesis, dict) else None
        if control is None:
            return hypothesis
        return {**hypothesis, "control": [changed(one) for one in control] if isinstance(control, list)
                else changed(control)}  # fmt: skip

    if not isinstance(given, dict):
        return value
    steps, hypotheses = value.get("steps"), value.get("hypotheses")
    out = dict(value)
    if isinstance(steps, list):
        out["steps"] = [filled(step) for step in steps]
    if isinstance(hypotheses, list):
        out["hypotheses"] = [controlled(one) for one in hypotheses]
    return out
