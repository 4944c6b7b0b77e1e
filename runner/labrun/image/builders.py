"""Who can turn the recipe into a root file system: this host, or a container of a pulled Debian.

Both run the recipe's own `build.sh` on the same context, so both make the same image. A builder only makes the tar
file; what becomes of it is `build.py`'s matter.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labrun.image.command import blame, run
from labrun.image.errors import ImageError
from labrun.lease import lease

BUILD_LABEL = "labrun.build"
"""The label of a container that an image is built in, or unpacked from; its value is the recipe's digest."""

Say = Callable[[str], None]
"""Where progress goes: one line of text for a person."""


@dataclass(frozen=True)
class Context:
    """Everything that a build reads, in one folder, so that it can be sent elsewhere."""

    root: Path
    """Has `recipe/` (a copy of the recipe) and `site/` (the unpacked Python packages)."""

    digest: str
    """The recipe's digest, which the image records."""

    suite: str
    """The Debian release."""


class Builder(Protocol):
    """One way to build."""

    @property
    def name(self) -> str:
        """What it builds with, as the end of "building with ..."."""
        ...

    def obstacle(self) -> str | None:
        """Why it cannot even be tried here, or None."""
        ...

    def build(self, context: Context, out: Path, say: Say) -> None:
        """Write the root file system's tar to `out`. Raises ImageError."""
        ...


@dataclass(frozen=True)
class HostBuilder:
    """mmdebstrap on this machine: needs no registry and no container. As root it is installed where it is missing."""

    mirror: str | None = None
    """Where Debian comes from, as mmdebstrap takes it; None leaves that to mmdebstrap."""

    keyring: Path = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    """Debian's own keys; Ubuntu has them only in a package of that name."""

    @property
    def name(self) -> str:
        return "mmdebstrap on this host"

    def obstacle(self) -> str | None:
        missing = self._missing()
        if os.geteuid() == 0:
            return None if not missing or shutil.which("apt-get") else f"not installed here: {', '.join(missing)}"
        if not shutil.which("newuidmap"):
            missing.append("uidmap")
        if missing:
            return f"not installed here: {', '.join(missing)} (Debian: apt install {' '.join(missing)})"
        return None if _has_subids() else "this account has no ids of its own to map (usermod --add-subuids)"

    def build(self, context: Context, out: Path, say: Say) -> None:
        missing = self._missing()
        if missing:
            say(f"installing {' and '.join(missing)}")
            log = out.with_name("apt.log")
            run("apt-get update", ["apt-get", "update", "-q"], log=log)
            run("apt-get install", ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], log=log)
        script = [str(context.root / "recipe" / "build.sh"), str(context.root / "site"), context.digest, str(out)]
        mirror = [self.mirror] if self.mirror else []
        # mmdebstrap makes its chroot in TMPDIR: beside the output, so that one folder holds all there is to remove.
        run(
            "mmdebstrap",
            ["env", f"TMPDIR={out.parent}", "LC_ALL=C", "sh", *script, *mirror],
            log=out.with_name("mmdebstrap.log"),
            line=lambda text: _progress(text, say),
        )

    def _missing(self) -> list[str]:
        missing = [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
        return missing if self.keyring.exists() else [*missing, "debian-archive-keyring"]


def _has_subids() -> bool:
    """Does /etc/subuid give this account the ids that a root file system's users need (subuid(5))?"""
    import pwd

    try:
        names = {str(os.getuid()), pwd.getpwuid(os.getuid()).pw_name}
        lines = Path("/etc/subuid").read_text(encoding="utf-8").splitlines()
    except (OSError, KeyError):
        return False
    return any(line.split(":")[0] in names for line in lines)


@dataclass(frozen=True)
class ContainerBuilder:
    """The same `build.sh` in a container of a pulled Debian: for hosts that are not Debian, and for ordinary users.

    Sends and fetches everything through the Docker API, with no mounts, so a remote engine does as well.
    """

    client: Any
    """A docker.DockerClient."""

    base: str | None = None
    """The image to build in; None takes Debian's slim one of the recipe's suite."""

    mirror: str | None = None
    """As with HostBuilder."""

    deadline_s: float = 1800.0
    """How long the build in the container may take."""

    @property
    def name(self) -> str:
        return f"mmdebstrap in a container of {self.base or 'Debian'}"

    def obstacle(self) -> str | None:
        return None

    def build(self, context: Context, out: Path, say: Say) -> None:
        import docker.errors
        import requests.exceptions

        base = self.base or f"debian:{context.suite}-slim"
        try:
            self._pull(base, say)
            self._build(base, context, out, say)
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise ImageError(
                f"Docker could not build the lab image in a container of {base}: {_text(error)}.",
                "See that `docker info` works and that the disk has room.",
            ) from error

    def _pull(self, base: str, say: Say) -> None:
        import docker.errors

        try:
            self.client.images.get(base)
        except docker.errors.ImageNotFound:
            say(f"pulling {base}")
            try:
                self.client.images.pull(base)
            except docker.errors.APIError as error:
                raise ImageError(
                    f"The base image {base} could not be pulled: {_text(error)}.",
                    "Where no registry can be reached, install mmdebstrap (`apt install mmdebstrap`): it needs none.",
                ) from error

    def _build(self, base: str, context: Context, out: Path, say: Say) -> None:
        inside = "/labrun"
        script = (
            "set -e; export DEBIAN_FRONTEND=noninteractive LC_ALL=C; "
            "command -v mmdebstrap >/dev/null || "
            "{ apt-get update -q; apt-get install -q -y --no-install-recommends mmdebstrap debian-archive-keyring; }; "
            f'exec sh {inside}/recipe/build.sh {inside}/site {context.digest} {inside}/out.tar "$@"'
        )
        container = self.client.containers.create(
            base,
            ["sh", "-c", script, "build", *([self.mirror] if self.mirror else [])],
            # The host's network, because that is the one which is known to work: proxies, resolvers and VPNs included.
            network_mode="host",
            # mmdebstrap mounts /proc and /sys for the packages' scripts.
            cap_add=["SYS_ADMIN"],
            security_opt=["apparmor=unconfined"],
            labels={BUILD_LABEL: context.digest, **lease()},
            init=True,
        )
        try:
            container.put_archive("/", _archive(context.root, inside.lstrip("/")))
            container.start()
            tail: list[str] = []
            for line in _lines(container.logs(stream=True, follow=True)):
                _progress(line, say)
                tail = [*tail[-200:], line]
            code = container.wait(timeout=self.deadline_s)["StatusCode"]
            if code != 0:
                raise ImageError(
                    f"The build in a container of {base} ended with exit code {code}: {blame(tail)}.",
                    "See that containers reach Debian's mirrors.",
                )
            _fetch(container, f"{inside}/out.tar", out)
        finally:
            container.remove(force=True, v=True)


def _archive(root: Path, name: str) -> bytes:
    """The context as a tar in memory: some 10 MB."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(root, arcname=name)
    return whole.getvalue()


def _fetch(container: Any, path: str, out: Path) -> None:
    """Docker hands a file out of a container as a tar with that one file; it is written as it comes."""
    chunks, _ = container.get_archive(path)
    with tarfile.open(fileobj=_Stream(chunks), mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                with out.open("wb") as file:
                    shutil.copyfileobj(content, file)


def as_file(chunks: Iterable[bytes]) -> Any:
    """Chunks as they come, to read from."""
    return _Stream(chunks)


class _Stream(io.RawIOBase):
    """A file to read from an iterable of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        end = len(whole) if size < 0 else size
        self._rest = whole[end:]
        return whole[:end]


def _lines(chunks: Iterable[bytes]) -> Iterable[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def _progress(line: str, say: Say) -> None:
    """mmdebstrap's own stages, in its own words, and no more of what it prints."""
    if line.startswith("I: ") and line.endswith("..."):
        say(line.removeprefix("I: "))


def _text(error: BaseException) -> str:
    return str(getattr(error, "explanation", None) or error).strip().rstrip(".")
