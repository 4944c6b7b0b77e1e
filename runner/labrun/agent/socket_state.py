"""The sockets of the current network namespace, and whose they are.

TCP and UDP by sock_diag, because /proc/net/tcp is slow and does not tell the device to which a socket is bound
(sock_diag.py), and from /proc where the kernel has no tcp_diag or udp_diag. All others from /proc: kernels often lack
raw_diag and packet_diag, and the tables of /proc are there whenever the protocol is. They are those of
/proc/thread-self/net: /proc/net would be the namespace of the thread group's leader.

Whose a socket is comes from /proc/PID/fd; its pid is the one in the lab's own pid namespace.
Local (AF_UNIX) and netlink sockets are left out.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import replace
from typing import Literal

from labrun.agent.listening import read_table
from labrun.agent.sock_diag import inet_sockets
from labrun.protocol.state import UNTOLD, SocketState

# include/net/tcp_states.h
STATES = {
    1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE",
    8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "SYN_RECV",
}  # fmt: skip
InetProtocol = Literal["tcp", "udp", "udplite", "icmp", "raw"]
NUMBERS: dict[InetProtocol, int | None] = {
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "icmp": None,
    "raw": None,
}  # None: by /proc alone
VERSIONS: tuple[Literal["inet", "inet6"], ...] = ("inet", "inet6")
UNCONNECTED = 7
Owner = tuple[int, str]


def socket_states(names: dict[int, str], own_pid: int | None) -> tuple[SocketState, ...]:
    """Sorted by protocol, port and address. Those of ``own_pid`` alone are left out: an observer is not the scene."""
    # Before the sockets are listed, too: a capture's may be closed between that and the look at who has which.
    own = _sockets_of(f"{own_pid}") if own_pid is not None else set()
    rows: list[SocketState] = []
    for family in VERSIONS:
        for protocol in NUMBERS:
            rows += _inet_sockets(protocol, family, names)
    rows += [_packet(line, names) for line in _table("packet")]
    owners = _owners({row.inode for row in rows if row.inode is not None})
    found = []
    for row in rows:
        holders = owners.get(row.inode or 0, [])
        if [pid for pid, _name in holders] == [own_pid] or (not holders and row.inode in own):
            continue
        pid, process = min(holders) if holders else (None, None)
        pid = lab_pid(pid) if pid is not None else None
        found.append(replace(row, pid=pid, process=process))
    return tuple(sorted(found, key=_order))


def lab_pid(pid: int) -> int:
    """The number that a process has in its own pid namespace, as the lab's commands print it (proc_pid_status(5))."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return pid


def _table(name: str) -> list[list[str]]:
    return [line.split() for line in read_table(name).decode().splitlines() if line.strip()]


def _inet_sockets(protocol: InetProtocol, family: Literal["inet", "inet6"], names: dict[int, str]) -> list[SocketState]:
    number = NUMBERS[protocol]
    version = socket.AF_INET if family == "inet" else socket.AF_INET6
    found = inet_sockets(version, number) if number is not None else None
    if found is None:
        return _from_proc(protocol, family)
    return [
        _inet(
            protocol, family, one.state, (one.address, one.port), (one.remote_address, one.remote_port), one.inode,
            names.get(one.device, f"if{one.device}") if one.device else None,
        )
        for one in found
    ]  # fmt: skip


def _from_proc(protocol: InetProtocol, family: Literal["inet", "inet6"]) -> list[SocketState]:
    rows = _table(protocol + ("6" if family == "inet6" else ""))
    return [
        _inet(protocol, family, int(row[3], 16), _endpoint(row[1]), _endpoint(row[2]), int(row[9]), UNTOLD)
        for row in rows
    ]


def _endpoint(text: str) -> tuple[str, int]:
    """``0100007F:1F90``: each 32-bit word in the machine's byte order, the port as a number."""
    address, _, port = text.rpartition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)


def _inet(
    protocol: InetProtocol,
    family: Literal["inet", "inet6"],
    state: int,
    local: tuple[str, int],
    remote: tuple[str, int],
    inode: int,
    dev: str | None,
) -> SocketState:
    connected = remote[1] != 0 or remote[0] not in ("0.0.0.0", "::")
    return SocketState(
        protocol=protocol,
        family=family,
        state="UNCONNECTED" if state == UNCONNECTED else STATES.get(state, str(state)),
        address=local[0],
        port=local[1],
        remote_address=remote[0] if connected else None,
        remote_port=remote[1] if connected else None,
        dev=dev,
        inode=inode or None,  # 0: the process has closed it (TIME_WAIT, orphans)
    )


def _packet(fields: list[str], names: dict[int, str]) -> SocketState:
    """``sk RefCnt Type Proto Iface R Rmem User Inode``; interface 0 is any."""
    index = int(fields[4])
    return SocketState(
        protocol="packet",
        family="packet",
        state="UNCONNECTED",
        dev=names.get(index, f"if{index}") if index else "any",
        inode=int(fields[8]) or None,
    )


def _owners(inodes: set[int]) -> dict[int, list[Owner]]:
    """inode -> (pid, name) of all processes that have it open. A process that ends meanwhile is passed over."""
    found: dict[int, list[Owner]] = {}
    if not inodes:
        return found
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  (hundreds of entries, no Path each)
        held = _sockets_of(pid) & inodes
        try:
            if not held:
                continue
            with open(f"/proc/{pid}/comm") as comm:  # noqa: PTH123
                name = comm.read().rstrip("\n")
        except OSError:
            continue
        for inode in held:
            found.setdefault(inode, []).append((int(pid), name))
    return found


def _sockets_of(pid: str) -> set[int]:
    """The inodes of the sockets that a process has open; it may end, or close some, while we look."""
    directory = f"/proc/{pid}/fd"
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for fd in os.listdir(directory):  # noqa: PTH208
            with contextlib.suppress(OSError):
                target = os.readlink(f"{directory}/{fd}")  # noqa: PTH115
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def _order(row: SocketState) -> tuple[str, int, str, str, int, str, str, str, str, int]:
    """Volatile fields come last: they must not decide unless all else is equal."""
    return (
        row.protocol, row.port or 0, row.family, row.address or "", row.remote_port or 0, row.remote_address or "",
        row.dev or "", row.state, row.process or "", row.inode or 0,
    )  # fmt: skip
