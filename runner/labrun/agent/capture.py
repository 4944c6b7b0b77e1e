"""Packets of a network namespace into a pcapng file: kept from the moment `start` returns until `stop` has drained.

One packet socket with a ring (TPACKET_V3) takes all interfaces, so they share one clock and one order, and one thread
of the agent writes. It works wherever packet sockets may be opened, also as root of a user namespace.

As with libpcap: named interfaces listen to all stations ("promiscuous"), `any` leaves them as they are, and on a
loopback interface the outgoing copy of each packet is dropped, so that every packet is there once, as incoming. Unlike
libpcap: `any` has real link-layer headers, and every interface of the namespace by its name, also one that appears
later; after a rename, packets go under the new name. VLAN tags that the kernel put aside are back in the frames.

It refuses to interpret packets, to guess (an unknown interface is an error), and to hide a loss: drops, packets past
the size limit, an interface that went away, and its own failures are all in CaptureStats.

@@BENCH@@
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import select
import threading
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
    PacketRing,
    RingSize,
)
from labrun.agent.pcap_filter import (
    WHOLE_PACKET,
    FilterError,
    Program,
    compile_filter,
    encode_program,
    matches,
)
from labrun.agent.tap_program import MAX_INTERFACES, tap_program

ANY = ("any",)
DEFAULT_LIMIT = 256 * 1024 * 1024
_BACKLOG_BYTES = 32 * 1024 * 1024  # copied out of the ring and not yet written; beyond it the kernel counts drops
_SETTLE_NS = 1_000_000  # two cores may enter packets into the ring in the wrong order; this long they are sorted
_SETTLE_MS = 5
_TPID = 0x8100  # 802.1Q, when the kernel does not say which
_REPLY_SECONDS = 60.0  # a flush that takes longer has a dead disk under it, or a stopped process


class CaptureError(Exception):
    """The capture cannot be started, or has broken. The message says which and why."""


@dataclass(frozen=True, slots=True)
class CaptureStats:
    """What a capture saw in [started_ns, ended_ns], CLOCK_REALTIME, and whether that was all there was.

    ``packets`` and ``interface_packets`` count those in the file. Everything was kept only if ``complete``.
    """

    interfaces: tuple[str, ...]
    """In the file's order. With `any`: all that were there at some time."""
    packets: int
    interface_packets: tuple[int, ...]
    """As ``interfaces``."""
    drops: int
    """Lost in the kernel because nobody read in time. Which interface they came from is not known."""
    not_kept: int
    """Seen, but past the size limit."""
    started_ns: int
    ended_ns: int
    reason: str | None
    """Why the capture ended, or went on, unhealthily."""

    @property
    def complete(self) -> bool:
        return not (self.drops or self.not_kept or self.reason)


@dataclass(slots=True)
class _Interface:
    """A line of the file's list of interfaces: one name that an interface had."""

    link: Link
    since_ns: int
    kept: int = 0
    seen: int = 0


class _Request:
    """Something asked of the reader thread, and its answer."""

    def __init__(self, *, last: bool) -> None:
        self.last = last
        self.done = threading.Event()


class Capture:
    """One capture. Construct and start it in the network namespace it is to look at; stop it from anywhere."""

    def __init__(
        self,
        path: Path,
        interfaces: tuple[str, ...] = ANY,
        filter_expression: str | None = None,
        *,
        snaplen: int = WHOLE_PACKET,
        ring: RingSize = RingSize(),  # noqa: B008  frozen
        limit_bytes: int = DEFAULT_LIMIT,
        promiscuous: bool = True,
    ) -> None:
        """``limit_bytes``: the most that the file may grow to. ``promiscuous`` is for named interfaces."""
        if not interfaces or ("any" in interfaces and interfaces != ANY):
            raise CaptureError("capture on some interfaces, or on `any` alone")
        if len(interfaces) > MAX_INTERFACES:
            raise CaptureError(f"capture on {len(interfaces)} interfaces: more than {MAX_INTERFACES}, use `any`")
        if not 0 < snaplen <= WHOLE_PACKET:
            raise CaptureError(f"snaplen {snaplen} is not in 1 to {WHOLE_PACKET}")
        self._path = path
        self._names = interfaces
        self._expression = filter_expression or None
        self._snaplen = snaplen
        self._size = ring
        self._limit = limit_bytes
        self._promiscuous = promiscuous and interfaces != ANY
        self._user_ethernet: bytes | None = None
        self._user_raw: bytes | None = None
        self._interfaces: list[_Interface] = []
        self._current: dict[int, int] = {}  # interface index -> place in _interfaces
        self._renamed: dict[int, list[int]] = {}  # the same for those with several names, oldest first
        self._watched: frozenset[int] | None = None  # None: any
        self._backlog: collections.deque[bytes] = collections.deque()
        self._backlog_bytes = 0
        self._held: list[tuple[int, int, bytes]] = []  # time, place, packet block: read, not yet written
        self._read = 0
        self._written = 0
        self._full = False
        self._not_kept = 0
        self._failure: BaseException | None = None
        self._reason: str | None = None
        self._ended_ns = 0
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._wake = -1
        self._thread: threading.Thread | None = None
        self._stats: CaptureStats | None = None

    # --- the calling thread ---

    def start(self) -> None:
        """When this returns, every packet that comes is kept. Raises CaptureError or FilterError, and cleans up."""
        if self._thread is not None:
            raise CaptureError("a capture is started once")
        program = self._compile()
        try:
            self._links = LinkWatch()
        except OSError as error:
            raise CaptureError(f"cannot list interfaces: {error}") from error
        try:
            indexes = self._choose()
            self._check_filter()
            self._ring = PacketRing(tap_program(indexes, program, self._snaplen), self._size)
        except OSError as error:
            self._links.close()
            raise CaptureError(f"cannot open a packet socket: {error}") from error
        except BaseException:
            self._links.close()
            raise
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._ring.close()
            self._links.close()
            raise CaptureError(f"cannot write {self._path}: {error}") from error
        try:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            if self._promiscuous:
                for index in indexes or ():
                    self._ring.listen_to_all_stations(index)
            header = pcapng.section_header(f"{os.uname().sysname} {os.uname().release}")
            self._write(header)
            for index in indexes if indexes is not None else sorted(self._links.links):
                self._describe(self._links.links[index], 0)
            self._ring.listen()
        except OSError as error:
            self._close()
            raise CaptureError(f"cannot start capturing: {error}") from error
        self._started_ns = time.time_ns()
        self._thread = threading.Thread(target=self._run, name=f"capture {self._path.name}", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """When this returns, every packet that the kernel had counted when it was called is in the file."""
        self._ask(_Request(last=False))
        if self._failure is not None:
            raise CaptureError(f"the capture has broken: {self._failure}") from self._failure

    @property
    def kept(self) -> int:
        """How many packets are in the file; after `flush`, all that had come by then."""
        return sum(entry.kept for entry in self._interfaces)

    def stop(self) -> CaptureStats:
        """Accept no more packets, write all that came, and end the file. A broken capture says so in ``reason``."""
        if self._stats is None:
            self._ask(_Request(last=True))
            reason = self._reason
            if self._failure is not None:
                reason = f"the capture broke: {type(self._failure).__name__}: {self._failure}"
            self._stats = CaptureStats(
                interfaces=tuple(entry.link.name for entry in self._interfaces),
                packets=sum(entry.kept for entry in self._interfaces),
                interface_packets=tuple(entry.kept for entry in self._interfaces),
                drops=self._ring.drops,
                not_kept=self._not_kept,
                started_ns=self._started_ns,
                ended_ns=self._ended_ns or time.time_ns(),
                reason=reason,
            )
        return self._stats

    def _ask(self, request: _Request) -> None:
        if self._thread is None:
            raise CaptureError("the capture was not started")
        if self._stats is not None:
            raise CaptureError("the capture has been stopped")
        self._requests.put(request)
        with contextlib.suppress(OSError):  # a reader that has broken closed it; that it is not alive tells
            os.eventfd_write(self._wake, 1)
        deadline = time.monotonic() + _REPLY_SECONDS
        # A reader that has broken answers what was asked before; asked later, its end is the answer.
        while self._thread.is_alive() and not request.done.wait(0.05):
            if time.monotonic() > deadline:
                self._failure = self._failure or TimeoutError(f"nothing written for {_REPLY_SECONDS:g} s")
                return

    def _compile(self) -> Program | None:
        if self._expression is None:
            return None
        program = compile_filter(self._expression, pcapng.LINKTYPE_ETHERNET, self._snaplen)
        self._user_ethernet = encode_program(program)
        return program

    def _check_filter(self) -> None:
        """The same filter for frames without Ethernet header. If it makes no sense there, such a frame never matches,
        but naming only such interfaces is an error."""
        if self._expression is None:
            return
        try:
            self._user_raw = encode_program(compile_filter(self._expression, pcapng.LINKTYPE_RAW, self._snaplen))
        except FilterError:
            kinds = {pcapng.linktype_of(self._links.links[index].hardware_type) for index in self._watched or ()}
            if kinds == {pcapng.LINKTYPE_RAW}:
                raise

    def _choose(self) -> tuple[int, ...] | None:
        if self._names == ANY:
            return None
        there = {link.name: index for index, link in self._links.links.items() if index not in self._links.gone}
        for name in self._names:
            if name not in there:
                known = ", ".join(sorted(there)) or "none"
                raise CaptureError(f"no interface {name!r} to capture on; there are: {known}")
        indexes = tuple(there[name] for name in dict.fromkeys(self._names))
        self._watched = frozenset(indexes)
        return indexes

    # --- the reader thread: all that follows runs in it alone, once it is started ---

    def _run(self) -> None:
        try:
            self._read_until_stopped()
        except BaseException as error:  # noqa: BLE001  a thread has nobody above it; flush and stop tell
            self._failure = error
        finally:
            # Closing a ring waits for the kernel for some 20 ms, and nobody has to wait for that.
            self._close()

    def _read_until_stopped(self) -> None:
        poll = select.poll()
        for fd in (self._ring.socket.fileno(), self._links.socket.fileno(), self._wake):
            poll.register(fd, select.POLLIN)
        while True:
            # Names before packets: who was there a moment ago is known before its packets are written.
            ready = poll.poll(0 if self._backlog else _SETTLE_MS if self._held else None) or self._backlog
            self._follow_links()
            newest = self._pump()
            self._release(newest - _SETTLE_NS if ready else newest)
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                continue
            with contextlib.suppress(BlockingIOError):  # the request may be here before its wake-up call
                os.eventfd_read(self._wake)
            if request.last:
                self._ended_ns = time.time_ns()
                self._ring.deafen()
            self._drain()
            self._follow_links()
            if request.last:
                self._finish()
                request.done.set()
                return
            request.done.set()
            if not self._requests.empty():
                os.eventfd_write(self._wake, 1)

    def _drain(self) -> None:
        """Read until all that the kernel had counted on entry has been written."""
        self._ring.count()
        goal = self._ring.counted
        poll = select.poll()
        poll.register(self._ring.socket.fileno(), select.POLLIN)
        newest = self._pump()
        while self._read + self._ring.drops < goal:
            # Some are in a block that the kernel still fills; it comes within retire_ms.
            poll.poll(0 if self._backlog else 1000)
            newest = max(newest, self._pump())
            self._ring.count()  # drops grow also while we read
        self._release(newest)

    def _pump(self) -> int:
        """Take in the blocks that are ready now; the newest time held, in ns."""
        self._empty_ring()
        for _ in range(len(self._backlog)):
            block = self._backlog.popleft()
            self._backlog_bytes -= len(block)
            self._decode(block)
            self._empty_ring()
        return self._held[-1][0] if self._held else 0

    def _empty_ring(self) -> None:
        # Copying is fast and decoding is slow, so a burst may be as large as the backlog and the ring together.
        while self._backlog_bytes < _BACKLOG_BYTES and (block := self._ring.take()) is not None:
            self._backlog.append(block)
            self._backlog_bytes += len(block)

    def _decode(self, block: bytes) -> None:
        count, offset = BLOCK_PACKETS.unpack_from(block)
        unpack, packet_block, flags_of = PACKET_HEADER.unpack_from, pcapng.enhanced_packet, pcapng.EPB_FLAGS
        held, current, ethernet = self._held, self._current, pcapng.ETHERNET_TYPES
        snaplen, expression = self._snaplen, self._expression
        last = held[-1][0] if held else 0
        ordered = True
        for _ in range(count):
            (step, seconds, nanoseconds, captured, length, status, mac, net,
             _hash, tci, tpid, index, hardware_type, packet_type) = unpack(block, offset)  # fmt: skip
            begin = offset + mac
            data = block[begin : begin + captured]
            offset += step
            time_ns = seconds * 1_000_000_000 + nanoseconds
            if hardware_type not in ethernet:
                data, length = data[net - mac :], length - (net - mac)
                if expression is not None and not (self._user_raw and matches(self._user_raw, data, length)):
                    continue
                data = data[:snaplen]
            elif status & TP_STATUS_VLAN_VALID and len(data) >= 12:
                tag = (tpid if status & TP_STATUS_VLAN_TPID_VALID else _TPID).to_bytes(2, "big")
                data, length = data[:12] + tag + tci.to_bytes(2, "big") + data[12:], length + 4
                if self._user_ethernet is not None and not matches(self._user_ethernet, data, length):
                    continue
                data = data[:snaplen]
            place = current.get(index, -1)
            if place < 0 or index in self._renamed:
                place = self._place(index, hardware_type, time_ns)
            if time_ns < last:
                ordered = False
            last = time_ns
            held.append((time_ns, place, packet_block(place, time_ns, data, length, flags_of[packet_type & 7])))
        self._read += count
        if not ordered:
            held.sort(key=itemgetter(0))  # stable: at equal times the ring's order stays

    def _release(self, until_ns: int) -> None:
        """Write the packets up to a time; later ones wait, in case an earlier one is still to come."""
        held = self._held
        cut = len(held)
        while cut and held[cut - 1][0] > until_ns:
            cut -= 1
        if not cut:
            return
        out: list[bytes] = []
        size = self._written
        entries = self._interfaces
        for _time_ns, place, block in held[:cut]:
            entry = entries[place]
            entry.seen += 1
            size += len(block)
            if self._full or size > self._limit:
                self._full = True  # from here on nothing: a file with holes would look whole
                self._not_kept += 1
                continue
            entry.kept += 1
            out.append(block)
        del held[:cut]
        self._write(b"".join(out))

    def _place(self, index: int, hardware_type: int, time_ns: int) -> int:
        """Which of an interface's names a packet belongs to."""
        if index not in self._current:
            self._follow_links()  # so new that its packet overtook the news
        if index not in self._current:
            self._describe(Link(index, f"if{index}", hardware_type), 0)  # it came and went in one breath
        for place in reversed(self._renamed.get(index, ())):
            if self._interfaces[place].since_ns <= time_ns:
                return place
        return self._renamed[index][0] if index in self._renamed else self._current[index]

    def _follow_links(self) -> None:
        if not self._links.read():
            return
        now_ns = time.time_ns()
        for index, link in self._links.links.items():
            place = self._current.get(index)
            if place is None:
                if self._watched is None:
                    self._describe(link, now_ns)
            elif self._interfaces[place].link.name != link.name:
                self._describe(link, now_ns)
        for index in self._links.gone & (self._watched or set()):
            name = self._interfaces[self._current[index]].link.name
            self._reason = self._reason or f"interface {name} went away"

    def _describe(self, link: Link, since_ns: int) -> None:
        place = len(self._interfaces)
        self._interfaces.append(_Interface(link, since_ns))
        if link.index in self._current:
            self._renamed.setdefault(link.index, [self._current[link.index]]).append(place)
        self._current[link.index] = place
        linktype = pcapng.linktype_of(link.hardware_type)
        self._write(pcapng.interface_description(link.name, linktype, self._snaplen, self._expression))

    def _finish(self) -> None:
        for place, entry in enumerate(self._interfaces):
            # The ring is shared: each interface may have lost as many as all together, so that is what each says.
            started_ns = max(self._started_ns, entry.since_ns)
            self._write(pcapng.interface_statistics(place, started_ns, self._ended_ns, entry.seen, self._ring.drops))

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

    def _close(self) -> None:
        self._ring.close()
        self._links.close()
        os.close(self._file)
        if self._wake >= 0:
            os.close(self._wake)
