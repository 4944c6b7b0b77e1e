"""rtnetlink requests as bytes: what the typed changes of a plan need, and no more.

pyroute2's message classes can do all of rtnetlink both ways, for 35 ms of import and 250 us a message; the topology of
a hundred nodes is six hundred messages. What is sent is packed here, in 10 us; incoming.py has what is read. Fields and
attributes have the kernel's names; one that is not in the tables is a KeyError.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_NESTED = 0x8000  # NLA_F_NESTED


def _number(form: str) -> Callable[[Any], bytes]:
    return struct.Struct(form).pack


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _address(value: str) -> bytes:
    return ipaddress.ip_address(value).packed


def _via(value: Mapping[str, Any]) -> bytes:
    """struct rtvia"""
    return struct.pack("=H", value["family"]) + _address(value["addr"])


_u8, _u16, _u32, _port = _number("=B"), _number("=H"), _number("=I"), _number(">H")
Table = dict[str, tuple[int, Any]]  # name -> (number, encoder or the table of what is nested)


def _pack(attributes: Any, table: Table) -> bytes:
    parts = []
    for name, value in attributes:
        number, encode = table[name]
        if isinstance(encode, dict):
            data, number = _pack(value["attrs"], encode), number | _NESTED
        else:
            data = encode(value)
        parts.append(struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4))
    return b"".join(parts)


class Outgoing:
    """A message: header fields by name, and ``attrs``, a list of (name, value)."""

    FORM: ClassVar[struct.Struct]
    FIELDS: ClassVar[tuple[str, ...]]
    TABLE: ClassVar[Table]

    def __init__(self) -> None:
        self._fields: dict[str, Any] = dict.fromkeys(self.FIELDS, 0)
        self._fields["attrs"] = ()

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise KeyError(name)
        self._fields[name] = value

    def body(self) -> bytes:
        """All but the netlink header."""
        return self.FORM.pack(*(self._fields[name] for name in self.FIELDS)) + _pack(self._fields["attrs"], self.TABLE)


# include/uapi/linux/if_link.h
_LINK: Table = {
    "IFLA_ADDRESS": (1, _mac), "IFLA_IFNAME": (3, _text), "IFLA_MTU": (4, _u32), "IFLA_LINK": (5, _u32),
    "IFLA_MASTER": (10, _u32), "IFLA_TXQLEN": (13, _u32), "IFLA_NET_NS_FD": (28, _u32), "IFLA_EXT_MASK": (29, _u32),
    "IFLA_IF_NETNSID": (46, _u32),
}  # fmt: skip
_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change


def _peer(value: Mapping[str, Any]) -> bytes:
    return _IFINFO.pack(0, 0, 0, 0, 0) + _pack(value["attrs"], _LINK)


_LINK_DATA: Table = {
    "VETH_INFO_PEER": (1, _peer),
    "IFLA_VLAN_ID": (1, _u16),
    "IFLA_MACVLAN_MODE": (1, _u32), "IFLA_IPVLAN_MODE": (1, _u16), "IFLA_BOND_MODE": (1, _u8),
    "IFLA_VXLAN_ID": (1, _u32), "IFLA_VXLAN_GROUP": (2, _address), "IFLA_VXLAN_LINK": (3, _u32),
    "IFLA_VXLAN_LOCAL": (4, _address), "IFLA_VXLAN_PORT": (15, _port), "IFLA_VXLAN_GROUP6": (16, _address),
    "IFLA_VXLAN_LOCAL6": (17, _address),
}  # fmt: skip


class LinkMessage(Outgoing):
    FORM = _IFINFO
    FIELDS = ("family", "type", "index", "flags", "change")
    TABLE = {**_LINK, "IFLA_LINKINFO": (18, {"IFLA_INFO_KIND": (1, _text), "IFLA_INFO_DATA": (2, _LINK_DATA)})}


class AddressMessage(Outgoing):
    """include/uapi/linux/if_addr.h"""

    FORM = struct.Struct("=BBBBI")
    FIELDS = ("family", "prefixlen", "flags", "scope", "index")
    TABLE = {"IFA_ADDRESS": (1, _address), "IFA_LOCAL": (2, _address), "IFA_BROADCAST": (4, _address)}


class RouteMessage(Outgoing):
    """include/uapi/linux/rtnetlink.h: struct rtmsg"""

    FORM = struct.Struct("=BBBBBBBBI")
    FIELDS = ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags")
    TABLE = {
        "RTA_DST": (1, _address), "RTA_SRC": (2, _address), "RTA_IIF": (3, _u32), "RTA_OIF": (4, _u32),
        "RTA_GATEWAY": (5, _address), "RTA_PRIORITY": (6, _u32), "RTA_PREFSRC": (7, _address),
        "RTA_METRICS": (8, {"RTAX_MTU": (2, _u32)}), "RTA_TABLE": (15, _u32), "RTA_MARK": (16, _u32),
        "RTA_VIA": (18, _via),
    }  # fmt: skip


class NeighbourMessage(Outgoing):
    """include/uapi/linux/neighbour.h: struct ndmsg"""

    FORM = struct.Struct("=BxxxiHBB")
    FIELDS = ("family", "ifindex", "state", "flags", "type")
    TABLE = {"NDA_DST": (1, _address), "NDA_LLADDR": (2, _mac)}


class RuleMessage(Outgoing):
    """include/uapi/linux/fib_rules.h: struct fib_rule_hdr"""

    FORM = struct.Struct("=BBBBBxxBI")
    FIELDS = ("family", "dst_len", "src_len", "tos", "table", "action", "flags")
    TABLE = {
        "FRA_DST": (1, _address), "FRA_SRC": (2, _address), "FRA_IIFNAME": (3, _text), "FRA_PRIORITY": (6, _u32),
        "FRA_FWMARK": (10, _u32), "FRA_TABLE": (15, _u32), "FRA_OIFNAME": (17, _text),
    }  # fmt: skip


class NamespaceIdMessage(Outgoing):
    """include/uapi/linux/net_namespace.h, after a struct rtgenmsg"""

    FORM = struct.Struct("=Bxxx")
    FIELDS = ("family",)
    TABLE = {"NETNSA_FD": (3, _u32)}
