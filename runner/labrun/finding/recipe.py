"""The recipe of the userland that a run had, as a finding has it: its files, and its digest, which names the image."""

from __future__ import annotations

import shutil
from pathlib import Path

from labrun.evidence.files import EvidenceError, EvidenceMissing, read_below, write_whole
from labrun.evidence.run import RunRecord
from labrun.image.errors import ImageError
from labrun.image.recipe import REPOSITORY, digest_of, is_executable, load_recipe, recipe_files
from labrun.protocol.codec import ProtocolError, dumps, loads
from labrun.protocol.record import dataclass

FOLDER = "userland"
INDEX = "recipe.json"
_MAX_BYTES = 16 * 1024 * 1024  # of a file


@dataclass(frozen=True, slots=True)
class Kept:
    """``files``: path below userland/files -> whether it is executable."""

    digest: str
    files: dict[str, bool]


def keep(record: RunRecord, run: Path) -> str | None:
    """Lay the recipe of the run's image below ``run``. Why not, in words, where there is none or it is not at hand."""
    if record.userland != "image" or record.image is None:
        return "the labs had the host's own programs"
    try:
        recipe = load_recipe()
    except ImageError as error:
        return str(error)
    if recipe.tag != record.image:
        return f"the labs ran on {record.image}, and the recipe of this labrun makes {recipe.tag}"
    files: dict[str, bool] = {}
    for path in recipe_files(recipe.root):
        target = run / FOLDER / "files" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recipe.root / path, target)
        files[path.as_posix()] = is_executable(recipe.root / path)
    write_whole(run / FOLDER / INDEX, dumps(Kept(recipe.digest, files)) + "\n")
    return None


def kept_files(record: RunRecord, run: Path) -> tuple[str, ...]:
    """The paths of a recipe that is the one of the run's image; none where the finding has no recipe.

    Raises EvidenceError where it is another one, or not as it was.
    """
    index = f"{FOLDER}/{INDEX}"
    try:
        kept: Kept = loads(Kept, read_below(run, index, _MAX_BYTES))
    except EvidenceMissing:
        return ()
    except ProtocolError as error:
        raise EvidenceError(f"{index}: {error}") from error
    paths = {path: f"{FOLDER}/files/{path}" for path in sorted(kept.files)}
    digest = digest_of((path, kept.files[path], read_below(run, place, _MAX_BYTES)) for path, place in paths.items())
    if digest != kept.digest:
        raise EvidenceError(f"{index}: the recipe's files do not have the digest that it names")
    if record.userland != "image" or record.image != f"{REPOSITORY}:{digest[:12]}":
        raise EvidenceError(f"{index}: the labs did not run on what this recipe makes")
    return (index, *paths.values())
