"""A child of the agent, started in a node: builds a packet from a scapy expression, and sends it.

A process of its own, because importing scapy costs most of a second and reads the interfaces of the namespace that
it happens in. Scapy builds; plain sockets send: with a device as a frame (AF_PACKET), without one by the kernel's
own routing (raw IP with the header included), so that netfilter and routes see it as any local packet.
The expression is evaluated with all names of scapy.all: the sandbox is the boundary.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
from typing import Any

_IPV6_HDRINCL = 36  # linux/in6.h


def main() -> None:
    """Reads {packet, dev, count, seed} from stdin, writes {packets, summary} to stdout; fails with one line."""
    job = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the expression prints is not the answer
    try:
        packets = _build(job["packet"], job["seed"])
        sent = sum(_send(packet, job["dev"]) for _ in range(job["count"]) for packet in packets)
        summary = packets[0].summary()
    except Exception as error:  # noqa: BLE001  whatever the expression raises is told in one line
        sys.exit(f"{type(error).__name__}: {error}")
    answer.write(json.dumps({"packets": sent, "summary": summary}))
    answer.close()


def _build(expression: str, seed: int) -> list[Any]:
    import logging

    logging.getLogger("scapy").setLevel(logging.ERROR)
    import scapy.all as scapy

    random.seed(seed)
    made = eval(expression, dict(vars(scapy)))
    packets = [made] if isinstance(made, scapy.Packet) else list(made)
    if not packets or not all(isinstance(packet, scapy.Packet) for packet in packets):
        raise TypeError("the expression gives no scapy packet")
    return packets


def _send(packet: Any, dev: str | None) -> int:
    data = bytes(packet)
    if dev is not None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((dev, 0))
            sock.send(data)
        return 1
    version = data[0] >> 4 if data else 0
    if version == 4:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(data, (socket.inet_ntop(socket.AF_INET, data[16:20]), 0))
    elif version == 6:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
            sock.sendto(data, (socket.inet_ntop(socket.AF_INET6, data[24:40]), 0))
    else:
        raise ValueError("without dev, the packet must begin with IP or IPv6; with dev it is a frame")
    return 1
