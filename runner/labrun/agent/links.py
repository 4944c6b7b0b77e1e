"""Add, set and delete interfaces: `ip link`, in one netlink message where the kernel allows it.

One message is not only faster: a veth pair whose ends land in two namespaces, with their MACs, never exists
half-made. What was not given is not sent, so that the kernel's own defaults hold. Kinds that this kernel lacks
are refused by the kernel itself; no list of kinds is kept here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable
from typing import Any

from labrun.agent import offloads
from labrun.agent.names import number, parse_address
from labrun.agent.outgoing import LinkMessage
from labrun.agent.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWLINK,
    KernelRefused,
    Rtnetlink,
    refused,
)
from labrun.protocol.actions import Link, Peer

Attributes = list[tuple[str, Any]]

# include/uapi/linux/if.h
IFF_UP, IFF_NOARP, IFF_PROMISC = 0x1, 0x80, 0x100
# include/uapi/linux/if_tun.h
TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_TUN_EXCL = 0x1, 0x2, 0x1000, 0x8000
TUN_DEVICE = "/dev/net/tun"

# include/uapi/linux/if_link.h: enum macvlan_mode, IPVLAN_MODE_*; include/uapi/linux/if_bonding.h: BOND_MODE_*
MODES = {
    "macvlan": {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"},
    "ipvlan": {0: "l2", 1: "l3", 2: "l3s"},
    "bond": {
        0: "balance-rr", 1: "active-backup", 2: "balance-xor", 3: "broadcast", 4: "802.3ad", 5: "balance-tlb",
        6: "balance-alb",
    },
}  # fmt: skip
MODES["macvtap"] = MODES["macvlan"]
MODE_ATTRIBUTE = {
    "macvlan": "IFLA_MACVLAN_MODE", "macvtap": "IFLA_MACVLAN_MODE", "ipvlan": "IFLA_IPVLAN_MODE",
    "bond": "IFLA_BOND_MODE",
}  # fmt: skip
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def apply_link(link: Link, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> None:
    """Carry out ``link`` in the namespace of ``ipr``; ``netns_of`` gives an open namespace fd of a node."""
    if link.op == "delete":
        message = LinkMessage()
        message["index"] = ipr.index_of(link.name)
        ipr.change(RTM_DELLINK, 0, message)
    elif link.op == "set":
        if link.offloads is not None:
            offloads.switch(link.name, on=link.offloads == "on")
        ipr.change(RTM_NEWLINK, 0, _set_message(link, ipr, netns_of))
    elif link.type in ("tun", "tap"):
        _add_tun(link, ipr, netns_of)
    else:
        ipr.change(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _add_message(link, ipr, netns_of))


def _set_message(link: Link, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> Any:
    """One message; the kernel applies its parts in its own order, the move to another namespace first."""
    message = LinkMessage()
    message["index"] = ipr.index_of(link.name)
    attributes = _common(link, ipr, netns_of)
    if link.rename is not None:
        attributes.append(("IFLA_IFNAME", _name(link.rename)))
    message["attrs"] = attributes
    _put_flags(message, link)
    return message


def _add_message(link: Link, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> Any:
    if link.type is None:
        raise refused(errno.EINVAL, f"{link.name}: a link to add needs a type")
    message = LinkMessage()
    attributes = [("IFLA_IFNAME", _name(link.rename or link.name)), *_common(link, ipr, netns_of)]
    if link.link is not None and link.type != "vxlan":  # a vxlan's device is one of its own attributes
        attributes.append(("IFLA_LINK", ipr.index_of(link.link)))
    info: Attributes = [("IFLA_INFO_KIND", link.type)]
    data = _info_data(link, ipr, netns_of)
    if data:
        info.append(("IFLA_INFO_DATA", {"attrs": data}))
    attributes.append(("IFLA_LINKINFO", {"attrs": info}))
    message["attrs"] = attributes
    _put_flags(message, link)
    return message


def _common(link: Link, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> Attributes:
    """What every kind of link has, on add and on set."""
    attributes: Attributes = []
    if link.mtu is not None:
        attributes.append(("IFLA_MTU", link.mtu))
    if link.mac is not None:
        attributes.append(("IFLA_ADDRESS", parse_mac(link.mac)))
    if link.txqueuelen is not None:
        attributes.append(("IFLA_TXQLEN", link.txqueuelen))
    if link.master is not None:
        attributes.append(("IFLA_MASTER", ipr.index_of(link.master) if link.master else 0))
    if link.move_to is not None:
        attributes.append(("IFLA_NET_NS_FD", netns_of(link.move_to)))
    return attributes


def _put_flags(message: Any, link: Link) -> None:
    wanted = (
        (IFF_UP, link.up),
        (IFF_NOARP, None if link.arp is None else not link.arp),
        (IFF_PROMISC, link.promisc),
    )
    for bit, on in wanted:
        if on is not None:
            message["change"] |= bit
            message["flags"] |= bit if on else 0


def _info_data(link: Link, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> Attributes:
    """What only this kind of link has."""
    kind = link.type or ""
    data: Attributes = []
    if kind == "veth" and link.peer is not None:
        data.append(("VETH_INFO_PEER", _peer(link.peer, netns_of)))
    if kind == "vxlan":
        data += _vxlan(link, ipr)
    if kind == "vlan" and link.vlan is not None:
        data.append(("IFLA_VLAN_ID", link.vlan))
    if link.mode is not None:
        if kind not in MODES:
            raise refused(errno.EINVAL, f"{link.name}: a {kind} has no mode")
        data.append((MODE_ATTRIBUTE[kind], number(link.mode, MODES[kind], f"{kind} mode")))
    return data


def _peer(peer: Peer, netns_of: Callable[[str], int]) -> dict[str, Any]:
    attributes: Attributes = [("IFLA_IFNAME", _name(peer.name))]
    if peer.mac is not None:
        attributes.append(("IFLA_ADDRESS", parse_mac(peer.mac)))
    if peer.mtu is not None:
        attributes.append(("IFLA_MTU", peer.mtu))
    if peer.node is not None:
        attributes.append(("IFLA_NET_NS_FD", netns_of(peer.node)))
    return {"attrs": attributes}


def _vxlan(link: Link, ipr: Rtnetlink) -> Attributes:
    data: Attributes = []
    if link.vni is not None:
        data.append(("IFLA_VXLAN_ID", link.vni))
    if link.link is not None:
        data.append(("IFLA_VXLAN_LINK", ipr.index_of(link.link)))
    for text, attribute in ((link.remote, "IFLA_VXLAN_GROUP"), (link.local, "IFLA_VXLAN_LOCAL")):
        if text is not None:
            family, address = parse_address(text)
            data.append((attribute + ("6" if family == socket.AF_INET6 else ""), address))
    if link.port is not None:
        data.append(("IFLA_VXLAN_PORT", link.port))
    return data


def _add_tun(link: Link, ipr: Rtnetlink, netns_of: Callable[[str], int]) -> None:
    """A persistent tun or tap, as `ip tuntap add`: rtnetlink cannot make them, /dev/net/tun can."""
    flags = (IFF_TUN if link.type == "tun" else IFF_TAP) | IFF_NO_PI | IFF_TUN_EXCL
    try:
        fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            # struct ifreq: name[16], flags (u16), padding up to 40 bytes
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", _name(link.rename or link.name).encode(), flags))
            fcntl.ioctl(fd, TUNSETPERSIST, 1)
        finally:
            os.close(fd)
    except OSError as error:
        place = f"{TUN_DEVICE}: {error.strerror}" if error.filename else None
        # The kernel says EBUSY for a tun that exists and EINVAL for another kind of that name.
        raise refused(error.errno or errno.EIO, place) from error
    name = link.rename or link.name
    message = LinkMessage()
    index = message["index"] = ipr.index_of(name)
    try:
        message["attrs"] = _common(link, ipr, netns_of)
        _put_flags(message, link)
        if message["attrs"] or message["change"]:
            ipr.change(RTM_NEWLINK, 0, message)
    except KernelRefused:
        # All or nothing, as for the other kinds.
        gone = LinkMessage()
        gone["index"] = index
        with contextlib.suppress(KernelRefused):
            ipr.change(RTM_DELLINK, 0, gone)
        raise


def _name(name: str) -> str:
    """The kernel silently cuts no name, but says only ERANGE or EINVAL; this says which name and why."""
    if not 0 < len(name.encode()) < 16 or "/" in name or any(c.isspace() for c in name) or name in (".", ".."):
        raise refused(errno.EINVAL, f"{name!r} cannot be an interface's name: 1 to 15 bytes, no space, no /")
    return name


def parse_mac(mac: str) -> str:
    if not MAC.fullmatch(mac):
        raise refused(errno.EINVAL, f"{mac!r} is no MAC address")
    return mac.lower()
