"""Ask the kernel which route a packet would take, as `ip route get` does: RTM_GETROUTE without a dump."""

from __future__ import annotations

import socket
from typing import Any

from labrun.agent.incoming import RouteAnswer, taken_apart
from labrun.agent.link_state import link_names, read_link_messages
from labrun.agent.names import parse_address
from labrun.agent.outgoing import RouteMessage
from labrun.agent.route_state import route_of
from labrun.agent.routes import RTM_GETROUTE
from labrun.agent.rtnetlink import Rtnetlink
from labrun.protocol.actions import Lookup
from labrun.protocol.state import RouteState

RTM_F_LOOKUP_TABLE = 0x1000  # include/uapi/linux/rtnetlink.h: say in which table the route was found


def question(action: Lookup, ipr: Rtnetlink) -> RouteMessage:
    """What to ask; KernelRefused where it cannot be asked: no such device, no address."""
    family, address = parse_address(action.to)
    bits = 32 if family == socket.AF_INET else 128
    message = RouteMessage()
    message["family"] = family
    message["dst_len"] = bits
    message["flags"] = RTM_F_LOOKUP_TABLE
    attributes: list[tuple[str, Any]] = [("RTA_DST", address)]
    if action.source is not None:
        message["src_len"] = bits
        attributes.append(("RTA_SRC", parse_address(action.source)[1]))
    if action.iif is not None:
        attributes.append(("RTA_IIF", ipr.index_of(action.iif)))
    if action.oif is not None:
        attributes.append(("RTA_OIF", ipr.index_of(action.oif)))
    if action.mark is not None:
        attributes.append(("RTA_MARK", action.mark))
    message["attrs"] = attributes
    return message


def look_up(message: RouteMessage, ipr: Rtnetlink) -> RouteState | None:
    """The kernel's answer; KernelRefused (ENETUNREACH, EHOSTUNREACH, ...) where it has no route."""
    whole = ipr.get(RTM_GETROUTE, message)
    if whole is None:
        return None
    return route_of(taken_apart(RouteAnswer, whole), link_names(read_link_messages(ipr)))
