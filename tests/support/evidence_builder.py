"""Evidence of one variant, put together call by call and written as a real run writes it.

Through EvidenceWriter and the agent's own pcapng blocks; nothing is patched. Times are milliseconds since the agent's
start: steps end when they are said to, packets come when they are said to, and the wall clock agrees unless shifted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrun.agent import pcapng
from labrun.agent.pcap_filter import compile_filter
from labrun.evidence.record import VariantRecord, read_variant
from labrun.evidence.writer import EvidenceWriter
from labrun.lab.predictions import Prediction
from labrun.protocol import actions
from labrun.protocol.codec import dumps
from labrun.protocol.events import (
    CaptureEnded,
    CaptureResult,
    ChangeResult,
    CommandResult,
    Done,
    Event,
    Fault,
    Hello,
    Load,
    Output,
    ProcessEnded,
    Program,
    Result,
    SeriesResult,
    SnapshotResult,
    StartResult,
    StepEnded,
    StepStarted,
    TraceEnded,
    TraceResult,
)
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Plan, Step
from labrun.protocol.state import KernelState, NodeState, Sample
from labrun.protocol.traces import TraceEvent
from pydantic import TypeAdapter

WALL_NS = 1_790_000_000_000_000_000
MS = 1_000_000
SNAPLEN = 262144
_PREDICTION: TypeAdapter[Prediction] = TypeAdapter(Prediction)


def prediction(value: object) -> Prediction:
    """A prediction as an author writes it."""
    return _PREDICTION.validate_python(value)


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet that was captured. ``kept``: bytes of it, where it was cut. ``offload``: of a struct virtio_net_hdr, 8."""

    at: float
    data: bytes
    on: str = "lo"
    direction: str | None = "in"
    kept: int | None = None
    offload: bytes = b""


_FLAGS = {"in": pcapng.EPB_FLAGS[0], "out": pcapng.EPB_FLAGS[4], None: 0}


def capture_file(
    interfaces: Sequence[str], packets: Sequence[Seen], linktypes: Mapping[str, int] | None = None
) -> bytes:
    """A pcapng file in the agent's blocks."""
    out = [pcapng.section_header("Linux")]
    out += [pcapng.interface_description(name, (linktypes or {}).get(name, 1), SNAPLEN) for name in interfaces]
    for seen in packets:
        place = list(interfaces).index(seen.on)
        time_ns = WALL_NS + round(seen.at * MS)
        kept = seen.data[: seen.kept]
        out.append(pcapng.enhanced_packet(place, time_ns, kept, len(seen.data), _FLAGS[seen.direction], seen.offload))
    return b"".join(out)


def run_of(folder: Path) -> Path | None:
    """The run directory that a variant's folder is in, if it is in one."""
    return folder.parents[2] if folder.parents[1].name == "labs" else None


class Evidence:
    """Collects steps and frames; ``write`` or ``read`` ends it. Each method returns the same object."""

    def __init__(self, folder: Path, variant: str = "experiment", filters: Sequence[str] = ()) -> None:
        self.folder = folder
        self._watched: dict[str, tuple[str, ...]] = {}
        self._variant = variant
        self._filters = tuple(filters)
        self._steps: list[Step] = []
        self._frames: list[Event | Piece] = []
        self._now = 0.0
        programs = tuple(
            Program(expression, linktype, tuple(compile_filter(expression, linktype)))
            for expression in filters
            for linktype in (1,)
        )
        self.hello = Hello(0, WALL_NS, "0", "", "6.1.0", "x86_64", "3.11.2", (), {}, programs)

    def step(
        self, name: str, action: actions.Action, result: Result | None = None, *, at: tuple[float, float] | None = None,
        status: str = "ok", message: str | None = None, node: str | None = "host", wall_shift: float = 0,
        started: bool = True, ended: bool = True, shell: str | None = None, may_fail: bool = False, saved: dict[str, Any] | None = None,
        load: Load | None = None,
    ) -> Evidence:  # fmt: skip
        """``wall_shift``: by how much the wall clock was set between start and end, in ms."""
        begin, end = at or (self._now, self._now + 10)
        self._now = max(self._now, end)
        self._steps.append(Step(name, action, node, shell=shell, may_fail=may_fail))
        if started:
            self._frames.append(StepStarted(name, round(begin * MS), WALL_NS + round(begin * MS)))
        if started and ended:
            wall = WALL_NS + round((end + wall_shift) * MS)
            self._frames.append(StepEnded(name, round(end * MS), wall, status, message, result, saved, load))  # type: ignore[arg-type]
        return self

    def output(self, name: str, data: bytes, size: int | None = None, ship: bool = True) -> Output:
        path = f"outputs/{name}"
        if ship:
            self._frames.append(Piece(path, data))
        return Output(path, len(data) if size is None else size, len(data))

    def run(
        self, name: str, stdout: bytes = b"", stderr: bytes = b"", exit: int | None = 0, signal: str | None = None,
        size: int | None = None, ship: bool = True, **step: Any,
    ) -> Evidence:  # fmt: skip
        """``size``: of stdout in all, where more was printed than was kept. ``ship`` False: its file never came."""
        out, err = self.output(f"{name}.stdout", stdout, size, ship), self.output(f"{name}.stderr", stderr)
        return self.step(name, actions.Run((name,)), CommandResult(exit, signal, out, err), **step)

    def start(self, name: str, **step: Any) -> Evidence:
        return self.step(name, actions.Start((name,)), step.pop("result", StartResult(7)), **step)

    def process_ended(
        self, name: str, stdout: bytes = b"", exit: int | None = None, signal: str | None = None, stopped: bool = False
    ) -> Evidence:
        out, err = self.output(f"{name}.stdout", stdout), self.output(f"{name}.stderr", b"")
        return self.event(ProcessEnded(name, *self._times(), stopped, exit, signal, out, err))

    def change(self, name: str, errno: str | None = None, **step: Any) -> Evidence:
        return self.step(name, actions.Route("add", "default"), step.pop("result", ChangeResult(errno)), **step)

    def capture(self, name: str, *interfaces: str, **step: Any) -> Evidence:
        """The step that starts it."""
        result = step.pop("result", CaptureResult(f"captures/{name}.pcapng", interfaces))
        self._watched.setdefault(name, interfaces)
        return self.step(name, actions.Capture(interfaces), result, **step)

    def captured(self, name: str, interfaces: Sequence[str], *packets: Seen, **linktypes: int) -> Evidence:
        self._watched[name] = tuple(interfaces)
        return self.piece(f"captures/{name}.pcapng", capture_file(interfaces, packets, linktypes))

    def capture_ended(
        self, name: str, packets: int, *, during: tuple[float, float] = (20, 1000), drops: int = 0, not_kept: int = 0,
        trouble: str | None = None, interfaces: Sequence[str] | None = None, ends: Sequence[float | None] | None = None,
        starts: Sequence[float] | None = None, bridges: Sequence[str] = (),
    ) -> Evidence:  # fmt: skip
        """``ends``, ``starts``: as ``interfaces``, when each went away or came, in ms.

        ``interfaces``: None: those that the file names.
        """
        interfaces = self._watched[name] if interfaces is None else interfaces
        came = None if starts is None else tuple(WALL_NS + round(at * MS) for at in starts)
        begin, end = (WALL_NS + round(at * MS) for at in during)
        gone = None if ends is None else tuple(None if at is None else WALL_NS + round(at * MS) for at in ends)
        return self.event(CaptureEnded(name, *self._times(), f"captures/{name}.pcapng", tuple(interfaces), packets,
                                       drops, not_kept, begin, end, trouble, gone, came, tuple(bridges)))  # fmt: skip

    def snapshot(self, name: str, nodes: Mapping[str, NodeState], ship: bool = True, **step: Any) -> Evidence:
        path = f"snapshots/{name}.json"
        if ship:
            self.piece(path, dumps(KernelState(dict(nodes))).encode())
        result = step.pop("result", SnapshotResult(path))
        return self.step(name, actions.Snapshot(tuple(nodes) or ("host",)), result, node=None, **step)

    def series(
        self,
        name: str,
        moments: Sequence[tuple[float, NodeState]],
        ship: bool = True,
        changes: Sequence[float] = (),
        unseen: tuple[str, ...] = (),
        **step: Any,
    ) -> Evidence:
        """A repeated snapshot of `host`: (milliseconds since the agent's start, state). ``changes``: those at a change.

        ``unseen``: of the last moment.
        """
        path = f"snapshots/{name}.jsonl"
        if ship:
            lines = (
                dumps(
                    Sample(
                        round(at * MS),
                        KernelState({"host": state}),
                        True if at in changes else None,
                        unseen if unseen and at == moments[-1][0] else None,
                    )
                )
                for at, state in moments
            )
            self.piece(path, "".join(f"{line}\n" for line in lines).encode())
        result = step.pop("result", SeriesResult(path, len(moments)))
        return self.step(name, actions.Snapshot(("host",)), result, node=None, **step)

    def lookup(self, name: str, result: Result | None, **step: Any) -> Evidence:
        return self.step(name, actions.Lookup("10.0.0.1"), result, **step)

    def trace(self, name: str, **step: Any) -> Evidence:
        """The step that starts it."""
        return self.step(name, actions.Trace(), step.pop("result", TraceResult(f"traces/{name}.jsonl")), **step)

    def traced(self, name: str, *events: TraceEvent) -> Evidence:
        return self.piece(f"traces/{name}.jsonl", "".join(f"{dumps(event)}\n" for event in events).encode())

    def trace_ended(
        self, name: str, events: int, drops: int = 0, trouble: str | None = None, **unseen: Any
    ) -> Evidence:
        return self.event(TraceEnded(name, *self._times(), f"traces/{name}.jsonl", events, drops, trouble, **unseen))

    def fault(self, code: str, message: str = "it broke", step: str | None = None) -> Evidence:
        return self.event(Fault(round(self._now * MS), code, message, step))

    def done(self) -> Evidence:
        return self.event(Done(*self._times()))

    def piece(self, path: str, data: bytes) -> Evidence:
        self._frames.append(Piece(path, data))
        return self

    def event(self, event: Event) -> Evidence:
        self._frames.append(event)
        return self

    def write(self) -> Path:
        plan = Plan("lab", self._variant, tuple(self._steps), ("host",), self._filters).sealed()
        hello = dataclasses.replace(self.hello, plan=plan.digest)
        with EvidenceWriter(self.folder, plan, run=run_of(self.folder)) as writer:
            for frame in (hello, *self._frames):
                writer.put(frame)
        return self.folder

    def read(self) -> VariantRecord:
        return read_variant(self.write())

    def _times(self) -> tuple[int, int]:
        return round(self._now * MS), WALL_NS + round(self._now * MS)


def ipv4(protocol: int, payload: bytes = b"", source: str = "10.0.0.1", to: str = "10.0.0.2") -> bytes:
    """An IPv4 packet; checksums are left at zero."""
    ends = b"".join(bytes(map(int, address.split("."))) for address in (source, to))
    total = 20 + len(payload)
    return bytes((0x45, 0, total >> 8, total & 255, 0, 1, 0, 0, 64, protocol, 0, 0)) + ends + payload


def ethernet(packet: bytes, kind: int = 0x0800) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + packet


def icmp(size: int = 8) -> bytes:
    return ethernet(ipv4(1, bytes((8, 0)) + bytes(size)))


def udp(port: int, size: int = 0) -> bytes:
    return ethernet(
        ipv4(17, (4000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + size).to_bytes(2, "big") + bytes(2 + size))
    )


def tagged(frame: bytes, vlan: int = 7) -> bytes:
    """The frame with an 802.1Q tag."""
    return frame[:12] + b"\x81\x00" + vlan.to_bytes(2) + frame[12:]


def extended(kind: int = 143) -> bytes:
    """An ICMPv6 message behind a hop-by-hop header with a router alert, as MLD reports are sent (RFC 3810)."""
    options, message = b"\x3a\x00\x05\x02\x00\x00\x01\x00", bytes((kind, *bytes(7)))
    header = (
        b"\x60\0\0\0" + len(options + message).to_bytes(2) + b"\x00\x01" + bytes(15) + b"\x01" + bytes(15) + b"\x02"
    )
    return bytes(12) + b"\x86\xdd" + header + options + message


def tunnelled(frame: bytes) -> bytes:
    """The frame's packet in GRE over IPv4 (RFC 2784)."""
    return ethernet(ipv4(47, b"\0\0\x08\x00" + frame[14:], "192.0.2.1", "192.0.2.2"))


def refused(frame: bytes) -> bytes:
    """The ICMP error that quotes the frame's packet: port unreachable (RFC 792)."""
    return ethernet(ipv4(1, b"\x03\x03" + bytes(6) + frame[14:], "10.0.0.2", "10.0.0.1"))
