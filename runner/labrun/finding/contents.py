"""Which files a finding has. Nothing else is in one: what no seal, record or rule accounts for is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.attempts import check_parts
from labrun.evidence.files import EvidenceError, EvidenceMissing, size_below
from labrun.evidence.kept import kept_paths
from labrun.evidence.record import read_variant
from labrun.evidence.run import LabEntry, RunRecord, read_run
from labrun.evidence.seal import broken, own_files


def evidence_files(run: Path, record: RunRecord) -> tuple[str, ...]:
    """The paths of all that was recorded. Raises EvidenceError where some of it was never closed, or is changed."""
    check_parts(run, record)
    found = [layout.RUN, *_of_labs(run, record.labs, run)]
    if record.left_out:
        found.append(layout.LEFT_OUT)
    slugs = {entry.slug for entry in record.labs}
    for part in record.parts or ():
        folder = layout.part_folder(run, part.id)
        own = read_run(folder)
        later = [entry for entry in own.labs if entry.slug in part.labs and entry.slug in slugs]
        names = [layout.RUN, *([layout.LEFT_OUT] if own.left_out else []), *_of_labs(folder, later, run)]
        found += [f"{layout.PARTS}/{part.id}/{name}" for name in names]
    return tuple(found)


def _of_labs(root: Path, entries: Iterable[LabEntry], run: Path) -> Iterator[str]:
    """From ``root``, a run directory; ``run``: its name for messages."""
    for entry in entries:
        for name in (layout.LAB, layout.COMPILED):
            path = f"labs/{entry.slug}/{name}"
            with suppress(EvidenceMissing):  # where a seal names it, that is told below
                size_below(root, path)
                yield path
        beside: dict[str, None] = {}
        for variant in variants(entry):
            if not (root / variant).exists():
                continue  # it never ran, which is what will be said of it
            damage = broken(root, variant)[1]
            if damage is not None:
                raise EvidenceError(f"{run}: {damage}")
            yield from own_files(root, variant)
            beside |= dict.fromkeys(kept_paths(root, entry.slug, read_variant(root / variant, root).plan.files or ()))
        yield from beside


def variants(entry: LabEntry) -> Iterator[str]:
    """The folders of a lab's sandboxes, from the run directory."""
    for repeat in range(1, entry.repeats + 1):
        for variant in entry.variants:
            yield f"labs/{entry.slug}/{layout.repeated(variant, repeat)}"
