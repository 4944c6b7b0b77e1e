"""A start-up script of a device as a step: its lines in the lab, where a reader sees them, or else its file."""

from __future__ import annotations

import posixpath
import re
import shlex
from itertools import dropwhile
from typing import Any

from labrun.lab.check.variables import unknown_of_shell

MAX_LINES = 60  # more are easier to read in a file of their own
_SHELLS = ("sh", "bash", "dash")


def interpreter(text: str) -> tuple[str, ...]:
    """The program that the first line names, with its options; bash where it names none."""
    first = text.partition("\n")[0]
    words = first[2:].split() if first.startswith("#!") else []
    if words and posixpath.basename(words[0]) == "env":
        words = list(dropwhile(lambda word: word.startswith("-"), words[1:]))
    return (posixpath.basename(words[0]), *words[1:]) if words else ("bash",)


def run_step(name: str, node: str, text: str, path: str) -> tuple[dict[str, Any] | None, bool]:
    """The step (None: the script does nothing), and whether it needs the file ``path`` of the lab's folder.

    A file is read in with `source`, so that each of its commands that fails is seen.
    """
    lines = [line.rstrip() for line in text.split("\n")]
    program = interpreter(text)
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    told = "\n".join(lines).strip("\n")
    if not any(line.strip() and not line.lstrip().startswith("#") for line in lines):
        return None, False
    step: dict[str, Any] = {"id": name, "in": node}
    in_shell = program[0] in _SHELLS
    inline = in_shell and len(lines) <= MAX_LINES and not _unsafe(told)
    if inline:
        step["run"] = f"{told}\n" if "\n" in told else told
    elif in_shell:
        step["run"] = f"source {shlex.quote(f'./{path}')}"
    else:
        step["run"] = " ".join((*map(shlex.quote, program), shlex.quote(f"./{path}")))
    return step, not inline


def _unsafe(text: str) -> bool:
    """Would the lab language, or YAML, take something in it for its own?"""
    odd = re.search(r"[^\S \n\t]|[^\x09\x0a\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]", text)
    return odd is not None or bool(unknown_of_shell(text, set()))
