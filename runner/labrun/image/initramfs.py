"""What a virtual machine starts from: a small archive with busybox, the modules of the start, and the first program.

Archives are in the format newc (Documentation/driver-api/early-userspace/buffer-format.rst); the kernel joins several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from labrun.image.errors import ImageError

_AT_START = ("virtio_pci", "virtio_blk", "virtio_console", "squashfs", "overlay")
_FOLDERS = ("dev", "proc", "sys", "bin", "m", "lower", "rw", "new")
_MAGIC = "070701"
_Entry = tuple[str, int, bytes, tuple[int, int]]  # name, mode, content, device number


def base_archive(modules: Path, busybox: Path) -> bytes:
    """Folders, busybox and the modules of the start, in the order in which they are to be loaded. Raises ImageError.

    ``modules`` is a folder `lib/modules/RELEASE` after depmod(8); ``busybox`` is a static one.
    """
    entries: list[_Entry] = [(name, 0o40755, b"", (0, 0)) for name in _FOLDERS]
    entries += [("dev/console", 0o20600, b"", (5, 1)), ("bin/busybox", 0o100755, busybox.read_bytes(), (0, 0))]
    for number, path in enumerate(_in_order(modules)):
        entries.append((f"m/{number:02d}-{Path(path).name}", 0o100644, (modules / path).read_bytes(), (0, 0)))
    return _archive(entries)


def init_archive(init: str) -> bytes:
    """The first program alone."""
    return _archive([("init", 0o100755, init.encode(), (0, 0))])


def _in_order(modules: Path) -> list[str]:
    """The start's modules after what they need (depmod(8): the last that is named is loaded first)."""
    lines = (modules / "modules.dep").read_text(encoding="utf-8").splitlines()
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in lines)}
    by_name = {_name(path): path for path in needs}
    built_in = {_name(line) for line in _lines(modules / "modules.builtin")}
    missing = [name for name in _AT_START if name not in by_name and name not in built_in]
    if missing:
        raise ImageError(
            f"This kernel has no {', '.join(missing)}: a virtual machine cannot start with it.",
            "Take one that has them, built in or as modules, such as Debian's linux-image-*-cloud.",
        )
    paths = [by_name[name] for name in _AT_START if name in by_name]
    return list(dict.fromkeys(each for path in paths for each in (*reversed(needs[path]), path)))


def _name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def _lines(file: Path) -> Iterable[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()


def _archive(entries: Sequence[_Entry]) -> bytes:
    out = bytearray()
    for number, (name, mode, data, device) in enumerate((*entries, ("TRAILER!!!", 0, b"", (0, 0))), 1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        out += (_MAGIC + "".join(f"{field:08X}" for field in fields)).encode() + encoded
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)
