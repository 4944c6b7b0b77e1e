"""DHCP options written out by hand (RFC 2131, RFC 2132), and every place where a message may end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from labrun.packets.dissect import dhcp
from labrun.packets.dissect.layer import CUT, Found, Reader

FIXED = bytes(236)  # op to file
COOKIE = bytes((99, 130, 83, 99))  # RFC 2131, 3
READERS: dict[str, Callable[[], Reader]] = {
    "type": lambda: dhcp.option_number(53, 1),
    "lease": lambda: dhcp.option_number(51, 4),
    "server": lambda: dhcp.option_addresses(54),
    "routers": lambda: dhcp.option_addresses(3, several=True),
    "host": lambda: dhcp.option_text(12),
}


def message(*options: bytes, cookie: bytes = COOKIE) -> bytes:
    return FIXED + cookie + b"".join(options)


def read(name: str, data: bytes, end: int | None = None, before: bytes = b"") -> Found:
    size = len(data) if end is None else end
    return READERS[name]()(before + data, len(before), len(before) + size)


PARTS = [
    b"\x35\1\5",
    b"\0\0",
    b"\x33\4\0\1\x51\x80",
    b"\x36\4\x0a\0\1\1",
    b"\x03\x08\x0a\0\1\1\x0a\0\1\xfe",
    b"\x0c\6client",
    b"\xff",
]
MESSAGE = message(*PARTS)
WHOLE: dict[str, Found] = {
    "type": (5,),
    "lease": (86400,),
    "server": ("10.0.1.1",),
    "routers": ("10.0.1.1", "10.0.1.254"),
    "host": ("client",),
}
ENDS = [240 + sum(map(len, PARTS[: count + 1])) for count in range(len(PARTS))]
NEEDED = {"type": ENDS[0], "lease": ENDS[2], "server": ENDS[3], "routers": ENDS[4], "host": ENDS[5]}


@pytest.mark.parametrize("name", READERS)
def test_an_option_is_found_among_the_others(name: str) -> None:
    assert read(name, MESSAGE) == WHOLE[name]
    assert read(name, MESSAGE, before=b"\1\2\3") == WHOLE[name]
    assert read(name, MESSAGE + b"\x35\1\7", len(MESSAGE)) == WHOLE[name]


@pytest.mark.parametrize("name", READERS)
def test_a_message_that_ends_early_has_the_options_that_are_whole(name: str) -> None:
    for end in range(len(MESSAGE)):
        there = WHOLE[name] if end >= NEEDED[name] else ()
        assert read(name, MESSAGE[:end]) == there, end
        assert read(name, MESSAGE, end) == there, end
        assert read(name, MESSAGE, end, before=b"\1\2\3") == there, end


@pytest.mark.parametrize("name", READERS)
def test_where_the_capture_kept_less_the_rest_is_cut(name: str) -> None:
    """Whatever option is asked for may come again in the rest."""
    for kept in range(len(MESSAGE)):
        there = WHOLE[name] if kept >= NEEDED[name] else ()
        assert read(name, MESSAGE[:kept], len(MESSAGE)) == (*there, CUT), kept


def test_an_option_counts_each_time_that_it_is_there() -> None:
    data = message(b"\x35\1\1", b"\x36\4\1\2\3\4", b"\x35\1\3", b"\x36\4\5\6\7\x08", b"\xff")
    assert (read("type", data), read("server", data)) == ((1, 3), ("1.2.3.4", "5.6.7.8"))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (b"\x35\1\5", (5,)),  # no end, and the message ends
        (b"\xff\x35\1\5", ()),  # behind the end
        (b"\x35\1\5\xff\x35\1\7", (5,)),
        (b"\0\x35\1\5", (5,)),
        (b"\0\0\0\0\x35\1\5", (5,)),
        (b"\x35\1\5\0\0\x35\1\7\0", (5, 7)),
        (b"\x01\0\x35\1\5", (5,)),  # an empty option
        (b"\x3d\3\x35\1\7\x35\1\5", (5,)),  # what looks like an option inside another
        (b"\x35", ()),
        (b"\x35\1", ()),
        (b"\x35\2\5", ()),  # goes on behind the message
        (b"\x01\x09\x35\1\5", ()),
        (b"\x35\1\5\x35", (5,)),
        (b"\x35\1\5\x35\1", (5,)),
        (b"\x35\0\x35\1\5", (5,)),
        (b"\x35\2\0\5", ()),  # of a size that this option has not
        (b"\x35\4\0\0\0\5", ()),
    ],
)
def test_options_one_after_the_other(options: bytes, found: Found) -> None:
    assert read("type", message(options)) == found


@pytest.mark.parametrize("place", range(4))
def test_without_the_cookie_there_are_no_options(place: int) -> None:
    cookie = bytearray(COOKIE)
    cookie[place] ^= 1
    assert read("type", message(b"\x35\1\5\xff", cookie=bytes(cookie))) == ()


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("server", b"\x0a\0\0\1", ("10.0.0.1",)),
        ("server", b"", ()),
        ("server", b"\x0a\0\0", ()),
        ("server", b"\x0a\0\0\1\2", ()),
        ("server", b"\x0a\0\0\1\x0a\0\0\2", ()),  # there is one server
        ("routers", b"\x0a\0\0\1", ("10.0.0.1",)),
        ("routers", b"\x0a\0\0\1\x0a\0\0\2\x0a\0\0\3", ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        ("routers", b"", ()),
        ("routers", b"\x0a\0\0\1\x0a\0", ()),
        ("host", b"", ()),
        ("host", b"a", ("a",)),
        ("host", b"a b\0", ("a b",)),
        ("host", b"a\0b\0\0", ("a\0b",)),
        ("host", b"\0", ("",)),
        ("host", b"XeroX", ("XeroX",)),
        ("host", "Küche".encode(), ("Küche",)),
        ("host", b"\xff\xfe!", ("\N{REPLACEMENT CHARACTER}" * 2 + "!",)),
        ("lease", b"\xff\xff\xff\xff", (0xFFFFFFFF,)),
        ("lease", b"\0\0\1", ()),
        ("lease", b"\0\0\0\0\1", ()),
    ],
)
def test_the_data_of_an_option(name: str, data: bytes, found: Found) -> None:
    code = {"server": 54, "routers": 3, "host": 12, "lease": 51}[name]
    assert read(name, message(bytes((code, len(data))) + data)) == found
    assert read(name, message(bytes((code + 1, len(data))) + data)) == ()


def test_a_list_of_addresses_is_one_that_says_so() -> None:
    data = message(b"\3\x08" + bytes(8))
    assert dhcp.option_addresses(3)(data, 0, len(data)) == ()
    assert dhcp.option_addresses(3, several=False)(data, 0, len(data)) == ()
