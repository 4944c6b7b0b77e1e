"""Observations of packets: how many in a window matched, and how sure that number is.

Absence is believed only of a capture that ran from before the window's start to after its end, lost nothing, and kept
whole packets. Otherwise the count is a range, and what falls inside it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labrun.evidence.pcapng import Packet, PcapngError, TruncatedCapture, read_packets
from labrun.evidence.record import StepRecord, VariantRecord
from labrun.judge.bpf import translate
from labrun.judge.compare import Count
from labrun.judge.libpcap import FilterSyntaxError, compile_filter
from labrun.judge.results import Ref
from labrun.judge.why import Unknown, missing
from labrun.lab.predictions import PacketSelector
from labrun.protocol.actions import Capture
from labrun.protocol.events import CaptureResult

SHOWN_PACKETS = 10  # numbers named in a trace; the capture has them all
_MS = 1_000_000

Filter = Callable[[bytes, int], int]


@dataclass(frozen=True, slots=True)
class Packets:
    """``doubt``: why the count is a range, where it is one."""

    count: Count
    ref: Ref
    doubt: Unknown | None


def observe_packets(variant: VariantRecord, selector: PacketSelector, prefix: str) -> Packets | Unknown:
    """Count the packets that the selector means."""
    record = find_capture(variant, selector)
    if record is None:
        return missing(variant, f"a capture on {selector.on}")
    if record.ended is None or not isinstance(record.ended.result, CaptureResult):
        return missing(variant, f"the capture '{record.step.id}'")
    path = record.ended.result.path
    window = _window(variant, selector)
    if isinstance(window, Unknown):
        return window
    interface = selector.on.partition(".")[2]
    filters = _Filters(variant, selector.match)
    matched: list[int] = []
    count = 0
    unsure = 0  # cut by the snapshot length, and not matching what is left
    broken: Unknown | None = None
    try:
        for packet in read_packets(variant.folder / path):
            if not _meant(packet, interface, selector, window):
                continue
            verdict = filters.match(packet)
            if isinstance(verdict, Unknown):
                return verdict
            if verdict:
                count += 1
                if len(matched) < SHOWN_PACKETS:
                    matched.append(packet.number)
            elif len(packet.data) < packet.length:
                unsure += 1
    except FileNotFoundError:
        return missing(variant, f"the capture file {path}")
    except TruncatedCapture:
        broken = Unknown("capture-unhealthy", f"the capture '{record.step.id}' breaks off in the middle")
    except (PcapngError, OSError) as error:
        return Unknown("capture-unreadable", f"{path}: {error}")
    high, doubt = _sureness(record, window, count, unsure, broken)
    return Packets(Count(count, high), Ref(prefix + path, packets=tuple(matched)), doubt)


def find_capture(variant: VariantRecord, selector: PacketSelector) -> StepRecord | None:
    """The capture step that the selector means."""
    node, _, interface = selector.on.partition(".")
    for record in variant.steps:
        action = record.step.action
        if not isinstance(action, Capture) or record.step.node != node:
            continue
        if selector.capture is not None and record.step.id != selector.capture:
            continue
        if interface == "any" or interface in action.interfaces or "any" in action.interfaces:
            return record
    return None


Window = tuple[int, int] | None


def _window(variant: VariantRecord, selector: PacketSelector) -> Window | Unknown:
    """From the start of the one step to the end of the other, on the clock of the packets' times."""
    if selector.during is None:
        return None
    first, last = variant.step(selector.during.start), variant.step(selector.during.end)
    for name, record in ((selector.during.start, first), (selector.during.end, last)):
        if record is None or record.started is None or record.ended is None:
            return missing(variant, f"step '{name}'")
    assert first is not None and first.started is not None and last is not None and last.ended is not None
    wall_ns = last.ended.wall_ns - first.started.wall_ns
    real_ns = last.ended.t_ns - first.started.t_ns
    # NTP may slew the wall clock by 500 ppm (man 2 adjtimex); a set clock jumps.
    if abs(wall_ns - real_ns) > _MS + real_ns // 1000:
        return Unknown("clock-stepped", "the clock was set while the packets were captured: their times are not sure")
    return first.started.wall_ns, last.ended.wall_ns


def _meant(packet: Packet, interface: str, selector: PacketSelector, window: Window) -> bool:
    if interface not in ("any", packet.interface):
        return False
    if selector.direction is not None and packet.direction != selector.direction:
        return False
    return window is None or window[0] <= packet.time_ns <= window[1]


def _sureness(
    record: StepRecord, window: Window, count: int, unsure: int, broken: Unknown | None
) -> tuple[int | None, Unknown | None]:
    """The most packets that there can have been (None: no bound), and why that is more than were counted."""
    name, capture = record.step.id, record.capture
    if broken is not None:
        return None, broken
    if capture is None:
        return None, Unknown("capture-unhealthy", f"the capture '{name}' was never finished")
    if capture.trouble is not None:
        return None, Unknown("capture-unhealthy", f"the capture '{name}': {capture.trouble}")
    if window is not None and not capture.started_ns <= window[0] <= window[1] <= capture.ended_ns:
        return None, Unknown("capture-unhealthy", f"the capture '{name}' did not run all the time")
    lost = capture.drops + capture.not_kept
    if lost:
        return count + lost + unsure, Unknown("packets-dropped", f"the capture '{name}' lost {lost} packets")
    if unsure:
        text = f"{unsure} packets in '{name}' are cut by its snaplen and may have matched"
        return count + unsure, Unknown("packets-cut", text)
    return count, None


class _Filters:
    """The selector's expression as a function for each link type: from the evidence, else from the host's libpcap."""

    def __init__(self, variant: VariantRecord, expression: str | None) -> None:
        self._variant = variant
        self._expression = expression
        self._known: dict[int, Filter | Unknown | None] = {}

    def match(self, packet: Packet) -> bool | Unknown:
        if self._expression is None:
            return True
        if packet.linktype not in self._known:
            self._known[packet.linktype] = self._compile(self._expression, packet.linktype)
        compiled = self._known[packet.linktype]
        if isinstance(compiled, Unknown):
            return compiled
        return compiled is not None and compiled(packet.data, packet.length) != 0

    def _compile(self, expression: str, linktype: int) -> Filter | Unknown | None:
        """None: the expression makes no sense for this link type, so no such packet matches."""
        programs = self._variant.hello.programs if self._variant.hello is not None else ()
        mine = [program for program in programs if program.expression == expression]
        for program in mine:
            if program.linktype == linktype:
                return translate(program.instructions)
        if mine:
            return None
        try:
            compiled = compile_filter(expression, linktype)
        except FilterSyntaxError as error:
            return Unknown("bad-filter", f"'{expression}': {error}")
        if compiled is None:
            text = f"'{expression}' was not compiled in the sandbox, and this machine has no libpcap (libpcap0.8)"
            return Unknown("missing-tool", text)
        return translate(compiled)
