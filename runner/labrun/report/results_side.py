"""A results.json as one side of a difference: what it says, without the evidence."""

from __future__ import annotations

from typing import Any

from labrun.evidence.files import EvidenceError
from labrun.judge.results import RESULTS_SCHEMA, ControlResult, Evaluation, HypothesisResult, LabResult, Subject
from labrun.protocol.codec import ProtocolError, parse
from labrun.report.difference import Side

# Of the run's record -> what `difference` calls it.
_FACTS = {
    "labrun": "labrun", "engine": "engine", "engine_version": "engine version", "isolation": "isolation",
    "userland": "userland", "kernel": "kernel", "processor": "processor", "image": "image", "image_id": "image id",
    "python": "Python",
}  # fmt: skip
_VERDICTS = ("supported", "refuted", "inconclusive")


def side_of_results(text: bytes, shown: str) -> Side:
    """Raises EvidenceError where it is no results.json. ``shown``: its name for messages."""
    try:
        value = parse(text)
        if value["schema"] != RESULTS_SCHEMA:
            raise EvidenceError(f"{shown}: its schema is {value['schema']!r}; this labrun reads {RESULTS_SCHEMA}")
        labs = tuple(_lab(lab) for lab in value["labs"])
        facts = {name: str(value["run"][key]) for key, name in _FACTS.items() if value["run"].get(key) is not None}
        return Side(_text(value["run"]["id"]), labs, {}, facts, brief=True)
    except ProtocolError as error:
        raise EvidenceError(f"{shown}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvidenceError(f"{shown}: no results.json of labrun: {type(error).__name__}: {error}") from error


def _lab(lab: Any) -> LabResult:
    if lab["status"] not in ("done", "skipped", "error"):
        raise ValueError(f"status {lab['status']!r:.80}")
    hypotheses = tuple(_hypothesis(one) for one in lab["hypotheses"])
    return LabResult(_text(lab["id"]), _text(lab["title"]), _text(lab["file"]), lab["status"], hypotheses, (),
                     _maybe(lab["reason"]), _maybe(lab["message"]))  # fmt: skip


def _hypothesis(one: Any) -> HypothesisResult:
    if one["verdict"] not in _VERDICTS or one["expect"] not in _VERDICTS[:2]:
        raise ValueError(f"verdict {one['verdict']!r:.80}, expected {one['expect']!r:.80}")
    leaves = tuple(_leaf(leaf) for leaf in one["observed"])
    trace = leaves[0] if len(leaves) == 1 else Evaluation("", Subject("the prediction"), None, "all", children=leaves)
    return HypothesisResult(
        id=_text(one["id"]), claim=_text(one["claim"]), expect=one["expect"], verdict=one["verdict"],
        as_expected=bool(one["as_expected"]), reason=_text(one["reason"]), message=_text(one["message"]),
        line=int(one["line"]), trace=trace, controls=tuple(_control(control) for control in one["controls"]),
    )  # fmt: skip


def _leaf(leaf: Any) -> Evaluation:
    return Evaluation(
        _text(leaf["path"]), Subject(_text(leaf["subject"])), _truth(leaf["truth"]), _maybe(leaf["operator"]),
        _maybe(leaf["expected"]), _maybe(leaf["actual"]), _maybe(leaf["reason"]),
    )  # fmt: skip


def _control(control: Any) -> ControlResult:
    trace = Evaluation("", Subject("the prediction"), _truth(control["truth"]))
    return ControlResult(_text(control["variant"]), _text(control["change"]), trace.truth, trace)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:80]!r} is no text")
    return value


def _maybe(value: Any) -> str | None:
    return None if value is None else _text(value)


def _truth(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{str(value)[:80]!r} is no truth")
    return value
