"""Typed fields against tshark: on packets of every kind, on mutated ones, and on what a snapshot length leaves."""

from __future__ import annotations

import random
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.agent import pcapng as write
from labrun.lab.predictions import Check
from labrun.logic.compare import any_of
from labrun.packets.dissect.walk import MAX_LAYERS, walk
from labrun.packets.fields import FIELDS, Matcher, compile_fields, problem
from labrun.packets.quick import quick_test
from scapy.all import (
    ARP,
    BOOTP,
    DHCP,
    DNS,
    DNSQR,
    DNSRR,
    GRE,
    ICMP,
    IP,
    TCP,
    UDP,
    VXLAN,
    Dot1AD,
    Dot1Q,
    Ether,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    fragment,
)
from support.packet_values import values

ETHERNET, RAW = 1, 101
E = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
I4 = IP(src="10.0.1.2", dst="10.0.2.3", id=4242, ttl=63, tos=0x2A, flags="DF")
I6 = IPv6(src="2001:db8::1", dst="2001:db8:0:1::2", hlim=61, fl=0xABCDE, tc=0x2A)
ANSWER = DNS(
    id=7, qr=1, rd=1, ra=1,
    qd=DNSQR(qname="www.example.org", qtype="A"),
    an=[
        DNSRR(rrname="www.example.org", type="CNAME", ttl=60, rdata="web.example.org"),
        DNSRR(rrname="web.example.org", type="A", ttl=61, rdata="192.0.2.7"),
        DNSRR(rrname="web.example.org", type="AAAA", ttl=62, rdata="2001:db8::7"),
    ],
)  # fmt: skip
QUESTION = DNS(id=7, rd=1, qd=DNSQR(qname="www.example.org", qtype="AAAA"))
DHCP_OPTIONS = [
    ("message-type", "ack"), ("subnet_mask", "255.255.255.0"), ("router", "10.0.1.1", "10.0.1.254"),
    ("name_server", "10.0.1.53"), ("lease_time", 3600), ("server_id", "10.0.1.1"), ("hostname", b"client"), "end",
]  # fmt: skip
BOOT = BOOTP(op=2, xid=0x01020304, yiaddr="10.0.1.99", ciaddr="10.0.1.98", chaddr=bytes.fromhex("020000000001"))
QUOTED = IP(src="10.9.9.1", dst="10.9.9.2", ttl=1, id=99)

PACKETS = {
    "arp request": E / ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="10.0.1.2", pdst="10.0.1.1"),
    "arp reply": E / ARP(op=2, hwsrc="02:00:00:00:00:01", psrc="10.0.1.2", hwdst="02:00:00:00:00:02", pdst="10.0.1.1"),
    "arp padded": E / ARP(op=1, psrc="10.0.1.2", pdst="10.0.1.1") / Raw(bytes(18)),
    "length frame": Raw(bytes.fromhex("0180c2000000020000000001") + b"\x00\x26\x42\x42\x03" + bytes(35)),
    "echo request": E / I4 / ICMP(type=8, id=0x1234, seq=5) / b"data",
    "echo reply": E / I4 / ICMP(type=0, id=0x1234, seq=5) / b"data",
    "timestamp request": E / I4 / ICMP(type=13, id=3, seq=4),
    "unreachable": E / I4 / ICMP(type=3, code=1) / QUOTED / UDP(sport=1111, dport=2222) / b"12345678",
    "needs fragmentation": E / I4 / ICMP(type=3, code=4, nexthopmtu=1400) / QUOTED / TCP(sport=1111, dport=2222, seq=77),
    "time exceeded, 8 bytes": E / I4 / ICMP(type=11) / Raw(bytes(QUOTED / TCP(sport=1, dport=2, seq=3))[:28]),
    "redirect": E / I4 / ICMP(type=5, code=1, gw="10.0.1.254") / QUOTED / ICMP(id=9, seq=8),
    "ip options": E / IP(src="10.0.1.2", dst="10.0.2.3", options=[b"\x94\x04\x00\x00"]) / UDP(sport=5000, dport=6000),
    "ethernet padding": E / I4 / TCP(sport=4000, dport=80, flags="A") / Raw(b"") ,
    "tcp syn": E / I4 / TCP(sport=40000, dport=80, seq=0xFEDCBA98, ack=0, flags="S", window=64240, options=[("MSS", 1460), ("NOP", None), ("WScale", 7), ("SAckOK", b"")]),
    "tcp data": E / I4 / TCP(sport=40000, dport=8080, seq=1, ack=0x80000000, flags="PA", window=502, options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]) / b"hello",
    "tcp fin": E / I4 / TCP(sport=40000, dport=8080, flags="FA"),
    "tcp rst": E / I4 / TCP(sport=40000, dport=8080, flags="R"),
    "tcp all flags": E / I4 / TCP(sport=40000, dport=8080, flags=0xFF),
    "udp": E / I4 / UDP(sport=40000, dport=9999) / b"payload",
    "udp empty": E / I4 / UDP(sport=40000, dport=9999),
    "udp6": E / I6 / UDP(sport=40000, dport=9999) / b"payload",
    "tcp6": E / I6 / TCP(sport=40000, dport=8080, flags="S", options=[("MSS", 1440)]),
    "hop by hop": E / I6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(sport=5, dport=6000) / b"x",
    "fragment6 first": E / I6 / IPv6ExtHdrFragment(id=5, m=1, nh=17) / UDP(sport=5555, dport=6666, len=3000) / bytes(64),
    "fragment6 later": E / I6 / IPv6ExtHdrFragment(id=5, offset=9, nh=17) / bytes(64),
    "ns": E / I6 / ICMPv6ND_NS(tgt="fe80::1"),
    "na": E / I6 / ICMPv6ND_NA(tgt="fe80::1", S=1, R=0, O=1),
    "ra": E / I6 / ICMPv6ND_RA(routerlifetime=1800),
    "redirect6": E / I6 / ICMPv6ND_Redirect(tgt="fe80::1", dst="fe80::2"),
    "echo6": E / I6 / ICMPv6EchoRequest(id=7, seq=8) / b"data",
    "echo reply6": E / I6 / ICMPv6EchoReply(id=7, seq=8) / b"data",
    "too big": E / I6 / ICMPv6PacketTooBig(mtu=1280) / IPv6(src="2001:db8::9", dst="2001:db8::8") / UDP(sport=7777, dport=8888),
    "unreachable6": E / I6 / ICMPv6DestUnreach(code=4) / IPv6(src="2001:db8::9", dst="2001:db8::8") / UDP(sport=7777, dport=8888),
    "vlan": E / Dot1Q(vlan=10, prio=5) / I4 / UDP(sport=1, dport=9999),
    "qinq": E / Dot1Q(vlan=10, prio=5) / Dot1Q(vlan=20) / I4 / ICMP(id=1, seq=1),
    "802.1ad": E / Dot1AD(vlan=100) / Dot1Q(vlan=20) / I4 / ICMP(id=1, seq=1),
    "vxlan": E / I4 / UDP(sport=55555, dport=4789) / VXLAN(vni=42) / Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / IP(src="192.168.1.1", dst="192.168.1.2", ttl=9) / TCP(sport=1234, dport=4321, flags="S"),
    "vxlan arp": E / I4 / UDP(sport=55555, dport=4789) / VXLAN(vni=0x00FFEE) / Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / ARP(op=2, psrc="192.168.1.1"),
    "vxlan6": E / I6 / UDP(sport=55555, dport=4789) / VXLAN(vni=42) / Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(),
    "ipip": E / I4 / IP(src="192.168.1.1", dst="192.168.1.2") / UDP(sport=10, dport=9999),
    "6in4": E / I4 / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=10, dport=9999),
    "gre": E / I4 / GRE(key_present=1, key=5) / IP(src="192.168.1.1", dst="192.168.1.2") / ICMP(id=1, seq=2),
    "gretap": E / I4 / GRE(proto=0x6558) / Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / ARP(op=1, psrc="1.2.3.4"),
    "dns question": E / I4 / UDP(sport=33333, dport=53) / QUESTION,
    "dns answer": E / I4 / UDP(sport=53, dport=33333) / ANSWER,
    "dns no such name": E / I4 / UDP(sport=53, dport=33333) / DNS(id=7, qr=1, rcode=3, qd=DNSQR(qname="no.example")),
    "dns root": E / I4 / UDP(sport=33333, dport=53) / DNS(qd=DNSQR(qname=".", qtype="NS")),
    "mdns": E / I4 / UDP(sport=5353, dport=5353) / DNS(qd=DNSQR(qname="printer.local")),
    "dns over tcp": E / I4 / TCP(sport=53, dport=33333, flags="PA") / Raw(struct.pack(">H", len(bytes(ANSWER))) + bytes(ANSWER)),
    "dhcp discover": E / I4 / UDP(sport=68, dport=67) / BOOTP(xid=5, chaddr=bytes.fromhex("020000000001")) / DHCP(options=[("message-type", "discover"), ("requested_addr", "10.0.1.77"), "end"]),
    "dhcp ack": E / I4 / UDP(sport=67, dport=68) / BOOT / DHCP(options=DHCP_OPTIONS),
}  # fmt: skip
FRAGMENTS = fragment(IP(src="10.0.1.2", dst="10.0.2.3", id=7) / UDP(sport=4444, dport=5555) / bytes(3000), 1480)
PACKETS |= {f"fragment {n}": E / part for n, part in enumerate(FRAGMENTS)}
CORPUS = {name: bytes(packet) for name, packet in PACKETS.items()}
CORPUS["ethernet padding"] = CORPUS["ethernet padding"].ljust(60, b"\0")
RAW_CORPUS = {"raw4": bytes(I4 / UDP(sport=1000, dport=2000) / b"x"), "raw6": bytes(I6 / ICMPv6EchoRequest(id=1))}

OPTIONS = (
    *("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"),
    *(f"{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")),
)


def tshark(
    packets: list[bytes],
    linktype: int = ETHERNET,
    names: tuple[str, ...] = tuple(FIELDS),
    lengths: list[int] | None = None,
) -> list[dict[str, list[str]]]:
    """What tshark shows of each field in each packet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.pcapng"
        blocks = [write.section_header("test"), write.interface_description("eth0", linktype, 262144)]
        for number, data in enumerate(packets):
            # Far apart, so that one packet has no part in how another is read.
            length = len(data) if lengths is None else lengths[number]
            blocks.append(write.enhanced_packet(0, number * 10**12, data, length, 0))
        path.write_bytes(b"".join(blocks))
        argv = [
            "tshark",
            "-n",
            "-r",
            str(path),
            "-T",
            "fields",
            "-E",
            "occurrence=a",
            "-E",
            "aggregator=\x02",
            "-E",
            "separator=\x03",
        ]
        argv += [part for option in OPTIONS for part in ("-o", option)]
        argv += [part for name in (*names, "_ws.malformed") for part in ("-e", name)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    rows = done.stdout.split("\n")[: len(packets)]
    assert len(rows) == len(packets)
    return [
        {
            name: [part for part in cell.split("\x02") if part]
            for name, cell in zip((*names, "_ws.malformed"), row.split("\x03"), strict=True)
        }
        for row in rows
    ]


def shown(name: str, texts: list[str]) -> tuple[object, ...]:
    """tshark's texts as values of the field's type."""
    kind = FIELDS[name].kind
    if kind == "int":
        return tuple(int(text, 0) for text in texts)
    if kind == "bool":
        return tuple(text in ("1", "True") for text in texts)
    return tuple(texts)


def ours(data: bytes, linktype: int, name: str, length: int | None = None) -> tuple[object, ...]:
    return values(data, linktype, name, length, "eth0")


@cache
def corpus_as_tshark_sees_it() -> dict[str, dict[str, list[str]]]:
    return dict(zip(CORPUS, tshark(list(CORPUS.values())), strict=True))


@pytest.mark.parametrize("packet", CORPUS)
def test_every_field_of_every_packet_is_what_tshark_shows(packet: str) -> None:
    seen = corpus_as_tshark_sees_it()[packet]
    # In what order ip.addr and its like come is of no meaning.
    theirs = {name: sorted(map(repr, shown(name, seen[name]))) for name in FIELDS}
    assert {name: sorted(map(repr, ours(CORPUS[packet], ETHERNET, name))) for name in FIELDS} == theirs


@pytest.mark.parametrize("packet", RAW_CORPUS)
def test_raw_ip_has_no_ethernet_fields_and_all_others(packet: str) -> None:
    seen = tshark([RAW_CORPUS[packet]], RAW)[0]
    assert {name: ours(RAW_CORPUS[packet], RAW, name) for name in FIELDS if not name.endswith((".addr", ".port"))} == {
        name: shown(name, seen[name]) for name in FIELDS if not name.endswith((".addr", ".port"))
    }


def test_every_field_is_tshark_s_with_its_type_and_is_seen_in_the_corpus() -> None:
    done = subprocess.run(["tshark", "-G", "fields"], capture_output=True, text=True, check=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    types = {row[2]: row[3] for row in rows if row[0] == "F"}
    kinds = {
        "FT_ETHER": "mac",
        "FT_IPv4": "ipv4",
        "FT_IPv6": "ipv6",
        "FT_BOOLEAN": "bool",
        "FT_STRING": "text",
        "FT_STRINGZ": "text",
    }
    wrong = {name for name, field in FIELDS.items() if kinds.get(types[name], "int") != field.kind}
    assert wrong == set()
    seen = {name for name in FIELDS for data in CORPUS.values() if ours(data, ETHERNET, name)}
    assert set(FIELDS) - seen == set()


def mutated(count: int, seed: int) -> list[bytes]:
    """Packets with some bytes changed behind the Ethernet header's addresses."""
    some = random.Random(seed)
    names = sorted(CORPUS)
    found = []
    for _ in range(count):
        data = bytearray(CORPUS[some.choice(names)])
        for _ in range(some.choice((1, 1, 2, 4))):
            place = min(12 + int(some.expovariate(1 / 25)), len(data) - 1)
            data[place] = some.choice((0, 255, some.randrange(256), data[place] ^ 1 << some.randrange(8)))
        if some.random() < 0.2:
            del data[some.randrange(14, len(data)) :]
        found.append(bytes(data))
    return found


def odd(data: bytes) -> bool:
    """Is this no packet that a stack would send? There tshark shows what it guesses, and labrun what it can name."""
    layers, _ = walk(data, ETHERNET, len(data))
    for protocol, start, end, part, _ in layers:
        header = data[start:end]
        if protocol.startswith("bogus") or (protocol == "eth" and int.from_bytes(header[12:14], "big") < 0x600):
            return True
        claimed = {"ip": int.from_bytes(header[2:4]), "ipv6": 40 + int.from_bytes(header[4:6])}.get(protocol, 0)
        if part != "quoted" and claimed > end - start:  # no whole packet
            return True
        if protocol == "ip" and 0 < int.from_bytes(header[2:4], "big") < (header[0] & 15) * 4:
            return True
        if (
            protocol == "ip"
            and header[9:10] == b"\x2f"
            and header[(header[0] & 15) * 4 :][:2] not in (b"\x20\x00", b"\x00\x00")
        ):
            return True
        if protocol == "arp" and header[:6] != bytes.fromhex("000108000604"):
            return True
        if protocol == "tcp" and (header[12:13] < b"\x50" or part == "quoted"):
            return True
    return False


# tshark remembers which ports of earlier packets spoke DNS, and leaves out what it holds for a retransmission.
STATELESS = tuple(name for name, field in FIELDS.items() if field.protocol not in ("dns", "dhcp"))


@pytest.mark.parametrize("seed", range(3))
def test_mutated_packets_are_what_tshark_shows(seed: int) -> None:
    packets = [data for data in mutated(1500, seed) if not odd(data)]
    assert len(packets) > 900
    differing = []
    for data, seen in zip(packets, tshark(packets), strict=True):
        if seen["_ws.malformed"]:
            continue
        theirs = {name: sorted(map(repr, shown(name, seen[name]))) for name in STATELESS}
        mine = {name: sorted(map(repr, ours(data, ETHERNET, name))) for name in STATELESS}
        if mine != theirs:
            differing.append(
                (data.hex(), {name: (mine[name], theirs[name]) for name in STATELESS if mine[name] != theirs[name]})
            )
    assert differing == []


def anywhere(checks: dict[str, Check]) -> Matcher:
    """In any header stack."""
    asked = [compile_fields(checks), compile_fields({}, inner=checks)]
    asked += [compile_fields({}, quoted=checks)] if all(FIELDS[name].quoted for name in checks) else []
    return lambda *packet: any_of(match(*packet) for match in asked)


@pytest.mark.parametrize("packet", CORPUS)
def test_what_the_snaplen_cut_is_unknown_and_what_is_known_stays(packet: str) -> None:
    whole = CORPUS[packet]
    full = {name: ours(whole, ETHERNET, name) for name in FIELDS if not name.startswith("frame.")}
    matchers = {name: [anywhere({name: Check(equals=value)}) for value in found] for name, found in full.items()}
    absent = {
        "icmp.code": Check(equals=77),
        "dns.qry.name": Check(equals="nobody"),
        "arp.opcode": Check(equals=9),
        "vxlan.vni": Check(equals=1),
    }
    never = [compile_fields({name: check}) for name, check in absent.items()]
    for size in range(len(whole)):
        kept = whole[:size]
        for name, found in full.items():
            part = list(ours(kept, ETHERNET, name, len(whole)))
            assert all(part.count(value) <= found.count(value) for value in part), (size, name)
            for match in matchers[name]:
                assert match(kept, ETHERNET, len(whole), "eth0") is not False, (size, name)
        for match in never:
            assert match(kept, ETHERNET, len(whole), "eth0") is not True
    for found in matchers.values():
        assert all(match(whole, ETHERNET, len(whole), "eth0") is True for match in found)


def test_a_field_before_the_cut_is_known_though_the_rest_is_not() -> None:
    whole = CORPUS["tcp data"]
    ttl, port = compile_fields({"ip.ttl": Check(equals=63)}), compile_fields({"tcp.dstport": Check(equals=8080)})
    other = compile_fields({"ip.ttl": Check(equals=1), "tcp.dstport": Check(equals=8080)})
    assert [match(whole[:34], 1, len(whole), "") for match in (ttl, port)] == [True, None]
    assert compile_fields({"icmp.type": Check(equals=8)})(whole[:54], 1, len(whole), "") is False
    # What the capture cut at 34 may be another header of the same stack, so not even the TTL is surely no other one.
    assert other(whole[:34], 1, len(whole), "") is None
    assert other(whole, 1, len(whole), "") is False


CHECKS = {
    "icmp.type": [Check(equals=8), Check(one_of=(0, 3)), Check(ge=9)],
    "icmp.mtu": [Check(equals=1400), Check(gt=0)],
    "ip.ttl": [Check(equals=63), Check(le=1), Check(gt=9, lt=64), Check(equals=62.5)],
    "ip.src": [Check(equals="10.0.1.2"), Check(equals="10.0.0.0/16"), Check(matches="^10"), Check(one_of=("1.2.3.4", "192.168.1.1"))],
    "ip.addr": [Check(equals="10.0.2.3"), Check(lacks="10.0")],
    "ip.flags.df": [Check(equals=True), Check(equals=False), Check(equals=1)],
    "ip.frag_offset": [Check(gt=0), Check(equals=0)],
    "ip.version": [Check(equals=6), Check(equals=4)],
    "ipv6.flow": [Check(equals=0xABCDE)],
    "ipv6.dst": [Check(equals="2001:DB8:0:1:0::2"), Check(equals="fd00::/8")],
    "eth.src": [Check(equals="02:00:00:00:00:0A"), Check(contains="02:00")],
    "eth.type": [Check(equals=0x0806), Check(equals=0x8100), Check(ge=0x86DD)],
    "vlan.id": [Check(equals=20), Check(ge=1)],
    "arp.opcode": [Check(equals=2)],
    "arp.src.proto_ipv4": [Check(equals="10.0.1.2")],
    "tcp.flags.syn": [Check(equals=True), Check(equals=False)],
    "tcp.port": [Check(equals=8080)],
    "tcp.len": [Check(gt=0), Check(equals=0)],
    "tcp.seq_raw": [Check(ge=0xFEDCBA98), Check(lt=5)],
    "udp.dstport": [Check(equals=9999), Check(one_of=(4789, 53))],
    "vxlan.vni": [Check(equals=42)],
    "dns.qry.name": [Check(equals="www.example.org"), Check(contains="example"), Check(lacks="example")],
    "dns.a": [Check(equals="192.0.2.7")],
    "dhcp.option.dhcp": [Check(equals=1), Check(equals=5)],
    "frame.len": [Check(ge=100)],
    "frame.interface_name": [Check(equals="eth0"), Check(equals="lo")],
}  # fmt: skip


def all_packets() -> list[bytes]:
    return [*CORPUS.values(), *(data for seed in range(3) for data in mutated(700, seed))]


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_sorted_out_beforehand_would_not_have_passed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for check in CHECKS[name]:
        matcher = compile_fields({name: check})
        quick = None if name.startswith("frame.") else quick_test({name: check})
        with monkeypatch.context() as patch:
            patch.setattr("labrun.packets.fields.quick_test", lambda _checks: None)
            slow = compile_fields({name: check})
        for data in all_packets():
            expected = slow(data, ETHERNET, len(data), "eth0")
            assert matcher(data, ETHERNET, len(data), "eth0") is expected, data.hex()
            if quick is not None and expected is not False:
                assert quick(data) == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from([(name, check) for name, found in CHECKS.items() for check in found]),
        min_size=2,
        max_size=3,
        unique_by=lambda pair: pair[0],
    ),
    st.integers(0, 9),
)
def test_several_checks_are_all_of_them(pairs: list[tuple[str, Check]], seed: int) -> None:
    matcher = compile_fields(dict(pairs))
    singles = [compile_fields({name: check}) for name, check in pairs]
    for data in [*CORPUS.values(), *mutated(20, seed)]:
        expected = all(single(data, ETHERNET, len(data), "eth0") for single in singles)
        assert matcher(data, ETHERNET, len(data), "eth0") is expected


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(CORPUS)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 400),
    st.sampled_from([1, 101, 113]),
)
def test_no_bytes_raise_or_loop(packet: str, changes: list[tuple[int, int]], size: int, linktype: int) -> None:
    data = bytearray(CORPUS[packet])
    for place, value in changes:
        data[place % len(data)] = value
    kept = bytes(data[:size])
    for name in FIELDS:
        assert isinstance(values(kept, linktype, name, len(data)), tuple)
    for name, found in CHECKS.items():
        assert compile_fields({name: found[0]})(kept, linktype, len(data), "eth0") in (True, False, None)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([1, 101]))
def test_no_noise_raises(data: bytes, linktype: int) -> None:
    assert all(isinstance(values(data, linktype, name), tuple) for name in FIELDS)


def test_hostile_nesting_and_pointers_end() -> None:
    tunnels = bytes(E)[:12] + b"\x08\x00" + bytes(IP(src="1.1.1.1", dst="2.2.2.2", proto=4, len=0)) * 3000
    layers, cut = walk(tunnels, ETHERNET, len(tunnels))
    assert (len(layers), cut) == (MAX_LAYERS, True)
    assert compile_fields({"ip.ttl": Check(equals=1)})(tunnels, ETHERNET, len(tunnels), "") is False
    assert compile_fields({}, inner={"ip.ttl": Check(equals=1)})(tunnels, ETHERNET, len(tunnels), "") is None
    circle = struct.pack(">HHHHHH", 1, 0x8180, 1, 60000, 60000, 60000) + b"\xc0\x0c\x00\x01\x00\x01" * 10000
    packet = bytes(E / I4 / UDP(sport=53, dport=53, len=0) / circle[:60000])
    assert values(packet, ETHERNET, "dns.qry.name") == ()
    chain = (
        b"\x01a"
        + b"\x00"
        + b"".join(struct.pack(">H", 0xC000 | 12 + 3 + 2 * n - (3 if n == 0 else 2)) for n in range(500))
    )
    packet = bytes(E / I4 / UDP(sport=53, dport=53) / (struct.pack(">HHHHHH", 1, 0x8180, 0, 60000, 0, 0) + chain))
    assert isinstance(values(packet, ETHERNET, "dns.resp.name"), tuple)


def test_all_checks_are_about_one_header_stack() -> None:
    """The type of an outer header is not held beside the address of an inner one."""
    data = CORPUS["vxlan"]

    def holds(outer: dict[str, object], **parts: dict[str, object]) -> bool | None:
        checks = [{name: Check(equals=value) for name, value in each.items()} for each in (outer, *parts.values())]  # type: ignore[arg-type]
        return compile_fields(checks[0], **dict(zip(parts, checks[1:], strict=True)))(data, ETHERNET, len(data), "")

    assert ours(data, ETHERNET, "ip.ttl") == (63, 9)
    assert holds({"ip.ttl": 63}) is True and holds({"ip.ttl": 9}) is False
    assert holds({}, inner={"ip.ttl": 9}) is True and holds({}, inner={"ip.ttl": 63}) is False
    assert holds({"tcp.dstport": 4321}) is False and holds({"vxlan.vni": 42}, inner={"tcp.dstport": 4321}) is True
    assert holds({"ip.ttl": 63}, quoted={"ip.ttl": 9}) is False
    data = CORPUS["unreachable"]
    assert holds({"udp.dstport": 2222}) is False and holds({}, inner={"udp.dstport": 2222}) is False
    assert holds({"icmp.type": 3, "ip.ttl": 63}, quoted={"udp.dstport": 2222, "ip.ttl": 1}) is True
    assert holds({"icmp.type": 3}, quoted={"udp.dstport": 2222, "ip.ttl": 63}) is False


def test_a_packet_quoted_in_a_tunnel_is_quoted() -> None:
    inner = IP(src="192.168.1.1", dst="192.168.1.2") / ICMP(type=3, code=1) / QUOTED / UDP(sport=5, dport=6)
    data = bytes(E / I4 / GRE() / inner)
    for part, address in (("inner", "192.168.1.1"), ("quoted", "10.9.9.1")):
        for other in ("inner", "quoted"):
            match = compile_fields({}, **{other: {"ip.src": Check(equals=address)}})
            assert match(data, ETHERNET, len(data), "") is (part == other)


def test_what_the_capture_did_not_keep_may_be_another_stack() -> None:
    whole = CORPUS["vxlan"]
    inner = compile_fields({}, inner={"tcp.dstport": Check(equals=1)})
    assert [inner(whole[:size], ETHERNET, len(whole), "") for size in (30, 60, len(whole))] == [None, None, False]
    outer = compile_fields({"ip.ttl": Check(equals=9)})
    assert [outer(whole[:size], ETHERNET, len(whole), "") for size in (30, 60, 70)] == [None, False, False]


def test_one_value_passes_all_operators_and_lacks_is_of_all() -> None:
    data = CORPUS["udp"]
    for check, truth in ((Check(gt=62, lt=64), True), (Check(gt=9, lt=63), False)):
        assert compile_fields({"ip.ttl": check})(data, ETHERNET, len(data), "") is truth
    for name, lacking, truth in (("ip.addr", "10.0.2", False), ("ip.addr", "172.", True), ("ipv6.src", "172.", False)):
        assert compile_fields({name: Check(lacks=lacking)})(data, ETHERNET, len(data), "") is truth


PLAIN = (
    E
    / IP(src="10.0.1.2", dst="10.0.2.3", ttl=64, id=7, flags="DF")
    / UDP(sport=4000, dport=5353)
    / DNS(qd=DNSQR(qname="www.a.org"))
)
OUTCOMES = [
    ("ip.ttl", Check(equals=64), True), ("ip.ttl", Check(equals=63), False), ("ip.ttl", Check(equals=64.5), False),
    ("ip.ttl", Check(one_of=(1, 64)), True), ("ip.ttl", Check(one_of=(1, 63)), False),
    ("ip.ttl", Check(ge=64), True), ("ip.ttl", Check(ge=65), False), ("ip.ttl", Check(le=64), True), ("ip.ttl", Check(le=63), False),
    ("ip.ttl", Check(gt=63), True), ("ip.ttl", Check(gt=64), False), ("ip.ttl", Check(lt=65), True), ("ip.ttl", Check(lt=64), False),
    ("ip.ttl", Check(gt=63, lt=65), True), ("ip.ttl", Check(gt=63, lt=64), False), ("ip.ttl", Check(ge=65, le=66), False),
    ("ip.ttl", Check(ge=float("-inf"), le=float("inf")), True), ("ip.ttl", Check(ge=float("inf")), False),
    ("ip.ttl", Check(equals=float("nan")), False), ("ip.ttl", Check(ge=float("nan")), False), ("ip.ttl", Check(le=float("-inf")), False),
    ("ip.flags.df", Check(equals=True), True), ("ip.flags.df", Check(equals=False), False), ("ip.flags.df", Check(equals=1), True),
    ("ip.flags.df", Check(equals=0), False), ("ip.flags.mf", Check(equals=False), True), ("ip.flags.mf", Check(equals=True), False),
    ("ip.flags.df", Check(one_of=(False, True)), True),
    ("ip.src", Check(equals="10.0.1.2"), True), ("ip.src", Check(equals="10.0.1.3"), False),
    ("ip.src", Check(equals="10.0.1.3/31"), True), ("ip.src", Check(equals="10.0.1.1/31"), False),
    ("ip.src", Check(equals="10.0.9.9/16"), True), ("ip.src", Check(equals="10.1.9.9/16"), False),
    ("ip.src", Check(equals="10.0.0.0/16"), True), ("ip.src", Check(equals="10.1.0.0/16"), False),
    ("ip.src", Check(one_of=("10.1.0.0/16", "10.0.1.2")), True), ("ip.src", Check(one_of=("10.1.0.0/16", "10.0.1.3")), False),
    ("ip.src", Check(contains="0.1"), True), ("ip.src", Check(contains="0.3"), False), ("ip.src", Check(lacks="0.3"), True),
    ("ip.src", Check(lacks="0.1"), False), ("ip.src", Check(matches=r"^10\."), True), ("ip.src", Check(matches=r"^0"), False),
    ("ip.src", Check(contains="10", lacks="9"), True), ("ip.src", Check(contains="10", lacks="1"), False),
    ("ip.src", Check(contains="9", lacks="8"), False), ("ip.src", Check(matches="2$", contains="9"), False),
    ("ip.addr", Check(equals="10.0.2.3"), True), ("ip.addr", Check(lacks="10.0.2"), False),
    ("ip.addr", Check(matches="2$", contains="2.3"), False),  # each is true of another address
    ("eth.src", Check(equals="02:00:00:00:00:01"), True), ("eth.src", Check(equals="02-00-00-00-00-01"), True),
    ("eth.src", Check(equals="02:00:00:00:00:0b"), False), ("eth.src", Check(one_of=("02:00:00:00:00:0b", "02:00:00:00:00:01")), True),
    ("dns.qry.name", Check(equals="www.a.org"), True), ("dns.qry.name", Check(equals="www.b.org"), False),
    ("dns.qry.name", Check(contains="a.o", lacks="b"), True), ("dns.qry.name", Check(matches="^www$"), False),
    ("udp.port", Check(one_of=(1, 5353)), True), ("udp.port", Check(lt=4000), False), ("udp.port", Check(gt=4000, lt=5353), False),
    ("tcp.dstport", Check(ge=0), False), ("tcp.port", Check(one_of=(4000, 5353)), False), ("ipv6.src", Check(lacks="x"), False),
    ("frame.len", Check(gt=50), True), ("frame.len", Check(le=50), False), ("frame.cap_len", Check(gt=50), True),
    ("frame.interface_name", Check(one_of=("lo", "eth0")), True), ("frame.interface_name", Check(lacks="eth"), False),
    ("frame.interface_name", Check(lacks="lo"), True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "check", "truth"), OUTCOMES)
def test_what_a_check_says_of_a_packet(name: str, check: Check, truth: bool) -> None:
    """Of a plain one, of one with a tag, where nothing is at its usual place, and without the Ethernet header."""
    plain = bytes(PLAIN)
    tagged = plain[:12] + b"\x81\0\0\x07" + plain[12:]
    match = compile_fields({name: check})
    assert match(plain, ETHERNET, len(plain), "eth0") is truth
    assert match(tagged, ETHERNET, len(tagged), "eth0") is truth
    if not name.startswith("eth."):
        assert match(plain[14:], RAW, len(plain) - 14, "eth0") is truth
    assert compile_fields({name: check, "ip.id": Check(equals=7)})(plain, ETHERNET, len(plain), "eth0") is truth
    assert compile_fields({name: check, "ip.id": Check(equals=8)})(plain, ETHERNET, len(plain), "eth0") is False


def test_an_address_is_the_same_however_it_is_written() -> None:
    data = bytes(E / IPv6(src="::ffff:10.0.0.1", dst="2001:db8::1") / UDP())
    for name, text in (
        ("ipv6.src", "::ffff:10.0.0.1"),
        ("ipv6.src", "::ffff:a00:1"),
        ("ipv6.dst", "2001:DB8:0:0::0:1"),
    ):
        assert compile_fields({name: Check(equals=text)})(data, ETHERNET, len(data), "") is True
        assert compile_fields({name: Check(equals=text[:-1] + "2")})(data, ETHERNET, len(data), "") is False


def test_a_plain_packet_that_cannot_pass_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, taken_apart = bytes(PLAIN), []

    def walked(data: bytes, linktype: int, length: int) -> object:
        taken_apart.append(data)
        return walk(data, linktype, length)

    monkeypatch.setattr("labrun.packets.fields.walk", walked)
    match = compile_fields({"ip.ttl": Check(equals=63), "frame.len": Check(ge=0)})
    assert match(plain, ETHERNET, len(plain), "") is False and not taken_apart
    # Without Ethernet, nothing is at its usual place; what was cut may hide another header.
    assert match(plain[14:], RAW, len(plain) - 14, "") is False
    assert match(plain[:40], ETHERNET, len(plain), "") is None
    assert taken_apart == [plain[14:], plain[:40]]


def test_a_pattern_s_anchors_are_those_of_the_value() -> None:
    """As in what a command prints."""
    match = compile_fields({"frame.interface_name": Check(matches="^eth0$")})
    assert [match(b"", ETHERNET, 0, text) for text in ("eth0", "lo\neth0", "lo eth0")] == [True, False, False]


def test_of_a_cut_packet_only_what_was_kept_is_sure() -> None:
    plain = bytes(PLAIN)

    def said(size: int, **checks: Check) -> bool | None:
        named = {name.replace("_", "."): check for name, check in checks.items()}
        return compile_fields(named)(plain[:size], ETHERNET, len(plain), "eth0")

    assert said(34, ip_ttl=Check(equals=64)) is True
    assert said(34, ip_src=Check(lacks="9")) is None  # another header may come that contains it
    assert said(34, ip_src=Check(lacks="10.0")) is False
    assert said(20, ip_src=Check(lacks="9")) is None
    assert said(34, udp_dstport=Check(equals=5353)) is None
    assert said(34, ip_ttl=Check(equals=64), udp_dstport=Check(equals=5353)) is None
    assert said(34, frame_len=Check(equals=len(plain)), ip_ttl=Check(equals=64)) is True
    assert said(34, frame_len=Check(equals=34)) is False
    assert compile_fields({"frame.cap_len": Check(equals=34)})(plain[:34], ETHERNET, len(plain), "") is True
    assert values(plain[:34], ETHERNET, "frame.len", len(plain)) == (len(plain),)
    assert values(plain[:34], ETHERNET, "frame.cap_len", len(plain)) == (34,)
    assert values(plain, ETHERNET, "frame.interface_name", interface="eth7") == ("eth7",)
    assert values(plain, ETHERNET, "frame.interface_name") == ("",)
    assert values(plain[:34], ETHERNET, "udp.dstport", len(plain)) == ()


def test_vxlan_on_the_port_that_linux_uses_is_vxlan() -> None:
    data = CORPUS["vxlan"].replace(struct.pack(">H", 4789), struct.pack(">H", 8472))
    assert ours(data, ETHERNET, "vxlan.vni") == (42,)


def test_later_fragments_have_no_ports() -> None:
    assert [ours(CORPUS[f"fragment {n}"], ETHERNET, "udp.dstport") for n in range(len(FRAGMENTS))] == [(5555,), (), ()]


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("ip.tll", Check(equals=1), "unknown field 'ip.tll'. Did you mean 'ip.ttl'?"),
        ("nonsense", Check(equals=1), "unknown field 'nonsense'."),
        ("ip.ttl", Check(equals="64"), "ip.ttl is a number, not '64'"),
        ("ip.ttl", Check(equals=True), "ip.ttl is a number, not True"),
        ("ip.ttl", Check(one_of=(1, "x")), "ip.ttl is a number, not 'x'"),
        ("ip.ttl", Check(contains="6"), "contains compares text; ip.ttl is a number"),
        ("tcp.flags.syn", Check(lacks="6"), "lacks compares text; tcp.flags.syn is true or false"),
        ("ip.src", Check(ge=5), "ge compares numbers; ip.src is an IPv4 address or prefix"),
        ("ip.src", Check(equals="10.0.0.256"), "ip.src is an IPv4 address or prefix, not '10.0.0.256'"),
        ("ip.src", Check(equals="fd00::1"), "ip.src is an IPv4 address or prefix, not 'fd00::1'"),
        ("ipv6.src", Check(equals="10.0.0.1"), "ipv6.src is an IPv6 address or prefix, not '10.0.0.1'"),
        ("eth.src", Check(equals="02:00"), "eth.src is a MAC address such as 02:00:00:00:00:01, not '02:00'"),
        ("tcp.flags.syn", Check(equals="set"), "tcp.flags.syn is true or false, not 'set'"),
        ("tcp.flags.syn", Check(equals=2), "tcp.flags.syn is true or false, not 2"),
        ("dns.qry.name", Check(equals=5), "dns.qry.name is text, not 5"),
    ],
)
def test_wrong_checks_are_told_with_what_is_right(name: str, check: Check, said: str) -> None:
    assert problem(name, check) == said
    with pytest.raises(ValueError, match=said[:20]):
        compile_fields({name: check})


def test_right_checks_are_no_problem() -> None:
    assert all(problem(name, check) is None for name, found in CHECKS.items() for check in found)
    assert problem("ipv6.src", Check(equals="::ffff:10.0.0.1")) is None


def options(raw: bytes) -> bytes:
    """A TCP segment with these options, and one byte of payload."""
    return bytes(E / I4 / TCP(sport=1, dport=2, dataofs=5 + len(raw) // 4) / (raw + b"x"))


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"\2\4\5\xb4", (1460,)),
        (b"\1\1\1\1\2\4\5\xb4", (1460,)),
        (b"\1\3\3\7\2\4\5\xb4", (1460,)),
        (b"\2\4\5\xb4\2\4\2\x18", (1460, 536)),
        (b"\0\0\0\0\2\4\5\xb4", ()),  # behind the end of the list
        (b"\2\3\5\1", ()),
        (b"\2\5\5\xb4", ()),  # goes on behind the header
        (b"\1\1\1\2", ()),
        (b"\3\1\2\4\5\xb4\1\1", ()),  # a length that cannot be
        (b"\1\1\2\2\2\4\5\xb4", (1460,)),
    ],
)
def test_the_segment_size_among_other_options(raw: bytes, found: tuple[int, ...]) -> None:
    data = options(raw)
    assert values(data, ETHERNET, "tcp.options.mss_val") == found
    assert values(data, ETHERNET, "tcp.len") == (1,)


@pytest.mark.parametrize(("longest", "found"), [(61, True), (62, False)])
def test_a_name_has_255_bytes_at_most(longest: int, found: bool) -> None:
    name = b"".join(bytes([size]) + b"a" * size for size in (63, 63, 63, longest)) + b"\0"
    question = struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + name + b"\0\1\0\1"
    seen = values(bytes(E / I4 / UDP(sport=53, dport=53) / question), ETHERNET, "dns.qry.name")
    assert (len(seen) == 1) is found


@pytest.mark.parametrize(("ports", "found"), [((53, 9), (7,)), ((9, 53), (7,)), ((9, 9), ())])
def test_dns_over_tcp_is_told_by_either_port(ports: tuple[int, int], found: tuple[int, ...]) -> None:
    message = bytes(QUESTION)
    data = bytes(E / I4 / TCP(sport=ports[0], dport=ports[1]) / (struct.pack(">H", len(message)) + message))
    assert values(data, ETHERNET, "dns.id") == found


def test_what_lies_behind_an_ipv6_payload_is_padding() -> None:
    data = bytes(E / IPv6(plen=8) / UDP(sport=53, dport=53, len=0)) + bytes(QUESTION)
    assert values(data, ETHERNET, "udp.dstport") == (53,) and values(data, ETHERNET, "dns.id") == ()
