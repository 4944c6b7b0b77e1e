"""Kernel selftests, and any script that speaks TAP or ends with the exit statuses of kselftest: a lab for each script.

The script runs in a node of its own, where it may make namespaces; the files that it names come along. What it says of
its tests is one hypothesis, and each test one more.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence

from labrun.importers.base import Folder, Imported, Options, Remark, slug
from labrun.importers.shell_scripts import interpreter
from labrun.lab.problems import LabError, Problem
from labrun.protocol.plan import LabFile

MAX_SCRIPTS = 500
_SUFFIXES = (".sh", ".t", ".tap")
_LIBRARY = re.compile(r"(^|/)(\w*lib\w*|settings|config\w*|\w*common\w*|\w*helpers?|runner|kselftest)(\.\w+)?$")
_PROGS = re.compile(r"^\s*TEST_PROGS\s*[:+]?=\s*((?:[^\\\n]|\\\n)*)", re.MULTILINE)
_SOURCED = re.compile(r"(?:^|[;&|]|\bthen\b|\belse\b)\s*(?:source|\.)\s+[\"']?([^\s\"';&|]+)", re.MULTILINE)
_TIMEOUT = re.compile(r"^timeout=(\d+)\s*$", re.MULTILINE)
_WORDS = re.compile(r"[\w.+/-]+")
DEFAULT_TIMEOUT_S = 300  # kselftest's own is 45 s, for machines that do nothing else (runner.sh)
LONGEST_S = 3600


class Selftests:
    title = "scripts that speak TAP, or kselftest's exit statuses"

    def recognises(self, names: Sequence[str]) -> bool:
        return any(name.endswith(_SUFFIXES) for name in names)

    def read(self, folder: Folder, options: Options) -> tuple[Imported, ...]:
        scripts = (folder.chosen,) if folder.chosen else _scripts(folder)
        if not scripts:
            raise LabError([Problem(folder.name, 0, 0, "no script here that could be a test (*.sh, *.t)")])
        if len(scripts) > MAX_SCRIPTS:
            text = f"{len(scripts)} scripts; the limit is {MAX_SCRIPTS}: name the one that is meant"
            raise LabError([Problem(folder.name, 0, 0, text)])
        return tuple(_lab(folder, script) for script in scripts)


IMPORTER = Selftests()


def _scripts(folder: Folder) -> tuple[str, ...]:
    """Those that the Makefile beside them lists; else all that no other one reads in, and that are no libraries."""
    found = [path for path, file in folder.entries.items() if path.endswith(_SUFFIXES) and file.sha256 is not None]
    listed: set[str] = set()
    for path in folder.entries:
        if posixpath.basename(path) == "Makefile":
            where = posixpath.dirname(path)
            for names in _PROGS.findall(folder.text(path)):
                listed |= {posixpath.join(where, name) for name in names.replace("\\\n", " ").split()}
    if listed:
        return tuple(path for path in found if path in listed)
    sourced = {name for path in found for name in _read_in(folder, path)}
    return tuple(path for path in found if path not in sourced and not _LIBRARY.search(path))


def _read_in(folder: Folder, path: str) -> set[str]:
    """The files that a script reads in, as `source ./lib.sh`, by their names in the folder."""
    return {found for word in _SOURCED.findall(folder.text(path)) if (found := _found(folder, path, word))}


def _found(folder: Folder, path: str, word: str) -> str | None:
    """The file that a word of the script ``path`` means: from its folder, whatever variable that is written with."""
    word = re.sub(r"^(\$\{?\w+[^/]*\}?|\$\([^)]*\))?/", "", word)
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), word))
    return place if place in folder and folder.entries[place].sha256 is not None and place != path else None


def _needed(folder: Folder, script: str) -> tuple[dict[str, LabFile], set[str]]:
    """The files that come along: the script, what it names, what that names; and what it reads in and is not there."""
    needed = {script: folder.entries[script]}
    absent: set[str] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        try:
            text = folder.text(path)
        except LabError:
            continue  # a program; it names nothing that we could read
        named = {found for word in _WORDS.findall(text) if (found := _found(folder, path, word))}
        for name in sorted(named - needed.keys()):
            needed[name] = folder.entries[name]
            waiting.append(name)
        absent |= {word for word in _SOURCED.findall(text) if "$" not in word and not _found(folder, path, word)}
    return needed, {word for word in absent if not word.startswith("/")}


def _lab(folder: Folder, script: str) -> Imported:
    text = folder.text(script)
    needed, absent = _needed(folder, script)
    where, name = posixpath.split(script)
    remarks = [Remark("mapped", script, "runs in a node of its own, where it may make namespaces")]
    if len(needed) > 1:
        others = ", ".join(sorted(path for path in needed if path != script))
        remarks.append(Remark("mapped", "files that it names", others))
    for word in sorted(absent):
        remarks.append(
            Remark("left out", word, f"{script} reads it in, and it is not in this folder: name the one above")
        )
    remarks.append(Remark("changed", "the folder that it is in", "can only be read; what it writes belongs below /tmp"))
    timeout_s = _timeout(folder, where)
    command = " ".join((*map(shlex.quote, interpreter(text)), shlex.quote(f"./{name}")))
    lab = {
        "title": f"{name}: a self-test",
        "question": f"Do the tests of {script} pass?",
        "tags": ["imported", "selftest"],
        "timeout": min(timeout_s + 60, LONGEST_S),
        "watch": False,
        "topology": {"nodes": {"machine": {"ipv6": True}}},
        "steps": [
            {
                "id": "script",
                "run": f"cd {shlex.quote(where)} && {command}" if where else command,
                "in": "machine",
                "timeout": timeout_s,
            }
        ],
        "hypotheses": [
            {
                "id": slug(posixpath.splitext(name)[0], "tests"),
                "claim": f"All tests of {script} pass.",
                "predict": {"tests": "script"},
                "control": {"none": "A test program has its own controls."},
            }
        ],
    }
    files = tuple((path, file) for path, file in sorted(needed.items()))
    return Imported(slug(posixpath.splitext(script)[0], "selftest"), lab, files, tuple(remarks))


def _timeout(folder: Folder, where: str) -> int:
    """As the `settings` beside the script says; 0 there means none."""
    path = posixpath.join(where, "settings")
    found = _TIMEOUT.search(folder.text(path)) if path in folder else None
    if found is None:
        return DEFAULT_TIMEOUT_S
    seconds = int(found[1][:9])
    return min(seconds, LONGEST_S) if seconds else LONGEST_S
