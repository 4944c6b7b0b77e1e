"""Labs under pytest, as a project that has both runs them: its own tests, and each hypothesis beside them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from e2e.conftest import REPOSITORY

# By its name, so that it makes no difference whether labrun is installed with its entry points.
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:labrun", "-p", "labrun.cli.pytest_plugin", "-p", "no:cacheprovider")
STEP = "steps: [{id: probe, in: host, run: 'echo it said this'}]"
NONE = "control: {none: It has no cause.}"
LABS = {
    "fine": f"""{STEP}
hypotheses:
  - {{id: ends, claim: It ends well., predict: {{command: probe, exit: 0}}, {NONE}}}
  - {{id: belief, claim: It ends badly., predict: {{command: probe, exit: 1}}, expect: refuted, {NONE}}}
""",
    "odd": f"""tags: [slow]
{STEP}
hypotheses:
  - {{id: surprise, claim: It says something else., predict: {{command: probe, stdout: {{contains: other}}}}, {NONE}}}
  - {{id: unsure, claim: It is JSON., predict: {{command: probe, json: {{path: a, equals: 1}}}}, {NONE}}}
""",
    "skipped": f"""requires: {{tools: [no-such-program]}}
{STEP}
hypotheses:
  - {{id: ends, claim: It ends well., predict: {{command: probe, exit: 0}}, {NONE}}}
""",
    "cells": f"""parameters: {{size: [1, 2]}}
{STEP}
hypotheses:
  - {{id: ends, claim: It ends well., predict: {{command: probe, exit: 0}}, {NONE}}}
""",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for slug, text in LABS.items():
        (tmp_path / "labs" / slug).mkdir(parents=True)
        head = f"title: {slug}\nquestion: What?\ntopology: {{nodes: {{host: {{}}}}}}\n"
        (tmp_path / "labs" / slug / "lab.yaml").write_text(head + text)
    (tmp_path / "test_own.py").write_text("def test_own() -> None:\n    assert True\n")
    (tmp_path / "labrun.toml").write_text('engine = "native"\nuserland = "image"\nout = "kept"\n')
    return tmp_path


def ran(project: Path, *words: str) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run([*PYTEST, *words], cwd=project, env=env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_each_hypothesis_is_a_test(project: Path) -> None:
    code, said = ran(project, "--labrun", "-v", "-rs", "--junit-xml", "junit.xml")
    assert code == 1
    outcomes = dict(re.findall(r"^(\S+::\S+(?: \S+)?) (PASSED|FAILED|SKIPPED)", said, re.MULTILINE))
    assert outcomes == {
        "labs/cells/lab.yaml::ends[size=1]": "PASSED", "labs/cells/lab.yaml::ends[size=2]": "PASSED",
        "labs/fine/lab.yaml::ends": "PASSED", "labs/fine/lab.yaml::belief": "PASSED",
        "labs/odd/lab.yaml::surprise": "FAILED", "labs/odd/lab.yaml::unsure": "FAILED",
        "labs/skipped/lab.yaml::ends": "SKIPPED", "test_own.py::test_own": "PASSED",
    }, said  # fmt: skip
    assert "surprise: It says something else.\n" in said and 'predicted contains "other"' in said.replace("'", '"')
    assert "inconclusive: It is JSON.\n" in said and "Traceback" not in said
    assert "no-such-program" in said
    (run,) = (project / "kept").glob("2*")
    assert f"labrun report: kept/{run.name}/index.html" in said
    assert len(json.loads((run / "results.json").read_text())["labs"]) == 5
    assert 'name="verdict" value="refuted"' in (project / "junit.xml").read_text()


def test_what_is_selected_runs_and_nothing_else(project: Path) -> None:
    code, said = ran(project, "--labrun", "labs", "-k", "belief")
    assert (code, "1 passed, 6 deselected" in said) == (0, True), said
    results = json.loads((project / "kept" / "latest" / "results.json").read_text())
    assert [(lab["id"], [h["id"] for h in lab["hypotheses"]]) for lab in results["labs"]] == [("fine", ["belief"])]
    code, said = ran(project, "--labrun", "labs/odd/lab.yaml::surprise", "--labrun-args", "--set size=3")
    assert code == 1 and "1 failed" in said


def test_without_the_option_nothing_is_collected(project: Path) -> None:
    code, said = ran(project)
    assert (code, "1 passed" in said) == (0, True), said
    assert not (project / "kept").exists()


def test_what_cannot_run_fails_in_words(project: Path) -> None:
    (project / "labs" / "fine" / "lab.yaml").write_text("title: [")
    code, said = ran(project, "--labrun", "labs/fine")
    assert code == 2 and "labs/fine/lab.yaml:1:" in said and "not YAML" in said
    code, said = ran(project, "--labrun", "labs/cells", "--labrun-args", "--engine nonsense")
    assert "--labrun-args: 'nonsense' is not one of" in said or "Invalid value for '--engine'" in said, said
    code, said = ran(project, "--labrun", "labs/cells", "--labrun-args", "--isolation privileged")
    assert code == 1 and "the native engine is never privileged" in said and "Traceback" not in said


def test_pytest_finds_it_by_its_entry_point() -> None:
    points = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert hasattr(import_module(points["labrun"]), "pytest_collect_file")
