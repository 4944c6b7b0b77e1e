"""Which labs are meant by a slug, a path, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.catalogue import all_labs, find_labs, labs_folder, shipped_labs
from labrun.lab.problems import LabError


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for slug in ("beta", "alpha"):
        (tmp_path / "labs" / slug).mkdir(parents=True)
        (tmp_path / "labs" / slug / "lab.yaml").write_text("")
    (tmp_path / "labs" / "empty").mkdir()
    (tmp_path / "labs" / "lab.schema.json").write_text("{}")
    return tmp_path


def test_the_labs_of_the_working_directory_come_first(here):
    assert labs_folder(here) == here / "labs"


def test_without_a_labs_folder_the_shipped_ones_are_meant(tmp_path):
    assert labs_folder(tmp_path) == shipped_labs()
    assert [path.name for path in find_labs(["own-address"], tmp_path)] == ["lab.yaml"]


def test_all_labs_are_the_folders_with_a_lab_by_slug(here):
    assert [path.parent.name for path in all_labs(here / "labs")] == ["alpha", "beta"]


def test_a_folder_without_labs_has_none(tmp_path):
    assert all_labs(tmp_path) == all_labs(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("name", ["alpha", "labs/alpha", "labs/alpha/", "labs/alpha/lab.yaml", "./labs/alpha"])
def test_a_lab_is_found_by_its_slug_its_folder_or_its_file(here, name):
    assert [path.resolve() for path in find_labs([name], here)] == [here / "labs" / "alpha" / "lab.yaml"]


def test_an_absolute_path_is_taken_as_it_is(here):
    path = here / "labs" / "alpha" / "lab.yaml"
    assert find_labs([str(path)], Path("/")) == (path,)


def test_any_file_may_be_a_lab(here):
    (here / "mine.yaml").write_text("")
    assert find_labs(["mine.yaml"], here) == (here / "mine.yaml",)


def test_labs_keep_the_order_of_the_command_line_and_come_once(here):
    found = find_labs(["beta", "alpha", "beta"], here)
    assert [path.parent.name for path in found] == ["beta", "alpha"]


def test_a_slug_wins_over_a_file_of_the_same_name(here):
    (here / "alpha").write_text("")
    assert find_labs(["alpha"], here) == (here / "labs" / "alpha" / "lab.yaml",)
    assert find_labs(["./alpha"], here) == (here / "alpha",)


def test_every_name_that_stands_for_no_lab_is_told_with_what_was_probably_meant(here):
    with pytest.raises(LabError) as caught:
        find_labs(["alpah", "labs/empty", "beta", "nowhere/x"], here)
    assert str(caught.value).splitlines() == [
        f"alpah: no such lab, neither a path nor in {here}/labs. Did you mean 'alpha'?",
        "labs/empty: no lab.yaml in this folder",
        f"nowhere/x: no such lab, neither a path nor in {here}/labs. Known: alpha, beta.",
    ]
