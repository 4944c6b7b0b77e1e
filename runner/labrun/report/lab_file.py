"""The lab's file in the page, so that the page alone can run the lab again: as it ran, byte by byte."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import read_below
from labrun.evidence.lab import StoredHypothesis
from labrun.evidence.run import EvidenceError, LabEntry
from labrun.logic.visible import visible
from labrun.report.room import Room
from labrun.report.view import LabFile
from labrun.report.visible import text_of

_LARGEST = 1024 * 1024  # bytes; a lab file cannot have more
LEFT_OUT = "It is too large for this page; it is in the run's directory."
_THERE = "As above, with other values of its parameters."


def lab_file(run: Path, entry: LabEntry, hypotheses: Sequence[StoredHypothesis], room: Room) -> LabFile | None:
    """None where it cannot be read. Runs of one lab with several values of its parameters share its text."""
    try:
        data = read_below(run, f"labs/{entry.slug}/{layout.LAB}", _LARGEST)
    except EvidenceError:
        return None
    digest = hashlib.sha256(data).hexdigest()
    values = json.dumps(entry.cell, sort_keys=True)
    made = LabFile(visible(entry.shown), visible(values), " ".join(one.id for one in hypotheses), digest)
    if digest in room.files:
        return replace(made, cut=_THERE)
    plain = text_of(data)
    text = visible(plain, "\n\t")
    exact = None if text == plain else base64.b64encode(data).decode()
    if not room.lab_file(digest, len(text.encode()) + len(exact or "")):
        return replace(made, cut=LEFT_OUT)
    return replace(made, text=text, exact=exact)
