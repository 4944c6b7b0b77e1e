"""What changed in the kernel between two snapshots of a node. An object that changed is one removed and one added."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from labrun.evidence.record import VariantRecord
from labrun.evidence.ref import Ref
from labrun.judge.evaluation import compared, conditions, join, several, unknowns
from labrun.judge.results import Evaluation, Subject
from labrun.lab.predictions import ChangesAre, ChangesSelector, StateSelector
from labrun.logic.compare import Count
from labrun.observe.states import Objects, observe_objects
from labrun.observe.unknown import Unknown


def evaluate_changes(leaf: ChangesAre, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    selector = leaf.changes
    before, after = (
        observe_objects(variant, selector.of, _at(selector, at), prefix) for at in (selector.start, selector.end)
    )
    node = before.node if isinstance(before, Objects) else selector.node or "?"
    subject = Subject(f"{selector.of} of {node} from {selector.start} to {selector.end}", conditions(selector.where))
    traces: list[Evaluation] = []
    for field, check in (("added", leaf.added), ("removed", leaf.removed)):
        if check is None:
            continue
        where, what = join(path, field), replace(subject, quantity=field)
        sides = (side if isinstance(side, Unknown) else side.doubt for side in (before, after))
        why = next((side for side in sides if side is not None), None)
        if why is not None:
            traces += unknowns(where, what, check, why)
            continue
        assert isinstance(before, Objects)
        assert isinstance(after, Objects)
        refs = _only_in(after, before) if field == "added" else _only_in(before, after)
        count = Count(len(refs), len(refs))
        for operator, expected in check.operators().items():
            shown = refs[:10] or (before.file, after.file)
            truth = count.holds(operator, expected)
            traces.append(compared(join(where, operator), what, operator, expected, count, truth, shown))
    return several(path, subject, traces)


def _at(selector: ChangesSelector, snapshot: str) -> StateSelector:
    return StateSelector.model_construct(at=snapshot, node=selector.node, where=selector.where)


def _only_in(these: Objects, others: Objects) -> tuple[Ref, ...]:
    """As multisets: two equal objects are two."""
    left = [_key(found.value) for found in others.found]
    only = []
    for found in these.found:
        key = _key(found.value)
        if key in left:
            left.remove(key)
        else:
            only.append(found.ref)
    return tuple(only)


def _key(value: dict[str, Any]) -> str:
    return json.dumps(value)  # the keys are those of one class, in its order
