"""What every end-to-end test needs: a real engine with the lab image. Without them the tests fail, they never skip."""

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

REPOSITORY = Path(__file__).resolve().parents[2]
LABRUN = (sys.executable, "-m", "labrun")


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


@pytest.fixture
def labrun(tmp_path: Path, lab_image: str) -> Labrun:
    """Runs the real command in an empty folder, as a user would."""

    def call(*args: str, env: Mapping[str, str] | None = None, cwd: Path = tmp_path) -> Ran:
        done = subprocess.run(
            [*LABRUN, *args], cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=300
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr, cwd)

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
