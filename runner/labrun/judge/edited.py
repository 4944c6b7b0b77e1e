"""Which stored evidence speaks for an edited lab: found by what was done, not by what it was called.

Predictions, claims, notes and deadlines may change, and hypotheses may come, go or have another name. Where a step is
another one, the evidence is of something else, and nothing is said about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest

from labrun.evidence.record import VariantRecord
from labrun.observe.unknown import Unknown
from labrun.protocol.plan import Plan


def match(
    plans: Iterable[Plan], stored: Mapping[str, VariantRecord]
) -> tuple[dict[str, VariantRecord], dict[str, Unknown]]:
    """The stored variants under the edited lab's names, and why the others have no evidence."""
    found: dict[str, VariantRecord] = {}
    gone: dict[str, Unknown] = {}
    for plan in plans:
        same = next((record for record in stored.values() if record.plan.doing() == plan.doing()), None)
        if same is not None:
            found[plan.variant] = same
        elif plan.variant in stored:
            gone[plan.variant] = Unknown("other-steps", _difference(stored[plan.variant].plan, plan))
        else:
            text = f"no variant of this run had the steps of '{plan.variant}': run the edited lab"
            gone[plan.variant] = Unknown("other-steps", text)
    return found, gone


def _difference(then: Plan, now: Plan) -> str:
    if then.values != now.values:
        return f"the run had {_told(then.values)}, the edited lab has {_told(now.values)}: run it"
    for old, new in zip_longest(then.steps, now.steps):
        if old is None:
            return f"step '{new.id}' is new in the edited lab, and there is no evidence of it: run it"
        if new is None:
            return f"step '{old.id}' of the run is not in the edited lab: run it"
        if old.id != new.id:
            return f"the run went on with step '{old.id}' where the edited lab has '{new.id}': run it"
        if old.doing() != new.doing():
            return f"step '{old.id}' did something else in the run than the edited lab says: run it"
    return "the edited lab has other steps than the run: run it"


def _told(values: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values) or "no parameters"
