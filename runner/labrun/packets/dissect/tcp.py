"""TCP (RFC 9293): what is not at a fixed place, its options and the length of its payload."""

from __future__ import annotations

from collections.abc import Iterator

from labrun.packets.dissect.layer import CUT, Found, Spot, Spotted

_HEADER = 20
_END, _NOP, _MSS = 0, 1, 2


def _options_end(data: bytes, start: int, end: int) -> int | Found:
    """Where the header ends; () if it has no sensible length."""
    if start + 13 > end:
        return ()
    if start + 13 > len(data):
        return (CUT,)
    size = (data[start + 12] >> 4) * 4
    return start + size if size >= _HEADER else ()


def payload_length(data: bytes, start: int, end: int) -> Found:
    stop = _options_end(data, start, end)
    if not isinstance(stop, int):
        return stop
    return (end - stop,) if stop <= end else ()


def _segment_sizes(data: bytes, start: int, end: int) -> Iterator[Spot]:
    stop = _options_end(data, start, end)
    if not isinstance(stop, int):
        yield from ((value, len(data), len(data)) for value in stop)
        return
    stop = min(stop, end)
    cut: Spot = CUT, len(data), len(data)
    at = start + _HEADER
    while at < stop:
        if at >= len(data):
            yield cut
            return
        kind = data[at]
        if kind == _END:
            return
        if kind == _NOP:
            at += 1
            continue
        if at + 2 > stop:
            return
        if at + 2 > len(data):
            yield cut
            return
        size = data[at + 1]
        if size < 2 or at + size > stop:
            return
        if kind == _MSS and size == 4:
            if at + 4 > len(data):
                yield cut
                return
            yield data[at + 2] << 8 | data[at + 3], at, at + 4
        at += size


mss = Spotted(_segment_sizes)
"""The values of all maximum segment size options."""
