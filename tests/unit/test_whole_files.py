"""Every file of a run is written whole or not at all: at each kill -9, and on a disk that is full."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from labrun.evidence.files import write_whole

RECORDED = Path(__file__).resolve().parents[1] / "data" / "run-of-ff7a1a9.tar.xz"
# Kills itself before the Nth call of one of the functions by which a file comes into being.
KILLED = """
import os, signal, sys
left = int(sys.argv.pop(1))
def counted(real):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call
for name in ("fsync", "replace"):
    setattr(os, name, counted(getattr(os, name)))
os.open = counted(os.open) if sys.argv[1] == "write" else os.open
if sys.argv[1] == "write":
    from pathlib import Path
    from labrun.evidence.files import write_whole
    write_whole(Path(sys.argv[2]), "new" * 100_000)
else:
    from labrun.cli.app import main
    main()
"""


def killed_at(number: int, *words: str) -> bool:
    done = subprocess.run([sys.executable, "-c", KILLED, str(number), *words], capture_output=True)
    assert done.returncode in (0, 1, -signal.SIGKILL), done.stderr.decode()
    return done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("old", [None, "old"])
def test_a_file_is_the_old_or_the_new_one_at_each_kill(old: str | None, tmp_path: Path) -> None:
    number = 0
    killed = True
    while killed:
        number += 1
        if old is not None:
            (tmp_path / "f").write_text(old)
        killed = killed_at(number, "write", str(tmp_path / "f"))
        found = (tmp_path / "f").read_text() if (tmp_path / "f").exists() else None
        assert found == ("new" * 100_000 if not killed else old)
    assert number > 2


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk: write(2) ends with an error in the middle of the file."""
    (tmp_path / "f").write_text("old")
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_whole(tmp_path / "f", "new" * 100_000)
        except OSError:
            os._exit(28)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 28
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_judging_again_leaves_whole_files_at_each_kill(tmp_path: Path) -> None:
    with tarfile.open(RECORDED) as archive:
        archive.extractall(tmp_path, filter="data")
    (run,) = tmp_path.iterdir()
    subprocess.run([sys.executable, "-m", "labrun", "judge", str(run)], capture_output=True)
    whole = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for path in run.iterdir():
        if path.is_file() and path.name != "run.json":
            path.write_bytes(b"old")
    kept = {"run.json": whole.pop("run.json")}
    number, killed = 0, True
    while killed:
        number += 1
        killed = killed_at(number, "judge", str(run))
        for name, text in whole.items():
            assert (run / name).read_bytes() in (b"old", text), f"{name} at kill {number}"
    assert number > len(whole) and {name: (run / name).read_bytes() for name in whole} == whole
    assert (run / "run.json").read_bytes() == kept["run.json"]
