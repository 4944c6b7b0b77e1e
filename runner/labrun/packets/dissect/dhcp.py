"""DHCP (RFC 2131): options behind the magic cookie. Options that overflow into sname and file are not followed."""

from __future__ import annotations

from collections.abc import Callable

from labrun.packets.dissect.layer import CUT, Found, Reader, Value, ipv4_text

_COOKIE_AT, _OPTIONS_AT = 236, 240
_COOKIE = b"\x63\x82\x53\x63"
_PAD, _END = 0, 255


def _option(code: int, form: Callable[[bytes], tuple[Value, ...]]) -> Reader:
    def read(data: bytes, start: int, end: int) -> Found:
        found: list[Value] = []
        at = start + _OPTIONS_AT
        if at > end:
            return ()
        if at > len(data):
            return (CUT,)
        if data[start + _COOKIE_AT : at] != _COOKIE:
            return ()
        while at < end:
            if at >= len(data):
                return (*found, CUT)
            if data[at] == _END:
                break
            if data[at] == _PAD:
                at += 1
                continue
            if at + 2 > end:
                break
            if at + 2 > len(data):
                return (*found, CUT)
            kind, stop = data[at], at + 2 + data[at + 1]
            if stop > end:
                break
            if kind == code:
                if stop > len(data):
                    return (*found, CUT)
                found += form(data[at + 2 : stop])
            at = stop
        return tuple(found)

    return read


def option_number(code: int, size: int) -> Reader:
    return _option(code, lambda raw: (int.from_bytes(raw),) if len(raw) == size else ())


def option_addresses(code: int, several: bool = False) -> Reader:
    """Addresses of four bytes each. Without ``several`` just one is right."""

    def form(raw: bytes) -> tuple[Value, ...]:
        if not raw or len(raw) % 4 or (len(raw) > 4 and not several):
            return ()
        return tuple(ipv4_text(raw[at : at + 4]) for at in range(0, len(raw), 4))

    return _option(code, form)


def option_text(code: int) -> Reader:
    return _option(code, lambda raw: (raw.rstrip(b"\0").decode("utf-8", "replace"),) if raw else ())
