"""Add, replace and delete routes and rules: `ip route` and `ip rule`, with iproute2's defaults.

They are not the kernel's, and books rely on them (iproute2, ip/iproute.c and ip/iprule.c): a new route is of
protocol boot, in table main or, if it is of type local, in table local; an IPv4 route has scope link unless it has
a gateway, and scope host if it is local; a route to delete matches whatever was not said.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from labrun.agent.addresses import CREATE
from labrun.agent.names import ROUTE_TYPES, RULE_ACTIONS, number, parse_address, parse_prefix
from labrun.agent.outgoing import RouteMessage, RuleMessage
from labrun.agent.rtnetlink import Rtnetlink, refused
from labrun.protocol.actions import Route, Rule
from labrun.protocol.words import SCOPES, TABLES

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTPROT_BOOT = 3
RTN_UNSPEC, RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST, RTN_NAT = 0, 1, 2, 3, 4, 5, 10
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST, SCOPE_NOWHERE = 0, 253, 254, 255
TABLE_LOCAL, TABLE_MAIN = 255, 254
RTNH_F_ONLINK = 4
FR_ACT_TO_TBL = 1
EVERYTHING = {"default", "all", "any"}


def apply_route(action: Route, ipr: Rtnetlink) -> None:
    message = RouteMessage()
    attributes: list[tuple[str, Any]] = []
    gateway = parse_address(action.via) if action.via is not None else None
    source = parse_address(action.src) if action.src is not None else None
    if action.to in EVERYTHING:
        family = (gateway or source or (socket.AF_INET, ""))[0]
    else:
        family, destination, message["dst_len"], _written = parse_prefix(action.to)
        attributes.append(("RTA_DST", destination))
    message["family"] = family
    deleting = action.op == "delete"
    kind = RTN_UNSPEC if deleting else RTN_UNICAST
    if action.type is not None:
        kind = number(action.type, ROUTE_TYPES, "type of route")
    message["type"] = kind
    message["proto"] = 0 if deleting else RTPROT_BOOT
    if action.scope is not None:
        message["scope"] = number(action.scope, SCOPES, "scope")
    else:
        message["scope"] = _default_scope(family, kind, deleting, gateway is not None)
    _put_table(message, attributes, "RTA_TABLE", _route_table(action, kind))
    if gateway is not None and gateway[0] == family:
        attributes.append(("RTA_GATEWAY", gateway[1]))
    elif gateway is not None:  # an IPv4 route through an IPv6 router (RFC 5549)
        attributes.append(("RTA_VIA", {"family": gateway[0], "addr": gateway[1]}))
    if action.dev is not None:
        attributes.append(("RTA_OIF", ipr.index_of(action.dev)))
    if source is not None:
        attributes.append(("RTA_PREFSRC", source[1]))
    if action.metric is not None:
        attributes.append(("RTA_PRIORITY", action.metric))
    if action.mtu is not None:
        attributes.append(("RTA_METRICS", {"attrs": [("RTAX_MTU", action.mtu)]}))
    if action.onlink:
        message["flags"] |= RTNH_F_ONLINK
    message["attrs"] = attributes
    ipr.change(RTM_DELROUTE if deleting else RTM_NEWROUTE, CREATE[action.op], message)


def _route_table(action: Route, kind: int) -> int:
    if action.table is not None:
        return number(action.table, TABLES, "routing table")
    return TABLE_LOCAL if kind in (RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_NAT) else TABLE_MAIN


def _default_scope(family: int, kind: int, deleting: bool, through_gateway: bool) -> int:
    if family == socket.AF_INET6:
        return SCOPE_UNIVERSE
    if kind in (RTN_LOCAL, RTN_NAT):
        return SCOPE_HOST
    if kind in (RTN_BROADCAST, RTN_MULTICAST, RTN_ANYCAST):
        return SCOPE_LINK
    if deleting:
        return SCOPE_NOWHERE  # any
    return SCOPE_UNIVERSE if through_gateway or kind != RTN_UNICAST else SCOPE_LINK


def _put_table(message: Any, attributes: list[tuple[str, Any]], attribute: str, table: int) -> None:
    """The header has one byte for it; larger numbers go into an attribute."""
    if table < 256:
        message["table"] = table
    else:
        message["table"] = 0
        attributes.append((attribute, table))


def apply_rule(action: Rule, ipr: Rtnetlink) -> None:
    if action == Rule("delete", family=action.family):
        # The kernel would delete the first rule that there is, `from all lookup local`.
        raise refused(errno.EINVAL, "a rule to delete must be described by at least one field")
    message = RuleMessage()
    attributes: list[tuple[str, Any]] = []
    families = set()
    for text, attribute, length_field in ((action.source, "FRA_SRC", "src_len"), (action.to, "FRA_DST", "dst_len")):
        if text is not None and text not in EVERYTHING:
            family, address, message[length_field], _written = parse_prefix(text)
            families.add(family)
            attributes.append((attribute, address))
    if action.family is not None:
        families.add(socket.AF_INET if action.family == "inet" else socket.AF_INET6)
    if len(families) > 1:
        raise refused(errno.EINVAL, "a rule cannot be of IPv4 and of IPv6 at once")
    message["family"] = families.pop() if families else socket.AF_INET
    adding = action.op == "add"
    for value, attribute in (
        (action.priority, "FRA_PRIORITY"),
        (action.fwmark, "FRA_FWMARK"),
        (action.iif, "FRA_IIFNAME"),
        (action.oif, "FRA_OIFNAME"),
    ):
        if value is not None:
            attributes.append((attribute, value))
    if action.action is not None:
        message["action"] = number(action.action, RULE_ACTIONS, "action of a rule")
    elif adding:
        message["action"] = FR_ACT_TO_TBL
    if action.table is not None:
        _put_table(message, attributes, "FRA_TABLE", number(action.table, TABLES, "routing table"))
    elif adding and action.action is None:
        message["table"] = TABLE_MAIN
    message["attrs"] = attributes
    ipr.change(RTM_NEWRULE if adding else RTM_DELRULE, CREATE[action.op], message)
