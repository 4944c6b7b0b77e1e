"""What there is in place of the images that labs of others name: Debian's packages on top of our userland.

One table. An image is looked up by its name without registry and tag; `--image NAME=REF` goes before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
