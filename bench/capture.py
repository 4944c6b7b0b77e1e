#!/usr/bin/env python3
"""How soon, and how much: three ways to capture, side by side. Run: python bench/capture.py [--runs N] [--seconds S]

- ring      labrun's own Capture (TPACKET_V3 ring in the agent, decoded by one Python thread)
- recvmsg   the same file written from a plain packet socket, one recvmsg a packet, largest buffer that we may have
- tcpdump   `tcpdump -U -w` as a process with a ring of the same size, ready when it says "listening on"

Start is the time from the call until the mechanism says that packets are kept; stop is from the call until the file
is whole. "1st lost" is how often, of at least ten times, a single packet that was sent between the two was missing:
capturing began too late, or ended without a drain. Loss is what was missing in the file of all packets that the
interface received; there the stop comes 1.5 s after the last packet, as tcpdump hands a block over after a second,
and loss under load is meant. The generator is a process of its own that sends with sendmmsg over a veth pair; it has
the last core, capturing has the others. Everything happens in a network namespace made for it; without root, in a
user namespace too. Medians of N.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runner"))

from labrun.agent import pcapng
from labrun.agent.capture import Capture
from labrun.agent.packet_ring import RingSize

LIBC = ctypes.CDLL(None, use_errno=True)
SEND_IF, SEE_IF = "bench0", "bench1"
FRAME = bytes.fromhex("02000000000202000000000188b6") + bytes(86)  # an ethertype kept for experiments
BURST = 32
CORES = os.sched_getaffinity(0)
LAST_CORE = max(CORES)


def enter_namespaces() -> None:
    """A network namespace for this process, and first a user namespace where we are not root."""
    uid, gid = os.getuid(), os.getgid()
    flags = 0x40000000 | (0 if uid == 0 else 0x10000000)  # CLONE_NEWNET, CLONE_NEWUSER
    if LIBC.unshare(flags) != 0:
        raise SystemExit(f"unshare: {os.strerror(ctypes.get_errno())} (be root, or allow user namespaces)")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def make_veth() -> None:
    for command in (
        f"ip link add {SEND_IF} type veth peer name {SEE_IF}",
        f"ip link set {SEND_IF} addrgenmode none",  # no IPv6 chatter among the packets
        f"ip link set {SEE_IF} addrgenmode none",
        f"ip link set {SEND_IF} up",
        f"ip link set {SEE_IF} up",
    ):
        subprocess.run(command.split(), check=True)


def received() -> int:
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, rest = line.strip().partition(":")
        if name == SEE_IF:
            return int(rest.split()[1])
    raise SystemExit(f"no {SEE_IF}")


def sender() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((SEND_IF, 0))
    sock.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
    return sock


def generate(rate: int, seconds: float) -> float:
    """Send about rate * seconds packets from a child process; the rate that it reached, in packets a second."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {LAST_CORE})
        sock = sender()
        frame = ctypes.create_string_buffer(FRAME, len(FRAME))
        iovec = ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(frame), len(FRAME)))
        # struct mmsghdr: msghdr (name, namelen, iov, iovlen, control, controllen, flags), msg_len
        one = struct.pack("@PI4xPNPNi4xI4x", 0, 0, ctypes.addressof(iovec), 1, 0, 0, 0, 0)
        messages = ctypes.create_string_buffer(one * BURST)
        begin = time.perf_counter()
        sent = 0
        while (elapsed := time.perf_counter() - begin) < seconds:
            if sent <= elapsed * rate:
                sent += max(0, LIBC.sendmmsg(sock.fileno(), messages, BURST, 0))
        os.write(into, struct.pack("=d", sent / (time.perf_counter() - begin)))
        os._exit(0)
    os.close(into)
    reached: float = struct.unpack("=d", os.read(out, 8))[0]
    os.close(out)
    os.waitpid(pid, 0)
    return reached


class Ring:
    """labrun's own."""

    def __init__(self, path: Path) -> None:
        self._capture = Capture(path, (SEE_IF,), limit_bytes=1 << 40)
        self._capture.start()

    def stop(self) -> int:
        return self._capture.stop().packets


class Recvmsg:
    """What one would write first."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: root only
        except PermissionError:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self._sock.setsockopt(263, 8, 1)  # PACKET_AUXDATA
        self._sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self._file = path.open("wb")
        self._file.write(pcapng.section_header("bench") + pcapng.interface_description(SEE_IF, 1, 262144))
        self._packets = 0
        self._end = False
        self._sock.settimeout(0.05)
        self._sock.bind((SEE_IF, 3))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                data, control, _flags, address = self._sock.recvmsg(262144, 128)
            except TimeoutError:
                if self._end:
                    return
                continue
            seconds = nanoseconds = 0
            for level, kind, value in control:
                if level == 263:
                    struct.unpack("=IIIHHHH", value)
                elif kind == 35:
                    seconds, nanoseconds = struct.unpack("=qq", value)
            flags = pcapng.EPB_FLAGS[address[2]]
            time_ns = seconds * 1_000_000_000 + nanoseconds
            self._file.write(pcapng.enhanced_packet(0, time_ns, data, len(data), flags))
            self._packets += 1

    def stop(self) -> int:
        self._end = True
        self._thread.join()
        self._file.close()
        self._sock.close()
        return self._packets


class Tcpdump:
    """The field's own, as a lab would run it."""

    def __init__(self, path: Path) -> None:
        kib = RingSize().block_bytes * RingSize().blocks // 1024
        argv = ["tcpdump", "-n", "-U", "-i", SEE_IF, "-w", str(path), "-B", str(kib), "-Z", "root"]
        self._path = path
        self._process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        while "listening on" not in said:
            said = self._process.stderr.readline()
            if not said:
                raise RuntimeError("tcpdump did not start")

    def stop(self) -> int:
        assert self._process.stderr is not None
        self._process.send_signal(signal.SIGINT)
        said = self._process.stderr.read()
        self._process.wait()
        return int(said.split(" packets captured")[0].split()[-1])


@dataclass(frozen=True, slots=True)
class Way:
    name: str
    begin: Callable[[Path], Ring | Recvmsg | Tcpdump]


WAYS = (Way("ring", Ring), Way("recvmsg", Recvmsg), Way("tcpdump", Tcpdump))


def latency(way: Way, path: Path, runs: int) -> tuple[float, float, int]:
    """Medians of start and stop in ms, and how often the packet sent right after the start was missing."""
    starts, stops, missing = [], [], 0
    sock = sender()
    for _ in range(runs):
        begin = time.perf_counter()
        capture = way.begin(path)
        starts.append(time.perf_counter() - begin)
        sock.send(FRAME)
        begin = time.perf_counter()
        missing += capture.stop() == 0
        stops.append(time.perf_counter() - begin)
    sock.close()
    return statistics.median(starts) * 1e3, statistics.median(stops) * 1e3, missing


def loss(way: Way, path: Path, rate: int, seconds: float) -> tuple[float, float]:
    """Lost share of what arrived, and the rate that was reached."""
    capture = way.begin(path)
    before = received()
    reached = generate(rate, seconds)
    time.sleep(1.5)
    kept = capture.stop()
    arrived = received() - before
    return 1 - kept / arrived, reached


def main() -> None:
    parser = argparse.ArgumentParser(description="Capture mechanisms side by side.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rates", type=int, nargs="+", default=[10_000, 100_000, 300_000])
    options = parser.parse_args()
    ways = [way for way in WAYS if way.name != "tcpdump" or shutil.which("tcpdump")]
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES - {LAST_CORE})
    as_root = os.getuid() == 0
    enter_namespaces()
    make_veth()
    print(f"# {'root' if as_root else 'user namespace'}, {os.cpu_count()} cores, Linux {os.uname().release},"
          f" {len(FRAME)}-byte frames, {options.seconds:g} s a run, median of {options.runs}")  # fmt: skip
    print(f"{'':8} {'start ms':>9} {'stop ms':>8} {'1st lost':>8}", end="")
    print("".join(f" | lost at {rate // 1000}k/s (reached)" for rate in options.rates))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture.pcap"
        for way in ways:
            try:
                start, stop, missing = latency(way, path, max(10, options.runs))
            except RuntimeError as error:
                print(f"{way.name:8} {error}")
                continue
            print(f"{way.name:8} {start:9.1f} {stop:8.1f} {missing:8}", end="", flush=True)
            for rate in options.rates:
                results = [loss(way, path, rate, options.seconds) for _ in range(options.runs)]
                lost = statistics.median(share for share, _ in results)
                reached = statistics.median(reached for _, reached in results)
                worst = max(share for share, _ in results)
                print(f" | {lost:6.2%} max {worst:6.2%} ({reached / 1e3:.0f}k)", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
