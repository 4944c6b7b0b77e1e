"""The lab image in an engine: found by its recipe's digest, or built once.

Builds of one recipe wait for each other, and whatever a killed build left is removed by the next one. The image appears
under its name only when it is whole.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labrun.image.builders import BUILD_LABEL, Builder, ContainerBuilder, Context, HostBuilder, Say
from labrun.image.errors import ImageError
from labrun.image.kept import cache_folder
from labrun.image.recipe import REPOSITORY, Recipe, recipe_files
from labrun.image.wheels import unpack_wheels
from labrun.lease import expired

if TYPE_CHECKING:
    import docker

LABEL = "labrun.recipe"
"""The image label that carries the whole recipe digest."""

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
)
_WORK = "labrun-image-"
_WAIT_S = 3600.0


@dataclass(frozen=True)
class ImageRow:
    """One image that labrun built, as the engine lists it."""

    id: str
    """The engine's name for its content: `sha256:...`."""

    tags: tuple[str, ...]
    """Its names; none when a newer build took them."""

    digest: str
    """The digest of the recipe that it was built from."""

    size_bytes: int
    """As `docker images` counts it."""

    created: str
    """When, in RFC 3339."""

    current: bool
    """Whether it is the one that the recipe at hand asks for."""


def find_image(client: "docker.DockerClient", recipe: Recipe) -> str | None:
    """The id of the image that `recipe` makes, or None if the engine has none. Raises ImageError without an engine."""
    import docker.errors

    with _engine_errors("look for the lab image"):
        try:
            image: Any = client.images.get(recipe.tag)
        except docker.errors.ImageNotFound:
            return None
        return str(image.id) if (image.labels or {}).get(LABEL) == recipe.digest else None


def list_images(client: "docker.DockerClient", recipe: Recipe) -> tuple[ImageRow, ...]:
    """Every lab image in the engine, the newest first."""
    with _engine_errors("list the lab images"):
        images: list[Any] = client.images.list(filters={"label": LABEL})
        rows = [
            ImageRow(
                id=str(image.id),
                tags=tuple(sorted(image.tags)),
                digest=image.labels[LABEL],
                size_bytes=int(image.attrs["Size"]),
                created=str(image.attrs["Created"]),
                current=image.labels[LABEL] == recipe.digest and recipe.tag in image.tags,
            )
            for image in images
        ]
    return tuple(sorted(rows, key=lambda row: (row.created, row.id), reverse=True))


def ensure_image(
    client: "docker.DockerClient",
    recipe: Recipe,
    say: Say,
    *,
    builders: Sequence[Builder] | None = None,
    cache_dir: Path | None = None,
) -> str:
    """The id of the recipe's image, which is built if the engine has none; `say` gets a line per stage.

    `builders` are tried in their order (None: this host, then a container). `cache_dir` has the lock and, after a
    failure, the log (None: `~/.cache/labrun`). Raises ImageError.
    """
    found = find_image(client, recipe)
    if found is not None:
        return found
    chosen = (HostBuilder(), ContainerBuilder(client)) if builders is None else tuple(builders)
    with locked(cache_folder(cache_dir), recipe, say) as lock:
        # Another process may have built it while we waited.
        found = find_image(client, recipe)
        if found is not None:
            return found
        with workplace(lock) as work:
            try:
                return _build(client, recipe, say, chosen, work)
            except ImageError as error:
                log = _keep_logs(work, lock.with_suffix(".log"))
                raise ImageError(error.what, f"{error.remedy} {log}".rstrip()) from error


def remove_leftovers(client: "docker.DockerClient", *, cache_dir: Path | None = None) -> tuple[str, ...]:
    """Remove what killed builds left: folders, and containers whose maker is gone. What it removed, as text.

    Builds that are under way are left alone.
    """
    removed: list[str] = []
    for lock in sorted(cache_folder(cache_dir).glob(f"{REPOSITORY}-*.lock")):
        with lock.open("r+", encoding="utf-8") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = _remove_leftover(lock)
            if folder is not None:
                removed.append(f"folder {folder}")
    with _engine_errors("list the containers of builds"):
        found: list[Any] = client.containers.list(all=True, filters={"label": BUILD_LABEL}, ignore_removed=True)
        for container in found:
            created = str(container.attrs.get("Created", ""))
            if expired(container.labels, running=container.status == "running", created=created):
                container.remove(force=True, v=True)
                removed.append(f"container {container.name}")
    return tuple(removed)


def _build(client: Any, recipe: Recipe, say: Say, builders: Sequence[Builder], work: Path) -> str:
    started = time.monotonic()
    say(f"building {recipe.tag}, once for this recipe")
    context = make_context(recipe, work, say)
    out = work / "root.tar"
    failures: list[ImageError] = []
    for builder in builders:
        obstacle = builder.obstacle()
        if obstacle:
            failures.append(ImageError(f"{builder.name} is not possible: {obstacle}.", ""))
            continue
        say(f"building with {builder.name}")
        try:
            builder.build(context, out, say)
        except ImageError as error:
            say(f"{builder.name} failed: {error.what}")
            failures.append(error)
            continue
        image = _import(client, recipe, out, say)
        say(f"{recipe.tag} is ready after {time.monotonic() - started:.0f} s")
        return image
    raise ImageError(
        f"The lab image {recipe.tag} could not be built. {' '.join(failure.what for failure in failures)}",
        " ".join(dict.fromkeys(failure.remedy for failure in failures if failure.remedy))
        or "Install mmdebstrap (`apt install mmdebstrap`), or use an engine that can pull images.",
    )


def make_context(recipe: Recipe, work: Path, say: Say) -> Context:
    """A copy of everything that the build reads: the recipe may lie where a build's user namespace cannot look."""
    root = work / "context"
    for path in recipe_files(recipe.root):
        (root / "recipe" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(recipe.root / path, root / "recipe" / path)
    if recipe.extra:
        with (root / "recipe" / "packages.txt").open("a", encoding="utf-8") as file:
            file.write("\n# of the lab\n" + "".join(f"{package}\n" for package in recipe.extra))
    say("fetching the pinned Python packages")
    unpack_wheels(root / "recipe" / "requirements.txt", root / "site", log=work / "pip.log")
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(root)], check=True)
    return Context(root=root, digest=recipe.digest, suite=recipe.suite)


def _import(client: Any, recipe: Recipe, tar: Path, say: Say) -> str:
    say("importing it")
    repository, tag = recipe.tag.split(":")
    changes = [
        *(f"ENV {setting}" for setting in _ENVIRONMENT),
        f"LABEL {LABEL}={recipe.digest}",
        f"LABEL labrun.suite={recipe.suite}",
        'CMD ["bash"]',
    ]
    with _engine_errors("import the lab image"):
        answer = client.api.import_image_from_file(str(tar), repository=repository, tag=tag, changes=changes)
        if find_image(client, recipe) is None:
            # Podman 4 imports under the tag `latest`, whatever was asked for.
            for stray in client.images.list(filters={"label": f"{LABEL}={recipe.digest}"}):
                stray.tag(repository, tag)
    image = find_image(client, recipe)
    if image is None:
        # The daemon reports a failure inside an answer whose status says that all is well.
        errors = [line["error"] for line in map(json.loads, answer.splitlines()) if "error" in line]
        raise ImageError(
            f"Docker did not import the lab image: {'; '.join(errors) or 'no reason given'}.",
            "See that Docker's disk has room (`docker system df`).",
        )
    return image


@contextlib.contextmanager
def _engine_errors(doing: str) -> Iterator[None]:
    """The docker package's exceptions, and those of the HTTP below it, as ours."""
    import docker.errors
    import requests.exceptions

    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise ImageError(f"Docker could not {doing}: {error}.", "See that `docker info` works.") from error


@contextlib.contextmanager
def locked(cache: Path, recipe: Recipe, say: Say) -> Iterator[Path]:
    """Holds the lock of this recipe's build; yields the lock file."""
    path = cache / f"{REPOSITORY}-{recipe.digest[:12]}.lock"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ImageError(f"Cannot write to {cache}: {error.strerror}.", "Choose another cache folder.") from error
    try:
        # The build's commands hold the lock as well (see command.py), so it is free only when they are gone too.
        os.set_inheritable(descriptor, True)
        end = time.monotonic() + _WAIT_S
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ImageError(
                        f"Another process has been building {recipe.tag} for an hour.",
                        f"See which one holds {path} (`fuser {path}`), and end it.",
                    ) from None
            if not told:
                say(f"another process is building {recipe.tag}: waiting for it")
                told = True
            time.sleep(0.1)
        yield path
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def workplace(lock: Path) -> Iterator[Path]:
    """A folder for one build, gone afterwards.

    The lock file names it, for the next build to remove should we be killed.
    """
    _remove_leftover(lock)
    work = Path(tempfile.mkdtemp(prefix=_WORK))
    try:
        lock.write_text(str(work), encoding="utf-8")
        # Without root, mmdebstrap works in a user namespace whose root is another user out here.
        work.chmod(0o755)
        yield work
    finally:
        remove_tree(work)
        lock.write_text("", encoding="utf-8")


def _remove_leftover(lock: Path) -> Path | None:
    """Remove the folder that the lock file names, if it is still there; its path, if so. The lock must be held."""
    before = Path(lock.read_text(encoding="utf-8").strip() or "/")
    if not before.name.startswith(_WORK) or not before.is_dir() or before.stat().st_uid != os.geteuid():
        return None
    remove_tree(before)
    return before


def remove_tree(work: Path) -> None:
    """Remove the folder; a command that has just been killed may be writing there for another moment."""
    # Not shutil.rmtree: a chroot may have something mounted in it, and that must not be emptied.
    remove = ["rm", "-rf", "--one-file-system", "--", str(work)]
    end = time.monotonic() + 5.0
    while subprocess.run(remove, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        if os.geteuid() != 0 and shutil.which("mmdebstrap"):
            # What a user namespace made belongs to users that only such a namespace may act for.
            subprocess.run(["mmdebstrap", "--unshare-helper", *remove], stderr=subprocess.DEVNULL, check=False)
        if time.monotonic() > end:
            break
        time.sleep(0.1)


def _keep_logs(work: Path, log: Path) -> str:
    """Save what the build's commands printed; the words that say where it is."""
    parts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(work.glob("*.log"))]
    if not any(parts):
        return ""
    log.write_text("".join(parts), encoding="utf-8")
    return f"The whole output is in {log}."
