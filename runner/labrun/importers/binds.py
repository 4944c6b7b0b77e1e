"""Files that containers have from the host: those beside the lab's own file are put into the node."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from labrun.importers.base import Folder, Remark
from labrun.protocol.plan import LabFile

_NO_FILES = ("", "proc", "sys", "dev", "lab")  # where a node has no files of the lab


def bound_files(
    folder: Folder, binds: Sequence[str], model: dict[str, Any], remarks: list[Remark]
) -> list[tuple[str, LabFile]]:
    """The files that are needed. ``binds``: HERE:THERE[:OPTIONS]; the node's ``model`` says where they are in it."""
    files: list[tuple[str, LabFile]] = []
    for bind in binds:
        source, _, rest = bind.partition(":")
        place = rest.partition(":")[0]
        path = posixpath.normpath(source)
        found = folder.at(path)
        parts = place.split("/")
        if not found or len(parts) < 2 or parts[0] or ".." in parts or parts[1] in _NO_FILES:
            why = "it is not a file or a folder beside the lab, or not a place for one"
            remarks.append(Remark("left out", f"bind {bind}", why))
            continue
        files += [(f"binds/{file.path}", file) for file in found]
        model.setdefault("files", {})[place] = f"binds/{path}"
    return files
