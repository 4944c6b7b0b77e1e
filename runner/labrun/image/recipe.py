"""The recipe of the lab image: a folder of data files, and the digest that names what they make.

The image is addressed by its recipe's content, so a changed recipe is built anew and nothing else ever is. This module
reads the folder; it builds nothing and talks to nobody.
"""

import hashlib
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from labrun.image.errors import ImageError

REPOSITORY = "labrun-lab"
"""The name that images are tagged with: `labrun-lab:<first 12 digits of the recipe's digest>`."""

_NEEDED = ("build.sh", "packages.txt", "requirements.txt", "suite", "trim.txt")


@dataclass(frozen=True)
class Recipe:
    """One state of `images/lab`."""

    root: Path
    """The folder with the recipe's files."""

    digest: str
    """sha256 over the files' names, executable bits and contents, in hex."""

    suite: str
    """The Debian release that the packages come from, like `bookworm`."""

    extra: tuple[str, ...] = ()
    """Debian packages that a lab wants beside those of the recipe, as apt takes them: `frr`, or `frr=8.4.4-1.1`."""

    @property
    def tag(self) -> str:
        """The image's full name; a different recipe has a different one."""
        return f"{REPOSITORY}:{self.digest[:12]}"


def load_recipe(root: Path | None = None) -> Recipe:
    """The recipe in `root`, or the one that came with labrun: inside the wheel, or in the checkout.

    Raises ImageError where there is none, or where a file of it is missing.
    """
    folder = _shipped() if root is None else root
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise ImageError(
            f"The image recipe in {folder} lacks {', '.join(missing)}.",
            "Install labrun again, or restore images/lab in the checkout.",
        )
    suite = (folder / "suite").read_text(encoding="utf-8").strip()
    return Recipe(root=folder, digest=digest_of(_read(folder)), suite=suite)


def with_packages(recipe: Recipe, packages: Collection[str]) -> Recipe:
    """The same with these packages on top. Addressed by its content, as the recipe itself is."""
    extra = tuple(sorted(set(packages)))
    text = "\n".join((recipe.digest, *extra))
    return replace(recipe, digest=hashlib.sha256(text.encode()).hexdigest(), extra=extra) if extra else recipe


def recipe_files(root: Path) -> tuple[Path, ...]:
    """The files that count, relative to `root`, in the order of their names. Editors' and Python's droppings do not."""
    relative = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return tuple(sorted((path for path in relative if not _is_dropping(path)), key=Path.as_posix))


def _is_dropping(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts) or path.name.endswith("~")


def is_executable(file: Path) -> bool:
    """Like git, only this bit of a mode: the others depend on the umask of who cloned or installed."""
    return bool(file.stat().st_mode & stat.S_IXUSR)


def digest_of(files: Iterable[tuple[str, bool, bytes]]) -> str:
    """``files``: name with slashes between, whether it is executable, content; in the order of the names."""
    whole = hashlib.sha256()
    for path, executable, content in files:
        # Lengths first, so that no two recipes run together to the same bytes.
        name = path.encode()
        whole.update(b"%d:%s%c%d:" % (len(name), name, b"x" if executable else b"-", len(content)))
        whole.update(content)
    return whole.hexdigest()


def _read(root: Path) -> Iterable[tuple[str, bool, bytes]]:
    return ((path.as_posix(), is_executable(root / path), (root / path).read_bytes()) for path in recipe_files(root))


def _shipped() -> Path:
    package = Path(__file__).resolve().parents[1]
    in_wheel = package / "_shipped" / "images" / "lab"
    return in_wheel if in_wheel.is_dir() else package.parents[1] / "images" / "lab"
