"""Actions as command lines: the ones that people know by heart, and what must hold for any."""

from __future__ import annotations

import shlex
import subprocess
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.protocol.actions import (
    Action,
    Address,
    Capture,
    Link,
    Lookup,
    Namespace,
    Neighbour,
    Nft,
    Peer,
    Prompt,
    Route,
    Rule,
    Run,
    Send,
    Snapshot,
    Start,
    Stop,
    Sysctl,
    Trace,
    Wait,
)
from labrun.protocol.shown import equivalent, quoted

EXAMPLES: list[tuple[Action, str]] = [
    (Prompt(), "# somebody types commands"),
    (Run(("ping", "-c", "1", "172.17.0.1")), "ping -c 1 172.17.0.1"),
    (Run(("sh", "-c", "echo $HOME | wc")), "sh -c 'echo $HOME | wc'"),
    (Run(("echo", "a\nb'c\\")), "echo $'a\\nb\\'c\\\\'"),
    (Run(("cat",), stdin="a\nEOF\n"), "cat <<'EOF1'\na\nEOF\nEOF1"),
    (Run(("cat",), stdin="a b"), "printf %s 'a b' | cat"),
    (Run(("cat",), stdin=""), "cat </dev/null"),
    (Start(("nc", "-l", "8900")), "nc -l 8900 &"),
    (Start(("nc", "-l", "8900"), stdin="hi\n"), "nc -l 8900 <<'EOF' &\nhi\nEOF"),
    (Stop("server"), "kill %server"),
    (Stop("server", signal="INT"), "kill -s INT %server"),
    (Capture(("lo",), "icmp"), "tcpdump -p -i lo icmp"),
    (Capture(("br0",), promiscuous=True), "tcpdump -i br0"),
    (Capture(("any",)), "tcpdump -i any"),
    (
        Capture(("lo", "docker0"), "icmp[icmptype] == icmp-echo", snaplen=96),
        "tcpdump -p -i lo -s 96 'icmp[icmptype] == icmp-echo' & tcpdump -p -i docker0 -s 96 'icmp[icmptype] == icmp-echo'",
    ),
    (Namespace("add", "ns1"), "ip netns add ns1"),
    (Namespace("delete", "ns1"), "ip netns delete ns1"),
    (
        Link("add", "veth0", type="veth", peer=Peer("eth0", node="ns1")),
        "ip link add veth0 type veth peer name eth0 netns ns1",
    ),
    (
        Link("add", "veth0", type="veth", peer=Peer("eth0", mac="52:54:00:00:00:01", mtu=1400), up=True, mtu=1300),
        "ip link add veth0 mtu 1300 up type veth peer name eth0 mtu 1400 address 52:54:00:00:00:01",
    ),
    (Link("add", "br0", type="bridge"), "ip link add br0 type bridge"),
    (
        Link("add", "vx0", type="vxlan", vni=42, link="eth0", remote="10.0.0.2", local="10.0.0.1", port=4789),
        "ip link add vx0 type vxlan id 42 dev eth0 remote 10.0.0.2 local 10.0.0.1 dstport 4789",
    ),
    (
        Link("add", "m0", type="macvlan", link="eth0", mode="bridge", move_to="ns1"),
        "ip link add link eth0 m0 netns ns1 type macvlan mode bridge",
    ),
    (Link("add", "eth0.5", type="vlan", link="eth0", vlan=5), "ip link add link eth0 eth0.5 type vlan id 5"),
    (Link("add", "t0", type="tap"), "ip tuntap add dev t0 mode tap"),
    (
        Link("add", "t0", type="tun", up=True),
        "ip tuntap add dev t0 mode tun && ip link set dev t0 up",
    ),
    (Link("set", "lo", up=True), "ip link set dev lo up"),
    (Link("set", "a", offloads="off"), "ethtool -K a tx off sg off tso off gso off gro off"),
    (
        Link("set", "a", up=True, offloads="on"),
        "ethtool -K a tx on sg on tso on gso on gro on && ip link set dev a up",
    ),
    (
        Link("set", "a", up=False, arp=False, promisc=True, master="br0", mac="52:54:00:00:00:01", txqueuelen=5),
        "ip link set dev a address 52:54:00:00:00:01 txqueuelen 5 master br0 arp off promisc on down",
    ),
    (Link("set", "a", master="", rename="b", move_to="ns1"), "ip link set dev a nomaster netns ns1 name b"),
    (Link("delete", "a"), "ip link delete dev a"),
    (Address("add", "10.0.0.1/24", "eth0"), "ip address add 10.0.0.1/24 dev eth0"),
    (
        Address("replace", "10.0.0.1", "eth0", peer="10.0.0.2/32", broadcast="+", scope="link"),
        "ip address replace 10.0.0.1 peer 10.0.0.2/32 broadcast + scope link dev eth0",
    ),
    (Route("add", "default", via="10.0.0.1"), "ip route add default via 10.0.0.1"),
    (Route("add", "default", via="fd00::1"), "ip route add default via fd00::1"),
    (Route("add", "10.0.0.0/8", via="fd00::1", dev="a"), "ip route add 10.0.0.0/8 via inet6 fd00::1 dev a"),
    (Route("delete", "172.17.0.1", type="local", table="local"), "ip route delete local 172.17.0.1 table local"),
    (
        Route("replace", "10.0.0.0/8", dev="a", src="10.0.0.1", scope="link", metric=5, mtu=1400, onlink=True),
        "ip route replace 10.0.0.0/8 dev a src 10.0.0.1 scope link metric 5 mtu 1400 onlink",
    ),
    (Rule("add", priority=5, source="10.0.0.0/8", table="100"), "ip rule add priority 5 from 10.0.0.0/8 table 100"),
    (Rule("delete", to="fd00::/8", iif="a", oif="b"), "ip -6 rule delete to fd00::/8 iif a oif b"),
    (Rule("add", fwmark=7, action="blackhole", family="inet6"), "ip -6 rule add fwmark 7 blackhole"),
    (
        Neighbour("add", "10.0.0.2", "a", lladdr="52:54:00:00:00:01", state="stale"),
        "ip neighbour add 10.0.0.2 lladdr 52:54:00:00:00:01 dev a nud stale",
    ),
    (Sysctl((("net.ipv4.ip_forward", "1"),)), "sysctl -w net.ipv4.ip_forward=1"),
    (Sysctl((("net.ipv4.ip_local_port_range", "1 2"), ("a.b", "c"))), None),  # type: ignore[list-item]
    (Nft("table ip t { }"), "nft -f - <<'EOF'\ntable ip t { }\nEOF"),
    (Send("IP(dst='10.0.0.1')\n/ICMP()"), "send(IP(dst='10.0.0.1') /ICMP())"),
    (Send("Ether()/ARP()", dev="eth0", count=3), "sendp(Ether()/ARP(), iface='eth0', count=3)"),
    (
        Snapshot(("a", "b"), ("links", "sockets")),
        "ip -details link show; ss -tuw0anp  # in a b",
    ),
    (
        Snapshot(("a",), ("neighbours",), for_s=2, every_s=0.5),
        "ip neighbour show  # in a, every 0.5 s for 2 s",
    ),
    (Lookup("10.0.0.1", source="10.0.0.2", iif="eth0"), "ip route get 10.0.0.1 from 10.0.0.2 iif eth0"),
    (Lookup("10.0.0.1", oif="eth0", mark=7), "ip route get 10.0.0.1 oif eth0 mark 7"),
    (
        Trace("icmp type echo-request"),
        "nft add rule inet trace prerouting icmp type echo-request meta nftrace set 1; nft monitor trace",
    ),
    (Wait(port=8900), "until ss -Htln 'sport = :8900' | grep -q .; do sleep 0.02; done"),
    (Wait(port=53, protocol="udp", every_s=1), "until ss -Huln 'sport = :53' | grep -q .; do sleep 1; done"),
    (Wait(link_up="a"), "until ip -oneline link show dev a up | grep -q 'state UP'; do sleep 0.02; done"),
    (Wait(succeeds=("curl", "-s", "a b")), "until curl -s 'a b'; do sleep 0.02; done"),
    (Wait(packets="seen", count=3), "# wait until the capture seen has 3 packets"),
    (Wait(packets="seen"), "# wait until the capture seen has 1 packet"),
    (Wait(output="server", matches="up .*"), "# wait until the output of server matches 'up .*'"),
]
EXAMPLES = [(a, w or "sysctl -w 'net.ipv4.ip_local_port_range=1 2' a.b=c") for a, w in EXAMPLES]


@pytest.mark.parametrize(("action", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_what_a_person_would_type(action: Action, line: str) -> None:
    assert equivalent(action) == line


def test_every_kind_of_action_has_an_example() -> None:
    assert {type(action) for action, _ in EXAMPLES} == set(typing.get_args(Action))


# Strategies from the types of the fields: any text, also text that means something to a shell.

printable = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1).filter(str.isprintable)
nasty = st.one_of(st.text(), st.sampled_from(["$(reboot)", "a;b", "'", '"', "\\", "#", "\n", "\u2028", "-x", "&"]))


def actions(text: st.SearchStrategy[str]) -> st.SearchStrategy[Action]:
    """Any action whose strings are of ``text``; here-documents and scapy are for the tests below."""
    given_or_not = st.none() | text
    number = st.none() | st.integers(0, 2**32 - 1)
    flag = st.none() | st.booleans()
    argv = st.lists(text, min_size=1).map(tuple)
    ops = st.sampled_from(["add", "replace", "delete"])
    return st.one_of(
        st.builds(Run, argv),
        st.builds(Start, argv),
        st.builds(Stop, text, text),
        st.builds(Capture, st.tuples(text), given_or_not),
        st.builds(Namespace, st.sampled_from(["add", "delete"]), text),
        st.builds(
            Link, st.sampled_from(["add", "set", "delete"]), text, type=st.sampled_from(["veth", "vxlan", "vlan", "x"]),
            peer=st.none() | st.builds(Peer, text, given_or_not, given_or_not, number), up=flag, mtu=number,
            mac=given_or_not, master=given_or_not, link=given_or_not, rename=given_or_not, move_to=given_or_not,
            arp=flag, promisc=flag, vni=number, remote=given_or_not, mode=given_or_not,
        ),
        st.builds(Address, ops, text, text, given_or_not, given_or_not, given_or_not),
        st.builds(Route, ops, text, given_or_not, given_or_not, given_or_not, given_or_not, given_or_not, given_or_not),
        st.builds(Rule, st.sampled_from(["add", "delete"]), number, given_or_not, given_or_not, given_or_not),
        st.builds(Neighbour, ops, text, text, given_or_not, given_or_not),
        st.builds(Sysctl, st.lists(st.tuples(text, text), min_size=1).map(tuple)),
        st.builds(Snapshot, st.lists(text, min_size=1).map(tuple)),
    )  # fmt: skip


def strings(value: object) -> list[str]:
    """Every string that a dataclass holds."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [found for item in value for found in strings(item)]
    if hasattr(value, "__slots__"):
        return [found for name in value.__slots__ for found in strings(getattr(value, name))]
    return []


OWN = shlex.split("""
ip link add set delete replace dev type mtu address txqueuelen master nomaster arp promisc on off up down netns name
peer id remote mode route via inet6 table src scope broadcast rule -6 priority from to iif neighbour lladdr nud tcpdump
-i -p -s kill sysctl -w &
""")


@given(actions(nasty))
def test_one_line_and_nothing_unprintable(action: Action) -> None:
    line = equivalent(action)
    assert line.isprintable()
    assert len(line.splitlines()) == 1


@given(actions(printable))
def test_shlex_gives_back_words_that_the_action_holds(action: Action) -> None:
    """No given text splits, merges or becomes an operator: each word is the action's, or one of the command's own."""
    words = shlex.split(equivalent(action))
    held = set(strings(action))
    if isinstance(action, Stop):
        held |= {f"%{action.step}"}
    if isinstance(action, Sysctl):
        held |= {f"{key}={value}" for key, value in action.settings}
    for word in words:
        assert word in held or word in OWN or word.isdigit() or isinstance(action, Snapshot), word


@given(st.lists(printable, min_size=1))
def test_a_commands_words_come_back(argv: list[str]) -> None:
    assert shlex.split(equivalent(Run(tuple(argv)))) == argv


def test_bash_reads_every_word_as_it_was() -> None:
    """Also those that shlex cannot read, through the shell itself."""
    words = ["a\nb", "\t", "it's", "\\", "$(x)", "`x`", "\u2028", "\U0001f600\x01", "é\n", "", "*", "a\x7fb", "\x1b[0m"]
    line = equivalent(Run(("printf", "%s\\0", *words)))
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode().split("\0")[:-1] == words


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_quoted_is_printable(word: str) -> None:
    assert quoted(word).isprintable()


@pytest.mark.parametrize("text", ["a\n", "$x `y` \\ 'q'\n", "EOF\nEOF1\n", "no newline", "", "a\nb", "EOF"])
def test_stdin_arrives_as_it_was(text: str) -> None:
    line = equivalent(Run(("cat",), stdin=text))
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.decode() == text


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs", "Cc"))))
def test_a_ruleset_is_all_that_is_in_the_here_document(ruleset: str) -> None:
    first, *middle, last = equivalent(Nft(ruleset)).split("\n")
    assert first == f"nft -f - <<'{last}'"
    assert "\n".join(middle) == ruleset and last not in middle
