"""A finding: what goes in, the same bytes each time, and what `labrun verify` says of it when it is not whole."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from labrun.cli.app import app
from labrun.evidence.files import EvidenceError
from labrun.evidence.pack import MANIFEST, open_pack, write_pack
from labrun.evidence.run import read_run
from labrun.finding.bundle import bundle
from labrun.finding.names import where_named
from labrun.finding.verify import Verification, verify
from labrun.image.recipe import load_recipe
from labrun.judge.results import results_json
from labrun.judge.run import judge_run
from support.recorded import hostile_run, recorded_run
from support.small import small_run, small_runs

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_run(tmp_path / "run", image=load_recipe().tag)


@pytest.fixture
def finding(run: Path, tmp_path: Path) -> Path:
    bundle(run, tmp_path / "finding.zip")
    return tmp_path / "finding.zip"


def verified(file: Path, tmp_path: Path) -> Verification:
    shutil.rmtree(tmp_path / "into", ignore_errors=True)
    return verify(file, tmp_path / "into")


def changed(finding: Path, tmp_path: Path, change: Callable[[Path], object]) -> Verification:
    """Of the finding after a change of its files, in its right form, with a manifest that fits."""
    folder = tmp_path / "changed"
    folder.mkdir()
    open_pack(finding, folder)
    change(folder)
    (folder / MANIFEST).unlink()
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    write_pack(tmp_path / "changed.zip", folder, paths)
    return verified(tmp_path / "changed.zip", tmp_path)


def edit(path: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))

    return change


def test_a_finding_is_verified_and_is_a_run_directory(finding: Path, run: Path, tmp_path: Path) -> None:
    found = verified(finding, tmp_path)
    assert found.word == "verified"
    assert [step.name for step in found.steps] == [
        "files", "record", "evidence", "userland", "verdicts", "reports", "signature",
    ]  # fmt: skip
    assert json.loads((tmp_path / "into/results.json").read_text()) == results_json(judge_run(run))
    assert judge_run(tmp_path / "into").counts() == judge_run(run).counts()
    subprocess.run(["sha256sum", "--strict", "-c", MANIFEST], cwd=tmp_path / "into", check=True, capture_output=True)


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(finding: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere/other")
    bundle(tmp_path / "elsewhere/other", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == finding.read_bytes()
    assert finding.stat().st_mode & 0o777 == 0o644


def test_what_is_not_evidence_stays_out(run: Path, finding: Path, tmp_path: Path) -> None:
    (run / "notes.txt").write_text("mine")
    (run / "labs/small/experiment/more").write_text("mine")
    (run / "results.json").write_text("{}")
    bundle(run, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == finding.read_bytes()


def test_some_labs_of_a_run(tmp_path: Path) -> None:
    run = small_runs(tmp_path / "run", ["one", "two", "three--a-1", "three--a-2"])
    bundle(run, tmp_path / "some.zip", ["three", "one"])
    assert verified(tmp_path / "some.zip", tmp_path).word == "verified"
    assert [entry.slug for entry in read_run(tmp_path / "into").labs] == ["one", "three--a-1", "three--a-2"]
    assert not (tmp_path / "into/labs/two").exists()
    with pytest.raises(EvidenceError, match=r"has no lab 'tow'\. Did you mean 'two'"):
        bundle(run, tmp_path / "none.zip", ["tow"])
    assert not (tmp_path / "none.zip").exists()
    bundle(tmp_path / "into", tmp_path / "fewer.zip", ["one"])
    bundle(run, tmp_path / "direct.zip", ["one"])
    assert (tmp_path / "fewer.zip").read_bytes() == (tmp_path / "direct.zip").read_bytes()


def test_the_recipe_is_in_it_where_it_made_the_image(run: Path, finding: Path, tmp_path: Path) -> None:
    verified(finding, tmp_path)
    recipe = load_recipe()
    for file in recipe.root.iterdir():
        assert (tmp_path / "into/userland/files" / file.name).read_bytes() == file.read_bytes()
    other = small_run(tmp_path / "other", image="labrun-lab:000000000000")
    assert "labrun-lab:000000000000" in (bundle(other, tmp_path / "other.zip").no_recipe or "")
    assert verified(tmp_path / "other.zip", tmp_path).word == "verified"
    assert bundle(small_run(tmp_path / "host", userland="host"), tmp_path / "h.zip").no_recipe


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda run: (run / "labs/small/experiment/seal.json").unlink(), "never closed"),
        (lambda run: (run / "labs/small/experiment/events.jsonl").write_text(""), "events.jsonl has 0 bytes"),
        (lambda run: (run / "labs/small/lab.json").unlink(), "lab.json"),
        (lambda run: (run / "run.json").unlink(), "not a run directory"),
    ],
)
def test_evidence_that_is_not_whole_makes_no_finding(
    break_it: Callable[[Path], object], message: str, run: Path, tmp_path: Path
) -> None:
    break_it(run)
    with pytest.raises(EvidenceError, match=message):
        bundle(run, tmp_path / "no.zip")
    assert not (tmp_path / "no.zip").exists()
    assert not list(tmp_path.glob(".labrun*"))


def test_a_variant_that_never_ran_is_told_as_such(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "labs/small/holds")
    assert bundle(run, tmp_path / "part.zip").result.labs[0].hypotheses[0].verdict == "inconclusive"
    assert verified(tmp_path / "part.zip", tmp_path).word == "verified"


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a verdict": (edit("results.json", '"verdict": "refuted"', '"verdict": "supported"'), "verdicts", "results.json"),
    "the report": (edit("index.html", "</title>", " and more</title>"), "reports", "index.html"),
    "Markdown": (edit("index.md", "small", "other"), "reports", "index.md"),
    "the crate": (edit("ro-crate-metadata.json", '"Claim"', '"Fact"'), "reports", "ro-crate-metadata.json"),
    "the environment": (edit("environment.json", '"kernel": "6.1.0"', '"kernel": "6.2.0"'), "reports", "environment.json"),
    "the run's record": (edit("run.json", '"engine":"docker"', '"engine":"podman"'), "evidence", "run.json"),
    "an event": (edit("labs/small/experiment/events.jsonl", '"exit":0', '"exit":1'), "evidence", "events.jsonl"),
    "the lab": (edit("labs/small/lab.yaml", "A lab", "B lab"), "evidence", "lab.yaml"),
    "a prediction": (edit("labs/small/lab.json", '"exit"', '"stdout"'), "evidence", "lab.json"),
    "an output goes": (lambda f: (f / "labs/small/experiment/agent.log").write_text("x"), "userland", "agent.log"),
    "a file more": (lambda f: (f / "README.html").write_text("x"), "userland", "README.html"),
    "a lab more": (lambda f: shutil.copytree(f / "labs/small", f / "labs/other"), "userland", "labs/other"),
    "a recipe's file": (lambda f: (f / "userland/files/suite").write_text("trixie\n"), "userland", "digest"),
    "no results": (lambda f: (f / "results.json").unlink(), "userland", "results.json"),
    "no finding": (lambda f: (f / "finding.json").unlink(), "record", "no finding"),
    "a lab of no run": (edit("finding.json", '["small"]', '["other"]'), "record", "no lab of this run"),
    "no lab": (edit("finding.json", '["small"]', "[]"), "record", "no lab of this run"),
    "evidence of a lab that is left out": (
        lambda f: (f / "left-out.json").write_text('["small"]\n'), "record", "it has evidence"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_change_with_a_manifest_that_fits_is_found(name: str, finding: Path, tmp_path: Path) -> None:
    change, step, message = BROKEN[name]
    found = changed(finding, tmp_path, change)
    assert (found.word, found.steps[-1].name) == ("broken", step), found.steps[-1]
    assert message in found.steps[-1].message


def test_what_another_labrun_made_is_undecided_where_it_differs(finding: Path, tmp_path: Path) -> None:
    other = edit("finding.json", '"labrun":"', '"labrun":"9')
    found = changed(finding, tmp_path, lambda f: [other(f), BROKEN["a verdict"][0](f)])
    assert (found.word, found.steps[-1].name) == ("undecided", "verdicts")
    assert "made with labrun 9" in found.steps[-1].message


def test_what_another_labrun_made_alike_is_verified(finding: Path, tmp_path: Path) -> None:
    """A made-up version changes nothing that is judged or rendered, but the length of its file, which the crate has."""
    found = changed(finding, tmp_path, edit("finding.json", '"labrun":"0', '"labrun":"9'))
    assert found.word == "verified"


def test_a_newer_format_is_undecided(finding: Path, tmp_path: Path) -> None:
    found = changed(finding, tmp_path, edit("finding.json", '"format":1', '"format":2'))
    assert (found.word, found.steps[-1].name) == ("undecided", "record")


@pytest.mark.parametrize("record", [recorded_run, hostile_run])
def test_whatever_a_run_has_in_it(record: Callable[[Path], tuple[Path, object]], tmp_path: Path) -> None:
    run, _ = record(tmp_path)
    bundle(run, tmp_path / "finding.zip")
    assert verified(tmp_path / "finding.zip", tmp_path).word == "verified"


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + b"\0" * 18, b"hello", b"\0" * 4096])
def test_any_other_file_is_broken(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    assert verified(tmp_path / "x.zip", tmp_path).word == "broken"


def test_no_mutation_is_verified(finding: Path, tmp_path: Path) -> None:
    """The short form of bench/mutate_finding.py."""
    sys.path.insert(0, str(BENCH))
    try:
        spec = importlib.util.spec_from_file_location("mutate_finding", BENCH / "mutate_finding.py")
        assert spec is not None and spec.loader is not None
        mutate = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(mutate)
    finally:
        sys.path.remove(str(BENCH))
    (tmp_path / "scratch").mkdir()
    counts, bad = mutate.tried(finding, 200, random.Random(3), tmp_path / "scratch")
    assert bad == []
    assert counts["broken"] > 150, counts


def test_the_crate_is_a_process_run_crate(finding: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("rocrate_validator") is None and not os.environ.get("CI"):
        pytest.skip("needs roc-validator: pip install --no-deps -r requirements-dev.txt")
    from support.crates import issues

    verified(finding, tmp_path)
    found = issues(tmp_path / "into", tmp_path / "cache")
    assert {severity for severity, _ in found} <= {"RECOMMENDED"}, found
    # What a finding does not say: who made it (a signature says that), and where labrun and its image are to be had,
    # which is nowhere but here: the recipe is in the finding.
    left_out = ("agent", "author", "publisher", "url", "absolute URI", "registry")
    assert [message for _, message in found if not any(word in message for word in left_out)] == []
    crate = json.loads((tmp_path / "into/ro-crate-metadata.json").read_text())
    actions = [entity["@id"] for entity in crate["@graph"] if entity["@type"] == "CreateAction"]
    assert actions == ["#labs/small/experiment", "#labs/small/holds"]
    (tmp_path / "into/ro-crate-metadata.json").write_text(json.dumps(crate).replace('"instrument"', '"with"'))
    assert any("instrument" in message for _, message in issues(tmp_path / "into", tmp_path / "cache", "REQUIRED"))


def test_what_names_the_host_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"command": "/home/alice/lab"}')
    (tmp_path / "b").write_bytes(b"malice alices \x52\x54\x00\x12\x34\x56")
    names = {"the user": "alice", "the MAC": "52:54:00:12:34:56", "the host": "box"}
    assert where_named(tmp_path, ["a", "b"], names) == {"the user": ("a",), "the MAC": ("b",)}


def ran(*words: str) -> int:
    with app.make_context("labrun", list(words)) as context:
        return app.invoke(context) or 0


def test_the_commands(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.zip"
    assert ran("bundle", str(run), "-o", str(file)) == 0
    assert f"{file}: " in capsys.readouterr().out
    assert ran("verify", str(file)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verified"
    file.write_bytes(file.read_bytes()[:-1])
    assert ran("verify", str(file)) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "broken"
