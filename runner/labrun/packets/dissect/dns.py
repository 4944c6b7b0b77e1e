"""DNS messages (RFC 1035): questions, answers and the addresses in them, with names that may point into the message.

A name may point backwards only, and only so often: a message that points in circles has that name not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from labrun.packets.dissect.layer import CUT, Spot, Spotted, ipv4_text, ipv6_text

_A, _CNAME, _AAAA = 1, 5, 28
_MAX_JUMPS = 64
_MAX_NAME = 255  # RFC 1035, 2.3.4


class _Malformed(Exception):
    """The message ends here, as far as it can be read."""


class _NotKept(Exception):
    """The message goes on in what the capture did not keep."""


class _Record(NamedTuple):
    question: bool
    name: str
    type: int
    at: int
    after: int  # its name, which is from ``at`` up to here
    ttl: int = 0
    start: int = 0  # of the data, which a question has not
    end: int = 0


def _take(data: bytes, at: int, size: int, end: int) -> bytes:
    if at + size > end:
        raise _Malformed
    if at + size > len(data):
        raise _NotKept
    return data[at : at + size]


def _name(data: bytes, at: int, start: int, end: int) -> tuple[str, int]:
    """A name, and where what follows it begins."""
    labels: list[str] = []
    after: int | None = None
    size, jumps = 1, 0  # the root's byte counts
    while True:
        count = _take(data, at, 1, end)[0]
        if count == 0:
            return ".".join(labels) or "<Root>", at + 1 if after is None else after
        if count >= 0xC0:
            target = start + ((count & 0x3F) << 8 | _take(data, at + 1, 1, end)[0])
            jumps += 1
            if target >= at or jumps > _MAX_JUMPS:
                raise _Malformed
            after = at + 2 if after is None else after
            at = target
            continue
        if count >= 0x40:
            raise _Malformed
        size += count + 1
        if size > _MAX_NAME:
            raise _Malformed
        raw = _take(data, at + 1, count, end)
        labels.append(raw.decode("ascii", "replace"))
        at += 1 + count


def _records(data: bytes, start: int, end: int) -> Iterator[_Record]:
    header = _take(data, start, 12, end)
    questions, *others = (int.from_bytes(header[at : at + 2]) for at in (4, 6, 8, 10))
    at = start + 12
    for index in range(questions + sum(others)):
        begin = at
        name, at = _name(data, begin, start, end)
        kind = int.from_bytes(_take(data, at, 4, end)[:2])
        if index < questions:
            yield _Record(True, name, kind, begin, at)
            at += 4
            continue
        ttl = int.from_bytes(_take(data, at + 4, 4, end))
        size = int.from_bytes(_take(data, at + 8, 2, end))
        yield _Record(False, name, kind, begin, at, ttl, at + 10, at + 10 + size)
        at += 10 + size


def _spot(what: str, data: bytes, start: int, end: int, record: _Record) -> Spot | None:
    name: Spot = record.name, record.at, record.after
    kind: Spot = record.type, record.after, record.after + 2
    if record.question:
        return {"qry.name": name, "qry.type": kind}.get(what)
    size = record.end - record.start
    if what == "a" and record.type == _A and size == 4:
        return ipv4_text(_take(data, record.start, 4, end)), record.start, record.end
    if what == "aaaa" and record.type == _AAAA and size == 16:
        return ipv6_text(_take(data, record.start, 16, end)), record.start, record.end
    if what == "cname" and record.type == _CNAME:
        return _name(data, record.start, start, end)[0], record.start, record.end
    ttl: Spot = record.ttl, record.after + 4, record.after + 8
    return {"resp.name": name, "resp.type": kind, "resp.ttl": ttl}.get(what)


def of_records(what: str) -> Spotted:
    """A field of questions (qry.*) or resource records, from every section, as Wireshark shows them."""

    def spots(data: bytes, start: int, end: int) -> Iterator[Spot]:
        try:
            for record in _records(data, start, end):
                spot = _spot(what, data, start, end, record)
                if spot is not None:
                    yield spot
        except _Malformed:
            return
        except _NotKept:
            yield CUT, len(data), len(data)

    return Spotted(spots)
