"""Runs that were put together: shards of one, or the same labs at several times. Every attempt at a lab is kept.

The first attempt at a lab lies where a run's labs lie. Later ones stay in their own run, below parts/, and so does the
record of each run: seals were made over that.

    run.json                    the record of the whole. ``parts``: the runs
    labs/<slug>/                the first attempt at each lab
    parts/<run-id>/run.json     each run's own record
    parts/<run-id>/labs/<slug>/ later attempts
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, plain_name
from labrun.evidence.lab import read_lab
from labrun.evidence.run import LabEntry, Part, RunRecord, read_run, write_left_out, write_run
from labrun.lab.problems import LabError
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Merged:
    """``notes``: what is not as it would be in one run, a sentence each."""

    record: RunRecord
    notes: tuple[str, ...]


def later_attempts(run: Path, record: RunRecord, slug: str) -> Iterator[tuple[Path, LabEntry]]:
    """The run directory and the entry of each attempt at the lab but the first. Raises EvidenceError."""
    for part in record.parts or ():
        if slug in part.labs:
            folder = layout.part_folder(run, part.id)
            found = next((entry for entry in read_run(folder).labs if entry.slug == slug), None)
            if found is None:
                raise EvidenceError(f"{folder}: this run has no lab '{slug}', which it should")
            yield folder, found


def merge(runs: Sequence[Path], target: Path, about: RunRecord) -> Merged:
    """Put these runs together in ``target``, which is not there yet. ``about``: the new run's id, start and command.

    Raises EvidenceError where one is no run, or two have different labs of one name; OSError.
    """
    records = [read_run(run) for run in runs]
    _check(runs, records)
    fresh = target.with_name(f".{target.name}.fresh")
    fresh.mkdir(parents=True)
    try:
        made = _put(runs, records, fresh, about)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return Merged(made, tuple(_notes(records, made.missing or {})))


def _put(runs: Sequence[Path], records: Sequence[RunRecord], target: Path, about: RunRecord) -> RunRecord:
    first: dict[str, tuple[Path, LabEntry]] = {}
    parts: list[Part] = []
    for run, record in zip(runs, records, strict=True):
        folder = layout.part_folder(target, record.id)
        folder.mkdir(parents=True)
        later = []
        shutil.copyfile(run / layout.RUN, folder / layout.RUN, follow_symlinks=False)
        if record.left_out:
            write_left_out(folder, record.left_out)
        for entry in record.labs:
            again = entry.slug in first
            first.setdefault(entry.slug, (run, entry))
            _copy(layout.lab_folder(run, entry.slug), layout.lab_folder(folder if again else target, entry.slug))
            later += [entry.slug] if again else []
        parts.append(Part(record.id, tuple(later), record.shard))
    missing = _missing(records, first)
    made = replace(
        _together(about, records),
        labs=tuple(entry for _, entry in first.values()),
        invalid=tuple({lab.slug: lab for record in records for lab in record.invalid}.values()),
        parts=tuple(parts),
        missing=missing or None,
    )
    write_run(target, made)
    return read_run(target)


def check_parts(run: Path, record: RunRecord) -> None:
    """Raises EvidenceError where what the whole says of itself is not what its parts say."""
    records = [read_run(layout.part_folder(run, part.id)) for part in record.parts or ()]
    if record.parts is None:
        return
    known = [entry for one in records for entry in one.labs]
    if not records or _together(record, records) != record or any(entry not in known for entry in record.labs):
        raise EvidenceError(f"{run / layout.RUN}: it is not what the runs in {layout.PARTS}/ come to")
    for part, one in zip(record.parts, records, strict=True):
        if part.id != one.id or part.shard != one.shard:
            raise EvidenceError(f"{run / layout.RUN}: {part.id} is not the run that is in its place")


def _copy(source: Path, target: Path) -> None:
    """A lab's folder as it is; a link stays one, which no reader follows."""
    if not source.is_dir() or source.is_symlink():
        return  # it was never begun, which is what will be said of it
    shutil.copytree(source, target, symlinks=True)


def _check(runs: Sequence[Path], records: Sequence[RunRecord]) -> None:
    seen: dict[str, Path] = {}
    plans: dict[str, tuple[Path, Mapping[str, str]]] = {}
    for run, record in zip(runs, records, strict=True):
        if record.parts is not None:
            raise EvidenceError(f"{run}: it was put together already; name the runs that it was made of")
        if not plain_name(record.id):
            raise EvidenceError(f"{run}: {record.id[:80]!r} is no id of a run")
        if record.id in seen:
            raise EvidenceError(f"{run}: the same run as {seen[record.id]}")
        seen[record.id] = run
        for entry in record.labs:
            try:
                made = read_lab(run, entry).plans
            except (EvidenceError, LabError):
                continue  # it broke before; that is what will be said of it
            other, before = plans.setdefault(entry.slug, (run, made))
            if made != before:
                raise EvidenceError(f"{entry.slug} is not the same lab in {other} and in {run}: it was changed between")


def _together(about: RunRecord, records: Sequence[RunRecord]) -> RunRecord:
    """What is the same in all is so here; where it is not, each that there is."""

    def each(value: Callable[[RunRecord], str | None]) -> str | None:
        found = [one for one in dict.fromkeys(map(value, records)) if one is not None]
        return ", ".join(found) or None

    return replace(
        about,
        started=min(record.started for record in records),
        labrun=each(lambda one: one.labrun) or about.labrun,
        engine=each(lambda one: one.engine) or "",
        engine_version=each(lambda one: one.engine_version) or "",
        isolation=each(lambda one: one.isolation) or "",
        isolation_note=each(lambda one: one.isolation_note),
        kernel=each(lambda one: one.kernel),
        image=each(lambda one: one.image),
        image_id=each(lambda one: one.image_id),
        python=each(lambda one: one.python) or "",
        userland=each(lambda one: one.userland) or "",
        processor=each(lambda one: one.processor),
    )


def _missing(records: Sequence[RunRecord], first: Mapping[str, object]) -> dict[str, str]:
    """Slug -> why it is not there, of labs that a shard's run knows of and that no run here has."""
    invalid = {lab.slug for record in records for lab in record.invalid}
    left_out = {slug for record in records for slug in record.left_out}
    found = {}
    for record in records:
        shard = record.shard
        for slug in shard.every if shard is not None else ():
            if slug in left_out and slug not in first:
                found[slug] = "it was not begun, as enough had failed"
            elif slug not in first and slug not in invalid:
                found[slug] = "no run that was put together has it"
    return found


def _notes(records: Sequence[RunRecord], missing: Mapping[str, str]) -> Iterator[str]:
    shards = [record.shard for record in records if record.shard is not None]
    for of in dict.fromkeys(shard.of for shard in shards):
        have = {shard.number for shard in shards if shard.of == of}
        gone = [f"{number}/{of}" for number in range(1, of + 1) if number not in have]
        if gone:
            yield f"shard {', '.join(gone)} is missing"
    if len({(shard.of, shard.every) for shard in shards}) > 1:
        yield "the shards are not of one selection of labs, or of one number of shards"
    if missing:
        yield f"labs that did not run: {', '.join(missing)}"
    for what in ("labrun", "engine", "engine_version", "kernel", "image", "userland"):
        values: dict[str, list[str]] = {}
        for record in records:
            values.setdefault(str(getattr(record, what) or "not known"), []).append(record.id)
        if len(values) > 1:
            told = "; ".join(f"{value} in {', '.join(ids)}" for value, ids in values.items())
            yield f"{what.replace('_', ' ')} is not the same: {told}"
    attempts: dict[str, int] = {}
    for record in records:
        for entry in record.labs:
            attempts[entry.slug] = attempts.get(entry.slug, 0) + 1
    twice = [f"{slug} ({count} times)" for slug, count in attempts.items() if count > 1]
    if twice:
        yield f"labs that ran more than once, whose verdicts must agree: {', '.join(twice)}"
