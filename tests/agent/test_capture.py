"""The capture against the real kernel: what it keeps, when, under which name, and what it admits to have lost."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest
from agent.conftest import CLONE_NEWNET, CLONE_NEWUSER, LIBC, Netns, ethernet, ipv4_udp, unshare
from labrun.agent.capture import Capture, CaptureError, CaptureStats
from labrun.agent.offloads import switch
from labrun.agent.packet_ring import RingSize
from labrun.agent.pcap_filter import FilterError
from labrun.packets.checksums import status
from labrun.packets.dissect.walk import walk
from labrun.packets.pcapng import Packet, read_packets, summary
from labrun.packets.segments import segments
from pyroute2 import IPRoute
from support.netns import Netns as Elsewhere

Send = Callable[..., None]
Spotless = Callable[[Path], str]


def numbered(count: int) -> list[bytes]:
    return [ethernet(struct.pack(">I", number), kind=0x88B6) for number in range(count)]


def started(path: Path, *interfaces: str, filter_expression: str | None = None, **options: object) -> Capture:
    capture = Capture(path, interfaces or ("any",), filter_expression, **options)  # type: ignore[arg-type]
    capture.start()
    return capture


def seen(path: Path) -> list[tuple[str, str | None]]:
    return [(packet.interface, packet.direction) for packet in read_packets(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.pcapng"


def test_the_very_first_packet_after_start_is_there_every_time(netns: Netns, send: Send, path: Path) -> None:
    netns.veth("a", "b")
    for number in range(100):
        frame = ethernet(struct.pack(">I", number), kind=0x88B6)
        capture = started(path, "b")
        send("a", frame)
        stats = capture.stop()
        assert [packet.data for packet in read_packets(path)] == [frame]
        assert (stats.packets, stats.complete) == (1, True)


def test_nothing_from_before_the_start_is_there(netns: Netns, send: Send, path: Path) -> None:
    netns.veth("a", "b")
    send("a", *numbered(50))
    capture = started(path, "b")
    assert capture.stop().packets == 0


def test_stop_drains_whatever_was_sent_before_it(netns: Netns, send: Send, path: Path, spotless: Spotless) -> None:
    netns.veth("a", "b")
    frames = numbered(20_000)
    capture = started(path, "b")
    send("a", *frames)
    stats = capture.stop()
    assert stats.complete and stats.packets == len(frames)
    packets = list(read_packets(path))
    assert [packet.data for packet in packets] == frames
    assert all(stats.started_ns <= packet.time_ns <= stats.ended_ns for packet in packets)
    spotless(path)
    assert capture.stop() is stats


def test_flush_puts_everything_so_far_on_disk_and_goes_on(netns: Netns, send: Send, path: Path) -> None:
    netns.veth("a", "b")
    capture = started(path, "b")
    for count in range(1, 21):
        send("a", *numbered(10))
        capture.flush()
        assert summary(path).interfaces[0].packets == capture.kept == 10 * count
    assert capture.stop().packets == 200


def test_directions_and_kinds_of_reception(netns: Netns, send: Send, path: Path, spotless: Spotless) -> None:
    netns.veth("a", "b")
    capture = started(path, "a", "b")
    for to in ("02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"):
        send("a", ethernet(b"x" * 7, to=to, kind=0x88B6))
    stats = capture.stop()
    assert seen(path) == [("a", "out"), ("b", "in")] * 3
    assert stats.interface_packets == (3, 3)
    raw = path.read_bytes()
    # epb_flags as it is in the file: other station, broadcast, multicast, all of them incoming
    for flags in (1 | 4 << 2, 1 | 3 << 2, 1 | 2 << 2):
        assert struct.pack("<HHI", 2, 4, flags) in raw
    spotless(path)


def test_interfaces_come_in_the_order_asked_for_and_once(netns: Netns, path: Path) -> None:
    netns.veth("a", "b")
    stats = started(path, "b", "lo", "a", "b").stop()
    assert stats.interfaces == ("b", "lo", "a")
    assert [entry.name for entry in summary(path).interfaces] == ["b", "lo", "a"]


def test_any_names_interfaces_that_come_later_are_renamed_or_go(
    netns: Netns, send: Send, path: Path, spotless: Spotless
) -> None:
    netns.veth("a", "b")
    capture = started(path)
    netns.veth("late", "peer")
    send("late", ethernet(b"1", kind=0x88B6))
    capture.flush()
    netns.rename("late", "renamed")
    capture.flush()
    send("late", ethernet(b"2", kind=0x88B6))  # the socket is bound to the index
    capture.flush()
    netns.delete("renamed")
    capture.flush()
    send("a", ethernet(b"3", kind=0x88B6))
    stats = capture.stop()
    assert seen(path) == [
        ("late", "out"), ("peer", "in"), ("renamed", "out"), ("peer", "in"), ("a", "out"), ("b", "in"),
    ]  # fmt: skip
    assert set(stats.interfaces) == {"lo", "a", "b", "late", "peer", "renamed"}
    assert stats.complete  # with `any`, interfaces may go
    ends = dict(zip(stats.interfaces, stats.interface_ends, strict=True))
    assert ends["lo"] is ends["a"] is ends["b"] is None
    late, renamed = ends["late"], ends["renamed"]
    assert late is not None and renamed is not None and ends["peer"] is not None  # a pair goes together
    assert stats.started_ns < late < renamed < stats.ended_ns
    came = dict(zip(stats.interfaces, stats.interface_starts, strict=True))
    assert came["lo"] == came["a"] == came["b"] == 0 and stats.started_ns < came["late"] < late <= came["renamed"]
    spotless(path)


def test_an_interface_that_moves_away_and_comes_back_is_told_twice(netns: Netns, send: Send, path: Path) -> None:
    """With the same index, as the kernel gives it."""
    netns.veth("a", "b")
    capture = started(path)
    with Elsewhere() as elsewhere, open("/proc/thread-self/ns/net") as here:  # noqa: PTH123
        netns.ip.link("set", index=netns.index("b"), net_ns_fd=elsewhere.fd)
        capture.flush()
        with elsewhere.enter(), IPRoute() as ip:
            ip.link("set", index=socket.if_nametoindex("b"), net_ns_fd=here.fileno())
        capture.flush()
    netns.up("b")
    netns.carries("a", "b")
    capture.flush()
    before = capture.kept
    send("a", *numbered(1))
    stats = capture.stop()
    assert stats.packets == before + 2 and [name for name, _ in seen(path)][-2:] == ["a", "b"]
    ends = [end for name, end in zip(stats.interfaces, stats.interface_ends, strict=True) if name == "b"]
    assert len(ends) == 2 and ends[0] is not None and ends[1] is None


def test_a_named_interface_that_goes_away_is_said(netns: Netns, send: Send, path: Path) -> None:
    netns.veth("a", "b")
    capture = started(path, "b")
    send("a", *numbered(3))
    netns.delete("b")
    stats = capture.stop()
    assert stats.packets == 3
    assert stats.reason == "interface b went away" and not stats.complete


def test_leaving_a_bridge_is_not_going_away(netns: Netns, path: Path) -> None:
    netns.veth("a", "b")
    netns.ip.link("add", ifname="br", kind="bridge")
    netns.ip.link("set", index=netns.index("b"), master=netns.index("br"))
    capture = started(path, "b")
    netns.ip.link("set", index=netns.index("b"), master=0)
    assert capture.stop().complete


def test_an_interface_that_is_down_is_captured_once_it_is_up(netns: Netns, send: Send, path: Path) -> None:
    netns.veth("a", "b")
    netns.down("b")
    capture = started(path, "b")
    netns.up("b")
    netns.carries("a", "b")
    send("a", *numbered(2))
    assert capture.stop().packets == 2


@pytest.mark.parametrize("interface", ["lo", "any"])
def test_loopback_shows_each_packet_once(netns: Netns, path: Path, interface: str) -> None:
    netns.up("lo")
    capture = started(path, interface)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 5000))
        sock.sendto(b"hello", ("127.0.0.1", 5000))
    stats = capture.stop()
    assert seen(path) == [("lo", "in")]
    assert next(read_packets(path)).data.endswith(b"hello")
    assert stats.complete


def test_a_filter_keeps_what_matches(netns: Netns, send: Send, path: Path, spotless: Spotless) -> None:
    netns.veth("a", "b")
    capture = started(path, "b", filter_expression="udp port 53")
    send("a", *(ethernet(ipv4_udp(port)) for port in (52, 53, 54, 53)))
    assert capture.stop().packets == 2
    assert summary(path).interfaces[0].filter == "udp port 53"
    spotless(path)


TAG = struct.pack(">HH", 5, 0x0800)  # VLAN 5, then IPv4


@pytest.mark.parametrize(
    ("expression", "kept"),
    [(None, [True, False]), ("vlan 5", [True]), ("vlan 6", []), ("udp", [False]), ("vlan and udp port 53", [True])],
)
def test_vlan_tags_are_in_the_frame_and_count_for_filters(
    netns: Netns, send: Send, path: Path, spotless: Spotless, expression: str | None, kept: list[bool]
) -> None:
    netns.veth("a", "b")
    tagged = ethernet(TAG + ipv4_udp(53, b"odd"), kind=0x8100)
    plain = ethernet(ipv4_udp(53, b"odd"))
    capture = started(path, "b", filter_expression=expression)
    send("a", tagged, plain)
    capture.stop()
    assert [packet.data == tagged for packet in read_packets(path)] == kept
    assert all(packet.length == len(packet.data) for packet in read_packets(path))
    spotless(path)


def test_snaplen_cuts_and_keeps_the_length_on_the_wire(
    netns: Netns, send: Send, path: Path, spotless: Spotless
) -> None:
    netns.veth("a", "b")
    capture = started(path, "b", snaplen=61)
    big = ethernet(ipv4_udp(53, bytes(1000)))
    tagged = ethernet(TAG + ipv4_udp(53, bytes(100)), kind=0x8100)
    send("a", big, tagged)
    capture.stop()
    assert [(len(packet.data), packet.length) for packet in read_packets(path)] == [(61, len(big)), (61, len(tagged))]
    assert [packet.data for packet in read_packets(path)] == [big[:61], tagged[:61]]
    spotless(path)


@pytest.mark.parametrize(("expression", "packets"), [(None, 2), ("udp port 53", 1), ("arp", 0)])
def test_a_tun_interface_gives_raw_ip(
    netns: Netns, path: Path, spotless: Spotless, expression: str | None, packets: int
) -> None:
    netns.tun("t0")
    netns.address("t0", "10.9.0.1", 24)
    with open_tun("t0"):
        netns.up("t0")
        capture = started(path, filter_expression=expression)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for port in (52, 53):
                sock.sendto(b"hello", ("10.9.0.2", port))
        stats = capture.stop()
    found: list[Packet] = list(read_packets(path))
    assert stats.packets == len(found) == packets
    assert all((packet.linktype, packet.data[0], packet.direction) == (101, 0x45, "out") for packet in found)
    spotless(path)


def open_tun(name: str) -> FileIO:
    file = FileIO("/dev/net/tun", "r+")
    fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return file


def test_a_filter_that_means_nothing_without_ethernet_is_an_error_there(netns: Netns, path: Path) -> None:
    netns.tun("t0")
    with pytest.raises(FilterError):
        started(path, "t0", filter_expression="arp")


def test_packets_of_several_interfaces_are_in_time_order(
    netns: Netns, send: Send, path: Path, spotless: Spotless
) -> None:
    netns.veth("a", "b")
    netns.veth("c", "d")
    capture = started(path)
    for frame in numbered(2000):
        send("a", frame)
        send("d", frame)
    assert capture.stop().packets == 8000
    times = [packet.time_ns for packet in read_packets(path)]
    assert times == sorted(times)


def test_what_a_stalled_reader_loses_is_counted(netns: Netns, send: Send, tmp_path: Path) -> None:
    netns.veth("a", "b")
    # A pipe that nobody empties stalls the reader for real: its write blocks.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    capture = started(pipe, "b", ring=RingSize(block_bytes=16384, blocks=2, retire_ms=1))
    total = 5000
    send("a", *(frame + bytes(200) for frame in numbered(total)))
    os.set_blocking(end, True)
    result: list[CaptureStats] = []
    copy = tmp_path / "copy.pcapng"
    stopper = threading.Thread(target=lambda: result.append(capture.stop()))
    stopper.start()
    with copy.open("wb") as file:
        while chunk := os.read(end, 1 << 16):
            file.write(chunk)
    stopper.join()
    os.close(end)
    stats = result[0]
    assert stats.drops > 0 and not stats.complete
    assert stats.packets + stats.drops == total
    assert summary(copy).interfaces[0].packets == stats.packets
    assert summary(copy).interfaces[0].dropped == stats.drops


def test_a_reader_that_breaks_is_heard_of(netns: Netns, send: Send, tmp_path: Path) -> None:
    netns.veth("a", "b")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    capture = started(pipe, "b")
    os.close(end)  # from here on a write fails
    send("a", *numbered(3))
    with pytest.raises(CaptureError, match="broken"):
        capture.flush()
    with pytest.raises(CaptureError, match="broken"):
        capture.flush()
    stats = capture.stop()
    assert stats.reason is not None and "BrokenPipeError" in stats.reason
    assert not stats.complete


def test_past_the_size_limit_it_counts_and_keeps_nothing(
    netns: Netns, send: Send, path: Path, spotless: Spotless
) -> None:
    netns.veth("a", "b")
    capture = started(path, "b", limit_bytes=10_000)
    send("a", *numbered(1000))
    capture.flush()
    send("a", *numbered(1000))
    stats = capture.stop()
    assert stats.packets + stats.not_kept == 2000
    assert stats.packets > 100 and not stats.complete
    assert [struct.unpack(">I", packet.data[14:18])[0] for packet in read_packets(path)] == list(range(stats.packets))
    assert path.stat().st_size < 10_200
    assert summary(path).interfaces[0].received == 2000
    spotless(path)


def test_an_interface_that_is_not_there_is_named(netns: Netns, path: Path) -> None:
    netns.veth("a", "b")
    with pytest.raises(CaptureError, match=r"no interface 'eth0' to capture on; there are: a, b, lo"):
        started(path, "a", "eth0")
    assert not path.exists()


def test_a_wrong_filter_is_told_in_libpcaps_words(netns: Netns, path: Path) -> None:
    with pytest.raises(FilterError, match="syntax error"):
        started(path, "lo", filter_expression="icmp[")
    assert not path.exists()


@pytest.mark.parametrize("interfaces", [(), ("any", "lo")])
def test_interfaces_are_some_or_any(interfaces: tuple[str, ...], path: Path) -> None:
    with pytest.raises(CaptureError):
        Capture(path, interfaces)


def test_a_capture_that_never_started_says_so(path: Path) -> None:
    with pytest.raises(CaptureError, match="not started"):
        Capture(path).flush()


def test_nothing_stays_open(netns: Netns, path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    started(path).stop()
    before = descriptors()
    for _ in range(5):
        started(path).stop()
        with pytest.raises(CaptureError):
            started(path, "nope")
        with pytest.raises(CaptureError):
            started(path / "no-folder")
    deadline = time.monotonic() + 10  # a ring is closed behind the stop's back
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert descriptors() <= before


def test_an_empty_capture_is_a_whole_file(netns: Netns, path: Path, spotless: Spotless) -> None:
    stats = started(path).stop()
    assert (stats.interfaces, stats.packets, stats.complete) == (("lo",), 0, True)
    assert spotless(path) == ""
    done = subprocess.run(["capinfos", "-M", str(path)], capture_output=True, text=True, check=True)
    assert "labrun" in done.stdout


def test_it_works_in_a_user_namespace_of_an_ordinary_user(netns: Netns) -> None:
    nobody = 65534
    folder = Path(tempfile.mkdtemp(prefix="labrun-userns-", dir="/tmp"))
    os.chown(folder, nobody, nobody)
    out, into = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            try:
                answer: object = capture_as(nobody, folder / "capture.pcapng")
            except BaseException:
                answer = traceback.format_exc()
            os.write(into, json.dumps(answer).encode())
            os._exit(0)
        os.close(into)
        with os.fdopen(out, "rb") as pipe:
            assert json.loads(pipe.read()) == [1, 0, None]
        os.waitpid(pid, 0)
        assert seen(folder / "capture.pcapng") == [("lo", "in")]
    finally:
        shutil.rmtree(folder)


def capture_as(user: int, path: Path) -> list[object]:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    LIBC.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: else /proc/self stays root's after setuid
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {user} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = ctypes.create_string_buffer(struct.pack("16sH22x", b"lo", 1))  # struct ifreq, IFF_UP
        assert LIBC.ioctl(sock.fileno(), 0x8914, request) == 0  # SIOCSIFFLAGS
        capture = started(path, "lo", filter_expression="udp")
        sock.bind(("127.0.0.1", 5000))
        sock.sendto(b"hello", ("127.0.0.1", 5000))
    stats = capture.stop()
    return [stats.packets, stats.drops, stats.reason]


@pytest.mark.parametrize(("promiscuous", "filtered"), [(False, True), (True, True), (True, False)])
def test_only_who_asks_for_it_makes_an_interface_promiscuous(
    netns: Netns, path: Path, promiscuous: bool, filtered: bool
) -> None:
    netns.veth("a", "b")
    netns.ip.link("add", ifname="br", kind="bridge")
    for key in ("iptables", "ip6tables", "arptables"):
        Path(f"/proc/sys/net/bridge/bridge-nf-call-{key}").write_text(str(int(filtered)))
    capture = started(path, "a", "br", promiscuous=promiscuous)
    levels = [netns.ip.link("get", ifname=name)[0].get_attr("IFLA_PROMISCUITY") for name in ("a", "br")]
    stats = capture.stop()
    assert levels == [int(promiscuous)] * 2
    assert stats.bridges == (("br",) if promiscuous and filtered else ())
    assert (b"promiscuous" in path.read_bytes()) is promiscuous


BULK = """
import socket, sys, threading
family, kind, host = getattr(socket, sys.argv[1]), getattr(socket, sys.argv[2]), sys.argv[3]
with socket.socket(family, kind) as sock:
    if kind == socket.SOCK_STREAM:
        sock.connect((host, 9000))
        for _ in range(20):
            sock.sendall(bytes(range(256)) * 200)
    else:
        sock.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
        sock.sendto(bytes(range(256)) * 40, (host, 9000))
"""
SINK = """
import socket, sys
with socket.create_server(("", 9000), family=getattr(socket, sys.argv[1])) as server:
    print(flush=True)
    peer, _ = server.accept()
    while peer.recv(1 << 16):
        pass
"""


def finished(frame: bytes) -> bytes:
    """Without what no sender has filled in: the checksum of TCP or UDP."""
    network, four = 14, frame[14] >> 4 == 4
    transport = network + (20 if four else 40)
    place = transport + (16 if frame[network + (9 if four else 6)] == 6 else 6)
    return frame[:place] + bytes(2) + frame[place + 2 :]


@pytest.mark.parametrize(
    ("family", "hosts"), [("AF_INET", ("10.0.0.1", "10.0.0.2")), ("AF_INET6", ("fd00::1", "fd00::2"))]
)
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_a_super_packet_is_cut_as_the_kernel_cuts_it(
    netns: Netns, path: Path, family: str, hosts: tuple[str, str], kind: str
) -> None:
    """left - p1, bridge, p2 - right. What came in on p1 as super-packets goes out on p2, whose offloads are off."""
    netns.ip.link("add", ifname="br", kind="bridge")
    with Elsewhere() as left, Elsewhere() as right:
        for port, host, address in (("p1", left, hosts[0]), ("p2", right, hosts[1])):
            netns.ip.link("add", ifname=port, kind="veth", peer={"ifname": "eth0", "net_ns_fd": host.fd})
            netns.ip.link("set", index=netns.index(port), master=netns.index("br"))
            host.sh(
                f"sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0 net.ipv6.conf.eth0.accept_dad=0; ip link set eth0 up; ip addr add {address}/{64 if ':' in address else 24} dev eth0"
            )
        netns.up("br", "p1", "p2")
        netns.carries("p1", "p2")
        switch("p2", on=False)
        with right.enter():
            sink = subprocess.Popen([sys.executable, "-c", SINK, family], stdout=subprocess.PIPE)
        assert sink.stdout is not None
        sink.stdout.readline()
        left.sh(f"ping -c1 -W5 {hosts[1]}")
        capture = started(path, "p1", "p2", filter_expression="port 9000 and src host " + hosts[0])
        with left.enter():
            subprocess.run([sys.executable, "-c", BULK, family, kind, hosts[1]], check=True, timeout=20)
        if kind == "SOCK_STREAM":
            assert sink.wait(20) == 0
        stats = capture.stop()
        sink.kill()
        sink.wait()
    assert stats.complete
    came = [packet for packet in read_packets(path) if packet.interface == "p1"]
    left_by = [packet for packet in read_packets(path) if packet.interface == "p2"]
    supers = [packet for packet in came if packet.offload is not None and packet.offload.gso_size]
    assert supers and not any(packet.offload for packet in left_by)
    expected = []
    for packet in came:
        if packet in supers:
            assert packet.offload is not None
            cut = segments(packet.data, packet.linktype, packet.length, packet.offload)
            assert cut is not None and len(cut) > 1
            expected += [data for data, length in cut]
            assert all(len(data) == length for data, length in cut)
        else:
            expected.append(packet.data)
    # Processors cut super-packets side by side, so the order on p2 is not p1's.
    assert sorted(map(finished, expected)) == sorted(finished(packet.data) for packet in left_by)


def left_checksums(path: Path) -> dict[str, tuple[int | None, tuple[object, ...], tuple[object, ...]]]:
    """Of the last packet of UDP on each interface: where its checksum is left; the status with and without that."""
    found = {}
    for packet in read_packets(path):
        layers, _ = walk(packet.data, packet.linktype, packet.length)
        if layers and layers[-1].protocol == "udp":
            place = len(layers) - 1
            assert packet.offload is None or packet.offload.start == layers[-1].start
            told = [status(packet.data, layers, place, offload) for offload in (packet.offload, None)]
            found[packet.interface] = (packet.offload and packet.offload.start, *told)
    return found


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("left", [True, False])
def test_a_checksum_that_is_left_to_the_device_is_told_with_its_place(
    netns: Netns, path: Path, tunnel: bool, left: bool
) -> None:
    netns.veth("a", "b")
    netns.address("a", "10.0.0.1", 24)
    commands = ["ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev a"]
    if tunnel:
        commands += [
            "ip link add x type vxlan id 7 local 10.0.0.1 remote 10.0.0.2 dstport 4789",
            "ip addr add 10.9.0.1/24 dev x",
            "ip link set x up",
            "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev x",
        ]
    for command in commands:
        subprocess.run(command.split(), check=True)
    for device in ("a", "x") if tunnel else ("a",):
        switch(device, on=left)
    capture = started(path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", ("10.9.0.2" if tunnel else "10.0.0.2", 9000))
    assert capture.stop().complete
    places = {"a": 84, "b": 84, "x": 34} if tunnel else {"a": 34, "b": 34}
    right, wrong = (None, (1,), (1,)), {name: (place, (2,), (0,)) for name, place in places.items()}
    assert left_checksums(path) == (wrong if left else dict.fromkeys(places, right))


def test_the_place_of_a_checksum_counts_the_tag_that_the_kernel_kept_aside(netns: Netns, path: Path) -> None:
    netns.veth("a", "b")
    capture = started(path)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
        sock.bind(("a", 0))
        sock.send(struct.pack("=BBHHHH", 1, 0, 0, 0, 38, 6) + ethernet(TAG + ipv4_udp(9000, b"odd"), kind=0x8100))
    assert capture.stop().complete
    assert {name: told[:2] for name, told in left_checksums(path).items()} == dict.fromkeys("ab", (38, (2,)))


def test_the_place_of_a_checksum_is_counted_in_raw_ip(netns: Netns, path: Path) -> None:
    netns.tun("t0")
    netns.address("t0", "10.9.0.1", 24)
    with open_tun("t0") as tun:
        fcntl.ioctl(tun, 0x400454D0, 1)  # TUNSETOFFLOAD, TUN_F_CSUM: whoever reads it fills in checksums
        netns.up("t0")
        capture = started(path)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"hello", ("10.9.0.2", 9000))
        assert capture.stop().complete
    assert left_checksums(path) == {"t0": (20, (2,), (0,))}
