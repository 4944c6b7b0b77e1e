"""Classic BPF in Python against libpcap's own interpreter, on filters, packets and programs of every sort."""

from __future__ import annotations

import ctypes
import random
import struct
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.packets.bpf import Instruction, source, translate, validate
from labrun.packets.libpcap import FilterSyntaxError, compile_filter

ETHERNET, RAW = 1, 101


class _Header(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("micro", ctypes.c_long), ("caplen", ctypes.c_uint32), ("length", ctypes.c_uint32))  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint), ("instructions", ctypes.c_char_p))


@cache
def _libpcap() -> ctypes.CDLL:
    library = ctypes.CDLL("libpcap.so.0.8")
    library.pcap_offline_filter.argtypes = (ctypes.POINTER(_Program), ctypes.POINTER(_Header), ctypes.c_char_p)
    return library


def oracle(program: tuple[Instruction, ...], data: bytes, length: int) -> int:
    """What libpcap's interpreter answers."""
    raw = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    header = _Header(0, 0, len(data), length)
    answer = _libpcap().pcap_offline_filter(ctypes.byref(_Program(len(program), raw)), ctypes.byref(header), data)
    return int(answer) & 0xFFFFFFFF


EXPRESSIONS = """
icmp
icmp[icmptype] == icmp-echo
icmp[icmptype] == icmp-echoreply
icmp6
icmp6[icmp6type] == icmp6-neighborsolicit
arp
arp[6:2] == 1
rarp
ip
ip6
tcp
udp
sctp
not ip
ip proto 47
ip6 proto 58
host 10.0.0.2
src host 10.0.0.1
dst host 10.0.0.2 and not port 22
src 10.0.0.1 and dst 10.0.0.2
net 10.0.0.0/8
src net 172.16.0.0/12
dst net 192.168.0.0 mask 255.255.0.0
host 2001:db8::1
net 2001:db8::/32
port 53
src port 53
dst port 80
tcp port 80 or udp port 53
portrange 1-1024
udp dst portrange 50-60
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[tcpflags] == tcp-syn
tcp[13] & 2 != 0 and tcp[13] & 16 == 0
tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
ip[8] < 5
ip[6:2] & 0x1fff != 0
ip[6] & 0x20 != 0
ip[0] & 0xf > 5
udp[4:2] > 20
udp[8:4] == 0x01020304
ether host 02:00:00:00:00:01
ether src 02:00:00:00:00:01
ether dst ff:ff:ff:ff:ff:ff
ether broadcast
ether multicast
ip multicast
ether proto 0x88b6
ether[0] & 1 == 0 and ip[16] >= 224
vlan
vlan 5
vlan 5 and udp port 53
vlan 5 and vlan 6
vlan and icmp
mpls
pppoes
less 64
greater 100
len >= 60 and len <= 70
len - 14 == ip[2:2]
ip[9] * 2 == 34
ip[9] % 5 == 2
ip[2:2] / ip[8] > 1
ip[ip[9]] == 0
1 << ip[8] == 16
(ip[4:2] ^ 0xffff) & 0xff00 == 0xab00
-ip[9] + 17 == 0
host 10.0.0.1 and (port 80 or port 443 or port 8080) and not src port 22
(tcp or udp) and (src net 10.0.0.0/24 or dst net 10.0.1.0/24) and not (port 53 or icmp)
ip host 10.0.0.1 or ip6 host 2001:db8::1 or arp host 10.0.0.1
""".strip().splitlines()


def ip4(protocol: int, payload: bytes, ttl: int = 64, fragment: int = 0, options: int = 0) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45 + options, 0, 20 + 4 * options + len(payload), 0xAB54, fragment, ttl, protocol, 0)  # fmt: skip
    return head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + bytes(4 * options) + payload


def ip6(protocol: int, payload: bytes) -> bytes:
    addresses = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002")
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload


def ports(source_port: int, target: int, rest: bytes = b"\0\x10\0\0\x01\x02\x03\x04") -> bytes:
    return struct.pack(">HH", source_port, target) + rest


numbers = st.sampled_from([22, 53, 55, 80, 443, 1024, 1025, 8080])
transports = st.one_of(
    st.tuples(st.just(17), st.builds(ports, numbers, numbers)),
    st.tuples(st.just(6), st.builds(
        lambda a, b, flags: ports(a, b, bytes(8) + bytes([0x50, flags]) + bytes(6)),
        numbers, numbers, st.integers(0, 63),
    )),
    st.tuples(st.just(1), st.sampled_from([bytes([8]) + bytes(7), bytes(8)])),
    st.tuples(st.just(58), st.sampled_from([bytes([135]) + bytes(23), bytes([128]) + bytes(7)])),
    st.tuples(st.integers(0, 255), st.binary(max_size=30)),
)  # fmt: skip
network = st.one_of(
    st.builds(
        lambda t, ttl, fragment, options: (0x0800, ip4(t[0], t[1], ttl, fragment, options)),
        transports, st.integers(1, 64), st.sampled_from([0, 0, 0x2000, 0x4000, 0x0010]), st.integers(0, 3),
    ),
    st.builds(lambda t: (0x86DD, ip6(*t)), transports),
    st.just((0x0806, bytes.fromhex("0001080006040001" "020000000001" "0a000001" "000000000000" "0a000002"))),
    st.tuples(st.sampled_from([0x88B6, 0x8864, 0x8847, 0x8035, 100]), st.binary(max_size=40)),
)  # fmt: skip
macs = st.sampled_from([bytes.fromhex(mac) for mac in ("020000000001", "020000000002", "ffffffffffff", "01005e000001")])


def frame(to: bytes, of: bytes, tags: list[int], inner: tuple[int, bytes]) -> bytes:
    kind, payload = inner
    return to + of + b"".join(struct.pack(">HH", 0x8100, tag) for tag in tags) + struct.pack(">H", kind) + payload


frames = st.builds(frame, macs, macs, st.lists(st.sampled_from([5, 6, 0x2005]), max_size=2), network)
datas = st.one_of(frames, frames, frames, st.binary(max_size=120))
captured = st.one_of(st.just(10_000), st.integers(0, 60))  # most are whole, some are cut


@cache
def programs(linktype: int) -> dict[str, tuple[Instruction, ...]]:
    found: dict[str, tuple[Instruction, ...]] = {}
    for expression in EXPRESSIONS:
        try:
            program = compile_filter(expression, linktype)
        except FilterSyntaxError:
            assert linktype == RAW, expression
            continue
        assert program is not None, "the tests need libpcap"
        found[expression] = program
    return found


@cache
def translated(linktype: int) -> list[tuple[str, tuple[Instruction, ...], object]]:
    return [(expression, program, translate(program)) for expression, program in programs(linktype).items()]


@settings(deadline=None, max_examples=400)
@given(data=datas, keep=captured, beyond=st.sampled_from([0, 0, 1, 1000]))
def test_filters_decide_as_libpcap_does(data: bytes, keep: int, beyond: int) -> None:
    for linktype, cut in ((ETHERNET, 0), (RAW, 14)):
        packet = data[cut:][:keep]
        length = len(data[cut:]) + beyond
        for expression, program, run in translated(linktype):
            assert run(packet, length) == oracle(program, packet, length), expression  # type: ignore[operator]


def test_the_corpus_says_yes_and_no() -> None:
    """A corpus that everything fails on would agree with anything."""
    generator = random.Random(7)
    inner = [
        (0x0800, ip4(17, ports(53, 53))), (0x0800, ip4(6, ports(80, 22, bytes(8) + b"\x50\x02" + bytes(6)), 4)),
        (0x0800, ip4(1, bytes([8]) + bytes(60))), (0x0800, ip4(1, bytes(8), 4, 0x2010, 2)),
        (0x86DD, ip6(58, bytes([135]) + bytes(40))), (0x86DD, ip6(6, ports(1, 2))),
        (0x0806, bytes.fromhex("00010800060400010200000000010a0000010000000000000a000002")), (0x88B6, bytes(50)),
    ]  # fmt: skip
    answers: dict[str, set[bool]] = {}
    for _ in range(400):
        to = generator.choice([bytes.fromhex(mac) for mac in ("020000000002", "ffffffffffff", "01005e000001")])
        tags = generator.choice([[], [], [5], [5, 6]])
        data = frame(to, bytes.fromhex("020000000001"), tags, generator.choice(inner))
        for expression, _program, run in translated(ETHERNET):
            answers.setdefault(expression, set()).add(bool(run(data, len(data))))  # type: ignore[operator]
    assert len(answers) >= 60
    both = [expression for expression, said in answers.items() if said == {True, False}]
    assert len(both) >= 45


ALU = [0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x84, 0x94, 0xA4]
ALU_X = [code | 8 for code in ALU if code != 0x84]
JUMPS = [0x15, 0x25, 0x35, 0x45, 0x1D, 0x2D, 0x3D, 0x4D]
constants = st.one_of(st.integers(0, 70), st.integers(0, 0xFFFFFFFF), st.sampled_from([31, 32, 33, 0xFFFFF004]))


@st.composite
def any_program(draw: st.DrawFn) -> tuple[Instruction, ...]:
    """A valid program of any shape, jumps into the middle of everything included."""
    count = draw(st.integers(0, 25))
    # libpcap does not clear its scratch words; so neither does this program read what it has not written.
    program: list[Instruction] = [(0x02, 0, 0, word) for word in range(16)]
    last = len(program) + count
    for place in range(len(program), last):
        room = min(255, last - place - 1)
        kind = draw(st.sampled_from(["load", "load", "indirect", "jump", "jump", "ja", "alu", "alu", "alux", "move", "ret"]))  # fmt: skip
        k = draw(constants)
        if kind == "load":
            code = draw(st.sampled_from([0x20, 0x28, 0x30, 0xB1, 0x00, 0x01, 0x80, 0x81]))
            program.append((code, 0, 0, k))
        elif kind == "indirect":
            program.append((draw(st.sampled_from([0x40, 0x48, 0x50])), 0, 0, draw(st.integers(0, 30))))
        elif kind == "jump":
            program.append((draw(st.sampled_from(JUMPS)), draw(st.integers(0, room)), draw(st.integers(0, room)), k))
        elif kind == "ja":
            program.append((0x05, 0, 0, draw(st.integers(0, room))))
        elif kind == "alu":
            code = draw(st.sampled_from(ALU))
            program.append((code, 0, 0, k % 32 if code in (0x64, 0x74) else k or 1))
        elif kind == "alux":
            program.append((draw(st.sampled_from(ALU_X)), 0, 0, 0))
        elif kind == "move":
            program.append((draw(st.sampled_from([0x07, 0x87, 0x60, 0x61, 0x02, 0x03])), 0, 0, k % 16))
        else:
            program.append((draw(st.sampled_from([0x06, 0x16])), 0, 0, k))
    program.append((draw(st.sampled_from([0x06, 0x16])), 0, 0, draw(constants)))
    return tuple(program)


@settings(deadline=None, max_examples=1500)
@given(program=any_program(), data=st.binary(max_size=70), beyond=st.integers(0, 100))
def test_any_program_computes_what_libpcap_computes(program: tuple[Instruction, ...], data: bytes, beyond: int) -> None:
    validate(program)
    assert translate(program)(data, len(data) + beyond) == oracle(program, data, len(data) + beyond), source(program)


RET = (0x06, 0, 0, 1)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ((), "1 to 4096 instructions"),
        ((RET,) * 4097, "1 to 4096 instructions"),
        (((0x30, 0, 0, 0),), "^a BPF program ends with a return$"),
        (((0x15, 1, 0, 0), RET), "jumps out"),
        (((0x15, 0, 1, 0), RET), "jumps out"),
        (((0x05, 0, 0, 1), RET), "jumps out"),
        (((0x05, 0, 0, 0xFFFFFFFF), RET), "jumps out"),
        (((0xFFFF, 0, 0, 0), RET), "unknown"),
        (((0x0E, 0, 0, 0), RET), "unknown"),
        (((0x34, 0, 0, 0), RET), "divides by 0"),
        (((0x94, 0, 0, 0), RET), "divides by 0"),
        (((0x64, 0, 0, 32), RET), "shifts by 32"),
        (((0x60, 0, 0, 16), RET), "no scratch word 16"),
        (((0x15, 256, 0, 0), *(RET,) * 300), "out of range"),
        (((0x15, 0, 256, 0), *(RET,) * 300), "out of range"),
        (((0x15, -1, 0, 0), RET), "out of range"),
        (((0x15, 0, -1, 0), RET), "out of range"),
        (((0x00, 0, 0, -1), RET), "out of range"),
        (((0x00, 0, 0, 1 << 32), RET), "out of range"),
    ],
)
def test_programs_that_no_kernel_would_run_are_refused(program: tuple[Instruction, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        translate(program)


def test_a_jump_reaches_255_instructions_ahead() -> None:
    for jump, answer in (((0x15, 255, 0, 0), 7), ((0x15, 0, 255, 1), 7), ((0x15, 254, 0, 0), 1)):
        assert translate((jump, *(RET,) * 255, (0x06, 0, 0, 7)))(b"", 0) == answer


@pytest.mark.parametrize("load", [0x60, 0x61])
def test_a_scratch_word_that_was_never_written_is_0(load: int) -> None:
    back = (0x87, 0, 0, 0) if load == 0x61 else (0x04, 0, 0, 0)
    program = ((0x00, 0, 0, 5), (0x02, 0, 0, 3), (load, 0, 0, 9), back, (0x04, 0, 0, 7), (0x16, 0, 0, 0))
    assert translate(program)(b"", 0) == 7


def test_what_is_made_can_call_nothing_but_len() -> None:
    run = translate((RET,))
    assert run.__globals__ == {"len": len, "__builtins__": {}}  # type: ignore[attr-defined]
    assert run.__code__.co_filename == "<bpf>"  # type: ignore[attr-defined]  # which a traceback shows


def test_the_largest_program_runs() -> None:
    step = (0x04, 0, 0, 1)
    assert translate((*(step,) * 4094, (0x07, 0, 0, 0), (0x16, 0, 0, 0)))(b"", 0) == 4094
    ladder = tuple((0x15, min(255, 4094 - place), 0, place) for place in range(4095))
    assert translate((*ladder, RET))(b"", 0) == 1


def test_a_wrong_filter_is_told_in_libpcaps_words() -> None:
    for expression, says in (
        ("icmp[", "syntax error"),
        ("hots 10.0.0.1", "syntax error"),
        ("port 99999", "illegal port number"),
        ("host \udcff", "."),
        ("ip\0", "^a filter cannot contain a null character$"),
        ("ip protochain 6", "^the filter loops \\(protochain\\), and neither the kernel nor labrun runs loops$"),
    ):
        with pytest.raises(FilterSyntaxError, match=says):
            compile_filter(expression)
    assert compile_filter("ip host 200.0.0.1 or tcp[4:4] == 0xffffffff")  # large numbers are no loops
    with pytest.raises(FilterSyntaxError, match="link type 147"):
        compile_filter("ip", 147)


def test_in_the_sandbox_a_filter_is_a_program_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from labrun.agent import pcap_filter
    from labrun.packets import libpcap

    assert pcap_filter.compile_filter("icmp", RAW, 60) == compile_filter("icmp", RAW, 60)
    for expression, message in (("icmp[", "syntax error"), ("ip6 protochain 6", "loops"), ("ip\0", "null")):
        with pytest.raises(pcap_filter.FilterError, match=message):
            pcap_filter.compile_filter(expression)
    monkeypatch.setattr(libpcap, "_SONAMES", ("libnosuch.so",))
    libpcap._libpcap.cache_clear()
    try:
        with pytest.raises(pcap_filter.FilterError, match="no libpcap in the sandbox"):
            pcap_filter.compile_filter("ip")
    finally:
        libpcap._libpcap.cache_clear()


def test_without_libpcap_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from labrun.packets import libpcap

    monkeypatch.setattr(libpcap, "_SONAMES", ("libnosuch.so",))
    libpcap._libpcap.cache_clear()
    try:
        assert compile_filter("ip") is None
    finally:
        libpcap._libpcap.cache_clear()
