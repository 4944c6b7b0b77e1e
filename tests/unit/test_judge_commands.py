"""What a command did, judged on recorded evidence: exit status and outputs, true, false and unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.evidence.ref import Ref
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.logic.compare import holds
from labrun.observe.commands import Text
from labrun.protocol.events import StartResult
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"


def judge(evidence, predicted):
    return evaluate(prediction(predicted), evidence.read(), PREFIX)


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


@pytest.mark.parametrize(
    ("code", "signal", "check", "truth"),
    [
        (0, None, 0, True),
        (1, None, 0, False),
        (7, None, {"ge": 7, "lt": 8}, True),
        (7, None, {"one_of": [0, 1]}, False),
        (None, "SIGKILL", 137, True),
        (None, "SIGTERM", 143, True),
        (None, "SIGTERM", 15, False),
    ],
)
def test_exit(evidence, code, signal, check, truth):
    trace = judge(evidence.run("probe", exit=code, signal=signal).done(), {"command": "probe", "exit": check})
    assert trace.truth is truth
    assert trace.reason is None


def test_a_signal_without_a_name_gives_no_exit_status(evidence):
    trace = judge(evidence.run("probe", exit=None, signal="SIG77").done(), {"command": "probe", "exit": 0})
    assert (trace.truth, trace.reason) == (None, "no-exit-status")
    assert sentence(trace) == "step 'probe': the command was ended by SIG77"


def test_neither_exit_nor_signal_gives_no_exit_status(evidence):
    trace = judge(evidence.run("probe", exit=None).done(), {"command": "probe", "exit": 0})
    assert (trace.truth, trace.reason) == (None, "no-exit-status")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("check", "truth"),
    [
        ("one\ntwo", True),  # the last line break does not count
        ("one\ntwo\n", True),  # it may be written with it
        ("one\ntwo\n\n", False),
        ("one", False),
        ({"contains": "e\nt"}, True),
        ({"contains": "three"}, False),
        ({"lacks": "three"}, True),
        ({"lacks": "one"}, False),
        ({"matches": "(?m)^two$"}, True),
        ({"matches": "^two$"}, False),  # of the text
        ({"matches": "^$"}, False),
        ({"matches": "^wo"}, False),
        ({"one_of": ["one\ntwo", "x"]}, True),
        ({"contains": "one", "lacks": "two"}, False),
    ],
)
def test_outputs(evidence, stream, check, truth):
    trace = judge(evidence.run("probe", **{stream: b"one\ntwo\n"}).done(), {"command": "probe", stream: check})
    assert trace.truth is truth


def test_only_one_line_break_is_taken_off(evidence):
    assert judge(evidence.run("probe", b"a\n\n").done(), {"command": "probe", "stdout": "a\n"}).truth is True


def test_bytes_that_are_no_text_still_differ(evidence):
    evidence.run("probe", b"\xff\xfeabc").done()
    variant = evidence.read()
    for check, truth in (
        ({"contains": "abc"}, True),
        ("abc", False),
        ({"contains": "\N{REPLACEMENT CHARACTER}"}, True),
    ):
        assert evaluate(prediction({"command": "probe", "stdout": check}), variant, PREFIX).truth is truth


def test_each_check_is_traced_with_both_sides_and_where_to_look(evidence):
    predicted = {"command": "probe", "exit": 0, "stdout": {"contains": "x", "lacks": "y"}, "stderr": ""}
    trace = judge(evidence.run("probe", b"abc\n", exit=3).done(), predicted)
    assert (trace.truth, trace.operator, trace.path, str(trace.subject)) == (False, "all", "", "command probe")
    assert [(leaf.path, leaf.truth, leaf.operator, leaf.expected, leaf.actual) for leaf in trace.leaves()] == [
        ("exit.equals", False, "equals", "0", "3"),
        ("stdout.contains", False, "contains", '"x"', '"abc"'),
        ("stdout.lacks", True, "lacks", '"y"', '"abc"'),
        ("stderr.equals", True, "equals", '""', '""'),
    ]
    first, second, *_, last = trace.leaves()
    assert first.refs == (Ref(PREFIX + "events.jsonl", line=3),)
    assert sentence(first) == f"exit of probe == 0, actual 3 ({PREFIX}events.jsonl:3)"
    assert sentence(second) == f'stdout of probe contains "x", actual "abc" ({PREFIX}outputs/probe.stdout)'
    assert last.refs == (Ref(PREFIX + "outputs/probe.stderr"),)
    assert all(leaf.reason is None for leaf in trace.leaves())


def test_a_long_output_is_shortened_in_the_message_only(evidence):
    trace = judge(evidence.run("probe", b"a" * 200 + b"b").done(), {"command": "probe", "stdout": {"contains": "ab"}})
    assert trace.truth is True
    assert trace.actual == '"' + "a" * 200 + '... (201 characters)"'
    exact = Evidence(evidence.folder.parent / "other").run("probe", b"a" * 200).done()
    assert judge(exact, {"command": "probe", "stdout": {"contains": "a"}}).actual == '"' + "a" * 200 + '"'


# --- unknown: the step ---

ALL = {"command": "probe", "exit": {"lt": 1, "ge": 0}, "stdout": "x", "stderr": {"lacks": "y"}}
PATHS = ["exit.ge", "exit.lt", "stdout.equals", "stderr.lacks"]


def unknown(trace, reason, *words):
    """Every check of ALL is unknown for that reason."""
    assert trace.truth is None
    assert trace.reason == reason
    assert [leaf.path for leaf in trace.leaves()] == PATHS
    for leaf in trace.leaves():
        assert (leaf.truth, leaf.reason, leaf.actual) == (None, reason, None)
        assert leaf.expected is not None
        for word in words:
            assert word in sentence(leaf)


def test_a_step_that_is_not_there(evidence):
    trace = judge(evidence.run("other").done(), ALL)
    unknown(trace, "evidence-missing")
    assert sentence(trace.leaves()[0]) == "step 'probe' is not in the evidence"
    assert trace.leaves()[0].refs == ()


def test_a_step_that_never_started_has_the_cause_of_what_stopped_the_plan(evidence):
    evidence.run("other", status="timeout", message="not done after 1 s").run("probe", started=False).done()
    unknown(judge(evidence, ALL), "timeout", "step 'probe' was not observed", "'other': not done after 1 s")


def test_a_step_that_never_ended(evidence):
    unknown(judge(evidence.run("probe", ended=False), ALL), "evidence-incomplete", "the evidence ends before")


def test_a_step_that_never_ended_because_the_sandbox_died(evidence):
    unknown(judge(evidence.run("probe", ended=False).fault("sandbox-died", "it was killed"), ALL),
            "sandbox-died", "it was killed")  # fmt: skip


def test_a_step_that_failed(evidence):
    evidence.start("probe", status="failed", message="no such command: probe", result=None).done()
    trace = judge(evidence, ALL)
    unknown(trace, "step-failed", "step 'probe' failed: no such command: probe")
    assert trace.leaves()[0].refs == (Ref(PREFIX + "events.jsonl", line=3),)


def test_what_a_command_printed_before_its_deadline_is_no_result(evidence):
    evidence.run("probe", b"x", exit=None, signal="SIGKILL", status="timeout", message="was killed").done()
    unknown(judge(evidence, ALL), "timeout", "step 'probe': was killed")


def test_a_step_that_is_no_command(evidence):
    trace = judge(evidence.change("probe").done(), ALL)
    unknown(trace, "evidence-missing")
    assert sentence(trace.leaves()[0]) == "the end of step 'probe' is not in the evidence"


# --- started processes ---


def test_a_process_that_ended_by_itself(evidence):
    evidence.start("server").process_ended("server", b"hello\n", exit=3).done()
    trace = judge(evidence, {"command": "server", "exit": 3, "stdout": "hello", "stderr": ""})
    assert trace.truth is True


def test_a_process_that_ended_by_a_signal(evidence):
    evidence.start("server").process_ended("server", signal="SIGSEGV").done()
    assert judge(evidence, {"command": "server", "exit": 139}).truth is True


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_process_that_was_still_running_has_outputs_and_no_exit_status(evidence, signal):
    evidence.start("server").process_ended("server", b"hello\n", signal=signal, stopped=True).done()
    variant = evidence.read()
    trace = evaluate(prediction({"command": "server", "exit": 143}), variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, "still-running")
    assert (
        sentence(trace) == "the process of step 'server' was still running when it was stopped: it has no exit status"
    )
    assert evaluate(prediction({"command": "server", "stdout": "hello"}), variant, PREFIX).truth is True
    assert evaluate(prediction({"command": "server", "stdout": "bye"}), variant, PREFIX).truth is False


def test_a_stopped_process_that_exits_by_itself_has_no_exit_status_either(evidence):
    evidence.start("server").process_ended("server", exit=0, stopped=True).done()
    assert judge(evidence, {"command": "server", "exit": 0}).reason == "still-running"


def test_a_process_whose_end_never_arrived(evidence):
    trace = judge(evidence.start("server").fault("sandbox-died"), {"command": "server", "stdout": ""})
    assert (trace.truth, trace.reason) == (None, "sandbox-died")


def test_a_process_that_was_never_ready(evidence):
    evidence.start("server", status="timeout", message="not ready within 1 s", result=None).done()
    assert judge(evidence, {"command": "server", "exit": 0}).reason == "timeout"


def test_a_process_that_ended_before_it_was_ready_is_observed(evidence):
    evidence.start("server", status="failed", message="ended", result=None).process_ended("server", exit=1).done()
    assert judge(evidence, {"command": "server", "exit": 1}).truth is True


def test_a_process_that_started_and_is_not_known_to_have_ended(evidence):
    trace = judge(evidence.start("server", result=StartResult(7)).done(), {"command": "server", "exit": 0})
    assert (trace.truth, trace.reason) == (None, "evidence-missing")
    assert "the end of step 'server'" in sentence(trace)


# --- unknown: cut outputs ---


@pytest.mark.parametrize(
    ("kept", "check", "truth"),
    [
        (b"one\ntwo", {"contains": "one"}, True),
        (b"one\ntwo", {"contains": "three"}, None),
        (b"one\ntwo", {"lacks": "one"}, False),
        (b"one\ntwo", {"lacks": "three"}, None),
        (b"one\ntwo", {"matches": "(?m)^one$"}, True),
        (b"one\ntwo", {"matches": "^on"}, True),
        (b"one\ntwo", {"matches": "three"}, None),
        (b"one\ntwo", {"matches": "^two$"}, None),  # the line went on
        (b"one\ntwo\n", {"matches": "^two$"}, None),  # the same: the last line break is taken off
        (b"one\n\ntwo", {"matches": "(?m)^$"}, True),
        (b"one\ntwo", {"matches": "^$"}, None),
        (b"one\ntwo", {"matches": r"one\Z"}, None),
        (b"one\ntwo", {"matches": r"one(?!\ntwo\nthree)"}, None),
        (b"one\ntwo", "one\ntwo", None),
        (b"one\ntwo", "other", None),
        (b"one\ntwo", {"one_of": ["one\ntwo"]}, None),
    ],
)
def test_of_an_output_that_was_cut_only_what_was_found_is_sure(evidence, kept, check, truth):
    trace = judge(evidence.run("probe", kept, size=len(kept) + 1).done(), {"command": "probe", "stdout": check})
    assert trace.truth is truth
    assert trace.reason == ("output-cut" if truth is None else None)
    if truth is None:
        assert sentence(trace).endswith("outputs/probe.stdout); the command printed more than was kept")


@given(st.text("ab\n", max_size=6), st.text("ab\n", max_size=4), st.sampled_from(
    ["a", "^a", "a$", "^a$", "^$", "(?m)^a$", "(?m)b+$", r"a\Z", "a(?!b)", "a(?=b)", r"\bab\b", "(?s)a.*b", "^[^b]*$", r"a\s*$"]))  # fmt: skip
def test_what_is_sure_of_a_cut_output_stays_so_whatever_follows(kept, rest, pattern):
    """The property behind the cases above, on outputs of which the rest is known."""
    text = Text(kept.removesuffix("\n"), True, Ref("x"))
    if text.surely("matches", pattern):
        assert holds("matches", (kept + rest).removesuffix("\n"), pattern) is True


def test_nothing_but_a_search_is_ever_sure():
    text = Text("1\n2", True, Ref("x"))
    assert not any(text.surely(operator, "1") for operator in ("equals", "one_of", "ge"))


def test_an_output_file_that_never_arrived_counts_as_cut(evidence):
    trace = judge(evidence.run("probe", b"abc", ship=False).done(), {"command": "probe", "stdout": {"lacks": "x"}})
    assert (trace.truth, trace.reason) == (None, "output-cut")


def test_an_output_that_is_whole_is_not_cut(evidence):
    evidence.run("probe", b"abc", size=3).done()
    assert judge(evidence, {"command": "probe", "stdout": {"lacks": "x"}}).truth is True


# --- joining ---


def leaf(step, code):
    return {"command": step, "exit": code}


@pytest.mark.parametrize(
    ("predicted", "truth"),
    [
        ({"all": [leaf("yes", 0), leaf("yes", 0)]}, True),
        ({"all": [leaf("yes", 0), leaf("no", 0)]}, False),
        ({"all": [leaf("yes", 0), leaf("gone", 0)]}, None),
        ({"all": [leaf("gone", 0), leaf("no", 0)]}, False),
        ({"any": [leaf("no", 0), leaf("yes", 0)]}, True),
        ({"any": [leaf("no", 0), leaf("no", 0)]}, False),
        ({"any": [leaf("no", 0), leaf("gone", 0)]}, None),
        ({"any": [leaf("gone", 0), leaf("yes", 0)]}, True),
        ({"not": leaf("yes", 0)}, False),
        ({"not": leaf("no", 0)}, True),
        ({"not": leaf("gone", 0)}, None),
        ({"not": {"not": leaf("yes", 0)}}, True),
    ],
)
def test_all_any_and_not(evidence, predicted, truth):
    trace = judge(evidence.run("yes", exit=0).run("no", exit=1).fault("sandbox-died"), predicted)
    assert trace.truth is truth
    assert trace.reason == (None if truth is not None else "sandbox-died")


def test_nothing_is_cut_short_and_every_node_has_its_path(evidence):
    predicted = {"any": [leaf("yes", 0), {"all": [leaf("no", 0), {"not": leaf("gone", 1)}]}]}
    trace = judge(evidence.run("yes", exit=0).run("no", exit=1).done(), predicted)
    assert [child.path for child in trace.children] == ["any.0.exit.equals", "any.1"]
    assert (trace.operator, str(trace.subject)) == ("any", "any of")
    both = trace.children[1]
    assert (both.operator, str(both.subject), both.truth) == ("all", "all of", False)
    negated = both.children[1]
    assert (negated.path, negated.operator, str(negated.subject), negated.truth) == ("any.1.all.1", "not", "not", None)
    assert [one.path for one in trace.leaves()] == [
        "any.0.exit.equals", "any.1.all.0.exit.equals", "any.1.all.1.not.exit.equals",
    ]  # fmt: skip


def test_the_deciding_leaves_are_those_that_made_it_so(evidence):
    predicted = {"all": [leaf("yes", 0), {"not": {"any": [leaf("yes", 1), leaf("yes", 0)]}}, leaf("gone", 0)]}
    trace = judge(evidence.run("yes", exit=0).done(), predicted)
    assert trace.truth is False
    assert [one.path for one in trace.deciding(False)] == ["all.1.not.any.1.exit.equals"]
    assert [one.path for one in trace.children[1].deciding(False)] == ["all.1.not.any.1.exit.equals"]


def test_the_reason_of_a_branch_is_its_first_unknown_childs(evidence):
    evidence.run("slow", status="timeout", message="1 s").start("server").process_ended("server", stopped=True).done()
    trace = judge(evidence, {"all": [leaf("server", 0), leaf("slow", 0)]})
    assert trace.reason == "still-running"
    assert [one.reason for one in trace.deciding(None)] == ["still-running", "timeout"]


@pytest.mark.parametrize("expected", ["one(?!x)", "one\\Z", "one\\z"])
def test_on_a_cut_text_a_pattern_that_asks_for_what_follows_is_never_sure(expected):
    assert Text("one\ntwo", True, Ref("f")).surely("matches", expected) is False


OURS = """table inet labrun_trace { # progname labrun
\tflags owner
\tchain input_enter {
\t\ttype filter hook input priority -2147483648; policy accept;
\t\taccept
\t}
}
"""
LABS = "table ip lab {\n\tchain in {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n"


@pytest.mark.parametrize(
    ("output", "check", "truth"),
    [
        (OURS + LABS, {"contains": "hook forward"}, True),
        (OURS + LABS, {"contains": "hook input"}, None),  # ours alone has it
        (OURS + LABS, {"lacks": "hook input"}, None),
        (OURS + LABS, {"lacks": "hook output"}, True),
        (LABS + OURS, {"lacks": "hook forward"}, False),
        (OURS, {"equals": ""}, None),
        (OURS, {"matches": "accept"}, None),
        ('{"table": {"name": "labrun_trace"}}', {"contains": "table"}, None),
        ("table inet labrun_trace", {"lacks": "ip lab"}, None),
        (LABS, {"contains": "hook input"}, False),
    ],
)
def test_what_labrun_itself_put_into_an_output_decides_nothing(evidence, output, check, truth):
    evidence.run("probe", output.encode(), at=(20, 100)).done()
    trace = judge(evidence, {"command": "probe", "stdout": check})
    assert (trace.truth, trace.reason) == (truth, "instrument-interferes" if truth is None else None)
