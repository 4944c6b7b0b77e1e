"""Traces against the real kernel: what it tells of packets on each way through a machine, and that nothing is changed."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from labrun.agent.nft_state import nft_state
from labrun.agent.trace import Trace, TraceError
from labrun.observe.hooks import PacketPath, matches, packet_paths
from labrun.protocol.codec import loads
from labrun.protocol.events import Unseen
from labrun.protocol.traces import TraceEvent
from pyroute2 import IPRoute
from support.netns import Netns

ECHO = "icmp type echo-request"


class Net:
    """left (10.0.1.2) - middle (10.0.1.1, 10.0.2.1; forwards) - right (10.0.2.2); traces are of middle."""

    def __init__(self, left: Netns, middle: Netns, right: Netns, path: Path) -> None:
        self.left, self.middle, self.right, self.path = left, middle, right, path

    def started(self, match: str | None = ECHO, **options: object) -> Trace:
        with self.middle.enter():
            trace = Trace(self.path, match, **options)  # type: ignore[arg-type]
            trace.start()
        return trace

    def events(self) -> list[TraceEvent]:
        return [loads(TraceEvent, line) for line in self.path.read_bytes().splitlines()]

    def paths(self) -> tuple[PacketPath, ...]:
        return packet_paths(self.events())

    def traced(self, netns: Netns, command: str, match: str | None = ECHO, **options: object) -> tuple[PacketPath, ...]:
        """The paths in middle of what a command in ``netns`` causes."""
        trace = self.started(match, **options)
        netns.sh(command)
        stats = trace.stop()
        assert stats.complete and stats.events == len(self.events()), stats
        return self.paths()

    def ruleset(self, text: str) -> None:
        """nft 1.0.6 wants a line of its own for a brace that ends a block inside another."""
        text = text.replace("}", "\n}\n")
        self.middle.sh(f"nft -f - <<'END'\n{text}\nEND")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with Netns() as left, Netns() as middle, Netns() as right:
        for netns in (left, middle, right):
            netns.sh(
                "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip link set lo up"
            )
        for netns, device, subnet in ((left, "eth0", 1), (right, "eth1", 2)):
            middle.sh(f"ip link add {device} type veth peer name eth0 netns /proc/{os.getpid()}/fd/{netns.fd}")
            middle.sh(f"ip addr add 10.0.{subnet}.1/24 dev {device}; ip link set {device} up")
            netns.sh(
                f"ip addr add 10.0.{subnet}.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.{subnet}.1"
            )
            middle.until(f"ip -br link show {device} | grep -q UP")
            netns.until("ip -br link show eth0 | grep -q UP")
            netns.sh(f"ping -c1 -W5 10.0.{subnet}.1")  # neighbours know each other
        middle.sh("sysctl -qw net.ipv4.ip_forward=1")
        yield Net(left, middle, right, tmp_path / "trace.jsonl")


def test_a_packet_that_is_forwarded(net: Net) -> None:
    (path,) = net.traced(net.left, "ping -c1 -W5 10.0.2.2")
    assert path.path == ("prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1")
    assert path.outcome == "accept"
    assert (path.first.source, path.first.destination, path.first.icmp_type) == ("10.0.1.2", "10.0.2.2", 8)
    assert (path.first.ttl, path.last.ttl) == (64, 63)
    assert len(net.events()) == 6


def test_a_packet_to_this_machine_and_the_answer(net: Net) -> None:
    request, reply = net.traced(net.left, "ping -c1 -W5 10.0.1.1", None, families=("ip",))
    assert (request.path, request.outcome) == (("prerouting@eth0", "input@eth0"), "accept")
    assert (reply.path, reply.outcome) == (("output@eth0", "postrouting@eth0"), "accept")
    assert reply.first.icmp_type == 0


def test_a_packet_through_lo_is_one_packet_with_two_trace_ids(net: Net) -> None:
    (path,) = net.traced(net.middle, "ping -c1 -W5 127.0.0.1")
    assert path.path == ("output@lo", "postrouting@lo", "prerouting@lo", "input@lo")
    assert path.outcome == "accept"
    assert len({event.id for event in net.events()}) == 2


def test_pings_are_told_apart_though_trace_ids_recur(net: Net) -> None:
    paths = net.traced(net.left, "for i in $(seq 20); do ping -c1 -W5 10.0.2.2; done")
    assert [path.path for path in paths] == [("prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1")] * 20


@pytest.mark.parametrize(
    ("hook", "command", "path"),
    [
        ("prerouting", "ping -c1 -W0.2 10.0.2.2", ("prerouting@eth0",)),
        ("input", "ping -c1 -W0.2 10.0.1.1", ("prerouting@eth0", "input@eth0")),
        ("forward", "ping -c1 -W0.2 10.0.2.2", ("prerouting@eth0", "forward@eth0>eth1")),
        ("postrouting", "ping -c1 -W0.2 10.0.2.2", ("prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1")),
    ],
)
def test_a_drop_names_the_rule_of_the_lab(net: Net, hook: str, command: str, path: tuple[str, ...]) -> None:
    net.ruleset(f"""table ip lab {{ chain c {{ type filter hook {hook} priority 0;
        jump no\n }}\n chain no {{ icmp type echo-request counter drop comment "no pings"\n }} }}""")
    (found,) = net.traced(net.left, f"{command} || true")
    assert found.path == path and found.outcome == "drop"
    assert found.by is not None
    assert (found.by.table, found.by.chain, found.by.comment) == ("lab", "no", "no pings")
    assert found.by.text is not None and "icmp type echo-request" in found.by.text
    assert found.end == f'dropped at {hook} by ip lab no handle {found.by.rule} ("no pings")'
    assert matches(found, (*path, "drop")) and not matches(found, path)


def test_a_reject_at_output_and_a_policy(net: Net) -> None:
    net.ruleset("table inet lab { chain out { type filter hook output priority 0\n oifname eth1 reject\n } }")
    (rejected,) = net.traced(net.middle, "ping -c1 -W0.2 10.0.2.2 || true")
    assert (rejected.path, rejected.outcome) == (("output@eth1",), "drop")
    net.ruleset("table inet lab { chain in { type filter hook input priority 0; policy drop; } }")
    (dropped,) = net.traced(net.left, "ping -c1 -W0.2 10.0.1.1 || true")
    assert dropped.end == "dropped at input by inet lab in the policy"


def test_nat_shows_both_addresses_and_keeps_the_packet_together(net: Net) -> None:
    net.ruleset("""table ip lab { chain pre { type nat hook prerouting priority dstnat
        ip daddr 10.0.1.77 dnat to 10.0.2.2\n }
        chain post { type nat hook postrouting priority srcnat\n masquerade\n } }""")
    net.middle.sh("ip addr add 10.0.1.77/24 dev eth0")
    (path,) = net.traced(net.left, "ping -c1 -W5 10.0.1.77")
    assert path.path == ("prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1")
    assert (path.first.source, path.first.destination) == ("10.0.1.2", "10.0.1.77")
    assert (path.last.source, path.last.destination) == ("10.0.2.1", "10.0.2.2")


def test_without_a_route_a_packet_is_lost_after_prerouting(net: Net) -> None:
    (path,) = net.traced(net.left, "ping -c1 -W0.2 198.51.100.1 || true")
    assert (path.path, path.outcome, path.end) == (("prerouting@eth0",), "lost", "not seen again after prerouting")


def test_ingress_and_egress_of_named_devices(net: Net) -> None:
    (path,) = net.traced(net.left, "ping -c1 -W5 10.0.2.2", devices=("eth0", "eth1"))
    assert path.path == ("ingress@eth0", "prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1", "egress@eth1")
    (path,) = net.traced(net.middle, "ping -c1 -W5 127.0.0.1", devices=("lo",))
    assert path.path == ("output@lo", "postrouting@lo", "egress@lo", "ingress@lo", "prerouting@lo", "input@lo")


def test_ipv6(net: Net) -> None:
    net.middle.sh("sysctl -qw net.ipv6.conf.lo.disable_ipv6=0")
    (path,) = net.traced(net.middle, "ping -c1 -W5 ::1", "icmpv6 type echo-request")
    assert path.path == ("output@lo", "postrouting@lo", "prerouting@lo", "input@lo")
    assert (path.first.protocol, path.first.source, path.first.icmp_type) == ("icmpv6", "::1", 128)


def test_the_first_packet_after_start_is_there_every_time(net: Net) -> None:
    for _ in range(50):
        (path,) = net.traced(net.left, "ping -c1 -W5 10.0.2.2", None if _ % 2 else ECHO)[:1]
        assert path.path[0] == "prerouting@eth0" and path.outcome == "accept"


def test_flush_puts_everything_so_far_on_disk(net: Net) -> None:
    trace = net.started()
    for count in range(1, 6):
        net.left.sh("ping -c1 -W5 10.0.2.2")
        trace.flush()
        assert len(net.paths()) == count and trace.kept == len(net.events())
    trace.stop()


def test_the_labs_ruleset_and_counters_are_as_without_a_trace(net: Net) -> None:
    net.ruleset("""table inet lab { counter every { }
        chain in { type filter hook input priority 0\n counter name every\n ip protocol icmp counter\n } }""")
    with net.middle.enter():
        before = nft_state()
    trace = net.started()
    with net.middle.enter():
        assert nft_state() == before
    net.left.sh("ping -c3 -i0.01 -W5 10.0.1.1")
    with net.middle.enter():
        during = nft_state()
    trace.stop()
    with net.middle.enter():
        assert nft_state() == during
    assert [counter.packets for counter in during.counters] == [3]
    assert {chain.table for chain in during.chains} == {rule.table for rule in during.rules} == {"lab"}
    assert "labrun" not in net.middle.sh("nft list ruleset")


def test_a_trace_survives_a_flush_of_the_ruleset(net: Net) -> None:
    trace = net.started()
    net.middle.sh("nft flush ruleset")
    net.left.sh("ping -c1 -W5 10.0.2.2")
    assert trace.stop().complete
    assert len(net.paths()) == 1


def test_where_a_flush_can_take_the_table_away_it_is_said(net: Net) -> None:
    trace = net.started(owned=False)
    net.left.sh("ping -c1 -W5 10.0.2.2")
    net.middle.sh("nft flush ruleset")
    stats = trace.stop()
    assert not stats.complete and "was taken away during the trace" in str(stats.trouble)
    assert len(net.paths()) == 1


def test_a_table_made_anew_does_not_lend_its_words_to_old_events(net: Net) -> None:
    rules = (
        "table ip lab { chain c { type filter hook input priority 0\n icmp type echo-request counter comment %s\n } }"
    )
    net.ruleset(rules % '"old"')
    trace = net.started()
    net.left.sh("ping -c1 -W5 10.0.1.1")
    net.middle.sh("nft delete table ip lab")
    net.ruleset(rules % '"new"')
    trace.flush()
    net.left.sh("ping -c1 -W5 10.0.1.1")
    trace.stop()
    assert [event.comment for event in net.events() if event.table == "lab" and event.rule] == [None, "new"]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("icmp type nonsense", "does not take the match"),
        ("drop", "does not take the match"),
        ("counter", "only matches"),
        ("ip ttl 1 meta mark set 5", "only matches"),
        ("ct state new", "conntrack has not seen"),
        ("ip ttl 1; drop", "not a match"),
        ("", "not a match"),
    ],
)
def test_what_is_not_a_match_is_refused_and_nothing_is_left_behind(net: Net, match: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        net.started(match)
    assert net.middle.sh("nft list ruleset") == ""


def test_one_trace_at_a_time(net: Net) -> None:
    trace = net.started()
    with pytest.raises(TraceError, match="another trace in this node"):
        net.started()
    trace.stop()
    net.started().stop()


def test_lost_events_are_counted(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labrun.agent.trace._BUFFER_BYTES", 1)
    trace = net.started(None)
    net.left.sh("ping -c200 -f -l 100 -W5 10.0.2.2")
    stats = trace.stop()
    assert stats.drops > 0 and "dropped" in str(stats.trouble) and not stats.complete


def test_it_agrees_with_nft_monitor(net: Net) -> None:
    net.ruleset("""table ip lab { chain c { type filter hook forward priority 0
        jump sub\n }\n chain sub { ip ttl 63 counter\n ip protocol icmp return\n } }""")
    trace = net.started()
    with net.middle.enter():
        monitor = subprocess.Popen(["nft", "monitor", "trace"], stdout=subprocess.PIPE, text=True)
    net.middle.until("awk '$2 == 12 && $4 == \"00000100\"' /proc/net/netlink | wc -l | grep -q 2")
    net.left.sh("ping -c1 -W5 10.0.2.2")
    trace.stop()
    monitor.terminate()
    told = [line.split()[2:6] for line in monitor.communicate()[0].splitlines() if " packet: " not in line]
    ours = [event for event in net.events() if not (event.type == "rule" and event.rule is None)]
    assert told == [[f"{event.id:08x}", event.family, event.table, event.chain] for event in ours]


IN_A_USER_NAMESPACE = """
import subprocess, sys
from pathlib import Path
from labrun.agent.trace import Trace
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
trace = Trace(Path(sys.argv[1]), "icmp type echo-request")
trace.start()
subprocess.run(["nft", "flush", "ruleset"], check=True)
subprocess.run(["ping", "-c1", "-W5", "127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
print(trace.stop().complete)
"""


def test_as_root_of_a_user_namespace(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    argv = ["unshare", "-Urn", sys.executable, "-c", IN_A_USER_NAMESPACE, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    (way,) = packet_paths(loads(TraceEvent, line) for line in path.read_bytes().splitlines())
    assert way.path == ("output@lo", "postrouting@lo", "prerouting@lo", "input@lo")


PING4 = {"source": "10.0.1.2", "destination": "10.0.2.2", "protocol": "icmp", "icmp_type": 8, "icmp_code": 0, "ttl": 64}
PING6 = {"source": "::1", "destination": "::1", "protocol": "icmpv6", "icmp_type": 128, "icmp_code": 0, "ttl": 64}
UDP4 = {"source": "10.0.1.2", "destination": "10.0.2.2", "protocol": "udp", "dport": 9, "ttl": 64}


@pytest.mark.parametrize("devices", [(), ("eth0", "eth1", "lo"), ("eth1",)])
@pytest.mark.parametrize(
    ("here", "command", "match", "told"),
    [
        ("left", "ping -c1 -W5 10.0.2.2", ECHO, PING4),
        ("left", "bash -c 'echo > /dev/udp/10.0.2.2/9'", "udp dport 9", UDP4),
        ("middle", "sysctl -qw net.ipv6.conf.lo.disable_ipv6=0; ping -c1 -W5 ::1", "icmpv6 type echo-request", PING6),
    ],
)
def test_headers_are_told_whatever_the_family_of_the_first_table(
    net: Net, here: str, command: str, match: str, told: dict[str, object], devices: tuple[str, ...]
) -> None:
    (path,) = net.traced(getattr(net, here), command, match, devices=devices)
    assert {name: getattr(path.first, name) for name in told} == told and not path.first.hidden()
    assert path.outcome == "accept" and path.doubt is None


def test_what_is_no_ip_is_told_as_such(net: Net) -> None:
    net.left.sh("ip neigh flush all")
    trace = net.started(None, devices=("eth0",))
    net.left.sh("ping -c1 -W5 10.0.1.1")
    assert trace.stop().complete
    arp = [path for path in net.paths() if path.first.protocol == "arp"]
    assert arp and not any(path.first.hidden() for path in arp)


def test_a_drop_by_iptables_legacy_is_in_doubt(net: Net) -> None:
    net.middle.sh("iptables-legacy -A INPUT -p icmp -j DROP")
    (path,) = net.traced(net.left, "ping -c1 -W0.2 10.0.1.1 || true")
    assert (path.path, path.outcome) == (("prerouting@eth0", "input@eth0"), "lost")
    assert path.doubt is not None
    assert matches(path, ("prerouting", "input", "drop")) is matches(path, ("prerouting", "input")) is None
    assert matches(path, ("prerouting", "forward", "drop")) is matches(path, ("prerouting",)) is False


@pytest.fixture
def bridged(net: Net) -> Net:
    """left (10.0.1.2) and right (10.0.1.3) on a bridge of middle whose frames cross netfilter's hooks."""
    net.middle.sh("""ip link add br0 type bridge; ip addr flush dev eth0; ip addr flush dev eth1
        ip link set eth0 master br0; ip link set eth1 master br0; ip link set br0 up
        sysctl -qw net.bridge.bridge-nf-call-iptables=1""")
    net.right.sh("ip addr flush dev eth0; ip addr add 10.0.1.3/24 dev eth0")
    net.left.sh("ping -c1 -W5 10.0.1.3")
    return net


@pytest.mark.parametrize("promiscuous", [False, True])
def test_a_bridged_packet_is_one_packet_whoever_looks_at_the_bridge(bridged: Net, promiscuous: bool) -> None:
    """A promiscuous bridge takes each frame in, and forwards a clone that has a trace id of its own."""
    bridged.middle.sh(f"ip link set br0 promisc {'on' if promiscuous else 'off'}")
    (path,) = bridged.traced(bridged.left, "ping -c1 -W5 10.0.1.3")
    assert path.path == ("prerouting@br0", "forward@br0>br0", "postrouting@br0")
    assert path.outcome == "accept" and path.doubt is None
    assert len({event.id for event in bridged.events()}) == (2 if promiscuous else 1)
    bridged.middle.sh("iptables-nft -P FORWARD DROP")
    (path,) = bridged.traced(bridged.left, "ping -c1 -W0.2 10.0.1.3 || true")
    assert (path.path, path.outcome) == (("prerouting@br0", "forward@br0>br0"), "drop")


def test_copies_of_a_broadcast_are_each_a_way(bridged: Net) -> None:
    """One for each other port, and one for this machine, for which br_netfilter steals it from its second prerouting."""
    forwarded, local = bridged.traced(bridged.left, "ping -b -c1 -W0.2 10.0.1.255 || true")
    assert (forwarded.path, forwarded.outcome, forwarded.doubt) == (
        ("prerouting@br0", "forward@br0>br0", "postrouting@br0"), "accept", None,
    )  # fmt: skip
    assert local.path == ("prerouting@br0",) and local.doubt is not None


DROPS = {"netdev": "table netdev lab { chain early { type filter hook ingress device eth0 priority 0\n drop\n } }",
         "bridge": "table bridge lab { chain early { type filter hook prerouting priority 0\n drop\n } }",
         "first": f"table ip lab {{ chain early {{ type filter hook prerouting priority {-(1 << 31)}\n drop\n }} }}"}  # fmt: skip
SILENCE = "table ip lab { chain in { type filter hook input priority 0\n meta nftrace set 0\n } }"


def words(unseen: tuple[Unseen, ...]) -> list[str]:
    return [one.what for one in unseen]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("before", "told"),
    [
        (DROPS["netdev"], "the chain netdev lab early at ingress"),
        (DROPS["bridge"], "the chain bridge lab early at prerouting"),
        ("tc qdisc add dev eth0 ingress", "tc at ingress of eth0"),
        ("tc qdisc add dev eth0 clsact", "tc at ingress of eth0"),
    ],
)
def test_what_may_drop_before_the_trace_is_told(net: Net, before: str, told: str, late: bool) -> None:
    def act() -> None:
        if before.startswith("tc"):
            net.middle.sh(before)
        else:
            net.ruleset(before)

    if not late:
        act()
    trace = net.started()
    if late:
        act()
        net.middle.sh("nft flush ruleset; tc qdisc del dev eth0 ingress 2>/dev/null || true")  # gone again
    stats = trace.stop()
    assert stats.complete and (words(stats.blind), stats.silencers) == ([told], ())
    assert (stats.blind[0].since_ns > stats.started_ns) is late


def test_a_chain_of_our_priority_that_came_later_is_told(net: Net) -> None:
    trace = net.started()
    net.ruleset(DROPS["first"])
    net.left.sh("ping -c1 -W0.2 10.0.1.1 || true")
    stats = trace.stop()
    assert (stats.events, words(stats.blind)) == (0, ["the chain ip lab early at prerouting"])
    (path,) = net.traced(net.left, "ping -c1 -W0.2 10.0.1.1 || true")  # now it was there first, and comes after ours
    assert path.outcome == "drop"


def test_what_the_trace_follows_itself_and_what_comes_after_it_hides_nothing(net: Net) -> None:
    net.ruleset(DROPS["netdev"])
    net.ruleset("""table ip more { chain in { type filter hook input priority 0; policy drop
        meta nftrace set 1\n }\n chain free { meta nftrace set 1\n counter\n } }""")
    net.middle.sh("tc qdisc add dev eth1 root pfifo; iptables-nft -A FORWARD -j TRACE")
    trace = net.started(devices=("eth0",))
    stats = trace.stop()
    assert (stats.blind, stats.silencers) == ((), ())
    trace = net.started(devices=("eth1",))
    assert words(trace.stop().blind) == ["the chain netdev lab early at ingress"]


@pytest.mark.parametrize(
    "rule",
    [
        "meta nftrace set 0",
        "ip protocol icmp counter meta nftrace set 0 accept",
        "meta mark set 1 meta nftrace set 0",
        "meta nftrace set 0 meta mark set 1",
    ],
)
def test_a_rule_that_ends_tracing_is_told(net: Net, rule: str) -> None:
    net.ruleset(f"table ip lab {{ chain in {{ type filter hook input priority 0\n {rule}\n }} }}")
    trace = net.started()
    net.left.sh("ping -c1 -W5 10.0.1.1")
    stats = trace.stop()
    assert (stats.blind, words(stats.silencers)) == ((), ["a rule of ip lab in"])
    (path,) = net.paths()
    assert (path.outcome, matches(path, ("prerouting", "input"))) == ("lost", None)
    trace = net.started()
    net.middle.sh("nft flush ruleset")
    assert words(trace.stop().silencers) == ["a rule of ip lab in"], "it was there when the trace began"


def xdp_pass() -> int:
    """A program that lets everything pass: r0 = XDP_PASS; exit (bpf(2), BPF_PROG_LOAD)."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, 2) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    program, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    asked = struct.pack("=IIQQ", 6, 2, ctypes.addressof(program), ctypes.addressof(licence)).ljust(128, b"\0")
    number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    fd: int = ctypes.CDLL(None, use_errno=True).syscall(number, 5, ctypes.create_string_buffer(asked), 128)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd


@pytest.mark.parametrize("late", [False, True])
def test_an_xdp_program_is_told(net: Net, late: bool) -> None:
    def attach() -> None:
        with net.middle.enter(), IPRoute() as ipr:
            fd = xdp_pass()
            ipr.link("set", index=ipr.link_lookup(ifname="eth0")[0], xdp_fd=fd)
            os.close(fd)

    if not late:
        attach()
    trace = net.started()
    if late:
        attach()
    assert words(trace.stop().blind) == ["an XDP program on eth0"]
