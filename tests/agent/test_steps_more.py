"""The agent from end to end: lookups, repeated snapshots, counters, saved values, and traces among other steps."""

from __future__ import annotations

import itertools
import os

import pytest
from agent.test_steps import Lab, all_ok, ended, result, shell, stdout, step
from labrun.observe.hooks import packet_paths
from labrun.protocol.actions import (
    Address,
    Link,
    Lookup,
    Neighbour,
    Nft,
    Route,
    Run,
    Snapshot,
    Start,
    Stop,
    Sysctl,
    Trace,
    Wait,
)
from labrun.protocol.events import LookupResult, SeriesResult, TraceEnded
from labrun.protocol.plan import Save

pytestmark = pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root for namespaces")
MS = 1_000_000


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


# --- lookup ---


def answer(variant, name):
    end = ended(variant, name)
    assert end.status == "ok" and isinstance(end.result, LookupResult)
    return end.result


def test_lookup_gives_the_route_that_the_kernel_would_take(lab):
    variant = all_ok(lab.go(
        step("other", Route("add", "10.9.0.0/16", via="10.0.0.2", metric=7)),
        step("neighbour", Lookup("10.0.0.2")), step("far", Lookup("10.9.1.1")), step("own", Lookup("10.0.0.1")),
        step("from", Lookup("10.0.0.2", source="10.0.0.1")), step("out", Lookup("10.0.0.2", oif="eth0")),
        shell("ip", "ip route get 10.9.1.1"), pair=True,
    ))  # fmt: skip
    near = answer(variant, "neighbour").route
    assert (near.dst, near.dev, near.gateway, near.src, near.type, near.table) == (
        "10.0.0.2", "eth0", None, "10.0.0.1", "unicast", "main",
    )  # fmt: skip
    far = answer(variant, "far").route
    assert (far.dst, far.dev, far.gateway) == ("10.9.1.1", "eth0", "10.0.0.2")
    assert (far.protocol, far.scope, far.metric) == ("unspec", "global", 0)  # of a route with boot and 7: not told
    assert near.scope == "global"  # of one with link
    assert b"via 10.0.0.2 dev eth0" in stdout(variant, "ip")
    own = answer(variant, "own").route
    assert (own.type, own.dev) == ("local", "lo")  # in which table: `local` and `main` are one until there is a rule
    for name in ("from", "out"):
        assert answer(variant, name).route.dev == "eth0"
    assert all(answer(variant, name).errno is None for name in ("neighbour", "far", "own", "from", "out"))


def test_a_refusal_is_an_answer_and_ends_nothing(lab):
    variant = all_ok(lab.go(
        step("black", Route("add", "10.8.0.0/16", type="unreachable")), step("prohibited", Route("add", "10.7.0.0/16", type="prohibit")),
        step("nowhere", Lookup("192.0.2.1")), step("unreachable", Lookup("10.8.0.1")), step("forbidden", Lookup("10.7.0.1")),
        shell("after", "true"), pair=True,
    ))  # fmt: skip
    for name, errno in (("nowhere", "ENETUNREACH"), ("unreachable", "EHOSTUNREACH"), ("forbidden", "EACCES")):
        found = answer(variant, name)
        assert (found.route, found.errno) == (None, errno)
        assert found.message


def test_a_lookup_on_a_device_that_is_not_there_fails_the_step(lab):
    variant = lab.go(step("asked", Lookup("10.0.0.2", oif="eth9")), shell("after", "true"), pair=True)
    assert ended(variant, "asked").status == "failed"
    assert "eth9" in ended(variant, "asked").message
    assert variant.step("after").started is None and variant.complete


# --- repeated snapshots ---


def test_a_repeated_snapshot_has_its_moments_at_fixed_distances(lab):
    look = Snapshot(("a",), ("links",), for_s=1.0, every_s=0.1)
    variant = all_ok(lab.go(step("watch", look, None, timeout_s=11)))
    series = variant.series("watch")
    given = ended(variant, "watch").result
    assert isinstance(given, SeriesResult)
    assert given.samples == len(series)
    assert 8 <= len(series) <= 12, "one second, ten times a second, both ends; a busy machine may miss some"
    times = [(sample.t_ns - series[0].t_ns) / 1e9 for sample in series]
    assert times == sorted(times)
    assert 0.95 <= times[-1] <= 1.6, "to the end"
    late = [time % 0.1 for time in times[1:]]
    late = [min(time, 0.1 - time) for time in late]
    assert sorted(late)[len(late) // 2] < 0.03, "on a grid from the first moment on, not drifting"
    begun, end = variant.step("watch").started.t_ns, ended(variant, "watch").t_ns
    assert begun <= series[0].t_ns and series[-1].t_ns <= end
    assert all(sample.state.nodes["a"].links for sample in series)
    assert variant.snapshot("watch") == series[0].state


def test_a_time_shorter_than_its_period_is_looked_at_twice(lab):
    look = Snapshot(("a",), ("links",), for_s=0.05, every_s=1.0)
    variant = all_ok(lab.go(step("watch", look, None)))
    assert len(variant.series("watch")) == 2


def test_moments_see_what_changes_meanwhile(lab):
    line = "(sleep 0.4; ip link set lo mtu 9000) >/dev/null 2>&1 &"
    look = Snapshot(("a",), ("links",), for_s=1.5, every_s=0.05)
    variant = all_ok(lab.go(shell("later", line), step("watch", look, None, timeout_s=12)))
    seen = [sample.state.nodes["a"].links[0].mtu for sample in variant.series("watch")]
    assert [mtu for mtu, _ in itertools.groupby(seen)] == [65536, 9000]


def test_a_snapshot_of_several_nodes_has_all_of_them_at_each_moment(lab):
    look = Snapshot(("a", "b"), ("neighbours", "counters"), for_s=0.2, every_s=0.1)
    variant = all_ok(lab.go(step("watch", look, None), pair=True))
    assert all(set(sample.state.nodes) == {"a", "b"} for sample in variant.series("watch"))


def test_a_node_that_is_not_there_fails_the_step(lab):
    variant = lab.go(step("watch", Snapshot(("gone",), ("links",), for_s=0.2, every_s=0.1), None))
    assert ended(variant, "watch").status == "failed"
    assert variant.series("watch") is None


# --- counters ---


def test_counters_count_packets_and_bytes(lab):
    look = Snapshot(("a",), ("counters",))
    variant = all_ok(lab.go(
        step("before", look, None), shell("ping", "ping -c 3 -i 0.01 -W 1 -s 100 10.0.0.2"), step("after", look, None), pair=True,
    ))  # fmt: skip
    before, after = ({c.dev: c for c in variant.snapshot(name).nodes["a"].counters} for name in ("before", "after"))
    assert list(before) == sorted(before) == ["eth0", "lo"]
    assert after["lo"] == before["lo"]
    for way in ("rx", "tx"):
        grown = {what: getattr(after["eth0"], f"{way}_{what}") - getattr(before["eth0"], f"{way}_{what}")
                 for what in ("packets", "bytes", "errors", "dropped")}  # fmt: skip
        assert grown["packets"] in (4, 5), "three pings and one or two of ARP"
        assert grown["bytes"] >= 3 * (14 + 20 + 8 + 100)
        assert (grown["errors"], grown["dropped"]) == (0, 0)


# --- IPv6 addresses ---


def test_an_ipv6_address_can_be_used_after_the_wait_for_it(lab):
    """The kernel asks first whether another machine has it, which takes a second or two."""

    def on(node):
        return Sysctl((("net.ipv6.conf.eth0.disable_ipv6", "0"), ("net.ipv6.conf.eth0.accept_dad", "1")))

    variant = all_ok(lab.go(
        step("one", on("a")), step("two", on("b"), "b"),
        step("far", Address("add", "fd00::2/64", "eth0"), "b"), step("near", Address("add", "fd00::1/64", "eth0")),
        step("asked", Wait(addresses=True)), step("there", Wait(addresses=True), "b"),
        shell("ping", "ping -c 1 -W 1 fd00::2; ip -6 address show dev eth0 tentative"), pair=True,
    ))  # fmt: skip
    assert b"1 received" in stdout(variant, "ping")
    assert b"fd00::1" not in stdout(variant, "ping").split(b"---")[-1], "it is tentative no more"


# --- saved values ---


def test_values_are_taken_with_their_types(lab):
    variant = all_ok(lab.go(
        shell("all", "echo '  two words  '", save=(Save("whole"),)),
        shell("group", "echo mtu=1400 rate=2.5; echo lost=3 >&2", save=(
            Save("mtu", matches=r"mtu=(\d+)", type="int"), Save("rate", matches=r"rate=(\S+)", type="float"),
            Save("word", matches=r"r\w+"), Save("lost", "stderr", r"lost=(\d+)", "int"),
            Save("line", matches=r"^(lost|mtu)"), Save("either", matches=r"x(y)?|m"),
        )),
        shell("failed", "echo 7; exit 3", save=(Save("seven", type="int"),)),
    ))  # fmt: skip
    assert ended(variant, "all").saved == {"whole": "two words"}
    assert ended(variant, "group").saved == {
        "mtu": 1400, "rate": 2.5, "word": "rate", "lost": 3, "line": "mtu", "either": "m",
    }  # fmt: skip
    assert variant.values()["seven"] == 7, "a command's exit status is its own matter"


@pytest.mark.parametrize(
    ("line", "save", "message"),
    [
        ("echo hello", Save("n", matches=r"\d+"), r"save n: nothing in stdout matches '\\d+'"),
        ("echo; exit 3", Save("n"), "save n: there is nothing to save in stdout"),
        ("echo 'mtu='", Save("n", matches="mtu=(.*)"), "save n: there is nothing to save in stdout"),
        ("echo hello", Save("n", type="int"), "save n: not a number (int): 'hello'"),
        ("echo 1.5", Save("n", type="int"), "save n: not a number (int): '1.5'"),
        ("echo 1,5", Save("n", type="float"), "save n: not a number (float): '1,5'"),
        ("echo nan", Save("n", type="float"), "save n: not a number (float): 'nan'"),
        ("echo -inf", Save("n", type="float"), "save n: not a number (float): '-inf'"),
        ("echo 1e999", Save("n", type="float"), "save n: not a number (float): '1e999'"),
        ("true", Save("n", type="int"), "save n: there is nothing to save in stdout"),
        ("echo x >&2", Save("n", matches="x"), "save n: nothing in stdout matches 'x'"),
        ("head -c 5000 /dev/zero | tr '\\0' x", Save("n"), "save n: more than 4096 characters"),
    ],
)
def test_what_cannot_be_saved_fails_the_step(lab, line, save, message):
    variant = lab.go(shell("say", line, save=(save,)), shell("after", "true"))
    assert (ended(variant, "say").status, ended(variant, "say").message) == ("failed", message)
    assert variant.step("after").started is None
    assert variant.complete and variant.values() == {}
    assert (variant.folder / "outputs/say.stdout").exists(), "what it printed is kept, for whoever looks why"


def test_commands_have_values_in_their_environment(lab):
    odd = "a b;$(touch /run/pwned)`x`'\""
    variant = all_ok(lab.go(
        step("say", Run(("printf", "%s", odd)), save=(Save("odd"),)), shell("number", "echo 42", save=(Save("n", type="int"),)),
        shell("use", 'printf "%s|%s|%s" "${odd}" "$((n + 1))" "${mtu}"'), shell("pwned", "test ! -e /run/pwned"),
        step("words", Run(("printf", "%s", "${n}"))), step("env", Run(("env",))), values=(("mtu", "1500"),),
    ))  # fmt: skip
    assert stdout(variant, "use").decode() == f"{odd}|43|1500"
    assert result(variant, "pwned").exit == 0
    assert stdout(variant, "words") == b"42", "the value itself, without a shell"
    assert {b"n=42", b"mtu=1500"} <= set(stdout(variant, "env").splitlines())
    assert variant.values() == {"mtu": "1500", "odd": odd, "n": 42}


def test_typed_steps_have_values_in_place_of_their_names(lab):
    mac = "02:00:00:00:00:77"
    variant = all_ok(lab.go(
        shell("save", f"echo 10.5.0.1/24; echo {mac} >&2", save=(Save("prefix"), Save("mac", "stderr"))),
        shell("other", "echo 1; echo 10.5.0.9 >&2", save=(Save("on", type="int"), Save("addr", "stderr"))),
        step("address", Address("add", "${prefix}", "eth0")),
        step("neighbour", Neighbour("add", "${addr}", "eth0", lladdr="${mac}")),
        step("forward", Sysctl((("net.ipv4.ip_forward", "${on}"),))), step("link", Link("set", "${dev}", mtu=1400)),
        step("asked", Lookup("${addr}")), shell("look", "ip neighbour show ${addr}; sysctl -n net.ipv4.ip_forward"),
        pair=True, values=(("dev", "eth0"),),
    ))  # fmt: skip
    said = stdout(variant, "look").decode()
    assert f"10.5.0.9 dev eth0 lladdr {mac} PERMANENT" in said
    assert said.splitlines()[-1] == "1"
    assert answer(variant, "asked").route.src == "10.5.0.1"


def test_a_value_that_nobody_saved_fails_the_step(lab):
    variant = lab.go(step("address", Address("add", "${prefix}", "lo")), shell("after", "true"))
    assert (ended(variant, "address").status, ended(variant, "address").message) == (
        "failed",
        "nothing was saved as 'prefix'",
    )
    assert variant.step("after").started is None


@pytest.mark.parametrize(
    "action",
    [Address("add", "${x}", "lo"), Route("add", "${x}", dev="lo"), Lookup("${x}"), Neighbour("add", "${x}", "lo", lladdr="${x}"),
     Link("set", "${x}", up=True), Address("add", "10.0.0.1/8", "${x}")],
)  # fmt: skip
def test_a_saved_value_that_makes_no_sense_fails_the_step(lab, action):
    variant = lab.go(shell("save", "echo ' no/such thing'", save=(Save("x"),)), step("use", action))
    assert variant.faults == (), "a lab's mistake is no crash of ours"
    assert ended(variant, "use").status == "failed"
    assert "'no" in ended(variant, "use").message


def test_a_later_value_of_the_same_name_wins(lab):
    variant = all_ok(lab.go(
        shell("one", "echo 1", save=(Save("x", type="int"),)), shell("two", "echo $((x + 1))", save=(Save("x", type="int"),)),
        shell("look", 'printf "$x"'),
    ))  # fmt: skip
    assert stdout(variant, "look") == b"2"
    assert variant.values() == {"x": 2}


# --- trace ---


DROP = """table inet f { chain input {
    type filter hook input priority 0
    icmp type echo-request ip ttl 9 drop
}
}"""


def test_a_trace_among_other_steps(lab):
    """Each packet is written between the steps that it belongs to, so that windows tell pings apart."""
    pings = [shell(f"ping-{ttl}", f"ping -c 1 -W 0.3 -t {ttl} 10.0.0.1", "b") for ttl in (7, 8, 9)]
    variant = all_ok(lab.go(
        step("rules", Nft(DROP)), step("hooks", Trace("icmp type echo-request")), *pings,
        step("stopped", Stop("hooks"), None), shell("unseen", "ping -c 1 -W 1 -t 10 10.0.0.1", "b"), pair=True,
    ))  # fmt: skip
    events = variant.trace_events("hooks")
    end = variant.step("hooks").trace
    assert isinstance(end, TraceEnded)
    assert (end.events, end.drops, end.trouble) == (len(events), 0, None)
    paths = packet_paths(events)
    assert [path.first.ttl for path in paths] == [7, 8, 9], "and nothing after it was stopped"
    assert [path.outcome for path in paths] == ["accept", "accept", "drop"]
    assert [path.path[0] for path in paths] == ["prerouting@eth0"] * 3
    for path, ping in zip(paths, pings, strict=True):
        after = variant.steps[[record.step.id for record in variant.steps].index(ping.id) + 1]
        assert variant.step(ping.id).started.wall_ns <= path.wall_ns < after.started.wall_ns


def test_a_trace_that_nobody_stops_ends_with_the_plan(lab):
    variant = all_ok(lab.go(step("hooks", Trace()), shell("ping", "ping -c 1 -W 1 10.0.0.2"), pair=True))
    assert variant.step("hooks").trace.events == len(variant.trace_events("hooks")) > 0


def test_a_match_that_is_none_fails_the_step(lab):
    variant = lab.go(step("hooks", Trace("icmpp nonsense")), shell("after", "true"))
    assert ended(variant, "hooks").status == "failed"
    assert variant.step("after").started is None and variant.complete


def test_a_change_between_two_looks_is_looked_at(lab):
    """It came and went within one period: the kernel reported both."""
    variant = all_ok(lab.go(
        step("later", Start(("sh", "-c", "sleep 0.3; ip link set eth0 mtu 1400; sleep 0.2; ip link set eth0 mtu 1500; sleep 9"))),
        step("watch", Snapshot(("a",), ("links",), for_s=1.0, every_s=1.0), node=None), pair=True,
    ))  # fmt: skip
    series = variant.series("watch")
    seen = [next(link.mtu for link in sample.state.nodes["a"].links if link.name == "eth0") for sample in series]
    assert 1400 in seen and seen[0] == seen[-1] == 1500
    assert [bool(sample.change) for sample in series] == [False, *[True] * (len(series) - 2), False]


def test_an_address_step_waits_for_nothing_and_a_wait_step_does(lab):
    variant = all_ok(lab.go(
        step("on", Sysctl((("net.ipv6.conf.eth0.disable_ipv6", "0"), ("net.ipv6.conf.eth0.accept_dad", "1")))),
        step("add", Address("add", "fd00::5/64", "eth0")), step("before", Snapshot(("a",), ("addresses",)), node=None),
        step("usable", Wait(addresses=True)), step("after", Snapshot(("a",), ("addresses",)), node=None), pair=True,
    ))  # fmt: skip

    def flags(name):
        state = variant.snapshot(name).nodes["a"]
        return next(address.flags for address in state.addresses if address.address == "fd00::5")

    assert "tentative" in flags("before") and "tentative" not in flags("after")
