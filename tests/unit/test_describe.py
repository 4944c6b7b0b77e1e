"""Packets in words, and byte by byte: by the fields of the lab language, whatever the bytes are."""

from __future__ import annotations

import ast
import ipaddress
import struct
import subprocess
import sys
from pathlib import Path

import labrun
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.packets.describe import MAX_FIELDS, compared, describe, field_bytes
from labrun.packets.dissect.layer import Cut, Spotted
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.dissect.walk import walk
from labrun.packets.segments import NEEDS_CHECKSUM, Offload
from support import headers
from unit.test_fields import CORPUS

ETHERNET, RAW = 1, 101
LINKTYPES = st.sampled_from((ETHERNET, RAW, 0, 276))
# Without a dot: what no prediction can ask for.
PLAIN = {"data", "padding", "options", "extension headers", "more records", "more options", "other", "more"}


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Packets of the corpus with a few bytes changed, and cut; and noise."""
    data = bytearray(draw(st.one_of(st.sampled_from(list(CORPUS.values())), st.binary(max_size=120))))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4)):
        if at < len(data):
            data[at] = byte
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=300, deadline=None)
@given(packets(), LINKTYPES, st.integers(0, 40))
def test_a_page_knows_no_field_that_a_lab_does_not(data: bytes, linktype: int, lost: int) -> None:
    told(data, linktype, len(data) + lost)


@pytest.mark.parametrize("packet", CORPUS)
def test_of_a_packet_that_was_cut_anywhere_only_what_is_there_is_told(packet: str) -> None:
    data = CORPUS[packet]
    for size in range(len(data)):
        told(data[:size], ETHERNET, len(data))
        told(data[:size], ETHERNET, size)


def told(data: bytes, linktype: int, length: int) -> None:
    fields = field_bytes(data, linktype, length)
    assert {each.name for each in fields} <= FIELDS.keys() | PLAIN
    assert len(fields) <= MAX_FIELDS
    assert all(0 <= each.start < each.end <= len(data) for each in fields)
    covered = {at for each in fields for at in range(each.start, each.end)}
    assert covered == set(range(len(data))), "each byte is explained"
    words = describe(data, linktype, length)
    assert words.protocol and words.info and "-1" not in words.info.split()
    assert compared(fields, fields) == fields


@pytest.mark.parametrize("packet", CORPUS)
def test_a_page_says_what_a_prediction_reads(packet: str) -> None:
    """Each field of each header is shown with its value, or is a part of one that is, or repeats others."""
    data = CORPUS[packet]
    layers, _ = walk(data, ETHERNET, len(data))
    shown = {(each.name, each.layer): each for each in field_bytes(data, ETHERNET)}
    for depth, layer in enumerate(layers):
        for name, field in FIELDS.items():
            if field.protocol != layer.protocol or field.read is None or name.rpartition(".")[0] in FIELDS:
                continue
            if layer.part == "quoted" and not field.quoted:
                assert (name, depth) not in shown
                continue
            found = [one for one in field.read(data, layer.start, layer.end) if not isinstance(one, Cut)]
            if not found or name in REPEATS:
                assert (name, depth) not in shown, name
                continue
            value = shown[name, depth].value.partition(" (")[0]
            if field.kind in ("int", "bool"):
                texts = [str(one).lower() if isinstance(one, bool) else one for one in found]
                assert (ast.literal_eval(value) if value[0].isdigit() else value) in texts, name
            else:
                assert value in found, name


REPEATS = {"eth.addr", "ip.addr", "ipv6.addr", "tcp.port", "udp.port", "tcp.len"}


def test_every_field_has_its_place_in_the_bytes() -> None:
    none = {
        name for name, field in FIELDS.items() if not (field.bits or field.place or isinstance(field.read, Spotted))
    }
    told_otherwise = {name for name in FIELDS if name.startswith("frame.") or name.endswith(".checksum.status")}
    assert none == REPEATS | told_otherwise


@pytest.mark.parametrize("packet", CORPUS)
def test_the_bytes_of_an_address_are_the_address(packet: str) -> None:
    data = CORPUS[packet]
    for each in field_bytes(data, ETHERNET):
        kind, raw = FIELDS[each.name].kind if each.name in FIELDS else "", data[each.start : each.end]
        if kind == "mac":
            assert each.value == raw.hex(":")
        elif kind in ("ipv4", "ipv6") and not each.name.startswith("dhcp.option"):  # these may hold several
            assert ipaddress.ip_address(each.value).packed == raw


def echo(kind: int, ident: int = 7, seq: int = 1) -> bytes:
    return struct.pack(">BBHHH", kind, 0, 0, ident, seq)


def ip(protocol: int, payload: bytes, fragment: int = 0x4000) -> bytes:
    return headers.eth(0x0800, headers.ip(protocol, payload, fragment=fragment))


DNS_HEAD = struct.pack(">HHHHHH", 7, 0x8180, 1, 1, 0, 0) + b"\3www\1a\0\0\1\0\1"
A_RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7"


@pytest.mark.parametrize(
    ("data", "protocol", "info"),
    [
        (ip(1, echo(8)), "ICMP", "echo request id 7 seq 1"),
        (ip(1, echo(0)), "ICMP", "echo reply id 7 seq 1"),
        (ip(1, b"\3\1" + bytes(6) + headers.ip(1, echo(8))), "ICMP", "host unreachable"),
        (ip(1, b"\3\4\0\0\0\0\5\x78" + headers.ip(6, bytes(20))), "ICMP", "fragmentation needed unreachable"),
        (ip(1, echo(8) + bytes(8), 0x2000), "ICMP", "echo request id 7 seq 1, first fragment"),
        (ip(1, bytes(16), 0x20AC), "IPv4", "fragment of ICMP at 1376, 16 bytes"),
        (ip(1, bytes(16), 0x00AC), "IPv4", "last fragment of ICMP at 1376, 16 bytes"),
        (ip(6, struct.pack(">HHIIHHHH", 4000, 80, 9, 5, 0x5012, 100, 0, 0) + b"hey"), "TCP", "SYN, ACK seq 9 ack 5 win 100 len 3"),
        (ip(6, struct.pack(">HHI", 4000, 80, 9)), "TCP", "not all of the header was kept"),
        (ip(17, struct.pack(">HHHH", 4000, 5000, 11, 0) + b"hey"), "UDP", "len 3"),
        (ip(17, struct.pack(">HHHH", 53, 4000, 8 + len(DNS_HEAD + A_RECORD), 0) + DNS_HEAD + A_RECORD), "DNS", "answer A www.a: 192.0.2.7"),
        (ip(89, bytes(8)), "IPv4", "OSPF, 8 bytes"),
        (ip(200, bytes(8)), "IPv4", "protocol 200, 8 bytes"),
        (ip(47, b"\0\0\x08\0" + headers.ip(1, echo(8), src="1.1.1.1", dst="2.2.2.2")), "GRE",
         "type 0x0800, inside ICMP 1.1.1.1 → 2.2.2.2: echo request id 7 seq 1"),
        (headers.eth(0x0806, b"\0\1\x08\0\6\4\0\1" + bytes(6) + b"\x0a\0\0\1" + bytes(6) + b"\x0a\0\0\2"), "ARP", "who has 10.0.0.2? tell 10.0.0.1"),
        (headers.eth(0x0806, b"\0\1\x08\0\6\4\0"), "ARP", "7 bytes"),
        (headers.eth(0x88CC, bytes(20)), "Ethernet", "type 0x88cc, 20 bytes"),
        (b"", "Ethernet", "0 bytes"),
    ],
)  # fmt: skip
def test_packets_in_words(data: bytes, protocol: str, info: str) -> None:
    words = describe(data, ETHERNET)
    assert (words.protocol, words.info) == (protocol, info)


def test_what_was_not_kept_is_not_told() -> None:
    data = ip(6, struct.pack(">HHIIHHHH", 4000, 80, 9, 5, 0x5012, 100, 0, 0) + b"hey")
    assert describe(data[:44], ETHERNET, len(data)).info == "not all of the header was kept"
    assert describe(data[:36], ETHERNET, len(data)).destination == "10.0.2.3"
    assert describe(data[:54], ETHERNET, len(data)).info == "SYN, ACK seq 9 ack 5 win 100 len 3"


def test_flags_are_told_with_their_parts() -> None:
    shown = {
        each.name: each.value
        for each in field_bytes(ip(6, struct.pack(">HHIIHHHH", 1, 2, 9, 5, 0x5112, 9, 0, 0)), ETHERNET)
    }
    assert shown["ip.flags"] == "0x2 (df)" and shown["tcp.flags"] == "0x112 (syn, ack)"
    assert "tcp.flags.syn" not in shown


def test_a_checksum_is_told_with_its_status() -> None:
    """As `tcp.checksum.status` reads it: by the bytes wrong, and left to a device is another thing."""
    data = ip(6, struct.pack(">HHIIHHHH", 1, 2, 9, 5, 0x5012, 9, 7, 0))
    by_bytes = {each.name: each.value for each in field_bytes(data, ETHERNET)}
    assert by_bytes["tcp.checksum"] == "0x0007 (wrong)"
    left = Offload(NEEDS_CHECKSUM, 0, 0, 34)
    assert {each.name: each.value for each in field_bytes(data, ETHERNET, None, left)}[
        "tcp.checksum"
    ] == "0x0007 (not verified)"


def test_nothing_of_a_report_imports_scapy() -> None:
    code = (
        "import sys, labrun.report.write, labrun.report.build, labrun.report.html; "
        f"from labrun.packets.describe import describe; describe({ip(1, echo(8))!r}, 1); sys.exit('scapy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    rooms = [Path(labrun.__file__).parent / room for room in ("packets", "observe", "judge", "report")]
    assert not [path for room in rooms for path in room.rglob("*.py") if "scapy" in path.read_text()]
