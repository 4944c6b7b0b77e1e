"""What rtnetlink answers, as far as kernel state needs it: header fields by name, attributes as they are asked for.

The other half of outgoing.py, for the same reason: after every step the watch reads all nodes, and pyroute2's classes,
which know all attributes of all messages, take 30 ms to import and ten times as long a message. These have the same
names and the same ``get_attr``; tests hold them against pyroute2's on the same bytes. An attribute that is not in the
tables is a KeyError.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any, ClassVar

_HEADER_SIZE = 16  # struct nlmsghdr
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ATTRIBUTE = struct.Struct("=HH")
# RFC 2863 and include/uapi/linux/if.h: IF_OPER_*
OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")


def _number(form: str) -> Callable[[bytes], int]:
    unpack = struct.Struct(form).unpack_from
    return lambda data: int(unpack(data)[0])


def _text(data: bytes) -> str:
    return os.fsdecode(data.rstrip(b"\0"))


def _address(data: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(data) == 16 else socket.AF_INET, data)


def _hardware(data: bytes) -> str:
    """A MAC; of tunnels an IP address; of links without any, nothing."""
    return _address(data) if len(data) in (4, 16) else data.hex(":")


def _via(data: bytes) -> dict[str, Any]:
    """struct rtvia"""
    return {"family": _u16(data), "addr": _address(data[2:])}


def _range(data: bytes) -> tuple[int, int]:
    """struct fib_rule_port_range, struct fib_rule_uid_range"""
    first, last = struct.unpack("=HH" if len(data) == 4 else "=II", data)
    return int(first), int(last)


def _operstate(data: bytes) -> str:
    return OPERSTATES[data[0]]


def _hops(data: bytes) -> list[Hop]:
    """Each a struct rtnexthop with attributes of its own."""
    found, at = [], 0
    while at + Hop.FORM.size <= len(data):
        length = max(Hop.FORM.size, _u16(data[at:]))
        found.append(Hop(data[at : at + length]))
        at += (length + 3) & ~3
    return found


_u8, _u16, _u32, _i32 = _number("=B"), _number("=H"), _number("=I"), _number("=i")
_be32, _be64 = _number(">I"), _number(">Q")
Table = dict[str, tuple[int, Any]]  # name -> (number, decoder or the table of what is nested)


class Attributes:
    """A row of attributes. Of several with one number the first counts."""

    def __init__(self, data: bytes, table: Table) -> None:
        self._table = table
        self._data: dict[int, bytes] = {}
        at, end = 0, len(data)
        while at + 4 <= end:
            length, number = _ATTRIBUTE.unpack_from(data, at)
            self._data.setdefault(number & _TYPE_MASK, data[at + 4 : at + length])
            at += max(4, (length + 3) & ~3)

    def get_attr(self, name: str) -> Any:
        """Its value; None if it is not there."""
        number, decode = self._table[name]
        data = self._data.get(number)
        if data is None:
            return None
        return Attributes(data, decode) if isinstance(decode, dict) else decode(data)


class Incoming(Attributes):
    """A message without its netlink header."""

    FORM: ClassVar[struct.Struct]
    FIELDS: ClassVar[tuple[str, ...]]
    TABLE: ClassVar[Table]

    def __init__(self, body: bytes) -> None:
        super().__init__(body[self.FORM.size :], self.TABLE)
        self._fields = dict(zip(self.FIELDS, self.FORM.unpack_from(body), strict=True))

    def __getitem__(self, name: str) -> int:
        return int(self._fields[name])


def taken_apart(cls: type[Incoming], whole: bytes) -> Any:
    """``whole``: from the netlink header on."""
    return cls(whole[_HEADER_SIZE:])


class LinkAnswer(Incoming):
    """include/uapi/linux/if_link.h"""

    FORM = struct.Struct("=BxHiII")
    FIELDS = ("family", "ifi_type", "index", "flags", "change")
    TABLE = {
        "IFLA_ADDRESS": (1, _hardware), "IFLA_IFNAME": (3, _text), "IFLA_MTU": (4, _u32), "IFLA_LINK": (5, _u32),
        "IFLA_MASTER": (10, _u32), "IFLA_TXQLEN": (13, _u32), "IFLA_OPERSTATE": (16, _operstate),
        "IFLA_LINK_NETNSID": (37, _i32),
        "IFLA_LINKINFO": (18, {
            "IFLA_INFO_KIND": (1, _text),
            "IFLA_INFO_DATA": (2, {"IFLA_TUN_TYPE": (3, _u8), "IFLA_VXLAN_LINK": (3, _u32)}),
        }),
    }  # fmt: skip


class AddressAnswer(Incoming):
    """include/uapi/linux/if_addr.h"""

    FORM = struct.Struct("=BBBBI")
    FIELDS = ("family", "prefixlen", "flags", "scope", "index")
    TABLE = {
        "IFA_ADDRESS": (1, _address), "IFA_LOCAL": (2, _address), "IFA_BROADCAST": (4, _address),
        "IFA_FLAGS": (8, _u32),
    }  # fmt: skip


class NeighbourAnswer(Incoming):
    """include/uapi/linux/neighbour.h: struct ndmsg"""

    FORM = struct.Struct("=BxxxiHBB")
    FIELDS = ("family", "ifindex", "state", "flags", "type")
    TABLE = {"NDA_DST": (1, _address), "NDA_LLADDR": (2, _hardware)}


def _expires(data: bytes) -> int:
    """struct rta_cacheinfo: users, last use, what is left of its lifetime (in USER_HZ; 0: it has none), ..."""
    return int(struct.unpack_from("=IIi", data)[2])


_WAY: Table = {
    "RTA_GATEWAY": (5, _address), "RTA_FLOW": (11, _u32), "RTA_VIA": (18, _via), "RTA_ENCAP_TYPE": (21, _u16),
    "RTA_ENCAP": (22, bytes.hex),
}  # fmt: skip
_METRICS: Table = {
    "RTAX_LOCK": (1, _u32), "RTAX_MTU": (2, _u32), "RTAX_WINDOW": (3, _u32), "RTAX_RTT": (4, _u32),
    "RTAX_RTTVAR": (5, _u32), "RTAX_SSTHRESH": (6, _u32), "RTAX_CWND": (7, _u32), "RTAX_ADVMSS": (8, _u32),
    "RTAX_REORDERING": (9, _u32), "RTAX_HOPLIMIT": (10, _u32), "RTAX_INITCWND": (11, _u32),
    "RTAX_FEATURES": (12, _u32), "RTAX_RTO_MIN": (13, _u32), "RTAX_INITRWND": (14, _u32), "RTAX_QUICKACK": (15, _u32),
    "RTAX_CC_ALGO": (16, _text), "RTAX_FASTOPEN_NO_COOKIE": (17, _u32),
}  # fmt: skip


class Hop(Incoming):
    """include/uapi/linux/rtnetlink.h: struct rtnexthop"""

    FORM = struct.Struct("=HBBi")
    FIELDS = ("len", "flags", "hops", "oif")
    TABLE = _WAY


class RouteAnswer(Incoming):
    """include/uapi/linux/rtnetlink.h: struct rtmsg"""

    FORM = struct.Struct("=BBBBBBBBI")
    FIELDS = ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags")
    TABLE = {
        **_WAY, "RTA_DST": (1, _address), "RTA_SRC": (2, _address), "RTA_OIF": (4, _u32), "RTA_PRIORITY": (6, _u32),
        "RTA_PREFSRC": (7, _address), "RTA_METRICS": (8, _METRICS), "RTA_MULTIPATH": (9, _hops),
        "RTA_CACHEINFO": (12, _expires), "RTA_TABLE": (15, _u32), "RTA_PREF": (20, _u8), "RTA_NH_ID": (30, _u32),
    }  # fmt: skip


class RuleAnswer(Incoming):
    """include/uapi/linux/fib_rules.h: struct fib_rule_hdr"""

    FORM = struct.Struct("=BBBBBxxBI")
    FIELDS = ("family", "dst_len", "src_len", "tos", "table", "action", "flags")
    TABLE = {
        "FRA_DST": (1, _address), "FRA_SRC": (2, _address), "FRA_IIFNAME": (3, _text), "FRA_GOTO": (4, _u32),
        "FRA_PRIORITY": (6, _u32), "FRA_FWMARK": (10, _u32), "FRA_FLOW": (11, _u32), "FRA_TUN_ID": (12, _be64),
        "FRA_SUPPRESS_IFGROUP": (13, _u32), "FRA_SUPPRESS_PREFIXLEN": (14, _u32), "FRA_TABLE": (15, _u32),
        "FRA_FWMASK": (16, _u32), "FRA_OIFNAME": (17, _text), "FRA_L3MDEV": (19, _u8), "FRA_UID_RANGE": (20, _range),
        "FRA_PROTOCOL": (21, _u8), "FRA_IP_PROTO": (22, _u8), "FRA_SPORT_RANGE": (23, _range),
        "FRA_DPORT_RANGE": (24, _range), "FRA_DSCP": (25, _u8), "FRA_FLOWLABEL": (26, _be32),
        "FRA_FLOWLABEL_MASK": (27, _be32), "FRA_SPORT_MASK": (28, _u16), "FRA_DPORT_MASK": (29, _u16),
        "FRA_DSCP_MASK": (30, _u8),
    }  # fmt: skip


class NamespaceIdAnswer(Incoming):
    """include/uapi/linux/net_namespace.h, after a struct rtgenmsg"""

    FORM = struct.Struct("=Bxxx")
    FIELDS = ("family",)
    TABLE = {"NETNSA_NSID": (1, _i32)}
