"""From a clone to a lab of one's own with one surprise explained, as it is written down for people."""

import shutil
import subprocess
import sys
from pathlib import Path

from e2e.conftest import REPOSITORY


def test_the_first_ten_minutes_go_as_they_are_written(tmp_path: Path, lab_image: str) -> None:
    """Of what git has, with the changes that are not committed yet: in CI there are none."""
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in files.decode().split("\0"):
        if name and (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, source / name)
    named = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "all")):
        subprocess.run(["git", *named, *words], cwd=source, check=True)
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        ["sh", str(source / "tests/e2e/first_ten_minutes.sh"), f"file://{source}", sys.prefix],
        cwd=home, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stdout + done.stderr
    assert (home / "colleague" / "reports" / "latest" / "index.html").is_file()
