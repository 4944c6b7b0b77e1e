"""pcapng as the agent writes it and the host reads it back; Wireshark as the judge of both."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.agent import pcapng as write
from labrun.packets.pcapng import Packet, PcapngError, TruncatedCapture, read_packets, summary
from labrun.packets.segments import UNTOLD, Offload

START = 1_790_000_000_123_456_789
DIRECTIONS = {1: "in", 2: "out", 0: None}
FRAME = bytes.fromhex("0200000000020200000000010800") + b"\x45" + bytes(40)


def file_of(folder: Path, *blocks: bytes) -> Path:
    path = folder / "some.pcapng"
    path.write_bytes(write.section_header("Linux 6.18") + b"".join(blocks))
    return path


def eth(name: str = "eth0", **options: object) -> bytes:
    return write.interface_description(name, 1, 262144, **options)  # type: ignore[arg-type]


def packet(interface: int = 0, data: bytes = FRAME, time_ns: int = START, length: int | None = None) -> bytes:
    return write.enhanced_packet(interface, time_ns, data, len(data) if length is None else length, 5)


SHAPES = {
    "empty": [],
    "no packets": [eth(), write.interface_statistics(0, START, START + 1, 0, 0)],
    "no statistics": [eth(), packet()],
    "many interfaces": [*(eth(f"veth{n}") for n in range(300)), *(packet(n) for n in range(300))],
    "late interface": [eth(), packet(), eth("late"), packet(1), packet(0)],
    "super-packet": [eth(), write.enhanced_packet(0, START, FRAME, len(FRAME), 5, bytes((1, 1, 66, 0, 0xA8, 5)))],
    "cut by snaplen": [write.interface_description("eth0", 1, 20), packet(data=FRAME[:20], length=1514)],
    "odd lengths": [eth(), *(packet(data=FRAME[:n]) for n in range(14, 40))],
    "no data": [eth(), packet(data=b"", length=60)],
    "raw": [write.interface_description("tun0", 101, 65535), packet(data=bytes([0x45, 0, 0, 20]) + bytes(16))],
    "both": [eth(), write.interface_description("tun0", 101, 65535), packet(), packet(1, bytes([0x45]) + bytes(19))],
    "filter": [eth(filter_expression="icmp or (tcp and port 80)"), packet()],
    "strange name": [eth("ä-1é"), packet()],
    "dropped": [eth(), packet(), write.interface_statistics(0, START, START + 9, 1, 2**33)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("argv", [["capinfos"], ["tshark", "-n", "-r"]], ids=lambda argv: argv[0])
def test_wireshark_reads_every_shape_without_a_warning(tmp_path: Path, shape: str, argv: list[str]) -> None:
    path = file_of(tmp_path, *SHAPES[shape])
    done = subprocess.run([*argv, str(path)], capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if line and "This could be dangerous" not in line]
    assert (done.returncode, said) == (0, [])
    assert summary(path).packets == len(list(read_packets(path)))


def test_wireshark_sees_what_was_meant(tmp_path: Path) -> None:
    path = file_of(tmp_path, eth(), eth("eth1", filter_expression="icmp"), packet(1, time_ns=START))
    fields = [
        "frame.interface_name",
        "frame.time_epoch",
        "frame.packet_flags_direction",
        "frame.len",
        "frame.interface_id",
    ]
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", *(part for field in fields for part in ("-e", field))]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    name, time, direction, length, number = done.stdout.strip().split("\t")
    assert (name, time, length, number) == ("eth1", "1790000000.123456789", str(len(FRAME)), "1")
    assert int(direction, 0) == 1


@pytest.mark.parametrize(
    ("hardware_type", "linktype"), [(1, 1), (772, 1), (0xFFFE, 101), (512, 101), (776, 101), (778, 101)]
)
def test_link_types(hardware_type: int, linktype: int) -> None:
    assert write.linktype_of(hardware_type) == linktype


packets = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2**63 - 1),
        st.binary(max_size=200),
        st.integers(0, 2**32 - 1),
        st.sampled_from(write.EPB_FLAGS),
    ),
    max_size=30,
)
names = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=15), min_size=4, max_size=4)


@settings(deadline=None)
@given(names=names, entries=packets, cut=st.integers(0, 400))
def test_what_is_written_is_read(names: list[str], entries: list[tuple[int, int, bytes, int, int]], cut: int) -> None:
    blocks = [eth(name) for name in names]
    blocks += [write.enhanced_packet(*entry) for entry in entries]
    blocks += [write.interface_statistics(place, 1, 2**62, 7, 9) for place in range(4)]
    expected = [
        Packet(number, names[which], time_ns, DIRECTIONS[flags & 3], 1, data, length)  # type: ignore[arg-type]
        for number, (which, time_ns, data, length, flags) in enumerate(entries, 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(Path(folder), *blocks)
        assert list(read_packets(path)) == expected
        found = summary(path)
        assert [entry.name for entry in found.interfaces] == names
        assert sum(entry.packets for entry in found.interfaces) == found.packets == len(entries)
        assert {(entry.received, entry.dropped, entry.started_ns, entry.ended_ns) for entry in found.interfaces} == {
            (7, 9, 1, 2**62)
        }
        # A crash may cut it anywhere: all whole packets, then the news.
        whole = path.read_bytes()
        path.write_bytes(whole[: max(0, len(whole) - cut)])
        kept: list[Packet] = []
        try:
            for entry in read_packets(path):
                kept.append(entry)
            truncated, told = False, len(kept)
        except TruncatedCapture as error:
            truncated = True
            told = error.packets
        assert kept == expected[: len(kept)]
        assert told == len(kept)
        if path.stat().st_size:
            assert summary(path).truncated == truncated
            assert summary(path).packets == len(kept)


def test_a_file_cut_in_a_packet_gives_the_whole_ones_and_says_so(tmp_path: Path) -> None:
    path = file_of(tmp_path, eth(), packet(), packet(), packet())
    path.write_bytes(path.read_bytes()[:-1])
    reader = read_packets(path)
    assert [next(reader).number, next(reader).number] == [1, 2]
    with pytest.raises(TruncatedCapture, match=r"cut off at byte .* after 2 whole packets"):
        next(reader)
    assert summary(path).truncated and summary(path).packets == 2


@pytest.mark.parametrize("content", [b"", b"\n\r", b"\n\r\r\n"])
def test_a_file_cut_in_its_first_block_is_truncated(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.pcapng"
    path.write_bytes(content)
    with pytest.raises(TruncatedCapture):
        next(read_packets(path))


def raw(kind: int, body: bytes, *, length: int | None = None, again: int | None = None) -> bytes:
    size = len(body) + 12 if length is None else length
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size if again is None else again)


HOSTILE = {
    "other file": (None, b"\xd4\xc3\xb2\xa1" + bytes(40)),
    "no magic": (None, raw(0x0A0D0D0A, bytes(16))),
    "huge block": ("absurd length", raw(6, b"", length=0xFFFFFFF0)),
    "zero block": ("absurd length", raw(6, b"", length=0)),
    "odd block": ("absurd length", raw(6, bytes(1), length=13)),
    "lengths differ": ("two lengths", raw(6, bytes(20), again=36)),
    "short packet": ("packet", raw(6, bytes(4))),
    "huge packet": ("does not fit", raw(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 1))),
    "packet past its block": ("does not fit", raw(6, struct.pack("<IIIII", 0, 0, 0, 8, 8) + bytes(4))),
    "no such interface": ("no interface", raw(6, struct.pack("<IIIII", 7, 0, 0, 0, 0))),
    "short interface": ("too short", raw(1, bytes(4))),
    "huge option": ("longer than its block", raw(1, bytes(8) + struct.pack("<HH", 2, 0xFFFF))),
    "long name": ("absurdly long", raw(1, bytes(8) + struct.pack("<HH", 2, 256) + b"x" * 256)),
    "empty resolution": ("resolution", raw(1, bytes(8) + struct.pack("<HHI", 9, 0, 0))),
    "long resolution": ("resolution", raw(1, bytes(8) + struct.pack("<HHI", 9, 2, 6))),
    "absurd resolution": ("resolution", raw(1, bytes(8) + struct.pack("<HHI", 9, 1, 0x7F))),
    "simple packet": ("without a time", raw(3, bytes(4))),
    "too many interfaces": ("more than", raw(1, bytes(8)) * 10_001),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_and_cost_nothing(tmp_path: Path, what: str) -> None:
    message, content = HOSTILE[what]
    path = file_of(tmp_path, eth(), content)
    if message is None:
        path.write_bytes(content)
        message = "not a pcapng file"
    tracemalloc.start()
    try:
        with pytest.raises(PcapngError, match=message) as caught:
            list(read_packets(path))
        assert not isinstance(caught.value, TruncatedCapture)
        with pytest.raises(PcapngError):
            summary(path)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


@settings(deadline=None)
@given(noise=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=8))
def test_no_noise_makes_anything_but_a_pcapng_error(noise: list[tuple[int, int]]) -> None:
    content = bytearray(write.section_header("Linux") + eth() + packet() * 3)
    content += write.interface_statistics(0, 1, 2, 3, 4)
    for place, value in noise:
        content[place % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.pcapng"
        path.write_bytes(content)
        for read in (lambda: list(read_packets(path)), lambda: summary(path)):
            with contextlib.suppress(PcapngError):
                read()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [(None, 5_000_001, 5_000_001_000), (b"\x09", 7, 7), (b"\x03", 7, 7_000_000), (b"\x8a", 1536, 1_500_000_000),
     (b"\x0c", 1_500_000, 1500)],
)  # fmt: skip
def test_other_writers_resolutions_and_byte_orders(
    tmp_path: Path, order: str, resolution: bytes | None, ticks: int, time_ns: int
) -> None:
    def block(kind: int, body: bytes) -> bytes:
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    option = b"" if resolution is None else struct.pack(order + "HH", 9, 1) + resolution + bytes(3)
    comment = struct.pack(order + "HH", 1, 2) + b"hi" + bytes(2)
    flags = struct.pack(order + "HHI", 2, 4, 2)
    path = tmp_path / "other.pcapng"
    path.write_bytes(
        block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(1, struct.pack(order + "HHI", 1, 0, 0) + option)
        + block(0xBAD, b"nobody knows")
        + block(6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 3, 9) + b"abc\0" + comment + flags)
    )
    assert list(read_packets(path)) == [Packet(1, "", time_ns, "out", 1, b"abc", 9, UNTOLD)]


def test_reading_takes_the_memory_of_a_chunk(tmp_path: Path) -> None:
    path = file_of(tmp_path, eth(), *(packet(data=bytes(1000)) for _ in range(20_000)))
    assert path.stat().st_size > 20_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_packets(path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 13, 14, 15, 16])
def test_what_a_packet_left_to_the_device_is_read_again(tmp_path: Path, size: int) -> None:
    written = bytes((1, 0x81, 66, 0, 0xA8, 5, 34, 0)), bytes((1, 0, 9, 9, 9, 9, 0x2A, 1)), b""
    blocks = [write.enhanced_packet(0, START, bytes(size), size, 5, offload) for offload in written]
    found = list(read_packets(file_of(tmp_path, eth(), *blocks)))
    assert [packet.offload for packet in found] == [Offload(1, 0x81, 1448, 34), Offload(1, 0, 0, 298), None]
    assert [(packet.data, packet.direction) for packet in found] == [(bytes(size), "in")] * 3
    left = [[packet.offload is not None and packet.offload.leaves_checksum(at) for at in (34, 298)] for packet in found]
    assert left == [[True, False], [False, True], [False, False]]


def test_where_the_checksum_is_was_not_kept_of_older_captures(tmp_path: Path) -> None:
    block = write.enhanced_packet(0, START, b"abcd", 4, 5, bytes((1, 0, 0, 0, 0, 0, 34, 0)))
    short = block.replace(struct.pack("<HHI", 2989, 12, 32473), struct.pack("<HHI", 2989, 10, 32473))
    older = next(read_packets(file_of(tmp_path, eth(), short))).offload
    assert short != block
    assert older == Offload(1, 0, 0)
    assert older.leaves_checksum(34)
    assert older.leaves_checksum(54)


@pytest.mark.parametrize("other", [b"offload", b"offloadz", b"", None])
def test_a_capture_that_did_not_ask_says_so_of_each_packet(tmp_path: Path, other: bytes | None) -> None:
    asked = write.interface_description("eth0", 1, 0)
    option = struct.pack("<HHI", 2989, 12, 32473) + b"offloads"
    others = b"" if other is None else struct.pack("<HHI", 2989, 4 + len(other), 32473) + other.ljust(8, b"\0")
    plain = asked[:4] + struct.pack("<I", len(asked) - len(option) + len(others))
    plain += asked[8:-4].replace(option, others) + plain[4:8]
    assert next(read_packets(file_of(tmp_path, asked, packet()))).offload is None
    assert next(read_packets(file_of(tmp_path, plain, packet()))).offload == UNTOLD
