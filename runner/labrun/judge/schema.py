"""The JSON Schema of results.json, for those who read it with a program: docs/results.schema.json.

    python -m labrun.judge.schema > docs/results.schema.json

New keys may come without a new schema number; a key that is described here stays as it is.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from labrun.judge.results import RESULTS_SCHEMA

_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
_TRUTH = {"type": ["boolean", "null"], "description": "null: unknown"}


def _object(description: str, optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}


def _list(items: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def _said(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


_OBSERVED = _object(
    "A leaf of the prediction, evaluated in the experiment.",
    path=_said(_TEXT, "Where it stands in the prediction: all.0.count.equals"),
    subject=_said(_TEXT, "What was looked at, in words."),
    operator=_MAYBE, expected=_MAYBE, actual=_MAYBE, truth=_TRUTH,
    reason=_said(_MAYBE, "A code, where the truth is unknown."),
)  # fmt: skip
_CONTROL = _object(
    "What came of the prediction in a counterfactual run.",
    ("differs",),
    variant=_said(_TEXT, "The folder of its evidence, beside experiment/."),
    change=_said(_TEXT, "What is different there."),
    truth=_TRUTH,
    differs=_list(_TEXT, "What else is not as in the experiment."),
    must={"type": "boolean", "description": "What the truth must be there: false, unless the control says otherwise."},
)
_HYPOTHESIS = _object(
    "A claim and its verdict.",
    id=_TEXT, claim=_TEXT,
    verdict={"enum": ["supported", "refuted", "inconclusive"]},
    expect={"enum": ["supported", "refuted"], "description": "What the author knows to be the truth."},
    as_expected={"type": "boolean"},
    reason=_said(_TEXT, "A code: as-predicted, contradicted, control-agrees, timeout, ..."),
    message=_said(_TEXT, "The reason as a sentence."),
    line={"type": "integer", "description": "In the lab file, from 1."},
    observed=_list(_OBSERVED),
    evidence=_list(_TEXT, "Places in the run directory: FILE:LINE, FILE packets N, M, or FILE OBJECT-PATH."),
    controls=_list(_CONTROL),
    no_control=_said(_MAYBE, "Why the claim has no control."),
    because=_said(_MAYBE, "The author's explanation, in Markdown."),
    repeats={"description": "How often each verdict came, with --repeat; else null."},
    timing={"description": "The distribution of timing predictions, with --repeat; else null."},
)  # fmt: skip
_CAPTURE = _object(
    "A capture of the experiment.", ("packets", "drops"),
    step=_TEXT, node=_TEXT, interfaces=_list(_TEXT), file=_said(_TEXT, "pcapng, relative to the run directory."),
    packets={"type": ["integer", "null"], "description": "null, or missing: it was never finished."},
    drops={"type": ["integer", "null"], "description": "Lost by the kernel."},
)  # fmt: skip
_LAB = _object(
    "A lab of the run; with parameters, one for each combination.",
    id=_TEXT, title=_TEXT, file=_said(_TEXT, "The lab file as the user named it."),
    status={"enum": ["done", "skipped", "error"]},
    reason=_said(_MAYBE, "A code where the status is not done."), message=_MAYBE,
    hypotheses=_list(_HYPOTHESIS),
    unjudged=_list(_TEXT, "The ids of a skipped lab's hypotheses."),
    captures=_list(_CAPTURE),
)  # fmt: skip
_CHECKOUT = _object(
    "A git commit that labs came from.", ("changed",),
    commit=_TEXT, labs=_list(_TEXT, "Their ids."),
    changed={"type": ["array", "null"], "items": _TEXT,
             "description": "Those whose folder was not as in the commit. null, or missing: not known."},
)  # fmt: skip
_CI = {
    **_object("The job of a CI service that made the run; else null.", ("url", "commit"),
              service=_TEXT, job=_TEXT, url=_MAYBE, commit=_MAYBE),
    "type": ["object", "null"],
}  # fmt: skip
_RUN = _object(
    "What ran, where, with what.", ("isolation_note", "kernel", "image", "image_id", "processor", "checkouts", "ci",
                                    "shard", "parts", "missing"),
    id=_TEXT, started=_said(_TEXT, "UTC, ISO 8601"), labrun=_TEXT, engine=_TEXT, engine_version=_TEXT, isolation=_TEXT,
    isolation_note=_MAYBE, kernel=_MAYBE, image=_MAYBE, image_id=_MAYBE,
    processor=_said(_MAYBE, "The host's, by name."),
    command=_list(_TEXT, "What runs it again, from the folder that it was run in."),
    checkouts=_list(_CHECKOUT), ci=_CI,
    shard=_said({"type": "object"}, "Which share of the labs it is: number, of, and every lab's id."),
    parts=_said({"type": "array"}, "Of a run that was put together: the runs."),
    missing=_said({"type": "object"}, "Id of a lab -> why none of these runs has it."),
)  # fmt: skip


def results_schema() -> dict[str, Any]:
    """Draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labrun results",
        **_object(
            "results.json of a run: every verdict, with what it rests on.",
            schema={"const": RESULTS_SCHEMA},
            run=_RUN,
            labs=_list(_LAB),
        ),
    }


def schema_text() -> str:
    return json.dumps(results_schema(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
