"""The kernel's small numbers and iproute2's words for them, both ways.

Only what iproute2 names without reading /etc/iproute2: a lab means the same on every host.
"""

from __future__ import annotations

import errno
import ipaddress
import socket

from labrun.agent.rtnetlink import refused

FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
# include/uapi/linux/rtnetlink.h: RTN_*
ROUTE_TYPES = {
    0: "unspec", 1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole",
    7: "unreachable", 8: "prohibit", 9: "throw", 10: "nat", 11: "xresolve",
}  # fmt: skip
# include/uapi/linux/neighbour.h: NUD_*
NEIGHBOUR_STATES = {
    0x00: "NONE", 0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE", 0x20: "FAILED",
    0x40: "NOARP", 0x80: "PERMANENT",
}  # fmt: skip
# include/uapi/linux/fib_rules.h: FR_ACT_*
RULE_ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}


def number(word: str, names: dict[int, str], what: str) -> int:
    """The number of ``word``, which may be one already; KernelRefused(EINVAL) for a word that nobody knows."""
    for value, name in names.items():
        if name.lower() == word.lower():
            return value
    try:
        value = int(word, 0)
    except ValueError:
        known = ", ".join(name.lower() for name in names.values())
        raise refused(errno.EINVAL, f"{word!r} is no {what}; known are {known}") from None
    if not 0 <= value <= 0xFFFFFFFF:
        raise refused(errno.EINVAL, f"{word!r} is no {what}")
    return value


def parse_address(text: str) -> tuple[int, str]:
    """(address family, canonical text) of an IPv4 or IPv6 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise refused(errno.EINVAL, f"{text!r} is no IP address") from None
    return (socket.AF_INET if address.version == 4 else socket.AF_INET6), str(address)


def parse_prefix(text: str) -> tuple[int, str, int, bool]:
    """(family, address, prefix length, was the length written?). Host bits stay: the kernel judges them."""
    head, slash, tail = text.partition("/")
    family, address = parse_address(head)
    bits = 32 if family == socket.AF_INET else 128
    if not slash:
        return family, address, bits, False
    if not tail.isascii() or not tail.isdigit() or int(tail) > bits:
        raise refused(errno.EINVAL, f"{text!r} has no prefix length from 0 to {bits}")
    return family, address, int(tail), True
