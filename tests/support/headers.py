"""Headers written out byte by byte, without a library that would know better what a header may be."""

from __future__ import annotations

import socket
import struct

SRC_MAC, DST_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def eth(kind: int, payload: bytes = b"") -> bytes:
    return DST_MAC + SRC_MAC + struct.pack(">H", kind) + payload


def tag(number: int, kind: int, payload: bytes = b"", priority: int = 0) -> bytes:
    """What follows the EtherType of a VLAN tag."""
    return struct.pack(">HH", priority << 13 | number, kind) + payload


def ip(
    protocol: int,
    payload: bytes = b"",
    *,
    first: int | None = None,
    total: int | None = None,
    fragment: int = 0,
    ttl: int = 64,
    options: bytes = b"",
    src: str = "10.0.1.2",
    dst: str = "10.0.2.3",
) -> bytes:
    size = 20 + len(options)
    first = 0x40 | size // 4 if first is None else first
    total = size + len(payload) if total is None else total
    fixed = struct.pack(">BBHHHBBH", first, 0, total, 7, fragment, ttl, protocol, 0)
    return fixed + socket.inet_aton(src) + socket.inet_aton(dst) + options + payload


def ipv6(
    following: int,
    payload: bytes = b"",
    *,
    first: int = 0x60,
    size: int | None = None,
    hops: int = 64,
    src: str = "2001:db8::1",
    dst: str = "2001:db8::2",
) -> bytes:
    size = len(payload) if size is None else size
    addresses = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    return struct.pack(">BBHHBB", first, 0, 0, size, following, hops) + addresses + payload


def udp(src: int, dst: int, payload: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack(">HHHH", src, dst, 8 + len(payload) if size is None else size, 0) + payload


def tcp(src: int, dst: int, payload: bytes = b"", *, words: int | None = None, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4 if words is None else words
    fixed = struct.pack(">HHIIBBHHH", src, dst, 0x01020304, 0x05060708, words << 4, 0x18, 500, 0, 0)
    return fixed + options + payload


def icmp(kind: int, payload: bytes = b"", code: int = 0) -> bytes:
    """For ICMPv6 too."""
    return struct.pack(">BBHI", kind, code, 0, 0) + payload
