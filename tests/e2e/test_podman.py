"""Podman's Docker-compatible socket through the same code, on a service of our own."""

from pathlib import Path
from typing import Any

import docker
from e2e.conftest import Labrun
from labrun.image.recipe import Recipe
from support.dockerd import copy_image
from support.podman import private_podman


def test_labs_run_in_podmans_containers(
    tmp_path: Path, docker_client: Any, lab_image: str, recipe: Recipe, docker_labrun: Labrun
) -> None:
    place = tmp_path / "podman"
    place.mkdir()
    with private_podman(place) as host:
        client = docker.DockerClient(base_url=host)
        copy_image(docker_client, client, recipe.tag)
        client.close()
        ran = docker_labrun("run", "listing", "own-address", "--engine", "podman", env={"CONTAINER_HOST": host})
        assert ran.exit == 0, ran.out + ran.err
        assert ran.results["run"]["engine"] == "podman"
        by_host = docker_labrun("run", "listing", "--engine", "auto", env={"DOCKER_HOST": host})
        assert by_host.exit == 0 and by_host.results["run"]["engine"] == "podman", by_host.err
