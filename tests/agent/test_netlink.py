"""Typed changes in real namespaces; `ip -json` is the witness."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from labrun.agent.netlink import KernelRefused, Rtnetlink, apply, open_rtnetlink
from labrun.agent.snapshot import node_state
from labrun.protocol.actions import Address, Link, Neighbour, Peer, Route, Rule, SnapshotPart
from labrun.protocol.shown import equivalent
from support.netns import Netns


class Here:
    """A namespace that the test is in, with a socket, and a second one as node `other`."""

    def __init__(self, ns: Netns, other: Netns, ipr: Rtnetlink) -> None:
        self.ns, self.other, self.ipr = ns, other, ipr

    def do(self, *actions: Link | Address | Route | Rule | Neighbour) -> None:
        for action in actions:
            apply(action, self.ipr, {"other": self.other.fd}.__getitem__)

    def refuses(self, action: Link | Address | Route | Rule | Neighbour) -> KernelRefused:
        with pytest.raises(KernelRefused) as caught:
            self.do(action)
        return caught.value

    def link(self, name: str) -> Any:
        return self.ns.ip(f"link show dev {name}")[0]


@pytest.fixture
def here() -> Iterator[Here]:
    with Netns() as ns, Netns() as other, ns.enter(), open_rtnetlink() as ipr:
        yield Here(ns, other, ipr)


VETH = Link("add", "a0", type="veth", peer=Peer("b0"), up=True)


def settled(ns: Netns) -> None:
    """a0 and b0 up, carrier and all, 10.0.0.1/24 and fd00::1/64 on a0. After this nothing changes by itself."""
    ns.sh("ip link set b0 up; ip link set a0 up")
    ns.until("test $(ip link show up | grep -c 'state UP') = 2")
    ns.sh("ip address add 10.0.0.1/24 dev a0; ip address add fd00::1/64 nodad dev a0")
    # Even without duplicate address detection the kernel puts the address to use in a work queue.
    ns.until("ip -6 route show table local | grep -q 'fd00::1'")
    ns.until("test $(ip -6 route show table local | grep -c 'multicast ff00::/8') = 2")


def network(here: Here) -> None:
    here.ns.sh("echo 1 > /proc/sys/net/ipv6/conf/default/addr_gen_mode")  # no fe80 addresses
    here.do(VETH)
    settled(here.ns)


# Links


def test_a_veth_pair_across_namespaces_in_one_message(here: Here) -> None:
    peer = Peer("eth0", node="other", mac="52:54:00:00:00:02", mtu=1400)
    here.do(Link("add", "veth0", type="veth", peer=peer, mac="52:54:00:12:34:56", mtu=1300, up=True, txqueuelen=7))
    ours, theirs = here.link("veth0"), here.other.ip("link show dev eth0")[0]
    assert ours["linkinfo"]["info_kind"] == "veth"
    assert (ours["address"], ours["mtu"], ours["txqlen"]) == ("52:54:00:12:34:56", 1300, 7)
    assert "UP" in ours["flags"]
    assert (theirs["address"], theirs["mtu"]) == ("52:54:00:00:00:02", 1400)
    assert "UP" not in theirs["flags"]


@pytest.mark.parametrize("kind", ["bridge", "tun", "tap"])
def test_simple_kinds(here: Here, kind: str) -> None:
    here.do(Link("add", "x0", type=kind, up=True, mtu=1280))
    link = here.link("x0")
    assert link["linkinfo"]["info_kind"] == ("bridge" if kind == "bridge" else "tun")
    if kind != "bridge":
        assert link["linkinfo"]["info_data"]["type"] == kind
        assert link["linkinfo"]["info_data"]["persist"] is True
    assert link["mtu"] == 1280 and "UP" in link["flags"]


def test_a_tap_with_a_mac_in_a_bridge_of_another_name_and_node(here: Here) -> None:
    here.do(
        Link("add", "br0", type="bridge"),
        Link("add", "t0", type="tap", mac="52:54:00:00:00:09", master="br0"),
        Link("add", "t1", type="tap", move_to="other"),
    )
    assert (here.link("t0")["master"], here.link("t0")["address"]) == ("br0", "52:54:00:00:00:09")
    assert here.other.ip("link show dev t1")


def test_a_tun_that_cannot_be_finished_is_not_left_behind(here: Here) -> None:
    assert here.refuses(Link("add", "t0", type="tap", mtu=1)).errno_name == "EINVAL"
    assert [link["ifname"] for link in here.ns.ip("link show")] == ["lo"]


def test_vxlan(here: Here) -> None:
    network(here)
    here.do(Link("add", "vx4", type="vxlan", vni=42, remote="10.0.0.2", local="10.0.0.1", port=4789, link="a0"))
    here.do(Link("add", "vx6", type="vxlan", vni=43, remote="fd00::2", local="fd00::1", port=4790))
    here.do(Link("add", "vxd", type="vxlan", vni=44))
    data = here.link("vx4")["linkinfo"]["info_data"]
    assert (data["id"], data["remote"], data["local"], data["port"], data["link"]) == (
        42, "10.0.0.2", "10.0.0.1", 4789, "a0",
    )  # fmt: skip
    data = here.link("vx6")["linkinfo"]["info_data"]
    assert (data["remote6"], data["local6"], data["port"]) == ("fd00::2", "fd00::1", 4790)
    assert here.link("vxd")["linkinfo"]["info_data"]["port"] == 8472  # the kernel's own default


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru", None])
def test_macvlan(here: Here, mode: str | None) -> None:
    here.do(VETH, Link("add", "m0", type="macvlan", link="a0", mode=mode, mac="52:54:00:00:00:07", move_to="other"))
    link = here.other.ip("link show dev m0")[0]
    assert link["linkinfo"]["info_data"]["mode"] == (mode or "vepa")


@pytest.mark.parametrize(
    "link",
    [
        Link("add", "x0", type="dummy"),
        Link("add", "x0", type="vlan", link="a0", vlan=5),
        Link("add", "x0", type="vrf"),
        Link("add", "x0", type="ipvlan", link="a0", mode="l3"),
        Link("add", "x0", type="bond", mode="active-backup"),
        Link("add", "x0", type="wireguard"),
    ],
    ids=lambda link: str(link.type),
)
def test_kinds_that_a_kernel_may_lack_are_made_or_refused_cleanly(here: Here, link: Link) -> None:
    here.do(VETH)
    try:
        here.do(link)
    except KernelRefused as error:
        refusal = (error.errno_name, error.message)
    else:
        assert here.link("x0")["linkinfo"]["info_kind"] == link.type
        return
    assert refusal == ("EOPNOTSUPP", "Unknown device type")


def test_set_everything(here: Here) -> None:
    here.do(
        VETH,
        Link("add", "br0", type="bridge"),
        Link("set", "a0", up=False, mtu=1234, mac="52:54:00:aa:bb:cc", master="br0", arp=False, promisc=True),
    )
    link = here.link("a0")
    assert (link["mtu"], link["address"], link["master"]) == (1234, "52:54:00:aa:bb:cc", "br0")
    assert {"NOARP", "PROMISC"} <= set(link["flags"]) and "UP" not in link["flags"]
    here.do(Link("set", "a0", master="", arp=True, promisc=False, rename="eth7"))
    link = here.link("eth7")
    assert "master" not in link and not {"NOARP", "PROMISC"} & set(link["flags"])
    here.do(Link("set", "eth7", move_to="other", rename="eth8", up=True))
    assert "UP" in here.other.ip("link show dev eth8")[0]["flags"]
    here.do(Link("set", "lo", up=True))
    assert "UP" in here.link("lo")["flags"]


def test_offloads_are_switched_on_and_off(here: Here) -> None:
    def state() -> list[int]:
        """ETHTOOL_GTXCSUM, GSG, GTSO, GGSO and GGRO of linux/ethtool.h."""
        found = []
        with here.ns.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for command in (0x16, 0x18, 0x1E, 0x23, 0x2B):
                asked = array.array("I", (command, 0))
                fcntl.ioctl(sock, 0x8946, struct.pack("16sP16x", b"a0", asked.buffer_info()[0]))
                found.append(asked[1])
        return found

    here.do(VETH)
    assert state()[:4] == [1, 1, 1, 1]
    here.do(Link("set", "a0", offloads="off"))
    assert state() == [0, 0, 0, 0, 0]
    here.do(Link("set", "a0", offloads="on"))
    assert state() == [1, 1, 1, 1, 1]
    with pytest.raises(KernelRefused, match="No such device"):
        here.do(Link("set", "none", offloads="off"))


def test_delete(here: Here) -> None:
    here.do(VETH, Link("delete", "b0"))
    assert [link["ifname"] for link in here.ns.ip("link show")] == ["lo"]


@pytest.mark.parametrize(
    ("link", "errno_name", "message"),
    [
        (Link("add", "a0", type="bridge"), "EEXIST", "File exists"),
        (Link("add", "x0", type="veth", peer=Peer("a0")), "EEXIST", "File exists"),
        (Link("add", "x0", type="nonsense"), "EOPNOTSUPP", "Unknown device type"),
        (Link("add", "x0"), "EINVAL", "x0: a link to add needs a type"),
        (Link("add", "x" * 16, type="bridge"), "EINVAL", "'xxxxxxxxxxxxxxxx' cannot be an interface's name"),
        (Link("add", "x/0", type="bridge"), "EINVAL", "'x/0' cannot be"),
        (Link("add", "x0", type="bridge", mode="l2"), "EINVAL", "x0: a bridge has no mode"),
        (Link("add", "x0", type="macvlan", link="a0", mode="odd"), "EINVAL", "'odd' is no macvlan mode; known are"),
        (Link("add", "x0", type="macvlan", link="no"), "ENODEV", "there is no interface 'no'"),
        (Link("add", "x0", type="bridge", mac="52:54"), "EINVAL", "'52:54' is no MAC address"),
        (Link("add", "x0", type="vxlan", vni=1, remote="x"), "EINVAL", "'x' is no IP address"),
        (Link("add", "t0", type="tap", master="a0"), "EOPNOTSUPP", ""),
        (Link("set", "no", up=True), "ENODEV", "there is no interface 'no'"),
        (Link("set", "n" * 20, up=True), "ENODEV", "there is no interface"),
        (Link("set", "a0", master="no"), "ENODEV", "there is no interface 'no'"),
        (Link("set", "a0", mtu=70000), "EINVAL", "mtu greater than device maximum"),
        (Link("set", "a0", rename="lo"), "EEXIST", "File exists"),
        (Link("delete", "lo"), "EOPNOTSUPP", "Operation not supported"),
        (Link("delete", "no"), "ENODEV", "there is no interface 'no'"),
    ],
    ids=lambda value: value.name + str(value.type) if isinstance(value, Link) else None,
)
def test_link_refusals(here: Here, link: Link, errno_name: str, message: str) -> None:
    here.do(VETH)
    error = here.refuses(link)
    assert error.errno_name == errno_name
    assert message in error.message and error.message


def test_a_second_tun_of_the_same_name_is_busy(here: Here) -> None:
    here.do(Link("add", "t0", type="tun"))
    assert here.refuses(Link("add", "t0", type="tun")).errno_name == "EBUSY"
    assert here.link("t0")


def test_no_tun_device(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labrun.agent.links.TUN_DEVICE", "/dev/net/absent")
    error = here.refuses(Link("add", "t0", type="tun"))
    assert (error.errno_name, error.message) == ("ENOENT", "/dev/net/absent: No such file or directory")


def test_a_refusal_leaves_the_socket_usable(here: Here) -> None:
    for _ in range(3):
        here.refuses(Link("delete", "no"))
    here.do(VETH)


# Addresses


def addresses(here: Here, dev: str = "a0") -> list[dict[str, Any]]:
    return list(here.ns.ip(f"address show dev {dev}")[0]["addr_info"])


def test_addresses_as_iproute2_adds_them(here: Here) -> None:
    here.do(
        VETH,
        Address("add", "10.0.0.1/24", "a0", broadcast="+"),
        Address("add", "10.1.0.1/16", "a0", broadcast="10.1.255.254", scope="link"),
        Address("add", "10.2.0.1", "a0", peer="10.2.0.2/30"),
        Address("add", "127.5.0.1/8", "a0"),
        Address("add", "10.9.0.1", "a0"),
        Address("add", "fd00::1/64", "a0"),
    )
    ours = addresses(here)
    here.ns.sh("ip addr flush dev a0; ip link set a0 down; ip link set a0 up")
    here.ns.sh(
        """
        ip address add 10.0.0.1/24 broadcast + dev a0
        ip address add 10.1.0.1/16 broadcast 10.1.255.254 scope link dev a0
        ip address add 10.2.0.1 peer 10.2.0.2/30 dev a0
        ip address add 127.5.0.1/8 dev a0
        ip address add 10.9.0.1 dev a0
        ip address add fd00::1/64 dev a0
        """
    )
    keep = ("family", "local", "address", "prefixlen", "scope", "broadcast")

    def shown(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {key: info[key] for key in keep if key in info} for info in found if not info["local"].startswith("fe80")
        ]

    assert shown(ours) == shown(addresses(here))
    assert len(shown(ours)) == 6


def test_delete_and_replace_addresses(here: Here) -> None:
    here.do(
        VETH,
        Address("add", "10.0.0.1/24", "a0"),
        Address("replace", "10.0.0.1/24", "a0"),
        Address("add", "10.0.1.1/24", "a0"),
        Address("add", "fd00::1/64", "a0"),
        Address("delete", "10.0.0.1", "a0"),  # whatever its length
        Address("delete", "fd00::1/64", "a0"),
    )
    assert [info["local"] for info in addresses(here) if info["scope"] == "global"] == ["10.0.1.1"]


@pytest.mark.parametrize(
    ("action", "errno_name", "message"),
    [
        (Address("add", "10.0.0.1/24", "a0"), "EEXIST", ""),
        (Address("add", "10.0.0.1/24", "no"), "ENODEV", "there is no interface 'no'"),
        (Address("delete", "10.0.0.9/24", "a0"), "EADDRNOTAVAIL", ""),
        (Address("add", "10.0.0.300/24", "a0"), "EINVAL", "'10.0.0.300' is no IP address"),
        (Address("add", "10.0.0.1/33", "a0"), "EINVAL", "'10.0.0.1/33' has no prefix length from 0 to 32"),
        (Address("add", "10.0.0.1/x", "a0"), "EINVAL", "'10.0.0.1/x' has no prefix length"),
        (Address("add", "10.3.0.1/24", "a0", scope="odd"), "EINVAL", "'odd' is no scope; known are global"),
        (Address("add", "10.3.0.1/24", "a0", peer="fd00::2"), "EINVAL", "of the other family"),
        (Address("add", "10.3.0.1/24", "a0", broadcast="fd00::2"), "EINVAL", "only IPv4 has broadcast"),
        (Neighbour("add", "10.0.0.2", "no", lladdr="52:54:00:00:00:01"), "ENODEV", "there is no interface 'no'"),
        (Neighbour("add", "10.0.0.2", "a0"), "EINVAL", ""),
        (Neighbour("add", "10.0.0.2", "a0", lladdr="52"), "EINVAL", "'52' is no MAC address"),
        (Neighbour("add", "x", "a0", lladdr="52:54:00:00:00:01"), "EINVAL", "'x' is no IP address"),
        (Neighbour("add", "10.0.0.2", "a0", state="odd"), "EINVAL", "'odd' is no state"),
        (Neighbour("delete", "10.0.0.77", "a0"), "ENOENT", ""),
    ],
    ids=str,
)
def test_address_and_neighbour_refusals(here: Here, action: Address | Neighbour, errno_name: str, message: str) -> None:
    network(here)
    error = here.refuses(action)
    assert error.errno_name == errno_name
    assert message in error.message and error.message


def test_neighbours(here: Here) -> None:
    network(here)
    here.do(
        Neighbour("add", "10.0.0.2", "a0", lladdr="52:54:00:00:00:01"),
        Neighbour("add", "fd00::2", "a0", lladdr="52:54:00:00:00:02", state="reachable"),
        Neighbour("replace", "10.0.0.2", "a0", lladdr="52:54:00:00:00:03"),
        Neighbour("add", "10.0.0.3", "a0", lladdr="52:54:00:00:00:04", state="noarp"),
        Neighbour("add", "10.0.0.4", "a0", lladdr="52:54:00:00:00:05"),
        Neighbour("delete", "10.0.0.4", "a0"),
    )
    found = {row["dst"]: (row["lladdr"], row["state"]) for row in here.ns.ip("neighbour show nud all dev a0")}
    assert found["10.0.0.2"] == ("52:54:00:00:00:03", ["PERMANENT"])
    assert found["fd00::2"] == ("52:54:00:00:00:02", ["REACHABLE"])
    assert found["10.0.0.3"] == ("52:54:00:00:00:04", ["NOARP"])
    assert "10.0.0.4" not in found
    assert here.refuses(Neighbour("add", "10.0.0.2", "a0", lladdr="52:54:00:00:00:09")).errno_name == "EEXIST"


# Routes and rules

ROUTES: list[tuple[Route, str]] = [
    (Route("add", "default", via="10.0.0.254"), "default via 10.0.0.254"),
    (Route("add", "default", via="fd00::fe"), "default via fd00::fe"),
    (Route("add", "10.5.0.0/16", via="10.0.0.254", metric=7), "10.5.0.0/16 via 10.0.0.254 metric 7"),
    (Route("add", "10.6.0.0/16", dev="a0"), "10.6.0.0/16 dev a0"),
    (Route("add", "10.6.1.1", dev="a0", src="10.0.0.1", mtu=1400), "10.6.1.1 dev a0 src 10.0.0.1 mtu 1400"),
    (Route("add", "10.7.0.1", dev="a0", type="local"), "local 10.7.0.1 dev a0"),
    (Route("add", "10.7.0.2", dev="a0", type="broadcast"), "broadcast 10.7.0.2 dev a0"),
    (Route("add", "10.8.0.0/16", type="blackhole"), "blackhole 10.8.0.0/16"),
    (Route("add", "10.9.0.0/16", type="unreachable", table="100"), "unreachable 10.9.0.0/16 table 100"),
    (Route("add", "10.10.0.0/16", type="prohibit", table="4711"), "prohibit 10.10.0.0/16 table 4711"),
    (Route("add", "10.11.0.0/16", type="throw", metric=3), "throw 10.11.0.0/16 metric 3"),
    (Route("add", "10.12.0.0/16", via="1.2.3.4", dev="a0", onlink=True), "10.12.0.0/16 via 1.2.3.4 dev a0 onlink"),
    (Route("add", "10.13.0.0/16", dev="a0", scope="host"), "10.13.0.0/16 dev a0 scope host"),
    (Route("add", "10.14.0.0/16", via="fd00::fe", dev="a0"), "10.14.0.0/16 via inet6 fd00::fe dev a0"),
    (Route("add", "fd01::/64", via="fd00::fe"), "fd01::/64 via fd00::fe"),
    (Route("add", "fd02::/64", dev="a0", metric=5), "fd02::/64 dev a0 metric 5"),
    (Route("add", "fd03::/64", type="blackhole"), "blackhole fd03::/64"),
    (Route("add", "fd04::1", type="local", dev="a0"), "local fd04::1 dev a0"),
    (Route("add", "::/0", type="unreachable", table="200"), "unreachable ::/0 table 200"),
    (Route("add", "10.15.0.0/16", dev="a0", table="local"), "10.15.0.0/16 dev a0 table local"),
]


def all_routes(here: Here) -> list[Any]:
    return [*here.ns.ip("-4 route show table all"), *here.ns.ip("-6 route show table all")]


@pytest.mark.parametrize(("action", "words"), ROUTES, ids=[words for _, words in ROUTES])
def test_routes_as_iproute2_adds_and_deletes_them(here: Here, action: Route, words: str) -> None:
    network(here)
    before = all_routes(here)
    family = "-6" if ":" in words and "inet6" not in words else "-4"
    here.do(action)
    ours = all_routes(here)
    assert len(ours) == len(before) + 1
    here.ns.sh(f"ip {family} route delete {words}")
    assert all_routes(here) == before
    here.ns.sh(f"ip {family} route add {words}")
    assert all_routes(here) == ours
    here.do(Route("delete", action.to, via=action.via, type=action.type, table=action.table))
    assert all_routes(here) == before


def test_route_replace_and_loose_delete(here: Here) -> None:
    network(here)
    here.do(
        Route("add", "default", via="10.0.0.254"),
        Route("replace", "default", via="10.0.0.253"),
        Route("add", "10.6.0.0/16", via="10.0.0.253", metric=9),
        Route("delete", "10.6.0.0/16"),
    )
    assert [(row["dst"], row.get("gateway")) for row in here.ns.ip("-4 route show")] == [
        ("default", "10.0.0.253"),
        ("10.0.0.0/24", None),
    ]


def test_the_local_route_of_an_own_address_can_be_deleted(here: Here) -> None:
    network(here)
    here.do(Route("delete", "10.0.0.1", table="local", type="local"))
    assert "10.0.0.1" not in [row["dst"] for row in here.ns.ip("-4 route show table local")]


@pytest.mark.parametrize(
    ("action", "errno_name", "message"),
    [
        (Route("add", "default", via="192.168.7.1"), "ENETUNREACH", "Nexthop has invalid gateway"),
        (Route("add", "10.6.0.0/16", dev="no"), "ENODEV", "there is no interface 'no'"),
        (Route("add", "10.6.0.1/16", dev="a0"), "EINVAL", "Invalid prefix for given prefix length"),
        (Route("add", "10.6.0.0/16"), "ENODEV", ""),
        (Route("add", "10.6.0.0/16", dev="a0", src="10.99.0.1"), "EINVAL", "Invalid prefsrc address"),
        (Route("add", "fd09::/64", via="fd77::1"), "EHOSTUNREACH", ""),
        (Route("add", "10.6.0.0/16", dev="a0", type="odd"), "EINVAL", "'odd' is no type of route"),
        (Route("add", "10.6.0.0/16", dev="a0", table="odd"), "EINVAL", "'odd' is no routing table"),
        (Route("add", "fd09::/64", via="10.0.0.254", dev="a0"), "EINVAL", ""),
        (Route("delete", "10.77.0.0/16"), "ESRCH", "No such process"),
        (Rule("delete", priority=77), "ENOENT", ""),
        (Rule("delete"), "EINVAL", "at least one field"),
        (Rule("delete", family="inet6"), "EINVAL", "at least one field"),
        (Rule("add", source="10.0.0.0/8", to="fd00::/8"), "EINVAL", "IPv4 and of IPv6 at once"),
        (Rule("add", source="10.0.0.0/8", action="odd"), "EINVAL", "'odd' is no action of a rule"),
        (Rule("add", source="10.0.0.0/8", priority=5, table="100"), "EEXIST", ""),
    ],
    ids=str,
)
def test_route_and_rule_refusals(here: Here, action: Route | Rule, errno_name: str, message: str) -> None:
    network(here)
    here.do(Rule("add", source="10.0.0.0/8", priority=5, table="100"))
    error = here.refuses(action)
    assert error.errno_name == errno_name
    assert message in error.message and error.message


RULES: list[tuple[Rule, str]] = [
    (Rule("add", priority=100, source="10.0.0.0/8", table="100"), "-4 priority 100 from 10.0.0.0/8 lookup 100"),
    (Rule("add", priority=101, to="10.0.0.0/8", table="4711"), "-4 priority 101 to 10.0.0.0/8 lookup 4711"),
    (Rule("add", priority=102, iif="a0", oif="b0"), "-4 priority 102 iif a0 oif b0"),
    (Rule("add", fwmark=7, table="local"), "-4 fwmark 7 lookup local"),
    (Rule("add", priority=103, source="10.1.1.1", action="blackhole"), "-4 priority 103 blackhole from 10.1.1.1"),
    (Rule("add", priority=104, source="fd00::/64", action="prohibit"), "-6 priority 104 prohibit from fd00::/64"),
    (Rule("add", priority=105, family="inet6", action="unreachable"), "-6 priority 105 unreachable"),
    (Rule("add", priority=106, source="all", table="100"), "-4 priority 106 from all lookup 100"),
]


@pytest.mark.parametrize(("action", "words"), RULES, ids=[words for _, words in RULES])
def test_rules_as_iproute2_adds_and_deletes_them(here: Here, action: Rule, words: str) -> None:
    network(here)

    def rules() -> list[Any]:
        return [*here.ns.ip("-4 rule show"), *here.ns.ip("-6 rule show")]

    before = rules()
    family, rest = words[:2], words[3:]
    here.do(action)
    ours = rules()
    assert len(ours) == len(before) + 1
    here.ns.sh(f"ip {family} rule delete {rest}")
    assert rules() == before
    here.ns.sh(f"ip {family} rule add {rest}")
    assert rules() == ours
    here.do(Rule("delete", **{field: getattr(action, field) for field in action.__slots__ if field != "op"}))
    assert rules() == before


# The command that a report shows does what the agent did

SAME: list[Link | Address | Route | Rule | Neighbour] = [
    Link(
        "add", "x0", type="veth", peer=Peer("y0", mac="52:54:00:00:01:01", mtu=1400), mac="52:54:00:00:01:02", up=True
    ),
    Link("add", "br0", type="bridge", mac="52:54:00:00:01:03", mtu=1300, up=True),
    Link("add", "vx0", type="vxlan", vni=5, link="a0", remote="10.0.0.9", port=4789, mac="52:54:00:00:01:04"),
    Link("add", "m0", type="macvlan", link="a0", mode="private", mac="52:54:00:00:01:05", arp=False, promisc=True),
    Link("add", "t0", type="tap", mac="52:54:00:00:01:06", up=True),
    Link("add", "t0", type="tun"),
    Link("set", "a0", mtu=1280, promisc=True, arp=False, txqueuelen=5, up=False),
    Link("set", "b0", rename="c0"),
    Link("delete", "a0"),
    Address("add", "10.3.0.1/24", "b0", broadcast="+", scope="link"),
    Address("replace", "10.3.0.1", "b0", peer="10.3.0.2/30"),
    Address("delete", "10.0.0.1/24", "a0"),
    Address("delete", "10.0.0.1", "a0"),
    Neighbour("add", "10.0.0.2", "a0", lladdr="52:54:00:00:00:01"),
    Neighbour("replace", "fd00::2", "a0", lladdr="52:54:00:00:00:01", state="stale"),
    Route("delete", "10.0.0.1", table="local", type="local"),
    Route("delete", "10.0.0.0/24"),
    *(route for route, _words in ROUTES),
    *(rule for rule, _words in RULES),
]


@pytest.mark.parametrize("action", SAME, ids=equivalent)
def test_the_shown_command_does_the_same(action: Link | Address | Route | Rule | Neighbour) -> None:
    parts: tuple[SnapshotPart, ...] = ("links", "addresses", "routes", "rules", "neighbours")
    seen = []
    for by_agent in (True, False):
        with Netns() as ns, ns.enter(), open_rtnetlink() as ipr:
            here = Here(ns, ns, ipr)
            ns.sh("echo 1 > /proc/sys/net/ipv6/conf/default/addr_gen_mode")
            here.do(replace(VETH, mac="52:54:00:00:00:01", up=None, peer=Peer("b0", mac="52:54:00:00:00:02")))
            settled(ns)
            if by_agent:
                here.do(action)
            else:
                ns.sh(equivalent(action))
            state = node_state(parts, ipr)
            # Whether news of a new carrier has arrived by now is nobody's doing.
            links = tuple(
                replace(link, operstate="", flags=tuple(sorted(set(link.flags) - {"LOWER_UP", "NO-CARRIER"})))
                for link in state.links or ()
            )
            routes = tuple(replace(one, flags=()) for one in state.routes or () if one.type != "multicast")
            seen.append(replace(state, links=links, routes=routes))
    assert seen[0] == seen[1]


# What the agent pays


def test_the_cheap_import_leaves_the_real_pyroute2_importable() -> None:
    code = (
        "import sys, labrun.agent.netlink; assert 'asyncio' not in sys.modules; assert 'pyroute2' not in sys.modules;"
        "import pyroute2; ipr = pyroute2.IPRoute(); assert ipr.get_links(); ipr.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
