"""Runs one command of a build, which may take minutes, and leaves nothing of it running whatever happens."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from labrun.image.errors import ImageError

GRACE_S = 20.0
"""How long a command that was told to stop may clean up behind itself (mmdebstrap removes its chroot)."""


def run(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    line: Callable[[str], None] = lambda _: None,
    deadline_s: float = 1800.0,
) -> None:
    """Run `argv`, which messages call `name`, to its end; every line it prints goes to the file `log` and to `line`.

    Raises ImageError when it fails, or is not done after `deadline_s` seconds. On any exception, Ctrl-C included, the
    command's whole process group is told to stop and waited for. If we are killed, the kernel tells it to stop.
    """
    tail: deque[str] = deque(maxlen=200)
    late = threading.Event()
    orphaned = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    process = subprocess.Popen(
        [*orphaned, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # A group of its own: Ctrl-C reaches us, and we stop it in order.
        start_new_session=True,
        # The lock's descriptor is inheritable: while a killed build's command still runs, no other build starts.
        close_fds=False,
    )

    def give_up() -> None:
        late.set()
        _signal(process, signal.SIGTERM)

    timer = threading.Timer(deadline_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdout is not None
        with log.open("a", encoding="utf-8") as file:
            for text in process.stdout:
                file.write(text)
                tail.append(text)
                line(text.rstrip("\n"))
        code = process.wait()
    finally:
        timer.cancel()
        _end(process)
    if late.is_set():
        raise ImageError(f"{name} was not done after {deadline_s:g} s.", "See that the network works.")
    if code != 0:
        raise ImageError(
            f"{name} ended with exit code {code}: {blame(tail)}.",
            "See that Debian's packages and PyPI can be reached from here, and that the disk has room.",
        )


def blame(lines: Iterable[str]) -> str:
    """The first lines of a build's output that say what went wrong, on one line."""
    kept = [text.strip() for text in lines if text.strip()]
    accused = [text for text in kept if text.startswith(("E:", "Err:", "ERROR:", "error:"))]
    return " / ".join(accused[:2] or kept[-2:])[:600].rstrip(".") or "it printed nothing"


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    if process.poll() is None:
        _signal(process, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
