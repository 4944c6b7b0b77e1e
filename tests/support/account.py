"""An account without any rights, made for tests and removed after them, and folders that it may use."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

RUNNER = Path(__file__).resolve().parents[2] / "runner"


@dataclass(frozen=True)
class Account:
    """``prefix``: the command that becomes this account; it does not fork, so that a signal hits what it started."""

    name: str
    prefix: tuple[str, ...]
    python: str
    environment: Mapping[str, str]

    def command(self, *args: str) -> tuple[str, ...]:
        return (*self.prefix, self.python, *args)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for everyone, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="labrun-e2e-", dir="/tmp"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def temporary_account() -> Iterator[Account]:
    """Ourselves if we have no rights; else a new account, with ids to map, as `useradd` makes one."""
    if os.geteuid() != 0:
        yield Account(os.environ.get("USER", "me"), (), sys.executable, {"DOCKER_HOST": ""})
        return
    name = f"labrun-{os.getpid()}-{secrets.token_hex(3)}"
    home = Path(tempfile.mkdtemp(prefix="labrun-home-", dir="/tmp"))
    home.chmod(0o755)
    try:
        subprocess.run(["useradd", "--home-dir", str(home), "--no-create-home", "--shell", "/bin/sh", name], check=True)
        try:
            subprocess.run(["chown", name, str(home)], check=True)
            yield _prepared(name, home)
        finally:
            subprocess.run(["userdel", name], check=True, stderr=subprocess.DEVNULL)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(home)], check=False)


def _prepared(name: str, home: Path) -> Account:
    prefix = (
        "setpriv",
        f"--reuid={name}",
        f"--regid={name}",
        "--clear-groups",
        "--inh-caps=-all",
    )
    paths = [str(RUNNER), sysconfig.get_paths()["purelib"]]
    for number, path in enumerate(paths):
        if not _works([*prefix, "ls", path]):
            copy = home / f"lib{number}"
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns("mypy*", "playwright", "__pycache__"))
            paths[number] = str(copy)
    environment = {
        "HOME": str(home), "USER": name, "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    }  # fmt: skip
    wanted = f"import subprocess, sys, pydantic_core; assert sys.version_info[:2] == {sys.version_info[:2]}; "
    wanted += 'subprocess.run([sys.executable, "-c", "pass"], check=True)'  # setpriv itself could still go anywhere
    for python in (sys.executable, os.path.realpath(sys.executable), "/usr/bin/python3"):
        if _works([*prefix, python, "-c", wanted], environment):
            return Account(name, prefix, python, environment)
    pytest.fail(f"no Python {sys.version_info[:2]} here that an ordinary account may run")


def _works(argv: list[str], environment: Mapping[str, str] | None = None) -> bool:
    env = {**os.environ, **(environment or {})}
    return subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
