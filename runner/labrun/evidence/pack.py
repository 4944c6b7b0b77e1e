"""One file out of a folder of files, and back: what a finding travels in.

A pack is a zip file in one form only. Names are sorted, times are the format's first day, nothing is compressed
(zlib's versions differ in their bytes), and manifest-sha256.txt has the SHA-256 of every other file, as `sha256sum -c`
reads it. So the same files give the same bytes on every machine. A zip file in any other form is refused: none has a
bomb, a link, a second file of one name, or bytes that no file accounts for.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from io import BufferedReader
from pathlib import Path

from labrun.evidence.files import EvidenceError, digest_below, open_below, plain_name, read_below, size_below

MANIFEST = "manifest-sha256.txt"
MAX_BYTES = 2 * 1024**3  # of the file and of all in it; beyond 4 GiB, or 65534 files, a zip file has another form
MAX_FILES = 65_000
_MAX_PATH = 1024  # bytes
_MAX_DIRECTORY = MAX_FILES * (46 + _MAX_PATH)  # bytes of the list of files at the end, which is read into memory
_MAX_MANIFEST = MAX_FILES * (67 + _MAX_PATH)
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
_UTF8 = 0x800  # general purpose bit 11: APPNOTE.TXT 4.4.4
_UNIX = 3  # "version made by": APPNOTE.TXT 4.4.2


def manifest(root: Path, paths: Collection[str]) -> str:
    """What `sha256sum -c` reads. Raises EvidenceError where a path is none for a pack, or its file cannot be read."""
    _check_names(paths)
    if sum(size_below(root, path) for path in paths) > MAX_BYTES:
        raise EvidenceError(f"{root}: more than {MAX_BYTES} bytes, which is the most that a pack may have")
    return "".join(f"{digest_below(root, path)[1]}  {path}\n" for path in sorted(paths))


def write_pack(target: Path, root: Path, paths: Collection[str]) -> None:
    """Put these files, which are below ``root``, and their manifest into a pack at ``target``, in one step.

    Raises EvidenceError where one of them cannot be read, OSError where nothing can be written.
    """
    text = manifest(root, paths)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:80]}.", dir=target.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as pack:
            for path in sorted([*paths, MANIFEST]):
                if path == MANIFEST:
                    pack.writestr(_entry(path, len(text.encode())), text.encode())
                    continue
                with open_below(root, path) as source:
                    entry = _entry(path, os.fstat(source.fileno()).st_size)
                    with pack.open(entry, "w") as sink:
                        shutil.copyfileobj(source, sink)
        if fresh.stat().st_size > MAX_BYTES:
            raise EvidenceError(f"{root}: more than {MAX_BYTES} bytes, which is the most that a pack may have")
        fresh.chmod(0o644)
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def open_pack(file: Path, into: Path) -> Mapping[str, str]:
    """Lay a pack's files below ``into``, an empty folder; path -> SHA-256 of each, without the manifest.

    Raises EvidenceError where it is no pack, or a file is not as the manifest says. What was laid out stays then.
    """
    try:
        with open_below(file.parent, file.name) as source:
            length = os.fstat(source.fileno()).st_size
            if length > MAX_BYTES:
                raise EvidenceError(f"{file}: more than {MAX_BYTES} bytes")
            _check_end(source, length)
            with zipfile.ZipFile(source) as pack:
                paths = _checked(pack.infolist(), length)
                for entry in pack.infolist():
                    _lay(pack, entry, into)
    except EvidenceError:
        raise
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise EvidenceError(f"{file}: no pack of labrun: {error}") from error
    paths.discard(MANIFEST)
    said = manifest(into, paths)
    if read_below(into, MANIFEST, _MAX_MANIFEST) != said.encode():
        raise EvidenceError(f"{file}: the files are not those that {MANIFEST} names")
    with tempfile.TemporaryDirectory(prefix=".labrun-pack-", dir=into.parent) as folder:
        again = Path(folder) / "again"
        write_pack(again, into, paths)
        if digest_below(again.parent, again.name) != digest_below(file.parent, file.name):
            raise EvidenceError(f"{file}: not in the form that labrun writes")
    return {line[66:]: line[:64] for line in said.split("\n")[:-1]}


def _entry(path: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, _FIRST_DAY)
    entry.create_system, entry.external_attr, entry.file_size = _UNIX, _ATTRIBUTES, size
    return entry


def _check_end(file: BufferedReader, length: int) -> None:
    """Raises EvidenceError where the list of files could be larger than may be read: APPNOTE.TXT 4.3.15, 4.3.16."""
    file.seek(max(0, length - 42))
    tail = file.read(42)
    if len(tail) < 42 or tail[20:24] != b"PK\5\6" or tail[:4] == b"PK\6\7":
        raise EvidenceError("it does not end as a pack does")
    if int.from_bytes(tail[32:36], "little") > _MAX_DIRECTORY:
        raise EvidenceError(f"its list of files has more than {_MAX_DIRECTORY} bytes")
    file.seek(0)


def _checked(entries: list[zipfile.ZipInfo], length: int) -> set[str]:
    """The names. Raises EvidenceError for what may not be laid out; before anything is."""
    paths = [entry.orig_filename for entry in entries]
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise EvidenceError(f"{entry.orig_filename[:200]!r} is compressed, and nothing in a pack is")
        if entry.external_attr != _ATTRIBUTES or entry.flag_bits & ~_UTF8:
            raise EvidenceError(f"{entry.orig_filename[:200]!r} is no plain file")
        if not 0 <= entry.header_offset < length:
            raise EvidenceError(f"{entry.orig_filename[:200]!r} is not within the file")
    if sum(entry.file_size for entry in entries) > length:
        raise EvidenceError("its files overlap")
    if MANIFEST not in paths:
        raise EvidenceError(f"there is no {MANIFEST} in it")
    _check_names([path for path in paths if path != MANIFEST], len(paths) - 1)
    return set(paths)


def _check_names(paths: Collection[str], expected: int | None = None) -> None:
    """Raises EvidenceError where one is no path below a folder, or two of them cannot both be files."""
    files = set(paths)
    if len(files) > MAX_FILES:
        raise EvidenceError(f"more than {MAX_FILES} files")
    if len(files) != len(paths) or expected not in (None, len(files)):
        raise EvidenceError("two files have one name")
    for path in paths:
        parts = path.split("/")
        # A backslash or a control character would be written otherwise by sha256sum.
        if (
            path == MANIFEST
            or not path.isprintable()
            or len(path.encode()) > _MAX_PATH
            or "\\" in path
            or not all(map(plain_name, parts))
        ):
            raise EvidenceError(f"{path[:200]!r} is no path for a pack")
        for number in range(1, len(parts)):
            if "/".join(parts[:number]) in files | {MANIFEST}:
                raise EvidenceError(f"{path[:200]!r} is below a file")


def _lay(pack: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path) -> None:
    target = into / entry.orig_filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with pack.open(entry) as source, target.open("xb") as sink:
        shutil.copyfileobj(source, sink)
