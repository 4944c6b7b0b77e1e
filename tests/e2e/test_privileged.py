"""The mission's privileged container, for real: on a daemon of our own.

Its runtime drops the one capability that some machines cannot grant.
"""

from collections.abc import Iterator
from typing import Any

import docker
import pytest
from e2e.conftest import Labrun
from e2e.test_labs import IDS
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
