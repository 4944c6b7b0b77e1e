"""Several runs of one lab: verdicts that agree, verdicts that do not, times, and a run that broke."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from labrun.cli.runs import edited_lab
from labrun.evidence import layout
from labrun.evidence.run import LabEntry, write_run
from labrun.judge.repeats import repeated
from labrun.judge.results import LabResult, RunResult, exit_code, results_json
from labrun.judge.run import judge_edited, judge_entry, judge_run
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from labrun.lab.problems import LabError
from support.evidence_builder import Evidence
from support.labs import carried_out
from support.recorded import run_record

SLUG = "tried"
LAB = {
    "title": "A lab", "question": "Is it so?", "topology": {"nodes": {"host": {}}},
    "steps": [{"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"}],
    "hypotheses": [
        {"id": "flips", "claim": "It is so.", "predict": {"command": "probe", "exit": 0}},
        {"id": "fast", "claim": "It is fast.", "predict": {"command": "probe", "duration": {"lt": 1}}},
    ],
}  # fmt: skip


def ran(tmp_path, *runs, lab=None, variants=("experiment",)):
    """``runs``: for each run what builds the evidence after `cause`; None: it never ran."""
    folder = layout.lab_folder(tmp_path, SLUG)
    folder.mkdir(parents=True)
    (folder / layout.LAB).write_text(json.dumps(lab or LAB))
    for number, build in enumerate(runs, start=1):
        for variant in variants:
            if build is not None:
                where = layout.variant_folder(tmp_path, SLUG, variant, number)
                build(Evidence(where, variant).run("cause", at=(0, 10)), variant).write()
    return LabEntry(SLUG, "labs/tried/lab.yaml", variants, repeats=len(runs))


def probe(exit=0, ms=100):
    return lambda evidence, variant: evidence.run("probe", exit=exit, at=(20, 20 + ms), may_fail=True).done()


def died(evidence, variant):
    return evidence.fault("sandbox-died", "it was killed")


def slow(evidence, variant):
    return evidence.run("probe", status="timeout", message="10 s", at=(20, 10020)).done()


def of(result, name):
    return next(hypothesis for hypothesis in result.hypotheses if hypothesis.id == name)


def test_one_run_has_no_counts(tmp_path):
    result = judge_entry(tmp_path, ran(tmp_path, probe()))
    assert (of(result, "flips").repeats, of(result, "flips").timing) == (None, None)


def test_runs_that_agree(tmp_path):
    flips = of(judge_entry(tmp_path, ran(tmp_path, probe(), probe(), probe())), "flips")
    assert (flips.verdict, flips.reason, flips.as_expected) == ("supported", "as-predicted", True)
    assert flips.repeats == {"supported": 3}


def test_runs_that_agree_on_what_nobody_expected_are_a_surprise(tmp_path):
    result = judge_entry(tmp_path, ran(tmp_path, probe(1), probe(1)))
    flips = of(result, "flips")
    assert (flips.verdict, flips.as_expected, flips.repeats) == ("refuted", False, {"refuted": 2})
    assert exit_code(RunResult({}, (result,)), strict=False) == 1


@pytest.mark.parametrize("exits", [(0, 1, 0, 1, 1), (1, 0, 0, 1, 1), (0, 0, 1, 1, 1)])
def test_runs_that_do_not_agree_are_unstable(tmp_path, exits):
    result = judge_entry(tmp_path, ran(tmp_path, *[probe(code) for code in exits]))
    flips = of(result, "flips")
    assert (flips.verdict, flips.reason, flips.as_expected) == ("inconclusive", "unstable", False)
    assert flips.repeats == {"refuted": 3, "supported": 2}
    assert flips.message.startswith("5 runs did not agree: refuted 3 times, supported 2 times; one of them says: ")
    assert of(result, "fast").verdict == "supported", "the other hypothesis is not touched"
    assert exit_code(RunResult({}, (result,)), strict=False) == 3


def test_the_odd_one_is_found_in_its_own_folder(tmp_path):
    """The evidence that contradicts is in experiment.3, not in the first run's folder."""
    flips = of(judge_entry(tmp_path, ran(tmp_path, probe(), probe(), probe(7))), "flips")
    place = f"labs/{SLUG}/experiment.3/events.jsonl:5"
    assert flips.message == (
        "3 runs did not agree: refuted once, supported 2 times; one of them says: "
        f"exit of probe == 0, actual 7 ({place})"
    )
    assert (tmp_path / place.partition(":")[0]).is_file()
    assert [str(ref) for ref in flips.trace.refs] == [f"labs/{SLUG}/experiment/events.jsonl:5"]


def test_one_expected_refutation_of_many_is_unstable_too(tmp_path):
    lab = {**LAB, "hypotheses": [{**LAB["hypotheses"][0], "expect": "refuted"}]}
    flips = of(judge_entry(tmp_path, ran(tmp_path, probe(1), probe(0), lab=lab)), "flips")
    assert (flips.verdict, flips.reason, flips.as_expected) == ("inconclusive", "unstable", False)


@pytest.mark.parametrize(
    ("times", "timing"),
    [
        ((100, 300, 200), (0.1, 0.2, 0.3)),
        ((100, 400), (0.1, 0.25, 0.4)),
        ((5, 5, 5, 5), (0.005, 0.005, 0.005)),
    ],
)
def test_times_have_their_distribution(tmp_path, times, timing):
    result = judge_entry(tmp_path, ran(tmp_path, *[probe(ms=ms) for ms in times]))
    assert of(result, "fast").timing == {"command probe: duration in s": pytest.approx(timing)}
    assert of(result, "flips").timing is None


def test_times_are_those_of_all_runs_also_of_an_unstable_verdict(tmp_path):
    fast = of(judge_entry(tmp_path, ran(tmp_path, probe(ms=100), probe(ms=2000))), "fast")
    assert (fast.reason, fast.timing) == ("unstable", {"command probe: duration in s": pytest.approx((0.1, 1.05, 2.0))})


def test_a_run_that_took_no_time_at_all_has_none(tmp_path):
    fast = of(judge_entry(tmp_path, ran(tmp_path, probe(ms=100), slow)), "fast")
    assert fast.timing == {"command probe: duration in s": pytest.approx((0.1, 0.1, 0.1))}


@pytest.mark.parametrize("broken", [died, slow, None])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_broken_run_is_not_passed_over(tmp_path, broken, place):
    runs = [probe(), probe(), probe()]
    runs[place] = broken
    result = judge_entry(tmp_path, ran(tmp_path, *runs))
    code = {died: "sandbox-died", slow: "timeout", None: "not-run"}[broken]
    assert (result.status, result.reason) == ("error", code)
    flips = of(result, "flips")
    assert (flips.verdict, flips.reason) == ("inconclusive", "unstable")
    assert flips.repeats == {"inconclusive": 1, "supported": 2}


def test_runs_that_all_broke_keep_their_own_reason(tmp_path):
    flips = of(judge_entry(tmp_path, ran(tmp_path, died, died)), "flips")
    assert (flips.verdict, flips.reason, flips.repeats) == ("inconclusive", "sandbox-died", {"inconclusive": 2})


def test_a_skip_stands_for_the_lab(tmp_path):
    def skipped(evidence, variant):
        return evidence.fault("missing-tool", "not in the sandbox: wg").done()

    result = judge_entry(tmp_path, ran(tmp_path, skipped, skipped))
    assert (result.status, result.reason, result.unjudged) == ("skipped", "missing-tool", ("flips", "fast"))


def test_a_control_of_each_run_is_judged_with_its_own_run(tmp_path):
    lab = {**LAB, "hypotheses": [{**LAB["hypotheses"][0], "control": {"without": "cause"}}]}

    def run(control_exit):
        return lambda evidence, variant: probe(0 if variant == "experiment" else control_exit)(evidence, variant)

    entry = ran(tmp_path, run(1), run(0), run(1), lab=lab, variants=("experiment", "flips"))
    flips = of(judge_entry(tmp_path, entry), "flips")
    assert (flips.reason, flips.repeats) == ("unstable", {"inconclusive": 1, "supported": 2})
    assert "the control shows the same" in flips.message


def test_the_counts_are_in_results_json(tmp_path):
    entry = ran(tmp_path, probe(), probe(1))
    write_run(tmp_path, run_record((entry,)))
    (lab,) = results_json(judge_run(tmp_path))["labs"]
    flips = next(hypothesis for hypothesis in lab["hypotheses"] if hypothesis["id"] == "flips")
    assert (flips["reason"], flips["repeats"]) == ("unstable", {"refuted": 1, "supported": 1})
    fast = next(hypothesis for hypothesis in lab["hypotheses"] if hypothesis["id"] == "fast")
    assert fast["timing"] == {"command probe: duration in s": [0.1, 0.1, 0.1]} or fast["timing"] == {
        "command probe: duration in s": (0.1, 0.1, 0.1)
    }


def test_a_lab_without_hypotheses_to_compare_is_the_first_that_is_not_done():
    done = LabResult(SLUG, "t", "f", "done", (), ())
    broken = LabResult(SLUG, "t", "f", "error", (), (), "not-run", "x")
    assert repeated([done, broken, done]) is broken
    assert repeated([done, done]) is done


def test_what_is_not_of_the_hypotheses_is_the_first_runs(tmp_path):
    first, second = (judge_entry(tmp_path / name, ran(tmp_path / name, probe())) for name in ("a", "b"))
    first, second = (replace(lab, title=title) for lab, title in ((first, "first"), (second, "second")))
    assert repeated([first, second]).title == "first"
    assert repeated([first, replace(second, status="error")]).title == "second"


@pytest.mark.parametrize("first", [True, False])
def test_what_not_every_run_has_is_not_known(tmp_path, first):
    """As a test of a program that ended early."""
    lab = judge_entry(tmp_path, ran(tmp_path, probe()))
    less = replace(lab, hypotheses=lab.hypotheses[:1])
    result = repeated([lab, less] if first else [less, lab])
    assert [(one.id, one.verdict, one.reason) for one in result.hypotheses] == [
        ("flips", "supported", "as-predicted"), ("fast", "inconclusive", "unstable"),
    ]  # fmt: skip
    assert result.hypotheses[1].message == "only 1 of 2 runs have it"


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize(("code", "verdict"), [(0, "refuted"), (1, "supported")])
def test_a_lab_is_judged_with_the_parameters_that_it_ran_with(tmp_path, repeats, code, verdict):
    """The first value of each is only what it has without a cell."""
    predict = {"command": "probe", "exit": "${code}"}
    lab = LAB | {"parameters": {"code": [0, 1]}, "hypotheses": [{"id": "h", "claim": "C", "predict": predict}]}
    entry = replace(ran(tmp_path, *[probe(exit=1)] * repeats, lab=lab), cell={"code": code})
    result = judge_entry(tmp_path, entry)
    assert (of(result, "h").verdict, result.file) == (verdict, "labs/tried/lab.yaml")


def test_stored_evidence_is_judged_by_an_edited_lab(tmp_path):
    entry = ran(tmp_path, None)
    plan = compile_lab(parse_lab(json.dumps(LAB), tmp_path / "lab.yaml", SLUG, "mine.yaml")).experiment
    write_run(tmp_path, run_record([entry]))
    carried_out(tmp_path, plan, {"probe": 1})
    hypothesis = {"id": "new", "claim": "C", "predict": {"command": "probe", "exit": 1}}
    edited = json.dumps(LAB | {"hypotheses": [hypothesis]})
    result = judge_edited(tmp_path, [edited_lab(entry, edited, Path("mine.yaml"))])
    (lab,) = result.labs
    assert (lab.file, lab.id, of(lab, "new").verdict) == ("mine.yaml", SLUG, "supported")
    assert result.run == judge_run(tmp_path).run
    wrong = {"packets": {"on": "host.lo", "match": "icmpp"}, "count": 0}
    steps = [*LAB["steps"], {"id": "seen", "capture": {"on": "lo"}}]
    edited = json.dumps(LAB | {"steps": steps, "hypotheses": [hypothesis | {"predict": wrong}]})
    with pytest.raises(LabError, match=r"mine\.yaml:1:.*not a pcap filter: 'icmpp'"):
        judge_edited(tmp_path, [edited_lab(entry, edited, Path("mine.yaml"))])


def test_evidence_of_other_steps_judges_nothing_and_says_why(tmp_path):
    entry = ran(tmp_path, None)
    plan = compile_lab(parse_lab(json.dumps(LAB), tmp_path / "lab.yaml", SLUG, "mine.yaml")).experiment
    write_run(tmp_path, run_record([entry]))
    carried_out(tmp_path, plan)
    edited = json.dumps(LAB | {"steps": [LAB["steps"][0], {"id": "probe", "run": "probe more"}]})
    (lab,) = judge_edited(tmp_path, [edited_lab(entry, edited, Path("mine.yaml"))]).labs
    said = "step 'probe' did something else in the run than the edited lab says: run it"
    assert (lab.status, lab.reason, lab.message) == ("error", "other-steps", said)
    assert [(found.verdict, found.reason) for found in lab.hypotheses] == [("inconclusive", "other-steps")] * 2
