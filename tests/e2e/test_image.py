"""The lab image as it really comes out, by either builder, and what happens when it cannot."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import docker
import docker.errors
import pytest
from labrun.image.build import ImageRow, ensure_image, find_image, list_images, remove_leftovers
from labrun.image.builders import ContainerBuilder, Context, HostBuilder, Say
from labrun.image.errors import ImageError, NoRoom
from labrun.image.kept import find_rootfs
from labrun.image.recipe import Recipe, load_recipe
from labrun.image.rootfs import ensure_rootfs

LIMIT_BYTES = 120_000_000
TOOLS = (
    *("bash", "bridge", "brctl", "conntrack", "curl", "arping", "dnsmasq", "drill", "ethtool", "ifconfig", "ip"),
    *("ip6tables", "iperf3", "iptables", "nc", "netstat", "nft", "nsenter", "ping", "ps", "python3", "route"),
    *("setpriv", "socat", "ss", "stdbuf", "sysctl", "tc", "tcpdump", "timeout", "tracepath", "traceroute", "unshare"),
)


class Impossible:
    """A builder that must not be needed."""

    name = "nothing"

    def obstacle(self) -> str | None:
        return "it must not be asked"

    def build(self, context: Context, out: Path, say: Say) -> None:
        raise AssertionError("built")


class Tiny:
    """A builder of a root file system with next to nothing in it, in no time."""

    name = "a tar of one file"

    def __init__(self, hold: threading.Event | None = None) -> None:
        self.built = 0
        self.hold = hold
        self.started = threading.Event()

    def obstacle(self) -> str | None:
        return None

    def build(self, context: Context, out: Path, say: Say) -> None:
        self.built += 1
        self.started.set()
        if self.hold is not None:
            assert self.hold.wait(30)
        subprocess.run(["tar", "-cf", out, "-C", context.root, "recipe"], check=True)


@pytest.fixture
def other(recipe: Recipe, tmp_path: Path, docker_client: docker.DockerClient) -> Iterator[Recipe]:
    """A recipe that has no image yet, and no Python packages to fetch; its image is removed afterwards."""
    root = tmp_path / "recipe"
    root.mkdir()
    for name in ("build.sh", "packages.txt", "suite", "trim.txt"):
        (root / name).write_bytes((recipe.root / name).read_bytes())
    (root / "requirements.txt").write_bytes((recipe.root / "requirements.txt").read_bytes())
    (root / "for").write_text(str(tmp_path))
    made = load_recipe(root)
    yield made
    with contextlib.suppress(docker.errors.ImageNotFound):
        docker_client.images.remove(made.tag)


def _inside(client: docker.DockerClient, image: str, *command: str) -> str:
    return client.containers.run(image, list(command), network_mode="none", remove=True).decode()


def _leftovers() -> set[Path]:
    return set(Path("/tmp").glob("labrun-image-*"))


def test_every_tool_is_there(docker_client: docker.DockerClient, lab_image: str) -> None:
    script = 'for tool in "$@"; do command -v "$tool" >/dev/null || echo "$tool"; done'
    assert _inside(docker_client, lab_image, "sh", "-c", script, "sh", *TOOLS) == ""


def test_every_program_finds_its_libraries(docker_client: docker.DockerClient, lab_image: str) -> None:
    script = 'for file in /usr/*bin/*; do ldd "$file" 2>&1 | grep -q "not found" && echo "$file"; done; true'
    assert _inside(docker_client, lab_image, "sh", "-c", script) == ""


def test_the_agents_libraries_import_from_compiled_files(docker_client: docker.DockerClient, lab_image: str) -> None:
    program = (
        "import asyncio, ctypes, json, http.server, ssl, unittest, pyroute2, scapy.all, ctypes.util, pathlib; "
        "assert ctypes.CDLL('libpcap.so.0.8'); "
        "assert pathlib.Path(pyroute2.__cached__).exists() and pathlib.Path(scapy.all.__cached__).exists(); "
        "print((scapy.all.IP() / scapy.all.ICMP()).summary())"
    )
    assert "ICMP" in _inside(docker_client, lab_image, "python3", "-c", program)


def test_versions_are_recorded(docker_client: docker.DockerClient, lab_image: str, recipe: Recipe) -> None:
    record = json.loads(_inside(docker_client, lab_image, "cat", "/usr/share/labrun/packages.json"))
    assert record["recipe"] == recipe.digest
    assert record["python"] == {"pyroute2": "0.9.7", "scapy": "2.8.0"}
    assert {"iproute2", "tcpdump", "libc6"} <= record["debian"].keys()
    assert all(isinstance(version, str) and version for version in record["debian"].values())


def test_engines_without_a_daemon_have_hosts_and_no_resolver(
    docker_client: docker.DockerClient, lab_image: str, tmp_path: Path
) -> None:
    # Read from the image itself: in a container, even one that never ran, Docker puts its own over them.
    saved = tmp_path / "image.tar"
    with saved.open("wb") as file:
        for chunk in docker_client.images.get(lab_image).save():
            file.write(chunk)
    with tarfile.open(saved) as image:
        (layer,) = json.load(_member(image, "manifest.json"))[0]["Layers"]
        with tarfile.open(fileobj=_member(image, layer)) as files:
            names = {name.removeprefix("./"): name for name in files.getnames()}
            hosts = _member(files, names["etc/hosts"]).read().decode()
            resolver = _member(files, names["etc/resolv.conf"]).read()
    assert hosts.splitlines() == ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    assert resolver == b""


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    assert file is not None
    return file


def test_it_is_small(docker_client: docker.DockerClient, lab_image: str) -> None:
    size = docker_client.images.get(lab_image).attrs["Size"]
    assert size <= LIMIT_BYTES, (
        f"the lab image has {size / 1e6:.1f} MB, more than {LIMIT_BYTES / 1e6:.0f}: "
        "see images/lab/packages.txt and trim.txt"
    )


def test_a_second_ensure_builds_nothing(docker_client: docker.DockerClient, lab_image: str, recipe: Recipe) -> None:
    said: list[str] = []
    assert ensure_image(docker_client, recipe, said.append, builders=[Impossible()]) == lab_image
    assert said == []


def test_it_is_listed_as_the_current_one(docker_client: docker.DockerClient, lab_image: str, recipe: Recipe) -> None:
    rows = {row.id: row for row in list_images(docker_client, recipe)}
    row = rows[lab_image]
    assert isinstance(row, ImageRow) and row.current and row.digest == recipe.digest and recipe.tag in row.tags
    assert not any(other.current for other in rows.values() if other.id != lab_image)
    stale = replace(recipe, digest="0" * 64)
    assert not any(row.current for row in list_images(docker_client, stale))


def test_a_foreign_image_under_the_same_name_does_not_count(
    docker_client: docker.DockerClient, lab_image: str, other: Recipe
) -> None:
    repository, tag = other.tag.split(":")
    docker_client.images.get(lab_image).tag(repository, tag)
    assert find_image(docker_client, other) is None


def test_two_builds_at_once_build_once(docker_client: docker.DockerClient, other: Recipe, tmp_path: Path) -> None:
    go = threading.Event()
    tiny = Tiny(hold=go)
    said: list[str] = []
    ids: list[str] = []

    def build(say: Say) -> None:
        ids.append(ensure_image(docker_client, other, say, builders=[tiny], cache_dir=tmp_path / "cache"))

    def note(text: str) -> None:
        said.append(text)
        go.set()

    first = threading.Thread(target=build, args=(lambda _: None,))
    first.start()
    assert tiny.started.wait(60)
    second = threading.Thread(target=build, args=(note,))
    second.start()
    first.join(60)
    second.join(60)
    assert tiny.built == 1
    assert len(ids) == 2 and len(set(ids)) == 1
    assert said == [f"another process is building {other.tag}: waiting for it"]


def test_builders_are_tried_in_order_and_each_says_why_not(
    docker_client: docker.DockerClient, other: Recipe, tmp_path: Path
) -> None:
    said: list[str] = []
    before = _leftovers()
    broken = HostBuilder(mirror="deb [trusted=yes] file:///nowhere ./")
    tiny = Tiny()
    image = ensure_image(
        docker_client, other, said.append, builders=[Impossible(), broken, tiny], cache_dir=tmp_path / "cache"
    )
    assert tiny.built == 1
    assert find_image(docker_client, other) == image
    assert any(line.startswith("mmdebstrap on this host failed: ") for line in said)
    assert _leftovers() == before


def test_no_builder_left_is_one_clear_error_with_the_log(
    docker_client: docker.DockerClient, other: Recipe, tmp_path: Path
) -> None:
    broken = HostBuilder(mirror="deb [trusted=yes] file:///nowhere ./")
    with pytest.raises(ImageError, match="could not be built") as caught:
        ensure_image(
            docker_client, other, lambda _: None, builders=[Impossible(), broken], cache_dir=tmp_path / "cache"
        )
    assert "nothing is not possible: it must not be asked." in caught.value.what
    assert "mmdebstrap" in caught.value.what and "/nowhere" in caught.value.what
    (log,) = (tmp_path / "cache").glob("*.log")
    assert str(log) in caught.value.remedy and "nowhere" in log.read_text()


def test_a_refused_pull_is_a_clear_error(docker_client: docker.DockerClient, other: Recipe, tmp_path: Path) -> None:
    # Port 1 of this machine: refused at once, on every machine.
    builder = ContainerBuilder(docker_client, base="127.0.0.1:1/no-such-image:tag")
    with pytest.raises(ImageError, match=r"127\.0\.0\.1:1/no-such-image:tag could not be pulled") as caught:
        ensure_image(docker_client, other, lambda _: None, builders=[builder], cache_dir=tmp_path / "cache")
    assert "apt install mmdebstrap" in caught.value.remedy
    assert not docker_client.containers.list(all=True, filters={"label": f"labrun.build={other.digest}"})


def test_no_pip_is_a_clear_error(
    docker_client: docker.DockerClient, other: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImageError, match="has no pip") as caught:
        ensure_image(docker_client, other, lambda _: None, builders=[Tiny()], cache_dir=tmp_path / "cache")
    assert "ensurepip" in caught.value.remedy


def test_an_engine_that_is_away_is_a_clear_error(recipe: Recipe) -> None:
    client = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41", timeout=5)
    with pytest.raises(ImageError, match="could not look for the lab image") as caught:
        find_image(client, recipe)
    assert "docker info" in caught.value.remedy
    client.close()


BUILD = """
import sys, docker
from pathlib import Path
from labrun.image.build import ensure_image
from labrun.image.builders import HostBuilder
from labrun.image.recipe import load_recipe
recipe, cache = load_recipe(Path(sys.argv[1])), Path(sys.argv[2])
say = lambda text: print(text, flush=True)
ensure_image(docker.from_env(), recipe, say, builders=[HostBuilder()], cache_dir=cache)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_ended_in_the_middle_leaves_nothing(
    docker_client: docker.DockerClient, other: Recipe, tmp_path: Path, how: signal.Signals
) -> None:
    before = _leftovers()
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(other.root), str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert any("extracting archives" in line for line in process.stdout)
        os.kill(process.pid, how)
    assert process.returncode != 0
    if how == signal.SIGKILL:
        # The kernel ends mmdebstrap; the folder stays for the next build of it or `labrun clean`.
        end = time.monotonic() + 30
        removed: tuple[str, ...] = ()
        while not removed and time.monotonic() < end:
            removed = remove_leftovers(docker_client, cache_dir=tmp_path / "cache")
            time.sleep(0.05)
        assert any(text.startswith("folder ") for text in removed)
    assert _leftovers() == before
    assert "labrun-image-" not in Path("/proc/self/mounts").read_text()
    assert find_image(docker_client, other) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A place for caches with room for a part of the image."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "labrun-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_while_unpacking_is_one_clear_error(
    docker_client: docker.DockerClient, lab_image: str, recipe: Recipe, small_disk: Path
) -> None:
    """No build follows, which would only fill the same place; nothing is left there, nor of the engine's container."""
    said: list[str] = []
    with pytest.raises(
        NoRoom, match=r"could not be unpacked into .*No space left on device.*See that the disk has room"
    ):
        ensure_rootfs(
            recipe, said.append, first_id=None, client=docker_client, builder=Impossible(), cache_dir=small_disk
        )
    assert said == [f"unpacking {recipe.tag} out of the engine, once"]
    assert not list(small_disk.glob("rootfs/*")) and find_rootfs(recipe, small_disk) is None
    assert not docker_client.containers.list(all=True, filters={"label": f"labrun.build={recipe.digest}"})


@pytest.fixture
def base(docker_client: docker.DockerClient, recipe: Recipe, tmp_path: Path) -> str:
    """What `debian:bookworm-slim` is for us, a Debian with apt, made without a registry and kept for the next run."""
    name = f"labrun-test-base:{recipe.suite}"
    if not docker_client.images.list(name):
        tar = tmp_path / "base.tar"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", recipe.suite, str(tar)], check=True)
        repository, tag = name.split(":")
        docker_client.api.import_image_from_file(str(tar), repository=repository, tag=tag)
    return name


def test_the_container_builder_makes_the_same_image(
    docker_client: docker.DockerClient, lab_image: str, other: Recipe, base: str, tmp_path: Path
) -> None:
    said: list[str] = []
    builder = ContainerBuilder(docker_client, base=base)
    image = ensure_image(docker_client, other, said.append, builders=[builder], cache_dir=tmp_path / "cache")
    assert "extracting archives..." in said

    def record(of: str) -> dict[str, object]:
        whole: dict[str, object] = json.loads(_inside(docker_client, of, "cat", "/usr/share/labrun/packages.json"))
        return whole

    assert record(image) == record(lab_image) | {"recipe": other.digest}
    assert docker_client.images.get(image).attrs["Size"] <= LIMIT_BYTES
    assert not docker_client.containers.list(all=True, filters={"label": f"labrun.build={other.digest}"})
