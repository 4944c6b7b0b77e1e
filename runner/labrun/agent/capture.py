"""Packets of a network namespace into a pcapng file: kept from the moment `start` returns until `stop` has drained.

One packet socket with a ring (TPACKET_V3) takes all interfaces, so they share one clock and one order, and one thread
of the agent writes. It works wherever packet sockets may be opened, also as root of a user namespace.

As with libpcap: on a loopback interface the outgoing copy of each packet is dropped, so that every packet is there
once, as incoming. Unlike libpcap: interfaces listen to all stations ("promiscuous") only where that is asked for, for
it changes what is looked at (a bridge then takes every frame in, and forwards clones); `any` has real link-layer
headers, and every interface of the namespace by its name, also one that appears later; after a rename, packets go under
the new name. VLAN tags that the kernel put aside are back in the frames. When an interface goes away, `any` loses
nothing, while a capture of that name is over, whoever takes the name next; when it went is told of both, for nobody may
take "it was not there" for "no packet came".

It refuses to interpret packets, to guess (an unknown interface is an error), and to hide a loss: drops, packets past
the size limit, an interface that went away, and its own failures are all in CaptureStats.

Why a ring: `bench/capture.py`, root, 2 shared cores, Linux 6.18, 100-byte frames, 2 s a run, medians of 5 (worst):

               start ms  stop ms  single packet lost  lost at 10k/s  100k/s  300k/s (each rate was reached)
    this           17.4     14.6        0 of 10             0 %        0 %     0 %  (0 %)
    recvmsg         4.2     55.9        0 of 10             0 %        0 %    35 % (49 %)
    tcpdump -U     17.3     22.9       10 of 10             0 %        0 %     0 %  (0 %)

In a user namespace (net.core.rmem_max bounds a socket's buffer there, but no ring) 0 % at all rates here; recvmsg 0 %
(28 %) at 100k/s and 35 % (80 %) at 300k/s; tcpdump does not start. tcpdump is ready 1.0 to 1.8 times as late, and does
not drain: a packet sent after its "listening on" and before the SIGINT never was in its file, and "no packets" would
have been believed. Most of the start is one RCU grace period that the kernel waits for when a ring is made
(synchronize_net in packet_set_ring): the price of the ring, paid once.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import select
import threading
import time
from pathlib import Path

from labrun.agent import pcapng
from labrun.agent.link_watch import LinkWatch
from labrun.agent.packet_ring import PacketRing, RingSize
from labrun.agent.recording import Recording, UserFilter
from labrun.agent.tap_program import MAX_INTERFACES, tap_program
from labrun.packets.libpcap import WHOLE_PACKET
from labrun.protocol.record import dataclass

ANY = ("any",)
DEFAULT_LIMIT = 256 * 1024 * 1024
_BACKLOG_BYTES = 32 * 1024 * 1024  # copied out of the ring and not yet decoded; beyond it the kernel counts drops
_SETTLE_NS = 1_000_000  # two cores may enter packets into the ring in the wrong order; this long they are sorted
_SETTLE_MS = 5
_BRIDGE_FILTERS = Path("/proc/sys/net/bridge")  # of this network namespace; nothing is there without br_netfilter
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
    interface_ends: tuple[int | None, ...]
    """As ``interfaces``: when each went away or got another name; None: it was there to the end."""
    interface_starts: tuple[int, ...]
    """As ``interfaces``: when each was found to be there, or to have this name; 0: it was there at the start."""
    drops: int
    """Lost in the kernel because nobody read in time. Which interface they came from is not known."""
    not_kept: int
    """Seen, but past the size limit."""
    started_ns: int
    ended_ns: int
    reason: str | None
    """Why the capture ended, or went on, unhealthily."""
    bridges: tuple[str, ...] = ()
    """Those that it made promiscuous and whose frames netfilter sees: their frames are judged more often than without.
    """

    @property
    def complete(self) -> bool:
        return not (self.drops or self.not_kept or self.reason)


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
        promiscuous: bool = False,
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
        self._backlog: collections.deque[bytes] = collections.deque()
        self._backlog_bytes = 0
        self._failure: BaseException | None = None
        self._started_ns = self._ended_ns = 0
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stats: CaptureStats | None = None
        self._bridges: tuple[str, ...] = ()

    # --- the calling thread ---

    def start(self) -> None:
        """When this returns, every packet that comes is kept. Raises CaptureError or FilterError, and cleans up."""
        if self._thread is not None:
            raise CaptureError("a capture is started once")
        user = UserFilter(self._expression, self._snaplen) if self._expression else None
        doing = "list interfaces"
        with contextlib.ExitStack() as undo:
            try:
                self._links = LinkWatch()
                undo.callback(self._links.close)
                indexes = self._choose(user)
                doing = "open a packet socket"
                self._ring = PacketRing(tap_program(indexes, user.program if user else None, self._snaplen), self._size)
                undo.callback(self._ring.close)
                if self._promiscuous:
                    for index in indexes or ():
                        self._ring.listen_to_all_stations(index)
                    self._bridges = self._filtered_bridges(indexes or ())
                doing = f"write {self._path}"
                self._recording = Recording(
                    self._path, self._links, indexes, user, self._snaplen, self._limit,
                    description="promiscuous" if self._promiscuous else None,
                )  # fmt: skip
                undo.callback(self._recording.close)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                undo.callback(os.close, self._wake)
                doing = "start capturing"
                self._ring.listen()
            except OSError as error:
                raise CaptureError(f"cannot {doing}: {error}") from error
            self._started_ns = time.time_ns()
            thread = threading.Thread(target=self._run, name=f"capture {self._path.name}", daemon=True)
            thread.start()
            self._thread = thread
            undo.pop_all()  # the thread closes all that

    def flush(self) -> None:
        """When this returns, every packet that the kernel had counted when it was called is in the file."""
        self._ask(_Request(last=False))
        if self._failure is not None:
            raise CaptureError(f"the capture has broken: {self._failure}") from self._failure

    @property
    def kept(self) -> int:
        """How many packets are in the file; after `flush`, all that had come by then."""
        return sum(entry.kept for entry in self._recording.entries)

    def stop(self) -> CaptureStats:
        """Accept no more packets, write all that came, and end the file. A broken capture says so in ``reason``."""
        if self._stats is None:
            self._ask(_Request(last=True))
            entries = self._recording.entries
            reason = f"interface {self._recording.gone} went away" if self._recording.gone else None
            if self._failure is not None:
                reason = f"the capture broke: {type(self._failure).__name__}: {self._failure}"
            self._stats = CaptureStats(
                interfaces=tuple(entry.link.name for entry in entries),
                packets=sum(entry.kept for entry in entries),
                interface_packets=tuple(entry.kept for entry in entries),
                interface_ends=tuple(entry.until_ns for entry in entries),
                interface_starts=tuple(entry.since_ns for entry in entries),
                drops=self._ring.drops,
                not_kept=self._recording.not_kept,
                started_ns=self._started_ns,
                ended_ns=self._ended_ns or time.time_ns(),
                reason=reason,
                bridges=self._bridges,
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

    def _choose(self, user: UserFilter | None) -> tuple[int, ...] | None:
        """The numbers of the interfaces to look at; None for `any`."""
        if self._names == ANY:
            return None
        there = {link.name: index for index, link in self._links.links.items() if index not in self._links.gone}
        for name in self._names:
            if name not in there:
                known = ", ".join(sorted(there)) or "none"
                raise CaptureError(f"no interface {name!r} to capture on; there are: {known}")
        indexes = tuple(there[name] for name in dict.fromkeys(self._names))
        kinds = {pcapng.linktype_of(self._links.links[index].hardware_type) for index in indexes}
        if user and user.raw_error and kinds == {pcapng.LINKTYPE_RAW}:
            raise user.raw_error  # a filter that can match on none of them
        return indexes

    def _filtered_bridges(self, indexes: tuple[int, ...]) -> tuple[str, ...]:
        """Those of the interfaces that are bridges, where their frames cross the hooks of IP (br_netfilter)."""
        try:
            filtered = any(file.read_text().strip() != "0" for file in _BRIDGE_FILTERS.glob("bridge-nf-call-*"))
        except OSError:
            filtered = True
        names = tuple(link.name for link in map(self._links.links.__getitem__, indexes) if link.kind == "bridge")
        return names if filtered else ()

    # --- the reader thread: all that follows runs in it alone ---

    def _run(self) -> None:
        try:
            self._read_until_stopped()
        except BaseException as error:  # noqa: BLE001  a thread has nobody above it; flush and stop tell
            self._failure = error
        finally:
            # Closing a ring waits for the kernel for some 20 ms, and nobody has to wait for that.
            self._ring.close()
            self._links.close()
            self._recording.close()
            os.close(self._wake)

    def _read_until_stopped(self) -> None:
        poll = select.poll()
        for fd in (self._ring.socket.fileno(), self._links.socket.fileno(), self._wake):
            poll.register(fd, select.POLLIN)
        while True:
            patience_ms = 0 if self._backlog else _SETTLE_MS if self._recording.held else None
            quiet = not poll.poll(patience_ms) and not self._backlog
            # Names before packets: who was there a moment ago is known before its packets are written.
            self._recording.follow_links()
            self._pump()
            newest_ns = self._recording.newest_ns
            self._recording.release(newest_ns if quiet else newest_ns - _SETTLE_NS)
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
            self._recording.follow_links()
            if request.last:
                self._recording.finish(self._started_ns, self._ended_ns, self._ring.drops)
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
        self._pump()
        while self._recording.taken + self._ring.drops < goal:
            # Some are in a block that the kernel still fills; it comes within retire_ms.
            poll.poll(0 if self._backlog else 1000)
            self._pump()
            self._ring.count()  # drops grow also while we read
        self._recording.release(self._recording.newest_ns)

    def _pump(self) -> None:
        """Take in the blocks that are ready now."""
        self._empty_ring()
        for _ in range(len(self._backlog)):
            block = self._backlog.popleft()
            self._backlog_bytes -= len(block)
            self._recording.take(block)
            self._empty_ring()

    def _empty_ring(self) -> None:
        # Copying is fast and decoding is slow, so a burst may be as large as the backlog and the ring together.
        while self._backlog_bytes < _BACKLOG_BYTES and (block := self._ring.take()) is not None:
            self._backlog.append(block)
            self._backlog_bytes += len(block)
