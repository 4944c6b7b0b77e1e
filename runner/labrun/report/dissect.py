"""One packet in words, as tcpdump or Wireshark would say it: protocol, both ends, what it is about.

`headers` reads the plain ones. All others scapy takes apart, which is imported here alone and not before: that costs a
third of a second.
Names of ports and services are never looked up: the same bytes must read the same on every host.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from labrun.protocol.record import dataclass
from labrun.report.headers import UNREACHABLE, plain
from labrun.report.headers import words as plain_words
from labrun.report.visible import one_line, shorten

_ETHERNET, _RAW = 1, 101  # LINKTYPE_
_MAX_INFO = 160
_ICMP = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
_ICMP6 = {
    1: "unreachable", 2: "packet too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
    133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation",
    136: "neighbour advertisement", 143: "multicast listener report",
}  # fmt: skip
_FLAGS = {"S": "SYN", "F": "FIN", "R": "RST", "P": "PSH", "A": "ACK", "U": "URG", "E": "ECE", "C": "CWR"}


@dataclass(frozen=True, slots=True)
class Words:
    protocol: str
    source: str
    destination: str
    info: str


def dissect(data: bytes, linktype: int) -> Words:
    """Never raises: what cannot be taken apart is said to be so."""
    if (packet := plain(data, linktype)) is not None:
        return Words(*plain_words(data, packet))
    return thoroughly(data, linktype)


def thoroughly(data: bytes, linktype: int) -> Words:
    """As scapy reads it."""
    try:
        words = _words(parsed(data, linktype))
    except Exception as error:  # noqa: BLE001  the bytes are hostile and scapy's dissectors are many
        return Words("?", "", "", f"{len(data)} bytes that cannot be dissected ({type(error).__name__})")
    return Words(*(shorten(one_line(text), _MAX_INFO) for text in (
        words.protocol, words.source, words.destination, words.info)))  # fmt: skip


@functools.cache
def _layers() -> dict[str, Any]:
    from scapy.layers import dhcp, dns, inet, inet6, l2, vxlan
    from scapy.packet import Raw

    found: dict[str, Any] = {"Raw": Raw}
    for module, names in (
        (l2, ("Ether", "ARP", "Dot1Q")), (inet, ("IP", "ICMP", "TCP", "UDP")), (inet6, ("IPv6",)), (dns, ("DNS",)),
        (vxlan, ("VXLAN",)), (dhcp, ("DHCP",)),
    ):  # fmt: skip
        found |= {name: getattr(module, name) for name in names}
    return found


def parsed(data: bytes, linktype: int) -> Any:
    layers = _layers()
    if linktype == _ETHERNET:
        return layers["Ether"](data)
    if linktype == _RAW and data:
        return layers["IPv6" if data[0] >> 4 == 6 else "IP"](data)
    return layers["Raw"](data)


def _words(packet: Any) -> Words:
    layers = _layers()
    network = packet.getlayer(layers["IP"]) or packet.getlayer(layers["IPv6"])
    if packet.haslayer(layers["ARP"]) and network is None:
        return _arp(packet[layers["ARP"]])
    if network is None:
        return _frame(packet)
    tunnel = "VXLAN, inside " if packet.haslayer(layers["VXLAN"]) else ""
    source, destination = str(network.src), str(network.dst)
    for name, describe in _DESCRIBED.items():
        if network.haslayer(layers[name]):
            protocol, info, ports = describe(network, network[layers[name]])
            if ports:
                source, destination = _with_port(source, ports[0]), _with_port(destination, ports[1])
            return Words(protocol, source, destination, tunnel + info)
    if network.name == "IPv6":
        return _ipv6(network, source, destination)
    fragment = f" fragment at {network.frag * 8}" if network.frag else ""
    return Words("IPv4", source, destination, f"protocol {network.proto}{fragment}, {len(network.payload)} bytes")


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _arp(arp: Any) -> Words:
    if arp.op == 1:
        info = f"who has {arp.pdst}? tell {arp.psrc}"
    elif arp.op == 2:
        info = f"{arp.psrc} is at {arp.hwsrc}"
    else:
        info = f"operation {arp.op}"
    return Words("ARP", str(arp.hwsrc), "broadcast" if arp.op == 1 else str(arp.hwdst), info)


def _frame(packet: Any) -> Words:
    if packet.name != "Ethernet":
        return Words(packet.name, "", "", f"{len(packet)} bytes")
    return Words("Ethernet", str(packet.src), str(packet.dst), f"type 0x{packet.type:04x}, {len(packet.payload)} bytes")


Described = tuple[str, str, tuple[int, int] | None]


def _tcp(network: Any, tcp: Any) -> Described:
    letters = str(tcp.flags)
    flags = ", ".join(word for letter, word in _FLAGS.items() if letter in letters) or "no flags"
    length = max(0, _payload(network) - (tcp.dataofs or 5) * 4)
    return "TCP", f"{flags} seq {tcp.seq} ack {tcp.ack} win {tcp.window} len {length}", (tcp.sport, tcp.dport)


def _udp(_: Any, udp: Any) -> Described:
    layers = _layers()
    ports = (udp.sport, udp.dport)
    if udp.haslayer(layers["DNS"]) and 53 in ports:
        return "DNS", udp[layers["DNS"]].mysummary() or "message", ports
    return "UDP", f"len {max(0, (udp.len or 8) - 8)}", ports


def _icmp(_: Any, icmp: Any) -> Described:
    words = _ICMP.get(icmp.type, f"type {icmp.type} code {icmp.code}")
    if icmp.type in (0, 8):
        words += f" id {icmp.id} seq {icmp.seq}"
    elif icmp.type == 3:
        words = f"{UNREACHABLE.get(icmp.code, f'destination (code {icmp.code})')} {words}"
    return "ICMP", words, None


# In this order: an ICMP error carries the beginning of another packet, whose TCP or UDP header must not speak for it.
_DESCRIBED: dict[str, Callable[[Any, Any], Described]] = {"ICMP": _icmp, "TCP": _tcp, "UDP": _udp}


def _ipv6(network: Any, source: str, destination: str) -> Words:
    if network.nh == 58 and len(network.payload):
        kind = bytes(network.payload)[0]
        target = getattr(network.payload, "tgt", None)
        info = _ICMP6.get(kind, f"type {kind}") + (f" {target}" if target else "")
        return Words("ICMPv6", source, destination, info)
    return Words("IPv6", source, destination, f"next header {network.nh}, {len(network.payload)} bytes")


def _payload(network: Any) -> int:
    """Bytes behind the network header, as it says itself: a short frame is padded."""
    if network.name == "IPv6":
        return int(network.plen or 0)
    return int(network.len or 0) - int(network.ihl or 5) * 4
