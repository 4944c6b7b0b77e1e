"""Plain packets are read without scapy, and just as scapy reads them."""

from __future__ import annotations

import ast
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.report import dissect, fields, headers

ETHERNET = 1
BYTE, WORD = st.integers(0, 255), st.integers(0, 65535)
PORTS = st.sampled_from((80, 8900, 53, 4789, 40000, 40001, 65535))  # others may mean something to more of scapy
OPTIONS = st.lists(st.sampled_from((
    b"\1", b"\1\1", b"\2\4\5\xb4", b"\3\3\7", b"\4\2", b"\x08\x0a\0\0\0\1\xff\0\0\2", b"\0", b"\5\x0a12345678", b"\x1e\4ab",
)), max_size=4).map(b"".join).filter(lambda each: len(each) <= 40)  # fmt: skip


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Ethernet frames as labs have them, most of them plain, some with one thing that is not."""
    ethernet = draw(st.binary(min_size=12, max_size=12))
    if draw(st.integers(0, 5)) == 0:
        arp = (
            b"\0\1\x08\0\6\4"
            + struct.pack(">H", draw(st.sampled_from((1, 2, 3))))
            + draw(st.binary(min_size=20, max_size=20))
        )
        return ethernet + b"\x08\x06" + arp + draw(st.sampled_from((b"", bytes(18))))
    payload = draw(st.binary(max_size=24))
    ports = struct.pack(">HH", draw(PORTS), draw(PORTS))
    protocol = draw(st.sampled_from((1, 1, 6, 17, 47)))
    if protocol == 1 and draw(st.booleans()):
        quoted = struct.pack(">BBHHHBBH", 0x45, 0, draw(st.sampled_from((28, 84, 1500))), 7,
                             draw(st.sampled_from((0, 0x4000, 0x2000))), 1, draw(st.sampled_from((1, 1, 17))), 9)  # fmt: skip
        quoted += draw(st.binary(min_size=8, max_size=8)) + bytes((draw(st.sampled_from((8, 0, 3))), 0)) + bytes(6)
        kind = draw(st.sampled_from(((3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (5, 1))))
        body = bytes(kind) + draw(st.binary(min_size=2, max_size=2)) + bytes((0, draw(st.sampled_from((0, 0, 9))))) + draw(
            st.binary(min_size=2, max_size=2)) + quoted + payload  # fmt: skip
    elif protocol == 1:
        body = (
            bytes((draw(st.sampled_from((0, 8, 3, 11))), draw(st.sampled_from((0, 0, 4)))))
            + draw(st.binary(min_size=6, max_size=6))
            + payload
        )
    elif protocol == 6:
        options = draw(OPTIONS)
        options += b"\1" * (-len(options) % 4)
        offset = (5 + len(options) // 4) << 4 | draw(st.sampled_from((0, 1, 2)))
        body = (
            ports
            + draw(st.binary(min_size=8, max_size=8))
            + bytes((offset, draw(BYTE)))
            + draw(st.binary(min_size=6, max_size=6))
            + options
            + payload
        )
    else:
        body = ports + struct.pack(">HH", 8 + len(payload) + draw(st.sampled_from((0, 0, 0, 1))), draw(WORD)) + payload
    fragment = draw(st.sampled_from((0, 0x4000, 0x2000, 0x8000, 0x20AC, 0x00AC)))
    total = 20 + len(body) + draw(st.sampled_from((0, 0, 0, 0, 3, -1)))
    ip = struct.pack(
        ">BBHHHBBH",
        draw(st.sampled_from((0x45, 0x45, 0x45, 0x46, 0x55))),
        draw(BYTE),
        max(0, total),
        draw(WORD),
        fragment,
        draw(BYTE),
        protocol,
        draw(WORD),
    )
    return ethernet + b"\x08\x00" + ip + draw(st.binary(min_size=8, max_size=8)) + body


@settings(max_examples=400, deadline=None)
@given(st.one_of(packets(), packets(), st.binary(max_size=80)))
def test_plain_packets_read_as_scapy_reads_them(data: bytes) -> None:
    packet = headers.plain(data, ETHERNET)
    if packet is None:
        return
    assert dissect.dissect(data, ETHERNET) == dissect.thoroughly(data, ETHERNET)
    assert fields.fields_of(data, ETHERNET) == fields.thoroughly(data, ETHERNET)


def ip(protocol: int, body: bytes) -> bytes:
    return (
        bytes(12)
        + b"\x08\0"
        + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, 64, protocol, 9)
        + b"\x0a\0\0\1\x0a\0\0\2"
        + body
    )


@pytest.mark.parametrize(
    "data",
    [
        ip(1, b"\x08\0\1\2\0\7\0\1" + bytes(56)),
        ip(1, b"\0\0\1\2\0\7\0\1"),
        ip(17, struct.pack(">HHHH", 4000, 5000, 13, 0) + b"hello"),
        ip(6, struct.pack(">HHIIHHHH", 4000, 80, 1 << 31, 5, 0xA002, 65495, 9, 0) + b"\2\4\5\xb4\4\2\x08\x0a\0\0\0\1\0\0\0\0\1\3\3\7"),
        bytes(12) + b"\x08\6\0\1\x08\0\6\4\0\1" + bytes(20),
    ],
)  # fmt: skip
def test_the_usual_packets_are_plain(data: bytes) -> None:
    assert headers.plain(data, ETHERNET) is not None
    assert dissect.dissect(data, ETHERNET) == dissect.thoroughly(data, ETHERNET)
    assert fields.fields_of(data, ETHERNET) == fields.thoroughly(data, ETHERNET)


def test_an_error_without_an_extension_has_none() -> None:
    """The kernel quotes 576 bytes (RFC 1812) and says that no extension follows (RFC 4884); scapy guesses one there."""
    quoted = struct.pack(">BBHHHBBH", 0x45, 0, 1500, 7, 0x4000, 64, 1, 9) + bytes(8) + b"\x08" + bytes(527)
    data = ip(1, b"\3\4\0\0\0\0\5\x78" + quoted)
    found = {each.name: each for each in fields.fields_of(data, ETHERNET)}  # of two, the quoted one
    assert (found["ip.ttl"].start, found["ip.ttl"].value) == (50, "64")
    assert found["icmp.mtu"].value == "1400" and found["data"].end == len(data) == 590
    assert dissect.dissect(data, ETHERNET).info == "fragmentation needed unreachable"


def test_the_ports_behind_which_scapy_finds_more_are_known() -> None:
    """In a process of its own: whoever imports more of scapy teaches it more ports."""
    code = (
        "from labrun.report.dissect import parsed; parsed(b'', 1); from scapy.layers.inet import TCP, UDP; "
        "print([sorted({port for conditions, _ in layer.payload_guess for port in conditions.values()}) for layer in (UDP, TCP)])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    udp, tcp = ast.literal_eval(told)
    assert set(udp) <= headers.UDP_PORTS and set(tcp) <= headers.TCP_PORTS, told


def test_reading_the_usual_packets_imports_no_scapy() -> None:
    code = (
        "import sys; from labrun.report.dissect import dissect; from labrun.report.fields import fields_of; "
        f"data = {ip(1, bytes([8, 0]) + bytes(6))!r}; dissect(data, 1), fields_of(data, 1); "
        "sys.exit('scapy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
