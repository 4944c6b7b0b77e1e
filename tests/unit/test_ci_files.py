"""action.yml and the GitLab include: their shell parts run for real, with a labrun that judges a recorded run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.recorded import recorded_run

ROOT = Path(__file__).parents[2]


def load(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text())


def prepared(tmp_path: Path, code: int) -> Path:
    """A stand-in: `all` and `run` put a recorded run into --out and end with ``code``; the rest is the real labrun."""
    recorded, _ = recorded_run(tmp_path / "recorded")
    program = tmp_path / "labrun"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >>{tmp_path}/calls\n'
        'case $1 in all|run) mkdir -p "$3" && '
        f'cp -r {recorded} "$3/" && ln -sfn {recorded.name} "$3/latest"; exit {code};; esac\n'
        f'exec {sys.executable} -m labrun "$@"\n'
    )
    program.chmod(0o755)
    return program


def with_a_python(tmp_path: Path) -> Path:
    """A folder for PATH whose python3 notes what it is asked, and makes a venv whose pip does the same."""
    folder = tmp_path / "a bin"
    folder.mkdir()
    note = f'echo "$*" >>{tmp_path}/installed\n'
    (folder / "python3").write_text(
        f'#!/bin/sh\n{note}mkdir -p "$3/bin" && printf \'#!/bin/sh\\n%s\' \'{note}\' >"$3/bin/pip" && chmod +x "$3/bin/pip"\n'
    )
    (folder / "python3").chmod(0o755)
    return folder


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GITLAB_", "CI_"))}
    return {**kept, "HOME": str(tmp_path), **more}


def test_the_action_keeps_the_report_and_the_exit_code(tmp_path: Path) -> None:
    action = load("action.yml")
    install, labs, keep = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite" and "venv" in install["run"]
    program = prepared(tmp_path, 1)
    (tmp_path / "labrun-env" / "labrun" / "bin").mkdir(parents=True)
    (tmp_path / "labrun-env" / "labrun" / "bin" / "labrun").symlink_to(program)
    env = environment(
        tmp_path, RUNNER_TEMP=str(tmp_path / "labrun-env"), ACTION=str(ROOT), LABS="own-address colours",
        LABRUN_ARGS="--strict", GITHUB_OUTPUT=str(tmp_path / "output"), GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"),
    )  # fmt: skip
    done = subprocess.run(["bash", "-e", "-c", labs["run"]], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "calls").read_text().splitlines()[0] == "run --out reports --strict own-address colours"
    report = tmp_path / (tmp_path / "output").read_text().strip().removeprefix("report=")
    assert not report.is_symlink() and {"index.html", "ctrf.json", "junit.xml"} <= {f.name for f in report.iterdir()}
    assert not (tmp_path / "summary.md").exists(), "the run itself tells GitHub, once"
    assert keep["if"].startswith("always()") and keep["uses"].startswith("actions/upload-artifact@")


def test_the_gitlab_include_keeps_the_report_and_the_exit_code(tmp_path: Path) -> None:
    job = load("tools/gitlab.yml")[".labrun"]
    program = prepared(tmp_path, 3)
    (tmp_path / ".labrun" / "bin").mkdir(parents=True)
    (tmp_path / ".labrun" / "bin" / "labrun").symlink_to(program)
    env = environment(tmp_path, GITLAB_CI="true", CI_PROJECT_DIR=str(tmp_path), LABS="")
    done = subprocess.run(
        ["bash", "-c", "\n".join(job["script"])], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "calls").read_text().splitlines()[0] == "all --out reports"
    text = (tmp_path / job["artifacts"]["reports"]["junit"]).read_text()
    assert "[[ATTACHMENT|reports/" in text and job["artifacts"]["when"] == "always"


def test_what_they_install_is_their_own_folder(tmp_path: Path) -> None:
    """labrun is in no package index: whatever has its name there is somebody else's."""
    path = f"{with_a_python(tmp_path)}:{os.environ['PATH']}"
    temporary, action = tmp_path / "runner temp", tmp_path / "a labrun"
    install = load("action.yml")["runs"]["steps"][0]
    env = environment(tmp_path, PATH=path, RUNNER_TEMP=str(temporary), ACTION=str(action))
    subprocess.run(["bash", "-e", "-c", install["run"]], cwd=tmp_path, env=env, check=True)
    job = load("tools/gitlab.yml")[".labrun"]
    env = environment(tmp_path, PATH=path, **job["variables"])
    subprocess.run(["bash", "-e", "-c", "\n".join(job["before_script"])], cwd=tmp_path, env=env, check=True)
    calls = (tmp_path / "installed").read_text().splitlines()
    assert calls == [
        f"-m venv {temporary}/labrun",
        f"install --quiet --disable-pip-version-check --require-hashes -r {action}/requirements.txt",
        f"install --quiet --disable-pip-version-check --no-deps --no-build-isolation {action}",
        "-m venv .labrun", "install --quiet --disable-pip-version-check ./labrun",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["action.yml", "README.md", *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*"))]
)
def test_actions_of_others_are_named_by_commit(name: str) -> None:
    """A tag can be moved to other code; a commit cannot."""
    if (ROOT / name).is_file():
        uses = re.findall(r"^\s*-?\s*uses:\s*([^\s#]+)", (ROOT / name).read_text(errors="replace"), re.MULTILINE)
        assert not [one for one in uses if not one.startswith("./") and not re.search(r"@[0-9a-f]{40}$", one)]


def test_the_readme_uses_the_files_that_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    blocks = [YAML(typ="safe").load(block.split("```")[0]) for block in text.split("```yaml\n")[1:]]
    (use,) = next(block for block in blocks if isinstance(block, list) and "uses" in block[0])
    gitlab = next(block for block in blocks if isinstance(block, dict) and "include" in block)
    assert use["uses"] == "./labrun" and set(use["with"]) <= set(load("action.yml")["inputs"])
    assert (ROOT / gitlab["include"]["local"].removeprefix("labrun/")).is_file()
    assert gitlab["labs"]["extends"] in load("tools/gitlab.yml")
    assert "OWNER" not in text and "https://..." not in text.replace("git+https://...", "")
