"""Judging a large capture beside one tshark pass over it: `python bench/judge.py`.

Writes a pcapng of a million packets (a third of them as three appearances each, on veth0, cni0 and eth0), then answers
in one pass: how many packets match a pcap filter, how many have a field's value, how many were seen on the chain. Beside
it `tshark -n -r FILE -Y FILTER` in the same run, alternating, each in its own process; with the spread, the peak of memory and the load, as a
busy machine moves the ratio either way.
`--filters` compares the two ways of sorting packets out before they are looked into. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runner"))

from labrun.agent import pcapng
from labrun.lab.predictions import Check
from labrun.observe.scan import Question, scan
from labrun.packets.bpf import translate
from labrun.packets.fields import compile_fields
from labrun.packets.libpcap import compile_filter
from labrun.packets.pcapng import read_packets
from labrun.packets.quick import quick_test

CHAIN = ("veth0", "cni0", "eth0")
FILTER = "tcp dst port 80 and tcp[tcpflags] & tcp-push != 0"
FIELDS = {"icmp.type": Check(equals=8), "ip.ttl": Check(le=64)}
TSHARK = "icmp.type == 8 && ip.ttl <= 64"
# What `quick` answers for FIELDS, as a pcap filter: a plain packet that may match, or one of another shape.
PREFILTER = (
    "(ip and ip[0] == 0x45 and ip[6:2] & 0x3fff == 0 and ((icmp and ("
    "(icmp[0] == 8 and ip[8] <= 64) or icmp[0] == 3 or icmp[0] == 4 or icmp[0] == 5 or icmp[0] == 11 or icmp[0] == 12))"
    " or ip proto 4 or ip proto 41 or ip proto 47 or udp port 4789 or udp port 8472))"
    " or (ip and (ip[0] != 0x45 or ip[6:2] & 0x3fff != 0))"
    " or (ip6 and (not (ip6[6] == 6 or ip6[6] == 17 or ip6[6] == 58) or udp port 4789 or udp port 8472"
    " or (icmp6 and ip6[40] <= 4)))"
    " or not (ip or ip6 or arp)"
)
PAYLOADS = (0, 56, 200, 1000)
START = 1_790_000_000_000_000_000


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(number: int, ttl: int) -> bytes:
    """One of TCP, UDP and ICMP in turn, with its own id and payload."""
    payload = struct.pack(">I", number) + bytes(PAYLOADS[number // 3 % len(PAYLOADS)])
    kind = number % 3
    if kind == 0:
        flags = 0x18 if number % 2 else 0x10
        transport = struct.pack(">HHIIBBHHH", 40000 + number % 20000, 80, number, 1, 0x50, flags, 502, 0, 0)
    elif kind == 1:
        transport = struct.pack(">HHHH", 40000 + number % 20000, 9999, 8 + len(payload), 0)
    else:
        transport = struct.pack(">BBHHH", 8 if number % 2 else 0, 0, 0, 1, number & 0xFFFF)
    protocol = (6, 17, 1)[kind]
    addresses = struct.pack(">II", 0x0A000000 | number & 0xFF, 0x0A010001)
    length = 20 + len(transport) + len(payload)
    head = struct.pack(">BBHHHBB", 0x45, 0, length, number & 0xFFFF, 0x4000, ttl, protocol)
    head += struct.pack(">H", checksum(head + b"\0\0" + addresses)) + addresses
    return bytes.fromhex("0200000000020200000000010800") + head + transport + payload


def write(path: Path, packets: int) -> None:
    with path.open("wb", 1 << 20) as file:
        file.write(pcapng.section_header("bench"))
        for name in CHAIN:
            file.write(pcapng.interface_description(name, 1, 262144))
        done = number = 0
        while done < packets:
            for place in range(len(CHAIN)):
                data = packet(number, 64 if place < 2 else 63)
                file.write(pcapng.enhanced_packet(place, START + done * 1000, data, len(data), 1))
                done += 1
            number += 1


def judge(path: Path) -> str:
    program = compile_filter(FILTER)
    if program is None:
        raise SystemExit("no libpcap on this machine")
    run = translate(program)
    questions = (
        Question(match=lambda data, linktype, length, interface, offload=None: bool(run(data, length))),
        Question(match=compile_fields(FIELDS)),
        Question(chain=CHAIN),
    )
    found = scan(path, questions)
    seen = found.answers[2].seen
    assert seen is not None
    return f"{found.packets} packets: filter {found.answers[0].count}, field {found.answers[1].count}, seen_on {seen.count}"


def timed(argv: list[str]) -> tuple[float, float, str, float]:
    """Seconds, peak MiB, the last line that it printed, and seconds of processor time."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise SystemExit(f"{argv[0]} failed: {status}")
        out.seek(0)
        lines = out.read().decode().splitlines()
    return seconds, usage.ru_maxrss / 1024, lines[-1] if lines else "", usage.ru_utime + usage.ru_stime


def filters(path: Path, runs: int) -> None:
    """The same question put to packets in three ways, without the reading."""
    packets = [one.data for _, one in zip(range(200_000), read_packets(path), strict=False)]
    program = compile_filter(PREFILTER)
    assert program is not None
    bpf, quick, fields = translate(program), quick_test(FIELDS), compile_fields(FIELDS)
    assert quick is not None
    ways = {
        "bpf, translated": lambda data: bpf(data, len(data)),
        "quick": lambda data: quick(data),
        "fields (quick, then decoded)": lambda data: fields(data, 1, len(data), ""),
    }
    if any(bool(bpf(data, len(data))) != bool(quick(data)) for data in packets):
        raise SystemExit("the two prefilters do not ask the same question")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            begin = time.perf_counter()
            for data in packets:
                way(data)
            taken[name].append((time.perf_counter() - begin) / len(packets) * 1e9)
    print(
        f"# {len(packets)} packets, best and median of {runs}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for name, found in taken.items():
        print(f"{name:30} {min(found):6.0f} {statistics.median(found):6.0f} ns a packet")


def main() -> None:
    parser = argparse.ArgumentParser(description="Judging a large capture beside tshark.")
    parser.add_argument("--packets", type=int, default=999_999)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--filters", action="store_true", help="compare ways of filtering instead")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge:
        print(judge(options.judge))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.pcapng"
        write(path, options.packets)
        if options.filters:
            filters(path, options.runs)
            return
        print(
            f"# {options.packets} packets, {path.stat().st_size / 2**20:.0f} MiB, Python {sys.version.split()[0]}, median of {options.runs}"
        )
        ways = {
            "labrun": [sys.executable, __file__, "--judge", str(path)],
            "tshark": ["tshark", "-n", "-r", str(path), "-Y", TSHARK],
        }
        runs: dict[str, list[tuple[float, float, str, float]]] = {name: [] for name in ways}
        for _ in range(options.runs):
            for name, argv in ways.items():
                runs[name].append(timed(argv))
        seconds = {name: sorted(one[0] for one in taken) for name, taken in runs.items()}
        for name, taken in runs.items():
            low, *_, high = seconds[name] * 2 if options.runs == 1 else seconds[name]
            peaks = sorted(peak for _, peak, _, _ in taken)
            print(
                f"{name:8} {statistics.median(seconds[name]):6.2f} s ({low:.2f} to {high:.2f}), peak {peaks[0]:.0f} to {peaks[-1]:.0f} MiB"
            )
        print(runs["labrun"][0][2])
        # Pair by pair, for two that ran one after the other had about the same machine.
        pairs = sorted(mine[0] / theirs[0] for mine, theirs in zip(runs["labrun"], runs["tshark"], strict=True))
        best = seconds["labrun"][0] / seconds["tshark"][0]
        print(
            f"labrun / tshark: best by best {best:.2f}, pairs {pairs[0]:.2f} to {pairs[-1]:.2f}, median {statistics.median(pairs):.2f}"
        )
        work = {name: sorted(one[3] for one in taken) for name, taken in runs.items()}
        for name, found in work.items():
            print(f"{name:8} {statistics.median(found):6.2f} s of processor time ({found[0]:.2f} to {found[-1]:.2f})")
        ratio = statistics.median(work["labrun"]) / statistics.median(work["tshark"])
        print(f"labrun / tshark, processor time: {ratio:.2f}")
        print(
            f"# load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores: above 1 or so, other work is in these figures"
        )


if __name__ == "__main__":
    main()
