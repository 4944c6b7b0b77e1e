"""Labs of an earlier run, from its directory or from its index.html alone: each as it ran, with its parameters' values.

Both may be a stranger's. What is taken from them is text: it becomes a lab as every other does, through all checks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, plain_name, read_below
from labrun.evidence.run import LabEntry, read_run
from labrun.lab.catalogue import Kept, Named
from labrun.lab.problems import LabError, Problem
from labrun.lab.text import MAX_BYTES, as_text
from labrun.protocol.plan import EXPERIMENT

_PAGE = 32 * 1024 * 1024  # bytes of a page; labrun's own stay under 10 MB
_END = b"</code></pre>"
_TOTAL = re.compile(rb'<body data-labs="(\d{1,7})"')
_FILE = re.compile(
    rb'<(?:pre|p) class="lab-file" data-file="([^"]{1,4096})" data-cell="([^"]{0,65536})" data-only="([^"]{0,65536})"'
    rb' data-sha256="([0-9a-f]{64})"(?: data-exact="([A-Za-z0-9+/=]*)")?>(<code>)?'
)


def again(name: str, out: Path, cwd: Path, stack: ExitStack) -> tuple[Named, ...] | None:
    """The labs of the run, or of the page, that ``name`` means; None where it means neither.

    A run is named by its directory, or by its id below ``out``. ``stack``: for how long what was beside its labs is
    laid out. Raises EvidenceError or LabError where it has no lab that can run again.
    """
    path = cwd / name
    if path.is_file() and path.suffix.lower() in (".html", ".htm"):
        return labs_of_page(_read(path), name)
    for folder in (path, cwd / out / name):
        if (folder / layout.RUN).is_file():
            return labs_of_run(folder.resolve(), stack)
    return None


def labs_of_run(run: Path, stack: ExitStack) -> tuple[Named, ...]:
    """Raises EvidenceError where it is no run, has no lab, or a lab's file cannot be read."""
    entries = read_run(run).labs
    if not entries:
        raise EvidenceError(f"{run}: no lab ran in it")
    return tuple(_of_entry(run, entry, stack) for entry in entries)


def _of_entry(run: Path, entry: LabEntry, stack: ExitStack) -> Named:
    from labrun.evidence.lab import read_lab

    text = as_text(read_below(run, f"labs/{entry.slug}/{layout.LAB}", MAX_BYTES), entry.shown)
    try:
        ids = tuple(hypothesis.id for hypothesis in read_lab(run, entry).hypotheses)
    except (EvidenceError, LabError):
        ids = ()  # all that its file has, which is checked as every file is
    return _named(entry.shown, text, entry.cell, ids, _beside(run, entry, stack))


def _beside(run: Path, entry: LabEntry, stack: ExitStack) -> Path | None:
    """The files that were beside the lab's own, in a folder of their own."""
    from labrun.evidence.kept import lay_out
    from labrun.evidence.record import read_variant

    try:
        files = read_variant(layout.variant_folder(run, entry.slug, EXPERIMENT), run).plan.files
    except EvidenceError:
        return None  # the lab is checked as every lab is: what it needs and has not is told then
    if not files:
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labrun-beside-")), "labs", "lab")
    folder.mkdir(parents=True)
    lay_out(run, entry.slug, files, folder)
    return folder


def _named(file: str, text: str, values: Any, hypotheses: Sequence[str], folder: Path | None = None) -> Named:
    """``file``: as the run named it; its folder's name is the lab's. It is not opened."""
    if "\0" in file or not plain_name(Path(file).parent.name):
        raise LabError([Problem(file, 0, 0, "its folder has no name that a lab could have")])
    if not isinstance(values, dict) or not all(isinstance(one, str | int | float) for one in values.values()):
        raise LabError([Problem(file, 0, 0, "the values of its parameters make no sense")])
    return Named(Path(file), kept=Kept(text, values, tuple(hypotheses), folder))


def _read(page: Path) -> bytes:
    with page.open("rb") as file:
        data = file.read(_PAGE + 1)
    if len(data) > _PAGE:
        raise LabError([Problem(str(page), 0, 0, f"too large for a report: the limit is {_PAGE} bytes")])
    return data


def labs_of_page(page: bytes, shown: str) -> tuple[Named, ...]:
    """Raises LabError where the page has no lab's file, or not that of each of its labs."""
    total = _TOTAL.search(page)
    if total is None:
        text = "no labs' files are in this page. `labrun run` takes a report that labrun made, or a run's directory"
        raise LabError([Problem(shown, 0, 0, text)])
    texts: dict[str, str] = {}
    found: list[tuple[str, str, str, str]] = []
    for match in _FILE.finditer(page):
        file, cell, only = (html.unescape(part.decode("utf-8", "replace")) for part in match.groups()[:3])
        digest = match[4].decode()
        if match[6] is not None:
            end = page.find(_END, match.end())
            texts[digest] = _text(page[match.end() : end], match[5], digest, f"{shown}: {file}")
        found.append((file, cell, only, digest))
    left_out = [file for file, _, _, digest in found if digest not in texts]
    if len(found) != int(total[1]) or left_out or not found:
        text = (
            f"it has the files of {len(found) - len(left_out)} of its {int(total[1])} labs; its run's directory has all"
        )
        raise LabError([Problem(shown, 0, 0, text)])
    return tuple(_of_page(found, texts, shown))


def _of_page(found: Sequence[tuple[str, str, str, str]], texts: dict[str, str], shown: str) -> Iterator[Named]:
    for file, cell, only, digest in found:
        try:
            values = json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise LabError([Problem(f"{shown}: {file}", 0, 0, f"the values of its parameters: {error}")]) from error
        yield _named(file, texts[digest], values, only.split())


def _text(inside: bytes, exact: bytes | None, digest: str, shown: str) -> str:
    """A lab's text from the page; ``exact``: it has characters that a page cannot show as they are."""
    try:
        data = base64.b64decode(exact, validate=True) if exact is not None else _unescaped(inside)
    except (binascii.Error, ValueError) as error:
        raise LabError([Problem(shown, 0, 0, "its text in the page is damaged")]) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise LabError([Problem(shown, 0, 0, "its text in the page is not what ran: the page was changed")])
    return as_text(data, shown)


def _unescaped(inside: bytes) -> bytes:
    return html.unescape(inside.decode("utf-8")).encode()
