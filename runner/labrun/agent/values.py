"""Values of a plan while it runs: its parameters, and what steps have saved from their output.

Commands get them as environment variables. In typed steps, a text that is `${name}` and nothing else is replaced.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from labrun.agent.stage import StepFailed
from labrun.protocol.plan import Save

_REFERENCE = re.compile(r"\$\{([a-z_][a-z0-9_]{0,31})\}")
_SHOWN = 120
MAX_VALUE = 4096  # a value is a number or a name, not an output


def taken(save: Save, text: str) -> str | int | float:
    """The value that ``save`` means. Raises StepFailed naming what was not there."""
    found = text.strip()
    if save.matches is not None:
        match = re.search(save.matches, text)
        if match is None:
            raise StepFailed(f"save {save.name}: nothing in {save.stream} matches {save.matches!r}")
        found = match[1] if match.re.groups and match[1] is not None else match[0]
    if not found:
        raise StepFailed(f"save {save.name}: there is nothing to save in {save.stream}")
    if len(found) > MAX_VALUE:
        raise StepFailed(f"save {save.name}: more than {MAX_VALUE} characters")
    try:
        if save.type == "int":
            return int(found)
        if save.type == "float":
            number = float(found)
            if not math.isfinite(number):
                raise ValueError(found)
            return number
        return found
    except ValueError as error:
        raise StepFailed(f"save {save.name}: not a number ({save.type}): {found[:_SHOWN]!r}") from error


def filled(text: str, values: dict[str, str | int | float]) -> str:
    """The text with each `${name}` of a value in it; what is no value's name stays as it is."""
    return _REFERENCE.sub(lambda match: str(values.get(match[1], match[0])), text)


def resolved(action: Any, values: dict[str, str | int | float]) -> Any:
    """The action with its references filled in. Raises StepFailed for one that nobody saved."""
    if isinstance(action, str):
        match = _REFERENCE.fullmatch(action)
        if match is None:
            return action
        if match[1] not in values:
            raise StepFailed(f"nothing was saved as '{match[1]}'")
        return str(values[match[1]])
    if isinstance(action, tuple):
        return tuple(resolved(item, values) for item in action)
    if dataclasses.is_dataclass(action) and not isinstance(action, type):
        changes = {field.name: resolved(getattr(action, field.name), values) for field in dataclasses.fields(action)}
        return dataclasses.replace(action, **changes)
    return action
