"""Kathara labs: `lab.conf`, `*.startup`, a folder for each device. As kathara-lab.conf(5) and kathara-lab-dirs(7) say.

A collision domain with two ends is a link; with more, or one, a bridge in a node of its own. Devices forward packets
and do not filter by source, as Kathara's do. A start-up script goes on after an error, and what failed is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from labrun.importers.base import Folder, Imported, Names, Options, Remark, counted, slug
from labrun.importers.images import FOLDERS, add_packages, image_remarks, packages_of_scripts, without_systemd
from labrun.importers.segments import Wiring
from labrun.importers.shell_scripts import run_step
from labrun.protocol.plan import LabFile

CONF = "lab.conf"
STARTUP_S = 60
MAX_DEVICES = 500
# As Kathara's own parser takes a line (kathara-lab.conf(5)).
_LINE = re.compile(r"([a-z0-9_]{1,30})\[(\w+)\]=([\"']?)([^\"']+)\3(?:\s+#.*)?")
_META = re.compile(r"LAB_(NAME|DESCRIPTION|VERSION|AUTHOR|EMAIL|WEB)=(.*)")
_DOMAIN = re.compile(r"(\w+)(?:/([0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}))?")
_DEPENDENCY = re.compile(r"(\w+):\s*((?:\w+\s*)+)")
_SERVERS = re.compile(r"wireshark", re.IGNORECASE)
_VIEWER = "it shows Wireshark in a browser; a `capture` step keeps packets"
# Options that say how the host shows or bounds a device, and do not change what happens on the network.
_HOSTS = {
    "port": "the sandbox has no way in from the host",
    "shell": "nobody is connected to a device",
    "num_terms": "no terminals are opened",
    "mem": "limits are those of the sandbox",
    "cpus": "limits are those of the sandbox",
    "ulimit": "limits are those of the sandbox",
    "privileged": "a node has all rights that the sandbox has",
}


@dataclass
class Device:
    """A device of lab.conf. ``interfaces``: number -> (collision domain, MAC or None)."""

    name: str
    line: int
    interfaces: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    execs: list[str] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def ipv6(self) -> bool:
        return _true(self.options.get("ipv6", ""))


class Kathara:
    title = "Kathara labs (lab.conf)"

    def recognises(self, names: Sequence[str]) -> bool:
        return CONF in names

    def read(self, folder: Folder, options: Options) -> tuple[Imported, ...]:
        meta, devices = read_conf(folder)
        return (_lab(folder, meta, devices, options),)


IMPORTER = Kathara()


def read_conf(folder: Folder) -> tuple[dict[str, str], dict[str, Device]]:
    """What lab.conf says of itself, and its devices in the file's order. Raises LabError with the line."""
    if CONF not in folder:
        raise folder.wrong(CONF, 0, "no lab.conf in this folder")
    meta: dict[str, str] = {}
    devices: dict[str, Device] = {}
    for number, line in enumerate(folder.text(CONF).split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if about := _META.fullmatch(text):
            meta[about[1].lower()] = about[2].strip().strip("\"'")
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise folder.wrong(CONF, number, f"not DEVICE[OPTION]=VALUE: {text[:80]!r}")
        name, key, _, value = found.groups()
        device = devices.setdefault(name, Device(name, number))
        if len(devices) > MAX_DEVICES:
            raise folder.wrong(CONF, number, f"more than {MAX_DEVICES} devices")
        if key.isdecimal():
            _interface(folder, number, device, int(key[:9]), value)
        else:
            _option(folder, number, device, key, value)
    if not devices:
        raise folder.wrong(CONF, 0, "it names no device")
    return meta, devices


def _interface(folder: Folder, line: int, device: Device, number: int, value: str) -> None:
    domain = _DOMAIN.fullmatch(value.strip())
    if domain is None:
        raise folder.wrong(CONF, line, f"not COLLISION_DOMAIN or COLLISION_DOMAIN/MAC: {value[:80]!r}")
    if number in device.interfaces:
        raise folder.wrong(CONF, line, f"{device.name} has an interface {number} already")
    if number > 999:
        raise folder.wrong(CONF, line, f"no interface has a number as {number}")
    device.interfaces[number] = (domain[1], domain[2].lower() if domain[2] else None)


def _option(folder: Folder, line: int, device: Device, key: str, value: str) -> None:
    if key == "exec":
        device.execs.append(value)
    elif key in ("sysctl", "env"):
        name, sign, told = value.partition("=")
        if not sign or not name.strip():
            raise folder.wrong(CONF, line, f"{key}: not NAME=VALUE: {value[:80]!r}")
        (device.sysctls if key == "sysctl" else device.env)[name.strip()] = told.strip()
    else:
        device.options[key] = value


def _true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "y", "on", "t")


def order(folder: Folder, devices: dict[str, Device]) -> tuple[str, ...]:
    """The order in which devices start: that of lab.dep, else that of lab.conf. Raises LabError for a circle."""
    if "lab.dep" not in folder:
        return tuple(devices)
    before: dict[str, set[str]] = {name: set() for name in devices}
    for number, line in enumerate(folder.text("lab.dep").split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _DEPENDENCY.fullmatch(text)
        if found is None:
            raise folder.wrong("lab.dep", number, f"not DEVICE: DEVICE...: {text[:80]!r}")
        before.setdefault(found[1], set()).update(found[2].split())
    try:
        every = tuple(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise folder.wrong("lab.dep", 0, f"a circle: {' -> '.join(map(str, error.args[1]))}") from error
    return tuple(name for name in every if name in devices)


def _lab(folder: Folder, meta: dict[str, str], devices: dict[str, Device], options: Options) -> Imported:
    remarks: list[Remark] = []
    devices = _without_viewers(devices, remarks)
    names = Names()
    nodes = {name: names[name] for name in devices}
    for name, node in nodes.items():
        if name != node:
            remarks.append(Remark("changed", f"device {name}", f"is node {node}: names have no underscores"))
    wiring = Wiring(nodes.values())
    for device in devices.values():
        for number, (domain, mac) in sorted(device.interfaces.items()):
            wiring.attach(domain, nodes[device.name], f"eth{number}", mac)
    topology: dict[str, Any] = {
        "nodes": {nodes[device.name]: _node(device) for device in devices.values()},
        "sysctls": {nodes[device.name]: _sysctls(device) for device in devices.values()},
    }
    remarks += wiring.into(topology)
    steps, files = _steps(folder, devices, nodes, remarks)
    files += _folders(folder, devices, nodes, topology["nodes"], remarks)
    images = {device.name: device.options.get("image", "kathara/base") for device in devices.values()}
    packages, told = image_remarks(images, options)
    remarks += told
    packages |= packages_of_scripts(str(step["run"]) for step in steps if "run" in step)
    packages |= {FOLDERS[name][0] for name in _settings(files)}
    _left_out(folder, devices, remarks)
    title = meta.get("name") or folder.name.rpartition("/")[2]
    lab = {
        "title": title,
        "question": meta.get("description") or f"What happens in the Kathara lab {title}?",
        "source": _source(meta, title),
        "tags": ["imported", "kathara"],
        "timeout": min(120 + 20 * len(devices), 3600),
        "defaults": {"steps": {"may_fail": True, "timeout": STARTUP_S}},
        "topology": topology,
        "steps": steps,
    }
    add_packages(lab, packages, remarks)
    return Imported(slug(folder.name), lab, tuple(files), tuple(remarks))


def _settings(files: Sequence[tuple[str, LabFile | str]]) -> set[str]:
    """The folders below /etc of which devices have files, and that belong to a service that we know."""
    parts = [path.split("/") for path, _ in files]
    return {names[2] for names in parts if len(names) > 3 and names[1] == "etc" and names[2] in FOLDERS}


def _source(meta: dict[str, str], title: str) -> dict[str, str]:
    told = {"title": f"Kathara lab {title}", "author": meta.get("author", ""), "url": meta.get("web", "")}
    return {key: value for key, value in told.items() if value}


def _without_viewers(devices: dict[str, Device], remarks: list[Remark]) -> dict[str, Device]:
    """Wireshark in a browser looks at a network and is no part of it: the report has captures of its own."""
    kept = {}
    for name, device in devices.items():
        if _SERVERS.search(device.options.get("image", "")):
            remarks.append(Remark("left out", f"device {name}", _VIEWER))
        else:
            kept[name] = device
    return kept or devices


def _node(device: Device) -> dict[str, Any]:
    node: dict[str, Any] = {"machine": True}
    if device.ipv6:
        node["ipv6"] = True
    if device.env:
        node["env"] = device.env
    return node


def _sysctls(device: Device) -> dict[str, str | int]:
    """What Kathara sets in each device, and labrun does not, and what the lab sets."""
    own: dict[str, str | int] = {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0}
    if device.ipv6:
        own |= {"net.ipv6.conf.all.forwarding": 1, "net.ipv6.conf.all.accept_ra": 0, "net.ipv6.icmp.ratelimit": 0}
    return own | {name: int(value) if value.isdecimal() else value for name, value in device.sysctls.items()}


def _steps(
    folder: Folder, devices: dict[str, Device], nodes: dict[str, str], remarks: list[Remark]
) -> tuple[list[dict[str, Any]], list[tuple[str, LabFile | str]]]:
    steps: list[dict[str, Any]] = []
    files: dict[str, LabFile | str] = {}
    scripts = 0
    for name in order(folder, devices):
        device, node = devices[name], nodes[name]
        for path, step_id in (("shared.startup", f"shared-{node}"), (f"{name}.startup", f"startup-{node}")):
            if path not in folder:
                continue
            text = folder.text(path)
            if "/hostlab" in text:
                text = text.replace("/hostlab", "/lab")
                remarks.append(Remark("changed", path, "/hostlab is /lab here"))
            changed = without_systemd(text)
            if changed != text:
                remarks.append(Remark("changed", path, "services are started by their scripts in /etc/init.d"))
            text = changed
            step, needs_file = run_step(step_id[:63], node, text, path)
            if step is not None:
                steps.append(step)
                scripts += 1
            if needs_file:
                files[path] = folder.entries[path] if text == folder.text(path) else text
        for number, command in enumerate(device.execs, start=1):
            one = {"id": f"exec-{node}-{number}"[:63], "in": node, "run": command}
            steps.append(one)
    remarks.append(Remark("mapped", counted(scripts, "start-up script"), "a step each, one device after the other"))
    steps.append({"id": "state", "snapshot": "all", "note": "What the devices have when all of them have started."})
    return steps, list(files.items())


def _place(path: str) -> str:
    """Where a file of a device goes: what Quagga has in /etc/quagga or /etc/zebra, FRR has in /etc/frr."""
    parts = path.split("/")
    if len(parts) > 3 and parts[1] == "etc" and parts[2] in FOLDERS:
        parts[2] = FOLDERS[parts[2]][1]
    return "/".join(parts)


def _folders(
    folder: Folder, devices: dict[str, Device], nodes: dict[str, str], models: dict[str, Any], remarks: list[Remark]
) -> list[tuple[str, LabFile]]:
    """The folder of a device, which is copied over its /, and `shared`, which every device has."""
    files: list[tuple[str, LabFile]] = []
    found = [name for name in devices if folder.has_folder(name)]
    for name in found:
        files += [(_place(nodes[name] + file.path[len(name) :]), file) for file in folder.below(name)]
    if found:
        remarks.append(Remark("mapped", "folders of devices", f"copied over the node's /: {', '.join(found)}"))
    for old in ("quagga", "zebra"):
        if any(f"/etc/{old}/" in file.path for _, file in files):
            remarks.append(Remark("changed", f"/etc/{old}", "is /etc/frr: FRR is there for Quagga and reads its files"))
    if folder.has_folder("shared"):
        files += [(file.path, file) for file in folder.below("shared")]
        for node in nodes.values():
            models[node]["files"] = {"/shared": "shared"}
        why = "each device has a copy at /shared: what one writes no other one sees"
        remarks.append(Remark("changed", "shared/", why))
    return files


def _left_out(folder: Folder, devices: dict[str, Device], remarks: list[Remark]) -> None:
    told: dict[str, list[str]] = {}
    for device in devices.values():
        for key, value in device.options.items():
            if key == "bridged" and _true(value):
                told.setdefault("bridged: the sandbox has no network of the host", []).append(device.name)
            elif key in _HOSTS:
                told.setdefault(f"{key}: {_HOSTS[key]}", []).append(device.name)
            elif key in ("entrypoint", "args", "volume"):
                told.setdefault(f"{key}: there are no containers", []).append(device.name)
            elif key not in ("image", "ipv6", "bridged"):
                told.setdefault(f"{key}: not an option that Kathara's manual has", []).append(device.name)
    for what, names in told.items():
        key, _, why = what.partition(": ")
        remarks.append(Remark("left out", f"{key} of {', '.join(names)}", why))
    for path in folder.top():
        stem, dot, suffix = path.rpartition(".")
        if suffix == "shutdown" and dot:
            remarks.append(Remark("left out", path, "devices are not shut down, the sandbox ends"))
        elif path == "lab.ext":
            remarks.append(Remark("left out", path, "the sandbox has no interface of the host"))
        elif suffix == "startup" and stem not in devices and stem != "shared":
            remarks.append(Remark("left out", path, f"lab.conf has no device {stem}"))
