"""DNS messages written out by hand (RFC 1035): names and pointers, every section, and every place where one may end."""

from __future__ import annotations

import struct

import pytest
from labrun.packets.dissect import dns
from labrun.packets.dissect.layer import CUT, Found, Value

A, NS, CNAME, TXT, AAAA = 1, 2, 5, 16, 28
WWW = b"\3www\1a\0"  # of seven bytes
AT = 12  # where a message's first name is
FIELDS = ("qry.name", "qry.type", "resp.name", "resp.type", "resp.ttl", "a", "aaaa", "cname")


def header(*counts: int) -> bytes:
    return struct.pack(">HHHHHH", 7, 0x8180, *counts)


def question(name: bytes, kind: int = A) -> bytes:
    return name + struct.pack(">HH", kind, 1)


def record(name: bytes, kind: int, data: bytes, ttl: int = 60, size: int | None = None) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, ttl, len(data) if size is None else size) + data


def pointer(place: int) -> bytes:
    return struct.pack(">H", 0xC000 | place)


def read(what: str, message: bytes, end: int | None = None, before: bytes = b"") -> Found:
    size = len(message) if end is None else end
    return dns.of_records(what)(before + message, len(before), len(before) + size)


def queried(*names: bytes) -> Found:
    """The names that a message asks for."""
    return read("qry.name", header(len(names), 0, 0, 0) + b"".join(question(name) for name in names))


# Of each section something, and of each type.
PARTS = [
    header(1, 3, 1, 1),
    question(WWW, AAAA),
    record(pointer(AT), CNAME, b"\3web" + pointer(AT + 4), ttl=0x01020304),
    record(b"\3web" + pointer(AT + 4), A, bytes((192, 0, 2, 7)), ttl=61),
    record(pointer(AT), AAAA, bytes.fromhex("20010db8000000000000000000000007"), ttl=62),
    record(pointer(AT + 4), NS, pointer(AT), ttl=63),
    record(b"\0", 41, b"", ttl=0),
]
MESSAGE = b"".join(PARTS)
WHOLE: dict[str, Found] = {
    "qry.name": ("www.a",),
    "qry.type": (28,),
    "resp.name": ("www.a", "web.a", "www.a", "a", "<Root>"),
    "resp.type": (5, 1, 28, 2, 41),
    "resp.ttl": (0x01020304, 61, 62, 63, 0),
    "a": ("192.0.2.7",),
    "aaaa": ("2001:db8::7",),
    "cname": ("web.a",),
}
ENDS = [sum(map(len, PARTS[: count + 1])) for count in range(len(PARTS))]
# How much of the message must be there for each value: its record without the data, or with the data where it is these.
FIXED = [end - data for end, data in zip(ENDS[2:], (6, 4, 16, 2, 0), strict=True)]
NEEDED: dict[str, list[int]] = {
    "qry.name": [ENDS[1]],
    "qry.type": [ENDS[1]],
    "resp.name": FIXED,
    "resp.type": FIXED,
    "resp.ttl": FIXED,
    "a": [ENDS[3]],
    "aaaa": [ENDS[4]],
    "cname": [ENDS[2]],
}


@pytest.mark.parametrize("what", FIELDS)
def test_every_section_is_read(what: str) -> None:
    assert read(what, MESSAGE) == WHOLE[what]
    assert [type(value) for value in read(what, MESSAGE)] == [type(value) for value in WHOLE[what]]


@pytest.mark.parametrize("what", FIELDS)
def test_places_count_from_the_message_s_start(what: str) -> None:
    assert read(what, MESSAGE, before=b"\1\2\3") == WHOLE[what]
    assert read(what, MESSAGE + b"\3abc", end=len(MESSAGE), before=bytes(300)) == WHOLE[what]


@pytest.mark.parametrize("what", FIELDS)
def test_a_message_that_ends_early_has_what_was_whole_before(what: str) -> None:
    for end in range(len(MESSAGE)):
        there = tuple(value for value, needed in zip(WHOLE[what], NEEDED[what], strict=True) if needed <= end)
        assert read(what, MESSAGE[:end]) == there, end
        assert read(what, MESSAGE, end) == there, end  # what follows is no part of it
        assert read(what, MESSAGE, end, before=b"\1\2\3") == there, end


@pytest.mark.parametrize("what", FIELDS)
def test_where_the_capture_kept_less_the_rest_is_cut(what: str) -> None:
    for kept in range(len(MESSAGE)):
        there = tuple(value for value, needed in zip(WHOLE[what], NEEDED[what], strict=True) if needed <= kept)
        assert read(what, MESSAGE[:kept], len(MESSAGE)) == (*there, CUT), kept


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"\0", ("<Root>",)),
        (b"\1a\0", ("a",)),
        (WWW, ("www.a",)),
        (b"\x0c_printer.tcp\0", ("_printer.tcp",)),
        (b"\x3f" + b"x" * 63 + b"\0", ("x" * 63,)),
        (b"\2\xffa\0", ("\N{REPLACEMENT CHARACTER}a",)),
        (b"\x40" + b"x" * 64 + b"\0", ()),  # neither a length nor a pointer
        (b"\x80" + b"x" * 128 + b"\0", ()),
        (b"\xbf" + b"x" * 191 + b"\0", ()),
        (pointer(AT), ()),  # to itself
        (pointer(AT + 2), ()),
        (b"\1a" + pointer(AT), ()),  # round and round
        (b"\1a" + pointer(AT + 2), ()),
        (b"\1a" + pointer(AT + 40), ()),
        (pointer(4) + b"rest", ("<Root>",)),  # in the header, the upper byte of the number of questions: 0
    ],
)
def test_a_name(name: bytes, found: Found) -> None:
    assert queried(name) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (pointer(AT), "www.a"),
        (pointer(AT + 4), "a"),
        (pointer(AT + 6), "<Root>"),
        (b"\1b" + pointer(AT), "b.www.a"),
        (b"\1b\2cd" + pointer(AT + 4), "b.cd.a"),
    ],
)
def test_a_name_may_point_to_one_before(name: bytes, found: str) -> None:
    message = header(3, 0, 0, 0) + question(WWW) + question(name, 33) + question(b"\1z\0", 34)
    assert read("qry.name", message) == ("www.a", found, "z")
    assert read("qry.type", message) == (1, 33, 34)  # what follows the name follows the pointer


def test_what_follows_pointers_to_pointers_follows_the_first() -> None:
    message = header(4, 0, 0, 0) + question(WWW) + question(pointer(AT), 33)
    message += question(b"\1b" + pointer(AT + 11), 34) + question(b"\1z\0", 35)
    assert read("qry.name", message) == ("www.a", "www.a", "b.www.a", "z")
    assert read("qry.type", message) == (1, 33, 34, 35)


def test_a_pointer_has_fourteen_bits() -> None:
    """It reaches what is farther off than 255 bytes, and than 8191."""
    for size in (300, 9000):
        far = record(b"\0", TXT, bytes(size)) + record(b"\2xy\0", TXT, b"")
        message = header(0, 3, 0, 0) + far + record(pointer(AT + 11 + size), TXT, b"")
        assert read("resp.name", message) == ("<Root>", "xy", "xy")


def test_a_pointer_of_which_one_byte_is_there() -> None:
    message = header(2, 0, 0, 0) + question(WWW) + pointer(AT)
    assert read("qry.name", message[:-1]) == ("www.a",)
    assert read("qry.name", message[:-1], len(message)) == ("www.a", CUT)


def test_a_header_that_promises_nothing_is_followed_by_nothing() -> None:
    """Whatever else was there and was not kept."""
    assert [read("qry.name", header(0, 0, 0, 0)[:kept], 40) for kept in (11, 12)] == [(CUT,), ()]


def test_a_name_may_point_64_times() -> None:
    """Each name is a pointer to the one before, so the last that is read is the 65th."""
    places = [AT, *(AT + 7 + 6 * number for number in range(80))]
    names = [b"\1a\0", *(pointer(place) for place in places)]
    assert queried(*names[:65]) == ("a",) * 65
    assert queried(*names) == ("a",) * 65


@pytest.mark.parametrize(("last", "found"), [(61, 1), (62, 0)])
def test_a_name_has_255_bytes_at_most(last: int, found: int) -> None:
    """With the bytes that tell the lengths, and the root's."""
    labels = b"".join(bytes([size]) + b"a" * size for size in (63, 63, 63, last))
    assert len(queried(labels + b"\0")) == found
    # So too if a part of it stands elsewhere.
    end = labels[192:] + b"\0"
    message = header(2, 0, 0, 0) + question(end) + question(labels[:192] + pointer(AT))
    assert len(read("qry.name", message)) == 1 + found


@pytest.mark.parametrize(
    ("what", "kind", "data", "found"),
    [
        ("a", A, bytes((10, 0, 0, 1)), ("10.0.0.1",)),
        ("a", A, bytes(3), ()),
        ("a", A, bytes(5), ()),
        ("a", A, bytes(16), ()),
        ("a", AAAA, bytes(4), ()),
        ("a", TXT, bytes(4), ()),
        ("aaaa", AAAA, bytes(15) + b"\1", ("::1",)),
        ("aaaa", AAAA, bytes(4), ()),
        ("aaaa", AAAA, bytes(17), ()),
        ("aaaa", A, bytes(16), ()),
        ("cname", CNAME, WWW, ("www.a",)),
        ("cname", NS, WWW, ()),
        ("cname", CNAME, b"\x40", ()),
        ("qry.name", A, bytes(4), ()),  # of a record, not asked for
        ("qry.type", A, bytes(4), ()),
    ],
)
def test_data_mean_something_by_the_type_and_size_of_their_record(
    what: str, kind: int, data: bytes, found: tuple[Value, ...]
) -> None:
    assert read(what, header(0, 1, 0, 0) + record(b"\0", kind, data)) == found


@pytest.mark.parametrize("what", ["resp.name", "resp.type", "resp.ttl", "a", "aaaa", "cname"])
@pytest.mark.parametrize("kind", [A, AAAA, CNAME])
def test_a_question_is_no_record(what: str, kind: int) -> None:
    assert read(what, header(1, 0, 0, 0) + question(WWW, kind)) == ()


@pytest.mark.parametrize("size", [0, 1, 5, 300])
def test_the_next_record_is_behind_the_data_of_any_size(size: int) -> None:
    message = header(0, 2, 0, 0) + record(b"\0", TXT, b"\xff" * size) + record(b"\0", A, bytes((10, 0, 0, 1)))
    assert read("a", message) == ("10.0.0.1",)


def test_data_that_go_on_behind_the_message_end_it() -> None:
    message = header(0, 3, 0, 0) + record(b"\0", A, bytes(4)) + record(b"\0", A, bytes(2), size=4)
    assert read("a", message) == ("0.0.0.0",)
    assert read("resp.type", message) == (1, 1)
    assert read("a", message, len(message) + 20) == ("0.0.0.0", CUT)


@pytest.mark.parametrize(
    ("counts", "queries", "answers"),
    [((2, 0, 0, 0), 2, 0), ((1, 1, 0, 0), 1, 1), ((0, 1, 1, 0), 0, 2), ((0, 1, 0, 1), 0, 2), ((1, 0, 0, 0), 1, 0)],
)
def test_the_header_says_how_many_of_each_there_are(counts: tuple[int, ...], queries: int, answers: int) -> None:
    message = header(*counts) + question(b"\1q\0") * queries + record(b"\1r\0", TXT, b"") * answers + bytes(200)
    assert read("qry.name", message) == ("q",) * queries
    assert read("resp.name", message) == ("r",) * answers


@pytest.mark.parametrize("section", range(4))
def test_a_count_has_two_bytes(section: int) -> None:
    """More than 255 of each are possible; and a count that promises too much gives what there is."""
    counts = [0, 0, 0, 0]
    counts[section] = 260
    one, what = (question(b"\0"), "qry.type") if section == 0 else (record(b"\0", A, b""), "resp.type")
    assert read(what, header(*counts) + one * 300) == (1,) * 260
    assert read(what, header(*counts) + one * 250) == (1,) * 250
