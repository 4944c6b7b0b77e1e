"""Super-packets cut into what goes over a wire; tests/agent/test_capture.py compares with what the kernel makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.packets.segments import Offload, segments
from support.evidence_builder import ethernet
from support.headers import ip, ipv6, tcp, udp

TCP4, UDP4_OLD, TCP6, UDP = 1, 3, 4, 5
FOUR = ethernet(ip(6, tcp(1, 2, bytes(range(250)) * 10, options=bytes(12))))
SIX = ethernet(ipv6(6, tcp(1, 2, bytes(2500))), kind=0x86DD)
DATAGRAMS = ethernet(ip(17, udp(1, 2, bytes(2500))))


def cut(data: bytes, kind: int, size: int = 1000, kept: int | None = None) -> list[tuple[bytes, int]] | None:
    return segments(data[:kept], 1, len(data), Offload(1, kind, size))


@pytest.mark.parametrize(
    ("data", "kind", "head"), [(FOUR, TCP4, 66), (FOUR, TCP4 | 0x80, 66), (SIX, TCP6, 74), (DATAGRAMS, UDP, 42)]
)
def test_each_segment_has_the_headers_and_its_part_of_the_data(data: bytes, kind: int, head: int) -> None:
    found = cut(data, kind)
    assert found is not None
    assert [length for _, length in found] == [head + 1000, head + 1000, head + 500]
    assert all(len(part) == length for part, length in found)
    assert b"".join(part[head:] for part, _ in found) == data[head:]


def test_what_differs_between_segments_of_tcp() -> None:
    """Total length, identification, sequence number; PSH on the last alone (tcp_gso_segment, inet_gso_segment)."""
    found = cut(FOUR, TCP4)
    assert found is not None
    first, second, last = (part for part, _ in found)
    assert [int.from_bytes(part[16:18], "big") for part in (first, second, last)] == [1052, 1052, 552]
    identity = int.from_bytes(FOUR[18:20], "big")
    assert [int.from_bytes(part[18:20], "big") - identity for part in (first, second, last)] == [0, 1, 2]
    assert [int.from_bytes(part[38:42], "big") - 0x01020304 for part in (first, second, last)] == [0, 1000, 2000]
    assert [part[47] for part in (first, second, last)] == [0x10, 0x10, 0x18]


@pytest.mark.parametrize(
    ("data", "kind", "size"),
    [
        (FOUR, TCP4, 0),
        (FOUR, TCP6, 1000),
        (FOUR, UDP, 1000),
        (FOUR, UDP4_OLD, 1000),
        (DATAGRAMS, TCP4, 1000),
        (DATAGRAMS, UDP4_OLD, 1000),  # fragments, and no segments
        (ethernet(ip(47, bytes(2500))), TCP4, 1000),  # a tunnel
        (ethernet(ip(132, bytes(2500))), TCP4, 1000),
        (ethernet(ipv6(0, bytes(2500)), kind=0x86DD), TCP6, 1000),
        (ethernet(bytes(2500), kind=0x0806), TCP4, 1000),
    ],
)
def test_what_is_not_known_to_be_cut_so_is_not_cut(data: bytes, kind: int, size: int) -> None:
    assert cut(data, kind, size) is None


@given(st.binary(max_size=120), st.sampled_from([1, 101]), st.integers(0, 200), st.integers(0, 255), st.integers(0, 9))
def test_nothing_in_a_packet_makes_it_fail(data: bytes, linktype: int, more: int, kind: int, size: int) -> None:
    found = segments(data, linktype, len(data) + more, Offload(1, kind, size))
    assert found is None or all(len(part) <= length for part, length in found)


@pytest.mark.parametrize(("data", "kind"), [(FOUR, TCP4), (SIX, TCP6), (DATAGRAMS, UDP)])
def test_raw_ip_is_cut_like_what_stands_behind_an_ethernet_header(data: bytes, kind: int) -> None:
    framed, raw = cut(data, kind), segments(data[14:], 101, len(data) - 14, Offload(1, kind, 1000))
    assert framed is not None
    assert raw == [(part[14:], length - 14) for part, length in framed]
    tag = data[:12] + b"\x81\0\0\7" + data[12:]
    tagged = segments(tag, 1, len(tag), Offload(1, kind, 1000))
    assert tagged is not None
    assert [(part[:12] + part[16:], length - 4) for part, length in tagged] == framed


def test_segments_of_a_cut_packet_are_cut() -> None:
    found = cut(FOUR, TCP4, kept=1100)
    assert found is not None
    assert [(len(part), length) for part, length in found] == [(1066, 1066), (100, 1066), (66, 566)]
