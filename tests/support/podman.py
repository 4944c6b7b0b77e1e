"""A private Podman service for tests: its own storage and socket, nothing left afterwards."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

START_S = 30.0


@contextlib.contextmanager
def private_podman(folder: Path) -> Iterator[str]:
    """Yields its Docker-compatible address."""
    socket = folder / "podman.sock"
    conf = folder / "containers.conf"
    # Podman asks for more than a machine may grant that lacks CAP_SYS_RESOURCE.
    words = '"nofile=1024:1024", "nproc=1024:1024"'
    conf.write_text(f"[containers]\ndefault_ulimits = [{words}]\n")
    base = [
        "podman", "--root", str(folder / "root"), "--runroot", str(folder / "runroot"), "--storage-driver", "vfs",
        "--cgroup-manager", "cgroupfs", "--events-backend", "file",
    ]  # fmt: skip
    env = {**os.environ, "CONTAINERS_CONF": str(conf)}
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen([*base, "system", "service", "--time", "0", f"unix://{socket}"],
                                   env=env, stdout=log, stderr=log)  # fmt: skip
    try:
        end = time.monotonic() + START_S
        while not socket.exists():
            if service.poll() is not None or time.monotonic() > end:
                raise RuntimeError("podman did not start: " + (folder / "log").read_text(errors="replace")[-500:])
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        service.terminate()
        service.wait(10)
        subprocess.run([*base, "rm", "--all", "--force"], env=env, check=False, capture_output=True)
        subprocess.run([*base, "rmi", "--all", "--force"], env=env, check=False, capture_output=True)
