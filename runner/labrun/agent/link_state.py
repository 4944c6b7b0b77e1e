"""Links, addresses and neighbours as the kernel lists them over rtnetlink, typed and sorted.

A veth's peer in another namespace is looked up there by the kernel itself (IFLA_TARGET_NETNSID), so that evidence
says "eth0 of ns1" and not "index 5 of namespace id 0". Nothing is read from /sys, which shows another namespace.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

from labrun.agent.addresses import RTM_GETADDR, RTM_GETNEIGH
from labrun.agent.incoming import AddressAnswer, LinkAnswer, NamespaceIdAnswer, NeighbourAnswer, taken_apart
from labrun.agent.names import FAMILIES, NEIGHBOUR_STATES
from labrun.agent.outgoing import AddressMessage, LinkMessage, NamespaceIdMessage, NeighbourMessage
from labrun.agent.rtnetlink import RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, KernelRefused, Rtnetlink
from labrun.protocol.state import AddressState, LinkState, NeighbourState
from labrun.protocol.words import SCOPES

RTM_GETNSID = 90
# include/uapi/linux/if.h, in the order in which ip prints them (ip/ipaddress.c, print_link_flags)
IFF_UP, IFF_RUNNING = 0x1, 0x40
LINK_FLAGS = (
    (0x8, "LOOPBACK"), (0x2, "BROADCAST"), (0x10, "POINTOPOINT"), (0x1000, "MULTICAST"), (0x80, "NOARP"),
    (0x200, "ALLMULTI"), (0x100, "PROMISC"), (0x400, "MASTER"), (0x800, "SLAVE"), (0x4, "DEBUG"),
    (0x8000, "DYNAMIC"), (0x4000, "AUTOMEDIA"), (0x2000, "PORTSEL"), (0x20, "NOTRAILERS"), (0x1, "UP"),
    (0x10000, "LOWER_UP"), (0x20000, "DORMANT"), (0x40000, "ECHO"),
)  # fmt: skip
# include/uapi/linux/if_arp.h: ARPHRD_*
LINK_TYPES = {
    1: "ether", 512: "ppp", 768: "ipip", 769: "tunnel6", 772: "loopback", 776: "sit", 778: "gre",
    823: "gre6", 65534: "none",
}  # fmt: skip
# include/uapi/linux/if_addr.h: IFA_F_*
ADDRESS_FLAGS = (
    (0x80, "permanent"), (0x02, "nodad"), (0x04, "optimistic"), (0x08, "dadfailed"), (0x10, "home"),
    (0x20, "deprecated"), (0x40, "tentative"), (0x100, "mngtmpaddr"), (0x200, "noprefixroute"), (0x400, "autojoin"),
    (0x800, "stable-privacy"),
)  # fmt: skip
IFA_F_SECONDARY = 0x01  # of IPv6: temporary
# include/uapi/linux/neighbour.h: NTF_*
NEIGHBOUR_FLAGS = (
    (0x01, "use"), (0x02, "self"), (0x04, "master"), (0x08, "proxy"), (0x10, "extern_learn"), (0x80, "router"),
)  # fmt: skip
NTF_PROXY, NUD_NOARP = 0x08, 0x40
TUN_TYPE_TAP = 2


def flag_names(bits: int, names: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(name for bit, name in names if bits & bit)


def read_link_messages(ipr: Rtnetlink) -> tuple[Any, ...]:
    request = LinkMessage()
    request["attrs"] = [("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS)]
    return ipr.dump(RTM_GETLINK, request, LinkAnswer)


def link_names(messages: tuple[Any, ...]) -> dict[int, str]:
    return {message["index"]: message.get_attr("IFLA_IFNAME") for message in messages}


def link_states(messages: tuple[Any, ...], ipr: Rtnetlink, nodes: Mapping[str, int]) -> tuple[LinkState, ...]:
    """The links, by index. ``nodes``: name -> open namespace fd, to say in which node a peer is."""
    names = link_names(messages)
    node_of_id: dict[int, str] = {}
    if any(message.get_attr("IFLA_LINK_NETNSID") is not None for message in messages):
        node_of_id = _namespace_ids(ipr, nodes)
    found = (_link(message, names, ipr, node_of_id) for message in messages)
    return tuple(sorted(found, key=lambda link: link.index))


def _link(message: Any, names: dict[int, str], ipr: Rtnetlink, node_of_id: dict[int, str]) -> LinkState:
    info = message.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    data = info.get_attr("IFLA_INFO_DATA") if kind in ("tun", "vxlan") else None
    lower = message.get_attr("IFLA_LINK")
    if data is not None and kind == "tun" and data.get_attr("IFLA_TUN_TYPE") == TUN_TYPE_TAP:
        kind = "tap"
    if data is not None and kind == "vxlan":
        lower = data.get_attr("IFLA_VXLAN_LINK")
    other, netns = None, None
    namespace_id = message.get_attr("IFLA_LINK_NETNSID")
    if lower and namespace_id is not None and namespace_id >= 0:
        netns = node_of_id.get(namespace_id, "?")
        other = _name_elsewhere(ipr, namespace_id, lower)
    elif lower and namespace_id is None and lower != message["index"]:
        other = names.get(lower)
    master = message.get_attr("IFLA_MASTER")
    flags = message["flags"]
    shown = flag_names(flags, LINK_FLAGS)
    if flags & IFF_UP and not flags & IFF_RUNNING:
        shown = ("NO-CARRIER", *shown)
    return LinkState(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(flags & IFF_UP),
        operstate=message.get_attr("IFLA_OPERSTATE") or "UNKNOWN",
        flags=shown,
        link_type=LINK_TYPES.get(message["ifi_type"], str(message["ifi_type"])),
        type=kind,
        address=message.get_attr("IFLA_ADDRESS") or None,
        master=names.get(master, f"if{master}") if master else None,
        link=None if kind == "veth" else other,
        peer=other if kind == "veth" else None,
        netns=netns,
        txqlen=message.get_attr("IFLA_TXQLEN"),
    )


def _name_elsewhere(ipr: Rtnetlink, namespace_id: int, index: int) -> str | None:
    """The name of interface ``index`` of another namespace; None if the kernel does not let us look there."""
    request = LinkMessage()
    request["index"] = index
    request["attrs"] = [("IFLA_IF_NETNSID", namespace_id), ("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS)]
    try:
        whole = ipr.get(RTM_GETLINK, request)
    except KernelRefused:
        return None
    if whole is None:
        return None
    name: str | None = taken_apart(LinkAnswer, whole).get_attr("IFLA_IFNAME")
    return name


def _namespace_ids(ipr: Rtnetlink, nodes: Mapping[str, int]) -> dict[int, str]:
    """This namespace's ids of the others (ip-netns(8), list-id) -> the node's name."""
    found: dict[int, str] = {}
    for name in sorted(nodes):
        request = NamespaceIdMessage()
        request["attrs"] = [("NETNSA_FD", nodes[name])]
        whole = ipr.get(RTM_GETNSID, request)
        if whole is not None:
            namespace_id = taken_apart(NamespaceIdAnswer, whole).get_attr("NETNSA_NSID")
            if namespace_id is not None and namespace_id >= 0:  # -1: it has no id here
                found.setdefault(namespace_id, name)
    return found


def address_states(names: dict[int, str], ipr: Rtnetlink) -> tuple[AddressState, ...]:
    """By interface and family; within these in the kernel's order, where the first one is the primary."""
    messages = [m for m in ipr.dump(RTM_GETADDR, AddressMessage(), AddressAnswer) if m["family"] in FAMILIES]
    messages.sort(key=lambda message: (message["index"], message["family"]))
    return tuple(_address(message, names) for message in messages)


def _address(message: Any, names: dict[int, str]) -> AddressState:
    address, local = message.get_attr("IFA_ADDRESS"), message.get_attr("IFA_LOCAL")
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    family = message["family"]
    shown = flag_names(flags, ADDRESS_FLAGS)
    if flags & IFA_F_SECONDARY:
        shown = ("temporary" if family == socket.AF_INET6 else "secondary", *shown)
    return AddressState(
        dev=names.get(message["index"], f"if{message['index']}"),
        family="inet" if family == socket.AF_INET else "inet6",
        address=local or address,
        prefixlen=message["prefixlen"],
        scope=SCOPES.get(message["scope"], str(message["scope"])),
        peer=address if local and address != local else None,
        broadcast=message.get_attr("IFA_BROADCAST"),
        flags=shown,
    )


def neighbour_states(names: dict[int, str], ipr: Rtnetlink) -> tuple[NeighbourState, ...]:
    """By interface and address, without those that the kernel makes for itself (multicast, broadcast, loopback).

    The addresses that it answers for in another's place (`ip neigh add proxy`) are in a list of their own.
    """
    found = []
    for_others = NeighbourMessage()
    for_others["flags"] = NTF_PROXY
    own_entries = ipr.dump(RTM_GETNEIGH, NeighbourMessage(), NeighbourAnswer)
    for message in (*own_entries, *ipr.dump(RTM_GETNEIGH, for_others, NeighbourAnswer)):
        address = message.get_attr("NDA_DST")
        if message["family"] not in FAMILIES or address is None:
            continue
        if not message["state"] and not message["flags"] & NTF_PROXY:
            continue
        parsed = ipaddress.ip_address(address)
        lladdr = message.get_attr("NDA_LLADDR")
        own = parsed.is_multicast or parsed.is_loopback or lladdr in ("ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00")
        if message["state"] == NUD_NOARP and (own or lladdr is None):
            continue
        state = NeighbourState(
            dev=names.get(message["ifindex"], f"if{message['ifindex']}"),
            family="inet" if parsed.version == 4 else "inet6",
            address=address,
            state=NEIGHBOUR_STATES.get(message["state"], str(message["state"])),
            lladdr=lladdr,
            flags=flag_names(message["flags"], NEIGHBOUR_FLAGS),
        )
        found.append(((message["ifindex"], parsed.version, int(parsed)), state))
    return tuple(state for _key, state in sorted(found, key=lambda pair: pair[0]))
