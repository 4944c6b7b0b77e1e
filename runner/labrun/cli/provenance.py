"""Where labs come from and who runs them: the git commit that has their files, and the job of a CI service.

A stranger's checkout may have a configuration that names programs for git to run. So git is asked about it with a
configuration of our own, in which the checkout is nothing but its objects and its files.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from labrun.evidence.run import Checkout, CiJob

_GIT_S = 10.0
_ANY = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "--literal-pathspecs")


@dataclass(frozen=True)
class State:
    """Of a lab's file: the commit that has it. ``changed``: whether its folder is not as in there; None: not known."""

    commit: str
    changed: bool | None


def states(files: Iterable[Path], out: Path) -> dict[Path, State]:
    """Of those files that a commit has. ``out``: where runs are kept, which are no part of a lab."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.resolve().parent, []).append(file)
    tops: dict[tuple[str, ...], list[Path]] = {}
    for folder in folders:
        found = _git(("rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir", "HEAD"), cwd=folder)
        lines = found.splitlines() if found is not None else []
        if len(lines) == 3:
            tops.setdefault(tuple(lines), []).append(folder)
    known: dict[Path, State] = {}
    for (top, common, commit), inside in tops.items():
        every = [file for folder in inside for file in folders[folder]]
        known |= _compared(Path(top), Path(common), commit, every, out.resolve())
    return known


def checkouts(labs: Iterable[tuple[str, Path]], known: Mapping[Path, State]) -> tuple[Checkout, ...]:
    """``labs``: each run's slug and the lab's file."""
    commits: dict[str, list[tuple[str, bool | None]]] = {}
    for slug, file in labs:
        if file in known:
            commits.setdefault(known[file].commit, []).append((slug, known[file].changed))
    return tuple(
        Checkout(
            commit,
            tuple(slug for slug, _ in of),
            None if any(changed is None for _, changed in of) else tuple(slug for slug, changed in of if changed),
        )
        for commit, of in commits.items()
    )


def _compared(top: Path, common: Path, commit: str, files: Collection[Path], out: Path) -> dict[Path, State]:
    """Each file that the commit has, and whether what is in its folder is as in there."""
    with tempfile.TemporaryDirectory(prefix="labrun-git-") as made:
        scratch = Path(made)
        (scratch / "objects").mkdir()
        (scratch / "refs").mkdir()
        (scratch / "HEAD").write_text("ref: refs/heads/none\n")
        kind = "\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n" if len(commit) == 64 else ""
        (scratch / "config").write_text(f"[core]\n\tbare = false\n{kind}")
        env = {
            "GIT_DIR": made, "GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(common / "objects"),
        }  # fmt: skip
        if _git(("read-tree", commit), env, top) is None:
            return {}
        places = {file: _place(file, top) for file in files}
        wanted = [place for place in places.values() if place is not None]
        tracked = set((_git(("ls-files", "-z", "--", *wanted), env, top) or "").split("\0"))
        of = {file: place for file, place in places.items() if place is not None and place in tracked}
        # A lab is its folder; a lab in a file of another name is that file.
        folders = {file: str(Path(place).parent) if file.name == "lab.yaml" else place for file, place in of.items()}
        if not of:
            return {}
        said = _git(("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all", "--untracked-files=all",
                     "--", *folders.values()), env, top)  # fmt: skip
        # XY PATH each: X is the index against HEAD, which is empty here; Y the file against the index.
        entries = said.split("\0")[:-1] if said is not None else []
        odd = [top / entry[3:] for entry in entries if entry[1] != " "]
        odd = [path for path in odd if not path.is_relative_to(out)]
        return {
            file: State(commit, None if said is None else any(path.is_relative_to(top / folder) for path in odd))
            for file, folder in folders.items()
        }


def _place(file: Path, top: Path) -> str | None:
    """From the top of the checkout; None for a link that leads out of it."""
    path = file.resolve()
    return str(path.relative_to(top)) if path.is_relative_to(top) else None


def _git(words: tuple[str, ...], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str | None:
    """What git prints; None where it is not there, does not end or does not know."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    fixed = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *_ANY, *words], cwd=cwd, env={**own, **fixed, **(env or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_GIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None


def ci_job(env: Mapping[str, str]) -> CiJob | None:
    """From the variables that the services set themselves."""
    if env.get("GITHUB_ACTIONS") == "true":
        service = "Forgejo" if "FORGEJO_ACTIONS" in env else "Gitea" if "GITEA_ACTIONS" in env else "GitHub"
        run = env.get("GITHUB_RUN_ID" if service == "GitHub" else "GITHUB_RUN_NUMBER")
        job = " / ".join(word for word in (env.get("GITHUB_WORKFLOW"), env.get("GITHUB_JOB")) if word)
        url = f"{env.get('GITHUB_SERVER_URL')}/{env.get('GITHUB_REPOSITORY')}/actions/runs/{run}"
        return CiJob(service, job, _web(url), env.get("GITHUB_SHA"))
    if env.get("GITLAB_CI") == "true":
        return CiJob("GitLab", env.get("CI_JOB_NAME", ""), _web(env.get("CI_JOB_URL")), env.get("CI_COMMIT_SHA"))
    if "JENKINS_URL" in env and "BUILD_NUMBER" in env:
        job = f"{env.get('JOB_NAME', '')} #{env['BUILD_NUMBER']}"
        return CiJob("Jenkins", job, _web(env.get("BUILD_URL")), env.get("GIT_COMMIT"))
    return None


def _web(url: str | None) -> str | None:
    """An address on the web without anything secret in it; else None."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc and "@" not in parts.netloc else None
