"""Kernel features that a lab can require, by name: how each is probed, and what brings it.

One table for all: the lab language knows these names, the agent probes them by trying, the doctor lists them.
"""

from __future__ import annotations

from typing import Literal

from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """``probe``: link, a kind of interface to add; qdisc, a queueing discipline; nfnetlink, a netfilter subsystem by
    number; socket, an address family. ``value``: the kind's name, or the number. ``module``: what brings it."""

    probe: Literal["link", "qdisc", "nfnetlink", "socket", "tun"]
    value: str
    words: str
    module: str


# include/uapi/linux/netfilter/nfnetlink.h: NFNL_SUBSYS_CTNETLINK 1, NFNL_SUBSYS_NFTABLES 10
FEATURES: dict[str, Feature] = {
    "veth": Feature("link", "veth", "virtual Ethernet pairs", "veth"),
    "bridge": Feature("link", "bridge", "Ethernet bridges", "bridge"),
    "dummy": Feature("link", "dummy", "dummy interfaces", "dummy"),
    "vlan": Feature("link", "vlan", "802.1Q VLANs", "8021q"),
    "vxlan": Feature("link", "vxlan", "VXLAN", "vxlan"),
    "geneve": Feature("link", "geneve", "Geneve", "geneve"),
    "gre": Feature("link", "gretap", "GRE tunnels", "ip_gre"),
    "ipip": Feature("link", "ipip", "IP in IP tunnels", "ipip"),
    "sit": Feature("link", "sit", "IPv6 in IPv4 tunnels", "sit"),
    "macvlan": Feature("link", "macvlan", "macvlan", "macvlan"),
    "ipvlan": Feature("link", "ipvlan", "ipvlan", "ipvlan"),
    "vrf": Feature("link", "vrf", "virtual routing and forwarding", "vrf"),
    "bond": Feature("link", "bond", "bonding", "bonding"),
    "wireguard": Feature("link", "wireguard", "WireGuard", "wireguard"),
    "ifb": Feature("link", "ifb", "intermediate functional blocks, to shape what arrives", "ifb"),
    "tun": Feature("tun", "/dev/net/tun", "tun and tap interfaces", "tun"),
    "netem": Feature("qdisc", "netem", "network emulation: delay, loss, reordering", "sch_netem"),
    "tbf": Feature("qdisc", "tbf", "token bucket filter: a bounded rate", "sch_tbf"),
    "htb": Feature("qdisc", "htb", "hierarchical token bucket", "sch_htb"),
    "fq-codel": Feature("qdisc", "fq_codel", "fair queueing with controlled delay", "sch_fq_codel"),
    "ingress": Feature("qdisc", "ingress", "filters on what arrives", "sch_ingress"),
    "nftables": Feature("nfnetlink", "10", "nftables", "nf_tables"),
    "conntrack": Feature("nfnetlink", "1", "connection tracking", "nf_conntrack_netlink"),
    "ipv6": Feature("socket", "10", "IPv6", "ipv6"),
    "mptcp": Feature("socket", "2/262", "Multipath TCP", "mptcp"),
}
