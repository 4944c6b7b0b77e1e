"""The lab image's root file system as a folder, for engines without a daemon: unpacked once for each recipe.

It comes out of an engine that has the image, or is built here. Nobody's rights are needed to use it: every file
belongs to whoever unpacked it (or, as root, to the ids that a sandbox's users are mapped to) and can be read by them.
It appears under its name only when it is whole; sandboxes never write to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from labrun.image.build import locked, make_context, remove_tree, workplace
from labrun.image.builders import BUILD_LABEL, Builder, HostBuilder, Say, as_file
from labrun.image.errors import ImageError, NoRoom
from labrun.image.kept import cache_folder, find_rootfs, rootfs_path
from labrun.image.recipe import Recipe
from labrun.lease import lease

_SKIPPED = ("dev", "proc", "sys", ".dockerenv")


def ensure_rootfs(
    recipe: Recipe,
    say: Say,
    *,
    first_id: int | None,
    client: Any = None,
    builder: Builder | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """The folder, unpacked now if it is not there: from the engine of ``client`` if that has the image, else built.

    ``first_id``: who user 0 of the image is out here, for root; None: everything is the caller's. Raises ImageError.
    """
    found = find_rootfs(recipe, cache_dir)
    if found is not None:
        return found
    with locked(cache_folder(cache_dir), recipe, say) as lock:
        target = rootfs_path(recipe, cache_dir)
        if target.is_dir():
            return target
        started = time.monotonic()
        if client is not None and _from_engine(client, recipe, target, first_id, say):
            pass
        else:
            _built(recipe, builder or HostBuilder(), target, first_id, say, lock)
        say(f"{recipe.tag} is unpacked after {time.monotonic() - started:.0f} s")
        return target


def _from_engine(client: Any, recipe: Recipe, target: Path, first_id: int | None, say: Say) -> bool:
    """Out of an engine that has the image; whether it had. Raises NoRoom."""
    import docker.errors
    import requests.exceptions

    from labrun.image.build import find_image

    try:
        image = find_image(client, recipe)
        if image is None:
            return False
        say(f"unpacking {recipe.tag} out of the engine, once")
        container = client.api.create_container(image, ["true"], labels={BUILD_LABEL: recipe.digest, **lease()})["Id"]
        try:
            with as_file(client.api.export(container)) as stream:
                _unpack(stream, target, first_id)
        finally:
            client.api.remove_container(container, force=True)
    except NoRoom:
        raise  # a build would only fill the same place
    except (ImageError, docker.errors.DockerException, requests.exceptions.RequestException) as error:
        say(f"the engine did not hand its image out: {error}")
        return False
    return True


def _built(recipe: Recipe, builder: Builder, target: Path, first_id: int | None, say: Say, lock: Path) -> None:
    obstacle = builder.obstacle()
    if obstacle:
        raise ImageError(
            f"The lab image cannot be built with {builder.name}: {obstacle}.",
            "Labs can run on this host's own programs: --userland host.",
        )
    with workplace(lock) as work:
        say(f"building {recipe.tag} with {builder.name}, once for this recipe")
        tar = work / "root.tar"
        builder.build(make_context(recipe, work, say), tar, say)
        say("unpacking it")
        with tar.open("rb") as file:
            _unpack(file, target, first_id)


def _unpack(stream: BinaryIO, target: Path, first_id: int | None) -> None:
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        remove_tree(partial)  # of a killed process: we hold the lock
    try:
        partial.mkdir(parents=True)
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            folders = [member for member in tar if _place(tar, member, partial, first_id) and member.isdir()]
        for member in reversed(folders):  # last, for a read-only folder could not be filled
            path = partial / member.name
            path.chmod(member.mode & 0o1777 | 0o700)
        for name in ("dev", "proc", "sys", "run", "tmp"):
            (partial / name).mkdir(exist_ok=True)
        _own(partial, 0, 0, first_id)
        partial.chmod(0o755)
        partial.rename(target)
    except (OSError, tarfile.TarError) as error:
        with contextlib.suppress(OSError):
            remove_tree(partial)
        what = f"The lab image could not be unpacked into {target}: {error}."
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (NoRoom if full else ImageError)(what, "See that the disk has room.") from error


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, first_id: int | None) -> bool:
    """One entry. Devices are left out; nothing gets outside of ``root``."""
    parts = Path(member.name).parts
    if not parts or ".." in parts or Path(member.name).is_absolute() or parts[0] in _SKIPPED:
        return False
    path = root.joinpath(*parts)
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
        raise tarfile.TarError(f"{member.name} leads outside")
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        os.link(root / member.linkname, path)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        with path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        os.utime(path, (member.mtime, member.mtime))
    else:
        return False
    _own(path, member.uid, member.gid, first_id)
    if member.isreg():
        path.chmod(member.mode & 0o777 | 0o600)  # no setuid: out here it would be somebody else's
    return True


def _own(path: Path, uid: int, gid: int, first_id: int | None) -> None:
    if first_id is not None:
        os.lchown(path, first_id + uid, first_id + gid)


def remove_rootfs(keep: Iterable[Path] = (), cache_dir: Path | None = None) -> tuple[Path, ...]:
    """Remove unfinished folders; what was removed. Whole ones stay, as images do."""
    kept = set(keep)
    removed = []
    for path in sorted((cache_folder(cache_dir) / "rootfs").glob("*.partial")):
        if path not in kept:
            remove_tree(path)
            removed.append(path)
    return tuple(removed)
