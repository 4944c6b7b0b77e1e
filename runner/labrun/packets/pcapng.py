"""Packets of a pcapng file, one at a time: a million of them in the memory of one.

The file comes from a sandbox, so nothing in it is believed: no length in it makes more than MAX_BLOCK bytes be
allocated, and what does not fit together raises PcapngError with the place. A file that ends in the middle, as after
a crash, gives all its whole packets and then raises TruncatedCapture: an exception, because whoever counts packets
must not be able to overlook it.

It refuses what the agent never writes and no judgement could use: packets without a time (Simple Packet Blocks, the
obsolete Packet Block). Other blocks that it does not know are skipped, as the format wants.
Format: IETF draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from labrun.packets.segments import UNTOLD, Offload
from labrun.protocol.record import dataclass

MAX_BLOCK = 16 * 1024 * 1024  # the largest packet that Linux captures is 256 KiB
MAX_INTERFACES = 10_000
_CHUNK = 1024 * 1024
_CUSTOM_BINARY, _ENTERPRISE = 2989, 32473  # draft, section 3.5.1; RFC 5612
_OFFLOADS_TOLD = b"offloads"  # of an interface: the kernel was asked what each packet left for a device to do
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6

Direction = Literal["in", "out"]
_DIRECTIONS: tuple[Direction | None, ...] = (None, "in", "out", None)  # epb_flags, bits 0-1


class PcapngError(ValueError):
    """The file is not pcapng, or contradicts itself. The message says where."""


class TruncatedCapture(PcapngError):
    """The file ends in the middle of a block. Everything before it has been read."""

    def __init__(self, path: Path, offset: int, packets: int) -> None:
        super().__init__(f"{path}: cut off at byte {offset}, after {packets} whole packets")
        self.offset = offset
        self.packets = packets


class Packet(NamedTuple):
    """One packet as it was captured. A tuple and not a dataclass, as making it is most of the work."""

    number: int
    """From 1 on, in the file's order, as Wireshark counts."""
    interface: str
    time_ns: int
    """CLOCK_REALTIME."""
    direction: Direction | None
    linktype: int
    """LINKTYPE_, https://www.tcpdump.org/linktypes.html"""
    data: bytes
    """What was kept of it: at most the snapshot length."""
    length: int
    """What was on the wire, in bytes."""
    offload: Offload | None = None
    """What it left for a device to do: of super-packets, and of those whose checksum is not filled in yet."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as the file describes it, and what its statistics say at the end, if it got there."""

    name: str
    linktype: int
    snaplen: int
    filter: str | None
    packets: int
    """In the file."""
    received: int | None = None
    dropped: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole file at a glance."""

    interfaces: tuple[Interface, ...]
    packets: int
    truncated: bool


class _Described(NamedTuple):
    name: str
    linktype: int
    snaplen: int
    filter: str | None
    ticks_num: int  # time_ns = ticks * ticks_num // ticks_den
    ticks_den: int
    offset_ns: int
    offload: Offload | None  # of packets of which nothing is said


class _Blocks:
    """The blocks of a file in turn: type, the buffer that it is in, where its body begins and ends there."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self.order = "<"
        self.offset = 0
        self.packets = 0

    def error(self, what: str) -> PcapngError:
        return PcapngError(f"{self.path}: {what}, in the block at byte {self.offset}")

    def __iter__(self) -> Iterator[tuple[int, bytes, int, int]]:
        buffer, place = b"", 0
        head = struct.Struct("<II").unpack_from
        while True:
            if len(buffer) - place < 12:
                buffer, place = buffer[place:] + self._file.read(_CHUNK), 0
                if not buffer and self.offset:
                    return
                if len(buffer) < 12:
                    if self.offset or b"\n\r\r\n".startswith(buffer[:4]):
                        raise TruncatedCapture(self.path, self.offset, self.packets)
                    raise self.error("not a pcapng file")
            kind, length = head(buffer, place)
            if kind == _SECTION:
                magic = buffer[place + 8 : place + 12]
                self.order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic, "")
                if not self.order:
                    raise self.error("not a pcapng file")
                head = struct.Struct(self.order + "II").unpack_from
                kind, length = head(buffer, place)
            elif not self.offset:
                raise self.error("not a pcapng file")
            if length < 12 or length % 4 or length > MAX_BLOCK:
                raise self.error(f"absurd length {length}")
            end = place + length
            if end > len(buffer):
                buffer, place, end = buffer[place:], 0, length
                buffer += self._file.read(max(_CHUNK, length - len(buffer)))
                if len(buffer) < length:
                    raise TruncatedCapture(self.path, self.offset, self.packets)
            if buffer[end - 4 : end] != buffer[place + 4 : place + 8]:
                raise self.error("the two lengths differ")
            yield kind, buffer, place + 8, end - 4
            self.offset += length
            place = end

    def options(self, buffer: bytes, place: int, end: int) -> dict[int, bytes]:
        """The options of a block by their code, the last of each."""
        found: dict[int, bytes] = {}
        unpack = struct.Struct(self.order + "HH").unpack_from
        while end - place >= 4:
            code, length = unpack(buffer, place)
            place += 4
            if code == 0:
                break
            if length > end - place:
                raise self.error("an option that is longer than its block")
            found[code] = buffer[place : place + length]
            place += (length + 3) & ~3
        return found

    def interface(self, buffer: bytes, place: int, end: int) -> _Described:
        if end - place < 8:
            raise self.error("an interface description that is too short")
        linktype, snaplen = struct.unpack_from(self.order + "HxxI", buffer, place)
        options = self.options(buffer, place + 8, end)
        name, expression = options.get(2, b""), options.get(11, b"")
        if len(name) > 255 or len(expression) > 0x8000:
            raise self.error("an absurdly long interface name or filter")
        resolution = options.get(9, b"\x06")  # if_tsresol, microseconds when absent
        if len(resolution) != 1:
            raise self.error("an absurd time resolution")
        binary, exponent = resolution[0] & 0x80, resolution[0] & 0x7F
        if exponent > (63 if binary else 19):
            raise self.error("an absurd time resolution")
        numerator, denominator = 10**9, 2**exponent if binary else 10**exponent
        if numerator % denominator == 0:  # as good as always; spares a division for every packet
            numerator, denominator = numerator // denominator, 1
        offset = options.get(14, bytes(8))  # if_tsoffset, seconds
        if len(offset) != 8:
            raise self.error("an absurd time offset")
        seconds: int = struct.unpack(self.order + "q", offset)[0]
        return _Described(
            name.decode("utf-8", "replace"),
            linktype,
            snaplen,
            expression[1:].decode("utf-8", "replace") if expression[:1] == b"\0" else None,
            numerator,
            denominator,
            seconds * 1_000_000_000,
            None if _OFFLOADS_TOLD in (options.get(_CUSTOM_BINARY, b"")[4:],) else UNTOLD,
        )

    def describe(self, interfaces: list[_Described], buffer: bytes, place: int, end: int) -> None:
        if len(interfaces) >= MAX_INTERFACES:
            raise self.error(f"more than {MAX_INTERFACES} interfaces")
        interfaces.append(self.interface(buffer, place, end))

    def refuse(self, kind: int) -> None:
        if kind in (_SIMPLE_PACKET, _OLD_PACKET):
            raise self.error("a packet block without a time or of the obsolete kind, which labrun does not read")


def read_packets(
    path: Path, opened: BinaryIO | None = None, interface_names: list[str] | None = None
) -> Iterator[Packet]:
    """All packets in order. Raises TruncatedCapture after the last whole one, PcapngError where nothing fits.

    ``opened``: the file at ``path``, from its beginning; it is closed at the end. ``interface_names``: gets the name of
    each interface where the file describes it.
    """
    with opened or path.open("rb") as file:
        blocks = _Blocks(path, file)
        interfaces: list[_Described] = []
        number = 0
        unpack = struct.Struct("<IIIII").unpack_from
        flags_of = struct.Struct("<HHI").unpack_from
        make, directions = Packet._make, _DIRECTIONS
        for kind, buffer, place, end in blocks:
            if kind == _PACKET:
                if end - place < 20:
                    raise blocks.error("a packet block that is too short")
                which, high, low, captured, length = unpack(buffer, place)
                place += 20
                options = place + captured + (-captured & 3)
                if options > end or which >= len(interfaces):
                    raise blocks.error("a packet that does not fit its block, or is from no interface")
                name, linktype, _, _, numerator, denominator, offset_ns, offload = interfaces[which]
                flags = 0
                if end - options >= 8:
                    code, size, flags = flags_of(buffer, options)
                    if code != 2 or size != 4 or end - options > 12:  # not as the agent writes most: look closer
                        found = blocks.options(buffer, options, end)
                        order: Literal["little", "big"] = "little" if blocks.order == "<" else "big"
                        flags = int.from_bytes(found.get(2, b""), order)
                        offload = _offload(found.get(_CUSTOM_BINARY, b""), order) or offload
                number += 1
                time_ns = (high << 32 | low) * numerator
                if denominator != 1:
                    time_ns //= denominator
                data = buffer[place : place + captured]
                blocks.packets = number
                yield make((number, name, time_ns + offset_ns, directions[flags & 3], linktype, data, length, offload))
            elif kind == _INTERFACE:
                blocks.describe(interfaces, buffer, place, end)
                if interface_names is not None and len(interface_names) < MAX_INTERFACES:
                    interface_names.append(interfaces[-1].name)
            elif kind == _SECTION:
                interfaces.clear()
                unpack = struct.Struct(blocks.order + "IIIII").unpack_from
                flags_of = struct.Struct(blocks.order + "HHI").unpack_from
            else:
                blocks.refuse(kind)


def _offload(value: bytes, order: Literal["little", "big"]) -> Offload | None:
    """As the agent writes it: the number of an enterprise, and the first 8 bytes of a struct virtio_net_hdr.

    It were 6, without the place of the checksum, in captures before that was asked for.
    """
    if len(value) not in (10, 12) or int.from_bytes(value[:4], order) != _ENTERPRISE:
        return None
    flags, gso_type, _, gso_size = struct.unpack_from("<BBHH", value, 4)
    start = int.from_bytes(value[10:], "little") if len(value) == 12 else None
    return Offload(flags, gso_type, gso_size if gso_type else 0, start)


def summary(path: Path) -> Summary:
    """Interfaces, counts and statistics, without looking into the packets. A cut file is marked, not refused."""
    done: list[Interface] = []
    interfaces: list[_Described] = []
    counts: list[int] = []
    statistics: dict[int, tuple[int | None, ...]] = {}

    def end_section() -> None:
        for place, entry in enumerate(interfaces):
            told = statistics.get(place, (None, None, None, None))
            done.append(Interface(entry.name, entry.linktype, entry.snaplen, entry.filter, counts[place], *told))
        interfaces.clear()
        counts.clear()
        statistics.clear()

    with path.open("rb") as file:
        blocks = _Blocks(path, file)
        truncated = False
        head_of = struct.Struct("<IIII").unpack_from  # interface, time, captured: what both kinds have or hold
        try:
            for kind, buffer, place, end in blocks:
                if kind in (_PACKET, _STATISTICS):
                    which, _, _, captured = head_of(buffer, place) if end - place >= 16 else (len(interfaces), 0, 0, 0)
                    if which >= len(interfaces):
                        raise blocks.error("a packet or statistics from no interface, or too short")
                    if kind == _PACKET:
                        if captured > end - place - 20:
                            raise blocks.error("a packet that does not fit its block")
                        counts[which] += 1
                        blocks.packets += 1
                    else:
                        statistics[which] = _told(blocks, interfaces[which], buffer, place, end)
                elif kind == _INTERFACE:
                    blocks.describe(interfaces, buffer, place, end)
                    counts.append(0)
                elif kind == _SECTION:
                    end_section()
                    head_of = struct.Struct(blocks.order + "IIII").unpack_from
                else:
                    blocks.refuse(kind)
        except TruncatedCapture:
            truncated = True
    end_section()
    return Summary(tuple(done), blocks.packets, truncated)


def _told(blocks: _Blocks, entry: _Described, buffer: bytes, place: int, end: int) -> tuple[int | None, ...]:
    """Received, dropped, started and ended, of an Interface Statistics Block."""
    options = blocks.options(buffer, place + 12, end)

    def number(code: int) -> int | None:
        value = options.get(code, b"")
        return int.from_bytes(value, "little" if blocks.order == "<" else "big") if len(value) == 8 else None

    def time_ns(code: int) -> int | None:
        value = options.get(code, b"")
        if len(value) != 8:
            return None
        high, low = struct.unpack(blocks.order + "II", value)
        ticks: int = high << 32 | low
        return ticks * entry.ticks_num // entry.ticks_den + entry.offset_ns

    return number(4), number(5), time_ns(2), time_ns(3)
