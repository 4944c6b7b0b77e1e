"""What every end-to-end test needs: real engines, each with the lab image. Without them tests fail, they never skip.

One suite for all engines: what takes the fixture `backend` (or `labrun`) runs in Docker containers, in namespaces made
by root, and in namespaces made by an account that has no rights at all.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from labrun.image.build import ensure_image
from labrun.image.recipe import Recipe, load_recipe
from support.account import Account, temporary_account, temporary_folder
from support.sandboxes import Sandbox, containers_of, namespaces_of

REPOSITORY = Path(__file__).resolve().parents[2]
LABRUN = (sys.executable, "-m", "labrun")
BACKENDS = ("docker", "native", "rootless")


@pytest.fixture(scope="session")
def docker_client() -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.from_env(timeout=60)) as client:
        client.ping()
        yield client


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return load_recipe()


@pytest.fixture(scope="session")
def lab_image(docker_client: docker.DockerClient, recipe: Recipe) -> str:
    """The image's id."""
    return ensure_image(docker_client, recipe, print)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that every account may use, unlike pytest's own."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """A real account without rights, made for these tests."""
    with temporary_account() as made:
        yield made


@dataclass(frozen=True)
class Backend:
    """A way to run labs: the command, its options, and how to find its sandboxes."""

    name: str
    argv: tuple[str, ...]
    options: tuple[str, ...]
    env: Mapping[str, str]
    find: Callable[[str], list[Sandbox]]

    def command(self, *args: str) -> list[str]:
        choosing = args[0] in ("run", "all") and not {"--engine", "--isolation"} & set(args)
        return [*self.argv, *args, *(self.options if choosing else ())]

    def sandboxes(self, folder: Path) -> list[Sandbox]:
        """Those alive of the one run below ``folder``."""
        (run,) = (folder / "reports").glob("2*")
        return self.find(run.name)


@pytest.fixture(scope="session")
def backend_of(docker_client: docker.DockerClient, lab_image: str, account: Account) -> Callable[[str], Backend]:
    def make(name: str) -> Backend:
        if name == "docker":
            return Backend(name, LABRUN, ("--engine", "docker"), {}, lambda run: containers_of(docker_client, run))
        if name == "native":
            return Backend(name, LABRUN, ("--engine", "native", "--userland", "image"), {}, namespaces_of)
        # No option at all: without Docker's socket, this is what labrun does by itself.
        return Backend(name, account.command("-m", "labrun"), (), account.environment, namespaces_of)

    return make


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest, backend_of: Callable[[str], Backend]) -> Backend:
    return backend_of(request.param)


@pytest.fixture(scope="session")
def every_lab(backend_of: Callable[[str], Backend]) -> Iterator[Callable[[str], "Ran"]]:
    """The result of one `labrun all` of the shipped labs on a backend, in a folder that has no labs of its own."""
    done: dict[str, Ran] = {}
    with contextlib.ExitStack() as stack:

        def run(name: str) -> Ran:
            if name not in done:
                folder = stack.enter_context(temporary_folder())
                done[name] = _call(backend_of(name), ("all",), folder, {})
            return done[name]

        yield run


@dataclass(frozen=True)
class Ran:
    """A labrun command that has ended."""

    exit: int
    out: str
    err: str
    folder: Path

    @property
    def run(self) -> Path:
        """The newest run directory."""
        return (self.folder / "reports" / "latest").resolve()

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "results.json").read_text())
        return found

    def lab(self, slug: str) -> dict[str, Any]:
        return next(lab for lab in self.results["labs"] if lab["id"] == slug)

    def verdicts(self, slug: str) -> dict[str, tuple[str, str]]:
        return {h["id"]: (h["verdict"], h["reason"]) for h in self.lab(slug)["hypotheses"]}


Labrun = Callable[..., Ran]


def _call(backend: Backend, args: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> Ran:
    done = subprocess.run(
        backend.command(*args), cwd=cwd, env={**os.environ, **backend.env, **env}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr, cwd)


@pytest.fixture
def labrun(tmp_path: Path, backend: Backend) -> Labrun:
    """Runs the real command in an empty folder, as a user would, on each backend."""

    def call(*args: str, env: Mapping[str, str] | None = None, cwd: Path = tmp_path) -> Ran:
        return _call(backend, args, cwd, env or {})

    return call


@pytest.fixture
def docker_labrun(tmp_path: Path, backend_of: Callable[[str], Backend]) -> Labrun:
    """As `labrun`, for what only Docker has."""

    def call(*args: str, env: Mapping[str, str] | None = None, cwd: Path = tmp_path) -> Ran:
        return _call(Backend("docker", LABRUN, (), {}, lambda run: []), args, cwd, env or {})

    return call


@pytest.fixture
def write_lab(tmp_path: Path) -> Callable[..., Path]:
    """Writes labs/<slug>/lab.yaml with one node `host`, the given steps and predictions (YAML flow or block text)."""

    def write(slug: str, steps: str, *predictions: str, extra: str = "", expect: str = "supported") -> Path:
        folder = tmp_path / "labs" / slug
        folder.mkdir(parents=True)
        hypotheses = "\n".join(
            f"  - {{id: h{number}, claim: A claim, expect: {expect}, predict: {prediction}}}"
            for number, prediction in enumerate(predictions, start=1)
        )
        text = (
            f"title: {slug}\nquestion: What happens?\n{extra}\ntopology: {{nodes: {{host: {{}}}}}}\n"
            f"steps:\n{steps}\nhypotheses:\n{hypotheses}\n"
        )
        (folder / "lab.yaml").write_text(text)
        return folder

    return write
