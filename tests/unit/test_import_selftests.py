"""Scripts that speak TAP or kselftest's exit statuses: which of them are tests, what comes along, how they are run."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.importers.base import Options
from labrun.importers.formats import importer, read_folder
from labrun.lab.problems import LabError
from support.folders import compiled, imported, make, remarks

FILES = {
    "one.sh": '#!/bin/bash\nsource lib.sh\n"$(dirname $0)"/tool.py\n',
    "two.sh": "#!/bin/sh\n. ./common.sh\nexit 0\n",
    "lib.sh": "source ../above.sh\ncat data/input\n",
    "common.sh": "true\n",
    "tool.py": "#!/usr/bin/env python3\n",
    "data/input": "x\n",
    "unused.txt": "x\n",
    "net/deep.sh": "#!/bin/bash\nsource ../lib.sh\nexit 0\n",
    "net/settings": "timeout=7\n",
}


def names(folder: Path) -> list[str]:
    return [lab.name for lab in importer("selftests").read(read_folder(folder), Options())]


def test_tests_and_what_they_read_in(tmp_path: Path) -> None:
    folder = make(tmp_path / "st", FILES)
    labs = {lab.name: lab for lab in importer("selftests").read(read_folder(folder), Options())}
    assert set(labs) == {"one", "two", "net-deep"}
    assert [path for path, _ in labs["one"].files] == ["data/input", "lib.sh", "one.sh", "tool.py"]
    assert [path for path, _ in labs["two"].files] == ["common.sh", "two.sh"]
    assert "lib.sh" in [path for path, _ in labs["net-deep"].files]
    assert list(remarks(labs["one"], "left out")) == ["../above.sh"]
    runs = {name: (lab.lab["steps"][0]["run"], lab.lab["steps"][0]["timeout"]) for name, lab in labs.items()}
    assert runs == {
        "one": ("bash ./one.sh", 300), "two": ("sh ./two.sh", 300), "net-deep": ("cd net && bash ./deep.sh", 7),
    }  # fmt: skip
    for name, lab in labs.items():
        (hypothesis,) = compiled(lab, folder, tmp_path / "labs").lab.model.hypotheses
        assert hypothesis.id == {"net-deep": "deep"}.get(name, name)


def test_the_makefile_says_which_are_tests(tmp_path: Path) -> None:
    make(
        tmp_path,
        {**FILES, "Makefile": "TEST_PROGS := two.sh \\\n\tcommon.sh\nTEST_PROGS += gone.sh\nTEST_FILES := lib.sh\n"},
    )
    assert sorted(names(tmp_path)) == ["common", "two"]


def test_a_file_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "st", FILES)
    assert imported("selftests", folder / "two.sh").name == "two"


def test_no_test_at_all(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no script here"):
        names(make(tmp_path, {"lib.sh": "", "README": ""}))


@pytest.mark.parametrize(
    ("settings", "seconds"), [("timeout=0\n", 3600), ("timeout=99999999999\n", 3600), ("# none\n", 300)]
)
def test_the_time_that_it_has(settings: str, seconds: int, tmp_path: Path) -> None:
    lab = imported("selftests", make(tmp_path, {"a.sh": "exit 0\n", "settings": settings}))
    assert lab.lab["steps"][0]["timeout"] == seconds
    assert lab.lab["timeout"] <= 3600
