"""The compiled lab in a run: what is written is read back, older runs have a way, and no check of today is asked."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from labrun.conduct import finish
from labrun.evidence import layout
from labrun.evidence.files import EvidenceError
from labrun.evidence.lab import Unreadable, lab_json, read_lab, stored
from labrun.evidence.run import LabEntry, read_run
from labrun.judge.results import results_json
from labrun.judge.run import judge_entry, judge_run
from labrun.lab.catalogue import all_labs, shipped_labs
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_cells
from labrun.report.build import build_view
from support.evidence_builder import Evidence
from support.labs import unchecked

DATA = Path(__file__).parents[1] / "data"
CELLS = [lab for path in all_labs(shipped_labs()) for lab in load_cells(path.parent if path.is_file() else path)]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A run of three labs, recorded by labrun at ff7a1a9, which kept no compiled lab; its results are that labrun's."""
    with tarfile.open(DATA / "run-of-ff7a1a9.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "run"


def entry_of(lab, compiled) -> LabEntry:
    return LabEntry(lab.slug, lab.shown, tuple(plan.variant for plan in compiled.plans), dict(lab.cell))


def keep(run: Path, lab, compiled) -> None:
    folder = layout.lab_folder(run, lab.slug)
    folder.mkdir(parents=True)
    (folder / layout.LAB).write_text(lab.text)
    (folder / layout.COMPILED).write_text(lab_json(stored(compiled)))


@pytest.mark.parametrize("lab", CELLS, ids=lambda lab: lab.slug)
def test_what_is_written_is_read_back(tmp_path, lab):
    compiled = compile_lab(lab)
    keep(tmp_path, lab, compiled)
    assert read_lab(tmp_path, entry_of(lab, compiled)) == stored(compiled)


@pytest.mark.parametrize("lab", CELLS, ids=lambda lab: lab.slug)
def test_the_lab_file_of_an_older_run_says_the_same(tmp_path, lab):
    compiled = compile_lab(lab)
    keep(tmp_path, lab, compiled)
    (layout.lab_folder(tmp_path, lab.slug) / layout.COMPILED).unlink()
    expected = stored(compiled).model_copy(update={"plans": {}})
    assert read_lab(tmp_path, entry_of(lab, compiled)) == expected


def test_a_run_of_before_is_judged_as_then(older):
    then = json.loads((older / layout.RESULTS).read_text())
    now = results_json(judge_run(older))
    for old, new in zip(then["labs"], now["labs"], strict=True):
        assert (new["id"], new["status"]) == (old["id"], old["status"])
        for before, after in zip(old["hypotheses"], new["hypotheses"], strict=True):
            assert (after["id"], after["line"]) == (before["id"], before["line"])
            assert after["verdict"] in (before["verdict"], "inconclusive"), "a firm verdict never becomes the other one"
        if old["id"] in ("own-address", "listing"):
            assert [one["verdict"] for one in new["hypotheses"]] == [one["verdict"] for one in old["hypotheses"]]


def test_a_run_of_before_has_its_reports(older):
    result = finish(older)
    page = (older / "index.html").read_text()
    assert all(lab.title in page for lab in result.labs)
    assert not any(lab.notes for lab in build_view(older, result).labs)


def test_what_is_refused_today_was_still_done(older):
    """A count is always 0 or more: labrun refuses such a lab, and still judges a run of it."""
    file = layout.lab_folder(older, "own-address") / layout.LAB
    said = """
  - id: refused-today
    claim: C
    predict: {not: {packets: {on: host.lo, during: probe}, count: {ge: 0}}}
  - id: of-no-labrun
    claim: C
    predict: {telepathy: {at: seen}}
"""
    file.write_text(file.read_text().split("\nconclusion:")[0].rstrip() + said)
    (entry,) = (entry for entry in read_run(older).labs if entry.slug == "own-address")
    lab = judge_entry(older, entry)
    assert lab.status == "done"
    assert [(one.id, one.verdict) for one in lab.hypotheses[:3]] == [
        ("goes-out-docker0", "refuted"),
        ("goes-through-lo", "supported"),
        ("because-of-the-local-route", "supported"),
    ]
    assert [(one.verdict, one.reason) for one in lab.hypotheses[3:]] == [
        ("refuted", "contradicted"),
        ("inconclusive", "prediction-unreadable"),
    ]


LAB = {
    "title": "A lab", "question": "Q", "topology": {"nodes": {"host": {}}}, "steps": [{"id": "probe", "run": "true"}],
    "hypotheses": [{"id": "h", "claim": "C", "predict": {"command": "probe", "exit": 0}}],
}  # fmt: skip


def test_a_prediction_that_cannot_be_read_loses_its_own_hypothesis_alone():
    odd = {"id": "odd", "claim": "C", "predict": {"command": "probe", "smell": "sweet"}}
    lab = unchecked({**LAB, "hypotheses": [odd, *LAB["hypotheses"]]}, "x")
    first, second = (hypothesis.predict for hypothesis in lab.hypotheses)
    assert first == Unreadable("unknown key 'smell'. Known: command, duration, exit, json, stderr, stdout.")
    assert not isinstance(second, Unreadable) and list(lab.predictions()) == [second]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "its format is 2; this labrun reads 1"),
        ({"format": None}, "its format is None; this labrun reads 1"),
        ({"colour": "green"}, "colour: Extra inputs are not permitted"),
        ({"hypotheses": [{"id": "h"}]}, "hypotheses.0.line: Field required"),
        ({"title": 7}, "title: Input should be a valid string"),
    ],
)
def test_a_compiled_lab_of_another_kind_says_what_is_wrong(tmp_path, change, said):
    kept = {**json.loads(lab_json(unchecked(LAB, "x"))), **change}
    folder = layout.lab_folder(tmp_path, "x")
    folder.mkdir(parents=True)
    (folder / layout.COMPILED).write_text(json.dumps(kept))
    entry = LabEntry("x", "labs/x/lab.yaml", ("experiment",))
    with pytest.raises(EvidenceError) as error:
        read_lab(tmp_path, entry)
    assert said in str(error.value) and "lab.json" in str(error.value)
    lab = judge_entry(tmp_path, entry)
    assert (lab.status, lab.reason) == ("error", "evidence-unreadable")


def test_no_yaml_is_read_where_the_compiled_lab_is(tmp_path):
    folder = layout.lab_folder(tmp_path, "x")
    folder.mkdir(parents=True)
    (folder / layout.LAB).write_text("[no: lab")
    (folder / layout.COMPILED).write_text(lab_json(unchecked(LAB, "x")))
    Evidence(layout.variant_folder(tmp_path, "x", "experiment")).run("probe").done().write()
    lab = judge_entry(tmp_path, LabEntry("x", "labs/x/lab.yaml", ("experiment",)))
    assert [hypothesis.verdict for hypothesis in lab.hypotheses] == ["supported"]
