"""A project's defaults, and the shell's completion: as a user meets them, through the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from labrun.cli.app import app
from labrun.cli.defaults import KEYS, project_defaults
from labrun.cli.run import all_labs

LAB = """\
title: T
question: Q
tags: [quick]
parameters: {mtu: [1400, 1500]}
topology: {nodes: {host: {}}}
steps: [{id: probe, in: host, run: "true"}]
hypotheses: [{id: works, claim: C, predict: {command: probe, exit: 0}, control: {none: it is a test}}]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "labs" / "own").mkdir(parents=True)
    (tmp_path / "labs" / "own" / "lab.yaml").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(*args: str) -> dict[str, object]:
    with app.make_context("labrun", list(args)) as context:
        _, command, rest = app.resolve_command(context, list(args))
        assert command is not None
        return command.make_context(args[0], rest, context).params


def test_every_key_is_an_option_of_a_run() -> None:
    there = {name for parameter in all_labs.params for name in parameter.opts}
    assert {f"--{key}" for key in KEYS} <= there


@pytest.mark.parametrize("file", ["labrun.toml", "pyproject.toml"])
def test_defaults_come_from_a_file_and_the_command_line_comes_first(here: Path, file: str) -> None:
    head = "[tool.labrun]\n" if file == "pyproject.toml" else ""
    text = 'jobs = 3\ntag = ["not slow", "quick"]\ntimeout = 30\nout = "kept"\nset = "mtu=9000"\nstrict = true\n'
    (here / file).write_text(head + text)
    params = given("all")
    assert (params["jobs"], params["timeout_s"], params["out"], params["strict"]) == (3, 30.0, Path("kept"), True)
    assert (params["tags"], params["values"]) == (("not slow", "quick"), {"mtu": (9000,)})
    params = given("run", "own", "-j", "1", "--tag", "other")
    assert (params["jobs"], params["tags"], params["out"]) == (1, ("other",), Path("kept"))
    assert given("judge", "latest")["out"] == Path("kept")
    assert given("list")["tags"] == ("not slow", "quick")


def test_labrun_toml_comes_before_pyproject(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.labrun]\njobs = 1\n")
    assert project_defaults(here) == ("pyproject.toml", {"jobs": 1})
    (here / "labrun.toml").write_text("jobs = 2\n")
    assert project_defaults(here) == ("labrun.toml", {"jobs": 2})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("job = 3", "labrun.toml: no option is named 'job'. Did you mean 'jobs'?"),
        ("jobs = 0", "0 is not in the range x>=1. (labrun.toml)"),
        ("engine = 'dcoker'", "(labrun.toml)"),
        ("tag = 'a b'", "(labrun.toml)"),
        ("jobs = ", "labrun.toml: Invalid value"),
        ("[out]\na = 1", "labrun.toml: out: text, a number"),
    ],
)
def test_what_is_wrong_in_the_file(here: Path, text: str, told: str) -> None:
    (here / "labrun.toml").write_text(text)
    with pytest.raises(click.UsageError) as error:
        given("all")
    assert told in error.value.format_message()


def completed(shell: str, *words: str) -> list[str]:
    env = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_LABRUN_COMPLETE": f"{shell}_complete"}
    if shell == "fish":
        env["COMP_CWORD"] = words[-1]
    done = subprocess.run(
        [sys.executable, "-m", "labrun"], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    return lines[1::3] if shell == "zsh" else [line.partition(",")[2] for line in lines if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_labs_runs_hypotheses_and_tags_are_completed(here: Path, shell: str) -> None:
    assert completed(shell, "labrun", "run", "ow")[0] == "own"
    assert completed(shell, "labrun", "run", "own--") == [
        "own--mtu-1400", "own--mtu-1400/works", "own--mtu-1500", "own--mtu-1500/works"
    ]  # fmt: skip
    assert completed(shell, "labrun", "run", "own/") == ["own/works"]
    assert completed(shell, "labrun", "list", "--tag", "q") == ["quick"]


def test_a_wrong_lab_is_completed_by_its_name_alone(here: Path) -> None:
    (here / "labs" / "own" / "lab.yaml").write_text("title: [")
    assert completed("bash", "labrun", "run", "own/") == []
