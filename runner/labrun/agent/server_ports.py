"""Does a started command listen on its port? It itself or a child of it, not just anybody on that port.

Another server may have the port on another address; that says nothing about this one being ready.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

# include/net/tcp_states.h, as /proc/net/tcp prints them; an unconnected UDP socket is in TCP_CLOSE
_LISTEN = {"tcp": b"0A", "udp": b"07"}


def session_listens(session: int, port: int, protocol: Literal["tcp", "udp"] = "tcp") -> bool:
    """True if a process of this session has a listening socket on ``port`` in the current network namespace."""
    inodes = _listening_inodes(port, protocol)
    if not inodes:
        return False
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return any(_has_open(pid, wanted) for pid in _processes_of(session))


def _listening_inodes(port: int, protocol: str) -> set[int]:
    wanted = (b"%04X" % port, _LISTEN[protocol])
    found = set()
    for name in (protocol, protocol + "6"):
        try:
            # not /proc/net, which is the namespace of the process's first thread
            data = Path("/proc/thread-self/net", name).read_bytes()
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in data.splitlines()[1:]:
            # slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode (net/ipv4/tcp_ipv4.c)
            fields = line.split(None, 10)
            if len(fields) > 9 and (fields[1].rpartition(b":")[2], fields[3]) == wanted:
                found.add(int(fields[9]))
    return found


def _processes_of(session: int) -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                # man 5 proc_pid_stat: after the name in parentheses: state, ppid, pgrp, session
                stat = Path(f"/proc/{entry.name}/stat").read_bytes()
            except OSError:
                continue
            if int(stat.rpartition(b")")[2].split()[3]) == session:
                yield int(entry.name)


def _has_open(pid: int, wanted: set[str]) -> bool:
    try:
        return any(str(Path(entry.path).readlink()) in wanted for entry in os.scandir(f"/proc/{pid}/fd"))
    except OSError:  # it ended, or closed one just now
        return False
