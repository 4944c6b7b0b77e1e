"""Does anything listen on this port of the current network namespace? Cheap enough to ask every 10 ms.

TCP by sock_diag (70 us; see sock_diag.py for what /proc/net/tcp costs), which falls back to /proc where the kernel
has no tcp_diag; UDP from /proc (70 us). It reads /proc/thread-self/net, not /proc/net: the latter is the namespace
of the thread group's leader. It does not connect: a connection would be seen by the server, and by every capture.
"""

from __future__ import annotations

import os
import socket
from typing import Literal

from labrun.agent.sock_diag import LISTEN, inet_sockets

TABLES = "/proc/thread-self/net/"
UDP_UNCONNECTED = 7  # an unconnected UDP socket is in TCP_CLOSE (include/net/tcp_states.h)
Protocol = Literal["tcp", "udp"]


def is_listening(port: int, protocol: Protocol = "tcp") -> bool:
    """True if a TCP socket is in LISTEN on ``port``, or an unconnected UDP socket is bound to it; IPv4 or IPv6."""
    return bool(_listeners(port, protocol))


def session_listens(leader: int, port: int, protocol: Protocol = "tcp") -> bool:
    """As is_listening, but only a process of the session that ``leader`` leads counts, not an older server."""
    inodes = _listeners(port, protocol)
    if not inodes:
        return False
    targets = {f"socket:[{inode}]" for inode in inodes}
    return any(_in_session(pid, leader) and targets & set(_links(pid)) for pid in map(int, _pids()))


def read_table(name: str) -> bytes:
    """A table of /proc/net without its heading; empty if the kernel lacks the protocol."""
    try:
        with open(TABLES + name, "rb", buffering=0) as table:  # noqa: PTH123  (half the time of pathlib's)
            return table.readall().partition(b"\n")[2]
    except FileNotFoundError:
        return b""


def _listeners(port: int, protocol: Protocol) -> set[int]:
    """The inodes of the sockets that listen."""
    inodes: set[int] = set()
    for family, suffix in ((socket.AF_INET, ""), (socket.AF_INET6, "6")):
        found = inet_sockets(family, states=1 << LISTEN, port=port) if protocol == "tcp" else None
        if found is not None:
            inodes |= {one.inode for one in found}
        else:
            inodes |= _in_table(protocol + suffix, port, LISTEN if protocol == "tcp" else UDP_UNCONNECTED)
    return inodes


def _in_table(name: str, port: int, state: int) -> set[int]:
    wanted = (b"%04X" % port, b"%02X" % state)
    found = set()
    for line in read_table(name).splitlines():
        # "0: 00000000:1F90 00000000:0000 0A ...": slot, local, remote, state, ..., inode as the tenth
        fields = line.split(None, 10)
        if len(fields) > 9 and (fields[1].rpartition(b":")[2], fields[3]) == wanted:
            found.add(int(fields[9]))
    return found


def _pids() -> list[str]:
    return [entry for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208


def _in_session(pid: int, leader: int) -> bool:
    try:
        return os.getsid(pid) == leader
    except ProcessLookupError:
        return False


def _links(pid: int) -> list[str]:
    """What the process has open. It may end, or close something, while we look."""
    directory = f"/proc/{pid}/fd"
    found = []
    try:
        for fd in os.listdir(directory):  # noqa: PTH208
            try:
                found.append(os.readlink(f"{directory}/{fd}"))  # noqa: PTH115
            except OSError:
                continue
    except OSError:
        pass
    return found
