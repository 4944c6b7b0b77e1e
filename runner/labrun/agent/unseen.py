"""What can judge packets unseen by a trace: before its first hook, or after a rule that ends their tracing.

A trace hears nf_tables, from its own first chain on. What comes before that chain drops without a word: chains and
flowtables at ingress, those of bridges, a chain of our priority that came later, `tc` at ingress, XDP programs. And a
rule may take the mark of tracing away (`meta nftrace set 0`): then the kernel says nothing more of that packet.

It looks when it is made, and hears every change from then on. It refuses to say whether something was dropped: that
something could be is all that is known here. It does not see eBPF programs that hang on sockets, cgroups or tcx.
"""

from __future__ import annotations

import errno
import socket
import struct
import time

from labrun.agent.netfilter import NETLINK_NETFILTER, attribute_list, attributes_at, dump, messages, subscribed
from labrun.agent.trace_table import FIRST
from labrun.protocol.events import Unseen
from labrun.protocol.traces import OWN_TABLES

# include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h
_SUBSYS, _GROUP = 10 << 8, 7
_DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE = (_SUBSYS | kind for kind in (2, 3, 4, 6, 7))
_NEWFLOWTABLE, _GETFLOWTABLE = _SUBSYS | 22, _SUBSYS | 23
_TABLE, _CHAIN_NAME, _HOOK = 1, 3, 4  # NFTA_CHAIN_, NFTA_FLOWTABLE_NAME is 2
_HOOKNUM, _PRIORITY, _DEV, _DEVS = 1, 2, 3, 4  # NFTA_HOOK_
_RULE_CHAIN, _EXPRESSIONS, _NAME, _DATA = 2, 4, 1, 2  # NFTA_RULE_, NFTA_EXPR_
_META_KEY, _META_SREG, _NFTRACE = 2, 3, 12  # NFTA_META_, NFT_META_NFTRACE
# linux/rtnetlink.h, if_link.h
_RTMGRP_LINK, _RTMGRP_TC = 1, 8
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWQDISC, _RTM_GETQDISC = 16, 18, 36, 38
_IFLA_IFNAME, _IFLA_XDP, _XDP_ATTACHED, _TCA_KIND = 3, 43, 2, 1
_LINK, _TC = struct.Struct("=BxHiII"), struct.Struct("=BxxxiIII")  # struct ifinfomsg, tcmsg
_ROOM_BYTES = 32 * 1024 * 1024
_EVERYTHING = ("*", "*")
# Hooks that a packet comes to before the first ones of IP, by table family: netfilter.h, netfilter_bridge.h
_EARLIER = {("netdev", 0): "ingress", ("inet", 5): "ingress", ("bridge", 0): "prerouting", ("bridge", 1): "input"}
_FIRST = {0: "prerouting", 3: "output"}


class UnseenWatch:
    """``blind`` and ``silencers``: see `TraceEnded`. Made in the network namespace that it watches."""

    def __init__(self, devices: tuple[str, ...]) -> None:
        """``devices``: those whose ingress the trace follows."""
        self._devices = frozenset(devices)
        self._blind: dict[str, int] = {}  # when each was found
        self._silencers: dict[str, int] = {}
        self._now_ns = 0
        self._names: dict[int, str] = {}
        self.rules = subscribed(_GROUP, _ROOM_BYTES)
        self.devices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self.devices.bind((0, _RTMGRP_LINK | _RTMGRP_TC))
            self._look(late=False)
        except BaseException:
            self.close()
            raise

    @property
    def blind(self) -> tuple[Unseen, ...]:
        return tuple(Unseen(what, since_ns) for what, since_ns in self._blind.items())

    @property
    def silencers(self) -> tuple[Unseen, ...]:
        return tuple(Unseen(what, since_ns) for what, since_ns in self._silencers.items())

    def _look(self, *, late: bool) -> None:
        """All that is there. ``late``: after the trace began."""
        for kind in (_GETCHAIN, _GETFLOWTABLE, _GETRULE):
            for data in dump(NETLINK_NETFILTER, kind, struct.pack("=BBH", 0, 0, 0)):
                self._take_rules(data, late)
        for kind, body in ((_RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0)), (_RTM_GETQDISC, _TC.pack(0, 0, 0, 0, 0))):
            for data in dump(socket.NETLINK_ROUTE, kind, body):
                self._take_devices(data)

    def read(self) -> set[tuple[str, str]]:
        """Take in all that changed. (family, name) of tables that went, and _EVERYTHING if not all was told."""
        self._now_ns = time.time_ns()
        deleted: set[tuple[str, str]] = set()
        for sock in (self.rules, self.devices):
            while True:
                try:
                    data = sock.recv(1 << 16)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    deleted.add(_EVERYTHING)
                    self._look(late=True)
                    continue
                if sock is self.rules:
                    deleted |= self._take_rules(data, late=True)
                else:
                    self._take_devices(data)
        return deleted

    def _take_rules(self, data: bytes, late: bool) -> set[tuple[str, str]]:
        deleted: set[tuple[str, str]] = set()
        for kind, family, attributes in messages(data):
            table = _text(attributes.get(_TABLE))
            if table in OWN_TABLES:
                continue
            if kind == _DELTABLE:
                deleted.add((family, table))
            elif kind == _NEWCHAIN and _HOOK in attributes:
                self._take_chain(family, table, attributes, late)
            elif kind == _NEWFLOWTABLE:
                self._blind.setdefault(f"the flowtable {family} {table} {_text(attributes.get(2))}", self._now_ns)
            elif kind == _NEWRULE and _ends_tracing(attributes.get(_EXPRESSIONS, b"")):
                self._silencers.setdefault(
                    f"a rule of {family} {table} {_text(attributes.get(_RULE_CHAIN))}", self._now_ns
                )
        return deleted

    def _take_chain(self, family: str, table: str, attributes: dict[int, bytes], late: bool) -> None:
        hook = attributes_at(attributes[_HOOK], 0)
        number = int.from_bytes(hook.get(_HOOKNUM, b"\xff"), "big")
        first = int.from_bytes(hook.get(_PRIORITY, bytes(4)), "big", signed=True) == FIRST
        overtakes = first and late  # of two equal priorities, the one that came later is first
        name = f"the chain {family} {table} {_text(attributes.get(_CHAIN_NAME))}"
        if (family, number) in _EARLIER:
            listed = [value for kind, value in attribute_list(hook.get(_DEVS, b""), 0) if kind == 1]
            devices = {_text(device) for device in (*listed, hook.get(_DEV)) if device is not None}
            if overtakes or family == "bridge" or not (devices and devices <= self._devices):
                self._blind.setdefault(f"{name} at {_EARLIER[family, number]}", self._now_ns)
        elif family in ("ip", "ip6", "inet") and number in _FIRST and overtakes:
            self._blind.setdefault(f"{name} at {_FIRST[number]}", self._now_ns)

    def _take_devices(self, data: bytes) -> None:
        offset = 0
        while offset + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            body = data[offset + 16 : offset + length]
            offset += max(16, (length + 3) & ~3)
            if kind == _RTM_NEWLINK and len(body) >= _LINK.size:
                attributes = attributes_at(body, _LINK.size)
                index = _LINK.unpack_from(body)[2]
                if _IFLA_IFNAME in attributes:
                    self._names[index] = _text(attributes[_IFLA_IFNAME])
                if attributes_at(attributes.get(_IFLA_XDP, b""), 0).get(_XDP_ATTACHED, b"\0") != b"\0":
                    self._blind.setdefault(f"an XDP program on {self._names.get(index, index)}", self._now_ns)
            elif kind == _RTM_NEWQDISC and len(body) >= _TC.size:
                index = _TC.unpack_from(body)[1]
                if _text(attributes_at(body, _TC.size).get(_TCA_KIND)) in ("ingress", "clsact"):
                    self._blind.setdefault(f"tc at ingress of {self._names.get(index, index)}", self._now_ns)

    def close(self) -> None:
        self.rules.close()
        self.devices.close()


def _ends_tracing(expressions: bytes) -> bool:
    """Is there a `meta nftrace set` of something that is not known to be other than 0?"""
    constant = b""
    for _, element in attribute_list(expressions, 0):
        expression = attributes_at(element, 0)
        name, data = _text(expression.get(_NAME)), attributes_at(expression.get(_DATA, b""), 0)
        if name == "meta" and _META_SREG in data and int.from_bytes(data.get(_META_KEY, b""), "big") == _NFTRACE:
            if not any(constant):
                return True
        elif name == "immediate":
            constant = attributes_at(data.get(2, b""), 0).get(1, b"")  # NFTA_IMMEDIATE_DATA, NFTA_DATA_VALUE
        else:
            constant = b""
    return False


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
