"""What a step can do: one frozen dataclass an action, in iproute2's and Wireshark's words.

Durations are seconds (``_s``) as floats, sizes are bytes. A field that is None was not given: the kernel decides.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from labrun.protocol.record import dataclass

Op = Literal["add", "replace", "delete"]


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command to its end. Its exit status is an observation, not a failure of the step."""

    KIND: ClassVar[str] = "run"
    argv: tuple[str, ...]
    stdin: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """When a started process counts as ready: a listening port of the node, output that matches a regex, or a command
    that succeeds."""

    port: int | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    output: str | None = None
    succeeds: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process that goes on while later steps run, and wait until it is ready (or has forked, if not said)."""

    KIND: ClassVar[str] = "start"
    argv: tuple[str, ...]
    ready: Ready | None = None
    stdin: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop what an earlier ``start`` or ``capture`` step started."""

    KIND: ClassVar[str] = "stop"
    step: str
    signal: str = "TERM"


@dataclass(frozen=True, slots=True)
class Capture:
    """Capture on interfaces of the node (or ``any``) until stopped or the lab ends. Running when the step returns.

    ``promiscuous``: named interfaces take in frames for other stations, too (IFF_PROMISC). ``live``: packets are handed
    over as they come, and not after each step; no lab has that, `labrun capture` does.
    """

    KIND: ClassVar[str] = "capture"
    interfaces: tuple[str, ...]
    filter: str | None = None
    snaplen: int = 262144
    promiscuous: bool = False
    live: bool | None = None  # None does not change a plan's digest


@dataclass(frozen=True, slots=True)
class Put:
    """A file or a folder of a node: at ``path``, copied from ``source`` of the lab's files, or with ``text`` in it.

    ``owner`` as chown(1) has it, in the node's own names.
    """

    path: str
    source: str | None = None
    text: str | None = None
    mode: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What makes a node like a machine: a root file system, processes and a host name of its own.

    ``hosts``: (address, name) of what its /etc/hosts has; ``files``: put over its root, in this order.
    """

    hosts: tuple[tuple[str, str], ...] = ()
    files: tuple[Put, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    """Make or delete a network namespace, bare as the kernel makes it, also under /run/netns.

    ``machine``: with all else that a machine has of its own, and not under /run/netns.
    """

    KIND: ClassVar[str] = "namespace"
    op: Literal["add", "delete"]
    name: str
    machine: Machine | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a veth pair: its name, and the node where it goes (None: the same node)."""

    name: str
    node: str | None = None
    mac: str | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Add, set or delete an interface. ``link`` is the underlying device (macvlan, vlan, vxlan)."""

    KIND: ClassVar[str] = "link"
    op: Literal["add", "set", "delete"]
    name: str
    type: str | None = None
    peer: Peer | None = None
    up: bool | None = None
    mtu: int | None = None
    mac: str | None = None
    master: str | None = None  # "" releases the link from its master
    link: str | None = None
    rename: str | None = None
    move_to: str | None = None  # a node
    arp: bool | None = None
    promisc: bool | None = None
    vni: int | None = None  # vxlan
    remote: str | None = None  # vxlan
    local: str | None = None  # vxlan
    port: int | None = None  # vxlan, UDP destination port
    vlan: int | None = None  # vlan id
    mode: str | None = None  # macvlan, ipvlan
    txqueuelen: int | None = None
    offloads: Literal["on", "off"] | None = None  # checksums and segmentation by the device; ethtool -K


@dataclass(frozen=True, slots=True)
class Address:
    """Add, replace or delete an address such as 10.0.0.1/24 on an interface."""

    KIND: ClassVar[str] = "address"
    op: Op
    address: str
    dev: str
    peer: str | None = None
    broadcast: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Add, replace or delete a route. ``to`` is a prefix, an address or ``default``."""

    KIND: ClassVar[str] = "route"
    op: Op
    to: str
    via: str | None = None
    dev: str | None = None
    table: str | None = None  # a number, or main, local, default
    type: str | None = None  # unicast, local, blackhole, unreachable, prohibit, throw
    src: str | None = None
    scope: str | None = None
    metric: int | None = None
    mtu: int | None = None
    onlink: bool | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Add or delete a routing rule (ip rule)."""

    KIND: ClassVar[str] = "rule"
    op: Literal["add", "delete"]
    priority: int | None = None
    source: str | None = None  # `from`, a prefix
    to: str | None = None
    iif: str | None = None
    oif: str | None = None
    fwmark: int | None = None
    table: str | None = None
    action: str | None = None  # blackhole, unreachable, prohibit; None: look the table up
    family: Literal["inet", "inet6"] | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Add, replace or delete a neighbour entry (ip neigh)."""

    KIND: ClassVar[str] = "neighbour"
    op: Op
    to: str
    dev: str
    lladdr: str | None = None
    state: str | None = None  # permanent, reachable, stale, noarp; None: permanent


@dataclass(frozen=True, slots=True)
class Sysctl:
    """Write kernel settings of the node, in order: (key with dots, value)."""

    KIND: ClassVar[str] = "sysctl"
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Nft:
    """Load an nftables ruleset, in nft's own language, in one transaction."""

    KIND: ClassVar[str] = "nft"
    ruleset: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send a packet that a scapy expression builds. With ``dev``: as a frame on it; without: by the node's routes."""

    KIND: ClassVar[str] = "send"
    packet: str
    dev: str | None = None
    count: int = 1


SnapshotPart = Literal["links", "addresses", "routes", "rules", "neighbours", "sockets", "nft", "counters"]
ALL_PARTS: tuple[SnapshotPart, ...] = (
    "links", "addresses", "routes", "rules", "neighbours", "sockets", "nft", "counters",
)  # fmt: skip
# Interface counters differ from run to run for no reason of the lab's; they are there for those who ask.
SNAPSHOT_PARTS: tuple[SnapshotPart, ...] = tuple(part for part in ALL_PARTS if part != "counters")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Write down the kernel state of nodes; with ``for_s``, again and again for that long, ``every_s``."""

    KIND: ClassVar[str] = "snapshot"
    nodes: tuple[str, ...]
    parts: tuple[SnapshotPart, ...] = SNAPSHOT_PARTS
    for_s: float | None = None
    every_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ask the kernel which route a packet would take (ip route get). Changes nothing."""

    KIND: ClassVar[str] = "lookup"
    to: str
    source: str | None = None
    iif: str | None = None
    oif: str | None = None
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """Follow packets through the netfilter hooks of the node until stopped. ``match``: in nft's language."""

    KIND: ClassVar[str] = "trace"
    match: str | None = None
    families: tuple[Literal["ip", "ip6"], ...] = ("ip", "ip6")
    devices: tuple[str, ...] = ()  # whose ingress and egress are traced too


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until a condition holds, polled; the step's deadline is the limit. Exactly one condition is given."""

    KIND: ClassVar[str] = "wait"
    port: int | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    succeeds: tuple[str, ...] | None = None  # argv; reads only, it may run many times
    link_up: str | None = None  # operational state up (carrier and all)
    addresses: bool | None = None  # no IPv6 address of a running link is tentative (RFC 4862, 5.4)
    packets: str | None = None  # a capture step of this node has kept at least `count` packets
    output: str | None = None  # a started step's output matches `matches`
    count: int = 1
    matches: str | None = None
    every_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Prompt:
    """Somebody types commands in nodes until they have enough. No lab has it, and no evidence: `labrun shell` does."""

    KIND: ClassVar[str] = "prompt"
    terminal: str = "dumb"  # TERM


Action = (
    Run | Start | Stop | Capture | Namespace | Link | Address | Route | Rule | Neighbour
    | Sysctl | Nft | Send | Snapshot | Lookup | Trace | Wait | Prompt
)  # fmt: skip
