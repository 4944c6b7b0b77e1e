"""DHCP (RFC 2131): options behind the magic cookie. Options that overflow into sname and file are not followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from labrun.packets.dissect.layer import CUT, Spot, Spotted, Value, ipv4_text

_COOKIE_AT, _OPTIONS_AT = 236, 240
_COOKIE = b"\x63\x82\x53\x63"
_PAD, _END = 0, 255


def _option(code: int, form: Callable[[bytes], tuple[Value, ...]]) -> Spotted:
    def spots(data: bytes, start: int, end: int) -> Iterator[Spot]:
        at = start + _OPTIONS_AT
        cut: Spot = CUT, len(data), len(data)
        if at > end:
            return
        if at > len(data):
            yield cut
            return
        if data[start + _COOKIE_AT : at] != _COOKIE:
            return
        while at < end:
            if at >= len(data):
                yield cut
                return
            if data[at] == _END:
                return
            if data[at] == _PAD:
                at += 1
                continue
            if at + 2 > end:
                return
            if at + 2 > len(data):
                yield cut
                return
            kind, stop = data[at], at + 2 + data[at + 1]
            if stop > end:
                return
            if kind == code:
                if stop > len(data):
                    yield cut
                    return
                yield from ((value, at, stop) for value in form(data[at + 2 : stop]))
            at = stop

    return Spotted(spots)


def option_number(code: int, size: int) -> Spotted:
    return _option(code, lambda raw: (int.from_bytes(raw),) if len(raw) == size else ())


def option_addresses(code: int, several: bool = False) -> Spotted:
    """Addresses of four bytes each. Without ``several`` just one is right."""

    def form(raw: bytes) -> tuple[Value, ...]:
        if not raw or len(raw) % 4 or (len(raw) > 4 and not several):
            return ()
        return tuple(ipv4_text(raw[at : at + 4]) for at in range(0, len(raw), 4))

    return _option(code, form)


def option_text(code: int) -> Spotted:
    return _option(code, lambda raw: (raw.rstrip(b"\0").decode("utf-8", "replace"),) if raw else ())
