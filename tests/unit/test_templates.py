"""`labrun new`: what it writes is a sound lab, and it writes over nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from labrun.cli.new import new
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_lab
from labrun.lab.templates import template_names


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_there_is() -> None:
    assert set(template_names()) == {"two-hosts", "router", "bridge", "nat", "service"}


@pytest.mark.parametrize("template", template_names())
def test_each_template_is_a_sound_lab_with_controls(here: Path, template: str) -> None:
    done = CliRunner().invoke(new, ["mine", "--from", template])
    assert done.exit_code == 0, done.output
    compiled = compile_lab(load_lab(here / "labs" / "mine"))
    assert check_filters(compiled.lab) == ()
    assert all(compiled.controls.values())
    assert all(hypothesis.because for hypothesis in compiled.lab.model.hypotheses)


def test_nothing_is_written_over(here: Path) -> None:
    (here / "labs" / "mine").mkdir(parents=True)
    done = CliRunner().invoke(new, ["mine"])
    assert (done.exit_code, list((here / "labs" / "mine").iterdir())) == (2, [])
    assert "is there already" in done.output


@pytest.mark.parametrize("name", ["", "Mine", "a b", "../x", "a/b", "-x", "a--b", "a" * 64, "."])
def test_what_is_no_name(here: Path, name: str) -> None:
    assert CliRunner().invoke(new, ["--", name]).exit_code == 2
    assert list(here.iterdir()) == []
