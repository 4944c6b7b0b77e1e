"""The README tells the truth: its lab is a lab, and the commands and options that it names are there."""

import re
import subprocess
import sys
from pathlib import Path

from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_lab_in_the_readme_is_valid_and_has_twenty_lines_at_most() -> None:
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 20
    compiled = compile_lab(parse_lab(found[1], Path("lab.yaml"), "own", "lab.yaml"))
    assert compiled.controls == {"goes-through-lo": ("goes-through-lo",)}


def test_the_firewall_in_the_readme_is_valid_and_has_twenty_five_lines_at_most() -> None:
    text = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    assert len(text.splitlines()) <= 25
    compiled = compile_lab(parse_lab(text, Path("lab.yaml"), "firewall", "lab.yaml"))
    assert list(compiled.controls) == ["web-is-open", "ssh-is-closed"]


def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "labrun", *command, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_command_is_in_the_readme_and_the_other_way_round() -> None:
    section = help_of().partition("Commands:")[2]
    commands = set(re.findall(r"^\s{2}([a-z]+)", section, re.MULTILINE))
    assert commands, help_of()
    assert commands == set(re.findall(r"`labrun ([a-z]+)", README.partition("## Commands")[2].partition("## What")[0]))


def test_every_option_that_the_readme_names_is_there() -> None:
    told = README.partition("## Commands")[2].partition("## The report")[0]
    options = set(re.findall(r"`(--[a-z]+)", told)) - {"--privileged"}  # which is Docker's
    helps = "".join(map(help_of, ("run", "report", "judge", "bundle", "verify")))
    there = set(re.findall(r"--[a-z]+", helps))
    assert options
    assert options <= there
