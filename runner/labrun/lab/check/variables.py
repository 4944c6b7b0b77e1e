"""Every `${name}` of a lab: is there such a value? A misspelt one would silently become nothing.

A lab's values are its parameters and what its steps save; names in small letters. In typed steps, rulesets, packets,
predictions and prose each `${name}` must be one of them. In a line for the shell (and in a script on its stdin) a name
may also be the shell's own: one in capitals, as HOME, one that the line itself assigns, or one with a default, as
`${name:-x}`. What stands in single quotes the shell does not fill in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from labrun.lab.load import Lab
from labrun.lab.problems import Problem
from labrun.lab.steps import StepModel
from labrun.lab.text import Keys
from labrun.logic.suggest import did_you_mean

_NAME = re.compile(r"\$\{([a-z_][a-z0-9_]*)\}")
_SHELL_NAME = re.compile(r"(?<!\\)\$(?:\{#?([a-z_]\w*)(?=[}\[])|([a-z_]\w*))")
_QUOTED = re.compile(r"'[^']*'")
_ASSIGNED = re.compile(
    r"(?:^|[\s;&|({])([a-z_]\w*)(?:\[[^]]*\])?\+?="
    r"|\bfor\s+([a-z_]\w*)|\bgetopts\s+\S+\s+([a-z_]\w*)|\bprintf\s+-v\s+([a-z_]\w*)",
    re.MULTILINE,
)
_READ = re.compile(r"\b(?:read|mapfile|readarray|local|declare|export|typeset)((?:\s+-\S+)*)((?:\s+[a-z_]\w*)+)")
_OPEN = re.compile(r"(?:^|[\s;&|])(?:eval|source|\.)\s", re.MULTILINE)  # who knows what that assigns
_PROSE = ("title", "question", "background", "conclusion")


def check_variables(lab: Lab) -> Iterator[Problem]:
    every = {*lab.cell, *(name for step in lab.model.steps for name in step.save or {})}
    inserted = [(("hypotheses", h, "control", c), step) for h, hypothesis in enumerate(lab.model.hypotheses)
                for c, control in enumerate(hypothesis.control)
                for step in (*control.insert, *([control.with_] if control.with_ is not None else []))]  # fmt: skip
    every |= {name for _, step in inserted for name in step.save or {}}
    known = set(lab.cell)
    for _, step, path in lab.model.services():
        yield from _of_step(lab, path, step, known)
    for index, step in enumerate(lab.model.steps):
        yield from _of_step(lab, ("steps", index), step, known)
        known |= set(step.save or {})
    for place, step in inserted:
        yield from _of_step(lab, place, step, every)
    for path, name, text in _environments(lab):
        if name in every:
            yield lab.problem(
                path, f"env: '{name}' is a parameter's name, or what a step saves: commands have it already"
            )
        for unknown in _NAME.findall(text):
            if unknown not in every:
                hint = did_you_mean(unknown, every)
                yield lab.problem(path, f"env: no parameter is '{unknown}', and no step saves it.{hint}")
    for path, text in _prose(lab):
        for name in _NAME.findall(text):
            if name not in every:
                yield lab.problem(path, f"no parameter is '{name}', and no step saves it.{did_you_mean(name, every)}")


def _environments(lab: Lab) -> Iterator[tuple[Keys, str, str]]:
    """(place, name, value) of each variable of the lab, its nodes and its steps."""
    places: list[tuple[Keys, dict[str, str]]] = [((), lab.model.env)]
    places += [(("topology", "nodes", node), model.env) for node, model in lab.model.topology.nodes.items()]
    places += [(path, step.env or {}) for _, step, path in lab.model.services()]
    places += [(("steps", index), step.env or {}) for index, step in enumerate(lab.model.steps)]
    for path, env in places:
        for name, value in env.items():
            yield (*path, "env", name), name, value


def _prose(lab: Lab) -> Iterator[tuple[Keys, str]]:
    for key in _PROSE:
        yield (key,), getattr(lab.model, key) or ""
    for index, step in enumerate(lab.model.steps):
        yield ("steps", index, "note"), step.note or ""
    for index, hypothesis in enumerate(lab.model.hypotheses):
        for key in ("claim", "because"):
            yield ("hypotheses", index, key), getattr(hypothesis, key) or ""
        for number, control in enumerate(hypothesis.control):
            for key in ("note", "none"):
                yield ("hypotheses", index, "control", number, key), getattr(control, key) or ""


def _of_step(lab: Lab, path: Keys, step: StepModel, known: set[str]) -> Iterator[Problem]:
    nodes = lab.model.topology.nodes
    node = step.node or (next(iter(nodes)) if len(nodes) == 1 else None)
    env = {**lab.model.env, **(nodes[node].env if node in nodes else {}), **(step.env or {})}
    for key, text, by_shell in _texts(step):
        names = (
            unknown_of_shell(text, known | env.keys()) if by_shell
            else [n for n in _NAME.findall(text) if n not in known]
        )  # fmt: skip
        for name in dict.fromkeys(names):
            hint = did_you_mean(name, known)
            words = f"no earlier step saves '{name}', and it is no parameter"
            words += ": the shell would take it for empty" if by_shell else ""
            place = (*path, key) if lab.places.has((*path, key)) else path
            yield lab.problem(place, f"{words}.{hint}")


def _texts(step: StepModel) -> Iterator[tuple[str, str, bool]]:
    """(key, text, is it for a shell?) of all that may have `${name}` in it and is no typed field."""
    command = step.run if step.run is not None else step.start
    if isinstance(command, str):
        yield step.verb, command, True
    program = command.split()[:1] if isinstance(command, str) else list(command or ())[:1]
    by_shell = bool(program) and program[0].rpartition("/")[2] in ("sh", "bash", "dash")
    for word in command if isinstance(command, tuple) else ():
        yield step.verb, word, by_shell
    if step.stdin is not None:
        yield "stdin", step.stdin, by_shell
    if step.nft is not None:
        yield "nft", step.nft, False
    if step.send is not None:
        yield "send", step.send.packet, False
    if step.wait is not None and isinstance(step.wait.succeeds, str):
        yield "wait", step.wait.succeeds, True


def unknown_of_shell(line: str, known: set[str]) -> list[str]:
    """The names that a shell would take for empty: nobody declares them, and the line does not assign them."""
    if _OPEN.search(line):
        return []
    own = {name for found in _ASSIGNED.findall(line) for name in found if name}
    for _, names in _READ.findall(line):
        own |= set(names.split())
    used = [one or other for one, other in _SHELL_NAME.findall(_QUOTED.sub("''", line))]
    return [name for name in used if name not in known and name not in own]
