"""The interfaces of a network namespace by index, and what becomes of them: made, renamed, gone.

A packet carries its interface's number; people want the name that it had at the time. rtnetlink tells both who is
there and every change, so an interface that appears later is known too. It refuses to change anything.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from labrun.agent.netfilter import attributes_at
from labrun.protocol.record import dataclass

# linux/rtnetlink.h, linux/netlink.h, linux/if_link.h
_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, hardware type, index, flags, change
_DUMP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as it was at one moment."""

    index: int
    name: str
    hardware_type: int  # ARPHRD_, linux/if_arp.h
    kind: str | None = None  # bridge, veth, ...; None of hardware


class LinkWatch:
    """``links`` holds those that were ever seen by index (the last state of each), ``gone`` those no longer there."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.links: dict[int, Link] = {}
        self.gone: set[int] = set()
        try:
            self.socket.bind((0, _RTMGRP_LINK))  # subscribed before the first look: nothing falls between
            self._ask()
        except BaseException:
            self.socket.close()
            raise

    def _ask(self) -> None:
        """Everything anew. Those that went unnoticed are gone."""
        self.socket.settimeout(_DUMP_SECONDS)
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        self.socket.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _NLM_F_REQUEST_DUMP, 1, 0) + body)
        seen: set[int] = set()
        while not self._take(self.socket.recv(1 << 17), seen):
            pass
        self.gone = set(self.links) - seen
        self.socket.setblocking(False)

    def _take(self, messages: bytes, seen: set[int]) -> bool:
        """Take in a datagram of messages; whether it ended a dump."""
        offset, done = 0, False
        while offset + _HEADER.size <= len(messages):
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(messages, offset)
            body = messages[offset + _HEADER.size : offset + length]
            if kind == _NLMSG_DONE:
                done = True
            elif kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise OSError(code, f"cannot list interfaces: {os.strerror(code)}")
            elif kind in (_RTM_NEWLINK, _RTM_DELLINK):
                self._take_link(kind, body, seen)
            offset += max(_HEADER.size, (length + 3) & ~3)
        return done

    def _take_link(self, kind: int, body: bytes, seen: set[int]) -> None:
        family, hardware_type, index, _flags, _change = _LINK.unpack_from(body)
        if family != socket.AF_UNSPEC:
            return  # a bridge speaks of its ports in the same words: leaving a bridge is not the end of an interface
        if kind == _RTM_DELLINK:
            self.gone.add(index)
            seen.discard(index)
            return
        attributes = attributes_at(body, _LINK.size)
        if _IFLA_IFNAME not in attributes:
            return
        name = os.fsdecode(attributes[_IFLA_IFNAME].rstrip(b"\0"))
        driver = attributes_at(attributes.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"")
        self.links[index] = Link(index, name, hardware_type, driver.rstrip(b"\0").decode(errors="replace") or None)
        self.gone.discard(index)
        seen.add(index)

    def read(self) -> bool:
        """Take in all that the kernel has told since; whether there was anything."""
        anything = False
        while True:
            try:
                self._take(self.socket.recv(1 << 17), set())
            except BlockingIOError:
                return anything
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._ask()  # more changes than the socket could hold: look anew
            anything = True

    def close(self) -> None:
        self.socket.close()
