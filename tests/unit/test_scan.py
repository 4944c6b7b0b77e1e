"""One pass for several questions: each gets what it would have got alone, from whole and from damaged files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from labrun.agent import pcapng as write
from labrun.lab.predictions import Check
from labrun.logic.compare import Count, Truth
from labrun.observe.scan import SHOWN, Question, scan
from labrun.packets.bpf import translate
from labrun.packets.fields import Matcher, compile_fields
from labrun.packets.libpcap import compile_filter
from labrun.packets.pcapng import PcapngError, read_packets
from labrun.packets.segments import Offload
from scapy.all import ICMP, IP, TCP, UDP, Ether

START = 1_790_000_000_000_000_000
CHAIN = ("veth0", "cni0", "eth0")
IN, OUT = 1, 2
E = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def capture(folder: Path, rounds: int = 20, snaplen: int = 262144) -> Path:
    """Each round: a ping along the chain, a UDP packet that is lost behind cni0, a reply on eth0. 1 us apart."""
    path = folder / "some.pcapng"
    blocks = [write.section_header("test")]
    blocks += [write.interface_description(name, 1, snaplen) for name in CHAIN]
    at = 0

    def put(place: int, packet: object, flags: int) -> None:
        nonlocal at
        data = bytes(packet)  # type: ignore[call-overload]
        blocks.append(write.enhanced_packet(place, START + at * 1000, data[:snaplen], len(data), flags))
        at += 1

    for number in range(rounds):
        ping = IP(src="10.0.1.2", dst="10.0.2.3", id=number) / ICMP(id=1, seq=number) / bytes(56)
        lost = IP(src="10.0.1.2", dst="10.0.2.3", id=number) / UDP(sport=1, dport=9999) / bytes(200)
        put(0, E / ping, IN)
        put(1, E / ping, IN)
        ping.ttl = 63
        put(2, E / ping, OUT)
        put(0, E / lost, IN)
        put(1, E / lost, IN)
        put(2, E / IP(src="10.0.2.3", dst="10.0.1.2", id=number) / TCP(sport=80, flags="R"), IN)
    path.write_bytes(b"".join(blocks))
    return path


def program(expression: str) -> Matcher:
    compiled = compile_filter(expression)
    assert compiled is not None
    run = translate(compiled)

    def match(data: bytes, linktype: int, length: int, interface: str, offload: Offload | None = None, /) -> Truth:
        return True if run(data, length) else False if len(data) >= length else None

    return match


ECHO = compile_fields({"icmp.type": Check(equals=8)})
QUESTIONS = {
    "all": Question(),
    "one interface": Question(interfaces=frozenset({"cni0"})),
    "two interfaces": Question(interfaces=frozenset({"cni0", "eth0"})),
    "no such interface": Question(interfaces=frozenset({"lo"})),
    "direction": Question(direction="out"),
    "window": Question(window=(START + 6000, START + 11000)),
    "fields": Question(match=ECHO),
    "all of it": Question(interfaces=frozenset({"eth0"}), direction="out", window=(START, START + 14000), match=ECHO),
}
COUNTS = {"all": 120, "one interface": 40, "two interfaces": 80, "no such interface": 0, "direction": 20, "window": 6, "fields": 60, "all of it": 3}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_alone(tmp_path: Path, name: str) -> None:
    found = scan(capture(tmp_path), [QUESTIONS[name]])
    assert (found.packets, found.truncated) == (120, False)
    answer = found.answers[0]
    assert (answer.count, answer.unsure, answer.seen) == (COUNTS[name], 0, None)
    assert len(answer.numbers) == min(SHOWN, COUNTS[name])


def test_all_questions_at_once_get_what_each_gets_alone(tmp_path: Path) -> None:
    path = capture(tmp_path)
    together = scan(path, list(QUESTIONS.values()))
    assert together.answers == tuple(scan(path, [question]).answers[0] for question in QUESTIONS.values())
    assert scan(path, []).packets == 120


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    path = capture(tmp_path)
    answer = scan(path, [Question(interfaces=frozenset({"eth0"}), match=ECHO)]).answers[0]
    first = [packet for packet in read_packets(path) if packet.interface == "eth0" and packet.direction == "out"]
    assert answer.numbers == tuple(packet.number for packet in first[:SHOWN])


def test_a_pcap_filter_and_the_chain_in_one_pass(tmp_path: Path) -> None:
    questions = [
        Question(match=program("icmp[icmptype] == icmp-echo")),  # type: ignore[arg-type]
        Question(chain=CHAIN, match=ECHO),
        Question(chain=CHAIN),
        Question(chain=CHAIN, match=ECHO, window=(START + 1, START + 10**9)),
    ]
    count, echoes, everything, late = scan(capture(tmp_path), questions).answers
    assert count.count == 60
    assert echoes.seen is not None and (echoes.seen.count, echoes.seen.others) == (Count(20, 20), ())
    assert echoes.seen.chain.numbers[0] == (1, 2, 3)
    assert everything.seen is not None and everything.seen.count == Count(20, 20)
    assert [(str(way), way.count) for way in everything.seen.others] == [("veth0, cni0", 20), ("eth0", 20)]
    assert late.seen is not None and late.seen.instead() == "1 seen on cni0, eth0; not on veth0 (packets 2, 3)"


def test_cut_packets_are_unsure_where_the_cut_decides(tmp_path: Path) -> None:
    path = capture(tmp_path, rounds=3, snaplen=36)
    questions = [
        Question(match=ECHO),
        Question(match=compile_fields({"icmp.seq": Check(equals=1)})),
        Question(match=compile_fields({"ip.ttl": Check(equals=63)})),
        Question(match=program("icmp[4:2] == 1")),  # type: ignore[arg-type]
        Question(chain=CHAIN),
    ]
    answers = scan(path, questions).answers
    # The type is kept; the type of a UDP packet is none, but a tunnel's port is cut, so there is no telling.
    assert [(answer.count, answer.unsure) for answer in answers[:2]] == [(9, 9), (0, 18)]
    assert answers[2].count == 3 and answers[2].unsure > 0
    assert (answers[3].count, answers[3].unsure) == (0, 18)
    assert answers[4].seen is not None and answers[4].seen.doubt is not None
    assert answers[4].seen.doubt.code == "packets-cut"


def test_a_file_that_breaks_off_answers_for_what_is_there(tmp_path: Path) -> None:
    path = capture(tmp_path)
    path.write_bytes(path.read_bytes()[:-70])
    found = scan(path, [Question()])
    assert (found.packets, found.truncated, found.answers[0].count) == (119, True, 119)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = capture(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-4:] = struct.pack("<I", 12)
    path.write_bytes(bytes(raw))
    with pytest.raises(PcapngError, match="lengths differ"):
        scan(path, [Question()])
