"""The status of checksums where tshark has no say: what a packet left to the device. (For the rest, see test_fields.)"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.lab.predictions import Check
from labrun.logic.compare import Truth
from labrun.packets.fields import compile_fields
from labrun.packets.segments import UNTOLD, Offload, segments
from scapy.all import ICMP, IP, TCP, UDP, VXLAN, Dot1Q, Ether, ICMPv6EchoRequest, IPv6

E = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
I4, I6 = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fd00::1", dst="fd00::2")
HEADERS = {
    "tcp": lambda **fields: E / I4 / TCP(**fields) / b"abc",
    "tcp6": lambda **fields: E / I6 / TCP(**fields) / b"abc",
    "udp": lambda **fields: E / I4 / UDP(**fields) / b"abc",
    "udp6": lambda **fields: E / I6 / UDP(**fields) / b"abc",
    "icmp": lambda **fields: E / I4 / ICMP(**fields),
    "icmpv6": lambda **fields: E / I6 / ICMPv6EchoRequest(cksum=fields.get("chksum")),
    "ip": lambda **fields: E / IP(src="10.0.0.1", dst="10.0.0.2", **fields),
    "vlan": lambda **fields: E / Dot1Q(vlan=7) / I4 / TCP(**fields) / b"abc",
}
STARTS = {"tcp": 34, "tcp6": 54, "udp": 34, "udp6": 54, "icmp": 34, "icmpv6": 54, "ip": 14, "vlan": 38}
FIELD = {"tcp6": "tcp", "udp6": "udp", "vlan": "tcp"}
LEFT = sorted({"tcp", "tcp6", "udp", "udp6", "vlan"})
WRONG = 0x1234


def statuses(name: str, data: bytes, offload: Offload | None, length: int | None = None) -> dict[int, Truth]:
    field = f"{FIELD.get(name, name)}.checksum.status"
    size = len(data) if length is None else length
    asked = {status: compile_fields({field: Check(equals=status)}) for status in range(5)}
    return {status: match(data, 1, size, "eth0", offload) for status, match in asked.items()}


def only(status: int) -> dict[int, Truth]:
    return {number: number == status for number in range(5)}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize(("fields", "status"), [({}, 1), ({"chksum": WRONG}, 0)])
def test_right_and_wrong_by_the_bytes(name: str, fields: dict[str, int], status: int) -> None:
    told = None, Offload(0, 1, 1000), Offload(1, 0, 0, STARTS[name] + 2)  # of another header
    for offload in told:
        assert statuses(name, bytes(HEADERS[name](**fields)), offload) == only(status)


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("fields", [{}, {"chksum": WRONG}])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_left_to_the_device_is_neither_right_nor_wrong(name: str, fields: dict[str, int], known: bool) -> None:
    offload = Offload(1, 0, 0, STARTS[name] if known else None)
    assert statuses(name, bytes(HEADERS[name](**fields)), offload) == only(2)


@pytest.mark.parametrize("name", HEADERS)
def test_where_the_kernel_was_not_asked_wrong_is_not_known(name: str) -> None:
    assert statuses(name, bytes(HEADERS[name]()), UNTOLD) == only(1)
    wrong = statuses(name, bytes(HEADERS[name](chksum=WRONG)), UNTOLD)
    assert wrong == (dict.fromkeys(range(5)) if name in LEFT else only(0))


@pytest.mark.parametrize("name", LEFT)
def test_of_a_cut_packet_only_what_the_kernel_says_is_known(name: str) -> None:
    data = bytes(HEADERS[name]())
    assert statuses(name, data[:-1], None, len(data)) == dict.fromkeys(range(5))
    assert statuses(name, data[:-1], Offload(1, 0, 0, STARTS[name]), len(data))[2] is True


def test_of_a_tunnel_the_inner_checksum_is_left() -> None:
    inner = Ether() / I4 / TCP(chksum=WRONG)
    data = bytes(E / I4 / UDP(dport=4789) / VXLAN(vni=1) / inner)
    offload = Offload(1, 0, 0, len(data) - 20)
    outer = compile_fields({"udp.checksum.status": Check(equals=1)}, {"tcp.checksum.status": Check(equals=2)})
    assert outer(data, 1, len(data), "eth0", offload) is True
    assert outer(data, 1, len(data), "eth0", None) is False


@given(st.integers(12, 3000), st.integers(100, 1400), st.sampled_from([1, 5]), st.integers(0, 0xFFFF))
def test_the_ip_header_of_a_segment_has_a_right_checksum(size: int, each: int, kind: int, number: int) -> None:
    """The kernel fills it in, even where the rest is left (inet_gso_segment)."""
    transport = TCP() if kind == 1 else UDP()
    data = bytes(E / IP(src="10.0.0.1", dst="10.0.0.2", id=number) / transport / bytes(size))
    offload = Offload(1, kind, each, 34)
    found = segments(data, 1, len(data), offload)
    assert found is not None
    for part, length in found:
        assert compile_fields({"ip.checksum.status": Check(equals=1)})(part, 1, length, "eth0", offload) is True
