"""Which labs are meant by a slug, a path, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.catalogue import Named, all_labs, find_labs, labs_folder, portable, shipped_labs
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
    assert [named.file.name for named in find_labs(["own-address"], tmp_path)] == ["lab.yaml"]


def test_all_labs_are_the_folders_with_a_lab_by_slug(here):
    assert [path.parent.name for path in all_labs(here / "labs")] == ["alpha", "beta"]


def test_a_folder_without_labs_has_none(tmp_path):
    assert all_labs(tmp_path) == all_labs(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("name", ["alpha", "labs/alpha", "labs/alpha/", "labs/alpha/lab.yaml", "./labs/alpha"])
def test_a_lab_is_found_by_its_slug_its_folder_or_its_file(here, name):
    assert [named.file.resolve() for named in find_labs([name], here)] == [here / "labs" / "alpha" / "lab.yaml"]


def test_an_absolute_path_is_taken_as_it_is(here):
    path = here / "labs" / "alpha" / "lab.yaml"
    assert find_labs([str(path)], Path("/")) == (Named(path),)


def test_any_file_may_be_a_lab(here):
    (here / "mine.yaml").write_text("")
    assert find_labs(["mine.yaml"], here) == (Named(here / "mine.yaml"),)


def test_labs_keep_the_order_of_the_command_line_and_come_once(here):
    found = find_labs(["beta", "alpha", "beta"], here)
    assert [named.file.parent.name for named in found] == ["beta", "alpha"]


def test_a_slug_wins_over_a_file_of_the_same_name(here):
    (here / "alpha").write_text("")
    assert find_labs(["alpha"], here) == (Named(here / "labs" / "alpha" / "lab.yaml"),)
    assert find_labs(["./alpha"], here) == (Named(here / "alpha"),)


def test_every_name_that_stands_for_no_lab_is_told_with_what_was_probably_meant(here):
    with pytest.raises(LabError) as caught:
        find_labs(["alpah", "labs/empty", "beta", "nowhere/x"], here)
    assert str(caught.value).splitlines() == [
        "alpah: no such lab: not a path, not in labs/, and not shipped with labrun. Did you mean 'alpha'?",
        "labs/empty: no lab.yaml in this folder",
        "nowhere/x: no such lab: not a path, not in labs/, and not shipped with labrun."
        f" Known: {', '.join(sorted({'alpha', 'beta'} | {path.parent.name for path in all_labs(shipped_labs())}))}.",
    ]


def test_shipped_labs_can_be_named_where_there_are_labs_of_ones_own(here):
    assert find_labs(["own-address"], here) == (Named(shipped_labs() / "own-address" / "lab.yaml"),)
    (here / "labs" / "own-address").mkdir()
    (here / "labs" / "own-address" / "lab.yaml").write_text("")
    assert find_labs(["own-address"], here) == (Named(here / "labs" / "own-address" / "lab.yaml"),)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("alpha[mtu=1400]", "mtu=1400"),
        ("labs/alpha[mtu=1400, mode=on]", "mtu=1400, mode=on"),
        ("alpha--mtu-1400", "--mtu-1400"),
    ],
)
def test_a_run_of_a_lab_with_parameters_is_named_as_in_the_report_or_by_its_values(here, name, cell):
    (named,) = find_labs([name], here)
    assert (named.file.parent.name, named.cell) == ("alpha", cell)
    assert named.means("alpha--mtu-1400", {"mtu": 1400, "mode": "on"})
    assert not named.means("alpha--mtu-9000", {"mtu": 9000, "mode": "on"})


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        ("labs/alpha/lab.yaml", "labs/alpha/lab.yaml"),
        ("/home/me/x/labs/alpha/lab.yaml", "labs/alpha/lab.yaml"),
        ("/home/me/alpha/lab.yaml", "alpha/lab.yaml"),
        ("../../me/alpha/mine.yaml", "alpha/mine.yaml"),
    ],
)
def test_evidence_names_no_folder_of_the_machine(shown, kept):
    assert portable(shown) == kept
