"""Are the pcap-filter expressions of a lab right? Asked of this machine's libpcap, before anything starts."""

from __future__ import annotations

from labrun.judge.libpcap import FilterSyntaxError, compile_filter
from labrun.lab.load import Lab
from labrun.lab.predictions import PacketsAre, leaves
from labrun.lab.problems import Problem
from labrun.lab.text import Keys


def check_filters(lab: Lab) -> tuple[Problem, ...]:
    """A problem for each that libpcap refuses. None found where there is no libpcap: the sandbox's then decides."""
    problems = []
    for path, expression in _expressions(lab):
        try:
            if compile_filter(expression) is None:
                return ()
        except FilterSyntaxError as error:
            problems.append(lab.problem(path, f"not a pcap filter: '{expression}': {error}"))
    return tuple(problems)


def _expressions(lab: Lab) -> list[tuple[Keys, str]]:
    found: list[tuple[Keys, str]] = []
    for index, step in enumerate(lab.model.steps):
        if step.capture is not None and step.capture.filter is not None:
            found.append((("steps", index, "capture", "filter"), step.capture.filter))
    for index, hypothesis in enumerate(lab.model.hypotheses):
        for path, leaf in leaves(hypothesis.predict):
            if isinstance(leaf, PacketsAre) and leaf.packets.match is not None:
                found.append((("hypotheses", index, "predict", *path, "packets", "match"), leaf.packets.match))
    return found
