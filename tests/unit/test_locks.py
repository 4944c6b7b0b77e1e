"""requirements.txt and requirements-dev.txt hold every package that pyproject.toml asks for, each with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def locked(name: str) -> dict[str, list[tuple[str, int]]]:
    """Package -> its versions (for different Pythons there may be more than one), each with its number of hashes."""
    found: dict[str, list[tuple[str, int]]] = {}
    for entry in re.split(r"(?<!\\)\n", (ROOT / name).read_text()):
        if entry and not entry.startswith("#"):
            match = re.match(r"([\w.-]+)==([^\s;]+)", entry)
            assert match, f"not one version of one package: {entry[:80]}"
            found.setdefault(canonicalize_name(match[1]), []).append((match[2], entry.count("--hash=sha256:")))
    return found


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("requirements.txt", [*PROJECT["dependencies"], *EXTRAS["build"]]),
        ("requirements-dev.txt", [*PROJECT["dependencies"], *EXTRAS["build"], *EXTRAS["dev"]]),
    ],
)
def test_what_the_project_asks_for_is_locked(name: str, asked: list[str]) -> None:
    lock = locked(name)
    for requirement in map(Requirement, asked):
        versions = [version for version, _ in lock.get(canonicalize_name(requirement.name), [])]
        assert versions and all(requirement.specifier.contains(version) for version in versions), (
            f"{requirement} is not in {name}: run tools/lock"
        )
    assert all(hashes for versions in lock.values() for _, hashes in versions)
    assert "http" not in (ROOT / name).read_text()


def test_the_tests_run_with_what_labs_run_with() -> None:
    labs, tests = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: versions for name, versions in tests.items() if name in labs} == labs


@pytest.mark.parametrize("name", ["Makefile", "action.yml"])
def test_what_is_installed_is_what_is_locked(name: str) -> None:
    """By hash, or labrun itself without looking for anything; and it is built with what is installed."""
    text = (ROOT / name).read_text()
    lines = re.findall(r"pip(?: install)? (.*--.*)", text)
    assert len(lines) >= 2
    for line in lines:
        assert "--require-hashes -r" in line or "--no-deps --no-build-isolation" in line, line
    assert not re.findall(r"-m build(?! --no-isolation)", text)
