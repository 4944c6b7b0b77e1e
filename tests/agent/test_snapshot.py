"""Kernel state of real namespaces, compared with what `ip -json` and nft say."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from labrun.agent import listening, nft_state, snapshot, sock_diag, socket_state
from labrun.agent.listening import is_listening, session_listens
from labrun.agent.netlink import Rtnetlink, apply, open_rtnetlink
from labrun.agent.rtnetlink import KernelRefused
from labrun.agent.snapshot import node_state
from labrun.protocol.actions import SNAPSHOT_PARTS, Link, Neighbour, Peer, SnapshotPart
from labrun.protocol.codec import dumps, loads
from labrun.protocol.state import UNTOLD, NftState, NodeState, RouteState, RuleState
from support.netns import Netns


class Here:
    def __init__(self, ns: Netns, other: Netns, ipr: Rtnetlink) -> None:
        self.ns, self.other, self.ipr = ns, other, ipr

    def state(self, *parts: SnapshotPart) -> NodeState:
        nodes = {"here": self.ns.fd, "other": self.other.fd}
        state = node_state(parts or SNAPSHOT_PARTS, self.ipr, nodes, own_pid=-1)
        assert loads(NodeState, dumps(state)) == state
        return state


@pytest.fixture
def here() -> Iterator[Here]:
    with Netns() as ns, Netns() as other, ns.enter(), open_rtnetlink() as ipr:
        yield Here(ns, other, ipr)


@pytest.fixture
def busy(here: Here) -> Here:
    """A namespace with one of everything that this kernel has."""
    here.ns.sh("echo 1 > /proc/sys/net/ipv6/conf/default/addr_gen_mode")  # no fe80 addresses
    apply(
        Link("add", "a0", type="veth", peer=Peer("eth0", node="other"), up=True),
        here.ipr,
        {"other": here.other.fd}.__getitem__,
    )
    here.other.sh("ip link set eth0 up")
    here.ns.until("ip link show a0 | grep -q 'state UP'")
    here.ns.sh(
        """
        ip link set lo up
        ip link add v0 type veth peer name v1
        ip link add br0 type bridge
        ip link set v0 master br0 up
        ip link set br0 up
        ip link add vx0 type vxlan id 5 dev a0 remote 10.0.0.9 dstport 4789
        ip link add m0 link a0 type macvlan mode bridge
        ip tuntap add t0 mode tap
        ip tuntap add t1 mode tun
        ip address add 10.0.0.1/24 broadcast + dev a0
        ip address add 10.0.0.7/24 dev a0
        ip address add 10.1.0.1 peer 10.1.0.2/32 dev a0
        ip address add fd00::1/64 nodad dev a0
        ip address add 10.5.0.1/16 scope link dev br0
        ip route add default via 10.0.0.254 metric 50 mtu 1400
        ip route add 10.8.0.0/16 nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.3
        ip route add 10.9.0.0/16 via 1.2.3.4 dev a0 onlink table 100
        ip route add 10.10.0.0/16 via inet6 fd00::9 dev a0
        ip route add blackhole 10.11.0.0/16
        ip -6 route add default via fd00::fe
        ip -6 route add unreachable fd09::/64 table 4711
        ip rule add priority 90 from 10.0.0.0/8 to 10.1.2.3 lookup 100
        ip rule add priority 91 fwmark 0x10/0xff iif a0 blackhole
        ip rule add priority 92 not oif a0 lookup 4711
        ip -6 rule add priority 93 from fd00::/64 lookup local
        ip neighbour add 10.0.0.2 lladdr 52:54:00:00:00:02 dev a0
        ip neighbour add fd00::2 lladdr 52:54:00:00:00:03 router dev a0 nud stale
        """
    )
    # The kernel puts addresses to use, and a carrier to its routes, in work queues. After them nothing changes.
    here.ns.until("ip -6 route show table local | grep -q '^local fd00::1'")
    here.ns.until("ip -6 route show table local | grep -q 'multicast ff00::/8 dev a0'")
    return here


def test_links_are_what_ip_says(busy: Here) -> None:
    links = busy.state("links").links
    assert links is not None
    shown = busy.ns.ip("link show")
    assert len(links) == len(shown) == 9
    for link, ip in zip(links, shown, strict=True):
        info = ip.get("linkinfo", {})
        kind = info.get("info_kind")
        if kind == "tun":
            kind = info["info_data"]["type"]
        assert (link.index, link.name, link.mtu, link.operstate) == (
            ip["ifindex"], ip["ifname"], ip["mtu"], ip["operstate"],
        )  # fmt: skip
        assert link.flags == tuple(flag for flag in ip["flags"] if flag != "M-DOWN")  # ip's own, not the kernel's
        assert (link.type, link.address, link.master) == (kind, ip.get("address"), ip.get("master"))
        assert (link.link_type, link.txqlen) == (ip["link_type"], ip.get("txqlen"))
        assert link.up == ("UP" in ip["flags"])
    by_name = {link.name: link for link in links}
    assert (by_name["a0"].peer, by_name["a0"].netns) == ("eth0", "other")
    assert (by_name["v0"].peer, by_name["v0"].netns, by_name["v1"].peer) == ("v1", None, "v0")
    assert (by_name["m0"].link, by_name["vx0"].link) == ("a0", "a0")
    assert by_name["lo"].type is None


def test_a_peer_in_a_namespace_that_is_no_node(busy: Here) -> None:
    links = node_state(("links",), busy.ipr).links or ()
    assert [(link.peer, link.netns) for link in links if link.name == "a0"] == [("eth0", "?")]


def test_addresses_are_what_ip_says(busy: Here) -> None:
    addresses = busy.state("addresses").addresses
    ours = {
        (one.dev, one.family, one.address, one.prefixlen, one.scope, one.peer, one.broadcast) for one in addresses or ()
    }
    theirs = {
        (link["ifname"], a["family"], a["local"], a["prefixlen"], a["scope"], a.get("address"), a.get("broadcast"))
        for link in busy.ns.ip("address show")
        for a in link["addr_info"]
    }
    assert ours == theirs and len(ours) == 7
    flags = {one.address: one.flags for one in addresses or ()}
    assert flags["10.0.0.7"] == ("secondary", "permanent")
    assert "nodad" in flags["fd00::1"]


def test_routes_are_what_ip_says(busy: Here) -> None:
    routes = busy.state("routes").routes
    assert routes is not None

    def row(family: str, ip: dict[str, Any]) -> tuple[Any, ...]:
        hops = tuple((hop.get("gateway"), hop["dev"], hop["weight"]) for hop in ip.get("nexthops", ()))
        metric = ip.get("metric")
        mtu = next((metrics["mtu"] for metrics in ip.get("metrics", ()) if "mtu" in metrics), None)
        return (
            family, ip.get("table", "main"), ip["dst"], ip["type"], ip["protocol"], ip["scope"],
            ip.get("gateway") or ip.get("via", {}).get("host"), ip.get("dev"), ip.get("prefsrc"), metric, mtu,
            frozenset(ip["flags"]), hops,
        )  # fmt: skip

    theirs = {row("inet", ip) for ip in busy.ns.ip("-4 route show table all")}
    theirs |= {row("inet6", ip) for ip in busy.ns.ip("-6 route show table all")}
    ours = {
        (
            one.family, one.table, one.dst, one.type, one.protocol, one.scope, one.gateway, one.dev, one.src,
            one.metric or None, one.mtu, frozenset(one.flags),
            tuple((hop.gateway, hop.dev, hop.weight) for hop in one.nexthops),
        )
        for one in routes
    }  # fmt: skip
    assert ours == {(*one[:9], one[9] or None, *one[10:]) for one in theirs}
    assert len(routes) == len(ours)


# What tells two routes apart that go the same way, as `ip route add` is given it and as it is seen.
TELLING = [
    ("-4", "metric 5", {"metric": 5}),
    ("-4", "tos 0x10", {"tos": 0x10}),
    ("-4", "realms 3/7", {"realms": "3/7"}),
    ("-4", "realms 7", {"realms": "7"}),
    ("-4", "mtu 1400", {"mtu": 1400}),
    ("-4", "mtu lock 1400", {"mtu": 1400, "locked": ("mtu",)}),
    ("-4", "advmss 1000", {"advmss": 1000}),
    ("-4", "window 9000", {"window": 9000}),
    ("-4", "rtt 100ms", {"rtt": 100}),
    ("-4", "rttvar 50ms", {"rttvar": 50}),
    ("-4", "rto_min 300ms", {"rto_min": 300, "locked": ("rto_min",)}),
    ("-4", "ssthresh 3", {"ssthresh": 3}),
    ("-4", "cwnd 4", {"cwnd": 4}),
    ("-4", "initcwnd 20", {"initcwnd": 20}),
    ("-4", "initrwnd 30", {"initrwnd": 30}),
    ("-4", "reordering 5", {"reordering": 5}),
    ("-4", "hoplimit 9", {"hoplimit": 9}),
    ("-6", "hoplimit 9", {"hoplimit": 9}),
    ("-4", "quickack 1", {"quickack": 1}),
    ("-4", "fastopen_no_cookie 1", {"fastopen_no_cookie": 1}),
    ("-4", "congctl reno", {"congctl": "reno"}),
    ("-4", "features ecn", {"features": ("ecn",)}),
    ("-4", "nhid 12 scope link", {"nhid": 12}),
    ("-6", "pref high", {"pref": "high"}),
    ("-6", "pref low", {"pref": "low"}),
    ("-6", "expires 3000", {"expires": True}),
    ("-6", "from fd05::/64", {"source": "fd05::/64"}),
]


@pytest.mark.parametrize(("family", "words", "telling"), TELLING, ids=[words for _, words, _ in TELLING])
def test_routes_that_differ_in_one_word_are_not_equal(
    busy: Here, family: str, words: str, telling: dict[str, Any]
) -> None:
    """Each is held against `ip -json route`, too, where that tells it (not what is locked)."""
    to = "10.77.0.0/16" if family == "-4" else "fd77::/64"
    way = "" if "nhid" in words else "dev a0"
    busy.ns.sh("ip nexthop add id 12 dev a0")

    def route() -> RouteState:
        return next(one for one in busy.state("routes").routes or () if one.dst == to)

    busy.ns.sh(f"ip {family} route add {to} dev a0")
    plain = route()
    busy.ns.sh(f"ip {family} route delete {to}; ip {family} route add {to} {way} {words}")
    other = route()
    assert plain != other and replace(plain, **telling) == other
    shown = next(one for one in busy.ns.ip(f"{family} route show table main") if one["dst"] == to)
    said = {**shown, **(shown.get("metrics") or [{}])[0]}
    for name, value in telling.items():
        match name:
            case "tos":
                assert int(said["tos"], 16) == value
            case "realms":
                assert "/".join(said["flow"].values()) == value
            case "expires":
                assert 2990 <= said["expires"] <= 3000
            case "congctl":
                assert said["congestion"] == value
            case "features":
                assert all(feature in said for feature in value)
            case "source":
                assert said["from"] == value
            case "locked":
                assert f"{value[0]} lock " in busy.ns.sh(f"ip {family} route show {to}")
            case _:
                assert said[name] == value
    assert dumps(busy.state("routes")) == dumps(busy.state("routes"))


def test_what_the_packets_of_a_route_are_wrapped_into(busy: Here) -> None:
    busy.ns.sh(
        """
        ip route add 10.77.1.0/24 encap ip id 7 dst 10.0.0.9 dev a0
        ip route add 10.77.2.0/24 encap ip id 8 dst 10.0.0.9 dev a0
        ip route add 10.77.3.0/24 nexthop encap ip id 7 dst 10.0.0.9 dev a0 nexthop dev br0
        """
    )
    first, second, both = (one for one in busy.state("routes").routes or () if one.dst.startswith("10.77."))
    assert first.encap == second.encap == "ip" and first.encap_data != second.encap_data
    assert [(hop.dev, hop.encap, hop.encap_data) for hop in both.nexthops] == [
        ("a0", "ip", first.encap_data), ("br0", None, None),
    ]  # fmt: skip


def test_a_way_of_a_multipath_route_that_has_no_carrier(busy: Here) -> None:
    busy.ns.sh("ip address add 10.3.0.1/24 dev v1; ip link set v1 up; ip link set v0 up")
    busy.ns.sh("ip route add 10.30.0.0/16 nexthop via 10.0.0.2 realms 5 nexthop via 10.3.0.2")

    def hops() -> list[tuple[str | None, str | None, tuple[str, ...]]]:
        route = next(one for one in busy.state("routes").routes or () if one.dst == "10.30.0.0/16")
        return [(hop.gateway, hop.realms, hop.flags) for hop in route.nexthops]

    assert hops() == [("10.0.0.2", "5", ()), ("10.3.0.2", None, ())]
    busy.ns.sh("ip link set v0 down")
    busy.ns.until("ip route show 10.30.0.0/16 | grep -q linkdown")
    assert hops() == [("10.0.0.2", "5", ()), ("10.3.0.2", None, ("linkdown",))]


def test_rules_are_what_ip_says(busy: Here) -> None:
    rules = busy.state("rules").rules

    def prefix(ip: dict[str, Any], which: str) -> str:
        if ip.get(which, "all") == "all":
            return "all"
        length = ip.get(which + "len")
        return f"{ip[which]}/{length}" if length else str(ip[which])

    theirs = [
        (
            family, ip["priority"], prefix(ip, "src"), prefix(ip, "dst"), ip.get("action", "lookup"), ip.get("table"),
            ip.get("iif"), ip.get("oif"), int(ip["fwmark"], 16) if "fwmark" in ip else None,
            int(ip["fwmask"], 16) if "fwmask" in ip else None, "not" in ip,
        )
        for family, option in (("inet", "-4"), ("inet6", "-6"))
        for ip in busy.ns.ip(f"{option} rule show")
    ]  # fmt: skip
    assert [
        (
            one.family, one.priority, one.source, one.to, one.action, one.table, one.iif, one.oif, one.fwmark,
            one.fwmask, one.inverted,
        )
        for one in rules or ()
    ] == theirs  # fmt: skip
    assert len(theirs) == 9


# What tells two rules apart, as `ip rule add` is given it and as it is seen; ip's JSON has the same names.
TELLING_RULES = [
    ("-4", "not", {"inverted": True}),
    ("-4", "iif a0", {"iif": "a0"}),
    ("-4", "iif nosuch", {"iif": "nosuch", "flags": ("iif_detached",)}),
    ("-4", "oif nosuch", {"oif": "nosuch", "flags": ("oif_detached",)}),
    ("-4", "fwmark 7", {"fwmark": 7}),
    ("-4", "tos 0x10", {"tos": 0x10}),
    ("-6", "tos 0x10", {"tos": 0x10}),
    ("-4", "ipproto tcp", {"ipproto": "tcp"}),
    ("-6", "ipproto ipv6-icmp", {"ipproto": "ipv6-icmp"}),
    ("-4", "ipproto 132", {"ipproto": "sctp"}),
    ("-4", "sport 80", {"sport": 80}),
    ("-4", "sport 1000-2000", {"sport_start": 1000, "sport_end": 2000}),
    ("-4", "dport 80", {"dport": 80}),
    ("-6", "dport 1000-2000", {"dport_start": 1000, "dport_end": 2000}),
    ("-4", "uidrange 5-9", {"uid_start": 5, "uid_end": 9}),
    ("-4", "tun_id 5", {"tun_id": 5}),
    ("-4", "suppress_prefixlength 0", {"suppress_prefixlen": 0}),
    ("-6", "suppress_prefixlength 24", {"suppress_prefixlen": 24}),
    ("-4", "suppress_ifgroup 4", {"suppress_ifgroup": 4}),
    ("-4", "protocol static", {"protocol": "static"}),
    ("-4", "realms 3/7", {"realms": "3/7"}),
    ("-4", "goto 32766", {"action": "goto", "goto": 32766, "table": None}),
    ("-4", "goto 101", {"action": "goto", "goto": 101, "table": None, "flags": ("unresolved",)}),
    ("-4", "l3mdev", {"l3mdev": True, "table": None}),
    ("-4", "nop", {"action": "nop", "table": None}),
    ("-4", "prohibit", {"action": "prohibit", "table": None}),
]


@pytest.mark.parametrize(("family", "words", "telling"), TELLING_RULES, ids=[words for _, words, _ in TELLING_RULES])
def test_rules_that_differ_in_one_word_are_not_equal(
    busy: Here, family: str, words: str, telling: dict[str, Any]
) -> None:
    def rule() -> RuleState:
        return next(one for one in busy.state("rules").rules or () if one.priority == 99)

    busy.ns.sh(f"ip {family} rule add priority 99 table main")
    plain = rule()
    busy.ns.sh(f"ip {family} rule delete priority 99")
    before, after = ("not ", "") if words == "not" else ("", words)
    busy.ns.sh(f"ip {family} rule add {before}priority 99 {after} {'' if 'table' in telling else 'table main'}")
    other = rule()
    assert plain != other and replace(plain, **telling) == other
    said = next(one for one in busy.ns.ip(f"{family} rule show") if one["priority"] == 99)
    for name, value in telling.items():
        match name:
            case "inverted":
                assert "not" in said
            case "flags":
                assert all(flag in said for flag in value)
            case "tos" | "fwmark":
                assert int(said[name], 16) == value
            case "realms":
                assert f"{said['flow_from']}/{said['flow_to']}" == value
            case "action":
                assert value in said or said["action"] == value
            case "l3mdev":
                assert name in said
            case "suppress_ifgroup":
                assert int(said[name]) == value
            case _:
                assert said.get(name) == value


def test_neighbours_are_what_ip_says(busy: Here) -> None:
    apply(
        Neighbour("add", "10.0.0.3", "a0", lladdr="52:54:00:00:00:04", state="noarp"),
        busy.ipr,
        {"other": 0}.__getitem__,
    )
    busy.ns.sh("ip neighbour add proxy 10.0.0.77 dev a0; ip neighbour add proxy fd00::77 dev a0")
    assert len(busy.ns.ip("neighbour show proxy")) == 2
    neighbours = busy.state("neighbours").neighbours
    assert [(one.dev, one.address, one.lladdr, one.state, one.flags) for one in neighbours or ()] == [
        ("a0", "10.0.0.2", "52:54:00:00:00:02", "PERMANENT", ()),
        ("a0", "10.0.0.3", "52:54:00:00:00:04", "NOARP", ()),
        ("a0", "10.0.0.77", None, "NONE", ("proxy",)),
        ("a0", "fd00::2", "52:54:00:00:00:03", "STALE", ("router",)),
        ("a0", "fd00::77", None, "NONE", ("proxy",)),
    ]


def test_parts_that_were_not_asked_for_are_none_and_empty_ones_are_empty(here: Here) -> None:
    state = here.state("addresses", "routes", "nft")
    assert state.links is None and state.sockets is None and state.unavailable == {}
    assert state.addresses == () and state.routes == ()
    assert state.nft == NftState()


def test_two_looks_at_the_same_state_are_equal(busy: Here) -> None:
    parts: tuple[SnapshotPart, ...] = ("links", "routes", "rules", "sockets", "nft")
    assert dumps(busy.state(*parts)) == dumps(busy.state(*parts))


def test_a_closed_netlink_socket_makes_everything_unavailable(here: Here) -> None:
    here.ipr.close()
    state = node_state(("links", "nft"), here.ipr)
    assert set(state.unavailable) == {"links", "nft"} and state.links is None


def test_one_part_that_fails_does_not_hide_the_others(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise KernelRefused("EPERM", "Operation not permitted")

    monkeypatch.setattr(snapshot, "route_states", fails)
    state = here.state("routes", "rules")
    assert state.unavailable == {"routes": "EPERM: Operation not permitted"}
    assert state.routes is None and state.rules


# Sockets

Protocol = Literal["tcp", "udp"]


def test_sockets_with_their_processes(here: Here) -> None:
    here.ns.sh("ip link set lo up")
    with (
        socket.socket() as server,
        socket.socket(socket.AF_INET6) as server6,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as packet,
        socket.socket() as client,
    ):
        server.bind(("127.0.0.1", 8900))
        server.listen()
        server6.bind(("::", 8901))
        server6.listen()
        udp.bind(("127.0.0.1", 53))
        packet.bind(("lo", 3))
        client.connect(("127.0.0.1", 8900))
        name = Path("/proc/self/comm").read_text().strip()
        sockets = here.state("sockets").sockets or ()
        assert node_state(("sockets",), here.ipr).sockets is not None
        # Our own are hidden; the accepted end, not yet accepted, has no inode and stays.
        assert {one.inode for one in node_state(("sockets",), here.ipr).sockets or ()} <= {None}
        local = client.getsockname()[1]
        found = {
            (s.protocol, s.family, s.state, s.address, s.port, s.remote_address, s.remote_port, s.dev) for s in sockets
        }
        assert found == {
            ("tcp", "inet", "LISTEN", "127.0.0.1", 8900, None, None, None),
            ("tcp", "inet6", "LISTEN", "::", 8901, None, None, None),
            ("tcp", "inet", "ESTABLISHED", "127.0.0.1", local, "127.0.0.1", 8900, None),
            ("tcp", "inet", "ESTABLISHED", "127.0.0.1", 8900, "127.0.0.1", local, None),
            ("udp", "inet", "UNCONNECTED", "127.0.0.1", 53, None, None, None),
            ("raw", "inet", "UNCONNECTED", "0.0.0.0", 1, None, None, "?"),
            ("packet", "packet", "UNCONNECTED", None, None, None, None, "lo"),
        }
        assert all((s.pid, s.process) == (os.getpid(), name) for s in sockets if s.inode)
        listener = next(s for s in sockets if s.port == 8900 and s.state == "LISTEN")
        assert listener.inode == os.fstat(server.fileno()).st_ino


def test_an_own_socket_that_is_closed_while_we_look_is_not_the_labs(here: Here) -> None:
    """As a capture's, which its thread closes when the step that stops it is over."""
    for moment in range(100):
        own = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)
        closing = threading.Timer(moment * 20e-6, own.close)
        closing.start()
        seen = socket_state.socket_states({}, os.getpid())
        closing.join()
        assert [row for row in seen if row.protocol == "packet"] == []


def test_sockets_of_ping_without_rights(here: Here) -> None:
    """man 7 icmp: a datagram socket of ICMP; its port is the identifier of its echo requests."""
    here.ns.sh("ip link set lo up; echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6) as six,
    ):
        four.bind(("127.0.0.1", 77))
        six.bind(("::1", 78))
        found = [(s.protocol, s.family, s.address, s.port, s.dev, s.pid) for s in here.state("sockets").sockets or ()]
        assert found == [
            ("icmp", "inet", "127.0.0.1", 77, "?", os.getpid()),
            ("icmp", "inet6", "::1", 78, "?", os.getpid()),
        ]


def test_the_device_that_a_socket_is_bound_to(here: Here) -> None:
    """As `ss` has it after a %."""
    here.ns.sh("ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up")
    here.ns.sh("ip address add fe80::1/64 dev v0 nodad")
    families = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::"))
    kinds = ((socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE))
    with contextlib.ExitStack() as stack:
        port = 8900
        for family, address in families:
            for kind, protocol in kinds:
                for device in (b"lo", b"v0", b""):
                    one = stack.enter_context(socket.socket(family, kind, protocol))
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
                    one.bind((address, port))
                    if kind == socket.SOCK_STREAM:
                        one.listen()
                    port += 1
        stack.enter_context(socket.create_connection(("127.0.0.1", 8900)))
        link_local = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        link_local.connect(("fe80::2", 53, 0, socket.if_nametoindex("v0")))
        sockets = here.state("sockets").sockets or ()
        assert [one.dev for one in sockets if one.state in ("LISTEN", "UNCONNECTED") and one.family == "inet"] == [
            "lo", "v0", None, "lo", "v0", None, "lo", "v0", None,
        ]  # fmt: skip
        assert [one.dev for one in sockets if one.remote_port == 53] == ["v0"]
        accepted = [one for one in sockets if one.state == "ESTABLISHED" and one.port == 8900]
        assert [one.dev for one in accepted] == ["lo"]
        ours = {(one.port, one.dev) for one in sockets if one.protocol in ("tcp", "udp") and one.state != "ESTABLISHED"}
        shown = [line.split()[4] for line in here.ns.sh("ss -Htunla").splitlines() if "ESTAB" not in line]
        theirs = set()
        for text in shown:
            address, _, number = text.rpartition(":")
            theirs.add((int(number), address.strip("[]").partition("%")[2] or None))
        assert ours == theirs and len(ours) == 12


def test_sockets_without_sock_diag_come_from_proc_and_are_the_same(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.ns.sh("ip link set lo up")
    with socket.socket() as server, socket.socket(socket.AF_INET6) as server6:
        server.bind(("127.0.0.1", 8900))
        server.listen()
        server6.bind(("::1", 8901))
        server6.listen()
        by_diag = here.state("sockets").sockets
        monkeypatch.setattr(sock_diag, "NETLINK_SOCK_DIAG", 31)  # a netlink family that no kernel has
        assert sock_diag.inet_sockets(socket.AF_INET) is None
        assert by_diag is not None and len(by_diag) == 2
        assert here.state("sockets").sockets == tuple(replace(one, dev=UNTOLD) for one in by_diag)
        assert is_listening(8900) and is_listening(8901) and not is_listening(8902)


def test_sock_diag_of_a_protocol_that_the_kernel_lacks_is_none_not_empty(here: Here) -> None:
    assert sock_diag.inet_sockets(socket.AF_INET, 254) is None


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")])
def test_is_listening(here: Here, protocol: Protocol, family: socket.AddressFamily, address: str) -> None:
    here.ns.sh("ip link set lo up")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    other: Protocol = "udp" if protocol == "tcp" else "tcp"
    with socket.socket(family, kind) as server:
        server.bind((address, 8900))
        if protocol == "tcp":
            assert not is_listening(8900, protocol)  # bound only
            server.listen()
        assert is_listening(8900, protocol)
        assert not is_listening(8901, protocol) and not is_listening(8900, other)
    assert not is_listening(8900, protocol)


def test_another_namespaces_listener_does_not_count(here: Here) -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 8900))
        server.listen()
        assert is_listening(8900)
        with here.other.enter():
            assert not is_listening(8900)
            seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(_listening_in(here.other)))
        thread.start()
        thread.join()
        assert seen == [False]


def _listening_in(ns: Netns) -> bool:
    with ns.enter():
        return is_listening(8900) or is_listening(8900, "udp") or bool(listening.read_table("tcp"))


def test_session_listens_only_counts_the_session(here: Here) -> None:
    code = (
        "import socket, sys; s = socket.socket(); s.bind(('0.0.0.0', 8900)); s.listen(); print('up', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        assert session_listens(server.pid, 8900)
        assert not session_listens(server.pid, 8901)
        assert is_listening(8900) and not session_listens(os.getpid(), 8900)
        server.stdin.close()


def test_a_process_that_vanishes_while_we_look_is_passed_over() -> None:
    assert listening._links(2**22 + 1) == []
    assert not listening._in_session(2**22 + 1, 1)
    assert socket_state._owners({1}) == {}


# nft


def test_nft_is_typed(here: Here) -> None:
    here.ns.sh(
        """
        ip link set lo up
        nft -f - <<'EOF'
        table inet t {
            counter pings { }
            chain input {
                type filter hook input priority 5; policy accept;
                ip protocol icmp counter name pings comment "count: # handle 9"
                udp dport { 53, 5353 } counter accept
                iifname vmap { "lo" : jump aside, "eth0" : drop }
            }
            chain aside { tcp dport 22 drop; }
        }
        table netdev n {
            chain ingress { type filter hook ingress device "lo" priority 0; }
        }
        EOF
        """
    )
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x" * 10, ("127.0.0.1", 53))
    nft = here.state("nft").nft
    assert nft is not None
    # The device of a netdev chain is missing from the JSON of nft 1.0.6.
    assert {chain.dev for chain in nft.chains} <= {None, "lo"}
    assert [(c.table, c.name, c.hook, c.type, c.priority, c.policy) for c in nft.chains] == [
        ("t", "input", "input", "filter", 5, "accept"),
        ("t", "aside", None, None, None, None),
        ("n", "ingress", "ingress", "filter", 0, "accept"),
    ]
    assert [(r.chain, r.hook, r.expression, r.comment, r.packets) for r in nft.rules] == [
        ("input", "input", 'ip protocol icmp counter name "pings"', "count: # handle 9", None),
        ("input", "input", "udp dport { 53, 5353 } counter accept", None, 1),
        ("input", "input", 'iifname vmap { "lo" : jump aside, "eth0" : drop }', None, None),
        ("aside", None, "tcp dport 22 drop", None, None),
    ]
    assert nft.rules[1].bytes == 38
    assert [(c.family, c.table, c.name) for c in nft.counters] == [("inet", "t", "pings")]
    assert nft.counters[0].packets == 1  # the port unreachable that came back


def test_rules_over_many_lines_keep_their_text(here: Here) -> None:
    elements = ", ".join(f"10.0.{i}.1 : {'drop' if i % 2 else 'accept'}" for i in range(60))
    here.ns.sh(f"nft add table ip t; nft add chain ip t c; nft 'add rule ip t c ip saddr vmap {{ {elements} }}'")
    nft = here.state("nft").nft
    assert nft is not None and len(nft.rules) == 1
    assert nft.rules[0].expression.startswith("ip saddr vmap { 10.0.0.1 : accept")
    assert nft.rules[0].expression.endswith("}") and "10.0.59.1 : drop" in nft.rules[0].expression


def test_nft_absent(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(nft_state.ENVIRONMENT, "PATH", "/nonexistent")
    state = here.state("nft", "rules")
    assert state.nft is None and state.unavailable == {"nft": "nft is not installed"}
    assert state.rules


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'Operation not permitted (you must be root)' >&2; exit 1",
            "nft: Operation not permitted (you must be root)",
        ),
        ("exit 3", "nft: exit status 3"),
        ("echo no json", "nft printed no JSON that we know"),
        ("sleep 60", "nft did not end within"),
    ],
)
def test_nft_refused(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str) -> None:
    nft = tmp_path / "nft"
    nft.write_text(f"#!/bin/sh\nexec 2>&2; {script}\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + ":/bin")
    monkeypatch.setitem(nft_state.ENVIRONMENT, "PATH", str(tmp_path) + ":/bin")
    monkeypatch.setattr(nft_state, "TIMEOUT_S", 0.3)
    state = here.state("nft")
    assert state.nft is None and reason in state.unavailable["nft"]


def test_nft_refused_by_the_kernel(here: Here) -> None:
    """A real EPERM: an ordinary user. The answer must be "could not look", not an empty ruleset."""
    code = (
        "from labrun.agent.nft_state import nft_state, Unavailable\n"
        "try: nft_state()\n"
        "except Unavailable as error: print('unavailable', error)\n"
    )
    done = subprocess.run(
        ["unshare", "--user", sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.startswith("unavailable nft: ") and "Operation not permitted" in done.stdout
