"""containerlab's topologies (`*.clab.yml`): nodes of the kinds linux, bridge and host, and their links.

What defaults, kinds, groups and the node itself say is merged as containerlab does: lists and tables are joined, of the
rest the node's own goes before its group's, its kind's and the defaults. Routers of vendors need their images: a lab
with one is refused, for without it it would be another lab.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from typing import Any

from labrun.importers.base import Folder, Imported, Names, Options, Remark, slug
from labrun.importers.binds import bound_files
from labrun.importers.foreign_yaml import Document
from labrun.importers.images import add_packages, image_of, image_remarks, packages_of_scripts
from labrun.importers.segments import Wiring
from labrun.lab.text import Keys
from labrun.protocol.plan import LabFile

STEP_S = 60
MTU = 9500  # containerlab's default for a link
MAX_NODES = 500
_FILES = (".clab.yml", ".clab.yaml")
_BRIDGES = ("bridge", "ovs-bridge")
_KINDS = ("linux", *_BRIDGES, "host")
_HOST = "host"
_LISTS = ("exec", "binds")
_TABLES = ("env", "sysctls")
_PLAIN = re.compile(r"[\w ./:@,+=%-]+")
_VARIABLE = re.compile(r"\$\{(\w+):?[=-]([^}]*)\}")
_LEFT_OUT = {
    "ports": "the sandbox has no way in from the host",
    "cmd": "there are no containers; make it a `start` step where something waits for it",
    "entrypoint": "there are no containers; make it a `start` step where something waits for it",
    "env-files": "give `env`",
    "user": "commands are root's",
    "network-mode": "a node has its own network",
    "startup-config": "for routers of vendors",
    "startup-delay": "nodes are there before the first step",
    "dns": "the sandbox has no resolver",
    "stages": "steps happen one after the other, in the order of the file",
    "healthcheck": "give a `wait` step",
}
# What says nothing of the network, or how it is shown or bounded.
_PASSED_OVER = frozenset((
    "kind", "group", "image", "image-pull-policy", "labels", "position", "type", "mgmt-ipv4", "mgmt-ipv6", "cpu",
    "cpu-set",
    "memory", "cap-add", "privileged", "restart-policy", "runtime", "auto-remove", "extras", "certificate", "hostname",
    "license", "config", "shm-size", "devices", "volumes", *_LISTS, *_TABLES,
))  # fmt: skip


class Containerlab:
    title = "containerlab topologies (*.clab.yml) of linux nodes, bridges and the host"

    def recognises(self, names: Sequence[str]) -> bool:
        return any(name.endswith(_FILES) for name in names)

    def read(self, folder: Folder, options: Options) -> tuple[Imported, ...]:
        paths = [folder.chosen] if folder.chosen else [path for path in folder.top() if path.endswith(_FILES)]
        if not paths:
            raise folder.wrong("", 0, "no *.clab.yml in this folder")
        return tuple(_Reading(folder, path, options).lab() for path in paths)


IMPORTER = Containerlab()


class _Reading:
    """One topology file."""

    def __init__(self, folder: Folder, path: str, options: Options) -> None:
        self.folder, self.path, self.options = folder, path, options
        self.document = Document(folder, path)
        self.top = self.document.mapping(self.document.value, ())
        self.topology = self.document.mapping(self.top.get("topology"), ("topology",))
        self.remarks: list[Remark] = []
        self.names = Names()

    def lab(self) -> Imported:
        document = self.document
        given = document.mapping(self.topology.get("nodes"), ("topology", "nodes"))
        if not given:
            raise document.wrong(("topology",), "it has no nodes")
        if len(given) > MAX_NODES:
            raise document.wrong(("topology", "nodes"), f"more than {MAX_NODES} nodes")
        nodes = {name: self._node(name, value) for name, value in given.items()}
        bridges = {name for name, node in nodes.items() if node["kind"] in _BRIDGES}
        hosts = {name for name, node in nodes.items() if node["kind"] == _HOST}
        links = document.items(self.topology.get("links"), ("topology", "links"))
        ends = [self._ends(link, ("topology", "links", number)) for number, link in enumerate(links)]
        every = [node for pair in ends for node, *_ in pair]
        if _HOST in every or hosts:
            hosts.add(_HOST)
            self.remarks.append(
                Remark("changed", _HOST, "is a node of its own, and not the machine that labrun runs on")
            )
        plain = {name: self.names[name] for name in nodes if name not in bridges | hosts}
        for name, node in plain.items():
            if name != node:
                self.remarks.append(Remark("changed", f"node {name}", f"is node {node}: names are in small letters"))
        host = self.names[_HOST] if hosts else None
        wiring = Wiring([*plain.values(), *([host] if host else [])])
        dummies: list[tuple[str, str]] = []
        for number, pair in enumerate(ends):
            self._attach(wiring, pair, plain, bridges, hosts, host, dummies, number)
        topology: dict[str, Any] = {"nodes": {node: _model(nodes[name]) for name, node in plain.items()}}
        if host:
            topology["nodes"][host] = None
        files: dict[str, LabFile] = {}
        for name, node in plain.items():
            files |= dict(bound_files(self.folder, nodes[name]["binds"], topology["nodes"][node], self.remarks))
        sysctls = {plain[name]: nodes[name]["sysctls"] for name in plain if nodes[name]["sysctls"]}
        if sysctls:
            topology["sysctls"] = sysctls
        self.remarks += wiring.into(topology)
        steps = [{"id": f"dummy-{n}", "in": node, "link": {"add": i, "type": "dummy", "up": True}}
                 for n, (node, i) in enumerate(dummies, start=1)]  # fmt: skip
        images = {name: self._text(nodes[name].get("image"), ()) for name in plain}
        starts = {name: image.start for name in plain if (image := image_of(images[name], self.options)) is not None}
        steps += [{"id": f"image-{plain[name]}"[:63], "in": plain[name], "run": start}
                  for name, start in starts.items() if start is not None]  # fmt: skip
        steps += [step for name, node in plain.items() for step in _execs(node, nodes[name]["exec"])]
        self._left_out(nodes, plain)
        packages, told = image_remarks(images, self.options)
        self.remarks += told
        packages |= packages_of_scripts(line for name in plain for line in nodes[name]["exec"])
        title = document.text(self.top.get("name"), ("name",)) or posixpath.basename(self.path).partition(".")[0]
        steps.append({"id": "state", "snapshot": "all", "note": "What the nodes have when all commands have run."})
        lab = {
            "title": title,
            "question": f"What happens in the containerlab topology {title}?",
            "tags": ["imported", "containerlab"],
            "timeout": min(120 + 20 * len(plain), 3600),
            "defaults": {"links": {"mtu": MTU}, "steps": {"may_fail": True, "timeout": STEP_S}},
            "topology": topology,
            "steps": steps,
        }
        add_packages(lab, packages, self.remarks)
        self.remarks.append(Remark("mapped", "links", f"with containerlab's MTU of {MTU} bytes where they say none"))
        return Imported(slug(title), lab, tuple(files.items()), tuple(self.remarks))

    def _node(self, name: str, value: Any) -> dict[str, Any]:
        """A node with all that its group, its kind and the defaults say of it."""
        document, at = self.document, ("topology", "nodes", name)
        own = document.mapping(value, at)
        defaults = self._section("defaults", None)
        group = self._section("groups", own.get("group"))
        kind = self._text(own.get("kind") or group.get("kind") or defaults.get("kind"), (*at, "kind"))
        of_kind = self._section("kinds", kind)
        group = group or self._section("groups", of_kind.get("group") or defaults.get("group"))
        if kind not in _KINDS:
            text = f"kind '{kind}': labrun runs the kinds {', '.join(_KINDS)}; others need their vendors' images"
            raise document.wrong(at, text if kind else "it has no kind")
        layers = (defaults, of_kind, group, own)
        node: dict[str, Any] = {key: layer[key] for layer in layers for key in layer}
        node |= {key: [text for layer in layers for text in document.words(layer.get(key), at)] for key in _LISTS}
        for key in _TABLES:
            table = {name: text for layer in layers for name, text in document.table(layer.get(key), at).items()}
            node[key] = {name: self._text(text, at) for name, text in table.items()}
        node["exec"] = [self._text(line, (*at, "exec")) for line in node["exec"]]
        return {**node, "kind": kind}

    def _section(self, key: str, name: Any) -> dict[str, Any]:
        at: Keys = ("topology", key)
        section = self.document.mapping(self.topology.get(key), at)
        if key == "defaults":
            return section
        return self.document.mapping(section.get(str(name)), (*at, str(name))) if name is not None else {}

    def _text(self, value: Any, at: Keys) -> str:
        """With the defaults of ${NAME:=default}: nothing is taken from the environment of whoever imports."""
        return _VARIABLE.sub(lambda found: found[2], self.document.text(value, at))

    def _ends(self, link: Any, at: Keys) -> list[tuple[str, str, dict[str, Any]]]:
        """(node, interface, settings) of each end; the second node is "" where the link has one end."""
        document = self.document
        link = document.mapping(link, at)
        kind = document.text(link.get("type"), at) or "veth"
        mtu = link.get("mtu")
        shared = {"mtu": mtu} if isinstance(mtu, int) and not isinstance(mtu, bool) else {}
        if kind in ("veth", "veth-stitch"):
            given = document.items(link.get("endpoints"), (*at, "endpoints"))
            if len(given) != 2:
                raise document.wrong(at, "a link has two endpoints")
            return [self._end(end, (*at, "endpoints", number), shared) for number, end in enumerate(given)]
        end = self._end(link.get("endpoint"), (*at, "endpoint"), shared)
        if kind == "host":
            return [end, (_HOST, document.text(link.get("host-interface"), at), {})]
        if kind == "dummy":
            return [end]
        self.remarks.append(Remark("left out", f"link {kind} of {end[0]}:{end[1]}", "it leads out of the sandbox"))
        return []

    def _end(self, value: Any, at: Keys, shared: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
        document = self.document
        if isinstance(value, str):
            node, sign, interface = value.partition(":")
            if not sign or not node or not interface:
                raise document.wrong(at, f"not NODE:INTERFACE: {value[:80]!r}")
            return node, interface, dict(shared)
        given = document.mapping(value, at)
        node, interface = document.text(given.get("node"), at), document.text(given.get("interface"), at)
        if not node or not interface:
            raise document.wrong(at, "an endpoint has a node and an interface")
        addresses = [document.text(given[key], (*at, key)) for key in ("ipv4", "ipv6") if given.get(key)]
        mac = document.text(given.get("mac"), at)
        settings = {**({"mac": mac.lower()} if mac else {}), **({"address": addresses} if addresses else {})}
        return node, interface, {**shared, **settings}

    def _attach(
        self, wiring: Wiring, pair: list[tuple[str, str, dict[str, Any]]], plain: dict[str, str], bridges: set[str],
        hosts: set[str], host: str | None, dummies: list[tuple[str, str]], number: int,
    ) -> None:  # fmt: skip
        at: Keys = ("topology", "links", number)
        on = {node for node, *_ in pair if node in bridges}
        if len(on) == 2 or (len(pair) == 2 and all(node in bridges for node, *_ in pair)):
            raise self.document.wrong(at, "a link between two bridges: give them a node that is a bridge")
        segment = next(iter(on), None)
        for node, interface, settings in pair:
            if node in bridges:
                continue
            if node in hosts:
                where: str | None = host
            else:
                where = plain.get(node)
            if where is None:
                raise self.document.wrong(at, f"no node is named '{node[:60]}'")
            if len(interface.encode()) > 15 or re.search(r"[/:\s]", interface):
                raise self.document.wrong(at, f"not an interface name: {interface[:60]!r}")
            if len(pair) == 1:
                dummies.append((where, interface))
            elif segment is not None:
                wiring.attach(segment, where, interface, bridge=True, **settings)
            else:
                wiring.attach(f"link-{number}", where, interface, **settings)

    def _left_out(self, nodes: dict[str, dict[str, Any]], plain: dict[str, str]) -> None:
        told: dict[str, list[str]] = {}
        for name in plain:
            node = nodes[name]
            for key in node:
                if key in _LEFT_OUT:
                    told.setdefault(f"{key}: {_LEFT_OUT[key]}", []).append(name)
                elif key not in _PASSED_OVER:
                    told.setdefault(f"{key}: not an option that we know", []).append(name)
        for what, names in told.items():
            key, _, why = what.partition(": ")
            self.remarks.append(Remark("left out", f"{key} of {', '.join(names)}", why))
        self.remarks.append(Remark("left out", "the management network", "nodes have no eth0 to the machine"))


def _model(node: dict[str, Any]) -> dict[str, Any]:
    return {"machine": True, "ipv6": True, **({"env": node["env"]} if node["env"] else {})}


def _execs(node: str, lines: Sequence[str]) -> list[dict[str, Any]]:
    """containerlab splits a line into words and runs them, without a shell."""
    steps = []
    for number, line in enumerate(lines, start=1):
        try:
            words = shlex.split(line)
        except ValueError:
            words = ["bash", "-c", line]
        if words:
            run: Any = line if _PLAIN.fullmatch(line) else words
            steps.append({"id": f"{node}-{number}"[:63], "in": node, "run": run})
    return steps
