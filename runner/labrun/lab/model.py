"""A lab: a question, a topology, steps and hypotheses. Frozen models; what they mean is compiled elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from labrun.lab.base import Duration, Env, Flag, Int, Mtu, Scalar, Slug, Strict, ValueName, fail
from labrun.lab.predictions import Prediction
from labrun.lab.steps import Exits, StepModel
from labrun.lab.topology import NodeModel, TopologyModel
from labrun.logic.suggest import did_you_mean
from labrun.protocol.features import FEATURES

Verdict = Literal["supported", "refuted", "inconclusive"]
Expected = Literal["supported", "refuted"]


class SourceModel(Strict):
    """Where the question comes from."""

    title: str
    author: str | None = None
    year: Int | None = None
    url: str | None = None


def _feature(name: str) -> str:
    if name not in FEATURES:
        known = did_you_mean(name, FEATURES) or f" Known are {', '.join(FEATURES)}."
        raise fail("feature", f"unknown kernel feature '{name[:60]}'.{known}")
    return name


class RequiresModel(Strict):
    """What the sandbox must have. Where it is missing, the lab is skipped with that reason, never judged."""

    tools: tuple[str, ...] = ()
    kernel: tuple[Annotated[str, AfterValidator(_feature), Field(json_schema_extra={"enum": list(FEATURES)})], ...] = ()


# Debian policy, 5.6.7 and 5.6.12
PackageName = Annotated[
    str,
    AfterValidator(lambda value: _package(value)),
    Field(json_schema_extra={"pattern": r"^[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?$"}),
]


def _package(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]{1,127}(=[A-Za-z0-9.+:~-]{1,127})?", value) or value.endswith(("-", "+")):
        raise fail("package", f"{value[:60]!r} is no name of a Debian package, such as frr or frr=8.4.4-1.1")
    return value


def _one_or_more(model: type[Strict]) -> Any:
    """A single mapping stands for a list of one; nothing for an empty list."""

    def listed(value: object) -> object:
        if value is None:
            return ()
        return value if isinstance(value, list | tuple) else (value,)

    return BeforeValidator(listed, json_schema_input_type=model | tuple[model, ...] | None)  # type: ignore[valid-type]


CONTROL_FORMS = ("without", "replace", "before", "after", "parameters", "none")


class ControlModel(Strict):
    """A counterfactual: the same lab with one thing changed. There the prediction must fail.

    One of ``without: step``; ``replace: step`` with ``with: step``; ``before:`` or ``after: step`` with
    ``insert: step or steps``; ``parameters:`` with other values; or ``none: reason``, where the claim has no natural
    control. ``predict``: what must be true in the control, too, where "the prediction is false" is too weak.

    A command that the control itself brings must end with 0, else it is not known to have changed anything, unless the
    prediction looks at its exit.
    """

    without: Slug | None = None
    replace: Slug | None = None
    with_: StepModel | None = Field(default=None, alias="with")
    before: Slug | None = None
    after: Slug | None = None
    insert: Annotated[tuple[StepModel, ...], _one_or_more(StepModel)] = ()
    parameters: dict[ValueName, Scalar] | None = None
    none: str | None = None
    predict: Prediction | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _one(self) -> ControlModel:
        forms = [name for name in CONTROL_FORMS if getattr(self, name)]
        if len(forms) != 1:
            raise fail("control", "a control is one of without, replace, before, after, parameters or none; "
                       + ("nothing is given" if not forms else "given: " + ", ".join(forms)))  # fmt: skip
        if (self.replace is not None) != (self.with_ is not None):
            raise fail("control", "replace: STEP and with: {...} go together")
        if bool(self.before or self.after) != bool(self.insert):
            raise fail("control", "insert: {...} and before: or after: STEP go together")
        return self


class HypothesisModel(Strict):
    """A claim in a sentence, a prediction that can be checked, and what its author knows to be the truth."""

    id: Slug
    claim: str
    predict: Prediction
    expect: Expected = "supported"
    because: str | None = None
    control: Annotated[tuple[ControlModel, ...], _one_or_more(ControlModel)] = ()


class UserlandModel(Strict):
    """Debian packages that the lab needs beside those of the lab image, such as frr, or with a version: frr=8.4.4-1.1.

    An image with them is built when they are first asked for, and kept. The evidence has every version.
    """

    packages: Annotated[tuple[PackageName, ...], Field(min_length=1, max_length=100)]


class LinkDefaults(Strict):
    """What links have that do not say otherwise."""

    mtu: Mtu | None = None
    offloads: Literal["on", "off"] | None = None


class StepDefaults(Strict):
    """What steps have that do not say otherwise; each where it can stand."""

    node: Slug | None = Field(default=None, alias="in")
    timeout: Duration | None = None
    may_fail: Flag | None = None
    exit: Exits | None = None


class DefaultsModel(Strict):
    """What each node, link and step has that does not say otherwise."""

    nodes: NodeModel = NodeModel()
    links: LinkDefaults = LinkDefaults()
    steps: StepDefaults = StepDefaults()


class LabModel(Strict):
    """labs/<slug>/lab.yaml, and the files beside it, which commands find at /lab, where they start.

    ``files``: only these of them, files or folders; without it all. ``include``: a file whose topology comes below this
    one's. ``env``: what commands have in their environment; what a node or a step says goes before it. Keys that begin
    with ``x-`` are the author's own, as for anchors. A lab without ``hypotheses`` claims nothing: its report is
    documentation.
    """

    model_config = ConfigDict(json_schema_extra={"patternProperties": {"^x-": {}}})

    title: str
    question: str
    source: SourceModel | None = None
    background: str | None = None
    tags: tuple[Slug, ...] = ()
    requires: RequiresModel = RequiresModel()
    timeout: Duration = 120.0
    parameters: dict[ValueName, Annotated[tuple[Scalar, ...], Field(min_length=1)]] = {}
    watch: bool = True
    userland: UserlandModel | None = None
    files: tuple[str, ...] | None = None
    env: Env = {}
    include: str | None = None
    defaults: DefaultsModel = DefaultsModel()
    topology: TopologyModel = TopologyModel()
    steps: Annotated[tuple[StepModel, ...], Field(min_length=1)]
    hypotheses: Annotated[tuple[HypothesisModel, ...], Field(min_length=1)] = ()
    conclusion: str | None = None

    def services(self) -> tuple[tuple[str, StepModel, tuple[str | int, ...]], ...]:
        """The services of its nodes as the steps that they are: (id, step, place in the lab file), in order."""
        return tuple(
            (
                f"{node}-{name}",
                StepModel.model_validate({
                    "in": node, "start": one.run, "ready": one.ready, "timeout": one.timeout, "env": one.env or None,
                    "may_fail": one.may_fail, "exit": one.exit, "note": one.note,
                }),
                ("topology", "nodes", node, "services", name),
            )
            for node, model in self.topology.nodes.items()
            for name, one in model.services.items()
        )  # fmt: skip

    def step_ids(self) -> tuple[str, ...]:
        """The id of each step: the given one, or step-N by its place (from 1)."""
        return tuple(step.id or f"step-{number}" for number, step in enumerate(self.steps, start=1))


def placed_predictions(lab: LabModel) -> Iterator[tuple[tuple[str | int, ...], Prediction]]:
    """Every prediction of every hypothesis, those of its controls included, with its path in the lab file."""
    for index, hypothesis in enumerate(lab.hypotheses):
        yield ("hypotheses", index, "predict"), hypothesis.predict
        for number, control in enumerate(hypothesis.control):
            if control.predict is not None:
                yield ("hypotheses", index, "control", number, "predict"), control.predict


def all_predictions(lab: LabModel) -> Iterator[Prediction]:
    """Every prediction of every hypothesis, those of its controls included."""
    return (prediction for _, prediction in placed_predictions(lab))
