"""Which commit has the labs, and whether they are as in it: asked of real repositories, sound and hostile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from labrun.cli.provenance import State, checkouts, ci_job, states
from labrun.evidence.run import Checkout, CiJob
from labrun.report.build import build_view
from support.recorded import recorded_run


def git(folder: Path, *words: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(params=["sha1", "sha256"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two labs that are committed."""
    root = tmp_path / "a project"
    root.mkdir()
    git(root, "init", "-q", f"--object-format={request.param}")
    for name in ("one", "two"):
        (root / "labs" / name).mkdir(parents=True)
        (root / "labs" / name / "lab.yaml").write_text(f"title: {name}\n")
    (root / "labs" / "one" / "server.py").write_text("pass\n")
    (root / ".gitignore").write_text("*.log\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "labs")
    return root


def lab(project: Path, name: str) -> Path:
    return project / "labs" / name / "lab.yaml"


def changed(project: Path, *files: Path) -> list[bool | None]:
    files = files or (lab(project, "one"), lab(project, "two"))
    known = states(files, project / "reports")
    assert {state.commit for state in known.values()} <= {git(project, "rev-parse", "HEAD")}
    return [known[file].changed if file in known else None for file in files]


def test_each_lab_is_as_in_the_commit_or_not(project: Path) -> None:
    before = sorted(path.relative_to(project) for path in project.rglob("*"))
    assert changed(project) == [False, False]
    assert sorted(path.relative_to(project) for path in project.rglob("*")) == before, "nothing is written in it"
    (project / "README").write_text("beside the labs")
    (project / "labs" / "one" / "x.log").write_text("ignored")
    (project / "reports").mkdir()
    (project / "reports" / "run").write_text("kept")
    assert changed(project) == [False, False]
    (project / "labs" / "one" / "server.py").write_text("print()\n")
    assert changed(project) == [True, False]
    git(project, "add", ".")
    assert changed(project) == [True, False], "what is staged is not committed"
    git(project, "commit", "-q", "-m", "more")
    assert changed(project) == [False, False]
    (project / "labs" / "two" / "new").write_text("untracked")
    assert changed(project) == [False, True]
    (project / "labs" / "one" / "server.py").unlink()
    assert changed(project) == [True, True]


def test_what_no_commit_has_is_of_no_commit(project: Path, tmp_path: Path) -> None:
    for name in ("new", "x.log"):
        (project / "labs" / name).mkdir()
        lab(project, name).write_text("title: new\n")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "lab.yaml").write_text("title: alone\n")
    found = states([lab(project, "new"), lab(project, "x.log"), tmp_path / "alone" / "lab.yaml"], project / "reports")
    assert found == {}
    assert states([tmp_path / "nowhere" / "lab.yaml"], tmp_path) == {}
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    (empty / "lab.yaml").write_text("title: x\n")
    assert states([empty / "lab.yaml"], tmp_path) == {}, "no commit is there yet"


def test_a_worktree_and_a_link_lead_to_the_checkout(project: Path, tmp_path: Path) -> None:
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "beside"))
    assert changed(tmp_path / "beside") == [False, False]
    (tmp_path / "link").symlink_to(project)
    assert changed(project, tmp_path / "link" / "labs" / "one" / "lab.yaml") == [False]


def test_a_checkout_runs_no_program(project: Path, tmp_path: Path) -> None:
    """Its configuration names one in each place that git runs programs from."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "filter.x.clean", "filter.x.smudge", "filter.x.process", "core.pager", "diff.external",
                "core.sshCommand", "alias.status", "alias.rev-parse", "core.editor", "credential.helper"):  # fmt: skip
        git(project, "config", key, f"!{program}" if key.startswith("alias") else str(program))
    git(project, "config", "filter.x.required", "true")
    git(project, "config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for hook in ("post-index-change", "fsmonitor-watchman", "query-watchman", "reference-transaction"):
        (tmp_path / "hooks" / hook).symlink_to(program)
    (project / ".gitattributes").write_text("* filter=x diff=x\n")
    (project / "labs" / "one" / ".gitattributes").write_text("* filter=x\n")
    for file in (lab(project, "one"), lab(project, "two")):
        os.utime(file, (1, 1))
    assert states([lab(project, "one"), lab(project, "two")], project / "reports")[lab(project, "two")].changed is False
    assert not (tmp_path / "ran").exists()


def test_without_git_nothing_is_known(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert states([lab(project, "one")], project / "reports") == {}


def test_labs_are_told_by_their_commit() -> None:
    a, b, c = Path("a"), Path("b"), Path("c")
    labs = [("a--x-1", a), ("a--x-2", a), ("b", b), ("c", c), ("d", Path("d"))]
    known = {a: State("1", True), b: State("1", False), c: State("2", None)}
    assert checkouts(labs, known) == (
        Checkout("1", ("a--x-1", "a--x-2", "b"), ("a--x-1", "a--x-2")),
        Checkout("2", ("c",), None),
    )


JOBS = [
    ({}, None),
    ({"GITHUB_ACTIONS": "true", "GITHUB_WORKFLOW": "labs", "GITHUB_JOB": "run", "GITHUB_SERVER_URL": "https://g.example",
      "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "77", "GITHUB_RUN_NUMBER": "5", "GITHUB_SHA": "abc"},
     CiJob("GitHub", "labs / run", "https://g.example/a/b/actions/runs/77", "abc")),
    ({"GITHUB_ACTIONS": "true", "FORGEJO_ACTIONS": "true", "GITHUB_JOB": "run", "GITHUB_SERVER_URL": "https://g.example",
      "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "77", "GITHUB_RUN_NUMBER": "5"},
     CiJob("Forgejo", "run", "https://g.example/a/b/actions/runs/5", None)),
    ({"GITLAB_CI": "true", "CI_JOB_NAME": "labs", "CI_JOB_URL": "https://g.example/j/1", "CI_COMMIT_SHA": "abc"},
     CiJob("GitLab", "labs", "https://g.example/j/1", "abc")),
    ({"GITLAB_CI": "true", "CI_JOB_NAME": "labs", "CI_JOB_URL": "https://me:secret@g.example/j/1"},
     CiJob("GitLab", "labs", None, None)),
    ({"JENKINS_URL": "x", "BUILD_NUMBER": "7", "JOB_NAME": "labs", "BUILD_URL": "javascript:alert(1)"},
     CiJob("Jenkins", "labs #7", None, None)),
]  # fmt: skip


@pytest.mark.parametrize(("env", "job"), JOBS)
def test_the_job_is_what_its_service_says(env: dict[str, str], job: CiJob | None) -> None:
    assert ci_job(env) == job


def test_the_report_says_where_labs_come_from(tmp_path: Path) -> None:
    import json

    run, result = recorded_run(tmp_path)
    file = run / "run.json"
    kept = json.loads(file.read_text())
    slugs = [entry["slug"] for entry in kept["labs"]]
    told = []
    for changed in ([], slugs, slugs[:1], None):
        kept["checkouts"] = [{"commit": "abc", "labs": slugs, "changed": changed}]
        kept["ci"] = {"service": "GitLab", "job": "labs", "url": "https://g.example/1", "commit": "abc"}
        kept["command"] = ["labrun", "run", "/home/me/x/labs/own-address", "--out=/home/me/x/reports"]
        file.write_text(json.dumps(kept))
        view = build_view(run, result)
        told.append(dict(view.facts)["Labs"])
        assert dict(view.facts)["CI job"] == "GitLab, labs: https://g.example/1"
        assert view.command == "labrun run labs/own-address --out=x/reports"
    assert told == [
        "git commit abc",
        "git commit abc, and changes that are not in it",
        "git commit abc, and changes that are not in it: own-address",
        "git commit abc; whether they are as in it is not known",
    ]
