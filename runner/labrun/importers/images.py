"""What there is in place of the images that labs of others name: Debian's packages on top of our userland.

The tables of all importers are here. An image is looked up by its name without registry and tag; `--image` goes before
it. Images that bring many programs, as Kathara's do, are not in the first table: what their labs call is in the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import dropwhile
from typing import Any

from labrun.importers.base import Options, Remark
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """``packages``: what the lab needs for it. ``start``: what the image itself starts, as a command."""

    packages: tuple[str, ...] = ()
    start: str | None = None


IMAGES: Mapping[str, Image] = {
    **dict.fromkeys(("kathara/base", "kathara/frr", "kathara/quagga", "kathara/bind", "kathara/apache2"), Image()),
    **dict.fromkeys(("kathara/openvswitch", "kathara/sdn"), Image()),
    **dict.fromkeys(("alpine", "debian", "ubuntu", "busybox"), Image()),
    **dict.fromkeys(("nicolaka/netshoot", "wbitt/network-multitool", "praqma/network-multitool"), Image()),
    **dict.fromkeys(("handsonsecurity/seed-ubuntu", "seed-base-ubuntu"), Image()),
    "frrouting/frr": Image(("frr",), "/etc/init.d/frr start"),
    "nginx": Image(("nginx-light",), "/etc/init.d/nginx start"),
    "httpd": Image(("apache2",), "/etc/init.d/apache2 start"),
}
# Service, as labs name it -> (package, its script below /etc/init.d)
SERVICES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("frr", "quagga", "zebra"), ("frr", "frr")),
    **dict.fromkeys(("named", "bind9", "bind"), ("bind9", "named")),
    "apache2": ("apache2", "apache2"),
    "nginx": ("nginx-light", "nginx"),
    "radvd": ("radvd", "radvd"),
    "isc-dhcp-server": ("isc-dhcp-server", "isc-dhcp-server"),
    "isc-dhcp-relay": ("isc-dhcp-relay", "isc-dhcp-relay"),
    "dnsmasq": ("dnsmasq", "dnsmasq"),
    "keepalived": ("keepalived", "keepalived"),
    "ssh": ("openssh-server", "ssh"),
    "openvswitch-switch": ("openvswitch-switch", "openvswitch-switch"),
    "openbsd-inetd": ("openbsd-inetd", "openbsd-inetd"),
}
# Program -> the package that has it, where the lab image has none
PROGRAMS: Mapping[str, str] = {
    **dict.fromkeys(("dig", "nslookup", "host"), "bind9-dnsutils"),
    **dict.fromkeys(("ovs-vsctl", "ovs-ofctl", "ovs-appctl"), "openvswitch-switch"),
    "vtysh": "frr", "nmap": "nmap", "dhclient": "isc-dhcp-client", "wget": "wget", "mtr": "mtr-tiny",
    "hping3": "hping3", "iperf": "iperf", "tshark": "tshark", "wg": "wireguard-tools", "vconfig": "vlan",
    "ipvsadm": "ipvsadm", "arptables": "arptables", "ebtables": "ebtables", "ipset": "ipset",
}  # fmt: skip
# Folder of a node below /etc -> (package, where that package looks)
FOLDERS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("frr", "quagga", "zebra"), ("frr", "frr")),
    "bind": ("bind9", "bind"),
    "apache2": ("apache2", "apache2"),
    "nginx": ("nginx-light", "nginx"),
}
_TAG = re.compile(r"(:[^/:]*)?(@.*)?$")
_VERBS = "start|stop|restart|reload|status"
_SYSTEMCTL = re.compile(rf"\bsystemctl\s+({_VERBS})\s+([\w-]+)(?:\.service)?(?=[\s;&|]|$)", re.MULTILINE)
_SERVICE = re.compile(rf"(?<![\w/-])service\s+([\w-]+)\s+({_VERBS})\b")
_SCRIPT = re.compile(rf"/etc/init\.d/([\w-]+)\s+({_VERBS})\b")
_PARTS = re.compile(r"[;&|(`!\n]")  # a command begins after these, and after these words
_KEYWORDS = ("if", "then", "else", "do", "while", "until", "sudo", "exec", "time")


def short_name(image: str) -> str:
    """`quay.io/frrouting/frr:9.1` is `frrouting/frr`."""
    name = _TAG.sub("", image)
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.removeprefix("library/")


def image_of(image: str, options: Options) -> Image | None:
    """What stands for it; None of an image that nobody has put into the table."""
    for name in (image, short_name(image)):
        if name in options.images:
            return Image(options.images[name])
    return IMAGES.get(short_name(image))


def without_systemd(script: str) -> str:
    """Services are started by their scripts below /etc/init.d: nothing here is systemd."""
    script = _SYSTEMCTL.sub(lambda found: f"/etc/init.d/{found[2]} {found[1]}", script)
    script = _SERVICE.sub(r"/etc/init.d/\1 \2", script)
    return _SCRIPT.sub(lambda found: f"/etc/init.d/{_script(found[1])} {found[2]}", script)


def _script(service: str) -> str:
    return SERVICES[service][1] if service in SERVICES else service


def packages_of_scripts(scripts: Iterable[str]) -> set[str]:
    """The packages whose programs and services they call."""
    found: set[str] = set()
    for script in scripts:
        found |= {SERVICES[name][0] for name, _ in _SCRIPT.findall(without_systemd(script)) if name in SERVICES}
        found |= {PROGRAMS[name] for name in _called(script) if name in PROGRAMS}
    return found


def _called(script: str) -> Iterator[str]:
    """The first word of each command."""
    for part in _PARTS.split(script):
        yield next(dropwhile(lambda word: word in _KEYWORDS or "=" in word, part.split()), "")


def image_remarks(images: Mapping[str, str], options: Options) -> tuple[set[str], list[Remark]]:
    """The packages that the images need, and what takes the place of each. ``images``: of each device."""
    by_image: dict[str, list[str]] = {}
    for device, image in images.items():
        if image:
            by_image.setdefault(image, []).append(device)
    packages: set[str] = set()
    remarks = []
    for image, names in by_image.items():
        stands = image_of(image, options)
        packages |= set(stands.packages) if stands is not None else set()
        why = f"of {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}: "
        why += "not in the table of images (say --image); " if stands is None else ""
        remarks.append(Remark("changed", f"image {image}", f"{why}the lab image takes its place"))
    return packages, remarks


def add_packages(lab: dict[str, Any], packages: set[str], remarks: list[Remark]) -> None:
    """Has the lab install them."""
    if packages:
        lab["userland"] = {"packages": sorted(packages)}
        remarks.append(Remark("changed", "programs", f"Debian's packages are installed: {', '.join(sorted(packages))}"))
