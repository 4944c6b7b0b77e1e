"""What a run tells the CI that it runs in: GitHub's step summary and annotations, GitLab's attachments.

Nothing happens outside CI. These variables are set by the services themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from labrun.judge.results import RunResult


def tell_ci(run: Path, result: RunResult, out: TextIO, environment: Mapping[str, str] | None = None) -> None:
    """After a run. ``out``: where workflow commands go; GitHub reads both streams of a step."""
    env = os.environ if environment is None else environment
    summary, commands = env.get("GITHUB_STEP_SUMMARY"), env.get("GITHUB_ACTIONS") == "true"
    if summary or commands:
        from labrun.report.build import build_view
        from labrun.report.github import annotated, step_summary

        view = build_view(run, result)
        if summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(step_summary(view))
        if commands:
            for line in annotated(view):
                print(line, file=out)
    attach_evidence(run, result, env)


def attach_evidence(run: Path, result: RunResult, environment: Mapping[str, str] | None = None) -> None:
    """In GitLab's CI: JUnit names the evidence as paths of the project, where the artifacts of the job are."""
    env = os.environ if environment is None else environment
    if env.get("GITLAB_CI") == "true":
        from labrun.report.write import write_reports

        root = Path(env.get("CI_PROJECT_DIR", "."))
        where = run.resolve()
        shown = where.relative_to(root.resolve()) if where.is_relative_to(root.resolve()) else where
        write_reports(run, result, ("junit",), evidence=shown.as_posix())
