"""What a header is to those that read it, and the difference between "not there" and "not kept".

A field past the end of its header on the wire does not exist. A field that was on the wire and past the end of what
the capture kept is CUT: whoever asks for it gets no answer, and never a wrong one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from labrun.protocol.record import dataclass

Value = int | bool | str


class Cut:
    """The type of CUT."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "CUT"


CUT: Final = Cut()
Found = tuple[Value | Cut, ...]
Reader = Callable[[bytes, int, int], Found]
"""(what was kept, where the header begins, where it ends on the wire) -> values, with CUT among them if any are."""

Spot = tuple[Value | Cut, int, int]
"""A value, and the place of its bytes [begin, end), both counted from the packet's start."""


@dataclass(frozen=True, slots=True)
class Spotted:
    """A reader of what stands at no fixed place of its header: it also knows where."""

    spots: Callable[[bytes, int, int], Iterator[Spot]]

    def __call__(self, data: bytes, start: int, end: int) -> Found:
        return tuple(value for value, _, _ in self.spots(data, start, end))


Part = Literal["outer", "inner", "quoted"]
"""The packet itself, what a tunnel carries in it, and the packet that an ICMP error quotes (and what that carries)."""


class Layer(NamedTuple):
    """One header of a packet, with all that it carries. Both places count from the packet's start."""

    protocol: str
    start: int
    end: int
    """On the wire; the kept bytes may end before."""
    part: Part = "outer"
    stack: int = 0
    """Which header stack it is in: 0 is the packet itself; each tunnelled or quoted packet has the next number."""


@dataclass(frozen=True, slots=True)
class Bits:
    """Where a number stands in its header: `(size bytes at ``at``) >> shift & mask`."""

    at: int
    size: int
    shift: int = 0
    mask: int = 0xFFFFFFFF

    def of(self, value: bytes) -> int:
        return int.from_bytes(value) >> self.shift & self.mask


def piece(data: bytes, place: int, size: int, end: int) -> bytes | Found:
    """``size`` bytes at ``place``, else the answer that there are none: () or (CUT,)."""
    stop = place + size
    if stop > end:
        return ()
    return data[place:stop] if stop <= len(data) else (CUT,)


def number(bits: Bits) -> Reader:
    def read(data: bytes, start: int, end: int) -> Found:
        taken = piece(data, start + bits.at, bits.size, end)
        return (bits.of(taken),) if isinstance(taken, bytes) else taken

    return read


def words(bits: Bits) -> Reader:
    """A length that the header counts in words of four bytes, in bytes."""
    read_words = number(bits)
    return lambda data, start, end: tuple(v * 4 if isinstance(v, int) else v for v in read_words(data, start, end))


def ip_length(data: bytes, start: int, end: int) -> Found:
    """0 stands for all that there is: the device was to segment it, and the 16 bits may not have been enough."""
    found = number(Bits(2, 2))(data, start, end)
    return (end - start,) if found == (0,) else found


def flag(bits: Bits) -> Reader:
    def read(data: bytes, start: int, end: int) -> Found:
        taken = piece(data, start + bits.at, bits.size, end)
        return (bits.of(taken) != 0,) if isinstance(taken, bytes) else taken

    return read


def address(at: int, form: Callable[[bytes], str], size: int) -> Reader:
    def read(data: bytes, start: int, end: int) -> Found:
        taken = piece(data, start + at, size, end)
        return (form(taken),) if isinstance(taken, bytes) else taken

    return read


def both(*readers: Reader) -> Reader:
    """A field that stands for several, as ip.addr for ip.src and ip.dst."""

    def read(data: bytes, start: int, end: int) -> Found:
        return tuple(value for reader in readers for value in reader(data, start, end))

    return read


def where(condition: Bits, accepted: frozenset[int], reader: Reader) -> Reader:
    """A field that exists only in headers of some kinds."""

    def read(data: bytes, start: int, end: int) -> Found:
        taken = piece(data, start + condition.at, condition.size, end)
        if not isinstance(taken, bytes):
            return taken
        return reader(data, start, end) if condition.of(taken) in accepted else ()

    return read


def mac_text(raw: bytes) -> str:
    return raw.hex(":")


def ipv4_text(raw: bytes) -> str:
    return f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}"


def ipv6_text(raw: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, raw)
