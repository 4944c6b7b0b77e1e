"""Every field has its place in its header, its type and its words; and what is at a fixed place is told so rightly."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.packets.dissect.layer import CUT, ipv4_text, ipv6_text, mac_text
from labrun.packets.dissect.registry import FIELDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lab-language.md"
HEADER = bytes((37 * place + 11) % 256 for place in range(64))
SIZES = {"mac": 6, "ipv4": 4, "ipv6": 16}
TEXTS = {"mac": mac_text, "ipv4": ipv4_text, "ipv6": ipv6_text}


def test_every_field_is_in_the_reference_with_its_type_and_its_words() -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [name for name, field in FIELDS.items() if f"| `{name}` | {field.kind} | {field.about} |" not in page] == []
    assert all(name == field.name and len(field.about) > 3 for name, field in FIELDS.items())


def test_a_field_is_of_the_protocol_that_its_name_begins_with() -> None:
    assert [name for name, field in FIELDS.items() if field.protocol != name.split(".")[0]] == []
    assert {name: field.also for name, field in FIELDS.items() if field.also} == {"ip.version": "ipv6"}
    assert {name for name, field in FIELDS.items() if not field.quoted} == {"tcp.seq_raw", "tcp.len"}


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.bits is not None])
def test_a_field_at_a_fixed_place_is_read_there(name: str) -> None:
    """Where `quick` looks for it and where it is read are the same, wherever the header ends."""
    read, bits, kind = FIELDS[name].read, FIELDS[name].bits, FIELDS[name].kind
    assert read is not None and bits is not None
    place = HEADER[bits.at : bits.at + bits.size]
    if kind in SIZES:
        assert bits.size == SIZES[kind]
        expected: object = TEXTS[kind](place)
    else:
        value = int.from_bytes(place) >> bits.shift & bits.mask
        expected = value != 0 if kind == "bool" else value
    for kept in range(len(HEADER)):
        found = (expected,) if kept >= bits.at + bits.size else (CUT,)
        assert read(HEADER[:kept], 0, len(HEADER)) == found
        assert read(HEADER[:kept], 0, kept) == (found if found != (CUT,) else ())


@pytest.mark.parametrize(
    "name",
    [
        *("eth.src", "eth.dst", "vlan.priority", "vlan.id", "vlan.etype", "ieee8021ad.id", "arp.opcode", "ip.version"),
        *("ip.dsfield.dscp", "ip.dsfield.ecn", "ip.id", "ip.flags.df", "ip.flags.mf", "ip.ttl", "ip.proto", "ip.src"),
        *("ip.dst", "ipv6.version", "ipv6.tclass", "ipv6.flow", "ipv6.plen", "ipv6.nxt", "ipv6.hlim", "ipv6.src"),
        *("ipv6.dst", "icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code", "tcp.srcport", "tcp.dstport"),
        *("tcp.seq_raw", "tcp.ack_raw", "tcp.flags.syn", "tcp.flags.fin", "tcp.window_size_value", "udp.srcport"),
        *("udp.dstport", "udp.length", "vxlan.vni", "gre.proto", "dns.id", "dhcp.type", "dhcp.ip.your"),
    ],
)
def test_a_field_that_every_such_header_has_at_one_place_says_so(name: str) -> None:
    assert FIELDS[name].bits is not None


@pytest.mark.parametrize(
    "name",
    ["eth.addr", "eth.type", "ip.addr", "ip.len", "arp.src.proto_ipv4", "icmp.mtu", "tcp.port", "tcp.len", "dns.a"],
)
def test_a_field_that_some_have_or_at_several_places_does_not(name: str) -> None:
    assert FIELDS[name].bits is None
