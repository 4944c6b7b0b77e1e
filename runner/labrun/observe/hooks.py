"""The way of a packet through the hooks, put together from the events of a trace, and held against an author's words.

A way begins where an `enter` of a first hook is seen (trace ids recur, so they alone say nothing), and ends with a
drop, with the last hook left, or nowhere: the kernel says nothing of a packet that routing or a socket refuses. What
leaves on a device and comes in on it again, byte for byte, is one packet that went through `lo`.

A bridge forwards a clone of a frame that more than one is to get (br_handle_frame_finish and br_flood, net/bridge), and
a clone has a trace id of its own. What comes to a later hook under a new id, byte for byte as one packet was last
seen, is a copy of that packet: its way begins where the packet's began.

It refuses to guess why a packet was not seen again. A packet that entered a hook and was not seen to leave it was
dropped by what does not report (iptables-legacy, a queue, conntrack), or a rule ended its tracing: `doubt` says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from ipaddress import ip_address
from typing import Literal

from labrun.logic.compare import Truth
from labrun.protocol.record import dataclass
from labrun.protocol.traces import FIRST_HOOKS, HOOKS, STATION, TraceEvent

Outcome = Literal["accept", "drop", "stolen", "lost"]
DROP = "drop"
_LAST_HOOKS = ("input", "postrouting", "egress")
_LOOKED_BACK = 256  # packets that may be between the two halves of one through lo, or between one and its copy
_LATER = {hook: HOOKS[place + 1 :] for place, hook in enumerate(HOOKS)}
_LINK_FAMILIES = ("netdev", "bridge")  # their events do not name the protocol
_VLAN = ("8100", "88a8")  # IEEE 802.1Q
_ETHERTYPES = {"0800": "ip", "86dd": "ip6", "0806": "arp"}  # iana.org/assignments/ieee-802-numbers
_CARRIERS = (*_VLAN, "9100", "6558", "8847", "8848", "8863", "8864", "894f")  # IP may be inside: tags, MPLS, PPPoE, NSH
_ICMP, _TCP, _UDP, _ICMP6, _SCTP, _UDPLITE = 1, 6, 17, 58, 132, 136  # iana.org/assignments/protocol-numbers
_NAMES = {_ICMP: "icmp", _TCP: "tcp", _UDP: "udp", _ICMP6: "icmpv6", _SCTP: "sctp", _UDPLITE: "udplite"}
_EXTENSIONS = ("0", "43", "44", "51", "60", "135")  # of IPv6, RFC 8200


@dataclass(frozen=True, slots=True)
class Identity:
    """What a packet's headers say. None where a header is not there, as in later fragments."""

    source: str | None = None
    destination: str | None = None
    protocol: str | None = None
    """icmp, tcp, ... or the number. Of what is not IP: arp, or the EtherType in hex."""
    sport: int | None = None
    dport: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    ttl: int | None = None

    def hidden(self) -> frozenset[str]:
        """What its headers have and the kernel did not tell: later fragments of IPv6, what follows on an extension."""
        if self.source is None and self.protocol in (None, "ip", "ip6", *_LINK_FAMILIES, *_CARRIERS):
            return frozenset(self.__slots__)
        if self.protocol in _EXTENSIONS:
            return frozenset(("protocol", "sport", "dport", "icmp_type", "icmp_code"))
        return frozenset()

    def __str__(self) -> str:
        if self.source is None:
            return "a packet without an IP header"
        source, destination = str(self.source), str(self.destination)
        if self.sport is not None:
            source, destination = f"{source} port {self.sport}", f"{destination} port {self.dport}"
        kind = "" if self.icmp_type is None else f" type {self.icmp_type}"
        return f"{self.protocol}{kind} from {source} to {destination}"


@dataclass(frozen=True, slots=True)
class Station:
    """One hook that a packet came to. ``left``: it went through, as far as this hook is concerned."""

    hook: str
    iif: str | None
    oif: str | None
    left: bool

    def __str__(self) -> str:
        if self.hook == "forward" and self.iif and self.oif:
            return f"{self.hook}@{self.iif}>{self.oif}"
        device = self.iif if self.hook in ("ingress", "prerouting", "input") else self.oif
        return f"{self.hook}@{device}" if device else self.hook


@dataclass(frozen=True, slots=True)
class PacketPath:
    """One packet's way."""

    first: Identity
    """As it began; ``last``: as it was last seen, after NAT."""
    last: Identity
    stations: tuple[Station, ...]
    outcome: Outcome
    by: TraceEvent | None
    """The rule or policy that dropped it."""
    lines: tuple[int, ...]
    """Its events, as line numbers of the file, from 1."""
    wall_ns: int
    """When its first event was read."""
    doubt: str | None = None
    """Why more may have become of it than its stations and its outcome tell."""
    part: bool = False
    """It may be a part of another way that is told, and no packet of its own."""

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(str(station) for station in self.stations)

    @property
    def end(self) -> str:
        """How it ended, in words: `dropped at input by inet filter input handle 4 ("no pings")`."""
        where = self.stations[-1].hook if self.stations else "an unknown hook"
        if self.by is not None:
            return f"{'stolen' if self.outcome == 'stolen' else 'dropped'} at {where} by {_decider(self.by)}"
        if self.outcome == "accept":
            return f"accepted at {where}"
        left = bool(self.stations) and self.stations[-1].left
        return f"not seen again after {where}" if left else f"not seen to leave {where}"


def packet_paths(
    events: Iterable[TraceEvent], wanted: Callable[[Identity], bool] | None = None
) -> tuple[PacketPath, ...]:
    """The ways of all packets, or of those whose first headers are ``wanted``, in the order in which they began."""
    ways: list[_Way] = []
    current: dict[int, _Way] = {}
    for line, event in enumerate(events, 1):
        way = current.get(event.id)
        if way is None or way.begins_anew(event):
            way = _continued(event, ways)
            if way is None:
                way = _copied(event, ways) or _Way()
                ways.append(way)
            current[event.id] = way
        way.add(line, event)
    paths = (way.path() for way in ways if not way.became_copies)
    return tuple(path for path in paths if wanted is None or wanted(path.first))


def matches(path: PacketPath, expected: tuple[str, ...]) -> Truth:
    """Did the packet go this way, all of it? See `difference`. None: what was seen fits, and there may be more."""
    if path.doubt is not None and _fits_so_far(path, expected):
        return None
    return difference(path, expected) is None


def difference(path: PacketPath, expected: tuple[str, ...]) -> str | None:
    """A sentence about the first difference; None if there is none.

    ``expected``: every station, as `forward`, `prerouting@eth0` or `forward@eth0>eth1`, where a device that is not
    written may be any. The packet must have gone through the last one, unless a final `drop` says that it was dropped
    there. Raises ValueError for what is not a station.
    """
    drops = bool(expected) and expected[-1] == DROP
    stations = tuple(_parse(text) for text in (expected[:-1] if drops else expected))
    for number, (hook, devices) in enumerate(stations):
        if number == len(path.stations):
            return f"{path.end}; expected {expected[number]} next"
        if not _is(path.stations[number], hook, devices):
            return f"station {number + 1} is {path.stations[number]}, expected {expected[number]}"
    if len(path.stations) > len(stations):
        return f"went on to {path.stations[len(stations)]}, expected {'a drop' if drops else 'the end'} before it"
    if drops:
        return None if path.outcome == "drop" else f"{path.end}; expected a drop there"
    if path.outcome in ("drop", "stolen") or (path.stations and not path.stations[-1].left):
        return f"{path.end}; expected it to go through"
    return None


def ends(path: PacketPath, expected: Outcome) -> Truth:
    """Did its way end so? A packet that was not seen again is lost only if nothing unseen can have become of it."""
    return path.outcome == expected if path.outcome != "lost" or path.doubt is None else None


def _fits_so_far(path: PacketPath, expected: tuple[str, ...]) -> bool:
    """Is there a beginning of what is expected that is all that was seen? Of a way without its beginning, always."""
    if not path.stations or path.stations[0].hook not in FIRST_HOOKS:
        return True
    stations = expected[:-1] if expected[-1:] == (DROP,) else expected
    pairs = zip(path.stations, stations, strict=False)
    return len(path.stations) <= len(stations) and all(_is(station, *_parse(text)) for station, text in pairs)


@dataclasses.dataclass
class _Way:
    """A path in the making."""

    events: list[TraceEvent] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    stations: list[Station] = field(default_factory=list)
    ended: TraceEvent | None = None
    copied_at: int = 0
    """How many stations it had when a copy was made of it."""
    ambiguous: bool = False
    """A copy was seen that may be of this packet or of another."""

    @property
    def became_copies(self) -> bool:
        """Nothing more was seen of it than of its copies: these are the packet."""
        return self.ended is None and 0 < self.copied_at == len(self.stations)

    def may_be_copied_to(self, event: TraceEvent) -> bool:
        """Was it last seen as this event tells of another packet? The kernel does not tell all at every hook."""
        last, seen = self.stations[-1] if self.stations else None, self.header
        if self.ended is not None or last is None or not last.left or event.hook not in _LATER[last.hook]:
            return False
        alike = (seen.network, seen.transport) == (event.network, event.transport)
        told = ((seen.iif, event.iif), (seen.link, event.link))
        return alike and all(None in pair or pair[0] == pair[1] for pair in told)

    def begins_anew(self, event: TraceEvent) -> bool:
        """Is this the same id, and another packet?"""
        if self.ended is not None:
            return True
        if not self.stations:  # traced by a rule of the lab, before it came to a chain of ours
            return False
        before = self.stations[-1].hook
        return event.enters and event.hook in FIRST_HOOKS and not (event.hook == "prerouting" and before == "ingress")

    def add(self, line: int, event: TraceEvent) -> None:
        self.lines.append(line)
        self.events.append(event)
        if event.hook is not None:
            now = self.stations[-1] if self.stations else None
            if now is None or now.hook != event.hook or (event.enters and now.left):
                self.stations.append(Station(event.hook, event.iif_name, event.oif_name, event.leaves))
            else:  # routing may change the device at output, and iif and oif are not in every event
                self.stations[-1] = replace(
                    now, iif=event.iif_name or now.iif, oif=event.oif_name or now.oif, left=now.left or event.leaves
                )
        if event.verdict in ("drop", "stolen"):
            self.ended = event

    @property
    def header(self) -> TraceEvent:
        """The last event with the packet's headers."""
        return next((event for event in reversed(self.events) if event.network is not None), self.events[-1])

    def path(self) -> PacketPath:
        first = next((event for event in self.events if event.network is not None), self.events[0])
        last = self.stations[-1] if self.stations else None
        outcome: Outcome = "lost"
        if self.ended is not None:
            outcome = "drop" if self.ended.verdict == "drop" else "stolen"
        elif last is not None and last.left and last.hook in _LAST_HOOKS:
            outcome = "accept"
        return PacketPath(
            first=identity(first),
            last=identity(self.header),
            stations=tuple(self.stations),
            outcome=outcome,
            by=self.ended,
            lines=tuple(self.lines),
            wall_ns=self.events[0].wall_ns,
            doubt=self._doubt(outcome),
            part=self.ambiguous or not self.begins,
        )

    @property
    def begins(self) -> bool:
        """Was its beginning seen?"""
        return bool(self.stations) and self.stations[0].hook in FIRST_HOOKS

    def _doubt(self, outcome: Outcome) -> str | None:
        if self.ambiguous:
            return "a bridge forwarded a copy of this packet or of another that looks the same"
        if not self.begins:
            return "how it got there was not seen"
        if outcome == "lost" and not self.stations[-1].left:
            where = self.stations[-1].hook
            return f"not seen again after it came to {where}: a drop by something that does not report is possible"
        return None


def _continued(event: TraceEvent, ways: list[_Way]) -> _Way | None:
    """The way that left by the device where this packet comes in, if it is the same packet."""
    if not event.enters or event.hook not in ("ingress", "prerouting") or event.network is None or event.iif is None:
        return None
    for way in reversed(ways[-_LOOKED_BACK:]):
        sent = way.header
        if any(station.hook == "forward" for station in way.stations):
            continue  # bridged from br0 to br0; the copy that this machine itself gets comes in on br0, too
        alike = (sent.oif, sent.network, sent.transport) == (event.iif, event.network, event.transport)
        last = way.stations[-1] if way.stations else None
        if alike and way.ended is None and last is not None and last.left and last.hook in ("postrouting", "egress"):
            return way
    return None


def _copied(event: TraceEvent, ways: list[_Way]) -> _Way | None:
    """The beginning of the packet whose copy a bridge forwards here, as a way of its own."""
    if not event.enters or event.hook in FIRST_HOOKS or event.network is None:
        return None
    alike = [way for way in ways[-_LOOKED_BACK:] if way.may_be_copied_to(event)]
    if len(alike) != 1:
        for way in alike:
            way.ambiguous = True
        return _Way(ambiguous=True) if alike else None
    (way,) = alike
    way.copied_at = len(way.stations)
    return _Way([*way.events], [*way.lines], [*way.stations])


def _protocol(event: TraceEvent) -> str | None:
    """What the packet is, in words of `ip`, `ip6`, `arp`. Events of netdev and bridge tables do not name it.

    The kernel tells a transport header only of IP that it could parse (nf_trace_fill_pkt_info, nf_tables_trace.c); a
    packet on its way out has no link header there.
    """
    if event.protocol not in _LINK_FAMILIES:
        return event.protocol
    link, network = event.link or "", event.network or ""
    if event.transport and network[:1] in ("4", "6"):
        return "ip" if network[0] == "4" else "ip6"
    kind = link[32:36] if link[24:28] in _VLAN else link[24:28]
    return _ETHERTYPES.get(kind, kind) or event.protocol


def identity(event: TraceEvent) -> Identity:
    """What the headers in an event say (RFC 791, 8200, 9293, 768, 792, 4443)."""
    network, transport = bytes.fromhex(event.network or ""), bytes.fromhex(event.transport or "")
    protocol = _protocol(event)
    if protocol == "ip" and len(network) >= 20:
        number, ttl, later = network[9], network[8], int.from_bytes(network[6:8]) & 0x1FFF
        source, destination = ip_address(network[12:16]), ip_address(network[16:20])
    elif protocol == "ip6" and len(network) >= 40:
        number, ttl, later = network[6], network[7], 0
        source, destination = ip_address(network[8:24]), ip_address(network[24:40])
    else:
        return Identity(protocol=protocol)
    found = Identity(str(source), str(destination), _NAMES.get(number, str(number)), ttl=ttl)
    if later or len(transport) < 4:
        return found
    if number in (_TCP, _UDP, _SCTP, _UDPLITE):
        ports = int.from_bytes(transport[:2]), int.from_bytes(transport[2:4])
        return replace(found, sport=ports[0], dport=ports[1])
    if number in (_ICMP, _ICMP6):
        return replace(found, icmp_type=transport[0], icmp_code=transport[1])
    return found


def _parse(text: str) -> tuple[str, tuple[str, ...]]:
    match = STATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a station: {text!r}; write a hook, as `forward` or `prerouting@eth0`")
    return match[1], tuple(device for device in match.group(2, 3) if device is not None)


def _is(station: Station, hook: str, devices: tuple[str, ...]) -> bool:
    if station.hook != hook:
        return False
    if len(devices) == 2:
        return devices == (station.iif, station.oif)
    if devices and hook == "forward":
        return devices[0] in (station.iif, station.oif)
    return not devices or str(station) == f"{hook}@{devices[0]}"


def _decider(event: TraceEvent) -> str:
    what = "the policy" if event.rule is None else f"handle {event.rule}"
    comment = f' ("{event.comment}")' if event.comment else ""
    return f"{event.family} {event.table} {event.chain} {what}{comment}"
