"""Captures as tables: the packets of each step with their times from its start. A big capture shows its beginning,
and whatever packet a verdict refers to; the rest is in the file, and the table says so. Each shown packet is also a
sighting, from which the ladder is drawn."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from labrun.evidence.files import EvidenceError, EvidenceMissing
from labrun.evidence.record import StepRecord, VariantRecord
from labrun.observe.packets import another_capture
from labrun.observe.window import clock_was_set
from labrun.packets.describe import FieldBytes, compared, describe, field_bytes
from labrun.packets.identity import fragment, identity, trace_keys
from labrun.packets.pcapng import Packet, PcapngError, read_packets
from labrun.protocol.actions import Capture
from labrun.protocol.events import CaptureResult
from labrun.protocol.record import dataclass
from labrun.report import anchors
from labrun.report.hexdump import PacketBytes
from labrun.report.ladder import Journey, Nothing, Place, Sighting
from labrun.report.room import Room
from labrun.report.view import CaptureView, Link, PacketGroup, PacketRow
from labrun.report.visible import milliseconds, one_line, shorten, size

MAX_ROWS = 200  # of a capture
MAX_CITED = 100  # more rows, for packets that a verdict refers to
MAX_INLINE = 1024 * 1024  # bytes of a capture that the page itself carries
MAX_READ = 2_000_000  # packets looked at to find those
_MAX_INFO = 160
_MAX_FIELD, _MAX_VALUE = 40, 60

Cited = Mapping[int, tuple[Link, ...]]
"""Packet number -> the hypotheses that refer to it."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A step's time. ``end_ns`` is None where it never ended. ``sure``: and nobody set the clock meanwhile."""

    step: str
    start_ns: int
    end_ns: int | None
    sure: bool


def capture_path(record: StepRecord) -> str | None:
    """The capture's file, relative to its variant's folder; None where it never started."""
    if record.capture is not None:
        return record.capture.path
    result = record.ended.result if record.ended else None
    return result.path if isinstance(result, CaptureResult) else None


@dataclass(frozen=True, slots=True)
class CaptureRead:
    """A capture as it is shown, with the packets of its rows."""

    view: CaptureView
    sightings: tuple[Sighting, ...]
    packets: Mapping[str, Packet]
    """By the anchors of their rows."""
    looked: Mapping[str, int]
    """Steps in whose time it captured, and when each began."""
    nothing: frozenset[str]
    """Those of them in whose time there was surely nothing."""


def capture_view(
    slug: str, variant: VariantRecord, record: StepRecord, run: Path, cited: Cited, room: Room
) -> CaptureRead | None:
    """None where the step captured nothing that could be shown: it is no capture, or never started."""
    action, path = record.step.action, capture_path(record)
    if not isinstance(action, Capture) or path is None:
        return None
    name = variant.plan.variant
    file = f"{variant.folder.relative_to(run).as_posix()}/{path}"
    windows = _windows(variant)
    rows: list[tuple[str, PacketRow]] = []
    sightings: list[Sighting] = []
    packets: dict[str, Packet] = {}
    note: str | None = None
    node = one_line(record.step.node or "")
    names: list[str] = []
    try:
        for packet in _chosen(read_packets(Path(path), variant.open(path), names), cited, room.rows(MAX_ROWS)):
            title, since_ns = _moment(windows, packet.time_ns)
            anchor = anchors.packet(slug, name, record.step.id, packet.number)
            row = _row(packet, anchor, since_ns, cited.get(packet.number, ()))
            rows.append((title, row))
            sightings.append(_sighting(packet, row, node, title, one_line(record.step.id), since_ns))
            packets[anchor] = packet
    except EvidenceMissing:
        note = "The file is not there: it never left the sandbox."
    except (PcapngError, EvidenceError, OSError) as error:
        note = f"The file could not be read to its end: {one_line(str(error)).replace(str(run), '.')}"
    if (other := another_capture(record, names, truncated=True)) is not None:
        note = f"The file is not of this capture: {one_line(other)}."
        rows, sightings, packets = [], [], {}
    room.took_rows(len(rows))
    kept = record.capture.packets if record.capture else None
    if note is None and kept is not None and kept > len(rows):
        note = f"{len(rows)} of {kept} packets are shown; the file has them all."
    health, healthy = _health(record)
    looked = _looked(record, windows)
    seen = {title for title, _ in rows}
    # What is not shown may have been anywhere.
    sure = note is None and healthy and kept is not None and kept == len(rows)
    nothing = frozenset(window.step for window in looked if sure and f"during {window.step}" not in seen)
    groups = _groups(rows, sightings, looked, nothing)
    view = CaptureView(
        step=record.step.id,
        anchor=anchors.capture(slug, name, record.step.id),
        node=node,
        interfaces=_interfaces(record, action),
        filter=one_line(action.filter) if action.filter else None,
        file=Link(path.rpartition("/")[2], anchors.file_href(file)),
        packets=kept,
        health=health,
        healthy=healthy,
        groups=groups,
        cut=note,
        inline=_inline(variant, path, room),
        size=_size(variant, path),
    )
    began = {window.step: window.start_ns for window in looked}
    return CaptureRead(view, tuple(sightings), packets, began, nothing)


def _looked(record: StepRecord, windows: Sequence[_Window]) -> list[_Window]:
    """The steps that were captured from their start to their end, on all interfaces."""
    ended = record.capture
    if ended is None:
        return []
    began_ns = max((ended.started_ns, *(ended.interface_starts or ())))
    return [
        window
        for window in windows
        if window.sure and window.end_ns is not None and began_ns <= window.start_ns and window.end_ns <= ended.ended_ns
    ]


def _groups(
    rows: Sequence[tuple[str, PacketRow]],
    sightings: Sequence[Sighting],
    looked: Sequence[_Window],
    nothing: frozenset[str],
) -> tuple[PacketGroup, ...]:
    """Rows by the step in whose time they were; in between, when nothing was seen."""
    quiet = nothings([(window.step, window.start_ns) for window in looked], nothing)
    found: list[PacketGroup] = []
    for title, each in groupby(zip(rows, sightings, strict=True), key=lambda item: item[0][0]):
        part = list(each)
        while quiet and quiet[0].time_ns <= part[0][1].time_ns:
            found.append(PacketGroup(quiet.pop(0).text, ()))
        found.append(PacketGroup(title, tuple(row for (_, row), _ in part)))
    return (*found, *(PacketGroup(each.text, ()) for each in quiet))


def nothings(looked: Sequence[tuple[str, int]], nothing: frozenset[str]) -> list[Nothing]:
    """``looked``: the steps in order, and when each began. Neighbours without a packet are told in one line, three or
    more of them by the first and the last."""
    found: list[Nothing] = []
    for quiet, part in groupby(looked, key=lambda one: one[0] in nothing):
        if quiet:
            steps = [*part]
            first, last = one_line(steps[0][0]), one_line(steps[-1][0])
            names = first if len(steps) == 1 else f"{first}, {last}" if len(steps) == 2 else f"{first} to {last}"
            found.append(Nothing(steps[0][1], f"during {names}: nothing"))
    return found


def nothing_seen(read: Sequence[CaptureRead]) -> list[Nothing]:
    """When none of a variant's captures saw anything, and those that ran meanwhile kept all."""
    began = {step: time_ns for capture in read for step, time_ns in capture.looked.items()}
    quiet = {step for step in began if all(step in c.nothing for c in read if step in c.looked)}
    seen = {sighting.moment for capture in read for sighting in capture.sightings}
    steps = sorted(began.items(), key=lambda one: one[1])
    return nothings(steps, frozenset(step for step in quiet if f"during {step}" not in seen))


def _interfaces(record: StepRecord, action: Capture) -> tuple[str, ...]:
    """As the lab names them; `any` finds them in an order of chance, which is not told."""
    found = record.capture.interfaces if record.capture else action.interfaces
    names = [one_line(name) for name in found]
    return tuple(sorted(names) if action.interfaces == ("any",) else names)


def _sighting(packet: Packet, row: PacketRow, node: str, moment: str, capture: str, since_ns: int | None) -> Sighting:
    key, quotes = trace_keys(packet.data, packet.linktype)
    return Sighting(
        place=Place(node, row.interface),
        direction=packet.direction,
        time_ns=packet.time_ns,
        since_ns=since_ns,
        moment=moment,
        capture=capture,
        number=packet.number,
        anchor=row.anchor,
        identity=identity(packet.data, packet.linktype, packet.length),
        key=key,
        quotes=quotes,
        protocol=row.protocol,
        ends=(row.source, row.destination),
        info=row.info,
        cited=bool(row.cited),
        part=fragment(packet.data, packet.linktype),
    )


def _size(variant: VariantRecord, path: str) -> str | None:
    try:
        return size(variant.size(path))
    except EvidenceError:
        return None


def _inline(variant: VariantRecord, path: str, room: Room) -> str | None:
    """The file in base64 (RFC 4648), if it is small enough to be carried in the page."""
    try:
        length = variant.size(path)
        may = 0 < length <= MAX_INLINE and room.inline(length)
        return base64.b64encode(variant.read(path, length)).decode() if may else None
    except EvidenceError:
        return None


def with_journeys(
    read: CaptureRead, journeys: Sequence[Journey], drawn: frozenset[str], slug: str, variant: str, room: Room
) -> CaptureView:
    """The capture with its packets' letters and hex dumps. ``drawn``: the letters that the ladder has."""
    names: dict[str, str] = {}
    earlier: dict[str, str] = {}  # a row -> the row of the same packet's passage before it
    for journey in journeys:
        for sighting in journey.sightings:
            for anchor in (sighting.anchor, *sighting.twins):
                names[anchor] = journey.name
            if sighting.after is not None:
                earlier[sighting.anchor] = sighting.after
    step = read.view.step
    wholes = {journey.name: journey.whole for journey in journeys if journey.whole is not None}
    groups = []
    packets = room.packets
    for group in read.view.groups:
        rows = []
        for row in group.rows:
            letter = names.get(row.anchor)
            link = (
                Link(letter, f"#{anchors.rung(slug, variant, letter)}" if letter in drawn else "") if letter else None
            )
            shown = None
            packet = read.packets[row.anchor]
            if packet.data and room.dump(bool(row.cited)):
                anchor = anchors.packet_bytes(slug, variant, step, row.number)
                fields = _fields(packet)
                previous = packets.get(earlier.get(row.anchor, ""))
                if previous is not None:
                    fields = compared(fields, _fields(previous))
                title = f"{row.protocol} {row.info}" + (f" on {row.interface}" if row.interface else "")
                shown = PacketBytes(anchor, row.number, title, packet.data, fields, read.view.file.text)
            rows.append(replace(row, journey=link, whole=wholes.get(letter or ""), bytes=shown))
        groups.append(replace(group, rows=tuple(rows)))
    return replace(read.view, groups=tuple(groups))


def _fields(packet: Packet) -> tuple[FieldBytes, ...]:
    return tuple(
        replace(each, name=shorten(one_line(each.name), _MAX_FIELD), value=shorten(one_line(each.value), _MAX_VALUE))
        for each in field_bytes(packet.data, packet.linktype, packet.length, packet.offload)
    )


def _chosen(packets: Iterator[Packet], cited: Cited, most: int) -> Iterator[Packet]:
    """The first packets, and the cited ones. Stops reading when there is nothing left to look for."""
    last = min(max(cited, default=0), MAX_READ)
    extra = 0
    for packet in packets:
        if packet.number <= most:
            yield packet
        elif packet.number > last or extra == MAX_CITED:
            return
        elif packet.number in cited:
            extra += 1
            yield packet


def _windows(variant: VariantRecord) -> list[_Window]:
    return [
        _Window(
            record.step.id,
            record.started.wall_ns,
            record.ended.wall_ns if record.ended else None,
            record.ended is not None and not clock_was_set(record.started, record.ended),
        )
        for record in variant.steps
        if record.started is not None and record.step.phase == "lab"
    ]


def _moment(windows: list[_Window], time_ns: int) -> tuple[str, int | None]:
    """In which step's time the packet was seen, and how long after that step's start (ns)."""
    last = next((window for window in reversed(windows) if window.start_ns <= time_ns), None)
    if last is None:
        return "before the first step", None
    inside = last.end_ns is None or time_ns <= last.end_ns
    return f"{'during' if inside else 'after'} {last.step}", time_ns - last.start_ns


def _row(packet: Packet, anchor: str, since_ns: int | None, cited: tuple[Link, ...]) -> PacketRow:
    words = describe(packet.data, packet.linktype, packet.length)
    protocol, source, destination, info = (
        shorten(one_line(text), _MAX_INFO) for text in (words.protocol, words.source, words.destination, words.info)
    )
    return PacketRow(
        number=packet.number,
        anchor=anchor,
        time="" if since_ns is None else milliseconds(since_ns),
        interface=shorten(one_line(packet.interface), 40),
        direction=packet.direction,
        length=packet.length,
        protocol=protocol,
        source=source,
        destination=destination,
        info=info,
        cited=cited,
    )


def _health(record: StepRecord) -> tuple[str, bool]:
    ended = record.capture
    if ended is None:
        return "The capture was never finished: what is missing says nothing.", False
    trouble = [f"{ended.drops} dropped by the kernel"] if ended.drops else []
    trouble += [f"{ended.not_kept} past the size limit"] if ended.not_kept else []
    trouble += [one_line(ended.trouble)] if ended.trouble else []
    if trouble:
        return "Not everything was kept: " + "; ".join(trouble) + ".", False
    return "Nothing was dropped.", True
