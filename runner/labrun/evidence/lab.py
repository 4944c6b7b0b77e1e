"""The compiled lab as part of a run: what its hypotheses predict, and which plans were carried out for them.

Whoever runs a lab writes it beside the lab's file; whoever judges or reports reads it, and reads no YAML. What a later
labrun refuses in a lab's file is no matter for what was done. Runs from before it was kept: `evidence.older`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, WrapValidator

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, EvidenceMissing, read_below
from labrun.evidence.run import LabEntry
from labrun.lab.base import STORED, Scalar
from labrun.lab.model import Expected
from labrun.lab.predictions import Prediction
from labrun.protocol.codec import ProtocolError, decode, encode, parse
from labrun.protocol.plan import Step
from labrun.protocol.record import dataclass

if TYPE_CHECKING:
    from labrun.lab.compile import CompiledLab
    from labrun.lab.model import ControlModel

LAB_FORMAT = 1
MAX_BYTES = 16 * 1024 * 1024  # of a lab whose file has one MiB at most


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a prediction that this labrun cannot read. The others of the lab are judged."""

    message: str


def _or_unreadable(value: object, read: Any) -> object:
    try:
        return read(value)
    except ValidationError as error:
        return Unreadable(_told(error))


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    # Without pydantic's own words for the members of a union.
    place = ".".join(str(part) for part in first["loc"] if str(part).isidentifier() or isinstance(part, int))
    return f"{place}: {first['msg']}" if place else first["msg"]


StoredPrediction = Annotated[SerializeAsAny[Prediction] | Unreadable, WrapValidator(_or_unreadable)]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class StoredSource(_Stored):
    """Where the question comes from."""

    title: str
    author: str | None = None
    year: int | None = None
    url: str | None = None


class StoredControl(_Stored):
    """A control. ``variant``: the folder that has its evidence.

    What it changed is one of ``without``, ``replace``, ``before``, ``after`` (the id of a step) and ``parameters``;
    ``inserted`` has the ids of the steps that it added. ``predict``: what must be true in it.
    """

    variant: str
    without: str | None = None
    replace: str | None = None
    before: str | None = None
    after: str | None = None
    inserted: tuple[str, ...] = ()
    parameters: dict[str, Scalar] | None = None
    predict: StoredPrediction | None = None
    note: str | None = None


class StoredHypothesis(_Stored):
    """A hypothesis. ``line``: where it stands in the lab's file. ``no_control``: why it has none."""

    id: str
    line: int
    claim: str
    predict: StoredPrediction
    expect: Expected
    because: str | None = None
    controls: tuple[StoredControl, ...] = ()
    no_control: str | None = None


class StoredLab(_Stored):
    """A lab as it was run. ``plans``: variant -> digest of its plan; empty in runs that kept none.

    ``topology``: the steps that make the network, as in plan.json.
    """

    format: int = LAB_FORMAT
    slug: str
    title: str
    question: str
    source: StoredSource | None = None
    background: str | None = None
    conclusion: str | None = None
    tags: tuple[str, ...] = ()
    hypotheses: tuple[StoredHypothesis, ...]
    plans: dict[str, str] = {}
    topology: tuple[Any, ...] = ()

    def predictions(self) -> Iterator[Prediction]:
        """Every prediction that can be read, those of controls included."""
        for hypothesis in self.hypotheses:
            for found in (hypothesis.predict, *(control.predict for control in hypothesis.controls)):
                if found is not None and not isinstance(found, Unreadable):
                    yield found

    def topology_steps(self) -> tuple[Step, ...]:
        """Raises ProtocolError where they are no steps."""
        return tuple(decode(Step, step) for step in self.topology)


def stored(compiled: CompiledLab) -> StoredLab:
    """What a run keeps of a lab."""
    lab, model = compiled.lab, compiled.lab.model
    hypotheses = []
    for index, hypothesis in enumerate(model.hypotheses):
        if hypothesis.id not in compiled.controls:
            continue  # it was not asked for
        changed = [control for control in hypothesis.control if control.none is None]
        names = compiled.controls[hypothesis.id]
        hypotheses.append(
            StoredHypothesis(
                id=hypothesis.id,
                line=lab.places.of(("hypotheses", index, "id"))[0],
                claim=hypothesis.claim,
                predict=hypothesis.predict,
                expect=hypothesis.expect,
                because=hypothesis.because,
                controls=tuple(_control(one, name) for one, name in zip(changed, names, strict=True)),
                no_control=next((one.none for one in hypothesis.control if one.none is not None), None),
            )
        )
    return StoredLab(
        slug=lab.slug,
        title=model.title,
        question=model.question,
        source=StoredSource(**model.source.model_dump()) if model.source is not None else None,
        background=model.background,
        conclusion=model.conclusion,
        tags=model.tags,
        hypotheses=tuple(hypotheses),
        plans={plan.variant: plan.digest for plan in compiled.plans},
        topology=tuple(encode(step) for step in compiled.experiment.steps if step.phase == "topology"),
    )


def _control(control: ControlModel, variant: str) -> StoredControl:
    return StoredControl(
        variant=variant,
        without=control.without,
        replace=control.replace,
        before=control.before,
        after=control.after,
        inserted=tuple(step.id or f"inserted-{number}" for number, step in enumerate(control.insert, start=1)),
        parameters=control.parameters,
        predict=control.predict,
        note=control.note,
    )


def lab_json(lab: StoredLab) -> str:
    return lab.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"


def read_lab(run: Path, entry: LabEntry) -> StoredLab:
    """The lab of a run. Raises EvidenceError where it cannot be read; LabError for an older run's file that is none."""
    folder = f"labs/{entry.slug}"
    try:
        text = read_below(run, f"{folder}/{layout.COMPILED}", MAX_BYTES)
    except EvidenceMissing:
        from labrun.evidence.older import lab_of_older_run

        text = read_below(run, f"{folder}/{layout.LAB}", MAX_BYTES)
        return lab_of_older_run(text, entry)
    try:
        return _loads(text)
    except ProtocolError as error:
        raise EvidenceError(f"{run / folder / layout.COMPILED}: {error}") from error


def _loads(text: bytes) -> StoredLab:
    """Raises ProtocolError with the place of what is wrong."""
    value = parse(text)
    if isinstance(value, dict) and value.get("format") != LAB_FORMAT:
        raise ProtocolError(f"its format is {value.get('format')!r}; this labrun reads {LAB_FORMAT}")
    try:
        return StoredLab.model_validate(value, context=STORED)
    except ValidationError as error:
        raise ProtocolError(_told(error)) from error
    except RecursionError as error:
        raise ProtocolError("nested too deeply") from error
