"""The declared network of a lab, and the steps that make it. All MACs are fixed, so that runs compare."""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from labrun.lab.base import IP, Duration, Env, Flag, Int, Interface, Mac, Mtu, Network, Prefix, Slug, Strict, Text, fail
from labrun.lab.files import NO_FILES, LabFiles
from labrun.lab.steps import Command, Exits, ReadyModel
from labrun.protocol import actions
from labrun.protocol.plan import Step

_NOT_THERE = ("proc", "sys", "dev", "lab")
_PER_INTERFACE = re.compile(r"net\.ipv[46]\.(?:conf|neigh)\.(.+)\.[^.]+")


def _from(value: object) -> object:
    return {"from": value} if isinstance(value, str) else value


def _addresses(value: object) -> object:
    return [value] if isinstance(value, str) else value


Addresses = Annotated[tuple[Prefix, ...], BeforeValidator(_addresses, json_schema_input_type=str | tuple[str, ...])]


class PutModel(Strict):
    """A file of a node: ``from`` a file or a folder beside the lab's file, or with this ``text``.

    ``mode`` in octal, such as "0640"; ``owner`` as chown has it: user, user:group. Without them a file that is written
    over keeps what it has, and a new one is root's, 0644 or, if it can be executed, 0755.
    """

    source: str | None = Field(default=None, alias="from")
    text: str | None = None
    mode: Annotated[str, Field(pattern="^0?[0-7]{3,4}$")] | None = None
    owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+)?$", min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> PutModel:
        if (self.source is None) == (self.text is None):
            raise fail("put", "a node's file is `from` a file of the lab, or has a `text`")
        return self


def _place(value: str) -> str:
    parts = value.split("/")
    if not value.startswith("/") or ".." in parts or "\0" in value:
        raise fail("place", f"{value[:200]!r} is no place in a node: an absolute path without '..'")
    if parts[1] in _NOT_THERE:
        raise fail("place", f"a node's /{parts[1]} is not for files; /run, /tmp and what is in the root are")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


NodePlace = Annotated[str, AfterValidator(_place)]
NodeFile = Annotated[PutModel, BeforeValidator(_from, json_schema_input_type=str | PutModel)]


class ServiceModel(Strict):
    """A daemon of a node: a command that stays in the foreground, started before the first step.

    It is a `start` step with the id NODE-SERVICE. Services start in the order in which they are written, each when the
    one before it is ready, and end in the opposite order; what they print is evidence.
    """

    run: Command
    ready: ReadyModel | None = None
    timeout: Duration = 10.0
    env: Env = {}
    may_fail: Flag = False
    exit: Exits | None = None
    note: str | None = None


class NodeModel(Strict):
    """A node: a network namespace with lo up. ``ipv6: false`` (the default) keeps its chatter out of captures.

    ``machine: true``: with a root file system, mounts, processes, host name, /etc/hosts, /run and /tmp of its own, as
    has a node with ``files``, with ``services``, or with a folder of its name beside the lab's file, which is copied
    over its root. What it does to its files no other node sees. ``files``: place in the node -> file of the lab.

    ``offloads: off``: that of all its links and bridges, and of lo. (What lo never does is to fill in a checksum.)
    """

    ipv6: Flag = False
    lo: Flag = True
    env: Env = {}
    machine: Flag | None = None
    files: dict[NodePlace, NodeFile] = {}
    services: dict[Slug, ServiceModel] = {}
    offloads: Literal["off"] | None = None


class EndModel(Strict):
    """One end of a link: its addresses, its MAC (else derived from its name), whether it is up."""

    address: Addresses = ()
    mac: Mac | None = None
    up: Flag = True


class BridgeModel(Strict):
    """A bridge in a node, with its addresses and the interfaces of the node that are its ports."""

    address: Addresses = ()
    ports: tuple[Interface, ...] = ()
    mac: Mac | None = None
    mtu: Mtu | None = None
    up: Flag = True


class LinkModel(Strict):
    """A veth pair between two ends, each written node.interface.

    ``offloads: off``: every packet crosses it as on a wire, no larger than the MTU and with its checksums filled in.
    """

    ends: dict[str, EndModel]
    mtu: Mtu | None = None
    offloads: Literal["on", "off"] | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As it is written: two keys with a dot in them, and what the ends share."""
        schema = handler.resolve_ref_schema(handler(core))
        end = schema["properties"].pop("ends")["additionalProperties"]
        listed = {"type": "array", "items": {"type": "string"}}
        schema["patternProperties"] = {r"\.": {"anyOf": [{"type": "string"}, listed, {"type": "null"}, end]}}
        schema.pop("required", None)
        return schema

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "ends" in data:
            return data
        ends: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in data.items():
            if "." not in str(key):
                rest[key] = value
            elif value is None:
                ends[key] = {}
            else:
                ends[key] = {"address": value} if isinstance(value, str | list) else value
        if len(ends) != 2:
            raise fail("link", f"a link has two ends, written node.interface; {len(ends)} given")
        return {**rest, "ends": ends}


class RouteTo(Strict):
    via: IP | None = None
    dev: Interface | None = None
    metric: Int | None = None
    src: IP | None = None
    table: Text | None = None
    mtu: Mtu | None = None


def _or_empty(value: object) -> object:
    return {} if value is None else value


def _via(value: object) -> object:
    return {"via": value} if isinstance(value, str) else value


_Route = Annotated[RouteTo, BeforeValidator(_via, json_schema_input_type=str | RouteTo)]
_Node = Annotated[NodeModel, BeforeValidator(_or_empty, json_schema_input_type=NodeModel | None)]
_Bridge = Annotated[BridgeModel, BeforeValidator(_or_empty, json_schema_input_type=BridgeModel | None)]


class TopologyModel(Strict):
    """Nodes, bridges, links, routes and kernel settings that are there before the first step."""

    nodes: dict[Slug, _Node] = {}
    bridges: dict[str, _Bridge] = {}
    links: tuple[LinkModel, ...] = ()
    routes: dict[Slug, dict[Network, _Route]] = {}
    sysctls: dict[Slug, dict[str, Text]] = {}

    def interfaces(self) -> dict[str, set[str]]:
        """Node name -> the interfaces that the topology gives it, lo included."""
        found: dict[str, set[str]] = {node: {"lo"} for node in self.nodes}
        for name in [*self.bridges, *(end for link in self.links for end in link.ends)]:
            node, _, interface = name.partition(".")
            found.setdefault(node, set()).add(interface)
        return found


def fixed_mac(node: str, interface: str) -> str:
    """A locally administered unicast MAC (02:...) that follows from the names alone."""
    digest = hashlib.sha256(f"{node}.{interface}".encode()).digest()
    return "02:" + ":".join(f"{byte:02x}" for byte in digest[:5])


def topology_steps(topology: TopologyModel, files: LabFiles = NO_FILES) -> tuple[Step, ...]:
    """The topology as plain steps, in an order that works: each later one finds what it needs."""
    made: list[tuple[str | None, actions.Action]] = [
        (None, actions.Namespace("add", node, _machine(topology, node, files))) for node in topology.nodes
    ]
    early, late = _sysctls(topology)
    made += early
    made += [
        (node, actions.Link("set", "lo", up=True if model.lo else None, offloads=model.offloads))
        for node, model in topology.nodes.items()
        if model.lo or model.offloads
    ]
    made += [*_bridges(topology), *_links(topology), *late, *_addresses_of(topology), *_routes(topology)]
    return tuple(
        Step(f"topology-{number:03}", action, node, phase="topology")
        for number, (node, action) in enumerate(made, start=1)
    )


def _machine(topology: TopologyModel, node: str, files: LabFiles) -> actions.Machine | None:
    """What a node that is like a machine has; None of others."""
    model = topology.nodes[node]
    folder = files.folder(node)
    if model.machine is False or not (model.machine or model.files or model.services or folder):
        return None
    puts = [actions.Put("/", node)] if folder else []
    for place, put in model.files.items():
        mode = int(put.mode, 8) if put.mode is not None else None
        source = posixpath.normpath(put.source) if put.source is not None else None
        puts.append(actions.Put(place, source, put.text, mode, put.owner))
    ends = [(name, bridge.address) for name, bridge in topology.bridges.items()]
    ends += [(name, end.address) for link in topology.links for name, end in link.ends.items()]
    hosts = dict.fromkeys(
        (address.partition("/")[0], name.partition(".")[0]) for name, addresses in ends for address in addresses
    )
    return actions.Machine(tuple(hosts), tuple(puts))


Made = list[tuple[str | None, actions.Action]]


def _sysctls(topology: TopologyModel) -> tuple[Made, Made]:
    """Settings of one interface must wait until it is there; all others come first, so that new links take them."""
    early: Made = []
    late: Made = []
    for node, model in topology.nodes.items():
        if not model.ipv6:
            off = tuple((f"net.ipv6.conf.{scope}.disable_ipv6", "1") for scope in ("all", "default"))
            early.append((node, actions.Sysctl(off)))
    for node, settings in topology.sysctls.items():
        for key, value in settings.items():
            match = _PER_INTERFACE.fullmatch(key)
            per_interface = match is not None and match[1] not in ("all", "default", "lo")
            (late if per_interface else early).append((node, actions.Sysctl(((key, value),))))
    return early, late


def _bridges(topology: TopologyModel) -> Made:
    made: Made = []
    for name, bridge in topology.bridges.items():
        node, _, interface = name.partition(".")
        mac = bridge.mac or fixed_mac(node, interface)
        link = actions.Link("add", interface, type="bridge", mac=mac, mtu=bridge.mtu, up=bridge.up)
        made.append((node, link))
        if (offloads := _offloads(topology, node)) is not None:
            made.append((node, actions.Link("set", interface, offloads=offloads)))
    return made


def _offloads(topology: TopologyModel, *nodes: str) -> Literal["off"] | None:
    return next((model.offloads for node in nodes if (model := topology.nodes.get(node)) and model.offloads), None)


def _links(topology: TopologyModel) -> Made:
    made: Made = []
    masters = {
        (name.partition(".")[0], port): name.partition(".")[2]
        for name, bridge in topology.bridges.items()
        for port in bridge.ports
    }
    for link in topology.links:
        (name_a, end_a), (name_b, end_b) = link.ends.items()
        node_a, _, if_a = name_a.partition(".")
        node_b, _, if_b = name_b.partition(".")
        peer = actions.Peer(if_b, node_b, end_b.mac or fixed_mac(node_b, if_b), link.mtu)
        mac = end_a.mac or fixed_mac(node_a, if_a)
        made.append((node_a, actions.Link("add", if_a, type="veth", peer=peer, mac=mac, mtu=link.mtu)))
        offloads = link.offloads or _offloads(topology, node_a, node_b)
        for node, interface, end in ((node_a, if_a, end_a), (node_b, if_b, end_b)):
            master = masters.get((node, interface))
            if end.up or master is not None or offloads is not None:
                up = True if end.up else None
                made.append((node, actions.Link("set", interface, up=up, master=master, offloads=offloads)))
    return made


def _addresses_of(topology: TopologyModel) -> Made:
    ends = {name: bridge.address for name, bridge in topology.bridges.items()}
    ends |= {name: end.address for link in topology.links for name, end in link.ends.items()}
    return [
        (name.partition(".")[0], actions.Address("add", address, name.partition(".")[2]))
        for name, addresses in ends.items()
        for address in addresses
    ]


def _routes(topology: TopologyModel) -> Made:
    return [
        (node, actions.Route("add", to, **route.model_dump()))
        for node, routes in topology.routes.items()
        for to, route in routes.items()
    ]
