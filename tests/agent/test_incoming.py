"""What the kernel answers, taken apart by incoming.py and by pyroute2: the same, attribute by attribute."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from labrun.agent import incoming, outgoing
from labrun.agent.incoming import Attributes, Incoming
from labrun.agent.netlink import apply
from labrun.agent.route_state import rule_states
from labrun.agent.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    RTM_GETLINK,
    Rtnetlink,
    decoded,
    open_rtnetlink,
)
from labrun.protocol.actions import Link, Peer
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from support.netns import Netns

TOLD_OTHERWISE = ("IFLA_TUN_TYPE", "IFLA_VXLAN_LINK", "RTA_MULTIPATH", "RTA_CACHEINFO", "RTA_ENCAP")
NEW_IN_RULES = (
    "FRA_DSCP", "FRA_DSCP_MASK", "FRA_FLOWLABEL", "FRA_FLOWLABEL_MASK", "FRA_SPORT_MASK", "FRA_DPORT_MASK",
)  # fmt: skip
UNKNOWN_TO_PYROUTE2 = ("RTA_NH_ID", "RTAX_FASTOPEN_NO_COOKIE", *NEW_IN_RULES)
RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE, RTM_NEWRULE = 22, 26, 30, 34, 32


@pytest.fixture(scope="module")
def ipr() -> Iterator[Rtnetlink]:
    """The socket of a namespace with something of everything."""
    with Netns() as ns, Netns() as other, ns.enter(), open_rtnetlink() as found:
        veth = Link("add", "a0", type="veth", peer=Peer("eth0", node="other"), up=True)
        apply(veth, found, {"other": other.fd}.__getitem__)
        ns.sh(
            """
            ip link set lo up
            ip link add v0 type veth peer name v1
            ip link add br0 type bridge
            ip link set v0 master br0 up
            ip link set v1 up
            ip link add vx0 type vxlan id 5 dev a0 remote 10.0.0.9 dstport 4789
            ip link add m0 link a0 type macvlan mode bridge
            ip tuntap add t0 mode tap
            ip tuntap add t1 mode tun
            ip address add 10.0.0.1/24 broadcast + dev v1
            ip address add 10.0.0.7/24 dev v1
            ip address add 10.1.0.1 peer 10.1.0.2/32 dev v1
            ip address add fd00::1/64 nodad dev v1
            ip route add default via 10.0.0.254 metric 50 mtu 1400
            ip route add 10.8.0.0/16 nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.3
            ip route add 10.12.0.0/16 nexthop via inet6 fd00::8 dev v1 nexthop via 10.0.0.3
            ip route add 10.9.0.0/16 via 1.2.3.4 dev v1 onlink table 100000
            ip route add 10.10.0.0/16 via inet6 fd00::9 dev v1
            ip route add blackhole 10.11.0.0/16
            ip -6 route add default via fd00::fe
            ip -6 route add fd0a::/64 from fd00::/64 dev v1 expires 3000 pref high
            ip route add 10.13.0.0/16 dev v1 tos 0x10 realms 3/7 mtu lock 1400 window 9000 rtt 100 rttvar 50 \
                ssthresh 3 cwnd 4 advmss 1000 reordering 5 hoplimit 9 initcwnd 20 features ecn rto_min 300ms \
                initrwnd 30 quickack 1 congctl reno fastopen_no_cookie 1
            ip nexthop add id 12 via 10.0.0.9 dev v1
            ip route add 10.14.0.0/16 nhid 12
            ip route add 10.15.0.0/16 encap ip id 7 dst 10.0.0.9 dev v1
            ip rule add from 10.0.0.0/8 to 10.2.0.0/16 fwmark 7/15 table 100 priority 50
            ip rule add iif v0 oif v1 table main
            ip -6 rule add from fd00::/64 table 101
            ip rule add ipproto tcp sport 1000-2000 dport 80 uidrange 5-9 tos 0x10 protocol 99 tun_id 5 realms 3/7 \
                table main suppress_prefixlength 0 suppress_ifgroup 4 priority 60
            ip rule add goto 32766 priority 61
            ip rule add l3mdev priority 62
            ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v1 nud permanent
            ip neigh add fd00::2 lladdr 02:00:00:00:00:03 dev v1 router
            """
        )
        for family, attributes in (
            (socket.AF_INET, [("FRA_DSCP", 8), ("FRA_DSCP_MASK", 0x38), ("FRA_SPORT_RANGE", (80, 80)),
                              ("FRA_SPORT_MASK", 0xF0), ("FRA_DPORT_RANGE", (81, 81)), ("FRA_DPORT_MASK", 0xFF)]),
            (socket.AF_INET6, [("FRA_FLOWLABEL", 0x12300), ("FRA_FLOWLABEL_MASK", 0xFFF00)]),
        ):  # fmt: skip
            rule = NewRule()
            rule["family"], rule["action"], rule["table"], rule["attrs"] = family, 1, 100, attributes
            found.change(RTM_NEWRULE, NLM_F_CREATE, rule)
        yield found


class NewRule(outgoing.Outgoing):
    """With what iproute2 6.1 cannot say yet."""

    FORM, FIELDS = outgoing.RuleMessage.FORM, outgoing.RuleMessage.FIELDS
    TABLE = {
        "FRA_SPORT_RANGE": (23, lambda ports: struct.pack("=HH", *ports)),
        "FRA_DPORT_RANGE": (24, lambda ports: struct.pack("=HH", *ports)),
        "FRA_DSCP": (25, struct.Struct("=B").pack),
        "FRA_FLOWLABEL": (26, struct.Struct(">I").pack),
        "FRA_FLOWLABEL_MASK": (27, struct.Struct(">I").pack),
        "FRA_SPORT_MASK": (28, struct.Struct("=H").pack),
        "FRA_DPORT_MASK": (29, struct.Struct("=H").pack),
        "FRA_DSCP_MASK": (30, struct.Struct("=B").pack),
    }


def answers(ipr: Rtnetlink, kind: int, request: outgoing.Outgoing) -> list[bytes]:
    sequence = ipr._send(kind, NLM_F_REQUEST | NLM_F_DUMP, request)
    return [whole for _kind, _flags, whole in ipr._answers(sequence)]


def plain(value: Any, table: incoming.Table) -> Any:
    """Both libraries' values as dicts of what is there."""
    if value is None:
        return None
    return {
        name: plain(value.get_attr(name), decode) if isinstance(decode, dict) else written(value.get_attr(name))
        for name, (_number, decode) in table.items()
        if name not in (*TOLD_OTHERWISE, *UNKNOWN_TO_PYROUTE2)
    }


def written(value: Any) -> Any:
    """A range as pyroute2 has it."""
    return "{}:{}".format(*value) if isinstance(value, tuple) else value


def test_rules_that_iproute2_cannot_add_yet(ipr: Rtnetlink) -> None:
    rules = [rule for rule in rule_states(ipr) if rule.table == "100" and rule.fwmark is None]
    assert [(rule.dscp, rule.dscp_mask, rule.sport, rule.sport_mask, rule.dport, rule.dport_mask) for rule in rules] == [
        (8, 0x38, 80, 0xF0, 81, 0xFF), (None,) * 6,
    ]  # fmt: skip
    assert (rules[1].flowlabel, rules[1].flowlabel_mask) == (0x12300, 0xFFF00)


@pytest.mark.parametrize(
    ("kind", "request_of", "answer", "pyroute2", "families"),
    [
        (RTM_GETLINK, outgoing.LinkMessage, incoming.LinkAnswer, ifinfmsg, (0,)),
        (RTM_GETADDR, outgoing.AddressMessage, incoming.AddressAnswer, ifaddrmsg, (0,)),
        (RTM_GETNEIGH, outgoing.NeighbourMessage, incoming.NeighbourAnswer, ndmsg, (0,)),
        (RTM_GETROUTE, outgoing.RouteMessage, incoming.RouteAnswer, rtmsg, (socket.AF_INET, socket.AF_INET6)),
        (RTM_GETRULE, outgoing.RuleMessage, incoming.RuleAnswer, fibmsg, (socket.AF_INET, socket.AF_INET6)),
    ],
)
def test_the_same_as_pyroute2(
    ipr: Rtnetlink,
    kind: int,
    request_of: type[outgoing.Outgoing],
    answer: type[Incoming],
    pyroute2: Any,
    families: tuple[int, ...],
) -> None:
    seen: set[str] = set()
    for family in families:
        request = request_of()
        request["family"] = family
        for whole in answers(ipr, kind, request):
            ours, theirs = incoming.taken_apart(answer, whole), decoded(pyroute2, whole)
            for name in answer.FIELDS:
                assert ours[name] == theirs["ndm_type" if (name, pyroute2) == ("type", ndmsg) else name]
            assert plain(ours, answer.TABLE) == plain(theirs, answer.TABLE)
            seen |= {name for name in answer.TABLE if ours.get_attr(name) is not None}
            if kind == RTM_GETROUTE and (cache := theirs.get_attr("RTA_CACHEINFO")):
                assert ours.get_attr("RTA_CACHEINFO") == cache["rta_expires"]
            hops = ours.get_attr("RTA_MULTIPATH") if kind == RTM_GETROUTE else None
            for hop, other in zip(hops or (), theirs.get_attr("RTA_MULTIPATH") or (), strict=True):
                assert (hop["flags"], hop["oif"], hop["hops"]) == (other["flags"], other["oif"], other["hops"])
                assert plain(hop, hop.TABLE) == plain(other, hop.TABLE)
    assert seen == set(answer.TABLE)  # each of them was there to be compared


def test_what_a_tun_and_a_vxlan_say_of_themselves(ipr: Rtnetlink) -> None:
    found = {}
    for whole in answers(ipr, RTM_GETLINK, outgoing.LinkMessage()):
        ours, theirs = incoming.taken_apart(incoming.LinkAnswer, whole), decoded(ifinfmsg, whole)
        for kind, name in (("tun", "IFLA_TUN_TYPE"), ("vxlan", "IFLA_VXLAN_LINK")):
            info = ours.get_attr("IFLA_LINKINFO")
            if info is not None and info.get_attr("IFLA_INFO_KIND") == kind:
                value = info.get_attr("IFLA_INFO_DATA").get_attr(name)
                assert value == theirs.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA").get_attr(name)
                found[ours.get_attr("IFLA_IFNAME")] = value
    assert set(found) == {"t0", "t1", "vx0"} and found["t0"] != found["t1"]


def test_hardware_addresses_of_tunnels_are_ip_addresses() -> None:
    table = incoming.LinkAnswer.TABLE
    for data, text in ((bytes([10, 0, 0, 1]), "10.0.0.1"), (bytes(15) + b"\1", "::1"), (b"", ""), (bytes(8), ":".join(["00"] * 8))):  # fmt: skip
        assert Attributes(struct.pack("=HH", 4 + len(data), 1) + data, table).get_attr("IFLA_ADDRESS") == text


def test_cut_off_attributes_end_the_row() -> None:
    row = struct.pack("=HHI", 8, 4, 1500) + struct.pack("=HH", 0, 3) + b"\1"
    assert Attributes(row, incoming.LinkAnswer.TABLE).get_attr("IFLA_MTU") == 1500
