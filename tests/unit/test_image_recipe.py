"""The recipe's digest: what changes it, and what does not."""

import re
import shutil
from pathlib import Path

import pytest
from labrun.image.errors import ImageError
from labrun.image.recipe import Recipe, load_recipe


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    for name, content in {
        "build.sh": "#!/bin/sh\n",
        "packages.txt": "iproute2\n",
        "requirements.txt": "pyroute2==0.9.7\n",
        "suite": "bookworm\n",
        "trim.txt": "/usr/share/doc\n",
    }.items():
        (folder / name).write_text(content)
    (folder / "build.sh").chmod(0o755)
    return folder


def test_the_tag_carries_the_digests_first_twelve_digits(root: Path) -> None:
    recipe = load_recipe(root)
    assert len(recipe.digest) == 64
    assert recipe.tag == f"labrun-lab:{recipe.digest[:12]}"
    assert recipe.suite == "bookworm"


def test_the_digest_is_this_one(root: Path) -> None:
    # Written down, because the digest must not depend on the Python, the machine or the file system.
    assert load_recipe(root).tag == "labrun-lab:30489fbb63fa"


def test_a_copy_elsewhere_has_the_same_digest(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    assert load_recipe(copy).digest == load_recipe(root).digest


def _append(root: Path) -> None:
    with (root / "packages.txt").open("a") as file:
        file.write("curl\n")


def _rename(root: Path) -> None:
    (root / "trim.txt").with_name("zzz").write_bytes((root / "trim.txt").read_bytes())


def _make_executable(root: Path) -> None:
    (root / "trim.txt").chmod(0o755)


def _move_bytes_between_files(root: Path) -> None:
    """The same bytes in the same order, cut elsewhere."""
    packages, requirements = (root / "packages.txt").read_text(), (root / "requirements.txt").read_text()
    (root / "packages.txt").write_text(packages + requirements[:3])
    (root / "requirements.txt").write_text(requirements[3:])


def _new_file_in_a_folder(root: Path) -> None:
    (root / "more").mkdir()
    (root / "more" / "file").touch()


@pytest.mark.parametrize(
    "change", [_append, _rename, _make_executable, _move_bytes_between_files, _new_file_in_a_folder]
)
def test_a_change_of_content_name_or_executable_bit_changes_it(root: Path, change: object) -> None:
    before = load_recipe(root).digest
    assert callable(change)
    change(root)
    assert load_recipe(root).digest != before


def test_times_umask_and_droppings_do_not_change_it(root: Path) -> None:
    before = load_recipe(root).digest
    (root / "suite").touch()
    (root / "suite").chmod(0o600)
    (root / "build.sh").chmod(0o700)
    (root / "empty-folder").mkdir()
    (root / "packages.txt~").write_text("an editor's")
    (root / ".packages.txt.swp").write_text("another's")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "x.pyc").touch()
    assert load_recipe(root).digest == before


def test_an_incomplete_recipe_names_what_it_lacks(root: Path) -> None:
    (root / "trim.txt").unlink()
    (root / "suite").unlink()
    with pytest.raises(ImageError, match=r"lacks suite, trim\.txt") as caught:
        load_recipe(root)
    assert caught.value.remedy


def test_the_shipped_recipe_is_found_and_pins_every_python_package_with_a_hash() -> None:
    recipe = load_recipe()
    assert isinstance(recipe, Recipe)
    text = (recipe.root / "requirements.txt").read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {pin.split("==")[0] for pin in pins} == {"pyroute2", "scapy"}
    assert all("--hash=sha256:" in pin for pin in pins)


def test_the_shipped_recipe_names_no_host() -> None:
    recipe = load_recipe()
    for path in recipe.root.rglob("*"):
        if path.is_file():
            assert "://" not in path.read_text(), path


def test_packages_are_signed() -> None:
    """Nothing in the shipped recipe, nor in what builds it, tells apt to take a package without a signature."""
    root = Path(__file__).parents[2]
    files = [*(root / "images").rglob("*"), *(root / "runner" / "labrun" / "image").glob("*.py")]
    for path in files:
        if path.is_file():
            assert not re.search(
                r"trusted\s*=\s*yes|allow-?unauthenticated|no-check-gpg|insecure", path.read_text(), re.I
            ), path
