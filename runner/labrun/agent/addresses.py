"""Add, replace and delete addresses and neighbour entries: `ip address` and `ip neighbour`.

Defaults are iproute2's, which differ from the kernel's: 127.0.0.0/8 has scope host, a neighbour entry is
permanent, an address without a prefix length is a /32 (or /128), and deleting such an IPv4 address deletes it
whatever its length.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

from labrun.agent.links import parse_mac
from labrun.agent.names import NEIGHBOUR_STATES, number, parse_address, parse_prefix
from labrun.agent.outgoing import AddressMessage, NeighbourMessage
from labrun.agent.rtnetlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Rtnetlink, refused
from labrun.protocol.actions import Address, Neighbour
from labrun.protocol.words import SCOPES

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
CREATE = {"add": NLM_F_CREATE | NLM_F_EXCL, "replace": NLM_F_CREATE | NLM_F_REPLACE, "delete": 0}
SCOPE_HOST = 254
NUD_PERMANENT = 0x80


def apply_address(action: Address, ipr: Rtnetlink) -> None:
    family, local, length, written = parse_prefix(action.address)
    message = AddressMessage()
    message["family"] = family
    message["index"] = ipr.index_of(action.dev)
    attributes: list[tuple[str, Any]] = [("IFA_LOCAL", local)]
    if action.peer is not None:
        peer_family, peer, peer_length, peer_written = parse_prefix(action.peer)
        if peer_family != family:
            raise refused(errno.EINVAL, f"the peer {action.peer} of {action.address} is of the other family")
        attributes.append(("IFA_ADDRESS", peer))
        length = peer_length if peer_written or not written else length
    elif not (action.op == "delete" and family == socket.AF_INET and not written):
        attributes.append(("IFA_ADDRESS", local))
    message["prefixlen"] = length
    if action.op != "delete":
        if action.scope is not None:
            message["scope"] = number(action.scope, SCOPES, "scope")
        elif ipaddress.ip_address(local).is_loopback and family == socket.AF_INET:
            message["scope"] = SCOPE_HOST
        if action.broadcast is not None:
            attributes.append(("IFA_BROADCAST", _broadcast(action.broadcast, f"{local}/{length}")))
    message["attrs"] = attributes
    ipr.change(RTM_DELADDR if action.op == "delete" else RTM_NEWADDR, CREATE[action.op], message)


def _broadcast(text: str, prefix: str) -> str:
    """``+`` and ``-`` are the prefix with its host bits all ones and all zeros, as in `ip address add ... brd +`."""
    network = ipaddress.ip_interface(prefix).network
    if text == "+":
        return str(network.broadcast_address)
    if text == "-":
        return str(network.network_address)
    family, address = parse_address(text)
    if family != socket.AF_INET:
        raise refused(errno.EINVAL, f"{text!r}: only IPv4 has broadcast addresses")
    return address


def apply_neighbour(action: Neighbour, ipr: Rtnetlink) -> None:
    family, destination = parse_address(action.to)
    message = NeighbourMessage()
    message["family"] = family
    message["ifindex"] = ipr.index_of(action.dev)
    message["state"] = NUD_PERMANENT if action.state is None else number(action.state, NEIGHBOUR_STATES, "state")
    attributes = [("NDA_DST", destination)]
    if action.lladdr is not None:
        attributes.append(("NDA_LLADDR", parse_mac(action.lladdr)))
    message["attrs"] = attributes
    ipr.change(RTM_DELNEIGH if action.op == "delete" else RTM_NEWNEIGH, CREATE[action.op], message)
