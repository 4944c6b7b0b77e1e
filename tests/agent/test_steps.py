"""The agent from end to end in real namespaces, without any engine: a plan goes in, frames come out, judged by eye.

Started as an engine starts it (the source and the plan through stdin), in mount, pid and network namespaces of its
own with an empty /run. Nothing that a test does is seen outside of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from labrun.engines.shipment import agent_command, parcel
from labrun.evidence.record import VariantRecord, read_variant
from labrun.evidence.writer import EvidenceWriter
from labrun.judge.evaluate import evaluate
from labrun.packets.pcapng import read_packets
from labrun.protocol import actions
from labrun.protocol.actions import (
    Address,
    Capture,
    Link,
    Namespace,
    Neighbour,
    Nft,
    Peer,
    Ready,
    Route,
    Rule,
    Run,
    Send,
    Snapshot,
    Start,
    Stop,
    Sysctl,
    Wait,
)
from labrun.protocol.events import (
    ChangeResult,
    CommandResult,
    Done,
    Hello,
    SendResult,
    StartResult,
    StepEnded,
    WaitResult,
)
from labrun.protocol.frames import Piece, read_frames
from labrun.protocol.plan import EXPERIMENT, Limits, Plan, Step
from support.evidence_builder import prediction

pytestmark = pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root for namespaces")
ORPHANED = 71  # agent/main.py
SCAPY_S = 30.0  # importing it takes a second, and much more on a busy machine


class Sandbox:
    """A running agent. A context manager: whatever happens, it and its children end."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        folder.mkdir()
        command = agent_command(sys.executable, str(folder / "agent.zip"))
        shell = 'mount -t tmpfs tmpfs /run && exec "$@"'
        self.process = subprocess.Popen(
            ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--uts",
             "sh", "-c", shell, "sh", *command),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "stderr").open("wb"),
            env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(parcel(plan))
        self.process.stdin.flush()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()

    def frames(self) -> Iterator[object]:
        return read_frames(iter(lambda: os.read(self.process.stdout.fileno(), 1 << 20), b""))

    def until(self, step: str) -> None:
        """Read on until a step has ended."""
        for frame in self.frames():
            if isinstance(frame, StepEnded) and frame.step == step:
                return
        raise AssertionError(f"{step} never ended: {self.log()}")

    def log(self) -> str:
        return (self.folder / "stderr").read_text()


class Lab:
    """Steps in a row, on two nodes `a` and `b` with a veth pair between them (10.0.0.1 and 10.0.0.2) if asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def plan(self, steps: Sequence[Step], **fields: object) -> Plan:
        return Plan("lab", "experiment", tuple(steps), ("a", "b"), **fields).sealed()

    def go(self, *steps: Step, pair: bool = False, **fields: object) -> VariantRecord:
        """Run to the end, and read the evidence back."""
        self._count += 1
        every = (*(PAIR if pair else ALONE), *steps)
        with Sandbox(self.folder / f"box{self._count}", self.plan(every, **fields)) as sandbox:
            evidence = self.folder / f"evidence{self._count}"
            last: object = None
            with EvidenceWriter(evidence, sandbox.plan) as writer:
                for frame in sandbox.frames():
                    writer.put(frame)
                    last = last if isinstance(frame, Piece) else frame
            assert sandbox.process.wait(10) == 0, sandbox.log()
            assert isinstance(last, Done), sandbox.log()
            self.log = sandbox.log()
        return read_variant(evidence)


def step(name: str, action: actions.Action, node: str | None = "a", **fields: object) -> Step:
    return Step(name, action, node, **fields)


def topology(*acts: tuple[str | None, actions.Action]) -> tuple[Step, ...]:
    return tuple(Step(f"topology-{n:03}", act, node, phase="topology") for n, (node, act) in enumerate(acts, start=1))


QUIET = Sysctl((("net.ipv6.conf.all.disable_ipv6", "1"), ("net.ipv6.conf.default.disable_ipv6", "1")))
ALONE = topology((None, Namespace("add", "a")), ("a", QUIET), ("a", Link("set", "lo", up=True)))
PAIR = topology(
    (None, Namespace("add", "a")), (None, Namespace("add", "b")), ("a", QUIET), ("b", QUIET),
    ("a", Link("set", "lo", up=True)), ("b", Link("set", "lo", up=True)),
    ("a", Link("add", "eth0", type="veth", mac="02:00:00:00:00:01",
               peer=Peer("eth0", "b", mac="02:00:00:00:00:02"))),
    ("a", Address("add", "10.0.0.1/24", "eth0")), ("b", Address("add", "10.0.0.2/24", "eth0")),
    ("a", Link("set", "eth0", up=True)), ("b", Link("set", "eth0", up=True)),
)  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def shell(name: str, line: str, node: str = "a", **fields: object) -> Step:
    return step(name, Run(("bash", "-c", line)), node, **fields)


def ended(variant: VariantRecord, name: str) -> StepEnded:
    record = variant.step(name)
    assert record is not None and record.ended is not None, f"{name} did not end; {variant.faults}"
    return record.ended


def result(variant: VariantRecord, name: str) -> CommandResult:
    end = ended(variant, name)
    assert (end.status, end.message) == ("ok", None)
    assert isinstance(end.result, CommandResult)
    return end.result


def stdout(variant: VariantRecord, name: str) -> bytes:
    return variant.output(result(variant, name).stdout)


def all_ok(variant: VariantRecord) -> VariantRecord:
    for record in variant.steps:
        assert record.ended is not None, (record.step.id, variant.faults)
        assert record.ended.status == "ok", (record.step.id, record.ended.message)
    assert variant.faults == ()
    assert variant.complete
    return variant


# --- run ---


def test_a_bridge_without_ports_is_down_from_the_first_step_on(lab):
    """Linkwatch says so a moment after it was set up, or up to a second later where many links come at once."""
    made = [Link("add", f"br{number}", type="bridge", mac=f"02:00:00:00:01:0{number}", up=True) for number in range(8)]
    made += [Link("add", f"v{number}", type="veth", peer=Peer(f"p{number}"), up=True) for number in range(4)]
    made += [Link("set", f"p{number}", up=True) for number in range(3)]
    steps = [step(f"make-{number}", link) for number, link in enumerate(made)]
    variant = all_ok(lab.go(*steps, shell("seen", "ip -br link | grep -v ^lo")))
    states = {line.split()[0].split("@")[0]: line.split()[1] for line in stdout(variant, "seen").decode().splitlines()}
    assert {name for name, state in states.items() if state == "UP"} == {"v0", "v1", "v2", "p0", "p1", "p2"}
    assert {states[f"br{number}"] for number in range(8)} == {"DOWN"}, states


def test_a_command_by_words_and_by_the_shell(lab):
    variant = all_ok(lab.go(
        step("words", Run(("printf", "%s|", "a b", "$HOME", "*"))), shell("line", "echo out; echo err >&2; exit 3"),
        step("fed", Run(("cat",), "typed\nin")), shell("unfed", "cat; echo end"), shell("killed", "kill -SEGV $$"),
        step("unwanted", Run(("true",), "x" * 200_000)),
    ))  # fmt: skip
    assert stdout(variant, "words") == b"a b|$HOME|*|"
    line = result(variant, "line")
    assert (line.exit, line.signal, variant.output(line.stdout), variant.output(line.stderr)) == (
        3,
        None,
        b"out\n",
        b"err\n",
    )
    assert stdout(variant, "fed") == b"typed\nin"
    assert stdout(variant, "unfed") == b"end\n"
    assert (result(variant, "killed").exit, result(variant, "killed").signal) == (None, "SIGSEGV")
    assert result(variant, "unwanted").exit == 0


def test_a_command_is_at_home_in_its_node(lab):
    variant = all_ok(lab.go(
        shell("name", "hostname; cd /sys/class/net && echo *", "b"), shell("netns", "ls /run/netns; ip netns exec b hostname"),
        shell("stdin", "readlink /proc/self/fd/0"), pair=True,
    ))  # fmt: skip
    assert stdout(variant, "name").split() == [b"b", b"eth0", b"lo"]
    assert stdout(variant, "netns").split()[:2] == [b"a", b"b"]
    assert stdout(variant, "stdin") == b"/dev/null\n"


def test_raw_bytes_are_kept_as_they_are(lab):
    variant = all_ok(lab.go(shell("raw", r"printf '\377\000\n\r{\"event\":1}\n'")))
    assert stdout(variant, "raw") == b'\xff\x00\n\r{"event":1}\n'


def test_a_command_that_is_not_there_fails_the_step_and_ends_the_plan(lab):
    variant = lab.go(step("gone", Run(("no-such-command",))), shell("after", "true"))
    assert (ended(variant, "gone").status, ended(variant, "gone").message) == (
        "failed",
        "no such command: no-such-command",
    )
    assert variant.step("after").started is None
    assert variant.complete and variant.faults == ()


def test_a_command_in_a_node_that_is_not_there(lab):
    variant = lab.go(shell("lost", "true", "nowhere"))
    assert (ended(variant, "lost").status, ended(variant, "lost").message) == ("failed", "no node named nowhere")


def test_a_command_past_its_time_is_killed_with_its_whole_group(lab):
    begun = time.monotonic()
    variant = lab.go(
        shell("slow", "sleep 987 & echo $! > /run/child; echo begun; wait", timeout_s=0.5), shell("after", "true"),
    )  # fmt: skip
    assert time.monotonic() - begun < 20
    end = ended(variant, "slow")
    assert (end.status, end.message) == ("timeout", "the command did not end within 0.5 s and was killed")
    assert isinstance(end.result, CommandResult)
    assert (end.result.exit, end.result.signal, variant.output(end.result.stdout)) == (None, "SIGKILL", b"begun\n")
    assert variant.step("after").started is None
    assert variant.complete


def test_the_group_of_a_killed_command_is_gone_while_the_sandbox_lives_on(lab):
    """`stop` lets the plan go on, so that the next step can look."""
    variant = all_ok(lab.go(
        step("server", Start(("bash", "-c", "trap '' TERM; sleep 987 & echo $! > /run/child; echo up; wait"),
                             Ready(output="up"))),
        step("stopped", Stop("server"), None, timeout_s=0.5),
        shell("look", "for i in $(seq 500); do grep -qs '^State:.[^Z]' /proc/$(cat /run/child)/status || exit 0; "
                      "sleep 0.01; done; exit 1"),
    ))  # fmt: skip
    assert result(variant, "look").exit == 0
    process = variant.step("server").process
    assert (process.stopped, process.exit, process.signal) == (True, None, "SIGKILL")


def test_what_is_printed_past_the_limit_is_counted_and_not_kept(lab):
    variant = all_ok(lab.go(
        shell("loud", "head -c 3000000 /dev/zero; head -c 70000 /dev/zero >&2"), limits=Limits(output_bytes=65536),
    ))  # fmt: skip
    loud = result(variant, "loud")
    assert (loud.exit, loud.stdout.size, loud.stdout.kept) == (0, 3_000_000, 65536)
    assert (loud.stderr.size, loud.stderr.kept) == (70_000, 65536)
    assert variant.output(loud.stdout) == bytes(65536)


def test_exactly_the_limit_is_not_cut(lab):
    variant = all_ok(lab.go(shell("full", "head -c 65536 /dev/zero"), limits=Limits(output_bytes=65536)))
    assert (result(variant, "full").stdout.size, result(variant, "full").stdout.kept) == (65536, 65536)


def test_an_orphan_that_holds_the_pipe_does_not_hold_the_step(lab):
    variant = all_ok(lab.go(
        shell("leaves", "(trap '' HUP; sleep 0.3; echo late; echo alive > /run/orphan; sleep 987) & echo done", timeout_s=5),
        shell("look", "for i in $(seq 500); do test -e /run/orphan && exit 0; sleep 0.01; done; exit 1"),
    ))  # fmt: skip
    assert stdout(variant, "leaves") == b"done\n"
    assert result(variant, "look").exit == 0  # neither blocked nor killed by SIGPIPE
    took = variant.step("leaves")
    assert took.ended.t_ns - took.started.t_ns < 2_000_000_000


# --- start and stop ---

NC = ("nc", "-l", "-k", "8900")


def test_a_server_is_ready_when_it_listens(lab):
    variant = all_ok(lab.go(
        step("server", Start(("nc", "-l", "8900"), Ready(8900))), shell("ask", "echo hello | nc -N 127.0.0.1 8900"),
        shell("wait", "true"),
    ))  # fmt: skip
    assert isinstance(ended(variant, "server").result, StartResult)
    assert result(variant, "ask").exit == 0
    process = variant.step("server").process
    assert variant.output(process.stdout) == b"hello\n"


def test_a_udp_server_is_ready_when_it_is_bound(lab):
    all_ok(lab.go(step("server", Start(("nc", "-u", "-l", "5300"), Ready(5300, "udp")))))


def test_a_server_is_ready_when_its_output_says_so(lab):
    variant = all_ok(lab.go(
        step("server", Start(("bash", "-c", "echo one; sleep 0.1; echo listening on 1 >&2; sleep 987"),
                             Ready(output="listening on [0-9]"))),
        step("fed", Start(("cat",), Ready(output="^typed$"), "typed\n"), timeout_s=5),
    ))  # fmt: skip
    assert variant.output(variant.step("server").process.stderr) == b"listening on 1\n"
    assert variant.output(variant.step("fed").process.stdout) == b"typed\n"


def test_the_last_started_is_stopped_first_and_what_ended_by_itself_is_told_apart(lab):
    variant = all_ok(lab.go(
        step("one", Start(("sleep", "987"))), step("two", Start(("bash", "-c", "trap 'exit 5' TERM; echo up; sleep 987 & wait"),
                                                               Ready(output="up"))),
        step("brief", Start(("bash", "-c", "exit 4"))), shell("pause", "sleep 0.3"),
    ))  # fmt: skip
    ends = {name: variant.step(name).process for name in ("one", "two", "brief")}
    assert (ends["one"].stopped, ends["one"].exit, ends["one"].signal) == (True, None, "SIGTERM")
    assert (ends["two"].stopped, ends["two"].exit, ends["two"].signal) == (True, 5, None)
    assert (ends["brief"].stopped, ends["brief"].exit) == (False, 4)
    assert ends["brief"].t_ns < ends["two"].t_ns < ends["one"].t_ns


def test_a_stop_with_a_signal_of_choice(lab):
    variant = all_ok(lab.go(
        step("server", Start(("bash", "-c", "trap 'echo bye; exit 9' USR1; echo up; while :; do sleep 0.01; done"), Ready(output="up"))),
        step("stopped", Stop("server", "USR1"), None), shell("after", "true"), step("again", Stop("server"), None),
    ))  # fmt: skip
    process = variant.step("server").process
    assert (process.exit, variant.output(process.stdout)) == (9, b"up\nbye\n")
    assert process.t_ns < variant.step("after").started.t_ns


@pytest.mark.parametrize(
    ("ready", "awaited"), [(Ready(8900), "it to listen on tcp port 8900"), (Ready(output="up"), "output that matches 'up'")],
)  # fmt: skip
def test_a_server_that_is_never_ready(lab, ready, awaited):
    variant = lab.go(step("server", Start(("sleep", "987"), ready), timeout_s=0.3), shell("after", "true"))
    end = ended(variant, "server")
    assert (end.status, end.message) == ("timeout", f"not ready within 0.3 s; awaited was {awaited}")
    assert variant.step("after").started is None
    assert variant.step("server").process.stopped and variant.complete


@pytest.mark.parametrize("ready", [Ready(8900), Ready(output="up")])
def test_a_server_that_ends_before_it_is_ready(lab, ready):
    start = Start(("bash", "-c", "echo no >&2; exit 7"), ready)
    variant = lab.go(step("server", start))
    end = ended(variant, "server")
    assert end.status == "failed"
    assert end.message.startswith("the process ended (exit status 7) before it was ready; awaited was ")
    assert (variant.step("server").process.exit, variant.output(variant.step("server").process.stderr)) == (7, b"no\n")
    variant = all_ok(lab.go(step("server", start, may_fail=True), shell("after", "true")))
    assert (variant.step("server").process.exit, variant.step("server").process.stopped) == (7, False)


def test_an_older_server_on_the_port_does_not_make_a_new_one_ready(lab):
    variant = lab.go(
        step("old", Start(NC, Ready(8900))), step("new", Start(("sleep", "987"), Ready(8900)), timeout_s=0.4),
    )  # fmt: skip
    assert (ended(variant, "old").status, ended(variant, "new").status) == ("ok", "timeout")


def test_a_server_that_cannot_be_started(lab):
    variant = lab.go(step("server", Start(("no-such-server",), Ready(1))))
    assert (ended(variant, "server").status, ended(variant, "server").message) == (
        "failed",
        "no such command: no-such-server",
    )
    assert variant.step("server").process is None and variant.complete


# --- capture ---


def test_a_capture_keeps_what_passes_between_its_start_and_its_stop(lab):
    variant = all_ok(lab.go(
        shell("before", "ping -c 1 -W 1 10.0.0.2"), step("seen", Capture(("eth0",), "icmp")),
        shell("probe", "ping -c 2 -i 0.01 -W 1 10.0.0.2"), step("enough", Wait(packets="seen", count=4)),
        step("stopped", Stop("seen"), None), shell("later", "ping -c 1 -W 1 10.0.0.2"), pair=True,
    ))  # fmt: skip
    packets = list(read_packets(variant.folder / "captures/seen.pcapng"))
    assert [packet.direction for packet in packets] == ["out", "in", "out", "in"]
    end, probe = variant.step("seen").capture, variant.step("probe")
    assert (end.packets, end.drops, end.not_kept, end.trouble, end.interfaces) == (4, 0, 0, None, ("eth0",))
    assert end.started_ns <= probe.started.wall_ns and probe.ended.wall_ns <= end.ended_ns
    assert all(probe.started.wall_ns <= packet.time_ns <= probe.ended.wall_ns for packet in packets)


def test_a_capture_that_nobody_stops_is_drained_at_the_end(lab):
    variant = all_ok(lab.go(
        step("seen", Capture(("any",))), shell("probe", "ping -c 1 -W 1 127.0.0.1"), pair=True,
    ))  # fmt: skip
    packets = list(read_packets(variant.folder / "captures/seen.pcapng"))
    assert [packet.interface for packet in packets] == ["lo", "lo"]
    assert (variant.step("seen").capture.packets, variant.step("seen").capture.interfaces) == (2, ("lo", "eth0"))


@pytest.mark.parametrize(
    ("capture", "word"),
    [(Capture(("eth9",)), "no interface 'eth9'"), (Capture(("lo",), "icmp and and"), "syntax error"),
     (Capture(("lo",), "host nosuch.invalid"), "nosuch.invalid")],
)  # fmt: skip
def test_a_capture_that_cannot_start(lab, capture, word):
    variant = lab.go(step("seen", capture, timeout_s=20), shell("after", "true"))
    assert ended(variant, "seen").status == "failed"
    assert word in ended(variant, "seen").message
    assert variant.step("after").started is None and variant.complete


def test_a_capture_whose_interface_goes_away_says_so(lab):
    variant = all_ok(lab.go(
        step("seen", Capture(("eth0",))), step("gone", Link("delete", "eth0")), step("stopped", Stop("seen"), None), pair=True,
    ))  # fmt: skip
    assert variant.step("seen").capture.trouble == "interface eth0 went away"


@pytest.mark.parametrize("interfaces", ["eth0", "any"])
@pytest.mark.parametrize("leaving", [Link("delete", "eth0"), Link("set", "eth0", rename="other"), Link("set", "eth0", move_to="c")])  # fmt: skip
def test_no_packet_on_an_interface_that_is_not_there_is_no_finding(lab, interfaces, leaving):
    variant = all_ok(lab.go(
        step("more", Namespace("add", "c"), None), step("seen", Capture((interfaces,))), shell("before", "true"),
        step("gone", leaving), shell("after", "sleep 0.1"),
        step("stopped", Stop("seen"), None), pair=True,
    ))  # fmt: skip
    variant = replace(variant, plan=replace(variant.plan, variant=EXPERIMENT))

    def count(during):
        found = {"packets": {"on": "a.eth0", **({"during": during} if during else {})}, "count": 0}
        return evaluate(prediction(found), variant, "").truth

    assert [count("after"), count({"from": "before", "to": "after"}), count(None)] == [None] * 3
    if interfaces == "any" or leaving.rename:
        assert count("before") is True


def test_no_packet_on_an_interface_that_came_later_is_no_finding(lab):
    variant = all_ok(lab.go(
        step("seen", Capture(("any",))), shell("before", "true"), shell("coming", "ip link add v0 type veth peer name v1"),
        shell("after", "true"), step("stopped", Stop("seen"), None), pair=True,
    ))  # fmt: skip

    def count(during):
        found = {"packets": {"on": "a.v0", **({"during": during} if during else {})}, "count": 0}
        return evaluate(prediction(found), variant, "").truth

    assert [count("before"), count("coming"), count("after"), count(None)] == [None, True, True, True]


def test_a_capture_past_its_size_counts_what_it_did_not_keep(lab):
    variant = all_ok(lab.go(
        step("seen", Capture(("lo",))), shell("probe", "ping -c 20 -i 0.002 -s 1000 127.0.0.1"),
        limits=Limits(capture_bytes=10_000),
    ))  # fmt: skip
    end = variant.step("seen").capture
    assert end.packets + end.not_kept == 40
    assert end.packets == len(list(read_packets(variant.folder / "captures/seen.pcapng"))) < 10


# --- typed changes ---


def test_a_topology_by_typed_changes(lab):
    variant = all_ok(lab.go(
        step("made", Namespace("add", "c"), None),
        step("bridge", Link("add", "br0", type="bridge", mac="02:00:00:00:00:0a", up=True)),
        step("veth", Link("add", "v0", type="veth", peer=Peer("v1", "c"), master="br0", mtu=1400, up=True)),
        step("address", Address("add", "10.1.0.1/24", "br0")),
        step("there", Address("add", "10.1.0.2/24", "v1"), "c"),
        step("up", Link("set", "v1", up=True, rename="eth0"), "c"),
        step("default", Route("add", "default", via="10.1.0.1"), "c"),
        step("rule", Rule("add", priority=100, source="10.9.0.0/16", table="77")),
        step("neighbour", Neighbour("add", "10.1.0.9", "br0", lladdr="02:00:00:00:00:99")),
        step("forward", Sysctl((("net.ipv4.ip_forward", "1"), ("net/ipv4/conf/br0/forwarding", "0")))),
        step("fire", Nft("table ip t { chain c { type filter hook input priority 0; icmp type echo-request counter drop\n }\n}")),
        shell("ping", "ping -c 1 -W 1 10.1.0.1", "c", timeout_s=20),
        step("state", Snapshot(("a", "c")), None),
        shell("proc", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/br0/forwarding"),
        step("unmade", Link("delete", "v0")), step("gone", Namespace("delete", "c"), None), shell("names", "ls /run/netns"),
    ))  # fmt: skip
    state = variant.snapshot("state").nodes
    links = {link.name: link for link in state["a"].links}
    assert (links["br0"].address, links["v0"].master, links["v0"].mtu, links["v0"].netns) == (
        "02:00:00:00:00:0a", "br0", 1400, "c",
    )  # fmt: skip
    assert [route.gateway for route in state["c"].routes if route.dst == "default"] == ["10.1.0.1"]
    assert [(rule.source, rule.table) for rule in state["a"].rules if rule.priority == 100] == [("10.9.0.0/16", "77")]
    assert ("10.1.0.9", "PERMANENT") in {(entry.address, entry.state) for entry in state["a"].neighbours}
    assert [rule.packets for rule in state["a"].nft.rules] == [1]
    assert result(variant, "ping").exit == 1
    assert stdout(variant, "proc").split() == [b"1", b"0"]
    assert stdout(variant, "names") == b"a\n"


REFUSED = {
    "namespace": (Namespace("add", "a"), None, "EEXIST"),
    "link": (Link("add", "lo", type="dummy"), "a", "EEXIST"),
    "no link": (Link("delete", "eth9"), "a", "ENODEV"),
    "address": (Address("add", "127.0.0.1/8", "lo"), "a", "EEXIST"),
    "route": (Route("add", "default", via="10.99.0.1"), "a", "ENETUNREACH"),
    "rule": (Rule("delete", priority=4711), "a", "ENOENT"),
    "sysctl": (Sysctl((("net.no.such", "1"),)), "a", "ENOENT"),
    "sysctl value": (Sysctl((("net.ipv4.ip_forward", "none"),)), "a", "EINVAL"),
    "nft": (Nft("add rule ip no such accept"), "a", "ENOENT"),
}


@pytest.mark.parametrize(("action", "node", "errno"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_of_the_kernel_is_a_failure_or_an_observation(lab, action, node, errno):
    variant = lab.go(step("no", action, node), shell("after", "true"))
    assert ended(variant, "no").status == "failed"
    assert ended(variant, "no").message
    assert variant.step("after").started is None and variant.complete and variant.faults == ()
    variant = all_ok(lab.go(step("no", action, node, may_fail=True), shell("after", "true")))
    observed = ended(variant, "no").result
    assert isinstance(observed, ChangeResult)
    assert observed.errno == errno
    assert observed.message


def test_a_namespace_that_is_not_there_cannot_be_deleted(lab):
    variant = all_ok(lab.go(step("no", Namespace("delete", "zz"), None, may_fail=True)))
    assert ended(variant, "no").result == ChangeResult("ENOENT", "no node named zz")


def test_what_nft_itself_does_not_understand_is_no_answer_of_the_kernel(lab):
    variant = lab.go(step("no", Nft("tabel ip x { }"), may_fail=True), shell("after", "true"))
    assert ended(variant, "no").status == "failed" and "syntax error" in ended(variant, "no").message
    assert variant.step("after").ended is None


def test_a_change_that_may_fail_and_does_not(lab):
    variant = all_ok(lab.go(step("yes", Address("add", "10.9.9.9/32", "lo"), may_fail=True)))
    assert ended(variant, "yes").result == ChangeResult()


def test_a_sysctl_stays_below_proc_sys(lab):
    variant = lab.go(step("no", Sysctl((("net/../../../run/x", "1"),)), may_fail=True))
    assert (ended(variant, "no").status, ended(variant, "no").message) == (
        "failed",
        "not a kernel setting: net/../../../run/x",
    )


# --- send ---


def test_packets_are_sent_as_frames_and_by_the_routes(lab):
    variant = all_ok(lab.go(
        step("seen", Capture(("eth0",), "udp"), "b"),
        step("frame", Send("Ether(dst='ff:ff:ff:ff:ff:ff')/IP(src='10.0.0.1',dst='10.0.0.2')/UDP(dport=7)/b'frame'", "eth0", 2),
             timeout_s=SCAPY_S),
        step("routed", Send("IP(dst='10.0.0.2', src='10.0.0.1')/UDP(dport=8)/b'routed'"), timeout_s=SCAPY_S),
        step("several", Send("[IP(dst='10.0.0.2', src='10.0.0.1')/UDP(dport=p) for p in (9, 10)]"), timeout_s=SCAPY_S),
        step("all", Wait(packets="seen", count=5), "b"), pair=True,
    ))  # fmt: skip
    assert ended(variant, "frame").result.packets == 2
    assert ended(variant, "several").result.packets == 2
    routed = ended(variant, "routed").result
    assert isinstance(routed, SendResult) and routed.packets == 1 and "UDP" in routed.summary
    ports = [
        int.from_bytes(packet.data[36:38], "big") for packet in read_packets(variant.folder / "captures/seen.pcapng")
    ]
    assert ports == [7, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("send", "word"),
    [(Send("IP(dst="), "SyntaxError"), (Send("42"), "TypeError"), (Send("[]"), "the expression gives no scapy packet"),
     (Send("UDP()"), "must begin with IP"), (Send("Ether()", "eth9"), "No such device")],
)  # fmt: skip
def test_a_packet_that_cannot_be_sent(lab, send, word):
    variant = lab.go(step("no", send, timeout_s=SCAPY_S))
    assert ended(variant, "no").status == "failed"
    assert word in ended(variant, "no").message
    assert "\n" not in ended(variant, "no").message


def test_sending_has_a_deadline(lab):
    variant = lab.go(step("slow", Send("__import__('time').sleep(987)"), timeout_s=0.5))
    assert (ended(variant, "slow").status, ended(variant, "slow").message) == (
        "timeout",
        "the packets were not sent within 0.5 s",
    )


# --- snapshot ---


def test_a_snapshot_keeps_the_parts_that_were_asked_for(lab):
    variant = all_ok(lab.go(step("some", Snapshot(("b", "a"), ("links", "sockets")), None), pair=True))
    state = variant.snapshot("some")
    assert list(state.nodes) == ["b", "a"]
    for node in state.nodes.values():
        assert {link.name for link in node.links} == {"lo", "eth0"}
        assert node.sockets == () and node.routes is None and node.unavailable == {}


def test_a_snapshot_sees_a_node_that_a_command_made_and_fails_on_one_that_is_not(lab):
    variant = lab.go(shell("made", "ip netns add made"), step("seen", Snapshot(("made",), ("links",)), None),
                     step("no", Snapshot(("zz",)), None))  # fmt: skip
    assert [link.name for link in variant.snapshot("seen").nodes["made"].links] == ["lo"]
    assert (ended(variant, "no").status, ended(variant, "no").message) == ("failed", "no node named zz")


# --- wait ---


def test_every_condition_can_be_waited_for(lab):
    variant = all_ok(lab.go(
        step("slow", Start(("bash", "-c", "sleep 0.2; echo half; sleep 0.1; touch /run/flag; exec nc -l -k 8900"))),
        step("output", Wait(output="slow", matches="^ha.f$")), step("succeeds", Wait(succeeds=("test", "-e", "/run/flag"))),
        step("port", Wait(port=8900)),
        step("later", Start(("bash", "-c", "sleep 0.1; exec nc -u -l 5300"))), step("udp", Wait(port=5300, protocol="udp")),
        step("link", Wait(link_up="eth0")), step("lo", Wait(link_up="lo")),
        step("seen", Capture(("lo",))),
        step("pings", Start(("bash", "-c", "sleep 0.1; ping -c 3 -i 0.05 127.0.0.1"))),
        step("packets", Wait(packets="seen", count=4)), pair=True,
    ))  # fmt: skip
    for name in ("output", "succeeds", "udp", "packets"):
        waited = ended(variant, name).result
        assert isinstance(waited, WaitResult)
        assert waited.attempts > 1, name
    assert ended(variant, "link").result == WaitResult(1)


WAITS = {
    "port": (Wait(port=1), "tcp port 1 to be listened on"),
    "udp": (Wait(port=1, protocol="udp"), "udp port 1 to be listened on"),
    "link": (Wait(link_up="eth9"), "eth9 to be up"),
    "succeeds": (Wait(succeeds=("false", "x")), "success of: false x"),
    "hangs": (Wait(succeeds=("sleep", "987")), "success of: sleep 987"),
    "packets": (Wait(packets="seen", count=2), "2 packets in capture seen"),
    "output": (Wait(output="server", matches="x+"), "output of server that matches 'x+'"),
}


@pytest.mark.parametrize(("wait", "awaited"), WAITS.values(), ids=WAITS)
def test_a_wait_has_a_deadline_and_names_what_it_awaited(lab, wait, awaited):
    variant = lab.go(
        step("seen", Capture(("lo",))), step("server", Start(("sleep", "987"))), step("no", wait, timeout_s=0.3), shell("after", "true"),
    )  # fmt: skip
    end = ended(variant, "no")
    assert end.status == "timeout"
    assert end.message.startswith("waited 0.3 s (") and end.message.endswith(f" attempts) for {awaited}")
    took = end.t_ns - variant.step("no").started.t_ns
    assert 300_000_000 <= took < 3_000_000_000
    assert variant.step("after").started is None and variant.complete


# --- the whole plan ---


def test_the_first_event_is_the_environment(lab):
    variant = all_ok(lab.go(filters=("icmp", "ether host 02:00:00:00:00:01")))
    hello = variant.hello
    assert isinstance(hello, Hello)
    assert hello.plan == variant.plan.digest
    assert hello.kernel == os.uname().release
    assert {"NET_ADMIN", "NET_RAW", "SYS_ADMIN"} <= set(hello.capabilities)
    assert [(program.expression, program.linktype) for program in hello.programs] == [
        ("icmp", 1), ("icmp", 101), ("ether host 02:00:00:00:00:01", 1),
    ]  # fmt: skip


def test_the_lab_has_a_deadline_of_its_own(lab):
    variant = lab.go(*(shell(f"s{n}", "sleep 0.2") for n in range(50)), limits=Limits(lab_timeout_s=1.0))
    assert variant.complete
    ran = [record for record in variant.steps if record.started is not None]
    assert len(ran) < len(variant.steps)
    if ran[-1].ended.status == "ok":
        assert [(fault.code, fault.message) for fault in variant.faults] == [
            ("lab-timeout", "the lab took longer than 1 s")
        ]
    else:
        assert ran[-1].ended.status == "timeout"


def test_the_labs_deadline_cuts_a_step_short(lab):
    begun = time.monotonic()
    variant = lab.go(shell("slow", "sleep 987", timeout_s=600), limits=Limits(lab_timeout_s=0.7))
    assert time.monotonic() - begun < 20
    assert ended(variant, "slow").status == "timeout"


def test_a_lab_whose_time_is_over_before_a_step_says_so(lab):
    variant = lab.go(shell("never", "true"), limits=Limits(lab_timeout_s=0.0))
    assert [(fault.code, fault.step) for fault in variant.faults] == [("lab-timeout", "topology-001")]
    assert all(record.started is None for record in variant.steps)
    assert variant.complete


def test_a_missing_tool_is_a_fault_and_nothing_runs(lab):
    variant = lab.go(shell("never", "true"), tools=("bash", "no-such-tool", "nor-this"))
    assert [(fault.code, fault.message) for fault in variant.faults] == [
        ("missing-tool", "not in the sandbox: no-such-tool, nor-this")
    ]
    assert variant.hello is not None and variant.complete
    assert all(record.started is None for record in variant.steps)


def test_a_filter_that_is_none_is_a_fault_and_nothing_runs(lab):
    variant = lab.go(shell("never", "true"), filters=("icmp", "icmp and and"))
    assert [fault.code for fault in variant.faults] == ["bad-filter"]
    assert "syntax error" in variant.faults[0].message
    assert variant.hello.programs == () and variant.complete
    assert all(record.started is None for record in variant.steps)


def test_a_crash_of_the_agent_is_a_fault_and_evidence_is_handed_over(lab):
    """A capture that was never started cannot be waited for: the language refuses it, a plan by hand does not."""
    variant = lab.go(shell("one", "echo kept"), step("two", Wait(packets="nothing")))
    assert [fault.code for fault in variant.faults] == ["agent-crashed"]
    assert variant.faults[0].message == "KeyError: 'nothing'"
    assert "Traceback" in variant.faults[0].detail["traceback"]
    assert stdout(variant, "one") == b"kept\n"
    assert variant.step("two").ended is None and variant.complete


def test_nothing_that_is_printed_gets_into_the_stream(lab):
    """Commands see no process but the lab's own, so what they write into the files of all processes is nowhere."""
    variant = all_ok(lab.go(
        shell("loud", "echo '{\"event\":{}}' >> /proc/1/fd/1; echo stray >> /proc/1/fd/2"),
        shell("more", "for fd in /proc/[0-9]*/fd/[0-9]*; do echo '{\"file\":\"x\",\"bytes\":3}' >> $fd; done; true"),
    ))  # fmt: skip
    assert lab.log == ""
    assert not (variant.folder / "x").exists()


def test_what_a_packets_expression_prints_does_not_spoil_its_answer(lab):
    variant = lab.go(step("sent", Send("print('stray') or IP(dst='127.0.0.1')/ICMP()"), timeout_s=SCAPY_S))
    assert ended(variant, "sent").status == "ok", variant.faults


# --- the lifeline ---


def pids_of(word: str) -> list[int]:
    """Processes, anywhere on this machine, that have a word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line and b"unshare" not in line:
                found.append(int(entry.name))
    return found


def gone(word: str, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while pids_of(word):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def sleeper(lab: Lab) -> str:
    return f"sleep 98{os.getpid()}.{abs(hash(lab.folder)) % 10**6}"


@pytest.mark.parametrize("busy", ["run", "start"])
def test_closing_stdin_ends_the_agent_at_once_and_all_that_it_started(lab, busy):
    line = f"trap '' TERM HUP; setsid {sleeper(lab)} & {sleeper(lab)}"
    word = sleeper(lab).split()[1]
    first = step("started", Start(("bash", "-c", line)))
    then = shell("hangs", line, timeout_s=60) if busy == "run" else step("hangs", Wait(port=1), timeout_s=60)
    with Sandbox(lab.folder / "box", lab.plan((*ALONE, first, then))) as sandbox:
        sandbox.until("started")
        while not pids_of(word):
            time.sleep(0.01)
        begun = time.monotonic()
        sandbox.process.stdin.close()
        assert sandbox.process.wait(10) == ORPHANED
        assert time.monotonic() - begun < 2
        assert gone(word)


def test_killing_the_runner_ends_the_sandbox(lab):
    """The lifeline is a pipe: whoever held it may be killed by any signal."""
    word = sleeper(lab).split()[1]
    plan = lab.plan((*ALONE, shell("hangs", sleeper(lab), timeout_s=60)))
    read, write = os.pipe()
    holder = subprocess.Popen(("sleep", "60"), pass_fds=(write,))
    try:
        (lab.folder / "box").mkdir()
        command = agent_command(sys.executable, str(lab.folder / "box" / "agent.zip"))
        agent = subprocess.Popen(
            ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--net",
             "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh", *command),
            stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(lab.folder)},
        )  # fmt: skip
        os.close(read)
        data = memoryview(parcel(plan))
        while data:
            data = data[os.write(write, data) :]
        os.close(write)
        while not pids_of(word):
            time.sleep(0.01)
        assert agent.poll() is None
        holder.send_signal(signal.SIGKILL)
        assert agent.wait(10) == ORPHANED
        assert gone(word)
    finally:
        for process in (holder, agent):
            process.kill()
            process.wait()


def test_an_agent_that_nobody_reads_does_not_outlive_its_lifeline(lab):
    """A full pipe blocks the stream, not the lifeline."""
    plan = lab.plan((*ALONE, shell("loud", "head -c 30000000 /dev/zero"), shell("hangs", "sleep 987")))
    with Sandbox(lab.folder / "box", plan) as sandbox:
        threading.Event().wait(0.5)
        sandbox.process.stdin.close()
        assert sandbox.process.wait(10) == ORPHANED


# --- what a topology does and does not do by itself ---


def test_an_idle_topology_is_silent(lab):
    """With IPv6 off, as topologies are compiled, no node says a word by itself."""
    variant = all_ok(lab.go(
        step("a-seen", Capture(("any",))), step("b-seen", Capture(("any",)), "b"),
        step("again", Link("set", "eth0", up=False)), step("up", Link("set", "eth0", up=True)), shell("idle", "sleep 2"), pair=True,
    ))  # fmt: skip
    for name in ("a-seen", "b-seen"):
        assert list(read_packets(variant.folder / f"captures/{name}.pcapng")) == []


@pytest.mark.parametrize("attempt", range(20))
def test_the_first_ping_right_after_the_topology_crosses(lab, attempt):
    variant = all_ok(lab.go(shell("ping", "ping -c 1 -W 1 10.0.0.2"), pair=True))
    assert result(variant, "ping").exit == 0, stdout(variant, "ping")
