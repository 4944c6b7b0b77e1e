"""The JSON Schema of lab files, for editors: generated from the models, so that it says what they accept.

It knows shapes, not references: `labrun check` sees to the rest. To write the file:
``python -m labrun.lab.schema > labs/lab.schema.json``
"""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

from labrun.lab.meanings import MEANINGS
from labrun.lab.model import LabModel
from labrun.lab.steps import VERBS
from labrun.protocol import actions

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def lab_schema() -> dict[str, Any]:
    """Draft 2020-12. Keys are in the order of the models, so that equal models give equal bytes."""
    schema = LabModel.model_json_schema(by_alias=True)
    _describe_verbs(schema["$defs"]["StepModel"]["properties"])
    plain = _tidy(schema)
    plain["description"] = "A lab: a question, a topology, steps and hypotheses (labs/<slug>/lab.yaml)."
    found = {"$schema": SCHEMA_ID, "title": "labrun lab", **_renamed(plain)}
    for name, model in {"Lab": found, **found["$defs"]}.items():
        for key, meaning in MEANINGS.get(name, {}).items():
            if key in model.get("properties", {}):
                model["properties"][key]["description"] = meaning
    return found


def schema_text() -> str:
    """The file's content."""
    return json.dumps(lab_schema(), indent=2) + "\n"


def _describe_verbs(properties: dict[str, Any]) -> None:
    """A verb is described by what its action does."""
    for verb in VERBS:
        action = getattr(actions, verb.capitalize())
        properties[verb]["description"] = inspect.cleandoc(action.__doc__ or "")


def _tidy(value: Any, names: bool = False) -> Any:
    """Without what pydantic adds for its own sake: titles made of the field's name, and defaults that are null.

    ``names``: the keys of ``value`` are the author's (properties, definitions), not the schema language's.
    """
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = value if names else {k: v for k, v in value.items() if k != "title" and (k, v) != ("default", None)}
    return {
        key: item if key in ("default", "enum", "const", "required") and not names
        else item.replace("``", "`") if key == "description" and not names
        else _tidy(item, names=not names and key in ("properties", "$defs", "patternProperties"))
        for key, item in kept.items()
    }  # fmt: skip


def _renamed(schema: dict[str, Any]) -> dict[str, Any]:
    """Definitions by their words: StepModel is `Step`, and the two kinds of link are told apart."""
    text = json.dumps(schema)
    for name in schema["$defs"]:
        module, _, last = name.rpartition("__")
        short = last.removesuffix("Model")
        short = f"Topology{short}" if module.endswith("topology") else short
        text = text.replace(f'"#/$defs/{name}"', f'"#/$defs/{short}"').replace(f'"{name}": {{', f'"{short}": {{', 1)
    renamed: dict[str, Any] = json.loads(text)
    return renamed


if __name__ == "__main__":
    sys.stdout.write(schema_text())
