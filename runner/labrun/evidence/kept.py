"""The files beside a lab's file as a run keeps them: small ones whole, others by what the plan says of them.

The plan names each with its size and its SHA-256, and is sealed; so a copy can be held against it, as what is not kept
can be by whoever has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from labrun.evidence import layout
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
