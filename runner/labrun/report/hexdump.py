"""A packet's bytes as lines of a hex dump, cut where fields begin and end, so that each field can be found in it."""

from __future__ import annotations

from collections.abc import Iterator

from labrun.packets.describe import FieldBytes
from labrun.protocol.record import dataclass

MAX_BYTES = 384  # shown of one packet
_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring bytes of the same fields. ``fields``: indexes into the packet's fields."""

    text: str
    fields: tuple[int, ...]
    layer: int
    changed: bool


@dataclass(frozen=True, slots=True)
class DumpLine:
    offset: str
    segments: tuple[Segment, ...]
    fill: str
    """Blanks where a short line has no bytes."""
    printable: str


@dataclass(frozen=True, slots=True)
class PacketBytes:
    """``kept``: bytes in the file; the dump shows the first MAX_BYTES of them."""

    anchor: str
    number: int
    title: str
    data: bytes
    fields: tuple[FieldBytes, ...]
    file: str

    @property
    def cut(self) -> int:
        return max(0, len(self.data) - MAX_BYTES)

    def lines(self) -> tuple[DumpLine, ...]:
        return tuple(self._lines())

    def _lines(self) -> Iterator[DumpLine]:
        owners: list[list[int]] = [[] for _ in range(min(len(self.data), MAX_BYTES))]
        for index, each in enumerate(self.fields):
            for at in range(each.start, min(each.end, len(owners))):
                owners[at].append(index)
        for begin in range(0, len(owners), _WIDTH):
            part = self.data[begin : min(begin + _WIDTH, len(owners))]
            segments: list[Segment] = []
            here: list[int] = []
            for at, byte in enumerate(part, start=begin):
                if segments and owners[at] == here:
                    last = segments[-1]
                    segments[-1] = Segment(f"{last.text} {byte:02x}", last.fields, last.layer, last.changed)
                    continue
                here = owners[at]
                named = [self.fields[index] for index in here]
                segments.append(
                    Segment(
                        f"{byte:02x}",
                        tuple(here),
                        named[0].layer if named else 0,
                        any(each.before is not None for each in named),
                    )
                )
            printable = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in part)
            yield DumpLine(f"{begin:04x}", tuple(segments), "   " * (_WIDTH - len(part)), printable)
