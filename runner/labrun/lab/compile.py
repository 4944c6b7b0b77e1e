"""A lab to plans: the experiment, and one for each control. Finds what only the whole can show to be wrong.

Same lab, same plans, same digests: nothing here looks at a clock, an environment or a machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labrun.lab.base import Scalar, as_text
from labrun.lab.check.references import check_references
from labrun.lab.load import Lab, parse_lab
from labrun.lab.model import ControlModel, LabModel, all_predictions
from labrun.lab.predictions import ExprIs, PacketsAre, StateIs, leaves
from labrun.lab.problems import LabError, Problem
from labrun.lab.steps import NODELESS, StepModel, action_of
from labrun.lab.text import Keys
from labrun.lab.topology import topology_steps
from labrun.logic.suggest import did_you_mean
from labrun.protocol.actions import Namespace, Snapshot
from labrun.protocol.plan import EXPERIMENT, Limits, Plan, Save, Step
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Placed:
    """A step model with its id and its place in the lab file (of the control, for an inserted one)."""

    id: str
    model: StepModel
    path: Keys


@dataclass(frozen=True, slots=True)
class CompiledLab:
    """The plans of a lab. ``controls``: hypothesis id -> the variants in which its prediction must fail.

    ``controls`` has the hypotheses that are to be judged: all of the lab's, or those that were asked for.
    """

    lab: Lab
    experiment: Plan
    variants: tuple[Plan, ...]  # the controls' plans, each once
    controls: dict[str, tuple[str, ...]]

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The experiment first, then the controls."""
        return (self.experiment, *self.variants)

    def only(self, hypotheses: frozenset[str]) -> CompiledLab:
        """The lab with these of its hypotheses, and with the controls that they need."""
        controls = {name: variants for name, variants in self.controls.items() if name in hypotheses}
        needed = {variant for variants in controls.values() for variant in variants}
        return replace(self, controls=controls, variants=tuple(p for p in self.variants if p.variant in needed))


def compile_lab(lab: Lab, timeout_s: float | None = None) -> CompiledLab:
    """Raises LabError with every problem. ``timeout_s``: the command line's bound on the whole lab."""
    problems: list[Problem] = []
    base = placed_steps(lab)
    problems += _duplicate_ids(lab)
    problems += check_references(lab, [(step.id, step.model, step.path) for step in base])
    sound = not problems
    experiment = _plan(lab, base, EXPERIMENT, timeout_s)
    variants: dict[tuple[object, ...], Plan] = {}
    controls: dict[str, tuple[str, ...]] = {}
    for h_index, hypothesis in enumerate(lab.model.hypotheses):
        names: list[str] = []
        for c_index, control in enumerate(hypothesis.control):
            if control.none is not None:
                continue
            path: Keys = ("hypotheses", h_index, "control", c_index)
            if control.parameters is not None:
                other = _with_parameters(lab, control.parameters, path, problems)
                if other is not None:
                    changed = placed_steps(other)
                    if sound:
                        problems += check_references(
                            other, [(step.id, step.model, step.path) for step in changed],
                            only_predictions_of=h_index, at=path, own=control.predict,
                        )  # fmt: skip
                    name = hypothesis.id if c_index == 0 else f"{hypothesis.id}-{c_index + 1}"
                    plan = _plan(other, changed, name, timeout_s, judged=lab)
                    names.append(variants.setdefault((plan.values, *plan.steps), plan).variant)
                continue
            steps = _changed(lab, base, control, path, problems)
            if steps is None:
                continue
            if sound:  # else each problem would be told again, as the control's
                problems += check_references(lab, [(step.id, step.model, step.path) for step in steps],
                                             only_predictions_of=h_index, at=path, own=control.predict)  # fmt: skip
            name = hypothesis.id if c_index == 0 else f"{hypothesis.id}-{c_index + 1}"
            plan = _plan(lab, steps, name, timeout_s)
            if plan.doing() == experiment.doing():
                where = path if lab.places.has(path) else path[:-1]
                problems.append(lab.problem(where, "control: this does just what the experiment does"))
            known = variants.setdefault((plan.values, *plan.steps), plan)
            names.append(known.variant)
        controls[hypothesis.id] = tuple(names)
    if problems:
        unique = {str(problem): problem for problem in problems}
        raise LabError(sorted(unique.values(), key=lambda p: (p.line, p.column)))
    return CompiledLab(lab, experiment, tuple(variants.values()), controls)


def placed_steps(lab: Lab) -> tuple[Placed, ...]:
    """The services of the nodes first."""
    services = [Placed(*service) for service in lab.model.services()]
    steps = enumerate(zip(lab.model.step_ids(), lab.model.steps, strict=True))
    return (*services, *(Placed(step_id, model, ("steps", index)) for index, (step_id, model) in steps))


def steps_of_control(lab: Lab, control: ControlModel) -> tuple[Placed, ...] | None:
    """The steps of a control that changes steps; None of others."""
    if control.none is not None or control.parameters is not None:
        return None
    return _changed(lab, placed_steps(lab), control, ("control",), [])


def _with_parameters(lab: Lab, values: dict[str, Scalar], path: Keys, problems: list[Problem]) -> Lab | None:
    """The same lab with other values of its parameters, or None (and a problem)."""
    where = path if lab.places.has(path) else path[:-1]
    for name in values:
        if name not in lab.model.parameters:
            hint = did_you_mean(name, lab.model.parameters)
            problems.append(lab.problem((*where, "parameters", name), f"control: unknown parameter '{name}'.{hint}"))
            return None
    other = {**lab.cell, **values}
    if other == dict(lab.cell):
        problems.append(lab.problem((*where, "parameters"), "control: these are the experiment's own values"))
        return None
    parsed = parse_lab(lab.text, lab.path, lab.slug, lab.shown, other, lab.included)
    return replace(parsed, files=lab.files)


def _duplicate_ids(lab: Lab) -> list[Problem]:
    problems = []
    services = {step_id: path for step_id, _, path in lab.model.services()}
    for index, name in enumerate(lab.model.step_ids()):
        if name in services:
            text = f"the id '{name}' is that of a service: {'.'.join(map(str, services[name]))}"
            problems.append(lab.problem(("steps", index, "id"), text))
    for key, ids in (("steps", lab.model.step_ids()), ("hypotheses", [h.id for h in lab.model.hypotheses])):
        seen: dict[str, int] = {}
        for index, name in enumerate(ids):
            if name in seen:
                text = f"the id '{name}' is there already, at number {seen[name] + 1}"
                problems.append(lab.problem((key, index, "id"), text))
            seen.setdefault(name, index)
            if name.startswith("topology-"):
                problems.append(lab.problem((key, index, "id"), "ids that begin with 'topology-' are labrun's own"))
    return problems


def _changed(
    lab: Lab, base: tuple[Placed, ...], control: ControlModel, path: Keys, problems: list[Problem]
) -> tuple[Placed, ...] | None:
    """The steps of a control, or None (and a problem) if it names a step that is not there."""
    form = next(name for name in ("without", "replace", "before", "after") if getattr(control, name))
    target = getattr(control, form)
    ids = [step.id for step in base]
    # A control given as one mapping, not a list, has no index in the file.
    where = path if lab.places.has(path) else path[:-1]
    if target not in ids:
        problems.append(lab.problem((*where, form), f"control: unknown step '{target}'.{did_you_mean(target, ids)}"))
        return None
    index = ids.index(target)
    if form == "without":
        return base[:index] + base[index + 1 :]
    if form == "replace" and control.with_ is not None:
        if control.with_.id not in (None, target):
            text = f"control: the replacement keeps the id '{target}'; leave its own out"
            problems.append(lab.problem((*where, "with", "id"), text))
        return (*base[:index], Placed(target, control.with_, (*where, "with")), *base[index + 1 :])
    new = tuple(
        Placed(model.id or f"inserted-{number}", model, (*where, "insert", number - 1))
        for number, model in enumerate(control.insert, start=1)
    )
    problems += _inserted_ids(lab, new, ids)
    at = index if form == "before" else index + 1
    return (*base[:at], *new, *base[at:])


def _inserted_ids(lab: Lab, new: tuple[Placed, ...], ids: list[str]) -> list[Problem]:
    """An id is one step's alone, also where a control adds steps."""
    problems = []
    taken = list(ids)
    for step in new:
        if step.id in taken:
            text = f"control: the id '{step.id}' is there already"
            problems.append(lab.problem((*step.path, "id"), text))
        if step.id.startswith("topology-"):
            problems.append(lab.problem((*step.path, "id"), "ids that begin with 'topology-' are labrun's own"))
        taken.append(step.id)
    return problems


def _plan(
    lab: Lab, steps: tuple[Placed, ...], variant: str, timeout_s: float | None, judged: Lab | None = None
) -> Plan:
    """``judged``: the lab whose predictions are held against this plan's evidence, where it is another cell."""
    model = lab.model
    judged = judged or lab
    nodes = list(model.topology.nodes)
    made: list[Step] = list(topology_steps(model.topology, lab.files))
    sampling = _sampling(judged)
    for placed in steps:
        step = placed.model
        action = action_of(step, tuple(nodes))
        node = None if step.verb in NODELESS else step.node or (nodes[0] if len(nodes) == 1 else None)
        command = step.run if step.run is not None else step.start
        shell = command if isinstance(command, str) else None
        timeout_of_step = step.timeout
        if isinstance(action, Snapshot) and placed.id in sampling:
            for_s, every_s = sampling[placed.id]
            action = replace(action, for_s=for_s, every_s=every_s)
            timeout_of_step += for_s
        saves = tuple(Save(name, save.stream, save.matches, save.type) for name, save in (step.save or {}).items())
        env = _env(model, step, node)
        made.append(
            Step(
                placed.id, action, node, timeout_of_step, "lab", step.may_fail, step.note, shell, saves, step.exit, env
            )
        )
        if isinstance(action, Namespace):
            if action.op == "add":
                nodes.append(action.name)
            elif action.name in nodes:
                nodes.remove(action.name)
    return Plan(
        lab=lab.slug,
        variant=variant,
        steps=tuple(made),
        nodes=tuple(model.topology.nodes),
        filters=_filters(judged),
        tools=tuple(sorted(set(model.requires.tools))),
        values=tuple((name, str(as_text(value))) for name, value in lab.cell.items()),
        limits=Limits(lab_timeout_s=timeout_s or model.timeout),
        seed=0,
        watch=None if model.watch else False,
        features=tuple(sorted(set(model.requires.kernel))),
        files=lab.files.entries or None,
        userland=tuple(sorted(set(model.userland.packages))) if model.userland else None,
    ).sealed()


def _env(lab: LabModel, step: StepModel, node: str | None) -> tuple[tuple[str, str], ...] | None:
    """What the lab, the node and the step say of a command's environment; the nearest goes first."""
    if step.run is None and step.start is None and not (step.wait and step.wait.succeeds):
        return None
    of_node = lab.topology.nodes[node].env if node in lab.topology.nodes else {}
    return tuple(sorted({**lab.env, **of_node, **(step.env or {})}.items())) or None


def _sampling(lab: Lab) -> dict[str, tuple[float, float]]:
    """Snapshot step -> (for, every): what the predictions over it that speak of time need."""
    found: dict[str, tuple[float, float]] = {}
    for leaf in _all_leaves(lab):
        times = leaf.sampling() if isinstance(leaf, StateIs) else None
        if times is not None and isinstance(leaf, StateIs):
            for_s, every_s = found.get(leaf.selector.at, times)
            found[leaf.selector.at] = (max(for_s, times[0]), min(every_s, times[1]))
    return found


def _all_leaves(lab: Lab) -> Iterator[Any]:
    for prediction in all_predictions(lab.model):
        for _, leaf in leaves(prediction):
            yield leaf


def _filters(lab: Lab) -> tuple[str, ...]:
    """The pcap-filter expressions that predictions use."""
    found: set[str] = set()
    for leaf in _all_leaves(lab):
        if isinstance(leaf, PacketsAre) and leaf.packets.match:
            found.add(leaf.packets.match)
        elif isinstance(leaf, ExprIs):
            found |= {value.packets.match for value in leaf.let.values() if value.packets and value.packets.match}
    return tuple(sorted(found))
