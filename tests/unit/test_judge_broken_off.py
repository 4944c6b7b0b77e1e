"""What was never tried is no negative: plans that broke off, commands that are not there, interfaces that never were."""

from __future__ import annotations

import dataclasses
import json

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from support.evidence_builder import Evidence, Seen, icmp, prediction
from support.labs import judge_first
from support.traced import forwarded

PREFIX = "labs/lab/experiment/"
ALL = {"packets": {"on": "host.lo"}}
DURING = {"packets": {"on": "host.lo", "during": "probe"}}


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def judge(evidence, predicted):
    return evaluate(prediction(predicted), evidence.read(), PREFIX)


def capturing(evidence, *on, packets=1):
    evidence.capture("seen", *(on or ("lo",)), at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo",), *[Seen(30, icmp()) for _ in range(packets)])
    return evidence.capture_ended("seen", packets, during=(0, 1000))


def broken_off(evidence):
    """The step after the probe failed: the capture ended in order, and the plan did not go on."""
    return capturing(evidence).run("next", status="failed", message="ENODEV", at=(110, 120)).done()


@pytest.mark.parametrize(
    ("count", "truth"), [(0, False), (1, None), (2, None), ({"ge": 1}, True), ({"ge": 2}, None), ({"le": 1}, None)]
)
def test_a_whole_capture_of_a_plan_that_broke_off_has_at_least_what_is_there(evidence, count, truth):
    trace = judge(broken_off(evidence), {**ALL, "count": count})
    assert trace.truth is truth
    assert trace.reason == ("step-failed" if truth is None else None)


def test_what_was_done_before_it_broke_off_is_observed(evidence):
    both = {"all": [{**DURING, "count": 1}, {"command": "probe", "exit": 0}]}
    assert judge(broken_off(evidence), both).truth is True


def test_a_plan_that_went_to_its_end_is_believed(evidence):
    assert judge(capturing(evidence).done(), {**ALL, "count": 1}).truth is True


def test_a_trace_of_a_plan_that_broke_off_is_not_believed_as_a_whole(evidence):
    evidence.trace("hooks", at=(0, 10)).run("probe", at=(20, 100))
    events = [dataclasses.replace(event, wall_ns=1_790_000_000_030_000_000) for event in forwarded(1)]
    evidence.traced("hooks", *events).trace_ended("hooks", len(events))
    evidence.run("next", status="timeout", message="10 s", at=(110, 120)).done()
    variant = evidence.read()
    trace = evaluate(prediction({"trace": {"at": "hooks"}, "count": 1}), variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, "timeout")
    during = {"trace": {"at": "hooks", "during": "probe"}, "count": 1}
    assert evaluate(prediction(during), variant, PREFIX).truth is True


LAB = {
    "title": "T", "question": "Q", "topology": {"nodes": {"host": {}}},
    "steps": [{"id": "seen", "capture": {"on": "lo"}}, {"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"}],
    "hypotheses": [{"id": "h", "claim": "C", "predict": {**DURING, "count": 1}, "control": {"without": "cause"}}],
}  # fmt: skip


def verdict_of(tmp_path, against, **hypothesis):
    content = {**LAB, "hypotheses": [{**LAB["hypotheses"][0], **hypothesis}]}
    lab = compile_lab(parse_lab(json.dumps(content), tmp_path / "lab.yaml", "x", "x/lab.yaml"))
    variants = {
        "experiment": capturing(Evidence(tmp_path / "experiment")).done().read(),
        "h": against(Evidence(tmp_path / "h", "h")).read(),
    }
    return judge_first(lab, variants)


INSERT = {"before": "probe", "insert": {"run": "ip link set lo mtu 9"}}
FAILS = {"exit": 2, "shell": "ip link set lo mtu 9"}


def with_own(packets, name="inserted-1", **ends):
    """A control with a command of its own before the probe."""

    def control(evidence):
        evidence.capture("seen", "lo", at=(0, 10)).run(name, at=(11, 12), **ends).run("probe", at=(20, 100))
        evidence.captured("seen", ("lo",), *[Seen(30, icmp()) for _ in range(packets)])
        return evidence.capture_ended("seen", packets, during=(0, 1000)).done()

    return control


@pytest.mark.parametrize("packets", [0, 1])  # the prediction fails for another cause, or holds
@pytest.mark.parametrize("ends", [FAILS, {"exit": None, "signal": "SIGSEGV"}])
def test_a_control_whose_own_command_failed_is_not_what_it_says(tmp_path, packets, ends):
    result = verdict_of(tmp_path, with_own(packets, **ends), control=INSERT)
    assert (result.verdict, result.reason) == ("inconclusive", "control-step-failed")
    told = "it exited with 2" if ends is FAILS else "the command was ended by SIGSEGV"
    assert f"step 'inserted-1': {told}" in result.message


@pytest.mark.parametrize("packets", [0, 1])
@pytest.mark.parametrize("where", ["experiment", "h"])
def test_what_a_missing_command_was_to_do_was_never_tried(tmp_path, where, packets):
    """Also where no prediction looks at it: it may be what makes the difference."""

    def build(name, packets):
        ends = {"exit": 127, "shell": "pi link"} if name == where else {"exit": 0}
        return with_own(packets, "cause", **ends)(Evidence(tmp_path / name, name)).read()

    def judged(**more):
        content = {**LAB, "hypotheses": [LAB["hypotheses"][0], *more.get("hypotheses", ())]}
        lab = compile_lab(parse_lab(json.dumps(content), tmp_path / "lab.yaml", "x", "x/lab.yaml"))
        return judge_first(lab, variants)

    variants = {"experiment": build("experiment", packets if where == "experiment" else 1),
                "h": build("h", packets if where == "h" else 0)}  # fmt: skip
    result = judged()
    assert (result.verdict, result.reason) == ("inconclusive", ("control-" if where == "h" else "") + "missing-tool")
    for expected in ({"command": "cause", "exit": 127}, {"expr": "c == 127", "let": {"c": {"command": "cause", "of": "exit"}}}):  # fmt: skip
        other = judged(hypotheses=[{"id": "i", "claim": "It is not installed.", "predict": expected}])
        assert other.reason in ("as-predicted", "contradicted", "control-agrees")
    for besides in ({"command": "probe", "exit": 127}, {"command": "cause", "exit": 0}, {"command": "cause", "stdout": ""},
                    {"expr": "c == 127", "let": {"c": {"command": "probe", "of": "exit"}}}):  # fmt: skip
        other = judged(hypotheses=[{"id": "i", "claim": "Something else.", "predict": besides}])
        assert (other.verdict, other.reason) == (result.verdict, result.reason)


def test_a_control_whose_own_command_went_well(tmp_path):
    assert verdict_of(tmp_path / "1", with_own(0, exit=0), control=INSERT).verdict == "supported"
    assert verdict_of(tmp_path / "2", with_own(1, exit=0), control=INSERT).reason == "control-agrees"


def test_a_control_s_own_prediction_does_not_stand_for_the_claim_s(tmp_path):
    """It may be true wherever the claim is."""
    own = {**INSERT, "predict": {"command": "probe", "exit": 0}}
    result = verdict_of(tmp_path / "1", with_own(1), control=own)
    assert (result.verdict, result.reason) == ("inconclusive", "control-differs")
    assert "matching" not in result.message and "count == 1, actual 1" in result.message
    told = result.controls[0].trace
    assert (told.path, told.operator, str(told.subject), told.truth) == ("", "all", "all of", False)
    assert [(child.path, child.operator, child.truth) for child in told.children] == [
        ("exit.equals", "equals", True),
        ("not", "not", False),
    ]
    assert str(told.children[1].subject) == "not" and [child.truth for child in told.children[1].children] == [True]
    assert verdict_of(tmp_path / "2", with_own(0), control=own).verdict == "supported"


def test_what_the_claim_s_prediction_names_need_not_be_in_the_control(tmp_path):
    control = {"without": "seen", "predict": {"command": "probe", "exit": 0}}
    assert verdict_of(tmp_path, lambda evidence: evidence.run("probe").done(), control=control).verdict == "supported"


@pytest.mark.parametrize(
    "looks",
    [
        {"command": "inserted-1", "exit": 2},
        {"command": "inserted-1", "exit": {"ge": 1}},
        {"expr": "e == 2", "let": {"e": {"command": "inserted-1", "of": "exit"}}},
        {
            "all": [
                {"command": "inserted-1", "exit": 2},
                {"expr": "o == ''", "let": {"o": {"command": "probe", "of": "stdout"}}},
            ]
        },
    ],
)
def test_a_prediction_that_looks_at_how_it_ends_takes_that_as_an_observation(tmp_path, looks):
    control = {**INSERT, "predict": {"all": [looks, {**ALL, "count": 0}]}}
    assert verdict_of(tmp_path, with_own(0, **FAILS), control=control).verdict == "supported"


@pytest.mark.parametrize(
    "looks",
    [
        {"command": "inserted-1", "stdout": ""},
        {"expr": "o == ''", "let": {"o": {"command": "inserted-1", "of": "stdout"}}},
    ],
)
def test_to_look_at_its_output_is_not_enough(tmp_path, looks):
    control = {**INSERT, "predict": {"all": [looks, {**ALL, "count": 0}]}}
    assert verdict_of(tmp_path, with_own(0, **FAILS), control=control).reason == "control-step-failed"


def test_a_replacement_is_the_control_s_own(tmp_path):
    control = {"replace": "cause", "with": {"run": "ip link set lo mtu 9"}}
    assert verdict_of(tmp_path, with_own(0, "cause", **FAILS), control=control).reason == "control-step-failed"


def test_a_process_of_its_own_that_ended_by_itself(tmp_path):
    def control(stopped, code):
        def build(evidence):
            capturing(evidence, packets=0).start("inserted-1", at=(11, 12))
            return evidence.process_ended("inserted-1", exit=code, stopped=stopped).done()

        return build

    insert = {"before": "probe", "insert": {"start": "nc -l 80"}}
    assert verdict_of(tmp_path / "1", control(False, 1), control=insert).reason == "control-step-failed"
    assert verdict_of(tmp_path / "2", control(False, 0), control=insert).verdict == "supported"
    assert verdict_of(tmp_path / "3", control(True, None), control=insert).verdict == "supported"


@pytest.mark.parametrize(
    ("shell", "before", "after", "reason"),
    [
        ("ip link set lo mtu $mtu", 0, 2, "control-step-failed"),
        ("ip link set lo mtu ${mtu}", 0, 2, "control-step-failed"),
        ("ip link set lo mtu $mtu", 2, 2, "step-failed"),  # in the experiment too
        ("ip link set lo mtu $mtu", 0, 0, "as-predicted"),
        ("grep mtu $mtus", 0, 1, "as-predicted"),  # no difference: it is an effect
    ],
)
def test_a_parameter_that_makes_a_command_fail(tmp_path, shell, before, after, reason):
    content = {**LAB, "parameters": {"mtu": [1500]}}
    content["hypotheses"] = [{**LAB["hypotheses"][0], "control": {"parameters": {"mtu": 9}}}]
    lab = compile_lab(parse_lab(json.dumps(content), tmp_path / "lab.yaml", "x", "x/lab.yaml", {"mtu": 1500}))
    variants = {
        name: with_own(packets, "cause", exit=code, shell=shell)(Evidence(tmp_path / name, name)).read()
        for name, packets, code in (("experiment", 1, before), ("h", 0, after))
    }
    assert judge_first(lab, variants).reason == reason


def test_a_control_that_went_to_its_end_shows_that_the_claim_can_fail(tmp_path):
    result = verdict_of(tmp_path, lambda evidence: capturing(evidence, packets=0).done())
    assert (result.verdict, result.reason) == ("supported", "as-predicted")


@pytest.mark.parametrize(("status", "reason"), [("failed", "control-step-failed"), ("timeout", "control-timeout")])
@pytest.mark.parametrize("own", [{}, {"control": {"without": "cause", "predict": {**ALL, "count": 0}}}])
def test_a_control_that_broke_off_shows_nothing(tmp_path, status, reason, own):
    """Its capture has no packet, because nobody ever came to send one."""

    def control(evidence):
        return capturing(evidence, packets=0).run("next", status=status, message="ENODEV", at=(110, 120)).done()

    result = verdict_of(tmp_path, control, **own)
    assert (result.verdict, result.reason) == ("inconclusive", reason)
    assert "step 'next'" in result.message


@pytest.mark.parametrize("code", [126, 127])
@pytest.mark.parametrize(
    "predicted",
    [
        {"command": "probe", "exit": 0},
        {"command": "probe", "exit": {"ge": 1}},
        {"not": {"command": "probe", "exit": 0}},
        {"command": "probe", "stdout": ""},
        {"command": "probe", "duration": {"lt": 9}},
        {**DURING, "count": 0},
    ],
)
def test_a_command_that_the_shell_does_not_find_observes_nothing(evidence, predicted, code):
    evidence.capture("seen", "lo", at=(0, 10)).run("probe", exit=code, at=(20, 100), shell="pingg -c 1 10.0.0.2")
    trace = judge(evidence.captured("seen", ("lo",)).capture_ended("seen", 0, during=(0, 1000)).done(), predicted)
    assert (trace.truth, trace.reason) == (None, "missing-tool")
    assert f"step 'probe': the shell cannot run the command (exit {code})" in sentence(trace.leaves()[0])


@pytest.mark.parametrize("check", [127, {"one_of": [1, 127]}])
def test_a_lab_that_expects_it_may_look_at_it(evidence, check):
    evidence.run("probe", exit=127, shell="ifconfig").done()
    assert judge(evidence, {"command": "probe", "exit": check, "stdout": ""}).truth is True


@pytest.mark.parametrize("of", ["exit", "stdout", "stderr", "duration"])
@pytest.mark.parametrize("code", [126, 127])
def test_nor_is_there_a_value_of_it_in_an_expression(evidence, of, code):
    variant = evidence.run("probe", exit=code, shell="pingg").run("other", exit=code, shell="pingg").done().read()
    for expr in ("a == b", "a != b"):
        let = {"a": {"command": "probe", "of": of}, "b": {"command": "other", "of": of}}
        trace = evaluate(prediction({"expr": expr, "let": let}), variant, PREFIX)
        assert (trace.truth, trace.reason) == (None, "missing-tool")


@pytest.mark.parametrize(
    ("expr", "truth"),
    [
        ("code == 127", True), ("127 == code", True), ("code != 127", False), ("code == 127 and out == ''", True),
        ("code == 0", None), ("code > 126", None), ("code + 127 == 254", None), ("code == 0 or out == ''", None),
        ("other == 127", None),
    ],
)  # fmt: skip
def test_an_expression_that_expects_it_may_look_at_it(evidence, expr, truth):
    evidence.run("probe", exit=127, shell="ifconfig").run("true", exit=127, shell="flase").done()
    names = {"code": ("probe", "exit"), "out": ("probe", "stdout"), "other": ("other", "exit")}
    let = {name: {"command": step, "of": of} for name, (step, of) in names.items() if name in expr}
    assert judge(evidence, {"expr": expr, "let": let}).truth is truth


def test_an_expression_over_a_program_of_its_own(evidence):
    let = {"code": {"command": "probe", "of": "exit"}}
    assert judge(evidence.run("probe", exit=127).done(), {"expr": "code > 0", "let": let}).truth is True


def test_a_program_of_its_own_may_end_with_that_status(evidence):
    """Without a shell, labrun itself says that there is no such command."""
    assert judge(evidence.run("probe", exit=127).done(), {"command": "probe", "exit": 0}).truth is False


@pytest.mark.parametrize(
    ("check", "truth"),
    [("", None), ({"contains": "ready"}, None), ({"contains": "up"}, True), ({"lacks": "up"}, False)],
)
def test_a_process_that_was_ended_before_it_was_ready_may_have_said_more(evidence, check, truth):
    evidence.start("server", status="timeout", message="not ready within 1 s")
    evidence.process_ended("server", b"starting up", stopped=True).done()
    trace = judge(evidence, {"command": "server", "stdout": check})
    assert trace.truth is truth
    assert trace.reason == ("timeout" if truth is None else None)


@pytest.mark.parametrize("predicted", [{"packets": {"on": "host.eht0"}, "count": 0},
                                       {"packets": {"on": "host.any"}, "seen_on": ["lo", "eht0"]}])  # fmt: skip
def test_an_interface_that_never_was_carried_no_packets_is_not_a_finding(evidence, predicted):
    trace = judge(capturing(evidence, "any").done(), predicted)
    assert (trace.truth, trace.reason) == (None, "no-such-interface")
    assert "there was no interface 'eht0' in host while 'seen' captured (but lo)" in sentence(trace)


@pytest.mark.parametrize(
    ("ends", "during", "counted", "truth"),
    [
        ([None, 60], "probe", 0, None),  # in the middle
        ([None, 60], "probe", 1, None),  # it may have been more
        ([None, 60], "probe", {"ge": 1}, True),  # what was seen was seen
        ([None, 60], None, 0, None),
        ([None, 15], "probe", 0, None),  # it was not there at all
        ([None, 150], "probe", 1, True),  # later
        ([60, None], "probe", 1, True),  # another one
    ],
)
def test_an_interface_that_went_away(evidence, ends, during, counted, truth):
    evidence.capture("seen", "any", at=(0, 10)).run("probe", at=(20, 100))
    packets = () if ends[1] == 15 or counted == 0 else (Seen(30, icmp(), on="eth0"),)
    evidence.captured("seen", ("lo", "eth0"), *packets)
    evidence.capture_ended("seen", len(packets), during=(0, 1000), interfaces=("lo", "eth0"), ends=ends).done()
    on = {"on": "host.eth0", **({"during": during} if during else {})}
    variant = evidence.read()
    trace = evaluate(prediction({"packets": on, "count": counted}), variant, "x/")
    assert trace.truth is truth
    assert truth is not None or trace.reason == "no-such-interface"
    everywhere = prediction({"packets": {**on, "on": "host.any"}, "count": len(packets)})
    assert evaluate(everywhere, variant, "x/").truth is True


@pytest.mark.parametrize(("came", "truth"), [(0, True), (60, True), (105, True), (300, None)])
def test_an_interface_that_came_later(evidence, came, truth):
    """It is found between two steps at the latest."""
    evidence.capture("seen", "any", at=(0, 10)).run("probe", at=(20, 100)).run("next", at=(110, 400))
    evidence.captured("seen", ("lo", "eth0"))
    evidence.capture_ended("seen", 0, during=(0, 1000), interfaces=("lo", "eth0"), starts=(0, came)).done()
    trace = judge(evidence, {"packets": {"on": "host.eth0", "during": "probe"}, "count": 0})
    assert (trace.truth, trace.reason) == (truth, None if truth else "no-such-interface")


def test_an_interface_that_went_away_and_another_that_took_its_name(evidence):
    evidence.capture("seen", "any", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("eth0", "eth0"))
    evidence.capture_ended("seen", 0, during=(0, 1000), interfaces=("eth0", "eth0"), ends=(15, None)).done()
    assert judge(evidence, {"packets": {"on": "host.eth0", "during": "probe"}, "count": 0}).truth is True


@pytest.mark.parametrize(("ends", "truth"), [((None, None), True), ((None, 60), None), ((None, 15), None)])
def test_where_a_packet_was_seen_of_an_interface_that_went_away(evidence, ends, truth):
    evidence.capture("seen", "any", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo", "eth0"), Seen(30, icmp(), on="lo"), Seen(31, icmp(), on="eth0"))
    evidence.capture_ended("seen", 2, during=(0, 1000), interfaces=("lo", "eth0"), ends=ends).done()
    trace = judge(evidence, {"packets": {"on": "host.any", "during": "probe"}, "seen_on": ["lo", "eth0"]})
    assert trace.truth is truth


def test_in_a_control_the_interface_may_be_what_is_left_out(tmp_path):
    control = capturing(Evidence(tmp_path / "h", "h"), "any").done()
    assert judge(control, {"packets": {"on": "host.tun0"}, "count": 0}).truth is True


def test_in_a_control_the_interface_may_be_taken_away(tmp_path):
    control = Evidence(tmp_path / "h", "h").capture("seen", "any", at=(0, 10)).run("probe", at=(20, 100))
    control.captured("seen", ("eth0",)).capture_ended("seen", 0, during=(0, 1000), interfaces=("eth0",), ends=(60,))
    trace = judge(control.done(), {"packets": {"on": "host.eth0", "during": "probe"}, "count": {"ge": 1}})
    assert trace.truth is False


def test_an_interface_with_a_dot_in_its_name(evidence):
    """As a VLAN's usually has."""
    evidence.capture("seen", "eth0.10", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("eth0.10",), Seen(30, icmp(), on="eth0.10"))
    evidence.capture_ended("seen", 1, during=(0, 1000), interfaces=("eth0.10",)).done()
    assert judge(evidence, {"packets": {"on": "host.eth0.10", "during": "probe"}, "count": 1}).truth is True


@pytest.mark.parametrize("missing", ["first", "second"])
def test_a_trace_during_a_command_that_is_not_there_observes_nothing(evidence, missing):
    codes = {"first": 0, "second": 0, missing: 127}
    evidence.trace("hooks", at=(0, 10))
    for number, (name, code) in enumerate(codes.items()):
        evidence.run(name, exit=code, at=(20 + 20 * number, 30 + 20 * number), shell="pingg")
    evidence.traced("hooks").trace_ended("hooks", 0).done()
    trace = judge(evidence, {"trace": {"at": "hooks", "during": {"from": "first", "to": "second"}}, "count": 0})
    assert (trace.truth, trace.reason) == (None, "missing-tool")


def test_every_packet_that_was_not_told_is_counted(evidence):
    evidence.trace("hooks", at=(0, 10)).run("probe", at=(20, 100))
    told = [event for way in (1, 2) for event in forwarded(way)]
    events = [
        dataclasses.replace(event, protocol="ip6", network=None, wall_ns=1_790_000_000_030_000_000) for event in told
    ]
    evidence.traced("hooks", *events).trace_ended("hooks", len(events)).done()
    trace = judge(evidence, {"trace": {"at": "hooks", "where": {"source": "fd00::1"}}, "count": 0})
    assert sentence(trace).startswith("2 packets of trace 'hooks' may be meant")


def test_several_checks_of_a_command_are_all_looked_at(evidence):
    trace = judge(
        evidence.run("probe", b"x", b"y").done(), {"command": "probe", "exit": 0, "stdout": "x", "stderr": "z"}
    )
    assert [leaf.truth for leaf in trace.leaves()] == [True, True, False]
    both = judge_again(evidence, {"command": "probe", "exit": {"ge": 0, "lt": 9}, "stdout": "x"})
    assert len(both.leaves()) == 3


def judge_again(evidence, predicted):
    from labrun.evidence.record import read_variant

    return evaluate(prediction(predicted), read_variant(evidence.folder), PREFIX)


COMPLAINT = b"bash: line 1: conntrack: command not found\n"


@pytest.mark.parametrize("exit", [0, 1])
@pytest.mark.parametrize("complaint", [COMPLAINT, b"something else\nbash: conntrack: command not found\nand more\n"])
@pytest.mark.parametrize(
    "predicted",
    [
        {"command": "probe", "stdout": "0"},
        {"command": "probe", "exit": {"le": 1}},
        {"command": "probe", "exit": 0},
        {"not": {"command": "probe", "stdout": {"contains": "tcp"}}},
        {"expr": "code <= 1", "let": {"code": {"command": "probe", "of": "exit"}}},
        {"expr": "code == 0", "let": {"code": {"command": "probe", "of": "exit"}}},
        {"expr": "said == '0'", "let": {"said": {"command": "probe", "of": "stdout"}}},
        {**DURING, "count": 0},
    ],
)
def test_a_part_of_a_line_that_the_shell_does_not_find_observes_nothing(evidence, predicted, complaint, exit):
    """`conntrack -L | grep -c tcp` prints 0 where there is no conntrack, and the status is grep's."""
    evidence.capture("seen", "lo", at=(0, 10))
    evidence.run("probe", b"0\n", complaint, exit=exit, at=(20, 100), shell="conntrack -L | grep -c tcp")
    trace = judge(evidence.captured("seen", ("lo",)).capture_ended("seen", 0, during=(0, 1000)).done(), predicted)
    assert (trace.truth, trace.reason) == (None, "missing-tool")
    assert "the shell does not find 'conntrack'" in sentence(trace.leaves()[0])


@pytest.mark.parametrize(
    ("said", "shell"),
    [
        (b"bash: conntrack: command not found", None),  # a program's own words
        (b"grep: bash: conntrack: command not found", "grep x"),
        (b"bash: ./here: No such file or directory", "cat <./here"),
        (b"ip: command not found", "ip route"),
    ],
)
def test_what_only_looks_like_the_complaint_of_the_shell(evidence, said, shell):
    evidence.run("probe", b"0", said, shell=shell).done()
    trace = judge(evidence, {"command": "probe", "stdout": "0"})
    # A file that is not there is an error all the same, and of another kind.
    assert (trace.truth, trace.reason) == ((None, "step-failed") if b"./here" in said else (True, None))


def test_a_lab_may_look_at_the_complaint(evidence):
    evidence.run("probe", b"0", COMPLAINT, shell="conntrack | wc -l").done()
    predicted = {"command": "probe", "exit": 0, "stdout": "0", "stderr": {"contains": "not found"}}
    assert judge(evidence, predicted).truth is True


def test_a_control_of_which_the_shell_does_not_find_a_part(tmp_path):
    def control(evidence):
        evidence.run("inserted-1", stderr=b"bash: ipp: command not found\n", shell="ipp link set eth0 down || true")
        return capturing(evidence, packets=0).done()

    result = verdict_of(
        tmp_path, control, control={"before": "probe", "insert": {"run": "ipp link set eth0 down || true"}}
    )
    assert (result.verdict, result.reason) == ("inconclusive", "control-missing-tool")
