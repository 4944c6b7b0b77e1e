"""Every field that a lab can ask for: Wireshark's name, its type, what it means, and how it is read.

Names, types and meanings are Wireshark's (`tshark -G fields`), so what a reader knows from there is true here; the
tests hold every field against tshark. Where Linux and Wireshark differ, Linux wins: VXLAN on port 8472 is VXLAN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from labrun.packets.dissect import dhcp, dns, tcp
from labrun.packets.dissect.layer import (
    Bits,
    Cut,
    Reader,
    Spotted,
    Value,
    address,
    both,
    flag,
    ip_length,
    ipv4_text,
    ipv6_text,
    mac_text,
    number,
    where,
    words,
)
from labrun.protocol.record import dataclass

Kind = Literal["int", "bool", "text", "mac", "ipv4", "ipv6"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field by Wireshark's name. It has as many values as the packet has such headers, or more."""

    name: str
    kind: Kind
    protocol: str
    about: str
    read: Reader | None
    """None: not from the header's bytes alone: of the whole frame (frame.*), or the status of a checksum."""
    bits: Bits | None = None
    """Where it stands, if that is at a fixed place of its header and it exists in every such header."""
    also: str = ""
    """Another protocol whose headers have it at the same place."""
    quoted: bool = True
    """Does Wireshark show it of a packet that an ICMP error quotes?"""
    place: Bits | None = None
    """Where it stands in those headers that have it, if that is not what ``bits`` says."""

    def spots(self, data: bytes, start: int, end: int) -> Iterator[tuple[Value, int, int]]:
        """Its values in a header, each with the place of its bytes [begin, end) in the packet.

        None of a field that repeats others (ip.addr), that is counted (tcp.len), or that is not of the bytes (frame.*).
        """
        place = self.bits or self.place
        if self.read is None or (place is None and not isinstance(self.read, Spotted)):
            return
        if isinstance(self.read, Spotted):
            found = self.read.spots(data, start, end)
            yield from ((value, begin, stop) for value, begin, stop in found if not isinstance(value, Cut))
            return
        assert place is not None
        begin = start + place.at
        values = self.read(data, start, end)
        yield from ((value, begin, begin + place.size) for value in values if not isinstance(value, Cut))


FIELDS: dict[str, Field] = {}
_FORMS: dict[str, tuple[Callable[[bytes], str], int]] = {
    "mac": (mac_text, 6), "ipv4": (ipv4_text, 4), "ipv6": (ipv6_text, 16),
}  # fmt: skip


def _add(protocol: str, name: str, kind: Kind, about: str, read: Reader | None, bits: Bits | None = None,
         place: Bits | None = None) -> None:  # fmt: skip
    FIELDS[name] = Field(name, kind, protocol, about, read, bits, place=place)


def _int(name: str, about: str, at: int, size: int, mask: int = 0xFFFFFFFF, shift: int = 0) -> None:
    bits = Bits(at, size, shift, mask)
    _add(name.partition(".")[0], name, "int", about, number(bits), bits)


def _flag(name: str, about: str, at: int, mask: int) -> None:
    bits = Bits(at, 1, 0, mask)
    _add(name.partition(".")[0], name, "bool", about, flag(bits), bits)


def _address(name: str, kind: Literal["mac", "ipv4", "ipv6"], about: str, at: int) -> None:
    form, size = _FORMS[kind]
    _add(name.partition(".")[0], name, kind, about, address(at, form, size), Bits(at, size))


def _either(name: str, about: str, *parts: str) -> None:
    readers = [reader for part in parts if (reader := FIELDS[part].read) is not None]
    _add(name.partition(".")[0], name, FIELDS[parts[0]].kind, about, both(*readers))


def _only(condition: Bits, accepted: set[int], name: str, kind: Kind, about: str, place: Bits) -> None:
    readers = {"int": number(place), "bool": flag(place)}
    read = readers[kind] if kind in readers else address(place.at, *_FORMS[kind])
    _add(name.partition(".")[0], name, kind, about, where(condition, frozenset(accepted), read), place=place)


_add("frame", "frame.len", "int", "length on the wire, bytes", None)
_add("frame", "frame.cap_len", "int", "length that was captured, bytes", None)
_add("frame", "frame.interface_name", "text", "interface that it was captured on", None)

_address("eth.dst", "mac", "destination MAC address", 0)
_address("eth.src", "mac", "source MAC address", 6)
_either("eth.addr", "source or destination MAC address", "eth.src", "eth.dst")
_TYPE = Bits(12, 2)
_only(_TYPE, set(range(0x600, 0x10000)), "eth.type", "int", "EtherType; absent in frames with a length", _TYPE)

_int("vlan.priority", "VLAN priority (PCP)", 0, 2, 7, 13)
_int("vlan.id", "VLAN number of an 802.1Q tag", 0, 2, 0xFFF)
_int("vlan.etype", "EtherType behind an 802.1Q tag", 2, 2)
_int("ieee8021ad.id", "VLAN number of an 802.1ad (service) tag", 0, 2, 0xFFF)

_int("arp.hw.type", "kind of hardware: 1 Ethernet", 0, 2)
_int("arp.proto.type", "EtherType of the addresses: 0x0800 IPv4", 2, 2)
_int("arp.hw.size", "length of a hardware address, bytes", 4, 1)
_int("arp.proto.size", "length of a protocol address, bytes", 5, 1)
_int("arp.opcode", "operation: 1 request, 2 reply", 6, 2)


def _arp(name: str, kind: Literal["mac", "ipv4"], about: str, at: int) -> None:
    """Places in an ARP packet of Ethernet and IPv4. Others are rare enough to have none of these fields."""
    _only(Bits(0, 6, 0, (1 << 48) - 1), {0x0001_0800_0604}, name, kind, about, Bits(at, _FORMS[kind][1]))


_arp("arp.src.hw_mac", "mac", "MAC address of the sender", 8)
_arp("arp.src.proto_ipv4", "ipv4", "IP address of the sender", 14)
_arp("arp.dst.hw_mac", "mac", "MAC address of the target; zero in a request", 18)
_arp("arp.dst.proto_ipv4", "ipv4", "IP address of the target", 24)

_int("ip.version", "version; 6 in an IPv6 header", 0, 1, 15, 4)
FIELDS["ip.version"] = replace(FIELDS["ip.version"], also="ipv6")
_add("ip", "ip.hdr_len", "int", "length of the IPv4 header, bytes", words(Bits(0, 1, 0, 15)), place=Bits(0, 1))
_int("ip.dsfield", "DSCP and ECN together", 1, 1)
_int("ip.dsfield.dscp", "differentiated services codepoint", 1, 1, 63, 2)
_int("ip.dsfield.ecn", "explicit congestion notification", 1, 1, 3)
_add("ip", "ip.len", "int", "length with the header, bytes", ip_length, place=Bits(2, 2))
_int("ip.id", "identification; the same in all fragments of a packet", 4, 2)
_int("ip.flags", "reserved bit, DF and MF together", 6, 1, 7, 5)
_flag("ip.flags.df", "don't fragment", 6, 0x40)
_flag("ip.flags.mf", "more fragments follow", 6, 0x20)
_add("ip", "ip.frag_offset", "int", "place of this fragment", number(Bits(6, 2, 0, 0x1FFF)), place=Bits(6, 2))
_int("ip.ttl", "time to live, hops", 8, 1)
_int("ip.proto", "protocol number of the payload: 1 ICMP, 6 TCP, 17 UDP", 9, 1)
_int("ip.checksum", "checksum of the header", 10, 2)
_address("ip.src", "ipv4", "source address", 12)
_address("ip.dst", "ipv4", "destination address", 16)
_either("ip.addr", "source or destination address", "ip.src", "ip.dst")

_int("ipv6.version", "version, 6", 0, 1, 15, 4)
_int("ipv6.tclass", "traffic class", 0, 4, 0xFF, 20)
_int("ipv6.flow", "flow label", 0, 4, 0xFFFFF)
_int("ipv6.plen", "length of the payload, bytes", 4, 2)
_int("ipv6.nxt", "number of the next header: 6 TCP, 17 UDP, 58 ICMPv6", 6, 1)
_int("ipv6.hlim", "hop limit", 7, 1)
_address("ipv6.src", "ipv6", "source address", 8)
_address("ipv6.dst", "ipv6", "destination address", 24)
_either("ipv6.addr", "source or destination address", "ipv6.src", "ipv6.dst")

_int("icmp.type", "type: 0 echo reply, 3 unreachable, 8 echo request, 11 time exceeded", 0, 1)
_int("icmp.code", "code: what the type means closer", 1, 1)
_int("icmp.checksum", "checksum", 2, 2)
_KIND, _KIND_AND_CODE = Bits(0, 1), Bits(0, 2)
_QUERIES = {0, 8, 13, 14, 15, 16, 17, 18}
_only(_KIND, _QUERIES, "icmp.ident", "int", "identifier of an echo or another query", Bits(4, 2))
_only(_KIND, _QUERIES, "icmp.seq", "int", "sequence number of an echo or another query", Bits(6, 2))
_only(_KIND_AND_CODE, {0x0304}, "icmp.mtu", "int", "MTU of the next hop, in 'fragmentation needed'", Bits(6, 2))
_only(_KIND, {5}, "icmp.redir_gw", "ipv4", "gateway that a redirect names", Bits(4, 4))

_int("icmpv6.type", "type: 1 unreachable, 2 too big, 128 echo request, 135 neighbour solicitation", 0, 1)
_int("icmpv6.code", "code: what the type means closer", 1, 1)
_int("icmpv6.checksum", "checksum", 2, 2)
_only(_KIND, {128, 129}, "icmpv6.echo.identifier", "int", "identifier of an echo", Bits(4, 2))
_only(_KIND, {128, 129}, "icmpv6.echo.sequence_number", "int", "sequence number of an echo", Bits(6, 2))
_only(_KIND, {2}, "icmpv6.mtu", "int", "MTU of the next hop, in 'packet too big'", Bits(4, 4))
_only(_KIND, {134}, "icmpv6.nd.ra.router_lifetime", "int", "how long it is a default router, s", Bits(6, 2))
_TARGET = Bits(8, 16)
_only(_KIND, {135}, "icmpv6.nd.ns.target_address", "ipv6", "address that a solicitation asks for", _TARGET)
_only(_KIND, {136}, "icmpv6.nd.na.target_address", "ipv6", "address that an advertisement is about", _TARGET)
_only(_KIND, {136}, "icmpv6.nd.na.flag.s", "bool", "answers a solicitation", Bits(4, 1, 0, 0x40))
_only(_KIND, {137}, "icmpv6.nd.rd.target_address", "ipv6", "better first hop, in a redirect", _TARGET)

_int("tcp.srcport", "source port", 0, 2)
_int("tcp.dstport", "destination port", 2, 2)
_either("tcp.port", "source or destination port", "tcp.srcport", "tcp.dstport")
_int("tcp.seq_raw", "sequence number as it is on the wire", 4, 4)
_int("tcp.ack_raw", "acknowledgment number as it is on the wire", 8, 4)
_add("tcp", "tcp.hdr_len", "int", "length of the TCP header, bytes", words(Bits(12, 1, 4, 15)), place=Bits(12, 1))
_int("tcp.flags", "all flags together, with the reserved bits", 12, 2, 0xFFF)
for _mask, _name, _about in (
    (0x01, "fin", "no more data"),
    (0x02, "syn", "opens a connection"),
    (0x04, "reset", "refuses or breaks a connection"),
    (0x08, "push", "give the data to the application"),
    (0x10, "ack", "the acknowledgment number counts"),
    (0x20, "urg", "the urgent pointer counts"),
    (0x40, "ece", "ECN echo"),
    (0x80, "cwr", "congestion window reduced"),
):
    _flag(f"tcp.flags.{_name}", _about, 13, _mask)
_int("tcp.checksum", "checksum; not yet right where the device computes it", 16, 2)
_int("tcp.urgent_pointer", "where urgent data ends", 18, 2)
_int("tcp.window_size_value", "window as it is on the wire, not scaled", 14, 2)
_about = "checksum: 0 wrong, 1 right, 2 not filled in yet or not all there, 3 none, 4 none where one must be"
for _name in ("ip", "tcp", "udp", "icmp", "icmpv6"):
    _add(_name, f"{_name}.checksum.status", "int", _about, None)
_add("tcp", "tcp.len", "int", "length of the payload, bytes", tcp.payload_length)
for _name in ("tcp.seq_raw", "tcp.len"):
    FIELDS[_name] = replace(FIELDS[_name], quoted=False)
_add("tcp", "tcp.options.mss_val", "int", "maximum segment size that is offered, bytes", tcp.mss)

_int("udp.srcport", "source port", 0, 2)
_int("udp.dstport", "destination port", 2, 2)
_either("udp.port", "source or destination port", "udp.srcport", "udp.dstport")
_int("udp.length", "length with the UDP header, bytes", 4, 2)

_int("udp.checksum", "checksum; not yet right where the device computes it", 6, 2)

_int("vxlan.vni", "VXLAN network identifier", 4, 3)
_int("gre.proto", "EtherType of what GRE carries", 2, 2)

_int("dns.id", "transaction", 0, 2)
_flag("dns.flags.response", "an answer, not a question", 2, 0x80)
_RESPONSE = Bits(2, 1, 7, 1)
_only(_RESPONSE, {1}, "dns.flags.rcode", "int", "0 no error, 3 no such name; in answers", Bits(3, 1, 0, 15))
_int("dns.count.queries", "questions", 4, 2)
_int("dns.count.answers", "answer records", 6, 2)
for _name, _kind, _about in (
    ("qry.name", "text", "name that is asked for"),
    ("qry.type", "int", "type that is asked for: 1 A, 28 AAAA"),
    ("resp.name", "text", "name of a record"),
    ("resp.type", "int", "type of a record"),
    ("resp.ttl", "int", "how long a record may be kept, s"),
    ("a", "ipv4", "address in an A record"),
    ("aaaa", "ipv6", "address in an AAAA record"),
    ("cname", "text", "name in a CNAME record"),
):
    _add("dns", f"dns.{_name}", _kind, _about, dns.of_records(_name))  # type: ignore[arg-type]

_int("dhcp.type", "1 from a client, 2 from a server", 0, 1)
_int("dhcp.id", "transaction", 4, 4)
_address("dhcp.ip.client", "ipv4", "address that the client has", 12)
_address("dhcp.ip.your", "ipv4", "address that the client is given", 16)
_only(Bits(1, 2), {0x0106}, "dhcp.hw.mac_addr", "mac", "MAC address of the client", Bits(28, 6))
_add("dhcp", "dhcp.option.dhcp", "int", "1 discover, 2 offer, 3 request, 5 ACK, 6 NAK", dhcp.option_number(53, 1))
_add("dhcp", "dhcp.option.requested_ip_address", "ipv4", "address that is asked for", dhcp.option_addresses(50))
_add("dhcp", "dhcp.option.dhcp_server_id", "ipv4", "the server", dhcp.option_addresses(54))
_add("dhcp", "dhcp.option.subnet_mask", "ipv4", "mask of the network", dhcp.option_addresses(1))
_add("dhcp", "dhcp.option.router", "ipv4", "default routers", dhcp.option_addresses(3, several=True))
_add("dhcp", "dhcp.option.domain_name_server", "ipv4", "DNS servers", dhcp.option_addresses(6, several=True))
_add("dhcp", "dhcp.option.ip_address_lease_time", "int", "how long the address is lent, s", dhcp.option_number(51, 4))
_add("dhcp", "dhcp.option.hostname", "text", "name of the client", dhcp.option_text(12))
