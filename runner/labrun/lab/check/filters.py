"""Are the packet filters and fields of a lab right? Found out before anything starts; expressions by libpcap."""

from __future__ import annotations

from collections.abc import Iterator

from labrun.lab.base import is_reference
from labrun.lab.check.coverage import never_kept, never_traced
from labrun.lab.check.fields import impossible
from labrun.lab.check.tautologies import check_tautologies
from labrun.lab.check.variables import check_variables
from labrun.lab.compile import Placed, placed_steps, steps_of_control
from labrun.lab.hints import comparison, display_filter
from labrun.lab.load import Lab
from labrun.lab.model import placed_predictions
from labrun.lab.predictions import Check, ExprIs, PacketsAre, PacketSelector, Prediction, TraceIs, leaves
from labrun.lab.problems import Problem
from labrun.lab.text import Keys
from labrun.packets.fields import problem
from labrun.packets.libpcap import FilterSyntaxError, compile_filter


def check_fields(lab: Lab) -> tuple[Problem, ...]:
    """Fields that packets do not have, and checks that a field's type cannot pass."""
    return tuple(
        lab.problem((*path[:-1], part, name), f"{part}: {text}{comparison(check.equals)}")
        for path, selector in _selectors(lab)
        for part, checks in selector.checks().items()
        for name, check in checks.items()
        if not _has_reference(check)
        and (text := problem(name, check, "outer" if part == "fields" else part) or impossible(name, check)) is not None
    )


def _has_reference(check: Check) -> bool:
    return any(is_reference(expected) for expected in check.operators().values())


def check_filters(lab: Lab) -> tuple[Problem, ...]:
    """A problem for each that libpcap refuses. None found where there is no libpcap: the sandbox's then decides."""
    problems = [*check_fields(lab), *check_variables(lab), *check_tautologies(lab), *_vacuous(lab)]
    for path, expression in _expressions(lab):
        try:
            if compile_filter(expression) is None:
                return tuple(problems)
        except FilterSyntaxError as error:
            hint = display_filter(expression)
            problems.append(lab.problem(path, f"not a pcap filter: '{expression}': {error}{hint}"))
    return tuple(problems)


def _vacuous(lab: Lab) -> Iterator[Problem]:
    """What can only come out one way, in the experiment or in a control, which may look elsewhere.

    A claim's prediction that is false in a control because that control looks away shows nothing.
    """
    for index, hypothesis in enumerate(lab.model.hypotheses):
        claimed: Keys = ("hypotheses", index, "predict")
        blind = dict(_one_way(placed_steps(lab), lab, hypothesis.predict, claimed))
        for path, text in blind.items():
            yield lab.problem(path, text)
        for number, control in enumerate(hypothesis.control):
            steps = steps_of_control(lab, control)
            if steps is None:
                continue
            at: Keys = ("hypotheses", index, "control", number)
            if control.predict is not None:
                for path, text in _one_way(steps, lab, control.predict, (*at, "predict")):
                    yield lab.problem(path, f"in this control: {text}")
                continue
            for path, text in _one_way(steps, lab, hypothesis.predict, claimed):
                if path not in blind:
                    yield lab.problem(at if lab.places.has(at) else at[:-1], f"in this control: {text}")


def _one_way(steps: tuple[Placed, ...], lab: Lab, prediction: Prediction, where: Keys) -> Iterator[tuple[Keys, str]]:
    """(place, why) of what these steps never keep for the prediction."""
    for place, selector in _selectors_of(prediction, where):
        if (text := never_kept(lab, steps, selector)) is not None:
            yield place[:-1], f"packets: this can only count 0: {text}"
    for path, leaf in leaves(prediction):
        if isinstance(leaf, TraceIs):
            for below, text in never_traced(steps, leaf):
                yield (*where, *path, *below), f"trace: this can only come out one way: {text}"


def _expressions(lab: Lab) -> list[tuple[Keys, str]]:
    found: list[tuple[Keys, str]] = []
    for index, step in enumerate(lab.model.steps):
        if step.capture is not None and step.capture.filter is not None:
            found.append((("steps", index, "capture", "filter"), step.capture.filter))
    found += [((*path[:-1], "match"), sel.match) for path, sel in _selectors(lab) if sel.match is not None]
    return found


def _selectors(lab: Lab) -> list[tuple[Keys, PacketSelector]]:
    """Every packet selector of the predictions, with the place of its fields."""
    return [item for where, prediction in placed_predictions(lab.model) for item in _selectors_of(prediction, where)]


def _selectors_of(prediction: Prediction, where: Keys) -> list[tuple[Keys, PacketSelector]]:
    found: list[tuple[Keys, PacketSelector]] = []
    for path, leaf in leaves(prediction):
        base: Keys = (*where, *path)
        if isinstance(leaf, PacketsAre):
            found.append(((*base, "packets", "fields"), leaf.packets))
        elif isinstance(leaf, ExprIs):
            found += [
                ((*base, "let", name, "packets", "fields"), value.packets)
                for name, value in leaf.let.items()
                if value.packets is not None
            ]
    return found
