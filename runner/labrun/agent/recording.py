"""The file that a capture writes: blocks of the ring in, pcapng out, each packet under its interface's name then.

A recording belongs to one thread at a time. It refuses to wait and to know the socket: when to read, and when all has
been read, is ``labrun.agent.capture``'s matter.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from labrun.agent import pcapng
from labrun.agent.link_watch import Link, LinkWatch
from labrun.agent.packet_ring import (
    BLOCK_PACKETS,
    PACKET_HEADER,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
    VNET_HDR_F_NEEDS_CSUM,
    VNET_HEADER,
    VNET_HEADER_BYTES,
)
from labrun.agent.pcap_filter import FilterError, Program, compile_filter, encode_program
from labrun.packets.libpcap import matches

_TPID = 0x8100  # 802.1Q, when the kernel does not say which


def _moved(offload: bytes, by: int) -> bytes:
    """What a packet left to do, with the place of its checksum where the packet now has it."""
    flags, gso_type, header, size, start = VNET_HEADER.unpack(offload)
    return VNET_HEADER.pack(flags, gso_type, header, size, max(0, start + by))


class UserFilter:
    """The user's filter in the shapes that a capture needs: for the kernel, and for what the kernel cannot judge."""

    def __init__(self, expression: str, snaplen: int) -> None:
        """FilterError in libpcap's words if it is none for Ethernet, the common case."""
        self.expression = expression
        self.program: Program = compile_filter(expression, pcapng.LINKTYPE_ETHERNET, snaplen)
        self.ethernet = encode_program(self.program)
        self.raw: bytes | None = None
        self.raw_error: FilterError | None = None
        try:
            self.raw = encode_program(compile_filter(expression, pcapng.LINKTYPE_RAW, snaplen))
        except FilterError as error:  # such as `arp`: then nothing without an Ethernet header matches
            self.raw_error = error


@dataclass(slots=True)
class _Entry:
    """A line of the file's list of interfaces: one name that an interface had."""

    link: Link
    since_ns: int
    until_ns: int | None = None  # when it was found to be gone, or to have another name
    kept: int = 0
    seen: int = 0


class Recording:
    """An open file. Packets are taken in, put in order, and released to it."""

    def __init__(
        self, path: Path, links: LinkWatch, indexes: tuple[int, ...] | None,
        user: UserFilter | None, snaplen: int, limit_bytes: int, description: str | None = None,
    ) -> None:  # fmt: skip
        """``indexes``: the interfaces to describe at the start; None: all that are there, and all that come.

        ``description``: of each interface.
        """
        self.entries: list[_Entry] = []
        self.taken = 0  # packets out of the ring so far, whatever became of them
        self.not_kept = 0
        self.gone: str | None = None  # the first of the chosen interfaces that went away
        self._links = links
        self._chosen = None if indexes is None else frozenset(indexes)
        self._user = user
        self._snaplen = snaplen
        self._limit = limit_bytes
        self._description = description
        self._current: dict[int, int] = {}  # interface index -> place in entries
        self._renamed: dict[int, list[int]] = {}  # the same for those with several names, oldest first
        self._held: list[tuple[int, int, bytes]] = []  # time, place, packet block: taken and not yet written
        self._written = 0
        self._full = False
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self._write(pcapng.section_header(f"{os.uname().sysname} {os.uname().release}"))
            for index in sorted(links.links) if indexes is None else indexes:
                self._describe(links.links[index], 0)
        except BaseException:
            self.close()
            raise

    @property
    def held(self) -> bool:
        return bool(self._held)

    @property
    def newest_ns(self) -> int:
        """The time of the newest packet that is held; 0 if none is."""
        return self._held[-1][0] if self._held else 0

    def take(self, block: bytes) -> None:
        """Take in a block of the ring. Everything in here happens for every packet."""
        count, offset = BLOCK_PACKETS.unpack_from(block)
        unpack, packet_block, flags_of = PACKET_HEADER.unpack_from, pcapng.enhanced_packet, pcapng.EPB_FLAGS
        held, current, renamed, ethernet = self._held, self._current, self._renamed, pcapng.ETHERNET_TYPES
        last = self.newest_ns
        ordered = True
        for _ in range(count):
            (step, seconds, nanoseconds, captured, length, status, mac, net,
             _hash, tci, tpid, index, hardware_type, packet_type) = unpack(block, offset)  # fmt: skip
            begin = offset + mac
            data = block[begin : begin + captured]
            offload = b""
            at = begin - VNET_HEADER_BYTES
            if block[at + 1] or block[at] & VNET_HDR_F_NEEDS_CSUM:
                offload = block[at : at + VNET_HEADER.size]
            offset += step
            time_ns = seconds * 1_000_000_000 + nanoseconds
            if hardware_type not in ethernet:
                data, length = data[net - mac :], length - (net - mac)
                offload = offload and _moved(offload, mac - net)
                if not self._wanted(data, length, raw=True):
                    continue
                data = data[: self._snaplen]
            elif status & TP_STATUS_VLAN_VALID and len(data) >= 12:
                tag = (tpid if status & TP_STATUS_VLAN_TPID_VALID else _TPID).to_bytes(2, "big")
                data, length = data[:12] + tag + tci.to_bytes(2, "big") + data[12:], length + 4
                offload = offload and _moved(offload, 4)
                if not self._wanted(data, length, raw=False):
                    continue
                data = data[: self._snaplen]
            place = current.get(index, -1)
            if place < 0 or index in renamed:
                place = self._place(index, hardware_type, time_ns)
            if time_ns < last:
                ordered = False
            last = time_ns
            held.append(
                (time_ns, place, packet_block(place, time_ns, data, length, flags_of[packet_type & 7], offload))
            )
        self.taken += count
        if not ordered:
            held.sort(key=itemgetter(0))  # stable: at equal times the ring's order stays

    def _wanted(self, data: bytes, length: int, *, raw: bool) -> bool:
        """The user's filter on a frame that the kernel let through unjudged (see tap_program)."""
        if self._user is None:
            return True
        program = self._user.raw if raw else self._user.ethernet
        return program is not None and matches(program, data, length)

    def _place(self, index: int, hardware_type: int, time_ns: int) -> int:
        """Which of an interface's names a packet belongs to."""
        if index not in self._current:
            self.follow_links()  # so new that its packet overtook the news
        if index not in self._current:
            self._describe(Link(index, f"if{index}", hardware_type), 0)  # it came and went in one breath
        places = self._renamed.get(index) or [self._current[index]]
        for place in reversed(places):
            if self.entries[place].since_ns <= time_ns:
                return place
        return places[0]

    def follow_links(self) -> None:
        """Learn who came, went or has another name; from now on packets are named so."""
        if not self._links.read():
            return
        now_ns = time.time_ns()
        for index, link in self._links.links.items():
            place = self._current.get(index)
            if place is None:
                if self._chosen is None:
                    self._describe(link, now_ns)
            elif index in self._links.gone:
                self._ended(index, now_ns)
            elif self.entries[place].link.name != link.name or self.entries[place].until_ns is not None:
                self._ended(index, now_ns)
                self._describe(link, now_ns)
        for index in sorted(self._links.gone & (self._chosen or frozenset())):
            self.gone = self.gone or self.entries[self._current[index]].link.name

    def _ended(self, index: int, now_ns: int) -> None:
        entry = self.entries[self._current[index]]
        entry.until_ns = entry.until_ns or now_ns

    def _describe(self, link: Link, since_ns: int) -> None:
        place = len(self.entries)
        self.entries.append(_Entry(link, since_ns))
        if link.index in self._current:
            self._renamed.setdefault(link.index, [self._current[link.index]]).append(place)
        self._current[link.index] = place
        linktype = pcapng.linktype_of(link.hardware_type)
        expression = self._user.expression if self._user else None
        block = pcapng.interface_description(link.name, linktype, self._snaplen, expression, self._description)
        self._write(block)

    def release(self, until_ns: int) -> None:
        """Write the packets up to a time; later ones wait, in case an earlier one is still to come."""
        held = self._held
        cut = len(held)
        while cut and held[cut - 1][0] > until_ns:
            cut -= 1
        if not cut:
            return
        out: list[bytes] = []
        size = self._written
        for _time_ns, place, block in held[:cut]:
            entry = self.entries[place]
            entry.seen += 1
            size += len(block)
            if self._full or size > self._limit:
                self._full = True  # from here on nothing: a file with holes would look whole
                self.not_kept += 1
                continue
            entry.kept += 1
            out.append(block)
        del held[:cut]
        self._write(b"".join(out))

    def finish(self, started_ns: int, ended_ns: int, drops: int) -> None:
        """The last words. The ring is shared: any interface may have lost as many as all did, so each says that."""
        for place, entry in enumerate(self.entries):
            since_ns = max(started_ns, entry.since_ns)
            self._write(pcapng.interface_statistics(place, since_ns, ended_ns, entry.seen, drops))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._written)  # whole blocks only, also when the disk is full
            raise
        self._written += len(data)

    def close(self) -> None:
        os.close(self._file)
