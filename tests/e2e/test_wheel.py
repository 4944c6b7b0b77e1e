"""What `make dist` gives: the wheel alone has the labs, the image's recipe, and the report's templates; the bill of
materials names what is locked."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from e2e.conftest import REPOSITORY


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from a copy of what git has, so that nothing of this checkout helps it."""
    source = tmp_path_factory.mktemp("source")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in files.decode().split("\0"):
        if name and (REPOSITORY / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((REPOSITORY / name).read_bytes())
            target.chmod((REPOSITORY / name).stat().st_mode)
    done = subprocess.run(
        ["make", "-o", f"{sys.prefix}/.dev", "dist", f"VENV={sys.prefix}"], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return source / "dist"


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (wheel,) = dist.glob("labrun-*.whl")
    place = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
        for entry in archive.infolist():
            if entry.external_attr >> 16 & 0o100:  # zipfile drops modes; pip keeps this bit
                (place / entry.filename).chmod(0o755)
    return place


def test_the_bill_of_materials_names_every_locked_package(dist: Path) -> None:
    bill = json.loads((dist / "labrun.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "labrun"
    locked = re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert sorted((one["name"], one["version"]) for one in bill["components"]) == sorted(locked) and len(locked) > 20


def labrun(installed: Path, cwd: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-m", "labrun", *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


def test_the_shipped_labs_run_where_there_is_no_labs_folder(installed: Path, tmp_path: Path, lab_image: str) -> None:
    ran = labrun(installed, tmp_path, "run", "listing")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "reports" / "latest" / "index.html").is_file()


def test_the_recipe_in_the_wheel_is_the_same_recipe(installed: Path, tmp_path: Path) -> None:
    code = "from labrun.image.recipe import load_recipe; r = load_recipe(); print(r.root, r.digest)"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    root, digest = done.stdout.split()
    assert root.startswith(str(installed)), root
    from labrun.image.recipe import load_recipe

    assert digest == load_recipe(REPOSITORY / "images" / "lab").digest


def test_a_labs_folder_comes_before_the_shipped_ones(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "labs").mkdir()
    assert labrun(installed, tmp_path, "list").stdout == ""
