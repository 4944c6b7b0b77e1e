"""Packets on their way through netfilter's hooks, as the kernel itself tells it, into a file of `TraceEvent`s.

A rule of ours marks packets for tracing (`meta nftrace set 1`) at the first hooks, and two chains of ours at every hook
say "entered" and "left"; the kernel reports each rule and policy that judges a marked packet on netlink group
NFNLGRP_NFTRACE. No kprobes and no rights outside the network namespace are needed.

What the kernel does (6.18, compared with `nft monitor trace` on the same traffic; tests/agent/test_trace.py):

- Each *matching* rule is an event, with jump, goto and return; then one for the end of the chain (a `rule` without a
  handle), and one for the policy if no rule decided. `reject` is a drop; its ICMP error is another packet.
- No event names a hook, and a hook without a chain is silent. Hence our own chains.
- A dropped packet has no event after the drop. One that routing or a socket refuses between hooks has no event for it.
- The trace id is the same from prerouting to input or postrouting, also through NAT and conntrack. A packet through
  `lo` has one on the way out and another on the way in. Pings one after the other have the same: a packet begins at an
  `enter` of a first hook, not where the id changes.
- A match looks at the packet as it enters the machine: before conntrack (hence no `ct` here), before defragmentation
  (later fragments have no ports), before NAT. Fragments to this machine are seen one by one at prerouting, and what was
  put together goes on under the id of the last one: before input without conntrack, inside prerouting with it.
- What drops without nf_tables is silent (net/netfilter/nf_tables_trace.c is only called from there): the packet has
  entered a hook and not left, or left it and not come to the next.

The table is *owned* by our netlink socket (NFT_TABLE_F_OWNER, Linux 5.12): `nft flush ruleset`, the first line of most
rulesets, leaves it alone, and it goes away with this process. An owner has to stay, so libnftables, the library behind
`nft`, is loaded here; the lab author's match is tried in a child first: its parser meets doubts with abort(). Where the
kernel knows no owners, a flush takes our table away, and then `stop` says so. `nft list ruleset` in a command of the
lab shows the table; snapshots do not. A chain of the lab's with our priority, INT_MIN, that is added later comes before
ours (nf_hook_entries_grow, net/netfilter/core.c): at a first hook the trace does not see it. That and other blind spots
are watched for: see `labrun.agent.unseen`.

Costs (6.18, 2 shared and busy cores): start 1 to 4 ms, with a match some 20 more (the child, and an RCU grace period),
stop 13 ms (another); 6 events of 320 bytes for a packet that is forwarded, 2 us each in the kernel and 60 to 100 in the
reader. Queue and backlog take some 400 000 events; in a user namespace net.core.rmem_max bounds the queue.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import queue
import re
import select
import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

from labrun.agent.link_watch import LinkWatch
from labrun.agent.netfilter import FAMILIES, attributes_at, messages, subscribed
from labrun.agent.nft_state import Unavailable, nft_state
from labrun.agent.trace_table import Families, Table, TraceError, check_match, table_text
from labrun.agent.unseen import UnseenWatch
from labrun.protocol.codec import dumps
from labrun.protocol.events import Unseen
from labrun.protocol.record import dataclass
from labrun.protocol.traces import TRACE_TABLE, TraceEvent, Type, Verdict

DEFAULT_LIMIT = 64 * 1024 * 1024
# include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h (enum nft_trace_attributes, nft_verdict_attributes)
_GROUP_NFTRACE, _MSG_TRACE = 9, 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_TABLE, _CHAIN, _RULE, _TYPE, _VERDICT, _ID, _LINK, _NETWORK, _TRANSPORT = 1, 2, 3, 4, 5, 6, 7, 8, 9
_IIF, _OIF, _MARK, _NFPROTO, _POLICY = 10, 12, 14, 15, 16
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_TYPES: dict[int, Type] = {1: "policy", 2: "return", 3: "rule"}  # enum nft_trace_types
_VERDICTS: dict[int, Verdict] = {  # enum nft_verdicts; the low byte of include/uapi/linux/netfilter.h's
    -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return",
    0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", 5: "stop",
}  # fmt: skip
_SO_MEMINFO = 55  # asm-generic/socket.h
_BUFFER_BYTES = 32 * 1024 * 1024  # some 30 000 events; without rights in the first user namespace rmem_max bounds it
_BACKLOG = 400_000  # events read and not yet decoded, some 150 MB; beyond that the kernel's queue fills
_BATCH, _HELD = 256, 5_000  # events decoded, and written, at a time
_QUEUE_MOST = 2 * _BUFFER_BYTES // 512  # no more fit into the kernel's queue: the least that one takes there
_REPLY_SECONDS = 60.0
_ANY = ("*", "*")
_FORBIDDEN = re.compile(r"[;#$\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class TraceStats:
    """What a trace saw in [started_ns, ended_ns], CLOCK_REALTIME. It is whole only if ``complete``."""

    events: int
    """In the file."""
    drops: int
    """Lost because nobody read in time (ENOBUFS), as the socket counts them. Of which packets is not known."""
    started_ns: int
    ended_ns: int
    trouble: str | None
    blind: tuple[Unseen, ...] = ()
    """What could take packets away before the trace saw them, at any time."""
    silencers: tuple[Unseen, ...] = ()
    """Rules that end the tracing of a packet."""

    @property
    def complete(self) -> bool:
        return not (self.drops or self.trouble)


class Trace:
    """One trace. Construct and start it in the network namespace it is to look at; stop it from anywhere."""

    def __init__(
        self,
        path: Path,
        match: str | None = None,
        families: Families = ("ip", "ip6"),
        *,
        devices: tuple[str, ...] = (),
        limit_bytes: int = DEFAULT_LIMIT,
        owned: bool = True,
    ) -> None:
        """``match``: in nft's language, for packets as they enter the machine; None: all of ``families``.

        ``devices``: also their hooks ingress and egress. ``owned=False`` is for kernels before 5.12.
        """
        if not families or not set(families) <= {"ip", "ip6"}:
            raise TraceError("trace the families ip, ip6 or both")
        if match is not None and (_FORBIDDEN.search(match) or not match.strip()):
            raise TraceError(f"not a match of nft's language in one line: {match!r}")
        self._path, self._match, self._families = path, (match or "").strip(), families
        self._devices, self._limit, self._owned = tuple(dict.fromkeys(devices)), limit_bytes, owned
        self._backlog: collections.deque[tuple[bytes, int]] = collections.deque()
        self._held: list[TraceEvent] = []
        self._hooks: dict[int, str] = {}  # where each packet, by its trace id, is now
        self._rules: dict[tuple[str, str, int], tuple[str | None, str | None]] = {}
        self._events = self._bytes = self._not_kept = self._drops = self._started_ns = 0
        self._requests: queue.SimpleQueue[tuple[bool, threading.Event]] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._stats: TraceStats | None = None

    # --- the calling thread ---

    def start(self) -> None:
        """When this returns, every packet that comes is traced. Raises TraceError, and cleans up."""
        if self._thread is not None:
            raise TraceError("a trace is started once")
        if self._match:
            check_match(self._match)
        with contextlib.ExitStack() as undo:
            try:
                self._links = undo.enter_context(contextlib.closing(LinkWatch()))
                self._socket = undo.enter_context(subscribed(_GROUP_NFTRACE, _BUFFER_BYTES))
                self._unseen = undo.enter_context(contextlib.closing(UnseenWatch(self._devices)))
                self._file = undo.enter_context(self._path.open("wb"))
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                undo.callback(os.close, self._wake)
                self._table = undo.enter_context(contextlib.closing(Table()))
            except OSError as error:
                raise TraceError(f"cannot trace: {error}") from error
            text = table_text(self._match, self._families, self._devices, owned=self._owned)
            refusal = self._table.run(text)
            if refusal and self._owned:  # a kernel that knows no owners?
                refusal = self._table.run(text.replace("flags owner; ", "")) and refusal
            if refusal:
                taken = "File exists" in refusal or "not permitted" in refusal  # by a trace that owns it
                there = "; is there another trace in this node? One at a time" if taken else ""
                raise TraceError(f"nft: {refusal}{there}")
            self._started_ns = time.time_ns()
            thread = threading.Thread(target=self._run, name=f"trace {self._path.name}", daemon=True)
            thread.start()
            self._thread = thread
            self._closing = undo.pop_all()

    def flush(self) -> None:
        """When this returns, all that the kernel had told when it was called is in the file."""
        self._ask(last=False)
        if self._failure is not None:
            raise TraceError(f"the trace has broken: {self._failure}") from self._failure

    @property
    def kept(self) -> int:
        """How many events are in the file."""
        return self._events

    def stop(self) -> TraceStats:
        """Take the table away, write all that came, and end the file. A broken trace says so in ``trouble``."""
        if self._stats is None:
            if self._thread is None:
                raise TraceError("the trace was not started")
            troubles = []
            ended_ns = time.time_ns()
            families = ("inet", "netdev") if self._devices else ("inet",)
            if gone := self._table.run("".join(f"delete table {family} {TRACE_TABLE}\n" for family in families)):
                troubles.append(f"the table {TRACE_TABLE} was taken away during the trace (nft flush ruleset?): {gone}")
            self._ask(last=True)
            self._thread.join(_REPLY_SECONDS)
            blind, silencers = self._unseen.blind, self._unseen.silencers
            self._closing.close()
            if self._failure is not None:
                troubles.append(f"the trace broke: {type(self._failure).__name__}: {self._failure}")
            if self._not_kept:
                troubles.append(f"{self._not_kept} events past the limit of {self._limit} bytes were not kept")
            if self._drops:
                troubles.append(f"the kernel dropped {self._drops} events, for they were not read in time")
            trouble = "; ".join(troubles) or None
            self._stats = TraceStats(self._events, self._drops, self._started_ns, ended_ns, trouble, blind, silencers)
        return self._stats

    def _ask(self, *, last: bool) -> None:
        if self._thread is None or self._stats is not None:
            raise TraceError("the trace is not running")
        done = threading.Event()
        self._requests.put((last, done))
        os.eventfd_write(self._wake, 1)
        deadline = time.monotonic() + _REPLY_SECONDS
        while not done.wait(0.05):
            if not self._thread.is_alive():
                return  # broken; _failure says how
            if time.monotonic() > deadline:
                raise TraceError(f"the trace did not answer within {_REPLY_SECONDS:g} s")

    # --- the reader thread: all that follows runs in it alone ---

    def _run(self) -> None:
        try:
            self._read_until_stopped()
        except BaseException as error:  # noqa: BLE001  a thread has nobody above it; flush and stop tell
            self._failure = error

    def _read_until_stopped(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for sock in (self._socket, self._links.socket, self._unseen.rules, self._unseen.devices):
            poll.register(sock.fileno(), select.POLLIN)
        deleted: set[tuple[str, str]] = set()
        last = False
        while not last:
            poll.poll(0 if self._backlog else None)
            requests = []
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            with contextlib.suppress(queue.Empty):
                while True:
                    requests.append(self._requests.get_nowait())
            self._links.read()  # names before packets
            emptied = self._read()
            goal = len(self._backlog) + (0 if emptied else _QUEUE_MOST) if requests else 1
            while goal > 0 and self._backlog:
                goal -= self._take_some()
                self._read()
            deleted |= self._unseen.read()
            if requests or len(self._held) >= _HELD:
                self._write(deleted)
                deleted = set()
            for is_last, done in requests:
                last = last or is_last
                done.set()

    def _read(self) -> bool:
        """Take in what the kernel has; whether that was all. Reading is fast and decoding is slow."""
        while len(self._backlog) < _BACKLOG:
            try:
                self._backlog.append((self._socket.recv(1 << 16), time.time_ns()))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        # struct sk_meminfo's SK_MEMINFO_DROPS, include/uapi/linux/sock_diag.h
        self._drops = struct.unpack_from("=I", self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36), 32)[0]
        return len(self._backlog) < _BACKLOG

    def _take_some(self) -> int:
        """Decode a few of the backlog, so that the kernel need not wait for long; how many."""
        count = min(_BATCH, len(self._backlog))
        for _ in range(count):
            data, wall_ns = self._backlog.popleft()
            for kind, family, attributes in messages(data):
                if kind == _MSG_TRACE:
                    self._take(family, attributes, wall_ns)
        return count

    def _take(self, family: str, attributes: dict[int, bytes], wall_ns: int) -> None:
        event = self._decode(family, attributes, wall_ns)
        ends = ("input", "egress") if self._devices else ("input", "postrouting")
        if event.verdict == "drop" or (event.leaves and event.hook in ends):
            self._hooks.pop(event.id, None)
        elif event.own and event.hook is not None:
            self._hooks[event.id] = event.hook
        self._held.append(event)

    def _decode(self, family: str, attributes: dict[int, bytes], wall_ns: int) -> TraceEvent:
        number = {key: int.from_bytes(value, "big") for key, value in attributes.items() if len(value) in (4, 8)}
        text = {key: attributes[key].rstrip(b"\0").decode(errors="replace") for key in (_TABLE, _CHAIN)}
        verdict = dict(attributes_at(attributes.get(_VERDICT, b""), 0))
        code = int.from_bytes(verdict.get(_VERDICT_CODE, attributes.get(_POLICY, b"\xff" * 4)), "big", signed=True)
        target = verdict.get(_VERDICT_CHAIN)
        protocol = number.get(_NFPROTO)
        iif, oif = number.get(_IIF), number.get(_OIF)
        return TraceEvent(
            wall_ns=wall_ns,
            id=number[_ID],
            hook=text[_CHAIN].rpartition("_")[0] if text[_TABLE] == TRACE_TABLE else self._hooks.get(number[_ID]),
            family=family,
            table=text[_TABLE],
            chain=text[_CHAIN],
            type=_TYPES[number[_TYPE]],
            verdict=_VERDICTS[code if code < 0 else code & 0xFF],
            rule=number.get(_RULE),
            target=None if target is None else target.rstrip(b"\0").decode(errors="replace"),
            protocol=None if protocol is None else FAMILIES.get(protocol, str(protocol)),
            iif=iif,
            iif_name=self._name(iif),
            oif=oif,
            oif_name=self._name(oif),
            mark=number.get(_MARK),
            link=_hex(attributes.get(_LINK)),
            network=_hex(attributes.get(_NETWORK)),
            transport=_hex(attributes.get(_TRANSPORT)),
        )

    def _name(self, index: int | None) -> str | None:
        link = None if index is None else self._links.links.get(index)
        return None if link is None else link.name

    def _write(self, deleted: set[tuple[str, str]]) -> None:
        """The held events, with the words of their rules. ``deleted``: tables that went since the last time."""
        held, self._held = self._held, []
        hit = {(event.family, event.table, event.rule) for event in held if event.rule is not None and not event.own}
        for key in [key for key in self._rules if key[:2] in deleted or _ANY in deleted]:
            del self._rules[key]
        if hit - self._rules.keys():
            with contextlib.suppress(Unavailable):
                for rule in nft_state().rules:
                    self._rules[(rule.family, rule.table, rule.handle)] = (rule.expression, rule.comment)
            deleted = deleted | self._unseen.read()
        for key in [key for key in self._rules if key[:2] in deleted or _ANY in deleted]:
            del self._rules[key]
        lines = []
        for event in held:
            # A table made anew counts its handles anew: then an old event's handle may be another rule's.
            again = (event.family, event.table) in deleted or _ANY in deleted
            if event.rule is not None and not event.own and not again:
                key = (event.family, event.table, event.rule)
                words, comment = self._rules.setdefault(key, (None, None))
                event = replace(event, text=words, comment=comment)
            line = dumps(event).encode() + b"\n"
            if self._bytes + len(line) > self._limit:
                self._not_kept += 1
                continue
            self._bytes += len(line)
            self._events += 1
            lines.append(line)
        self._file.write(b"".join(lines))
        self._file.flush()


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()
