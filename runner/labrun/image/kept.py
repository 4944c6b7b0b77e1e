"""Where the lab image's root file system lies once it is unpacked. Every native run asks; so this imports little."""

from __future__ import annotations

from pathlib import Path

from labrun.image.recipe import Recipe


def cache_folder(cache_dir: Path | None) -> Path:
    """Where labrun keeps what it can make again; `cache_dir` where it is given."""
    return Path.home() / ".cache" / "labrun" if cache_dir is None else cache_dir


def rootfs_path(recipe: Recipe, cache_dir: Path | None = None) -> Path:
    return cache_folder(cache_dir) / "rootfs" / recipe.digest[:12]


def find_rootfs(recipe: Recipe, cache_dir: Path | None = None) -> Path | None:
    """The folder, if it was unpacked already."""
    path = rootfs_path(recipe, cache_dir)
    return path if path.is_dir() else None
