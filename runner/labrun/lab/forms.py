"""How values of kernel state and of traced packets are written: closed words, addresses as the kernel prints them.

A value that is written otherwise can never be equal, and "there is none" would always be true: an error of the lab,
told with what is right.
"""

from __future__ import annotations

import errno
import ipaddress
import re
from collections.abc import Callable

from labrun.lab.problems import did_you_mean

Form = Callable[[str], str | None]
"""What is wrong with a value, in words; None if it can be."""


def misfit(kind: str, field: str, value: str) -> str | None:
    """``kind``: links, addresses, ..., or trace. None for fields whose values are anybody's."""
    form = _FORMS.get((kind, field))
    wrong = form(value) if form is not None else None
    return None if wrong is None else f"{field}: {wrong}"


def errno_misfit(value: str) -> str | None:
    return _one_of(*sorted({*errno.errorcode.values(), "EOPNOTSUPP", "EAGAIN", "EDEADLK", "none"}))(value)


def _one_of(*words: str) -> Form:
    def check(value: str) -> str | None:
        if value in words:
            return None
        same = next((word for word in words if word.lower() == value.lower()), None)
        return f"{value!r} can never be equal." + (f" It is written {same}." if same else did_you_mean(value, words))

    return check


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


def _protocol(names: dict[int, str], *words: str) -> Form:
    """A name, or the number of a protocol that has none here."""
    known = _one_of(*names.values(), *words)

    def check(value: str) -> str | None:
        if not value.isdecimal():
            return known(value)
        number = int(value)
        if number > 255:
            return f"{value!r} can never be equal: there are protocols from 0 to 255"
        right = names.get(number, str(number))
        return None if right == value else f"{value!r} is written {right}"

    return check


_FAMILY = _one_of("inet", "inet6")
_SCOPE = _one_of("global", "site", "link", "host", "nowhere")
_TCP = ("LISTEN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
        "LAST_ACK", "CLOSING", "UNCONNECTED")  # fmt: skip
_HOOK = _one_of("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")
_NFT_FAMILY = _one_of("ip", "ip6", "inet", "arp", "bridge", "netdev")
_PROTOCOL = _protocol({1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}, "arp")
_IP_PROTOCOL = _protocol({
    1: "icmp", 2: "igmp", 4: "ipencap", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
    58: "ipv6-icmp", 132: "sctp", 136: "udplite",
})  # fmt: skip
_FORMS: dict[tuple[str, str], Form] = {
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
    ("routes", "gateway"): _address,
    ("routes", "src"): _address,
    ("routes", "source"): _destination("all"),
    ("routes", "pref"): _one_of("low", "medium", "high"),
    ("rules", "family"): _FAMILY,
    ("rules", "source"): _destination("all"),
    ("rules", "to"): _destination("all"),
    ("rules", "ipproto"): _IP_PROTOCOL,
    ("rules", "action"): _one_of("lookup", "goto", "nop", "blackhole", "unreachable", "prohibit"),
    ("neighbours", "family"): _FAMILY,
    ("neighbours", "address"): _address,
    ("neighbours", "state"): _one_of(
        "NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "NOARP", "PERMANENT"
    ),
    ("neighbours", "lladdr"): _hardware,
    ("sockets", "protocol"): _one_of("tcp", "udp", "udplite", "raw", "packet"),
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
