"""What there is in place of the images that labs of others name: Debian's packages on top of our userland.

One table. An image is looked up by its name without registry and tag; `--image NAME=REF` goes before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from labrun.importers.base import Options, Remark

_TOOLS = ("net-tools", "dnsutils", "traceroute", "bridge-utils", "nmap", "iputils-arping")
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "kathara/base": _TOOLS,
    "kathara/frr": (*_TOOLS, "frr"),
    "kathara/quagga": (*_TOOLS, "frr"),
    "kathara/bind": (*_TOOLS, "bind9"),
    "kathara/apache2": (*_TOOLS, "apache2"),
    "kathara/openvswitch": (*_TOOLS, "openvswitch-switch"),
    "kathara/sdn": (*_TOOLS, "openvswitch-switch"),
    "frrouting/frr": ("frr",),
    "nginx": ("nginx-light",),
    "httpd": ("apache2",),
    "nicolaka/netshoot": _TOOLS,
    "wbitt/network-multitool": _TOOLS,
    "praqma/network-multitool": _TOOLS,
    "alpine": (),
    "debian": (),
    "ubuntu": (),
    "busybox": (),
    "handsonsecurity/seed-ubuntu": _TOOLS,
}
_TAG = re.compile(r"(:[^/:]*)?(@.*)?$")


def short_name(image: str) -> str:
    """`quay.io/frrouting/frr:9.1` is `frrouting/frr`."""
    name = _TAG.sub("", image)
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.removeprefix("library/")


def packages_of(image: str) -> tuple[str, ...] | None:
    """The packages that stand for it; None of an image that nobody has put into the table."""
    return PACKAGES.get(short_name(image))


def image_remarks(images: Mapping[str, str], options: Options) -> list[Remark]:
    """What takes the place of each image. ``images``: of each device."""
    by_image: dict[str, list[str]] = {}
    for device, image in images.items():
        if image:
            by_image.setdefault(image, []).append(device)
    remarks = []
    for image, names in by_image.items():
        packages = packages_of(image)
        why = f"of {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}: "
        why += "not in the table of images; " if packages is None else ""
        why += "the shipped userland takes its place"
        why += f"; it needs {', '.join(packages)} installed there" if packages else ""
        remarks.append(Remark("changed", f"image {image}", why))
    return remarks
