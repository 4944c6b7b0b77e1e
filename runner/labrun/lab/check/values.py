"""How values of kernel state and of traced packets are written: closed words, addresses as the kernel prints them.

A value that is written otherwise can never be equal, and "there is none" would always be true: an error of the lab,
told with what is right.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import re
from collections.abc import Callable, Mapping

from labrun.logic.suggest import did_you_mean
from labrun.protocol.record import dataclass
from labrun.protocol.words import IP_PROTOCOLS, PROTOCOLS, SCOPES, TABLES

Form = Callable[[str], str | None]
"""What is wrong with a value, in words; None if it can be."""


def misfit(kind: str, field: str, value: str) -> str | None:
    """``kind``: links, addresses, ..., or trace. None for fields whose values are anybody's."""
    form = _FORMS.get((kind, field))
    wrong = form(value) if form is not None else None
    return None if wrong is None else f"{field}: {wrong}"


def only_one_way(kind: str, field: str, operator: str, expected: object) -> str | None:
    """Why this comparison has the same outcome for all values that the field can have; None if it may have either."""
    if (kind, field) in _OBJECTS:
        return f"{field} is a list of objects, which no text is like: compare it with changes, or ask ip -json"
    if isinstance(expected, str) and operator in ("contains", "lacks", "matches"):
        return _of_text(kind, field, operator, expected)
    return _of_numbers(field, operator, expected if isinstance(expected, tuple) else (expected,))


def _of_text(kind: str, field: str, operator: str, expected: str) -> str | None:
    items = _LISTS.get((kind, field))
    if items is not None:
        wrong = items(expected)
        return None if wrong is None else f"{field}: {wrong.replace('can never be equal', 'is never one of them')}"
    form = _FORMS.get((kind, field))
    if not isinstance(form, _Words):
        return None
    found = [re.search(expected, word) if operator == "matches" else expected in word for word in form.words]
    if any(found) and (not all(found) or (kind, field) in _MAY_BE_ABSENT):
        return None
    verb = "matches" if operator == "matches" else "contains"
    return f"{'every' if all(found) else 'no'} {field} {verb} {expected!r}: they are {', '.join(form.words)}"


def _of_numbers(field: str, operator: str, expected: tuple[object, ...]) -> str | None:
    least, most = _RANGES.get(field, (0, math.inf))
    for value in expected:
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        few = (operator in ("equals", "one_of", "le") and value < least) or (operator == "lt" and value <= least)
        many = (operator in ("equals", "one_of", "ge") and value > most) or (operator == "gt" and value >= most)
        if few or many:
            return f"{field} is never {value if operator in ('equals', 'one_of') else f'{operator} {value}'}"
    return None


def errno_misfit(value: str) -> str | None:
    return _one_of(*sorted({*errno.errorcode.values(), "EOPNOTSUPP", "EAGAIN", "EDEADLK", "none"}))(value)


@dataclass(frozen=True, slots=True)
class _Words:
    """One of these words."""

    words: tuple[str, ...]

    def __call__(self, value: str) -> str | None:
        if value in self.words:
            return None
        same = next((word for word in self.words if word.lower() == value.lower()), None)
        hint = f" It is written {same}." if same else did_you_mean(value, self.words)
        return f"{value!r} can never be equal.{hint}"


def _one_of(*words: str) -> _Words:
    return _Words(words)


def _address(value: str) -> str | None:
    if "/" in value:
        return f"{value!r} has a prefix length, and this is the address alone: {value.partition('/')[0]}"
    try:
        canonical = str(ipaddress.ip_address(value))
    except ValueError:
        return f"{value!r} is not an IP address"
    return None if canonical == value else f"{value!r} is written {canonical}"


def _hardware(value: str) -> str | None:
    if re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})+", value):
        return None if value == value.lower() else f"{value!r} is written {value.lower()}"
    return None if _address(value) is None else f"{value!r} is not a MAC address such as 02:00:00:00:00:01"


def _destination(everything: str) -> Form:
    """A prefix, an address for a host alone, or the word for all."""

    def check(value: str) -> str | None:
        if value == everything:
            return None
        try:
            interface = ipaddress.ip_interface(value)
        except ValueError:
            return f"{value!r} is neither {everything}, an address, nor a prefix"
        network = interface.network
        if network.prefixlen == 0:
            right = everything
        elif network.prefixlen == network.max_prefixlen:
            right = str(network.network_address)
        else:
            right = str(network)
        return None if right == value else f"{value!r} is written {right}"

    return check


def _name(value: str) -> str | None:
    """Of an interface (IFNAMSIZ) or a process (TASK_COMM_LEN)."""
    size = len(value.encode())
    return None if size <= 15 else f"{value!r} has {size} bytes, and the kernel keeps 15 of a name at most"


def _numbered(names: Mapping[int, str], most: int, *words: str) -> Form:
    """A name, or a number that has none."""
    known = _one_of(*names.values(), *words)

    def check(value: str) -> str | None:
        if not value.isdecimal():
            return known(value)
        number = int(value)
        if number > most:
            return f"{value!r} can never be equal: the numbers are 0 to {most}"
        right = names.get(number, str(number))
        return None if right == value else f"{value!r} is written {right}"

    return check


_SCOPE, _TABLE, _ORIGIN = _numbered(SCOPES, 255), _numbered(TABLES, 0xFFFFFFFF), _numbered(PROTOCOLS, 255)
_FAMILY = _one_of("inet", "inet6")
_TCP = ("LISTEN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
        "LAST_ACK", "CLOSING", "UNCONNECTED")  # fmt: skip
_HOOK = _one_of("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")
_NFT_FAMILY = _one_of("ip", "ip6", "inet", "arp", "bridge", "netdev")
_PROTOCOL = _numbered({1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}, 255, "arp")
_IP_PROTOCOL = _numbered(IP_PROTOCOLS, 255)
_FORMS: dict[tuple[str, str], Form] = {
    **dict.fromkeys((("links", name) for name in ("name", "master", "link", "peer")), _name),
    **dict.fromkeys(((kind, "dev") for kind in ("addresses", "routes", "neighbours", "sockets", "counters")), _name),
    **dict.fromkeys((("rules", "iif"), ("rules", "oif"), ("sockets", "process")), _name),
    ("links", "operstate"): _one_of("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"),
    ("links", "address"): _hardware,
    ("addresses", "family"): _FAMILY,
    ("addresses", "address"): _address,
    ("addresses", "peer"): _address,
    ("addresses", "broadcast"): _address,
    ("addresses", "scope"): _SCOPE,
    ("routes", "family"): _FAMILY,
    ("routes", "dst"): _destination("default"),
    ("routes", "type"): _one_of(
        "unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit",
        "throw", "nat", "xresolve",
    ),
    ("routes", "scope"): _SCOPE,
    ("routes", "table"): _TABLE,
    ("routes", "protocol"): _ORIGIN,
    ("routes", "gateway"): _address,
    ("routes", "src"): _address,
    ("routes", "source"): _destination("all"),
    ("routes", "pref"): _one_of("low", "medium", "high"),
    ("rules", "family"): _FAMILY,
    ("rules", "source"): _destination("all"),
    ("rules", "table"): _TABLE,
    ("rules", "protocol"): _ORIGIN,
    ("rules", "to"): _destination("all"),
    ("rules", "ipproto"): _IP_PROTOCOL,
    ("rules", "action"): _one_of("lookup", "goto", "nop", "blackhole", "unreachable", "prohibit"),
    ("neighbours", "family"): _FAMILY,
    ("neighbours", "address"): _address,
    ("neighbours", "state"): _one_of(
        "NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "NOARP", "PERMANENT"
    ),
    ("neighbours", "lladdr"): _hardware,
    ("sockets", "protocol"): _one_of("tcp", "udp", "udplite", "icmp", "raw", "packet"),
    ("sockets", "family"): _one_of("inet", "inet6", "packet"),
    ("sockets", "state"): _one_of(*_TCP),
    ("sockets", "address"): _address,
    ("sockets", "remote_address"): _address,
    ("nft", "family"): _NFT_FAMILY,
    ("nft", "hook"): _HOOK,
    ("nft_counters", "family"): _NFT_FAMILY,
    ("trace", "source"): _address,
    ("trace", "destination"): _address,
    ("trace", "protocol"): _PROTOCOL,
}  # fmt: skip
_LISTS: dict[tuple[str, str], Form] = {
    ("links", "flags"): _one_of(
        "NO-CARRIER", "LOOPBACK", "BROADCAST", "POINTOPOINT", "MULTICAST", "NOARP", "ALLMULTI", "PROMISC", "MASTER",
        "SLAVE", "DEBUG", "DYNAMIC", "AUTOMEDIA", "PORTSEL", "NOTRAILERS", "UP", "LOWER_UP", "DORMANT", "ECHO",
    ),
    ("addresses", "flags"): _one_of(
        "permanent", "nodad", "optimistic", "dadfailed", "home", "deprecated", "tentative", "mngtmpaddr",
        "noprefixroute", "autojoin", "stable-privacy", "secondary", "temporary",
    ),
    ("routes", "flags"): _one_of("dead", "pervasive", "onlink", "offload", "linkdown", "unresolved"),
    ("routes", "features"): _one_of("ecn", "sack", "timestamp", "allfrag", "tcp_usec_ts"),
    ("routes", "locked"): _one_of(
        "mtu", "window", "rtt", "rttvar", "ssthresh", "cwnd", "advmss", "reordering", "hoplimit", "initcwnd",
        "features", "rto_min", "initrwnd", "quickack", "congctl", "fastopen_no_cookie",
    ),
    ("rules", "flags"): _one_of("unresolved", "iif_detached", "oif_detached"),
    ("neighbours", "flags"): _one_of("use", "self", "master", "proxy", "extern_learn", "router"),
}  # fmt: skip
_OBJECTS = {("routes", "nexthops")}
_MAY_BE_ABSENT = {("routes", "pref"), ("nft", "hook")}  # to match every word is to be there
_PORT = (0, 65535)
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("port", "remote_port", "sport", "sport_start", "sport_end", "dport"), _PORT),
    **dict.fromkeys(("dport_start", "dport_end"), _PORT),
    **dict.fromkeys(("icmp_type", "icmp_code", "ttl", "tos", "hoplimit"), (0, 255)),
    **dict.fromkeys(("prefixlen", "suppress_prefixlen"), (0, 128)),
    "dscp": (0, 63), "flowlabel": (0, 0xFFFFF), "index": (1, math.inf),
}  # fmt: skip
"""By field. Others are not negative."""
