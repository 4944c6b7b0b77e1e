"""Netfilter's netlink: sockets that hear one of its groups, and its messages taken apart; and dumps of any netlink."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

NETLINK_NETFILTER = 12
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_
_NLMSG, _NFGENMSG = struct.Struct("=IHHII"), struct.Struct("=BBH")
_NLMSG_ERROR, _NLMSG_DONE, _REQUEST_DUMP, _DUMP_SECONDS = 2, 3, 0x301, 5.0  # linux/netlink.h
_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33  # netlink.h, asm-generic/socket.h


def subscribed(group: int, room_bytes: int) -> socket.socket:
    """A netlink socket that hears ``group``, with as much room as this namespace may have."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
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


def dump(protocol: int, kind: int, body: bytes) -> Iterator[bytes]:
    """The datagrams with which the kernel answers a dump. OSError for a refusal; nothing of what it does not have."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(_DUMP_SECONDS)
        sock.send(_NLMSG.pack(_NLMSG.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
        while True:
            data = sock.recv(1 << 17)
            yield data
            at = 0
            while at + _NLMSG.size <= len(data):
                length, told, *_ = _NLMSG.unpack_from(data, at)
                if told == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, at + _NLMSG.size)[0]
                    if code not in (0, errno.EOPNOTSUPP, errno.EINVAL):
                        raise OSError(code, os.strerror(code))
                    return
                if told == _NLMSG_DONE:
                    return
                at += max(_NLMSG.size, (length + 3) & ~3)


def attribute_list(data: bytes, at: int) -> list[tuple[int, bytes]]:
    """(type, value) of each attribute, in order: of lists, whose elements have one type."""
    found = []
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found.append((kind & 0x3FFF, data[at + 4 : at + length]))  # NLA_TYPE_MASK
        at += max(4, (length + 3) & ~3)
    return found


def attributes_at(data: bytes, at: int) -> dict[int, bytes]:
    """By type, the last of each."""
    return dict(attribute_list(data, at))
