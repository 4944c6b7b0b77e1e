"""The mission's privileged container, for real: on a daemon of our own.

Its runtime drops the one capability that some machines cannot grant.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from e2e.conftest import Labrun
from e2e.test_labs import IDS
from labrun.cli.security import ATTEMPTS
from support.dockerd import DROP_CAP_RUNC, copy_image, private_dockerd


@pytest.fixture(scope="module")
def granting_daemon(docker_client: Any, lab_image: str, recipe: Any) -> Iterator[str]:
    with private_dockerd(runtimes={"drop-cap": DROP_CAP_RUNC}, default_runtime="drop-cap") as host:
        client = docker.DockerClient(base_url=host)
        copy_image(docker_client, client, recipe.tag)
        client.close()
        yield host


def test_all_labs_in_privileged_containers(granting_daemon: str, docker_labrun: Labrun) -> None:
    ran = docker_labrun("all", env={"DOCKER_HOST": granting_daemon})
    assert ran.exit == 0, ran.out + ran.err
    assert ran.results["run"]["isolation"] == "privileged"
    assert ran.results["run"]["isolation_note"] is None
    assert all(h["as_expected"] for lab in ran.results["labs"] for h in lab["hypotheses"])
    assert {lab["id"] for lab in ran.results["labs"]} >= set(IDS)


def disk_opens() -> bool:
    """Whether root of this machine may read its own disk; on some that are guests themselves it may not."""
    for line in Path("/proc/partitions").read_text().splitlines()[2:]:
        with contextlib.suppress(OSError), Path("/dev", line.split()[3]).open("rb"):
            return True
    return False


def test_what_a_privileged_container_can_do_is_plainly_said(granting_daemon: str, docker_labrun: Labrun) -> None:
    """What SECURITY.md's table says is open at once is found open; what takes the disk is not tried."""
    ran = docker_labrun("doctor", "--security", env={"DOCKER_HOST": granting_daemon})
    (said,) = [part for part in ran.out.split("\n\n") if part.startswith("docker privileged:")]
    at_once = [one for one in ATTEMPTS if one.open.get("docker privileged") == ""]
    assert {one.id for one in at_once} == {"disk", "settings", "mounts", "limits", "clock"}
    for attempt in at_once:
        if attempt.id != "disk" or disk_opens():
            assert f"{attempt.tries.replace('`', '')}: yes" in said, said
