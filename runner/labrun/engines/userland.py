"""The programs that a native sandbox has: those of the lab image, or those of this host. Says which, with versions."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from labrun.protocol.record import dataclass

UserlandKind = Literal["image", "host"]
# What the host's programs need; no home folder, nothing under /var.
_TOP = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu")
_DPKG = Path("/var/lib/dpkg/status")


@dataclass(frozen=True, slots=True)
class Userland:
    """``root``: the image's root file system; None is the host's. ``packages``: name -> version."""

    kind: UserlandKind
    name: str
    root: str | None
    python: str
    paths: tuple[str, ...] = ()  # where the host's Python finds pyroute2 and scapy, if not by itself
    binds: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    packages: tuple[tuple[str, str], ...] = ()


def image_userland(name: str, root: Path) -> Userland:
    return Userland("image", name, str(root), "/usr/bin/python3")


def host_userland(tools: Iterable[str] = ()) -> Userland:
    """This host's programs, under the Python that runs labrun. ``tools``: Debian packages whose versions matter."""
    binds, links = [], []
    for path in _TOP:
        if Path(path).is_symlink():
            links.append((path, os.readlink(path)))  # noqa: PTH115
        elif Path(path).is_dir():
            binds.append(path)
    paths = _library_folders()
    inner = [sys.prefix, sys.exec_prefix, sys.base_prefix, os.path.realpath(sys.executable), *paths]
    for path in dict.fromkeys(map(os.path.abspath, inner)):
        if not any(path == known or path.startswith(f"{known}/") for known in binds):
            binds.append(path)
    return Userland(
        "host", f"host ({_system()})", None, sys.executable, paths, tuple(binds), tuple(links), _versions(tools)
    )


def _library_folders() -> tuple[str, ...]:
    """The folders of the agent's two libraries, without importing them."""
    found = []
    for name in ("pyroute2", "scapy"):
        spec = importlib.util.find_spec(name)
        for location in (spec.submodule_search_locations or ()) if spec is not None else ():
            found.append(str(Path(location).parent))
    return tuple(dict.fromkeys(found))


def _system() -> str:
    """The distribution in its own words."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return os.uname().sysname
    words = dict(line.split("=", 1) for line in lines if "=" in line)
    return words.get("PRETTY_NAME", words.get("NAME", "Linux")).strip("\"'")


def _versions(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Of Debian packages that are installed, from dpkg's own record; nothing where there is no dpkg."""
    wanted = set(names)
    try:
        text = _DPKG.read_text(encoding="utf-8", errors="replace") if wanted else ""
    except OSError:
        return ()
    found = {}
    for entry in text.split("\n\n"):
        first, _, rest = entry.partition("\n")
        name = first.removeprefix("Package: ")
        if name in wanted and "\nStatus: install ok installed" in entry:
            version = next((line[9:] for line in rest.splitlines() if line.startswith("Version: ")), "")
            found[name] = version
    return tuple(sorted(found.items()))
