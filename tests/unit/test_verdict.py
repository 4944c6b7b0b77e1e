"""From what was observed in the experiment and its controls to a verdict, an exit code and results.json."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
from labrun.evidence import layout
from labrun.evidence.ref import Ref
from labrun.evidence.run import InvalidLab, LabEntry, write_run
from labrun.judge.results import (
    CaptureSummary,
    Evaluation,
    HypothesisResult,
    LabResult,
    RunResult,
    Subject,
    exit_code,
    is_surprise,
    results_json,
)
from labrun.judge.run import judge_run
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from labrun.observe.unknown import first_cause
from labrun.protocol import actions
from labrun.protocol.events import ChangeResult, Program
from support.evidence_builder import Evidence, Seen, icmp
from support.labs import judge_first, unchecked
from support.recorded import run_record

SLUG = "tried"


def lab_of(hypothesis=None, **fields):
    """A lab with a step `probe`; its prediction is that probe exits with 0."""
    return {
        "title": "A lab", "question": "Is it so?", "topology": {"nodes": {"host": {}}},
        "steps": [
            {"id": "seen", "capture": {"on": "lo"}}, {"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"},
            {"id": "state", "snapshot": "all"},
        ],
        "hypotheses": [{"id": "h", "claim": "It is so.", "predict": {"command": "probe", "exit": 0}, **(hypothesis or {})}],
        **fields,
    }  # fmt: skip


def parsed(content, path):
    return compile_lab(parse_lab(json.dumps(content), path / "lab.yaml", SLUG, "labs/tried/lab.yaml"))


def variant(tmp_path, name, exit=0, build=lambda evidence: evidence.done()):
    return build(Evidence(tmp_path / name, name).run("cause").run("probe", b"out\n", exit=exit)).read()


def died(evidence):
    return evidence.fault("sandbox-died", "it was killed")


def slow(evidence):
    return evidence.run("slow", status="timeout", message="10 s").done()


def judged(tmp_path, exits, hypothesis=None, **builds):
    """``exits``: what probe exits with, variant by variant: the experiment's, then the controls'. None: not there."""
    compiled = parsed(lab_of(hypothesis), tmp_path)
    names = ("experiment", *compiled.controls["h"])
    variants = {
        name: variant(tmp_path, name, code, builds.get(name.replace("-", "_"), lambda evidence: evidence.done()))
        for name, code in zip(names, exits, strict=True)
        if code is not None
    }
    return judge_first(compiled, variants)


ONE = {"control": {"without": "cause"}}
TWO = {"control": [{"without": "cause"}, {"replace": "cause", "with": {"run": "false"}}]}


@pytest.mark.parametrize(
    ("exits", "hypothesis", "verdict", "reason"),
    [
        ((0,), None, "supported", "as-predicted"),
        ((1,), None, "refuted", "contradicted"),
        ((None,), None, "inconclusive", "not-run"),
        ((0, 1), ONE, "supported", "as-predicted"),
        ((0, 0), ONE, "inconclusive", "control-agrees"),
        ((0, None), ONE, "inconclusive", "control-not-run"),
        ((1, 1), ONE, "refuted", "contradicted"),
        ((1, 0), ONE, "refuted", "contradicted"),
        ((1, None), ONE, "refuted", "contradicted"),
        ((None, 1), ONE, "inconclusive", "not-run"),
        ((None, 0), ONE, "inconclusive", "not-run"),
        ((0, 1, 1), TWO, "supported", "as-predicted"),
        ((0, 1, 0), TWO, "inconclusive", "control-agrees"),
        ((0, 0, 1), TWO, "inconclusive", "control-agrees"),
        ((0, None, 0), TWO, "inconclusive", "control-agrees"),
        ((0, 1, None), TWO, "inconclusive", "control-not-run"),
        ((1, 0, 0), TWO, "refuted", "contradicted"),
        ((0,), {"control": {"none": "it is a definition"}}, "supported", "as-predicted"),
        ((1,), {"control": {"none": "it is a definition"}}, "refuted", "contradicted"),
    ],
)
def test_the_decision(tmp_path, exits, hypothesis, verdict, reason):
    for expect in ("supported", "refuted"):
        result = judged(tmp_path / expect, exits, {**(hypothesis or {}), "expect": expect})
        assert (result.verdict, result.reason) == (verdict, reason)
        assert result.as_expected is (verdict == expect)
        assert (result.trace.path, result.trace.truth) == (
            "" if exits[0] is None else "exit.equals",
            {0: True, 1: False}.get(exits[0]),
        )
        assert is_surprise(result) is (verdict in ("supported", "refuted") and verdict != expect)


def test_what_the_verdict_says(tmp_path):
    def message(name, *case, **builds):
        return judged(tmp_path / name, *case, **builds).message

    assert message("a", (0,)) == "as predicted"
    assert message("b", (0, 1), ONE) == "as predicted, and not so in the control"
    assert message("c", (0, 1, 1), TWO) == "as predicted, and not so in 2 controls"
    text = "exit of probe == 0, actual 3 (labs/tried/experiment/events.jsonl:5)"
    assert message("d", (3,)) == text
    assert message("e", (None,)) == "there is no evidence of 'experiment': it did not run"
    assert message("f", (0, 0), ONE) == (
        "the control shows the same (without step 'cause'): the cause is not what the claim says"
    )
    assert message("g", (0, None), ONE) == (
        "the control (without step 'cause') could not be judged: there is no evidence of 'h': it did not run"
    )
    both = {"predict": {"all": [{"command": "probe", "exit": 0}, {"command": "probe", "stdout": "in", "stderr": ""}]}}
    assert message("h", (3,), both) == text + " (and 1 more)"


def test_a_result_has_what_its_author_wrote(tmp_path):
    hypothesis = {"because": "of that", "control": [{"none": "a definition"}], "expect": "refuted"}
    result = judged(tmp_path, (1,), hypothesis)
    assert (result.id, result.claim, result.because, result.no_control) == ("h", "It is so.", "of that", "a definition")
    assert (result.expect, result.as_expected, result.controls) == ("refuted", True, ())
    assert result.line == 1  # the JSON is one line
    assert judged(tmp_path / "b", (0,)).no_control is None


def test_the_line_is_that_of_the_hypothesis(tmp_path):
    text = json.dumps(lab_of(), indent=1)
    result = judge_first(unchecked(text, SLUG), {})
    assert '"id": "h"' in text.splitlines()[result.line - 1]


def test_refs_are_relative_to_the_run(tmp_path):
    result = judged(tmp_path, (0, 1), ONE)
    assert result.trace.refs == (Ref("labs/tried/experiment/events.jsonl", line=5),)
    assert result.controls[0].trace.refs == (Ref("labs/tried/h/events.jsonl", line=5),)


@pytest.mark.parametrize(
    ("control", "change"),
    [
        ({"without": "cause"}, "without step 'cause'"),
        ({"replace": "cause", "with": {"run": "false"}}, "step 'cause' replaced by: cause"),
        ({"before": "probe", "insert": {"id": "extra", "run": "x"}}, "before step 'probe': extra"),
        ({"after": "cause", "insert": [{"id": "extra", "run": "x"}, {"run": "x"}, {"id": "gone", "run": "x"}]},
         "after step 'cause': extra; ip route add 10.0.0.0/8"),
    ],
)  # fmt: skip
def test_what_is_different_in_the_control(tmp_path, control, change):
    def build(evidence):
        evidence.step("inserted-2", actions.Route("add", "10.0.0.0/8"), ChangeResult())
        return evidence.run("extra", shell="extra").done()

    result = judged(tmp_path, (0, 1), {"control": {**control, "note": "Look."}}, h=build)
    assert (result.controls[0].change, result.controls[0].note) == (change, "Look.")
    assert (result.controls[0].variant, result.controls[0].truth) == ("h", False)


def test_other_parameters_are_told(tmp_path):
    control = {"control": {"parameters": {"a": 2, "b": "x"}}}
    compiled = parsed(lab_of(control, parameters={"a": [1, 2], "b": ["y", "x"]}), tmp_path)
    result = judge_first(compiled, {})
    assert result.controls[0].change == "with a = 2, b = x"


def test_a_replacement_is_told_as_its_author_wrote_it_even_where_it_did_not_run(tmp_path):
    replace = {"control": {"replace": "cause", "with": {"run": "false"}}}
    assert judged(tmp_path / "a", (0, None), replace).controls[0].change == "step 'cause' replaced"
    compiled = parsed(lab_of(replace), tmp_path)
    evidence = Evidence(tmp_path / "h", "h").run("cause", shell="echo no").run("probe", exit=1).done()
    variants = {"experiment": variant(tmp_path, "experiment"), "h": evidence.read()}
    result = judge_first(compiled, variants)
    assert result.controls[0].change == "step 'cause' replaced by: echo no"


# --- evidence that is not whole ---


@pytest.mark.parametrize("exit", [0, 1])
@pytest.mark.parametrize(
    ("build", "reason", "message"),
    [
        (died, "sandbox-died", "it was killed"),
        (lambda evidence: evidence, "evidence-incomplete", "the evidence ends before the agent was done"),
        (lambda evidence: evidence.fault("interrupted", "the run was interrupted"), "interrupted", "the run was interrupted"),
        (lambda evidence: evidence.run("x", status="failed", message="no"), "step-failed", "step 'x' failed: no"),
    ],
)  # fmt: skip
def test_incomplete_evidence_neither_supports_nor_refutes(tmp_path, exit, build, reason, message):
    result = judged(tmp_path, (exit,), experiment=build)
    assert (result.verdict, result.reason, result.message) == ("inconclusive", reason, message)
    assert (result.trace.path, str(result.trace.subject), result.trace.truth) == ("", "the evidence", None)
    assert [child.truth for child in result.trace.children] == [exit == 0]  # shown all the same


@pytest.mark.parametrize("exit", [0, 1])
def test_an_incomplete_control_proves_nothing(tmp_path, exit):
    result = judged(tmp_path, (0, exit), ONE, h=died)
    assert (result.verdict, result.reason) == ("inconclusive", "control-sandbox-died")
    assert result.message == "the control (without step 'cause') could not be judged: it was killed"
    assert judged(tmp_path / "b", (1, exit), ONE, h=died).verdict == "refuted"


def test_a_control_that_broke_off_is_shown_with_what_it_came_to(tmp_path):
    trace = judged(tmp_path, (0, 1), ONE, h=slow).controls[0].trace
    assert (trace.path, str(trace.subject), trace.truth, trace.reason) == ("", "the evidence", None, "timeout")
    assert [(child.path, child.truth) for child in trace.children] == [("exit.equals", False)]


def test_a_fault_beside_a_plan_that_was_done_to_its_end_spoils_no_control(tmp_path):
    result = judged(tmp_path, (0, 1), ONE, h=lambda evidence: evidence.fault("packets-lost", "some").done())
    assert (result.verdict, result.controls[0].truth) == ("supported", False)


def test_a_step_that_failed_elsewhere_does_not_spoil_what_was_observed(tmp_path):
    """The plan ended there, and the agent said that all was handed over."""
    assert judged(tmp_path / "a", (0,), experiment=slow).verdict == "supported"
    assert judged(tmp_path / "b", (1,), experiment=slow).verdict == "refuted"


@pytest.mark.parametrize("build", [slow, died])
def test_what_was_not_observed_is_inconclusive_with_the_cause(tmp_path, build):
    hypothesis = {"predict": {"packets": {"on": "host.lo"}, "count": 0}}
    result = judged(tmp_path, (0,), hypothesis, experiment=build)
    assert (result.verdict, result.reason) == ("inconclusive", "timeout" if build is slow else "sandbox-died")


def test_an_error_is_not_refuted_by_a_not(tmp_path):
    for predicted in (
        {"not": {"packets": {"on": "host.lo"}, "count": 0}},
        {"packets": {"on": "host.lo"}, "count": {"gt": 0}},
    ):
        result = judged(tmp_path / str(len(predicted)), (0,), {"predict": predicted}, experiment=slow)
        assert (result.verdict, result.reason) == ("inconclusive", "timeout")
        assert "step 'slow': 10 s" in result.message


def test_a_checker_that_crashes_is_inconclusive(tmp_path):
    """The sandbox sent a program that is none."""
    hypothesis = {"predict": {"packets": {"on": "host.lo", "match": "icmp"}, "count": 0}}

    def build(evidence):
        evidence.hello = dataclasses.replace(evidence.hello, programs=(Program("icmp", 1, ((0xFFFF, 0, 0, 0),)),))
        return evidence.capture("seen", "lo").captured("seen", ("lo",), Seen(1, icmp())).capture_ended("seen", 1).done()

    result = judged(tmp_path, (0,), hypothesis, experiment=build)
    assert (result.verdict, result.reason) == ("inconclusive", "checker-crashed")
    assert result.message.startswith("ValueError: BPF instruction 0")
    assert str(result.trace.subject) == "the prediction"
    assert (result.trace.path, result.trace.truth) == ("", None)


def test_evidence_that_cannot_be_read_is_inconclusive(tmp_path):
    def build(evidence):
        evidence.piece("snapshots/state.json", b"{half")
        return evidence.snapshot("state", {}, ship=False).done()

    result = judged(tmp_path, (0,), {"predict": {"links": {"at": "state"}, "count": 1}}, experiment=build)
    assert (result.verdict, result.reason) == ("inconclusive", "evidence-unreadable")
    assert "state.json" in result.message
    assert (result.trace.path, str(result.trace.subject), result.trace.truth) == ("", "the evidence", None)


def test_the_first_cause(tmp_path):
    def cause(name, build):
        found = first_cause(build(Evidence(tmp_path / name)).read())
        return None if found is None else (found.code, found.message)

    assert cause("a", lambda e: e.run("x").done()) is None
    assert cause("b", lambda e: e.run("x")) == ("evidence-incomplete", "the evidence ends before the agent was done")
    assert cause("c", lambda e: e.run("x", started=False).done()) is None
    assert cause("d", lambda e: e.run("x", ended=False).done()) is None
    assert cause("e", lambda e: e.fault("one", "1").fault("two", "2").done()) == ("one", "1")
    assert cause("f", lambda e: e.fault("one").run("x", status="timeout", message="1 s")) == (
        "timeout",
        "step 'x': 1 s",
    )
    two = Evidence(tmp_path / "g").run("x", status="failed", message="no").run("y", status="timeout", message="1 s")
    assert first_cause(two.read()).message == "step 'x' failed: no"


# --- a run ---


def recorded(tmp_path, labs, invalid=()):
    """labs: slug -> (content, {variant: Evidence builder})."""
    run = tmp_path / "run"
    run.mkdir()
    entries = []
    for slug, (content, builds) in labs.items():
        folder = layout.lab_folder(run, slug)
        folder.mkdir(parents=True)
        (folder / layout.LAB).write_text(content if isinstance(content, str) else json.dumps(content))
        for name, build in builds.items():
            if build is not None:
                build(Evidence(layout.variant_folder(run, slug, name), name)).write()
        entries.append(LabEntry(slug, f"labs/{slug}/lab.yaml", tuple(builds)))
    write_run(run, dataclasses.replace(run_record(entries), invalid=tuple(invalid)))
    return run


def good(evidence):
    evidence.capture("seen", "lo", at=(10, 20)).run("cause").run("probe", b"out\n")
    return (
        evidence.captured("seen", ("lo", "eth0"), Seen(50, icmp()))
        .capture_ended("seen", 1, interfaces=("lo", "eth0"))
        .done()
    )


def test_results_json_keeps_the_contract(tmp_path):
    run = recorded(tmp_path, {SLUG: (lab_of(ONE), {"experiment": good, "h": lambda e: e.run("probe", exit=1).done()})})
    data = json.loads(json.dumps(results_json(judge_run(run))))
    assert data["schema"] == 1
    assert {"id", "engine", "isolation", "started", "kernel", "image"} <= data["run"].keys()
    (lab,) = data["labs"]
    assert (lab["id"], lab["status"], lab["reason"], lab["message"]) == (SLUG, "done", None, None)
    assert (lab["title"], lab["file"], lab["unjudged"]) == ("A lab", "labs/tried/lab.yaml", [])
    (hypothesis,) = lab["hypotheses"]
    contract = {"id", "claim", "verdict", "expect", "as_expected", "reason", "observed", "evidence"}
    assert contract <= hypothesis.keys()
    assert {key: hypothesis[key] for key in contract} == {
        "id": "h", "claim": "It is so.", "verdict": "supported", "expect": "supported", "as_expected": True,
        "reason": "as-predicted",
        "observed": [{"path": "exit.equals", "subject": "exit of probe", "operator": "equals", "expected": "0",
                      "actual": "0", "truth": True, "reason": None}],
        "evidence": ["labs/tried/experiment/events.jsonl:7"],
    }  # fmt: skip
    assert (hypothesis["message"], hypothesis["line"]) == ("as predicted, and not so in the control", 1)
    differs = ["step 'probe' ended with exit 1, in the experiment with exit 0"]
    assert hypothesis["controls"] == [
        {"variant": "h", "change": "without step 'cause'", "truth": False, "must": False, "differs": differs}
    ]
    assert (hypothesis["no_control"], hypothesis["because"]) == (None, None)
    (capture,) = lab["captures"]
    assert capture == {
        "step": "seen", "node": "host", "interfaces": ["lo", "eth0"], "packets": 1, "drops": 0,
        "file": "labs/tried/experiment/captures/seen.pcapng",
    }  # fmt: skip
    assert (run / capture["file"]).is_file()


def test_evidence_is_listed_once_and_in_order(tmp_path):
    trace = Evaluation("", Subject("x"), True, "all", children=tuple(
        Evaluation(str(n), Subject("x"), True, "equals", refs=(Ref(file, line=n % 2 + 1),)) for n, file in enumerate("abaa")))  # fmt: skip
    hypothesis = HypothesisResult("h", "c", "supported", "supported", True, "r", "m", 1, trace)
    lab = LabResult("l", "t", "f", "done", (hypothesis,), ())
    (found,) = results_json(RunResult({}, (lab,)))["labs"][0]["hypotheses"]
    assert found["evidence"] == ["a:1", "b:2", "a:2"]
    assert [one["path"] for one in found["observed"]] == ["0", "1", "2", "3"]


def test_a_capture_that_was_never_finished_has_no_counts(tmp_path):
    def build(evidence):
        evidence.capture("seen", "lo", "eth0").run("probe")
        evidence.capture("other", "lo", status="failed", message="no", result=None)
        return evidence.fault("sandbox-died", "killed")

    (lab,) = judge_run(recorded(tmp_path, {SLUG: (lab_of(), {"experiment": build})})).labs
    file = "labs/tried/experiment/captures/seen.pcapng"
    assert lab.captures == (CaptureSummary("seen", "host", ("lo", "eth0"), file, None, None),)
    assert (lab.status, lab.reason, lab.message) == ("error", "step-failed", "step 'other' failed: no")


def test_each_lab_of_a_run_has_a_status(tmp_path):
    run = recorded(
        tmp_path,
        {
            "good": (lab_of(), {"experiment": good}),
            "slow": (lab_of(), {"experiment": slow}),
            "lacking": (lab_of(), {"experiment": lambda e: e.fault("missing-tool", "not in the sandbox: wg").done()}),
            "unrun": (lab_of(), {"experiment": None}),
            "damaged": (lab_of(), {"experiment": lambda e: e.piece("agent.log", b"").done()}),
            "wrong": ("title: [", {"experiment": good}),
        },
        [InvalidLab("bad", "labs/bad/lab.yaml", ("labs/bad/lab.yaml:1:1: no", "and no"))],
    )
    events = run / "labs/damaged/experiment/events.jsonl"
    events.write_bytes(b"no event\n" + events.read_bytes())
    result = judge_run(run)
    labs = {lab.id: lab for lab in result.labs}
    assert [(lab.id, lab.status, lab.reason) for lab in result.labs] == [
        ("good", "done", None), ("slow", "error", "timeout"), ("lacking", "skipped", "missing-tool"),
        ("unrun", "error", "not-run"), ("damaged", "error", "evidence-unreadable"), ("wrong", "error", "invalid-lab"),
        ("bad", "error", "invalid-lab"),
    ]  # fmt: skip
    for name, lab in labs.items():
        read = name in ("good", "slow", "lacking", "unrun")
        assert (lab.title, lab.file) == ("A lab" if read else name, f"labs/{name}/lab.yaml")
        assert lab.captures == () or name == "good"
    assert labs["unrun"].message == "it did not run"
    assert labs["wrong"].message.startswith("labs/wrong/lab.yaml:1:")
    assert labs["lacking"].unjudged == ("h",) and labs["lacking"].hypotheses == ()
    assert labs["lacking"].message == "not in the sandbox: wg"
    assert [h.reason for h in labs["unrun"].hypotheses] == ["not-run"]
    assert labs["bad"].message == "labs/bad/lab.yaml:1:1: no\nand no"
    assert "events.jsonl:1" in labs["damaged"].message
    assert result.counts() == {
        "hypotheses": 3, "supported": 1, "refuted": 0, "inconclusive": 2, "surprises": 0, "skipped": 1, "errors": 5,
        "claimless": 0,
    }  # fmt: skip
    assert exit_code(result, strict=False) == 2


def test_a_tool_that_only_a_control_lacks_does_not_skip_the_lab(tmp_path):
    lacking = lambda e: e.fault("missing-tool", "wg").done()  # noqa: E731
    (lab,) = judge_run(recorded(tmp_path, {SLUG: (lab_of(ONE), {"experiment": good, "h": lacking})})).labs
    assert lab.status == "done"
    assert [(h.verdict, h.reason) for h in lab.hypotheses] == [("inconclusive", "control-missing-tool")]


def test_captures_are_listed_wherever_they_stand(tmp_path):
    """Behind other steps, behind one that did not end, and of no node."""

    def build(evidence):
        evidence.run("cause").capture("first", "lo", ended=False).capture("seen", "lo", at=(10, 20), node=None)
        evidence.capture("failed", "lo", status="failed", message="no", result=None).capture("last", "eth0").run(
            "probe"
        )
        return evidence.capture_ended("seen", 3, drops=2).done()

    (lab,) = judge_run(recorded(tmp_path, {SLUG: (lab_of(), {"experiment": build})})).labs
    assert [(one.step, one.node, one.packets, one.drops) for one in lab.captures] == [
        ("seen", "", 3, 2), ("last", "host", None, None),
    ]  # fmt: skip


def test_judging_again_gives_the_same(tmp_path):
    run = recorded(tmp_path, {SLUG: (lab_of(), {"experiment": good})})
    assert results_json(judge_run(run)) == results_json(judge_run(run))


# --- exit codes ---


def hypothesis(verdict, expect="supported"):
    return HypothesisResult(
        "h", "c", expect, verdict, verdict == expect, "r", "m", 1, Evaluation("", Subject("x"), None)
    )


def lab(*hypotheses, status="done", reason=None):
    return LabResult("l", "t", "f", status, hypotheses, (), reason)


FINE = lab(hypothesis("supported"), hypothesis("refuted", "refuted"))
SURPRISE = lab(hypothesis("refuted"))
SURPRISED = lab(hypothesis("supported", "refuted"))
UNSURE = lab(hypothesis("inconclusive"))
SKIPPED = lab(status="skipped", reason="missing-tool")
BROKEN = lab(status="error", reason="sandbox-died")
INVALID = lab(status="error", reason="invalid-lab")
FILTER = lab(status="error", reason="bad-filter")
CODES = {
    "nothing": ((), 3, 3),
    "fine": ((FINE,), 0, 0),
    "surprise": ((SURPRISE,), 1, 1),
    "the other surprise": ((SURPRISED,), 1, 1),
    "inconclusive": ((UNSURE,), 3, 3),
    "inconclusive where refuted is expected": ((lab(hypothesis("inconclusive", "refuted")),), 3, 3),
    "nothing but a skip": ((SKIPPED,), 3, 3),
    "one skipped": ((FINE, SKIPPED), 0, 3),
    "broken": ((BROKEN,), 3, 3),
    "broken after its hypotheses": ((lab(hypothesis("supported"), status="error", reason="timeout"),), 3, 3),
    "wrong lab": ((INVALID,), 2, 2),
    "wrong filter": ((FILTER,), 2, 2),
}


@pytest.mark.parametrize(("labs", "usual", "strict"), CODES.values(), ids=CODES)
def test_exit_code(labs, usual, strict):
    assert exit_code(RunResult({}, labs), strict=False) == usual
    assert exit_code(RunResult({}, labs), strict=True) == strict


def test_every_verdict_is_counted():
    assert RunResult({}, (FINE, SURPRISE, SURPRISED, UNSURE, UNSURE, SKIPPED, BROKEN, INVALID)).counts() == {
        "hypotheses": 6, "supported": 2, "refuted": 2, "inconclusive": 2, "surprises": 2, "skipped": 1, "errors": 2,
        "claimless": 0,
    }  # fmt: skip


def test_a_wrong_lab_comes_before_a_surprise_and_that_before_what_is_unsure():
    """Beside a lab that was judged, no labs and a skip are no trouble of their own."""
    for strict in (False, True):
        for first, second in itertools.permutations((*CODES.values(),), 2):
            labs = first[0] + second[0]
            judged = any(lab.hypotheses for lab in labs)
            codes = {0 if judged and not strict and case[0] == (SKIPPED,) else case[1 + strict]
                     for case in (first, second) if case[0] or not judged}  # fmt: skip
            wanted = next(code for code in (2, 1, 3, 0) if code in codes)
            assert exit_code(RunResult({}, labs), strict) == wanted


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (Ref("f"), "f"),
        (Ref("f", line=3), "f:3"),
        (Ref("f", packets=(1,)), "f packet 1"),
        (Ref("f", packets=(1, 4)), "f packets 1, 4"),
        (Ref("f", path="a.b[0]"), "f a.b[0]"),
    ],
)
def test_a_ref_as_text(ref, text):
    assert str(ref) == text
