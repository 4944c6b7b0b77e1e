"""Readers of fields: a value, nothing where the header ends on the wire, CUT where the capture kept too little."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from labrun.packets.dissect.layer import (
    CUT,
    Bits,
    Found,
    Reader,
    address,
    both,
    flag,
    ip_length,
    ipv4_text,
    ipv6_text,
    mac_text,
    number,
    where,
    words,
)

HEADER = bytes(range(0xA0, 0xB4))  # twenty bytes of which no two are the same
BEFORE = b"\xff\xff\xff"  # another header
START, END = len(BEFORE), len(BEFORE + HEADER)

READERS: list[tuple[Callable[[], Reader], Found, int]] = [
    (lambda: number(Bits(0, 1)), (0xA0,), 1),
    (lambda: number(Bits(3, 2)), (0xA3A4,), 5),
    (lambda: number(Bits(4, 4)), (0xA4A5A6A7,), 8),
    (lambda: number(Bits(19, 1)), (0xB3,), 20),
    (lambda: number(Bits(1, 1, 4)), (0xA,), 2),
    (lambda: number(Bits(1, 1, 0, 0xF)), (1,), 2),
    (lambda: number(Bits(2, 2, 5, 0x1F)), (0b10101,), 4),  # the middle of 101000 10101 00011, of which these are wanted
    (lambda: words(Bits(5, 1, 0, 0xF)), (20,), 6),
    (lambda: flag(Bits(6, 1, 0, 0x02)), (True,), 7),
    (lambda: flag(Bits(6, 1, 0, 0x01)), (False,), 7),
    (lambda: flag(Bits(6, 1, 0, 0x80)), (True,), 7),
    (lambda: address(2, mac_text, 6), ("a2:a3:a4:a5:a6:a7",), 8),
    (lambda: address(1, ipv4_text, 4), ("161.162.163.164",), 5),
    (lambda: address(4, ipv6_text, 16), ("a4a5:a6a7:a8a9:aaab:acad:aeaf:b0b1:b2b3",), 20),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "found", "size"), READERS)
def test_a_value_is_read_at_its_place_from_the_header_s_start(
    reader: Callable[[], Reader], found: Found, size: int
) -> None:
    read = reader()
    assert read(BEFORE + HEADER, START, END) == found
    assert read(HEADER, 0, size) == found  # which ends with the value
    assert [type(value) for value in read(HEADER, 0, size)] == [type(value) for value in found]


@pytest.mark.parametrize(("reader", "found", "size"), READERS)
def test_a_header_that_ends_before_the_value_has_none(reader: Callable[[], Reader], found: Found, size: int) -> None:
    read = reader()
    for end in range(size):
        assert read(HEADER, 0, end) == ()
        assert read(HEADER[:end], 0, end) == ()
        assert read(BEFORE + HEADER, START, START + end) == ()


@pytest.mark.parametrize(("reader", "found", "size"), READERS)
def test_a_value_that_was_not_kept_whole_is_cut(reader: Callable[[], Reader], found: Found, size: int) -> None:
    read = reader()
    for kept in range(len(HEADER)):
        assert read(HEADER[:kept], 0, len(HEADER)) == (found if kept >= size else (CUT,))
        assert read(HEADER[:kept], 0, size) == (found if kept >= size else (CUT,))


def test_a_field_of_several_has_the_values_of_each_in_their_order() -> None:
    read = both(number(Bits(1, 1)), number(Bits(0, 1)), number(Bits(2, 1)))
    assert read(BEFORE + HEADER, START, END) == (0xA1, 0xA0, 0xA2)
    assert read(HEADER, 0, 2) == (0xA1, 0xA0)
    assert read(HEADER[:1], 0, 3) == (CUT, 0xA0, CUT)


@pytest.mark.parametrize(("accepted", "found"), [({0xA1}, (0xA7,)), ({1, 0xA1}, (0xA7,)), ({0xA0}, ()), (set(), ())])
def test_a_field_of_some_kinds_of_header_is_in_these_alone(accepted: set[int], found: Found) -> None:
    read = where(Bits(1, 1), frozenset(accepted), number(Bits(7, 1)))
    assert read(BEFORE + HEADER, START, END) == found
    # Where the kind is not known, the field is not known either; where there is no kind, there is no field.
    assert read(HEADER[:1], 0, 20) == (CUT,)
    assert read(HEADER[:7], 0, 20) == ((CUT,) if found else ())
    assert read(HEADER, 0, 1) == ()
    assert read(HEADER, 0, 7) == ()


def test_the_kind_of_a_header_may_be_some_of_its_bits() -> None:
    read = where(Bits(0, 1, 4, 0xF), frozenset({0xA}), number(Bits(2, 1)))
    assert (read(HEADER, 0, 20), read(b"\xb0" + HEADER, 0, 20)) == ((0xA2,), ())


@pytest.mark.parametrize(
    ("header", "end", "found"),
    [
        (b"\x45\0\0\x54", 84, (84,)),
        (b"\x45\0\1\x02", 300, (258,)),
        (b"\x45\0\0\x00", 70_000, (70_000,)),  # RFC 2675 has no place in IPv4, segmentation offload has
        (b"\x45\0\0", 84, (CUT,)),
        (b"\x45\0\0", 3, ()),
    ],
)
def test_an_ip_length_of_zero_stands_for_all_that_there_is(header: bytes, end: int, found: Found) -> None:
    assert ip_length(header, 0, end) == found
    assert ip_length(BEFORE + header, START, START + end) == found


def test_addresses_are_written_as_wireshark_does() -> None:
    assert mac_text(bytes.fromhex("02000a0b0c0d")) == "02:00:0a:0b:0c:0d"
    assert ipv4_text(bytes((192, 0, 2, 255))) == "192.0.2.255"
    assert ipv6_text(bytes.fromhex("20010db8000000000000000000000001")) == "2001:db8::1"
    assert ipv6_text(bytes(10) + b"\xff\xff\x0a\0\0\1") == "::ffff:10.0.0.1"


def test_what_was_not_kept_is_called_so() -> None:
    assert repr(CUT) == "CUT"
