"""The run record: what ran, where, when, with what. One per run directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError as EvidenceError
from labrun.evidence.files import EvidenceMissing, plain_name, read_below, write_whole
from labrun.protocol.codec import ProtocolError, decode, dumps, loads, parse
from labrun.protocol.record import dataclass

RUN_SCHEMA = 1
FINDING_FORMAT = 1
MAX_RECORD = 16 * 1024 * 1024  # bytes; a thousand labs need half a MiB
MAX_REPEATS = 1000
MAX_VARIANTS = 100_000  # of all labs, each repeat counted


@dataclass(frozen=True, slots=True)
class LabEntry:
    """A lab of the run. ``shown``: its path as the user gave it. ``variants``: experiment first, then controls.

    ``cell``: the values of its parameters. ``repeats``: how often each variant ran; the first time in a folder of its
    name, then in name.2, name.3, ...
    """

    slug: str
    shown: str
    variants: tuple[str, ...]
    cell: dict[str, Any] = field(default_factory=dict)
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class InvalidLab:
    """A lab that was asked for and cannot be used as it is written. ``problems``: each with its place."""

    slug: str
    shown: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A git commit that labs of the run came from. ``labs``: their slugs.

    ``changed``: those of them whose folder was not as in the commit; None where that is not known.
    """

    commit: str
    labs: tuple[str, ...]
    changed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class CiJob:
    """The job of a CI service that made the run. ``commit``: what the service says that it checked out."""

    service: str
    job: str
    url: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard ``number``, from 1, of ``of``. ``every``: the slugs of the labs of all shards."""

    number: int
    of: int
    every: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A run that was put together with others. ``labs``: those whose evidence is in parts/ID: later attempts."""

    id: str
    labs: tuple[str, ...]
    shard: Shard | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``started`` is UTC in ISO 8601. ``command`` is what runs it again, from the folder that it was run in."""

    id: str
    started: str
    labrun: str
    engine: str
    engine_version: str
    isolation: str
    isolation_note: str | None
    kernel: str | None
    image: str | None
    image_id: str | None
    python: str
    command: tuple[str, ...]
    labs: tuple[LabEntry, ...]
    invalid: tuple[InvalidLab, ...] = ()
    schema: int = RUN_SCHEMA
    engine_reason: str | None = None  # why this engine, where the choice was left to labrun
    userland: str = "image"  # whose programs the labs had: "image" or "host"
    checkouts: tuple[Checkout, ...] = ()  # none: the labs are in no commit, or git is not there to say so
    ci: CiJob | None = None
    left_out: tuple[str, ...] = ()  # slugs of labs not begun, as enough had failed: kept beside, in left-out.json
    processor: str | None = None  # of the host, in the kernel's words
    shard: Shard | None = None
    parts: tuple[Part, ...] | None = None  # of a run that was put together
    missing: dict[str, str] | None = None  # slug -> why no part has this lab, that was to be run


@dataclass(frozen=True, slots=True)
class Finding:
    """A run that travels as one file may have some of its labs only. ``labs``: their slugs, those that it has.

    ``labrun`` and ``libraries`` (name -> version) judged them and rendered what is beside the evidence.
    """

    labs: tuple[str, ...]
    labrun: str
    libraries: dict[str, str]
    format: int = FINDING_FORMAT


def new_run_id(now: datetime) -> str:
    """Sorts by time, and two runs in one second differ."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def write_run(run: Path, record: RunRecord) -> None:
    write_whole(run / layout.RUN, dumps(record) + "\n")


def read_run(run: Path) -> RunRecord:
    """Raises EvidenceError where this is no run directory."""
    file = run / layout.RUN
    try:
        record = loads(RunRecord, read_below(run, layout.RUN, MAX_RECORD))
    except EvidenceMissing as error:
        raise EvidenceError(f"{run}: not a run directory (no {layout.RUN} in it)") from error
    except ProtocolError as error:
        raise EvidenceError(f"{file}: {error}") from error
    wrong = _wrong(record)
    if wrong is not None:
        raise EvidenceError(f"{file}: {wrong}")
    left_out = _read_left_out(run)
    kept = tuple(entry for entry in record.labs if entry.slug not in left_out)
    record = replace(record, labs=kept, left_out=left_out) if left_out else record
    finding = read_finding(run)
    return record if finding is None else _chosen(run, record, finding)


def write_left_out(run: Path, slugs: Sequence[str]) -> None:
    """The record of the run is written once, before it: what came of it stands beside."""
    write_whole(run / layout.LEFT_OUT, dumps(tuple(slugs)) + "\n")


def _read_left_out(run: Path) -> tuple[str, ...]:
    """Raises EvidenceError where a lab that is said to be left out has evidence: nothing may be hidden that way."""
    try:
        slugs = loads(tuple[str, ...], read_below(run, layout.LEFT_OUT, MAX_RECORD))
    except EvidenceMissing:
        return ()
    except ProtocolError as error:
        raise EvidenceError(f"{run / layout.LEFT_OUT}: {error}") from error
    for slug in slugs:
        found = (run / "labs" / slug).glob("*") if plain_name(slug) else ()
        if not plain_name(slug) or any(path.is_dir() and path.name != layout.FILES for path in found):
            raise EvidenceError(f"{run / layout.LEFT_OUT}: {slug[:80]!r} is no lab that was left out: it has evidence")
    return slugs


def read_finding(run: Path) -> Finding | None:
    """None where the directory is all of a run. Raises EvidenceError where this labrun cannot read what it says."""
    file = run / layout.FINDING
    try:
        text = read_below(run, layout.FINDING, MAX_RECORD)
    except EvidenceMissing:
        return None
    try:
        value = parse(text)
        if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FINDING_FORMAT:
            raise NewerFinding(f"{file}: its format is {value['format']}; this labrun reads {FINDING_FORMAT}")
        finding: Finding = decode(Finding, value)
    except ProtocolError as error:
        raise EvidenceError(f"{file}: {error}") from error
    if finding.format != FINDING_FORMAT:
        raise EvidenceError(f"{file}: its format is {finding.format}; this labrun reads {FINDING_FORMAT}")
    return finding


class NewerFinding(EvidenceError):
    """A newer labrun made it: this one cannot say whether it is whole."""


def _chosen(run: Path, record: RunRecord, finding: Finding) -> RunRecord:
    """Raises EvidenceError where the finding names a lab that did not run, or hides one that has evidence."""
    slugs = [*(entry.slug for entry in record.labs), *(lab.slug for lab in record.invalid)]
    unknown = [slug for slug in finding.labs if slug not in slugs]
    if unknown or not finding.labs:
        raise EvidenceError(f"{run / layout.FINDING}: {(unknown or ['nothing'])[0][:80]!r} is no lab of this run")
    for entry in record.labs:
        if entry.slug not in finding.labs and layout.lab_folder(run, entry.slug).exists():
            raise EvidenceError(f"{run / layout.FINDING}: it leaves out {entry.slug!r}, which has evidence here")
    return replace(
        record,
        labs=tuple(entry for entry in record.labs if entry.slug in finding.labs),
        invalid=tuple(lab for lab in record.invalid if lab.slug in finding.labs),
    )


def _wrong(record: RunRecord) -> str | None:
    """What cannot be so in a record of a run."""
    for entry in record.labs:
        for name in (entry.slug, *entry.variants):
            if not plain_name(name):
                return f"{name[:80]!r} is no name of a folder"
        if not 1 <= entry.repeats <= MAX_REPEATS:
            return f"{entry.slug}: repeated {entry.repeats} times, and 1 to {MAX_REPEATS} are possible"
    for part in record.parts or ():
        if not plain_name(part.id):
            return f"{part.id[:80]!r} is no name of a folder"
    if len(record.parts or ()) > MAX_REPEATS:
        return f"more than {MAX_REPEATS} parts"
    if sum(len(entry.variants) * entry.repeats for entry in record.labs) > MAX_VARIANTS:
        return f"more than {MAX_VARIANTS} variants"
    return None


def point_latest(run: Path) -> None:
    """``latest`` beside the run points at it: a symbolic link, replaced in one step."""
    link = run.parent / "latest"
    fresh = run.parent / f".latest-{run.name}"
    fresh.symlink_to(run.name)
    try:
        fresh.replace(link)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def resolve_run(path: Path, reports: Path) -> Path:
    """A run directory by its path, or by its id under the reports folder."""
    if path.is_dir():
        return Path(os.path.realpath(path))
    return reports / path
