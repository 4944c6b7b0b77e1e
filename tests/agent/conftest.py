"""Real network namespaces for the agent's tests. Every packet stays in a namespace that a fixture made."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000  # linux/sched.h
LIBC = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    if LIBC.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Netns:
    """The namespace that the test's thread is in: nothing in it but a loopback interface that is down."""

    def __init__(self) -> None:
        self.ip = IPRoute()
        # Nothing shall speak but the test.
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")

    def index(self, name: str) -> int:
        return socket.if_nametoindex(name)

    def up(self, *names: str) -> None:
        for name in names:
            self.ip.link("set", index=self.index(name), state="up")

    def carries(self, *names: str) -> None:
        """Wait until packets pass. A carrier that comes is handled later (linkwatch); till then all is dropped."""
        deadline = time.monotonic() + 5
        for name in names:
            while self.ip.link("get", index=self.index(name))[0].get_attr("IFLA_OPERSTATE") != "UP":
                assert time.monotonic() < deadline, f"{name} has no carrier"

    def down(self, name: str) -> None:
        self.ip.link("set", index=self.index(name), state="down")

    def veth(self, one: str, other: str) -> None:
        self.ip.link("add", ifname=one, kind="veth", peer=other)
        self.up(one, other)
        self.carries(one, other)

    def delete(self, name: str) -> None:
        self.ip.link("del", index=self.index(name))

    def rename(self, name: str, new: str) -> None:
        self.down(name)
        self.ip.link("set", index=self.index(name), ifname=new)
        self.up(new)
        self.carries(new)

    def tun(self, name: str) -> None:
        self.ip.link("add", ifname=name, kind="tuntap", mode="tun")

    def address(self, name: str, address: str, prefix: int) -> None:
        self.ip.addr("add", index=self.index(name), address=address, prefixlen=prefix)


@pytest.fixture
def netns() -> Iterator[Netns]:
    """A fresh network namespace for the calling thread, and back again."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root to make network namespaces")
    # Not /proc/self/ns/net: that is the main thread's.
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        namespace = Netns()
        try:
            yield namespace
        finally:
            namespace.ip.close()
    finally:
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)


def ethernet(payload: bytes, *, to: str = "02:00:00:00:00:02", kind: int = 0x0800) -> bytes:
    """An Ethernet frame from 02:00:00:00:00:01."""
    return bytes.fromhex(to.replace(":", "")) + bytes.fromhex("020000000001") + struct.pack(">H", kind) + payload


def ipv4_udp(port: int, payload: bytes = b"") -> bytes:
    """From 10.0.0.1 to 10.0.0.2; the checksums are left to whom they concern."""
    udp = struct.pack(">HHHH", 4000, port, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    return head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + udp


@pytest.fixture
def send(netns: Netns) -> Iterator[Callable[..., None]]:
    """send(interface, frame, ...): out of an interface of the namespace, in order."""
    sockets: dict[str, socket.socket] = {}

    def send(interface: str, *frames: bytes) -> None:
        if interface not in sockets:
            sockets[interface] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sockets[interface].bind((interface, 0))
        for frame in frames:
            sockets[interface].send(frame)

    yield send
    for sock in sockets.values():
        sock.close()


@pytest.fixture
def spotless() -> Callable[[Path], str]:
    """spotless(file): capinfos and tshark read it without a word of warning; returns what tshark lists."""

    def read(path: Path) -> str:
        listed = ""
        for argv in (["capinfos", str(path)], ["tshark", "-n", "-r", str(path)]):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            said = [line for line in done.stderr.splitlines() if line and "This could be dangerous" not in line]
            assert (done.returncode, said) == (0, []), argv
            listed = done.stdout
        return listed

    return read
