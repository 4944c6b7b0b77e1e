"""The sandboxes of a run: which variant, from when to when, made of what, and whether all was handed over."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceMissing
from labrun.evidence.record import read_variant
from labrun.evidence.run import RunRecord
from labrun.protocol.events import Hello
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``variant``: its folder in the run. ``hello``: None where its agent never said it."""

    lab: str
    variant: str
    hello: Hello | None
    ended_wall_ns: int | None
    complete: bool


def sandboxes(run: Path, record: RunRecord) -> tuple[Sandbox, ...]:
    """In the run's order. What never ran is left out. Raises EvidenceError where one cannot be read."""
    found = []
    for entry in record.labs:
        for repeat in range(1, entry.repeats + 1):
            for variant in entry.variants:
                folder = layout.variant_folder(run, entry.slug, variant, repeat)
                with suppress(EvidenceMissing):
                    one = read_variant(folder, run)
                    ends = [step.ended.wall_ns for step in one.steps if step.ended is not None]
                    place = folder.relative_to(run).as_posix()
                    found.append(Sandbox(entry.slug, place, one.hello, max(ends, default=None), one.complete))
    return tuple(found)
