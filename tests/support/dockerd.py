"""A second, private Docker daemon for tests: its own runtimes, images and containers, and nothing left afterwards.

It runs in mount, pid and network namespaces of its own. That is what makes its end certain (the namespaces die with
everything in them, mounts included), and what protects the machine: a dockerd with `--bridge=none` removes the docker0
of the network namespace it is in, which the ordinary daemon needs. So `State.Pid` is a number in that namespace, and a
container with `network_mode="host"` has no way out.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DROP_CAP_RUNC = Path(__file__).with_name("drop-cap-runc")
"""The runtime with which `--privileged` starts on machines without CAP_SYS_RESOURCE."""

START_S = 60.0
STOP_S = 30.0


@contextlib.contextmanager
def private_dockerd(*, runtimes: Mapping[str, Path] | None = None, default_runtime: str | None = None) -> Iterator[str]:
    """Start a daemon (needs root); yields its address, as DOCKER_HOST takes it."""
    if os.geteuid() != 0:
        raise RuntimeError("a private dockerd needs root")
    # Short, for the 107 characters that a unix socket's path may have.
    root = Path(tempfile.mkdtemp(prefix="labrun-dockerd-", dir="/tmp"))
    cgroup = root.name
    host = f"unix://{root}/docker.sock"
    argv = [
        *("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"),
        *(("tini", "-s", "--") if shutil.which("tini") else ()),
        *("dockerd", "--config-file", str(root / "daemon.json"), "--host", host),
        *("--data-root", str(root / "data"), "--exec-root", str(root / "exec"), "--pidfile", str(root / "pid")),
        *("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{cgroup}"),
        # A containerd of its own, even where the machine runs one.
        *("--containerd", str(root / "containerd.sock")),
    ]
    for name, path in (runtimes or {}).items():
        argv += ["--add-runtime", f"{name}={path}"]
    if default_runtime is not None:
        argv += ["--default-runtime", default_runtime]
    (root / "daemon.json").write_text("{}", encoding="utf-8")
    log = root / "log"
    try:
        with _running(_with_containerd(argv, root), log) as daemon:
            _await(host, daemon, log)
            yield host
    finally:
        shutil.rmtree(root)
        _remove_cgroups(cgroup)


def copy_image(source: Any, target: Any, name: str) -> str:
    """Give the daemon of the client `target` the image `name` of `source`'s; its id, which is the same in both."""
    with contextlib.suppress(_not_found()):
        return str(target.images.get(name).id)
    (image,) = target.images.load(source.images.get(name).save(named=name))
    return str(image.id)


def _not_found() -> type[Exception]:
    import docker.errors

    return docker.errors.ImageNotFound


def _with_containerd(argv: list[str], root: Path) -> list[str]:
    """One process tree with both daemons: containerd in the background of a shell that becomes dockerd."""
    split = argv.index("dockerd")
    start = f'containerd --config "{root}/containerd.toml" & exec "$@"'
    (root / "containerd.toml").write_text(
        f'version = 2\nroot = "{root}/containerd"\nstate = "{root}/exec-containerd"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{root}/containerd.sock"\n',
        encoding="utf-8",
    )
    return [*argv[:split], "sh", "-c", start, "sh", *argv[split:]]


@contextlib.contextmanager
def _running(argv: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            # unshare's --kill-child takes the namespaces' init along, and the kernel everything else in them.
            process.kill()
            process.wait()


def _await(host: str, daemon: subprocess.Popen[bytes], log: Path) -> None:
    import docker
    import docker.errors
    import requests.exceptions

    end = time.monotonic() + START_S
    while True:
        with (
            contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException),
            contextlib.closing(docker.DockerClient(base_url=host, timeout=5)) as client,
        ):
            client.ping()
            return
        if daemon.poll() is not None or time.monotonic() > end:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            # containerd writes to the same log, and may begin only when dockerd has given up already.
            told = [line for line in lines if " level=info " not in line]
            raise RuntimeError("\n".join(["the private dockerd did not start:", *told[-15:]]))
        time.sleep(0.05)


def _remove_cgroups(name: str) -> None:
    """The daemon removes its containers' cgroups, but not the one above them (v1: one in each hierarchy)."""
    for top in [*Path("/sys/fs/cgroup").glob(name), *Path("/sys/fs/cgroup").glob(f"*/{name}")]:
        for folder in sorted([top, *(path for path in top.rglob("*") if path.is_dir())], reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
