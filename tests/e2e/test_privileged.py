"""The mission's privileged container, for real: on a daemon of our own.

Its runtime drops the one capability that some machines cannot grant.
"""

from collections.abc import Iterator
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


def test_what_a_privileged_container_can_do_is_plainly_said(granting_daemon: str, docker_labrun: Labrun) -> None:
    """What SECURITY.md's table says is open at once is found open; what takes the disk is not tried."""
    ran = docker_labrun("doctor", "--security", env={"DOCKER_HOST": granting_daemon})
    (said,) = [part for part in ran.out.split("\n\n") if part.startswith("docker privileged:")]
    for attempt in ATTEMPTS:
        if attempt.open.get("docker privileged") == "":
            assert f"{attempt.tries.replace('`', '')}: yes" in said, said
