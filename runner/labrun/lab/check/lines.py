"""Lines for the shell and packets for scapy that cannot work, found by `labrun check`. Nothing of a lab is run.

`bash -n` reads a line without running it (bash(1)). Of a scapy expression the syntax, the names and the fields are
looked up. Where bash or scapy is missing here, nothing is found: the sandbox then decides.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from labrun.lab.load import Lab
from labrun.lab.problems import Problem
from labrun.lab.steps import StepModel
from labrun.lab.text import Keys
from labrun.logic.suggest import did_you_mean

_TIMEOUT_S = 10
_PLACE = re.compile(r"^bash: (?:-c: )?line (\d+): ")
_REFERENCE = re.compile(r"\$\{[a-z_]\w*\}")


def check_lines(lab: Lab) -> Iterator[Problem]:
    bash = shutil.which("bash")
    for path, step in _steps(lab):
        line = step.run if step.run is not None else step.start
        if bash is not None and isinstance(line, str) and (text := _syntax(bash, line)) is not None:
            yield lab.problem(_place(lab, (*path, step.verb)), f"bash does not understand this: {text}")
        if step.send is not None:
            for text in _expression(step.send.packet):
                yield lab.problem(_place(lab, (*path, "send", "packet")), f"send: {text}")


def _steps(lab: Lab) -> Iterator[tuple[Keys, StepModel]]:
    for index, step in enumerate(lab.model.steps):
        yield ("steps", index), step
    for _, service, path in lab.model.services():
        yield path, service
    for index, hypothesis in enumerate(lab.model.hypotheses):
        for number, control in enumerate(hypothesis.control):
            place: Keys = ("hypotheses", index, "control", number)
            for inserted, step in enumerate(control.insert):
                yield (*place, "insert", inserted), step
            if control.with_ is not None:
                yield (*place, "with"), control.with_


def _place(lab: Lab, path: Keys) -> Keys:
    return path if lab.places.has(path) else path[:-1]


def _syntax(bash: str, line: str) -> str | None:
    """What bash says of a line that it cannot read."""
    try:
        done = subprocess.run(
            [bash, "-n", "-c", line], env={"LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == 0 or not said:
        return None
    place = _PLACE.match(said[0].removeprefix(bash.removesuffix("bash")))
    text = said[0].partition(": line ")[2].partition(": ")[2] or said[0]
    return f"{text} (line {place[1]} of it)" if place and "\n" in line.strip() else text


def _expression(packet: str) -> Iterator[str]:
    """What is wrong with a scapy expression."""
    source = _REFERENCE.sub("0", packet)
    try:
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield f"not a Python expression: {getattr(error, 'msg', None) or error}"
        return
    names = _scapy()
    if names is None:
        return
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {argument.arg for node in ast.walk(tree) if isinstance(node, ast.arguments) for argument in _all(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in bound | names.keys():
            yield f"scapy has no '{node.id}'.{did_you_mean(node.id, [name for name in names if name[0].isupper()])}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from _fields(names.get(node.func.id), node)


def _all(arguments: ast.arguments) -> list[ast.arg]:
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def _fields(layer: Any, call: ast.Call) -> Iterator[str]:
    described = getattr(layer, "fields_desc", None)
    if not isinstance(layer, type) or not described:
        return
    known = {field.name for field in described} | set(getattr(layer, "deprecated_fields", ()) or ())
    for keyword in call.keywords:
        if keyword.arg is not None and keyword.arg not in known and not keyword.arg.startswith("_"):
            yield f"{layer.__name__} has no field '{keyword.arg}'.{did_you_mean(keyword.arg, known)}"


def _scapy() -> dict[str, Any] | None:
    """All names that a packet's expression can use; None where scapy does not load."""
    import builtins
    import logging

    logging.getLogger("scapy").setLevel(logging.ERROR)
    try:
        import scapy.all as scapy
    except Exception:  # noqa: BLE001  scapy reads the host's network as it loads, and that fails in many ways
        return None
    return {**vars(builtins), **vars(scapy)}
