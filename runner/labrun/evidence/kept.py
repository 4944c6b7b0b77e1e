"""The files beside a lab's file as a run keeps them: small ones whole, others by what the plan says of them.

The plan names each with its size and its SHA-256, and is sealed; so a copy can be held against it, as what is not kept
can be by whoever has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, digest_below, plain_name, read_below
from labrun.protocol.plan import Contents, LabFile

MAX_FILE = 1024 * 1024  # bytes
MAX_ALL = 32 * 1024 * 1024


def kept(files: Sequence[LabFile]) -> Iterator[LabFile]:
    """Those whose bytes a run keeps: the small ones, in order, until there is no room."""
    left = MAX_ALL
    for file in files:
        if file.sha256 is not None and file.size is not None and file.size <= min(MAX_FILE, left):
            left -= file.size
            yield file


def keep_files(lab: Path, files: Sequence[LabFile], contents: Contents) -> None:
    """Write them below the folder of a lab in a run."""
    for file in kept(files):
        target = lab / layout.FILES / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents[file.sha256 or ""])
        if file.executable:
            target.chmod(0o755)


def kept_paths(run: Path, slug: str, files: Sequence[LabFile]) -> tuple[str, ...]:
    """Where they are in a run. Raises EvidenceError where one is not as the plan says."""
    found = []
    for file in kept(files):
        path = f"labs/{slug}/{layout.FILES}/{file.path}"
        if digest_below(run, path) != (file.size, file.sha256):
            raise EvidenceError(f"{run / path}: not what the lab ran with")
        found.append(path)
    return tuple(found)


def lay_out(run: Path, slug: str, files: Sequence[LabFile], folder: Path) -> None:
    """Put them into ``folder``, an empty one, as they were beside the lab's file. Nothing is put below a link.

    Raises EvidenceError where one was too large to be kept, is not as the plan says, or has no name of a file.
    """
    kept_paths(run, slug, files)
    here = {file.path for file in kept(files)}
    links = {file.path for file in files if file.target is not None}
    for file in sorted(files, key=lambda file: file.target is not None):
        parts = file.path.split("/")
        above = {"/".join(parts[:number]) for number in range(1, len(parts))}
        if not all(map(plain_name, parts)) or above & links:
            raise EvidenceError(f"{run}: {slug}: {file.path[:200]!r} is no file beside a lab's file")
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.target is not None:
            target.symlink_to(file.target)
        elif file.sha256 is None:
            target.mkdir(exist_ok=True)
        elif file.path in here:
            target.write_bytes(read_below(run, f"labs/{slug}/{layout.FILES}/{file.path}", MAX_FILE))
            target.chmod(0o755 if file.executable else 0o644)
        else:
            raise EvidenceError(f"{run}: {slug}: its file {file.path[:200]!r} was too large to be kept with the run")
