"""The lab's files: they come after the plan, in its order, and go where the lab finds them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from labrun.agent.lab_root import BESIDE
from labrun.protocol.plan import LabFile


def receive(files: tuple[LabFile, ...], stream: BinaryIO, folder: Path = BESIDE) -> None:
    """Put them below ``folder``. The bytes of those that are the same come once."""
    known: dict[str, Path] = {}
    for file in files:
        target = folder / file.path
        (target if file.sha256 is None and file.target is None else target.parent).mkdir(parents=True, exist_ok=True)
        if file.target is not None:
            target.symlink_to(file.target)
        elif file.sha256 is not None:
            data = known[file.sha256].read_bytes() if file.sha256 in known else stream.read(file.size or 0)
            known.setdefault(file.sha256, target)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(data)
                os.fchmod(descriptor, 0o755 if file.executable else 0o644)
