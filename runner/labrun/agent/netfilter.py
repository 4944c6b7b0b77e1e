"""Netfilter's netlink: sockets that hear one of its groups, and its messages taken apart."""

from __future__ import annotations

import socket
import struct

_NETLINK_NETFILTER = 12
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_
_NLMSG, _NFGENMSG = struct.Struct("=IHHII"), struct.Struct("=BBH")
_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33  # netlink.h, asm-generic/socket.h


def subscribed(group: int, room_bytes: int) -> socket.socket:
    """A netlink socket that hears ``group``, with as much room as this namespace may have."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, room_bytes)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_bytes)
        sock.bind((0, 0))
        sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except BaseException:
        sock.close()
        raise
    return sock


def messages(data: bytes) -> list[tuple[int, str, dict[int, bytes]]]:
    """(type, table family, attributes) of each netfilter message in a datagram."""
    found = []
    at = 0
    while at + _NLMSG.size + _NFGENMSG.size <= len(data):
        length, kind, *_ = _NLMSG.unpack_from(data, at)
        family, *_ = _NFGENMSG.unpack_from(data, at + _NLMSG.size)
        attributes = attributes_at(data[at : at + length], _NLMSG.size + _NFGENMSG.size)
        found.append((kind, FAMILIES.get(family, str(family)), attributes))
        at += max(_NLMSG.size, (length + 3) & ~3)
    return found


def attributes_at(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]  # NLA_TYPE_MASK
        at += max(4, (length + 3) & ~3)
    return found
