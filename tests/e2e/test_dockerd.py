"""The private test daemon, and the runtime that lets `--privileged` start where CAP_SYS_RESOURCE cannot be granted."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from support.dockerd import DROP_CAP_RUNC, copy_image, private_dockerd

# include/uapi/linux/capability.h
CAP_SYS_RESOURCE = 24
CAP_AUDIT_READ = 37


@pytest.fixture(scope="module")
def private(docker_client: docker.DockerClient, lab_image: str) -> Iterator[tuple[docker.DockerClient, str]]:
    tag = docker_client.images.get(lab_image).tags[0]
    with (
        private_dockerd(runtimes={"drop-cap": DROP_CAP_RUNC}, default_runtime="drop-cap") as host,
        contextlib.closing(docker.DockerClient(base_url=host)) as client,
    ):
        yield client, copy_image(docker_client, client, tag)


def _bounding_set(of: str) -> int:
    (line,) = [line for line in of.splitlines() if line.startswith("CapBnd:")]
    return int(line.split()[1], 16)


def _run(client: docker.DockerClient, image: str, *command: str, **options: Any) -> str:
    output: bytes = client.containers.run(image, list(command), network_mode="none", remove=True, **options)
    return output.decode()


def test_privileged_starts_with_everything_but_the_one_capability(private: tuple[docker.DockerClient, str]) -> None:
    client, image = private
    assert client.info()["DefaultRuntime"] == "drop-cap"
    status = _run(client, image, "cat", "/proc/self/status", privileged=True)
    # Older daemons do not know the capabilities after this one.
    known = (1 << (CAP_AUDIT_READ + 1)) - 1
    assert _bounding_set(status) & known == known & ~(1 << CAP_SYS_RESOURCE)


def test_privileged_means_writable_sysctls_and_namespaces(private: tuple[docker.DockerClient, str]) -> None:
    client, image = private
    script = "sysctl -qw net.ipv4.ip_forward=1; ip netns add a; ip -n a link add name br0 type bridge; echo fine"
    assert _run(client, image, "sh", "-ec", script, privileged=True) == "fine\n"


def test_exec_in_a_privileged_container_works_too(private: tuple[docker.DockerClient, str]) -> None:
    client, image = private
    container = client.containers.run(
        image, ["sleep", "60"], privileged=True, network_mode="none", detach=True, init=True
    )
    try:
        code, output = container.exec_run(["cat", "/proc/self/status"], privileged=True)
        assert code == 0
        assert isinstance(output, bytes)
        assert not _bounding_set(output.decode()) & (1 << CAP_SYS_RESOURCE)
    finally:
        container.remove(force=True)


def test_the_ordinary_runtime_refuses_where_the_capability_is_missing(
    docker_client: docker.DockerClient, lab_image: str
) -> None:
    granted = _bounding_set(Path("/proc/self/status").read_text()) & (1 << CAP_SYS_RESOURCE)
    # Not run(remove=True): that leaves the container behind when it cannot start.
    container = docker_client.containers.create(lab_image, ["true"], privileged=True, network_mode="none")
    try:
        if granted:
            container.start()
        else:
            with pytest.raises(docker.errors.APIError, match="unable to apply caps"):
                container.start()
    finally:
        container.remove(force=True)


def test_an_ended_daemon_leaves_nothing() -> None:
    with private_dockerd() as host:
        root = Path(host.removeprefix("unix://")).parent
        assert root.is_dir()
    assert not root.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{root.name}"))
    assert root.name not in Path("/proc/self/mounts").read_text()
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert root.name not in processes


def test_a_daemon_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-runtime"), private_dockerd(default_runtime="no-such-runtime"):
        pass
