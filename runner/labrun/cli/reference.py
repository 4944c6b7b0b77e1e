"""The reference page of the lab language, written from the models themselves: docs/lab-language.md.

python -m labrun.cli.reference > docs/lab-language.md
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

from labrun.lab import model, predictions, steps, topology
from labrun.lab.check.predictions import OBJECTS, state_fields
from labrun.lab.expression import FUNCTIONS
from labrun.packets.fields import FIELDS

_LAB = (
    model.LabModel, model.SourceModel, model.RequiresModel, model.UserlandModel, model.DefaultsModel,
    model.LinkDefaults, model.StepDefaults,
)  # fmt: skip
_TOPOLOGY = (
    topology.TopologyModel, topology.NodeModel, topology.PutModel, topology.ServiceModel, topology.BridgeModel,
    topology.LinkModel, topology.EndModel, topology.RouteTo,
)  # fmt: skip
_STEPS = (
    steps.StepModel, steps.ReadyModel, steps.SaveModel, steps.StopModel, steps.CaptureModel, steps.NamespaceModel,
    steps.LinkModel, steps.PeerModel, steps.AddressModel, steps.RouteModel, steps.RuleModel, steps.RuleFields,
    steps.NeighbourModel, steps.SendModel, steps.SnapshotModel, steps.LookupModel, steps.TraceModel, steps.WaitModel,
)  # fmt: skip
_HYPOTHESES = (model.HypothesisModel, model.ControlModel)
_PREDICTIONS = (
    predictions.CommandIs, predictions.ChangeIs, predictions.PacketsAre, predictions.PacketSelector,
    predictions.StateIs, predictions.StateSelector, predictions.Eventually, predictions.Throughout,
    predictions.ChangesAre, predictions.ChangesSelector, predictions.LookupIs, predictions.SuiteIs,
    predictions.TraceIs, predictions.TraceSelector, predictions.ExprIs, predictions.ValueOf, predictions.Window,
    predictions.Check,
)  # fmt: skip

_INTRODUCTION = """\
# The lab language

This page is generated from labrun's own models; `labs/lab.schema.json` says the same to editors. Keys that are not
listed are errors, with the place and the word that was probably meant.

Durations are written `500ms`, `2s` or `1m`. A value `${name}` is a parameter, or what an earlier step saved; commands
have the same values as environment variables. A step without `in:` happens in the only node, if there is one.
"""

_JOINED = """\
`all: [...]`, `any: [...]` and `not: ...` join predictions, with three values: what could not be observed is unknown. A
bare value where a check is wanted means `equals`.
"""


def reference() -> str:
    """The whole page, the same text for the same models."""
    parts = [_INTRODUCTION]
    for heading, models in (
        ("A lab", _LAB),
        ("Topology", _TOPOLOGY),
        ("Steps", _STEPS),
        ("Hypotheses and controls", _HYPOTHESES),
        ("Predictions", _PREDICTIONS),
    ):
        parts.append(f"## {heading}\n")
        if models is _PREDICTIONS:
            parts.append(_JOINED)
        parts += [_model(one) for one in models]
    parts.append(_states())
    parts.append(_fields())
    return "\n".join(parts)


def _model(one: type[BaseModel]) -> str:
    name = one.__name__.removesuffix("Model")
    doc = inspect.cleandoc(one.__doc__ or "")
    schema = one.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    lines = [f"### {name}\n", *([doc + "\n"] if doc else []), "| key | value | default |", "|---|---|---|"]
    for key, spec in schema.get("properties", {}).items():
        default = "**required**" if key in required else _default(spec)
        lines.append(f"| `{key}` | {_type(spec, definitions)} | {default} |")
    return "\n".join(lines) + "\n"


def _default(spec: dict[str, Any]) -> str:
    value = spec.get("default")
    return "" if value in (None, [], "") or isinstance(value, dict) else f"`{value}`".replace("|", "\\|")


_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": ""}


def _type(spec: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "$ref" in spec:
        name = spec["$ref"].rpartition("/")[2]
        plain = _ALIASES.get(name, name).removesuffix("Model")
        return f"[{plain}](#{plain.lower()})" if name in _KNOWN else "a prediction"
    if "enum" in spec:
        return ", ".join(f"`{value}`" for value in spec["enum"])
    if "const" in spec:
        return f"`{spec['const']}`"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in spec:
            members = dict.fromkeys(_type(member, definitions) for member in spec[key])
            return " or ".join(member for member in members if member)
    kind = spec.get("type")
    if kind == "array":
        return f"list of {_type(spec.get('items', {}), definitions) or 'values'}"
    if kind == "object":
        inner = spec.get("additionalProperties")
        return f"name: {_type(inner, definitions)}" if isinstance(inner, dict) else "mapping"
    return _TYPES.get(str(kind), "value")


_ALIASES = dict.fromkeys(("TextCheck", "NumberCheck", "CountCheck", "ExitCheck", "DurationCheck"), "Check")
_KNOWN = {one.__name__ for one in (*_LAB, *_TOPOLOGY, *_STEPS, *_HYPOTHESES, *_PREDICTIONS)} | set(_ALIASES)


def _states() -> str:
    lines = [
        "## Fields of kernel state\n",
        "For `where:` and `each:`. Names are iproute2's where it has them. What the kernel does not tell, such as the",
        "`dev` that raw sockets are bound to, is unknown, and not absent.\n",
    ]
    lines += ["| kind | fields |", "|---|---|"]
    lines += [f"| `{kind}` | {', '.join(f'`{name}`' for name in state_fields(kind))} |" for kind in OBJECTS]
    lines.append("")
    lines.append(f"Functions in `expr`: {', '.join(f'`{name}`' for name in FUNCTIONS)}.\n")
    return "\n".join(lines)


def _fields() -> str:
    lines = ["## Fields of packets\n", "For `fields:`, in Wireshark's names.\n", "| field | value | |", "|---|---|---|"]
    lines += [f"| `{name}` | {field.kind} | {field.about} |" for name, field in FIELDS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
