"""Runs that were recorded before the compiled lab was kept: their lab's file, read without any check of it.

The steps are not looked at, since the plans say what was done. A prediction that can no longer be read loses its own
hypothesis only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from labrun.evidence.lab import StoredLab
from labrun.evidence.run import LabEntry
from labrun.lab.base import STORED
from labrun.lab.parameters import fill
from labrun.lab.problems import LabError, Problem
from labrun.lab.text import as_text, parse_yaml
from labrun.lab.topology import TopologyModel, topology_steps
from labrun.protocol.codec import encode

_KEPT = ("without", "replace", "before", "after", "parameters", "predict", "note")


def lab_of_older_run(data: bytes, entry: LabEntry) -> StoredLab:
    """``data``: the lab's file. Raises LabError where it is none at all."""
    value, places = parse_yaml(as_text(data, entry.shown), entry.shown)
    value = fill(value, entry.cell)
    ran = _Ran(entry.variants)
    try:
        hypotheses = [
            _hypothesis(one, places.of(("hypotheses", index, "id"))[0], ran)
            for index, one in enumerate(value["hypotheses"])
        ]
        told = {key: value.get(key) for key in ("title", "question", "source", "background", "conclusion")}
        steps = _topology(value.get("topology"))
        return StoredLab.model_validate(
            {**told, "slug": entry.slug, "tags": value.get("tags") or (), "hypotheses": hypotheses, "topology": steps},
            context=STORED,
        )
    except KeyError as error:
        raise LabError([Problem(entry.shown, 0, 0, f"not a lab file: {error} is missing")]) from error
    except (ValidationError, TypeError, AttributeError) as error:
        raise LabError([Problem(entry.shown, 0, 0, f"not a lab file: {' '.join(str(error).split())[:300]}")]) from error


class _Ran:
    """Which variant a control was. Those that change the same ran once, under the name of the first."""

    def __init__(self, variants: Collection[str]) -> None:
        self._variants = variants
        self._known: list[tuple[dict[str, Any], str]] = []

    def variant(self, control: dict[str, Any], name: str) -> str:
        change = {key: value for key, value in control.items() if key not in ("predict", "note")}
        if name not in self._variants:
            return next((other for known, other in self._known if known == change), name)
        self._known.append((change, name))
        return name


def _hypothesis(value: dict[str, Any], line: int, ran: _Ran) -> dict[str, Any]:
    given = value.get("control") or ()
    listed = (given,) if isinstance(given, dict) else tuple(given)
    names = [value["id"] if number == 1 else f"{value['id']}-{number}" for number in range(1, len(listed) + 1)]
    return {
        **{key: value.get(key) for key in ("id", "claim", "predict", "because")},
        "line": line,
        "expect": value.get("expect", "supported"),
        "controls": tuple(
            _control(control, ran.variant(control, name))
            for control, name in zip(listed, names, strict=True)
            if control.get("none") is None
        ),
        "no_control": next((control["none"] for control in listed if control.get("none") is not None), None),
    }


def _control(control: dict[str, Any], variant: str) -> dict[str, Any]:
    inserted = control.get("insert") or ()
    steps = (inserted,) if isinstance(inserted, dict) else inserted
    return {
        **{key: control[key] for key in _KEPT if key in control},
        "variant": variant,
        "inserted": tuple(step.get("id") or f"inserted-{number}" for number, step in enumerate(steps, start=1)),
    }


def _topology(value: object) -> tuple[Any, ...]:
    """For the picture of a lab that did not run; none where it can no longer be read."""
    try:
        return tuple(encode(step) for step in topology_steps(TopologyModel.model_validate(value or {})))
    except ValidationError:
        return ()
