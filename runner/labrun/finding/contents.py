"""Which files a finding has. Nothing else is in one: what no seal, record or rule accounts for is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, EvidenceMissing, size_below
from labrun.evidence.run import LabEntry, RunRecord
from labrun.evidence.seal import broken, own_files


def evidence_files(run: Path, record: RunRecord) -> tuple[str, ...]:
    """The paths of all that was recorded. Raises EvidenceError where some of it was never closed, or is changed."""
    found = [layout.RUN]
    if record.left_out:
        found.append(layout.LEFT_OUT)
    for entry in record.labs:
        for name in (layout.LAB, layout.COMPILED):
            path = f"labs/{entry.slug}/{name}"
            with suppress(EvidenceMissing):  # where a seal names it, that is told below
                size_below(run, path)
                found.append(path)
        for variant in variants(entry):
            if not (run / variant).exists():
                continue  # it never ran, which is what will be said of it
            damage = broken(run, variant)[1]
            if damage is not None:
                raise EvidenceError(f"{run}: {damage}")
            found += own_files(run, variant)
    return tuple(found)


def variants(entry: LabEntry) -> Iterator[str]:
    """The folders of a lab's sandboxes, from the run directory."""
    for repeat in range(1, entry.repeats + 1):
        for variant in entry.variants:
            yield f"labs/{entry.slug}/{layout.repeated(variant, repeat)}"
