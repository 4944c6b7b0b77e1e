"""What the kernel says about a node: links, addresses, routes, rules, neighbours, sockets, nftables.

The names are iproute2's (`ip -json`) where it has them, and those of the actions where an author already writes
them: ``name`` (ip's ifname), ``type`` (info_kind), ``address`` of an address (local), ``peer`` (address), ``src``
(prefsrc). Values are words where iproute2 prints words. Every sequence is sorted, so that equal states are equal.
Counters, ages and lifetimes are left out, except nftables' counters, which are there to be read.

Only ``VOLATILE`` fields may differ between two runs of the same lab.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from labrun.protocol.record import dataclass

Family = Literal["inet", "inet6"]

VOLATILE = {"SocketState": ("inode", "pid")}
"""Class name -> fields that a comparison of two runs leaves out."""

UNTOLD = "?"
"""Of a socket's ``dev``: the kernel does not tell it. Nothing can be said of it, and not that it is none."""


@dataclass(frozen=True, slots=True)
class LinkState:
    index: int
    name: str
    mtu: int
    up: bool
    """Administratively: IFF_UP. Whether packets can flow is ``operstate``."""
    operstate: str
    """RFC 2863, as ip prints it: UP, DOWN, LOWERLAYERDOWN, UNKNOWN (no carrier concept, such as lo), ..."""
    flags: tuple[str, ...]
    """As ip prints them, in its order: LOOPBACK, BROADCAST, MULTICAST, UP, LOWER_UP, NO-CARRIER, ... (not M-DOWN)."""
    link_type: str
    """The hardware's type: ether, loopback, none, ..."""
    type: str | None = None
    """The kind of virtual device: veth, bridge, vxlan, macvlan, tun, ... None for lo and real hardware."""
    address: str | None = None
    master: str | None = None
    link: str | None = None
    """The underlying device (macvlan, vlan, vxlan), by name if it is in the same namespace."""
    peer: str | None = None
    """The other end of a veth pair, by name, wherever it is, if the kernel lets us see it."""
    netns: str | None = None
    """The node of ``peer`` or ``link`` when it is in another namespace; `?` if that is no node of the lab."""
    txqlen: int | None = None


@dataclass(frozen=True, slots=True)
class AddressState:
    dev: str
    family: Family
    address: str
    prefixlen: int
    scope: str
    peer: str | None = None
    broadcast: str | None = None
    flags: tuple[str, ...] = ()
    """permanent, secondary, tentative, deprecated, dadfailed, noprefixroute, ..."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """One way of a multipath route."""

    gateway: str | None = None
    dev: str | None = None
    weight: int = 1
    flags: tuple[str, ...] = ()
    """Of this way alone: onlink, dead, linkdown, ..."""
    realms: str | None = None
    encap: str | None = None
    encap_data: str | None = None


@dataclass(frozen=True, slots=True)
class RouteState:
    family: Family
    table: str
    """local, main, default, or the number as a string."""
    dst: str
    """A prefix (10.0.0.0/8), an address for a host route, or ``default``."""
    type: str
    protocol: str
    scope: str
    gateway: str | None = None
    dev: str | None = None
    src: str | None = None
    metric: int = 0
    """The least is preferred. ip does not print a 0, which is what a route has that was given none (IPv4)."""
    mtu: int | None = None
    flags: tuple[str, ...] = ()
    """onlink, dead, linkdown, ..."""
    nexthops: tuple[NextHop, ...] = ()
    tos: int = 0
    """The only TOS that it is for; 0: for all."""
    source: str = "all"
    """The only sources that it is for (IPv6 subtrees), as ip's ``from``; of a lookup, the source that was asked for."""
    nhid: int | None = None
    """The nexthop object that it uses."""
    pref: str | None = None
    """Of IPv6, RFC 4191: low, medium, high."""
    expires: bool = False
    """Has it a lifetime? How much of it is left differs at every look."""
    realms: str | None = None
    """TO or FROM/TO, in numbers."""
    encap: str | None = None
    """What its packets are wrapped into: mpls, ip, ip6, seg6, ..."""
    encap_data: str | None = None
    """How: the kernel's attribute in hex, enough to tell whether it is the same."""
    locked: tuple[str, ...] = ()
    """Metrics that the kernel must not correct: mtu, ... From here on: RTAX_*, in ip's words and units."""
    advmss: int | None = None
    window: int | None = None
    rtt: int | None = None
    """ms, as are ``rttvar`` and ``rto_min``."""
    rttvar: int | None = None
    rto_min: int | None = None
    ssthresh: int | None = None
    cwnd: int | None = None
    initcwnd: int | None = None
    initrwnd: int | None = None
    reordering: int | None = None
    hoplimit: int | None = None
    quickack: int | None = None
    fastopen_no_cookie: int | None = None
    congctl: str | None = None
    """In the JSON of ip: congestion."""
    features: tuple[str, ...] = ()
    """ecn, tcp_usec_ts."""


@dataclass(frozen=True, slots=True)
class RuleState:
    family: Family
    priority: int
    source: str
    """A prefix, an address, or ``all``; so is ``to``."""
    to: str
    action: str
    """lookup, blackhole, unreachable, prohibit, goto, nop."""
    table: str | None = None
    iif: str | None = None
    oif: str | None = None
    fwmark: int | None = None
    fwmask: int | None = None
    """Only if the rule looks at a part of the mark."""
    inverted: bool = False
    """ip's ``not``."""
    protocol: str | None = None
    """Who made it: kernel, boot, static, ..."""
    tos: int = 0
    """The only TOS that it is for; 0: for all. Newer kernels look at ``dscp``."""
    dscp: int | None = None
    dscp_mask: int | None = None
    """Only if the rule looks at a part of it, as the other masks."""
    ipproto: str | None = None
    """icmp, tcp, udp, ipv6-icmp, ..., or the number as a string."""
    sport: int | None = None
    """A single port; of a range the ends: ``sport_start`` and ``sport_end``."""
    sport_mask: int | None = None
    sport_start: int | None = None
    sport_end: int | None = None
    dport: int | None = None
    dport_mask: int | None = None
    dport_start: int | None = None
    dport_end: int | None = None
    uid_start: int | None = None
    uid_end: int | None = None
    flowlabel: int | None = None
    flowlabel_mask: int | None = None
    tun_id: int | None = None
    l3mdev: bool = False
    """Look into the table of the VRF of the packet's interface."""
    suppress_prefixlen: int | None = None
    """Routes that it finds do not count if their prefix is this long or shorter."""
    suppress_ifgroup: int | None = None
    goto: int | None = None
    """The priority at which a rule with that action goes on."""
    realms: str | None = None
    """TO or FROM/TO, in numbers."""
    flags: tuple[str, ...] = ()
    """iif_detached, oif_detached: there is no such interface now; unresolved: nor a rule to go to."""


@dataclass(frozen=True, slots=True)
class NeighbourState:
    dev: str
    family: Family
    address: str
    state: str
    """PERMANENT, REACHABLE, STALE, DELAY, PROBE, FAILED, INCOMPLETE, NOARP."""
    lladdr: str | None = None
    flags: tuple[str, ...] = ()
    """router, proxy, ..."""


@dataclass(frozen=True, slots=True)
class SocketState:
    """A socket. A port of raw sockets is their IP protocol number; packet sockets have no address."""

    protocol: Literal["tcp", "udp", "udplite", "icmp", "raw", "packet"]
    """icmp: of ping without rights (`net.ipv4.ping_group_range`), IPv4's and IPv6's; its port is the identifier."""
    family: Literal["inet", "inet6", "packet"]
    state: str
    """As netstat says: LISTEN, ESTABLISHED, TIME_WAIT, ...; UNCONNECTED for what has no peer and does not listen."""
    address: str | None = None
    port: int | None = None
    remote_address: str | None = None
    """None unless connected, and so is ``remote_port``."""
    remote_port: int | None = None
    dev: str | None = None
    """Bound to it (SO_BINDTODEVICE), as `ss` writes after a %; None: to none. Of packet sockets: it, or ``any``.

    UNTOLD of raw and icmp sockets, and where the kernel has no sock_diag for the protocol.
    """
    inode: int | None = None
    pid: int | None = None
    process: str | None = None
    """The name of the process that has it open: of the first, if it is shared. None if none was found."""


@dataclass(frozen=True, slots=True)
class CounterState:
    """An interface's counters since it was made, as `ip -statistics` has them."""

    dev: str
    rx_packets: int
    rx_bytes: int
    rx_errors: int
    rx_dropped: int
    tx_packets: int
    tx_bytes: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class NftChain:
    """A chain; ``hook``, ``type``, ``priority`` and ``policy`` only of a base chain."""

    family: str
    table: str
    name: str
    hook: str | None = None
    type: str | None = None
    priority: int | None = None
    policy: str | None = None
    dev: str | None = None


@dataclass(frozen=True, slots=True)
class NftRule:
    family: str
    table: str
    chain: str
    handle: int
    expression: str
    """As nft prints it, without the counter's values and the comment."""
    hook: str | None = None
    """Of the chain, when it is a base chain."""
    comment: str | None = None
    packets: int | None = None
    """Of the rule's own counter, as ``bytes``; None if it has none."""
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NftCounter:
    """A named counter."""

    family: str
    table: str
    name: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NftState:
    """Chains and rules are in the kernel's order, which is the order of evaluation; counters by name."""

    chains: tuple[NftChain, ...] = ()
    rules: tuple[NftRule, ...] = ()
    counters: tuple[NftCounter, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node. A part that was not asked for is None; one that was, and is empty, is an empty tuple.

    A part that was asked for and could not be read is None too, and ``unavailable`` says why: nobody may take
    "could not look" for "nothing there".
    """

    links: tuple[LinkState, ...] | None = None
    addresses: tuple[AddressState, ...] | None = None
    routes: tuple[RouteState, ...] | None = None
    rules: tuple[RuleState, ...] | None = None
    neighbours: tuple[NeighbourState, ...] | None = None
    sockets: tuple[SocketState, ...] | None = None
    nft: NftState | None = None
    counters: tuple[CounterState, ...] | None = None
    unavailable: dict[str, str] = field(default_factory=dict)
    """Part -> why, for a reader."""


@dataclass(frozen=True, slots=True)
class KernelState:
    """What a ``snapshot`` step saw, node by node."""

    nodes: dict[str, NodeState]


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of a repeated snapshot. ``t_ns``: since the agent's start.

    ``change``: the kernel reported a change, and this is a look beside those that were planned. ``unseen``: of which
    nodes and kinds (``a.links``) an object changed more often than looks were taken, since the one before.
    """

    t_ns: int
    state: KernelState
    change: bool | None = None
    unseen: tuple[str, ...] | None = None
