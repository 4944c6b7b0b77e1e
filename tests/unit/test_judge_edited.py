"""Which stored evidence an edited lab may be judged on: that of the same steps, whatever things are called now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labrun.evidence.record import VariantRecord
from labrun.judge.edited import match
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from support.labs import judge_first

LAB = {
    "title": "T", "question": "Q", "parameters": {"size": [1, 2]}, "topology": {"nodes": {"host": {}}},
    "steps": [{"id": "cause", "run": "true"}, {"id": "probe", "run": "probe ${size}", "timeout": "2s"},
              {"id": "state", "snapshot": "all"}],
    "hypotheses": [{"id": "h", "claim": "C", "predict": {"command": "probe", "exit": 0}, "control": {"without": "cause"}}],
}  # fmt: skip


def compiled(size=1, **changes):
    text = json.dumps({**LAB, **changes})
    return compile_lab(parse_lab(text, Path("x/lab.yaml"), "x", "x/lab.yaml", {"size": size}))


def stored(lab):
    plans = lab.plans
    return {plan.variant: VariantRecord(Path(plan.variant), plan, None, (), (), True, Path()) for plan in plans}


def steps(*changed):
    return [{**step, **next((c for c in changed if c["id"] == step["id"]), {})} for step in LAB["steps"]]


def hypothesis(**changes):
    return [{**LAB["hypotheses"][0], **changes}]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"title": "Another"},
        {"hypotheses": hypothesis(claim="D", predict={"command": "probe", "exit": 1})},
        {"steps": steps({"id": "probe", "note": "A note.", "timeout": "9s"})},
        {"hypotheses": hypothesis(predict={
            "links": {"at": "state"}, "count": 1, "eventually": {"within": "2s", "every": "100ms"}})},
    ],
)  # fmt: skip
def test_what_does_not_change_what_was_done_keeps_its_evidence(changes):
    found, gone = match(compiled(**changes).plans, stored(compiled()))
    assert {name: record.folder.name for name, record in found.items()} == {"experiment": "experiment", "h": "h"}
    assert gone == {}


def test_a_control_is_known_by_its_steps_and_not_by_its_name():
    found, gone = match(compiled(hypotheses=hypothesis(id="renamed")).plans, stored(compiled()))
    assert found["renamed"].folder.name == "h" and gone == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": steps({"id": "probe", "run": "probe more"})},
         "step 'probe' did something else in the run than the edited lab says: run it"),
        ({"steps": steps({"id": "probe", "save": {"out": {}}})},
         "step 'probe' did something else in the run than the edited lab says: run it"),
        ({"steps": [*steps(), {"id": "more", "run": "true"}]},
         "step 'more' is new in the edited lab, and there is no evidence of it: run it"),
        ({"steps": steps()[:2]}, "step 'state' of the run is not in the edited lab: run it"),
        ({"steps": [*steps()[:1], {"id": "new", "run": "true"}, *steps()[1:]]},
         "the run went on with step 'probe' where the edited lab has 'new': run it"),
        ({"size": 2}, "the run had size = 1, the edited lab has size = 2: run it"),
        ({"topology": {"nodes": {"host": {"ipv6": True}}}},
         "step 'topology-002' did something else in the run than the edited lab says: run it"),
    ],
)  # fmt: skip
def test_what_was_done_otherwise_has_no_evidence_and_says_why(changes, said):
    found, gone = match(compiled(**changes).plans, stored(compiled()))
    assert found == {}
    assert (gone["experiment"].code, gone["experiment"].message) == ("other-steps", said)
    assert gone["h"].code == "other-steps"


def test_another_control_is_not_the_one_that_ran():
    edited = compiled(hypotheses=hypothesis(control={"replace": "cause", "with": {"run": "false"}}))
    found, gone = match(edited.plans, stored(compiled()))
    assert list(found) == ["experiment"]
    assert gone["h"].message == "the run went on with step 'probe' where the edited lab has 'cause': run it"


def test_a_new_control_did_not_run():
    twice = hypothesis(control=[{"without": "cause"}, {"replace": "cause", "with": {"run": "false"}}])
    found, gone = match(compiled(hypotheses=twice).plans, stored(compiled()))
    assert set(found) == {"experiment", "h"}
    assert gone["h-2"].code == "other-steps"
    assert gone["h-2"].message == "no variant of this run had the steps of 'h-2': run the edited lab"


def test_a_run_with_other_parameters_or_none():
    two = {"parameters": {"size": [1], "mtu": [9]}}
    ran = compile_lab(parse_lab(json.dumps({**LAB, **two}), Path("x"), "x", "x", {"size": 1, "mtu": 9}))
    _, gone = match(compiled().plans, stored(ran))
    assert gone["experiment"].message == "the run had size = 1, mtu = 9, the edited lab has size = 1: run it"
    none = {**LAB, "parameters": {}, "steps": [{"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"}]}
    _, gone = match(compile_lab(parse_lab(json.dumps(none), Path("x"), "x", "x", {})).plans, stored(compiled()))
    assert gone["experiment"].message == "the run had size = 1, the edited lab has no parameters: run it"


def test_the_verdict_is_inconclusive_with_that_reason():
    lab = compiled(steps=steps({"id": "probe", "run": "probe more"}))
    found, gone = match(lab.plans, stored(compiled()))
    result = judge_first(lab, found, gone)
    assert (result.verdict, result.reason) == ("inconclusive", "other-steps")
    assert result.message == gone["experiment"].message
    assert result.controls[0].trace.reason == "other-steps"
    assert result.controls[0].change == "without step 'cause'"
