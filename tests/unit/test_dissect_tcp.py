"""The options and the payload of TCP segments written out by hand (RFC 9293), and every place where one may end."""

from __future__ import annotations

import pytest
from labrun.packets.dissect import tcp
from labrun.packets.dissect.layer import CUT, Found
from support import headers

BEFORE = b"\xff" * 7


def segment(options: bytes, payload: bytes = b"", words: int | None = None) -> bytes:
    return headers.tcp(1, 2, payload, options=options, words=words)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (b"", ()),
        (b"\2\4\5\xb4", (1460,)),
        (b"\1\1\1\1\2\4\xff\1", (0xFF01,)),
        (b"\1\3\3\7\2\4\5\xb4", (1460,)),
        (b"\4\2\2\4\5\xb4\0\0", (1460,)),  # an option without data
        (b"\2\4\5\xb4\2\4\2\x18", (1460, 536)),
        (b"\x08\x0a\2\4\0\1\2\4\0\2\1\1", ()),  # inside another option
        (b"\0\0\0\0\2\4\5\xb4", ()),  # behind the end of the list
        (b"\2\4\5\xb4\0\4\5\xb4", (1460,)),
        (b"\2\3\5\1", ()),
        (b"\2\2\2\4\5\xb4\1\1", (1460,)),
        (b"\2\5\5\xb4", ()),  # goes on behind the header
        (b"\2\6\0\0\5\xb4\2\4\5\xb4\1\1", (1460,)),
        (b"\1\1\1\2", ()),
        (b"\1\1\2\4", ()),
        (b"\3\1\2\4\5\xb4\1\1", ()),  # a size that cannot be
        (b"\3\0\2\4\5\xb4\1\1", ()),
        (b"\1\2\4\5\xb4\1\1\1", (1460,)),
    ],
)
def test_the_segment_size_among_other_options(options: bytes, found: Found) -> None:
    for data in (segment(options), segment(options, b"\2\4\1\1")):  # the payload is no option
        assert tcp.mss(data, 0, len(data)) == found
        assert tcp.mss(BEFORE + data, len(BEFORE), len(BEFORE + data)) == found
        assert tcp.mss(data + b"\2\4\2\2", 0, len(data)) == found


TWICE = segment(b"\1\3\3\7\2\4\5\xb4\2\4\2\x18", b"hello")  # complete at 28 and at 32 bytes


def test_a_segment_that_ends_early_has_the_options_that_are_whole() -> None:
    for end in range(len(TWICE)):
        found = (1460, 536)[: (end >= 28) + (end >= 32)]
        assert tcp.mss(TWICE, 0, end) == found, end
        assert tcp.mss(TWICE[:end], 0, end) == found, end
        assert tcp.mss(BEFORE + TWICE, 7, 7 + end) == found, end


def test_where_the_capture_kept_less_the_other_options_are_cut() -> None:
    for kept in range(len(TWICE)):
        found = (1460, 536)[: (kept >= 28) + (kept >= 32)]
        rest = () if kept >= 32 else (CUT,)
        assert tcp.mss(TWICE[:kept], 0, len(TWICE)) == (*found, *rest), kept
        assert tcp.mss(TWICE[:kept], 0, 32) == (*found, *rest), kept


@pytest.mark.parametrize("options", [b"\0\0\0\0", b"\1\1\1\0"])
def test_behind_the_end_of_the_list_nothing_is_missed(options: bytes) -> None:
    data = segment(options + b"\2\4\5\xb4")
    assert tcp.mss(data[:24], 0, len(data)) == ()


def test_the_place_of_an_option_that_only_began_is_cut() -> None:
    """Of other options too: what follows them is not known."""
    data = segment(b"\1\1\x08\x0a" + bytes(8) + b"\2\4\5\xb4")
    assert [tcp.mss(data[:kept], 0, len(data)) for kept in range(20, 37)] == [(CUT,)] * 16 + [(1460,)]


@pytest.mark.parametrize(
    ("words", "size", "found"),
    [
        (5, 20, (0,)),
        (5, 21, (1,)),
        (5, 1500, (1480,)),
        (6, 24, (0,)),
        (6, 30, (6,)),
        (15, 60, (0,)),
        (15, 61, (1,)),
        (15, 59, ()),  # a header that is longer than what there is
        (6, 23, ()),
        (4, 40, ()),  # a header that is shorter than one
        (0, 40, ()),
        (5, 13, ()),
        (5, 12, ()),  # without the byte that tells how long it is
    ],
)
def test_the_payload_is_what_follows_the_header(words: int, size: int, found: Found) -> None:
    data = segment(b"", bytes(1500), words)
    assert tcp.payload_length(data[:size], 0, size) == found
    assert tcp.payload_length(BEFORE + data, 7, 7 + size) == found
    # The payload's bytes need not be there, and neither the options.
    assert tcp.payload_length(data[:13], 0, size) == found
    assert tcp.payload_length(data[:12], 0, size) == ((CUT,) if size > 12 else ())


@pytest.mark.parametrize("words", [0, 4])
def test_a_header_that_is_shorter_than_one_has_no_options(words: int) -> None:
    data = segment(b"\2\4\5\xb4", words=words)
    assert tcp.mss(data, 0, len(data)) == ()
