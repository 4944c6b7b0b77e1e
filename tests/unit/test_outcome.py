"""What came of a step decides what may be said after it: every observation, every way in which a step can fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.lab.predictions import Prediction
from labrun.observe.outcome import Accounts
from labrun.observe.shell import ANSWERS, DID_NOT_TRY, complaint, hidden_shell, not_found, pipelines, script_of
from labrun.protocol import actions
from labrun.protocol.actions import Ready, Start
from labrun.protocol.events import CommandResult, FailedInside, LookupResult, StartResult
from labrun.protocol.state import LinkState, NodeState
from pydantic import TypeAdapter
from support.evidence_builder import Evidence, Seen, icmp

PREFIX = "labs/lab/experiment/"
PREDICTION: TypeAdapter[Prediction] = TypeAdapter(Prediction)
LO = NodeState(links=(LinkState(1, "lo", 65536, True, "UNKNOWN", ("UP",), "loopback"),), routes=())


def prediction(value: object) -> Prediction:
    return PREDICTION.validate_python(value)


# What may rest on a step `probe`, or on what came after it. Each is true of the evidence where the step did well.
OBSERVATIONS: dict[str, dict[str, object]] = {
    "its exit": {"command": "probe", "exit": {"lt": 200}},
    "its output": {"command": "probe", "stdout": {"lacks": "no such text"}},
    "its duration": {"command": "probe", "duration": {"lt": 60}},
    "packets in its time": {"packets": {"on": "host.lo", "during": "probe"}, "count": {"le": 5}},
    "no packet in its time": {"packets": {"on": "host.lo", "during": "probe", "fields": {"udp.dstport": 53}}, "count": 0},
    "packets after it": {"packets": {"on": "host.lo", "during": "later", "fields": {"udp.dstport": 53}}, "count": 0},
    "packets from it on": {"packets": {"on": "host.lo", "during": {"from": "probe", "to": "later"},
                                       "fields": {"udp.dstport": 53}}, "count": 0},
    "no packet at all": {"packets": {"on": "host.lo", "fields": {"udp.dstport": 53}}, "count": 0},
    "state after it": {"links": {"at": "state"}, "count": 1},
    "what changed": {"changes": {"from": "before", "to": "state", "of": "links"}, "added": 0, "removed": 0},
    "another command": {"command": "later", "exit": 0},
    "a change": {"change": "typed", "errno": "none"},
    "a lookup": {"lookup": "asked", "errno": {"one_of": ["none", "ENETUNREACH"]}},
    "an expression": {"expr": "n < 9", "let": {"n": {"packets": {"on": "host.lo", "during": "probe"}}}},
    "an expression over what it printed": {"expr": "len(t) >= 0 or t == ''", "let": {"t": {"command": "probe", "of": "stdout"}}},
}  # fmt: skip
_OWN = ("its exit", "its output", "its duration", "an expression over what it printed")
_GONE = {"status": "failed", "message": "no such command", "exit": 0}
# How it can fail, and the reason that each observation must then have.
FAILURES: dict[str, tuple[dict[str, object], str]] = {
    "no such program": (_GONE, "step-failed"),
    "its time was over": ({"status": "timeout", "message": "not done after 1 s", "exit": None, "signal": "SIGKILL"}, "timeout"),
    "the shell does not find it": ({"exit": 127, "shell": "nosuch -x"}, "missing-tool"),
    "the shell may not run it": ({"exit": 126, "shell": "./x"}, "missing-tool"),
    "a part is not found": ({"exit": 0, "shell": "nosuch | wc -l", "missing": ("nosuch",), "parts": (127, 0)}, "missing-tool"),
    "a part failed": ({"exit": 0, "shell": "false | true", "parts": (1, 0)}, "step-failed"),
    "wrong arguments": ({"exit": 2, "shell": "iptables -A INPUT -j DORP", "stderr": b"Try `iptables -h'\n"}, "usage-error"),
    "complaints and exit 0": ({"exit": 0, "shell": "sysctl -Q", "stderr": b"sysctl: invalid option -- 'Q'\n"}, "usage-error"),
    "an inner shell's complaint": ({"exit": 0, "shell": "sh -c 'nosuch | wc -l'", "stderr": b"sh: 1: nosuch: not found\n"}, "missing-tool"),
    "it says no": ({"exit": 1, "shell": "ip link show eth9"}, "step-failed"),
    "an earlier command of it failed": ({"shell": "ip link set eth9 down; echo x", "failed": ((1, "ip link set eth9 down"),)}, "step-failed"),
    "an earlier command did not try": ({"shell": "iptables -A I; echo x", "failed": ((2, "iptables -A I"),)}, "usage-error"),
    "a guarded one did not try": ({"shell": "iptables -A INPUT -j DORP || true", "stderr": b"iptables v1.8.9: Couldn't load target `DORP'\n"}, "usage-error"),
    "one that was not found, in a condition": (
        {"exit": 0, "shell": "if ./x; then :; fi", "failed": [(126, None)]}, "step-failed"),
    "a command in the background failed": ({"shell": "ip link set eth9 down & wait", "failed": ((1, "&"),)}, "step-failed"),
    "one in the background did not try": ({"shell": "iptables -A I & wait", "failed": ((2, "&"),)}, "usage-error"),
    "one that did not try, in a condition": ({"exit": 0, "shell": "grep x f || echo 0", "failed": [(2, None)]}, "usage-error"),
    "a part, in a condition": (
        {"exit": 0, "shell": "if ip a | grep -q x; then :; fi", "failed": [((1, 1), None)]}, "step-failed"),
    "killed": ({"exit": None, "signal": "SIGSEGV"}, "step-failed"),
}  # fmt: skip


def recorded(folder: Path, exit: int | None = 0, signal: str | None = None, stderr: bytes = b"",
             parts: tuple[int, ...] | None = None, missing: tuple[str, ...] | None = None,
             left: tuple[str, ...] | None = None, failed: Sequence[tuple[int | tuple[int, ...], str | None]] = (), **step: object) -> Evidence:  # fmt: skip
    evidence = (
        Evidence(folder / "experiment").capture("seen", "lo", at=(0, 10)).snapshot("before", {"host": LO}, at=(10, 20))
    )
    out, err = evidence.output("probe.stdout", b"said\n"), evidence.output("probe.stderr", stderr)
    result = CommandResult(exit, signal, out, err, parts, missing, left, tuple(
        FailedInside(status if isinstance(status, tuple) else (status,), None if command == "&" else command,
                     command == "&" or None) for status, command in failed) or None)  # fmt: skip
    evidence.step("probe", actions.Run(("probe",)), result, at=(30, 130), **step)  # type: ignore[arg-type]
    if step.get("status", "ok") == "ok":
        evidence.run("later", b"", at=(140, 150)).change("typed", at=(150, 160)).lookup(
            "asked", LookupResult(None, "ENETUNREACH", "x"), at=(160, 170)
        )
        evidence.snapshot("state", {"host": LO}, at=(170, 180))
    evidence.captured("seen", ("lo",), Seen(40, icmp()))
    return evidence.capture_ended("seen", 1, during=(0, 1000)).done()


@pytest.mark.parametrize("what", OBSERVATIONS)
def test_each_is_true_where_the_step_did_well(what: str, tmp_path: Path) -> None:
    variant = recorded(tmp_path, shell="true").read()
    assert evaluate(prediction(OBSERVATIONS[what]), variant, PREFIX).truth is True


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("what", OBSERVATIONS)
def test_no_observation_is_firm_after_a_failure(what: str, how: str, negated: bool, tmp_path: Path) -> None:
    given, reason = FAILURES[how]
    variant = recorded(tmp_path, **given).read()  # type: ignore[arg-type]
    asked = {"not": OBSERVATIONS[what]} if negated else OBSERVATIONS[what]
    found = evaluate(prediction(asked), variant, PREFIX)
    # A status that says no is what a prediction of the exit asks for.
    if what == "its exit" and reason == "step-failed" and how in ("it says no", "killed"):
        assert found.truth is not negated
        return
    assert found.truth is None, found
    assert found.reason == reason, found


@pytest.mark.parametrize(
    "what", ["another command", "state after it", "packets after it", "no packet at all", "a lookup"]
)
def test_what_the_lab_means_is_no_failure(what: str, tmp_path: Path) -> None:
    variant = recorded(tmp_path, exit=2, shell="ip link add x").read()
    meant = replace(variant, steps=tuple(
        replace(record, step=replace(record.step, exits=(2, 4))) if record.step.id == "probe" else record
        for record in variant.steps), memo={})  # fmt: skip
    assert evaluate(prediction(OBSERVATIONS[what]), meant, PREFIX).truth is True
    looked_at = Accounts.of([prediction({"command": "probe", "exit": {"gt": 0}})])
    assert evaluate(prediction(OBSERVATIONS[what]), replace(variant, memo={}), PREFIX, accounts=looked_at).truth is True


def test_what_was_complete_before_the_failure_stays_firm(tmp_path: Path) -> None:
    variant = recorded(tmp_path, exit=1, shell="ip link show eth9").read()
    for asked in (
        {"links": {"at": "before"}, "count": 1},
        {"packets": {"on": "host.lo", "during": {"from": "before", "to": "before"}}, "count": 0},
    ):
        assert evaluate(prediction(asked), variant, PREFIX).truth is True


def test_what_the_kernel_refused_is_an_answer(tmp_path: Path) -> None:
    """`ping` ends with 2 where there is no route, as where its arguments are wrong; its complaint tells them apart."""
    words = b"ping: connect: Network is unreachable\n"
    variant = recorded(tmp_path, exit=2, shell="ping -c 1 10.9.0.1", stderr=words).read()
    assert evaluate(prediction({"command": "probe", "exit": {"gt": 0}}), variant, PREFIX).truth is True
    assert evaluate(prediction(OBSERVATIONS["packets after it"]), variant, PREFIX).truth is True


@pytest.mark.parametrize(
    "given",
    [
        {"shell": "ip addr add x dev e; echo rc=$?", "failed": ((2, "ip addr add x dev e"),), "stderr": b"RTNETLINK answers: File exists\n"},
        {"shell": "ip link del x; true", "failed": ((1, "ip link del x"),)},
        {"shell": "ip link del x\n:\n", "failed": ((1, "ip link del x"),)},
        {"shell": "grep -q x f & wait", "failed": ((1, "&"),)},
        {"shell": "grep -q x f; echo x", "failed": ((1, "grep -q x f"),)},
        {"shell": "ping -c 1 x; echo x", "failed": ((1, "ping -c 1 x"),)},
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", OBSERVATIONS)
def test_a_line_that_asks_how_its_commands_ended_has_not_failed(
    what: str, given: dict[str, object], tmp_path: Path
) -> None:
    variant = recorded(tmp_path, **given).read()  # type: ignore[arg-type]
    assert evaluate(prediction(OBSERVATIONS[what]), variant, PREFIX).truth is True


@pytest.mark.parametrize(
    ("line", "failed", "exit"),
    [
        ("x=$(grep -c x f); echo $x", [(1, "grep -c x f"), (1, "x=$(grep -c x f)")], 0),
        ('x="$(grep -c x f)"; echo', [(1, "grep -c x f"), (1, 'x="$(grep -c x f)"')], 0),
        ("ss | grep -q x; true", [((0, 1), "grep -q x")], 0),
        ("if ip link show x; then :; fi", [], 0),
        ("yes | head -1 | wc; true", [((141, 0, 0), None)], 0),
        ("sleep 9 & kill $!; wait $!; true", [(143, "wait $!")], 0),
        ("until curl x; do sleep 1; done", [(7, None)], 0),
        ("while ping -c 1 x; do :; done", [(2, None)], 0),
    ],
)
def test_what_a_line_may_pass_over(
    line: str, failed: list[tuple[int | tuple[int, ...], str | None]], exit: int, tmp_path: Path
) -> None:
    words = b"ping: connect: Network is unreachable\n" if "ping" in line else b""
    variant = recorded(tmp_path, exit=exit, shell=line, failed=failed, stderr=words).read()
    assert evaluate(prediction({"command": "probe", "exit": exit}), variant, PREFIX).truth is True


@pytest.mark.parametrize(
    ("command", "parts", "said"),
    [
        ("ip link", 1, "step 'probe': one of its commands, 'ip link', exited with 1: oh"),
        ("x" * 90, (3, 0), f"step 'probe': one of its commands, '{'x' * 80}', exited with 3 | 0: oh"),
        (None, 127, "step 'probe': one of its commands, whose end the line looks at, exited with 127: oh"),
    ],
)
def test_a_command_within_a_line_is_named(
    command: str | None, parts: int | tuple[int, ...], said: str, tmp_path: Path
) -> None:
    variant = recorded(tmp_path, shell="ip link; echo x", failed=[(parts, command)], stderr=b"oh\n").read()
    found = evaluate(prediction(OBSERVATIONS["packets after it"]), variant, PREFIX)
    assert found.reason in ("step-failed", "usage-error") and said in sentence(found), sentence(found)


@pytest.mark.parametrize(
    "stderr",
    [
        b'Device "eth9" does not exist.\n', b"Error: inet prefix is wrong\n", b"cat: /x: No such file or directory\n",
        b"Cannot find device eth9\n", b"RTNETLINK answers: File exists\n", b"x: Operation not permitted\n",
        b"Traceback (most recent call last):\n", b"iptables v1.8.9 (nf_tables): chain `X' in table `filter'\n",
    ],
)  # fmt: skip
def test_output_beside_an_error_decides_only_what_it_shows(stderr: bytes, tmp_path: Path) -> None:
    """`n=$(ip addr show dev eth9 | wc -l); echo $n` ends with 0, and its 0 counts nothing."""
    variant = recorded(tmp_path, shell="n=$(x); echo $n", stderr=stderr).read()
    for asked, truth in (({"lacks": "late"}, None), ({"equals": "said"}, None), ({"contains": "said"}, True)):
        found = evaluate(prediction({"command": "probe", "stdout": asked}), variant, PREFIX)
        assert (found.truth, found.reason) == (truth, None if truth else "step-failed")
    assert evaluate(prediction({"command": "probe", "exit": 0}), variant, PREFIX).truth is True
    assert evaluate(prediction(OBSERVATIONS["packets after it"]), variant, PREFIX).truth is True
    both = {
        "all": [
            {"command": "probe", "stdout": "said"},
            {"command": "probe", "stderr": {"contains": stderr.decode()[:5]}},
        ]
    }
    accounts = Accounts.of([prediction(both)])
    assert evaluate(prediction(both), variant, PREFIX, accounts=accounts).truth is True


def test_what_may_fail_excuses_what_comes_after_it_alone(tmp_path: Path) -> None:
    failed = recorded(tmp_path / "a", exit=1, shell="ip link show eth9", may_fail=True).read()
    assert evaluate(prediction(OBSERVATIONS["packets after it"]), failed, PREFIX).truth is True
    assert evaluate(prediction(OBSERVATIONS["its exit"]), failed, PREFIX).truth is True
    assert evaluate(prediction(OBSERVATIONS["its duration"]), failed, PREFIX).truth is True
    assert evaluate(prediction(OBSERVATIONS["its output"]), failed, PREFIX).reason == "step-failed"
    typo = recorded(tmp_path / "b", exit=255, shell="ip lnk show", may_fail=True).read()
    for what in ("packets after it", "its exit", "its output"):
        assert evaluate(prediction(OBSERVATIONS[what]), typo, PREFIX).reason == "usage-error"


def test_a_status_by_which_a_program_did_not_try_must_be_named(tmp_path: Path) -> None:
    variant = recorded(tmp_path, exit=2, shell="curl --nosuch x", stderr=b"curl: option --nosuch: is unknown\n").read()
    for check, truth in ((0, None), ({"gt": 0}, None), ({"ge": 2}, None), (2, True), ({"one_of": [2, 3]}, True)):
        assert evaluate(prediction({"command": "probe", "exit": check}), variant, PREFIX).truth is truth, check


@pytest.mark.parametrize("text", ["packets in its time", "no packet in its time"])
def test_processes_that_a_step_left_running_leave_its_window_open(text: str, tmp_path: Path) -> None:
    variant = recorded(tmp_path, shell="ping x &", left=("ping",)).read()
    found = evaluate(prediction(OBSERVATIONS[text]), variant, PREFIX)
    assert (found.truth, found.reason) == (None, "still-running")
    seen = {"packets": {"on": "host.lo", "during": "probe"}, "count": {"ge": 1}}
    assert evaluate(prediction(seen), variant, PREFIX).truth is True
    lacks = evaluate(prediction({"command": "probe", "stdout": {"lacks": "late"}}), variant, PREFIX)
    assert (lacks.truth, lacks.reason) == (None, "still-running")
    assert evaluate(prediction({"command": "probe", "stdout": {"contains": "said"}}), variant, PREFIX).truth is True


@pytest.mark.parametrize(("status", "truth"), [("ok", True), ("timeout", None)])
def test_how_long_a_start_took_that_was_never_ready_is_not_known(
    status: str, truth: bool | None, tmp_path: Path
) -> None:
    """Though its process ended, and has an exit status."""
    result = StartResult(7) if status == "ok" else None
    evidence = Evidence(tmp_path / "experiment").step("server", Start(("x",)), result, at=(10, 20), status=status)
    variant = evidence.process_ended("server", exit=0).done().read()
    for asked in (
        {"command": "server", "duration": {"lt": 60}},
        {"expr": "t < 60", "let": {"t": {"command": "server", "of": "duration"}}},
    ):
        assert evaluate(prediction(asked), variant, PREFIX).truth is truth


BESIDE = "at that time, and not because of it alone: 'other' ran too"


@pytest.mark.parametrize(
    ("ready", "ends", "said"),
    [
        (None, None, True),
        (Ready(output="64 bytes"), None, True),  # it says something, and may send something
        (Ready(port=80), None, False),  # a server answers
        (None, "after", True),
        (None, "before", False),
        (Ready(output="64 bytes"), "before", False),
    ],
)
def test_what_else_ran_meanwhile_is_said_of_packets_that_were_seen(
    ready: Ready | None, ends: str | None, said: bool, tmp_path: Path
) -> None:
    """During, and not because of: whose a packet is nobody tells."""
    evidence = Evidence(tmp_path / "experiment").capture("seen", "lo", "eth0", at=(0, 10))
    evidence.step("other", Start(("ping", "x"), ready), StartResult(7), at=(10, 15))
    if ends == "before":
        evidence.process_ended("other", exit=0)
    evidence.run("probe", at=(50, 100))
    if ends == "after":
        evidence.process_ended("other", exit=0)
    evidence.captured("seen", ("lo", "eth0"), Seen(60, icmp()), Seen(61, icmp(), on="eth0"))
    variant = evidence.capture_ended("seen", 2, during=(0, 1000)).done().read()
    packets = {"on": "host.any", "during": "probe"}
    asked = [
        {"packets": packets, "count": 2},
        {"packets": packets, "count": 3},
        {"packets": packets, "seen_on": ["lo", "eth0"]},
        {"let": {"n": {"packets": packets}, "m": {"packets": packets}}, "expr": "n == m"},
    ]
    for one in asked:
        found = evaluate(prediction(one), variant, PREFIX)
        assert found.reason is None and sentence(found).count(BESIDE) == int(said), sentence(found)
    none = evaluate(prediction({"packets": {**packets, "match": "udp port 53"}, "count": 0}), variant, PREFIX)
    assert none.truth is True and BESIDE not in sentence(none)


def test_what_began_while_a_process_ran_ran_beside_it(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "experiment").capture("seen", "lo", at=(0, 10))
    evidence.step("probe", Start(("a",)), StartResult(7), at=(20, 25)).run("quick", at=(30, 40))
    evidence.step("other", Start(("b",)), StartResult(8), at=(50, 55)).run("last", at=(60, 80))
    evidence.process_ended("probe", exit=0).captured("seen", ("lo",), Seen(60, icmp()))
    variant = evidence.capture_ended("seen", 1, during=(0, 1000)).done().read()
    found = evaluate(prediction({"packets": {"on": "host.lo", "during": "probe"}, "count": 1}), variant, PREFIX)
    assert BESIDE in sentence(found)


@pytest.mark.parametrize(
    ("line", "programs"),
    [
        ("ping -c 1 x", [("ping",)]),
        ("a | b|c", [("a", "b", "c")]),
        ("a && b || c; d & e", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("A=1 B='x y' /usr/bin/curl x", [("curl",)]),
        ("timeout -k 1 5 ping x", [("ping",)]),
        ("ip netns exec a ip link", [("ip",)]),
        ("ip netns exec a ping", [("ping",)]),
        ("ip netns exec a", [("ip",)]),
        ("ip link | grep -c eth", [("ip", "grep")]),
        ("if grep -q x f; then echo y; fi", [("grep",), ("echo",)]),
        ("echo 'a | b; c'", [("echo",)]),
        ("a\nb", [("a",), ("b",)]),
        ("x=$(ip link); echo $x", [("ip",), ("echo",)]),
        ("echo 'open", []),
        ("", []),
    ],
)
def test_the_programs_of_a_line(line: str, programs: list[tuple[str, ...]]) -> None:
    assert list(pipelines(line)) == programs


@pytest.mark.parametrize(
    ("line", "shell"),
    [
        ("sh -c 'ip addr show dev eth9 2>/dev/null; echo none'", "sh"),
        ("timeout 5 dash -ec 'ip addr | wc -l'", "dash"),
        ("ip netns exec b bash -c 'a; b'", "bash"),
        ("echo 'a; b' | sh", "sh"),
        ("sh <<E\na\nb\nE", "sh"),
        ("sh -s x", "sh"),
        ("sh -c 'echo none'", None),
        ("sh script.sh 2>/dev/null", None),  # a program, whose exit status is its word
        ("ls sh.txt; grep -c sh /etc/passwd", None),
        ("echo a | sed s/a/none/", None),
    ],
)
def test_a_shell_within_a_line_hides_how_several_commands_ended(line: str, shell: str | None) -> None:
    assert hidden_shell(line) == shell


@pytest.mark.parametrize(
    ("argv", "stdin", "script"),
    [
        (("bash", "-c", "a; b"), None, "a; b"),
        (("/bin/sh", "-euc", "a"), None, "a"),
        (("bash", "-o", "pipefail", "-c", "a"), None, "a"),
        (("bash",), "a", "a"),
        (("sh", "-s"), "a", "a"),
        (("bash", "/dev/stdin"), "a", "a"),
        (("bash", "script.sh"), "a", None),
        (("python3", "-c", "a"), None, None),
        ((), None, None),
    ],
)
def test_the_text_that_a_shell_runs(argv: tuple[str, ...], stdin: str | None, script: str | None) -> None:
    assert script_of(argv, stdin) == script


@given(st.text(max_size=60))
def test_no_line_and_no_complaint_breaks_the_reader(text: str) -> None:
    pipelines(text)
    hidden_shell(text)
    complaint(text, 0)
    complaint(text, 1)
    not_found(text)


def test_an_answer_is_no_refusal_to_try() -> None:
    assert not [name for name in ANSWERS if ANSWERS[name] & DID_NOT_TRY.get(name, frozenset())]


def test_a_shell_that_the_lab_names_itself_is_read_as_one(tmp_path: Path) -> None:
    """`run: [bash, -c, LINE]` is LINE for the shell."""
    evidence = Evidence(tmp_path / "experiment")
    for name, line in (("bad", "iptables -A INPUT -j DORP; echo x"), ("fine", "ip link del x; true")):
        result = CommandResult(
            0, None, evidence.output(f"{name}.out", b""), evidence.output(f"{name}.err", b"x: Permission denied\n")
        )
        evidence.step(name, actions.Run(("bash", "-c", line)), result)
    variant = evidence.done().read()
    for name, truth in (("bad", None), ("fine", True)):
        assert evaluate(prediction({"command": name, "stdout": {"lacks": "y"}}), variant, PREFIX).truth is truth
