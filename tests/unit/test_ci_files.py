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
        "case $1 in image) echo labrun-lab:abc; exit 0;; esac\n"
        'case "$*" in *--out*) out=${*#*--out } && out=${out%% *};; esac\n'
        'case $1 in all|run) mkdir -p "$out" && '
        f'cp -r {recorded} "$out/" && ln -sfn {recorded.name} "$out/latest" && '
        f"echo '<testsuites/>' >\"$out/latest/junit.xml\"; exit {code};; esac\n"
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


def shell_parts(name: str) -> list[str]:
    """What a service runs, in its order, each in a shell of its own, up to the one that fails."""
    if name == "Jenkinsfile":
        found = re.findall(r"sh '''(.*?)'''", (ROOT / "docs/ci/Jenkinsfile").read_text(), re.DOTALL)
        return ["set -e\n" + part for part in found]
    workflow = load(f"docs/ci/{name}")
    if name == "gitlab.yml":
        job = workflow["labs"]
        return ["set -e\n" + "\n".join([*job["before_script"], *job["script"]])]
    return ["set -eo pipefail\n" + step["run"] for step in workflow["jobs"]["labs"]["steps"] if "run" in step]


@pytest.mark.parametrize("name", ["github.yml", "forgejo.yml", "gitlab.yml", "Jenkinsfile"])
def test_the_shell_parts_of_whole_workflows_run(tmp_path: Path, name: str) -> None:
    """With a stand-in for what is not ours: python3 and its pip, docker, apk."""
    project = tmp_path / "a project"
    (project / "ci").mkdir(parents=True)
    (project / "ci" / "labrun-0.1.0-py3-none-any.whl").touch()
    program = prepared(tmp_path, 1)
    stubs = with_a_python(tmp_path)
    with (stubs / "python3").open("a") as file:
        file.write(f'ln -sfn {program} "$3/bin/labrun"\n')
    for stub in ("docker", "apk"):
        (stubs / stub).write_text(
            f'#!/bin/sh\necho "{stub} $*" >>{tmp_path}/calls\n[ "$1" != save ] || echo image >"$3"\n'
        )
        (stubs / stub).chmod(0o755)
    env = environment(tmp_path, PATH=f"{stubs}:{os.environ['PATH']}", LABRUN_WHEEL="labrun-0.1.0-py3-none-any.whl")
    for time in ("first", "again"):  # the second finds the image that the first kept
        for part in shell_parts(name):
            done = subprocess.run(["sh" if name == "Jenkinsfile" else "bash", "-c", part], cwd=project, env=env,
                                  capture_output=True, text=True)  # fmt: skip
            if done.returncode:
                break
        assert done.returncode == 1, f"{time}: {done.stderr}"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("all --engine docker --out reports --strict") == 2
    assert calls.count("image build --engine docker") == 2
    assert (
        "install --quiet --disable-pip-version-check ci/labrun-0.1.0-py3-none-any.whl"
        in (tmp_path / "installed").read_text()
    )
    assert name != "gitlab.yml" or (project / "reports" / "junit.xml").is_file()
    if name == "Jenkinsfile":
        assert {"index.html", "report.css", "report.js", "junit.xml"} <= {
            f.name for f in (project / "reports/page").iterdir()
        }
        return
    assert [call.split()[1] for call in calls if call.startswith("docker ")] == ["save", "load"]
    assert calls.index("docker save --output .labrun-image/image.tar labrun-lab:abc") < calls.index(
        "docker load --quiet --input .labrun-image/image.tar"
    )
    text = (ROOT / "docs" / "ci" / name).read_text()
    kept = (".labrun-image", "reports") if name == "gitlab.yml" else ("path: .labrun-image", "path: reports/2*")
    assert all(word in text for word in kept)


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
