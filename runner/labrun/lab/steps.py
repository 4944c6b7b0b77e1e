"""The steps of a lab as its author writes them: one verb a step. Each verb knows the action that it stands for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from labrun.lab.base import (
    IP,
    Duration,
    Env,
    Flag,
    Int,
    Interface,
    Interfaces,
    Mac,
    Mtu,
    Network,
    Nodes,
    OneOrMore,
    Port,
    Prefix,
    Regex,
    Scalar,
    Slug,
    Strict,
    Text,
    ValueName,
    as_text,
    fail,
)  # fmt: skip
from labrun.protocol import actions
from labrun.protocol.actions import SNAPSHOT_PARTS, SnapshotPart


def _command(value: object) -> object:
    if isinstance(value, list | tuple):
        value = tuple(as_text(word) for word in value)
    words = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(word, str) for word in words):
        raise fail("command", "a command is a shell line, or a list of words")
    if any("\0" in word for word in words if isinstance(word, str)):
        raise fail("command", "a command cannot have a NUL character in it")
    return value


Exits = Annotated[
    tuple[Annotated[Int, Field(ge=0, le=255)], ...],
    Field(min_length=1),
    BeforeValidator(
        lambda value: [value] if isinstance(value, int) else value, json_schema_input_type=int | tuple[int, ...]
    ),
]
Command = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_command, json_schema_input_type=str | tuple[Scalar, ...]),
]


def argv(command: Command) -> tuple[str, ...]:
    """A string is a shell line, by design: labs show what a person would type. A list is run as it is."""
    return ("bash", "-c", command) if isinstance(command, str) else tuple(command)


def _exactly_one(model: Strict, names: tuple[str, ...], what: str) -> str:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        listed = ", ".join(names)
        found = "none is given" if not given else "given: " + ", ".join(given)
        raise fail("exactly_one", f"{what} needs exactly one of {listed}; {found}")
    return given[0]


class ReadyModel(Strict):
    """When a started process is ready: its port listens, its output matches, or a command succeeds."""

    port: Port | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    output: Regex | None = None
    succeeds: Command | None = None

    @model_validator(mode="after")
    def _one(self) -> ReadyModel:
        _exactly_one(self, ("port", "output", "succeeds"), "ready")
        return self


class StopModel(Strict):
    step: Slug
    signal: Literal["TERM", "INT", "KILL", "HUP", "USR1", "USR2"] = "TERM"


class CaptureModel(Strict):
    """``on``: interface names of the node, or any. ``promiscuous``: named interfaces also take in frames for others.

    That is not the default, as it changes what is looked at: a bridge then hands each frame to its own machine, too.
    """

    on: Interfaces
    filter: str | None = None
    snaplen: Annotated[Int, Field(ge=64, le=262144)] = 262144
    promiscuous: Flag = False

    @model_validator(mode="after")
    def _named(self) -> CaptureModel:
        if self.promiscuous and "any" in self.on:
            raise fail("promiscuous", "promiscuous is for named interfaces; `any` leaves them as they are")
        return self


class NamespaceModel(Strict):
    add: Slug | None = None
    delete: Slug | None = None

    @model_validator(mode="after")
    def _one(self) -> NamespaceModel:
        _exactly_one(self, ("add", "delete"), "namespace")
        return self


class PeerModel(Strict):
    name: Interface
    node: Slug | None = None
    mac: Mac | None = None
    mtu: Mtu | None = None


class LinkModel(Strict):
    """ip link add|set|delete. ``offloads: off``: no super-packets and no checksums left to the device (ethtool -K)."""

    add: Interface | None = None
    set: Interface | None = None
    delete: Interface | None = None
    type: Literal["veth", "bridge", "dummy", "vxlan", "macvlan", "ipvlan", "vlan", "vrf", "tun", "tap", "bond",
                  "wireguard"] | None = None  # fmt: skip
    peer: PeerModel | None = None
    up: Flag | None = None
    mtu: Mtu | None = None
    mac: Mac | None = None
    master: Interface | Literal[""] | None = None
    link: Interface | None = None
    rename: Interface | None = None
    move_to: Slug | None = None
    arp: Flag | None = None
    promisc: Flag | None = None
    vni: Annotated[Int, Field(ge=0, lt=1 << 24)] | None = None
    remote: IP | None = None
    local: IP | None = None
    port: Port | None = None
    vlan: Annotated[Int, Field(ge=1, le=4094)] | None = None
    mode: str | None = None
    txqueuelen: Annotated[Int, Field(ge=0)] | None = None
    offloads: Literal["on", "off"] | None = None

    @model_validator(mode="after")
    def _one(self) -> LinkModel:
        op = _exactly_one(self, ("add", "set", "delete"), "link")
        if op == "add" and self.type is None:
            raise fail("link", "link add needs a type (veth, bridge, vxlan, macvlan, ...)")
        if op != "add" and self.type is not None:
            raise fail("link", f"link {op} takes no type")
        if op != "set" and self.offloads is not None:
            raise fail("link", f"link {op} takes no offloads; set them when the link is there")
        if self.type == "veth" and self.peer is None:
            raise fail("link", "a veth pair needs its peer: {name: ..., node: ...}")
        if op == "set" and not self.model_dump(exclude={"set"}, exclude_none=True):
            raise fail("link", "link set changes nothing: give up, mtu, mac, master, rename, move_to, ...")
        return self


class AddressModel(Strict):
    """ip address add|replace|delete."""

    add: Prefix | None = None
    replace: Prefix | None = None
    delete: Prefix | None = None
    dev: Interface
    peer: IP | None = None
    broadcast: IP | None = None
    scope: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> AddressModel:
        _exactly_one(self, ("add", "replace", "delete"), "address")
        return self


class RouteModel(Strict):
    """ip route add|replace|delete."""

    add: Network | None = None
    replace: Network | None = None
    delete: Network | None = None
    via: IP | None = None
    dev: Interface | None = None
    table: Text | None = None
    type: Literal["unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit", "throw"] | None = None
    src: IP | None = None
    scope: Text | None = None
    metric: Int | None = None
    mtu: Mtu | None = None
    onlink: Flag | None = None

    @model_validator(mode="after")
    def _one(self) -> RouteModel:
        _exactly_one(self, ("add", "replace", "delete"), "route")
        return self


class RuleFields(Strict):
    priority: Int | None = None
    source: Network | None = Field(default=None, alias="from")
    to: Network | None = None
    iif: Interface | None = None
    oif: Interface | None = None
    fwmark: Int | None = None
    table: Text | None = None
    action: Literal["blackhole", "unreachable", "prohibit"] | None = None
    family: Literal["inet", "inet6"] | None = None


class RuleModel(Strict):
    """ip rule add|delete."""

    add: RuleFields | None = None
    delete: RuleFields | None = None

    @model_validator(mode="after")
    def _one(self) -> RuleModel:
        op = _exactly_one(self, ("add", "delete"), "rule")
        if not getattr(self, op).model_dump(exclude_none=True):
            raise fail("rule", f"rule {op} says nothing: give from, to, table, priority, ...")
        return self


class NeighbourModel(Strict):
    """ip neigh add|replace|delete."""

    add: IP | None = None
    replace: IP | None = None
    delete: IP | None = None
    dev: Interface
    lladdr: Mac | None = None
    state: Literal["permanent", "reachable", "stale", "noarp", "delay", "probe", "failed"] | None = None

    @model_validator(mode="after")
    def _one(self) -> NeighbourModel:
        op = _exactly_one(self, ("add", "replace", "delete"), "neighbour")
        if op != "delete" and self.lladdr is None:
            raise fail("neighbour", f"neighbour {op} needs lladdr, the MAC address")
        return self


class SendModel(Strict):
    """A packet that a scapy expression builds, as a frame on ``dev`` or by the node's routes."""

    packet: str
    dev: Interface | None = None
    count: Annotated[Int, Field(ge=1, le=1_000_000)] = 1


class SnapshotModel(Strict):
    nodes: Nodes | None = None
    parts: Annotated[tuple[SnapshotPart, ...], Field(min_length=1)] = SNAPSHOT_PARTS


class LookupModel(Strict):
    """Which route would a packet take? The kernel's answer, as `ip route get` asks for it; nothing is sent.

    Its ``table`` is main for local routes too, as long as no rule was added: until then the kernel keeps both tables in
    one trie (``fib_new_table()`` in net/ipv4/fib_frontend.c). Ask for the ``type``, which is local.
    """

    to: IP
    source: IP | None = Field(default=None, alias="from")
    iif: Interface | None = None
    oif: Interface | None = None
    mark: Int | None = None


class TraceModel(Strict):
    """Follow packets through the netfilter hooks of the node. ``match``: in nft's language, such as ``ip ttl 3``.

    ``devices``: their hooks ingress and egress, too. One trace in a node at a time.
    """

    match: str | None = None
    devices: Annotated[tuple[Interface, ...], OneOrMore] = ()
    families: Annotated[tuple[Literal["ip", "ip6"], ...], Field(min_length=1)] = ("ip", "ip6")


class SaveModel(Strict):
    """A value taken from the output: the first group of ``matches``, or all of it without one."""

    stream: Literal["stdout", "stderr"] = Field(default="stdout", alias="from")
    matches: Regex | None = None
    type: Literal["text", "int", "float"] = "text"


class WaitModel(Strict):
    """Exactly one condition; the step's ``timeout`` is its deadline.

    ``addresses: usable``: no IPv6 address of the node is tentative any more. An `address` step does not wait for that.
    """

    port: Port | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    succeeds: Command | None = None
    link_up: Interface | None = None
    addresses: Literal["usable"] | None = None
    packets: Slug | None = None
    output: Slug | None = None
    count: Annotated[Int, Field(ge=1)] = 1
    matches: Regex | None = None
    every: Duration = 0.02

    @model_validator(mode="after")
    def _one(self) -> WaitModel:
        condition = _exactly_one(self, ("port", "succeeds", "link_up", "addresses", "packets", "output"), "wait")
        if (condition == "output") != (self.matches is not None):
            raise fail("wait", "output and matches go together: {output: STEP, matches: REGEX}")
        return self


def _as_mapping(key: str, model: type[Strict]) -> Any:
    """A plain string stands for {key: string}: `stop: server`, `namespace: ns1`, `send: IP()/ICMP()`."""

    def shorten(value: object) -> object:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(shorten, json_schema_input_type=str | model)


def _snapshot(value: object) -> object:
    if value == "all" or value is None:
        return {}
    return {"nodes": value} if isinstance(value, str | list) else value


_SNAPSHOT: Any = BeforeValidator(_snapshot, json_schema_input_type=str | tuple[Slug, ...] | SnapshotModel)

VERBS = (
    "run", "start", "stop", "capture", "namespace", "link", "address", "route", "rule", "neighbour", "sysctl",
    "nft", "send", "snapshot", "lookup", "trace", "wait",
)  # fmt: skip
# Verbs that do not happen in one node.
NODELESS = ("stop", "namespace", "snapshot")


class StepModel(Strict):
    """One step: a verb, and what goes with it."""

    id: Slug | None = None
    node: Slug | None = Field(default=None, alias="in")
    note: str | None = None
    timeout: Duration = 10.0
    may_fail: Flag = False
    exit: Exits | None = None
    stdin: str | None = None
    ready: ReadyModel | None = None
    save: dict[ValueName, SaveModel] | None = None
    env: Env | None = None

    run: Command | None = None
    start: Command | None = None
    stop: Annotated[StopModel, _as_mapping("step", StopModel)] | None = None
    capture: CaptureModel | None = None
    namespace: Annotated[NamespaceModel, _as_mapping("add", NamespaceModel)] | None = None
    link: LinkModel | None = None
    address: AddressModel | None = None
    route: RouteModel | None = None
    rule: RuleModel | None = None
    neighbour: NeighbourModel | None = None
    sysctl: dict[str, Text] | None = None
    nft: str | None = None
    send: Annotated[SendModel, _as_mapping("packet", SendModel)] | None = None
    snapshot: Annotated[SnapshotModel, _SNAPSHOT] | None = None
    lookup: Annotated[LookupModel, _as_mapping("to", LookupModel)] | None = None
    trace: Annotated[TraceModel, _as_mapping("match", TraceModel)] | None = None
    wait: WaitModel | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_verb(cls, data: Any) -> Any:
        # `snapshot:` with nothing behind it reads naturally and means all nodes; `trace:` means all packets.
        if isinstance(data, dict):
            return {key: {} if key in ("snapshot", "trace") and value is None else value for key, value in data.items()}
        return data

    @model_validator(mode="after")
    def _one_verb(self) -> StepModel:
        verb = _exactly_one(self, VERBS, "a step")
        if verb in ("run", "start") and not getattr(self, verb):
            raise fail("empty", f"{verb}: the command is empty")
        if self.ready is not None and verb != "start":
            raise fail("ready", "ready goes with start")
        if self.stdin is not None and verb not in ("run", "start"):
            raise fail("stdin", "stdin goes with run or start")
        if self.env is not None and verb not in ("run", "start") and not (self.wait and self.wait.succeeds):
            raise fail("env", "env goes with run, start or wait: {succeeds: ...}")
        if self.save is not None and verb != "run":
            raise fail("save", "save goes with run")
        if self.exit is not None and verb not in ("run", "start"):
            raise fail("exit", "exit goes with run or start: the exit status that is meant")
        if self.exit is not None and self.may_fail:
            raise fail("exit", "exit names the statuses that are meant, may_fail allows for any: give one of them")
        if self.node is not None and verb in NODELESS:
            raise fail("in", f"{verb} does not happen in one node: leave `in` out")
        if verb == "sysctl" and not self.sysctl:
            raise fail("empty", "sysctl: nothing is set")
        return self

    @property
    def verb(self) -> str:
        return next(verb for verb in VERBS if getattr(self, verb) is not None)


def action_of(step: StepModel, all_nodes: tuple[str, ...]) -> actions.Action:
    """The action that a step stands for. ``all_nodes``: those that exist when the step runs, for snapshots."""
    action: actions.Action = _ACTIONS[step.verb](step, getattr(step, step.verb), all_nodes)
    return action


def _op(model: Any, *ops: str) -> tuple[Any, Any]:
    op = next(op for op in ops if getattr(model, op) is not None)
    return op, getattr(model, op)


def _run(step: StepModel, command: Command, _: tuple[str, ...]) -> actions.Action:
    return actions.Run(argv(command), step.stdin)


def _start(step: StepModel, command: Command, _: tuple[str, ...]) -> actions.Action:
    ready = step.ready
    asked = argv(ready.succeeds) if ready and ready.succeeds is not None else None
    when = actions.Ready(ready.port, ready.protocol, ready.output, asked) if ready else None
    return actions.Start(argv(command), when, step.stdin)


def _link(_: StepModel, model: LinkModel, __: tuple[str, ...]) -> actions.Action:
    op, name = _op(model, "add", "set", "delete")
    rest = model.model_dump(exclude={"add", "set", "delete", "peer"})
    peer = actions.Peer(**model.peer.model_dump()) if model.peer else None
    return actions.Link(op, name, peer=peer, **rest)


def _address(_: StepModel, model: AddressModel, __: tuple[str, ...]) -> actions.Action:
    op, address = _op(model, "add", "replace", "delete")
    return actions.Address(op, address, **model.model_dump(exclude={"add", "replace", "delete"}))


def _route(_: StepModel, model: RouteModel, __: tuple[str, ...]) -> actions.Action:
    op, to = _op(model, "add", "replace", "delete")
    return actions.Route(op, to, **model.model_dump(exclude={"add", "replace", "delete"}))


def _rule(_: StepModel, model: RuleModel, __: tuple[str, ...]) -> actions.Action:
    op, fields = _op(model, "add", "delete")
    return actions.Rule(op, **fields.model_dump())


def _neighbour(_: StepModel, model: NeighbourModel, __: tuple[str, ...]) -> actions.Action:
    op, to = _op(model, "add", "replace", "delete")
    return actions.Neighbour(op, to, **model.model_dump(exclude={"add", "replace", "delete"}))


def _namespace(_: StepModel, model: NamespaceModel, __: tuple[str, ...]) -> actions.Action:
    op, name = _op(model, "add", "delete")
    return actions.Namespace(op, name)


def _wait(_: StepModel, model: WaitModel, __: tuple[str, ...]) -> actions.Action:
    fields = model.model_dump(exclude={"every", "succeeds", "addresses"})
    succeeds = argv(model.succeeds) if model.succeeds is not None else None
    addresses = True if model.addresses is not None else None
    return actions.Wait(succeeds=succeeds, addresses=addresses, every_s=model.every, **fields)


_ACTIONS: dict[str, Any] = {
    "run": _run,
    "start": _start,
    "stop": lambda _, model, __: actions.Stop(model.step, model.signal),
    "capture": lambda _, model, __: actions.Capture(model.on, model.filter, model.snaplen, model.promiscuous),
    "namespace": _namespace,
    "link": _link,
    "address": _address,
    "route": _route,
    "rule": _rule,
    "neighbour": _neighbour,
    "sysctl": lambda _, settings, __: actions.Sysctl(tuple(settings.items())),
    "nft": lambda _, ruleset, __: actions.Nft(ruleset),
    "send": lambda _, model, __: actions.Send(model.packet, model.dev, model.count),
    "snapshot": lambda _, model, nodes: actions.Snapshot(model.nodes or nodes, model.parts),
    "lookup": lambda _, model, __: actions.Lookup(model.to, model.source, model.iif, model.oif, model.mark),
    "trace": lambda _, model, __: actions.Trace(model.match, model.families, model.devices),
    "wait": _wait,
}
