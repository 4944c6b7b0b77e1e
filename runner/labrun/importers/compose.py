"""docker compose: services as nodes, networks as bridges, as labs such as SEED's use them. No image is built or pulled.

A network has its bridge in one node, with the gateway's address, as Docker has it on its host; containers have their
default route there. A service with `network_mode: host` is that node. A command that only keeps a container alive at
its end (`tail -f /dev/null`) is a step without that end; any other one is started and goes on.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from labrun.importers.base import Folder, Imported, Names, Options, Remark, slug
from labrun.importers.binds import bound_files
from labrun.importers.foreign_yaml import Document
from labrun.importers.images import add_packages, image_of, image_remarks, packages_of_scripts, without_systemd
from labrun.importers.segments import Wiring
from labrun.lab.text import Keys
from labrun.protocol.plan import LabFile

STEP_S = 60
MAX_SERVICES = 500
_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_DEFAULT = "default"
_KEEPS_ALIVE = re.compile(
    r"(?:^|&&|;|\s)\s*(?:exec\s+)?(?:tail -[fF] /dev/null|sleep (?:infinity|inf|\d{4,}))\s*;?\s*$"
)
_ALIVE_ALONE = (["bash"], ["sh"], ["/bin/bash"], ["/bin/sh"])
_VARIABLE = re.compile(r"\$\$|\$\{(\w+):?-([^}]*)\}")
_LEFT_OUT = {
    "ports": "the sandbox has no way in from the host",
    "expose": "ports of a node are open to its neighbours",
    "build": "no image is built: the shipped userland takes its place",
    "env_file": "give `environment`",
    "extra_hosts": "name them in a file of the node",
    "dns": "the sandbox has no resolver",
    "healthcheck": "give a `wait` step",
    "user": "commands are root's",
    "working_dir": "commands start at /lab",
}
_PASSED_OVER = frozenset((
    "image", "container_name", "tty", "stdin_open", "cap_add", "privileged", "sysctls", "networks", "network_mode",
    "command", "entrypoint", "environment", "volumes", "depends_on", "hostname", "restart", "labels", "init",
    "mac_address", "security_opt", "stop_grace_period", "deploy", "logging", "platform", "pull_policy", "profiles",
))  # fmt: skip


class Compose:
    title = "docker compose files, as labs such as SEED's have them"

    def recognises(self, names: Sequence[str]) -> bool:
        return any(name in _FILES for name in names)

    def read(self, folder: Folder, options: Options) -> tuple[Imported, ...]:
        path = folder.chosen or next((name for name in _FILES if name in folder), None)
        if path is None:
            raise folder.wrong(_FILES[0], 0, "no compose file in this folder")
        return (_Reading(folder, path, options).lab(),)


IMPORTER = Compose()
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Subnet:
    """A subnet of a network: who has which address."""

    def __init__(self, network: _Network, gateway: str | None) -> None:
        self.network = network
        self.gateway = gateway or str(network.network_address + 1)
        self._taken = {self.gateway}

    def take(self, address: str) -> str:
        self._taken.add(address)
        return f"{address}/{self.network.prefixlen}"

    def give(self) -> str:
        """The next one that is free, as Docker gives them."""
        first = int(self.network.network_address) + 2
        last = min(first + 65_536, int(self.network.broadcast_address))
        for number in range(first, last):
            text = str(self.network.network_address + (number - int(self.network.network_address)))
            if text not in self._taken:
                return self.take(text)
        return self.take(self.gateway)


class _Reading:
    def __init__(self, folder: Folder, path: str, options: Options) -> None:
        self.folder, self.options = folder, options
        self.document = Document(folder, path)
        self.top = self.document.mapping(self.document.value, ())
        self.services = {
            name: self.document.mapping(value, ("services", name))
            for name, value in self.document.mapping(self.top.get("services"), ("services",)).items()
        }
        if not self.services:
            raise self.document.wrong(("services",), "it has no services")
        if len(self.services) > MAX_SERVICES:
            raise self.document.wrong(("services",), f"more than {MAX_SERVICES} services")
        self.remarks: list[Remark] = []
        self.networks = self._networks()

    def lab(self) -> Imported:
        document, names = self.document, Names()
        hosts = [name for name, service in self.services.items() if service.get("network_mode") == "host"]
        nodes = {name: names[name] for name in self.services}
        for name, node in nodes.items():
            if name != node:
                self.remarks.append(Remark("changed", f"service {name}", f"is node {node}: names are in small letters"))
        switch = nodes[hosts[0]] if hosts else None
        if switch is not None:
            why = f"it is the node that has the bridges of the networks, as the host of Docker; {self._alone(hosts)}"
            self.remarks.append(Remark("changed", f"service {hosts[0]} in the host's network", why.rstrip("; ")))
        wiring = Wiring(nodes.values(), switch)
        topology: dict[str, Any] = {"nodes": {node: {"machine": True} for node in nodes.values()}, "routes": {}}
        self._reserve()
        sysctls: dict[str, Any] = {}
        files: dict[str, LabFile] = {}
        for name, service in self.services.items():
            at: Keys = ("services", name)
            model = topology["nodes"][nodes[name]]
            if name not in hosts:
                self._attach(wiring, name, nodes[name], topology)
            if env := document.table(service.get("environment"), (*at, "environment")):
                model["env"] = {key: self._text(value) for key, value in env.items()}
            if settings := document.table(service.get("sysctls"), (*at, "sysctls")):
                sysctls[nodes[name]] = settings
            binds = [self._bind(value, (*at, "volumes")) for value in document.items(service.get("volumes"), at)]
            files |= dict(bound_files(self.folder, [bind for bind in binds if bind], model, self.remarks))
        if sysctls:
            topology["sysctls"] = sysctls
        if not topology["routes"]:
            del topology["routes"]
        self.remarks += wiring.into(topology, {name: list(self._gateways(name)) for name in self.networks})
        steps = [step for name in self._order() for step in self._commands(name, nodes[name])]
        steps.append({"id": "state", "snapshot": "all", "note": "What the nodes have when all commands have begun."})
        self._left_out()
        title = document.text(self.top.get("name"), ("name",)) or self.folder.name.rpartition("/")[2]
        lab = {
            "title": title,
            "question": f"What happens in the services of {title}?",
            "tags": ["imported", "compose"],
            "timeout": min(120 + 20 * len(nodes), 3600),
            "defaults": {"steps": {"may_fail": True, "timeout": STEP_S}},
            "topology": topology,
            "steps": steps,
        }
        images = {name: document.text(service.get("image"), ()) for name, service in self.services.items()}
        packages, told = image_remarks(images, self.options)
        self.remarks += told
        add_packages(lab, packages | packages_of_scripts(_lines(steps)), self.remarks)
        return Imported(slug(title), lab, tuple(files.items()), tuple(self.remarks))

    @staticmethod
    def _alone(hosts: Sequence[str]) -> str:
        return f"not connected to anything: {', '.join(hosts[1:])}" if hosts[1:] else ""

    def _networks(self) -> dict[str, list[_Subnet]]:
        """The subnets of each network; those that the file does not give are as Docker gives them."""
        document = self.document
        given = document.mapping(self.top.get("networks"), ("networks",))
        found: dict[str, list[_Subnet]] = {}
        pool = ipaddress.IPv4Network("172.16.0.0/12").subnets(new_prefix=16)
        next(pool), next(pool)  # 172.17.0.0/16 is docker0's
        for name in (*given, *([] if _DEFAULT in given else [_DEFAULT])):
            at: Keys = ("networks", name)
            network = document.mapping(given.get(name), at)
            ipam = document.mapping(network.get("ipam"), (*at, "ipam"))
            subnets = []
            for number, config in enumerate(document.items(ipam.get("config"), (*at, "ipam", "config"))):
                place: Keys = (*at, "ipam", "config", number)
                one = document.mapping(config, place)
                text = document.text(one.get("subnet"), place)
                try:
                    subnet = ipaddress.ip_network(text, strict=False)
                except ValueError as error:
                    raise document.wrong(place, f"not a subnet: {error}") from error
                gateway = document.text(one.get("gateway"), place)
                subnets.append(_Subnet(subnet, self._address(gateway, place) if gateway else None))
            found[name] = subnets or [_Subnet(next(pool), None)]
        return found

    def _address(self, text: str, at: Keys) -> str:
        try:
            return str(ipaddress.ip_address(text))
        except ValueError as error:
            raise self.document.wrong(at, f"not an address: {error}") from error

    def _joined(self, name: str) -> dict[str, dict[str, Any]]:
        """Network -> what the service says of it, in the order of its interfaces."""
        document, service = self.document, self.services[name]
        at: Keys = ("services", name, "networks")
        if service.get("network_mode") not in (None, "bridge"):
            return {}
        value = service.get("networks")
        if isinstance(value, list):
            value = dict.fromkeys(document.words(value, at))
        given = {net: document.mapping(one, (*at, net)) for net, one in document.mapping(value, at).items()}
        given = given or {_DEFAULT: {}}
        for network in given:
            if network not in self.networks:
                raise document.wrong((*at, network), f"no network is named '{network[:60]}'")

        def first(network: str) -> tuple[int, str]:
            priority = given[network].get("priority")
            return (-priority if isinstance(priority, int) else 0, network)

        return {network: given[network] for network in sorted(given, key=first)}

    def _given(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(network, key, address) of the addresses that a service asks for."""
        for network, one in self._joined(name).items():
            for key in ("ipv4_address", "ipv6_address"):
                if one.get(key):
                    at: Keys = ("services", name, "networks", network, key)
                    yield network, key, self._address(self.document.text(one[key], at), at)

    def _reserve(self) -> None:
        """Those that are asked for are given to nobody else."""
        for name in self.services:
            for network, key, address in self._given(name):
                subnet = self._subnet(network, address)
                if subnet is None:
                    at: Keys = ("services", name, "networks", network, key)
                    raise self.document.wrong(at, f"{address} is in no subnet of this network")
                subnet.take(address)

    def _subnet(self, network: str, address: str) -> _Subnet | None:
        return next((one for one in self.networks[network] if ipaddress.ip_address(address) in one.network), None)

    def _attach(self, wiring: Wiring, name: str, node: str, topology: dict[str, Any]) -> None:
        asked = list(self._given(name))
        for number, (network, one) in enumerate(self._joined(name).items()):
            addresses = []
            for subnet in self.networks[network]:
                own = [address for net, _, address in asked if net == network and self._subnet(net, address) is subnet]
                addresses.append(subnet.take(own[0]) if own else subnet.give())
                if subnet.network.version == 6:
                    topology["nodes"][node]["ipv6"] = True
                if number == 0:
                    default = "default" if subnet.network.version == 4 else "::/0"
                    topology["routes"].setdefault(node, {})[default] = subnet.gateway
            mac = self.document.text(one.get("mac_address") or self.services[name].get("mac_address"), ())
            wiring.attach(network, node, f"eth{number}", mac.lower() or None, bridge=True, address=addresses)

    def _gateways(self, network: str) -> Iterator[str]:
        for subnet in self.networks[network]:
            if subnet.network.version == 4:
                yield f"{subnet.gateway}/{subnet.network.prefixlen}"

    def _bind(self, value: Any, at: Keys) -> str | None:
        """`./file:/place`, as the short form has it."""
        if isinstance(value, dict):
            given = {key: self.document.text(value.get(key), at) for key in ("type", "source", "target")}
            return f"{given['source']}:{given['target']}" if given["type"] == "bind" else f"volume:{given['target']}"
        return self._text(self.document.text(value, at))

    def _order(self) -> tuple[str, ...]:
        before: dict[str, set[str]] = {}
        for name, service in self.services.items():
            value, at = service.get("depends_on"), ("services", name, "depends_on")
            listed = list(value) if isinstance(value, dict) else self.document.words(value, at)
            before[name] = {one for one in listed if one in self.services}
        try:
            return tuple(TopologicalSorter(before).static_order())
        except CycleError as error:
            circle = " -> ".join(map(str, error.args[1]))
            raise self.document.wrong(("services",), f"depends_on is a circle: {circle}") from error

    def _text(self, text: str) -> str:
        """With the defaults of ${NAME:-default}: nothing is taken from the environment of whoever imports."""
        return _VARIABLE.sub(lambda found: "$" if found[0] == "$$" else found[2], text)

    def _commands(self, name: str, node: str) -> list[dict[str, Any]]:
        service, at = self.services[name], ("services", name)
        words: list[str] = []
        for key in ("entrypoint", "command"):
            value = service.get(key)
            if isinstance(value, list):
                words += [self._text(word) for word in self.document.words(value, (*at, key))]
            elif value is not None:
                try:
                    words += shlex.split(self._text(self.document.text(value, (*at, key))))
                except ValueError as error:
                    raise self.document.wrong((*at, key), f"not words for a command: {error}") from error
        if not words:
            image = image_of(self.document.text(service.get("image"), at), self.options)
            start = image.start if image is not None else None
            return [{"id": f"image-{node}"[:63], "in": node, "run": start}] if start else []
        if words in _ALIVE_ALONE:
            return []
        of_shell = len(words) == 3 and words[0].rpartition("/")[2] in ("bash", "sh") and words[1] in ("-c", "-lc")
        line = without_systemd(" ".join((words[2] if of_shell else shlex.join(words)).split()))
        rest = _KEEPS_ALIVE.sub("", line).strip()
        if rest != line:
            return [{"id": f"command-{node}"[:63], "in": node, "run": rest}] if rest else []
        return [{"id": f"command-{node}"[:63], "in": node, "start": line if of_shell else words}]

    def _left_out(self) -> None:
        told: dict[str, list[str]] = {}
        for name, service in self.services.items():
            for key in service:
                if key in _LEFT_OUT:
                    told.setdefault(f"{key}: {_LEFT_OUT[key]}", []).append(name)
                elif key not in _PASSED_OVER and not key.startswith("x-"):
                    told.setdefault(f"{key}: not an option that we know", []).append(name)
            mode = service.get("network_mode")
            if mode not in (None, "host", "bridge"):
                told.setdefault(f"network_mode: {mode} is not mapped; it has no network", []).append(name)
        for what, names in told.items():
            key, _, why = what.partition(": ")
            self.remarks.append(Remark("left out", f"{key} of {', '.join(names)}", why))


def _lines(steps: Sequence[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        command = step.get("run") or step.get("start")
        if command:
            yield command if isinstance(command, str) else shlex.join(command)
