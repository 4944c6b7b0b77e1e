"""Routes of all tables and rules, as the kernel lists them over rtnetlink, typed and sorted.

Cached routes (path MTU exceptions) are no routes of a table, and are left out, as `ip route` does.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from labrun.agent.incoming import RouteAnswer, RuleAnswer
from labrun.agent.link_state import flag_names
from labrun.agent.names import FAMILIES, ROUTE_TYPES, RULE_ACTIONS
from labrun.agent.outgoing import RouteMessage, RuleMessage
from labrun.agent.routes import RTM_GETROUTE, RTM_GETRULE
from labrun.agent.rtnetlink import Rtnetlink
from labrun.protocol.state import NextHop, RouteState, RuleState
from labrun.protocol.words import IP_PROTOCOLS, PROTOCOLS, SCOPES, TABLES

RTM_F_CLONED = 0x200
# include/uapi/linux/rtnetlink.h: RTNH_F_*
ROUTE_FLAGS = ((1, "dead"), (2, "pervasive"), (4, "onlink"), (8, "offload"), (16, "linkdown"), (32, "unresolved"))
# The metrics: RTAX_*, and ip's word for each (iproute2, ip/iproute.c: mx_names[]). RTT is kept in eighths, RTTVAR in
# quarters of a millisecond.
METRICS = (
    ("RTAX_MTU", "mtu"), ("RTAX_WINDOW", "window"), ("RTAX_RTT", "rtt"), ("RTAX_RTTVAR", "rttvar"),
    ("RTAX_SSTHRESH", "ssthresh"), ("RTAX_CWND", "cwnd"), ("RTAX_ADVMSS", "advmss"), ("RTAX_REORDERING", "reordering"),
    ("RTAX_HOPLIMIT", "hoplimit"), ("RTAX_INITCWND", "initcwnd"), ("RTAX_FEATURES", "features"),
    ("RTAX_RTO_MIN", "rto_min"), ("RTAX_INITRWND", "initrwnd"), ("RTAX_QUICKACK", "quickack"),
    ("RTAX_CC_ALGO", "congctl"), ("RTAX_FASTOPEN_NO_COOKIE", "fastopen_no_cookie"),
)  # fmt: skip
SHARES = {"rtt": 8, "rttvar": 4}
FEATURES = ((1, "ecn"), (2, "sack"), (4, "timestamp"), (8, "allfrag"), (16, "tcp_usec_ts"))  # RTAX_FEATURE_*
NO_HOPLIMIT = 0xFFFFFFFF
PREFERENCES = {0: "medium", 1: "high", 3: "low"}  # include/uapi/linux/icmpv6.h: ICMPV6_ROUTER_PREF_*
# include/uapi/linux/lwtunnel.h: LWTUNNEL_ENCAP_*
ENCAPSULATIONS = {
    1: "mpls", 2: "ip", 3: "ila", 4: "ip6", 5: "seg6", 6: "bpf", 7: "seg6local", 8: "rpl", 9: "ioam6", 10: "xfrm",
}  # fmt: skip
# include/uapi/linux/fib_rules.h: FIB_RULE_*
FIB_RULE_INVERT = 2
RULE_FLAGS = ((4, "unresolved"), (8, "iif_detached"), (16, "oif_detached"))
FULL_MASK = 0xFFFFFFFF


def route_states(names: dict[int, str], ipr: Rtnetlink) -> tuple[RouteState, ...]:
    """By family, table, destination and metric."""
    found = []
    for family in FAMILIES:
        request = RouteMessage()
        request["family"] = family
        for message in ipr.dump(RTM_GETROUTE, request, RouteAnswer):
            if message["family"] == family and not message["flags"] & RTM_F_CLONED:
                found.append((_route_key(message), route_of(message, names)))
    return tuple(route for _key, route in sorted(found, key=lambda pair: (pair[0], str(pair[1]))))


def _table(message: Any, attribute: str) -> int:
    number: int | None = message.get_attr(attribute)
    return int(message["table"]) if number is None else number


def _route_key(message: Any) -> tuple[int, int, int, int, int]:
    destination = message.get_attr("RTA_DST")
    return (
        message["family"],
        _table(message, "RTA_TABLE"),
        int(ipaddress.ip_address(destination)) if destination else 0,
        message["dst_len"],
        message.get_attr("RTA_PRIORITY") or 0,
    )


def _prefix(address: str | None, length: int, family: int, everything: str) -> str:
    """As ip writes it: a word for everything, an address for a host, else address/length."""
    if length == 0:
        return everything
    return f"{address}" if length == (32 if family == socket.AF_INET else 128) else f"{address}/{length}"


def _gateway(message: Any) -> str | None:
    via = message.get_attr("RTA_VIA")
    gateway: str | None = via["addr"] if via else message.get_attr("RTA_GATEWAY")
    return gateway


def _device(index: int | None, names: dict[int, str]) -> str | None:
    return names.get(index, f"if{index}") if index else None


def route_of(message: Any, names: dict[int, str]) -> RouteState:
    family = message["family"]
    table = _table(message, "RTA_TABLE")
    pref = message.get_attr("RTA_PREF")
    hops = message.get_attr("RTA_MULTIPATH") or ()
    return RouteState(
        family="inet" if family == socket.AF_INET else "inet6",
        table=TABLES.get(table, str(table)),
        dst=_prefix(message.get_attr("RTA_DST"), message["dst_len"], family, "default"),
        type=ROUTE_TYPES.get(message["type"], str(message["type"])),
        protocol=PROTOCOLS.get(message["proto"], str(message["proto"])),
        scope=SCOPES.get(message["scope"], str(message["scope"])),
        gateway=_gateway(message),
        dev=_device(message.get_attr("RTA_OIF"), names),
        src=message.get_attr("RTA_PREFSRC"),
        metric=message.get_attr("RTA_PRIORITY") or 0,
        flags=flag_names(message["flags"], ROUTE_FLAGS),
        nexthops=tuple(
            NextHop(
                gateway=_gateway(hop),
                dev=_device(hop["oif"], names),
                weight=hop["hops"] + 1,
                flags=flag_names(hop["flags"], ROUTE_FLAGS),
                realms=_realms(hop.get_attr("RTA_FLOW")),
                **_encapsulation(hop),
            )
            for hop in hops
        ),
        tos=message["tos"],
        source=_prefix(message.get_attr("RTA_SRC"), message["src_len"], family, "all"),
        nhid=message.get_attr("RTA_NH_ID"),
        pref=None if pref is None else PREFERENCES.get(pref, str(pref)),
        expires=bool(message.get_attr("RTA_CACHEINFO")),
        realms=_realms(message.get_attr("RTA_FLOW")),
        **_encapsulation(message),
        **_metrics(message.get_attr("RTA_METRICS")),
    )


def _realms(both: int | None) -> str | None:
    """The source's in the upper half, the destination's in the lower."""
    if not both:
        return None
    return f"{both >> 16}/{both & 0xFFFF}" if both >> 16 else str(both)


def _encapsulation(way: Any) -> dict[str, Any]:
    kind = way.get_attr("RTA_ENCAP_TYPE")
    return {"encap": ENCAPSULATIONS.get(kind, str(kind)), "encap_data": way.get_attr("RTA_ENCAP")} if kind else {}


def _metrics(metrics: Any) -> dict[str, Any]:
    """Those that the route has, by field. One that is locked without a value is in ``locked`` alone."""
    if metrics is None:
        return {}
    lock = metrics.get_attr("RTAX_LOCK") or 0
    found: dict[str, Any] = {}
    locked = []
    for number, (attribute, name) in enumerate(METRICS, 2):
        value = metrics.get_attr(attribute)
        if lock & 1 << number:
            locked.append(name)
        if value is None or (name == "hoplimit" and value == NO_HOPLIMIT):
            continue
        found[name] = value // SHARES[name] if name in SHARES else value
    found["features"] = flag_names(found.get("features", 0), FEATURES)
    return {**found, "locked": tuple(locked)}


def rule_states(ipr: Rtnetlink) -> tuple[RuleState, ...]:
    """By family and priority; equal ones in the kernel's order, which is that of evaluation."""
    found = []
    for family in FAMILIES:
        request = RuleMessage()
        request["family"] = family
        found += [m for m in ipr.dump(RTM_GETRULE, request, RuleAnswer) if m["family"] == family]
    found.sort(key=lambda message: (message["family"], message.get_attr("FRA_PRIORITY") or 0))
    return tuple(_rule(message) for message in found)


def _rule(message: Any) -> RuleState:
    family, table = message["family"], _table(message, "FRA_TABLE")
    protocol, ip_protocol = message.get_attr("FRA_PROTOCOL"), message.get_attr("FRA_IP_PROTO")
    first_uid, last_uid = message.get_attr("FRA_UID_RANGE") or (None, None)
    return RuleState(
        family="inet" if family == socket.AF_INET else "inet6",
        priority=message.get_attr("FRA_PRIORITY") or 0,
        source=_prefix(message.get_attr("FRA_SRC"), message["src_len"], family, "all"),
        to=_prefix(message.get_attr("FRA_DST"), message["dst_len"], family, "all"),
        action=RULE_ACTIONS.get(message["action"], str(message["action"])),
        table=TABLES.get(table, str(table)) if table else None,
        iif=message.get_attr("FRA_IIFNAME"),
        oif=message.get_attr("FRA_OIFNAME"),
        fwmark=message.get_attr("FRA_FWMARK"),
        fwmask=_unless(FULL_MASK, message.get_attr("FRA_FWMASK")),
        inverted=bool(message["flags"] & FIB_RULE_INVERT),
        protocol=None if protocol is None else PROTOCOLS.get(protocol, str(protocol)),
        tos=message["tos"],
        dscp=message.get_attr("FRA_DSCP"),
        dscp_mask=_unless(0x3F, message.get_attr("FRA_DSCP_MASK")),
        ipproto=None if ip_protocol is None else IP_PROTOCOLS.get(ip_protocol, str(ip_protocol)),
        sport_mask=_unless(0xFFFF, message.get_attr("FRA_SPORT_MASK")),
        dport_mask=_unless(0xFFFF, message.get_attr("FRA_DPORT_MASK")),
        uid_start=first_uid,
        uid_end=last_uid,
        flowlabel=message.get_attr("FRA_FLOWLABEL"),
        flowlabel_mask=_unless(0xFFFFF, message.get_attr("FRA_FLOWLABEL_MASK")),
        tun_id=message.get_attr("FRA_TUN_ID"),
        l3mdev=bool(message.get_attr("FRA_L3MDEV")),
        suppress_prefixlen=_unless(FULL_MASK, message.get_attr("FRA_SUPPRESS_PREFIXLEN")),
        suppress_ifgroup=_unless(FULL_MASK, message.get_attr("FRA_SUPPRESS_IFGROUP")),
        goto=message.get_attr("FRA_GOTO") or None,
        realms=_realms(message.get_attr("FRA_FLOW")),
        flags=flag_names(message["flags"], RULE_FLAGS),
        **_ports("sport", message.get_attr("FRA_SPORT_RANGE")),
        **_ports("dport", message.get_attr("FRA_DPORT_RANGE")),
    )


def _unless(everything: int, value: int | None) -> int | None:
    """A mask that leaves nothing out is not told; nor is a limit of -1, which is none."""
    return None if value == everything else value


def _ports(name: str, ports: tuple[int, int] | None) -> dict[str, Any]:
    if ports is None:
        return {}
    first, last = ports
    return {name: first} if first == last else {f"{name}_start": first, f"{name}_end": last}
