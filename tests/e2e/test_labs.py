"""The labs that ship, in real containers: what a newcomer sees after `make labs`."""

import difflib
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.conftest import REPOSITORY, Backend, Labrun, Ran
from labrun.finding.bundle import bundle
from labrun.judge.run import judge_run
from labrun.report.build import build_view
from labrun.report.html import render_html
from labrun.report.markdown import render_markdown
from labrun.report.view import VariantView
from support.steady import steady

IDS = {
    "empty-namespace": [
        "no-interfaces", "ifconfig-silent", "server-listens", "curl-cannot-connect", "no-packets-sent",
        "bind-needs-an-address",
    ],
    "loopback-up": ["same-server-answers", "bind-needs-an-address"],
    "capture-duplicates": ["any-sees-it-three-times", "bridge-sees-it-once"],
    "own-address": ["goes-out-docker0", "goes-through-lo", "because-of-the-local-route"],
    "packet-path": ["prerouting-is-step-zero", "routing-assigns-the-device", "captured-after-routing",
                    "captured-on-entry"],
    "listing": ["ifconfig-lists-all"],
}  # fmt: skip


@pytest.fixture(scope="module")
def everything(backend: Backend, every_lab: Callable[[str], Ran]) -> Ran:
    """One `labrun all` of the shipped labs, in a folder that has no labs of its own."""
    return every_lab(backend.name)


def test_all_eighteen_hypotheses_are_as_expected(everything: Ran) -> None:
    assert everything.exit == 0, everything.out + everything.err
    found = {lab["id"]: [h["id"] for h in lab["hypotheses"]] for lab in everything.results["labs"]}
    assert {slug: sorted(found[slug]) for slug in IDS} == {slug: sorted(ids) for slug, ids in IDS.items()}
    for lab in everything.results["labs"]:
        assert lab["status"] == "done", lab
        for hypothesis in lab["hypotheses"]:
            assert hypothesis["as_expected"] is True, hypothesis
            assert hypothesis["verdict"] == hypothesis["expect"]
            assert hypothesis["observed"], hypothesis
            assert hypothesis["evidence"], hypothesis
    assert everything.results["schema"] == 1


def test_the_run_says_what_it_ran_on(everything: Ran, backend: Backend) -> None:
    run = everything.results["run"]
    assert run["image"].startswith("labrun-lab:")
    assert run["userland"] == "image"
    assert run["kernel"] and run["started"] and run["id"] == everything.run.name
    if backend.name == "docker":
        assert run["engine"] == "docker"
        assert run["isolation"] in ("privileged", "least")
        if run["isolation"] == "least":
            assert run["isolation_note"] in everything.err, "the fallback is said"
            assert everything.err.count("refused a privileged container") == 1, "and said once"
    else:
        assert (run["engine"], run["isolation"]) == ("native", "user-namespace")
        assert "limits: " in run["isolation_note"]
    if backend.name == "rootless":
        assert run["engine_reason"] in everything.err, "a choice is said with its reason"


def test_every_evidence_file_that_results_name_is_there(everything: Ran) -> None:
    for lab in everything.results["labs"]:
        for hypothesis in lab["hypotheses"]:
            for place in hypothesis["evidence"]:
                name = place.split(" ")[0].split(":")[0]
                assert (everything.run / name).is_file(), place
        for capture in lab["captures"]:
            assert (everything.run / capture["file"]).is_file()
            assert capture["drops"] == 0


def test_wireshark_reads_every_capture_without_a_warning(everything: Ran) -> None:
    captures = sorted(everything.run.rglob("*.pcapng"))
    assert captures
    for capture in captures:
        for argv in (["capinfos", str(capture)], ["tshark", "-r", str(capture), "-c", "1000"]):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
            assert complaints == [], (argv, complaints)


def test_the_reports_are_there_and_well_formed(everything: Ran) -> None:
    assert (everything.run / "index.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "own-address" in (everything.run / "index.md").read_text()
    suites = ET.parse(everything.run / "junit.xml").getroot()
    cases = suites.findall(".//testcase")
    assert len(cases) == sum(len(lab["hypotheses"]) for lab in everything.results["labs"]) >= 18
    assert not suites.findall(".//failure") and not suites.findall(".//error")


def test_nothing_is_left_on_the_engine(everything: Ran, backend: Backend) -> None:
    assert backend.find(everything.run.name) == []
    assert "labrun" not in "".join(
        line.split(" - ")[1] for line in Path("/proc/self/mountinfo").read_text().splitlines()
    )


def test_judging_the_stored_run_again_gives_the_same_results(everything: Ran, tmp_path: Path, labrun: Labrun) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(everything.run, copy)
    (copy / "results.json").unlink()
    subprocess.run(["chmod", "-R", "a+rwX", str(copy)], check=True)  # for an account that is not ours
    no_engine = {"DOCKER_HOST": "unix:///nowhere.sock"}
    again = labrun("judge", str(copy), env=no_engine)
    assert again.exit == 0, again.err
    assert (copy / "results.json").read_bytes() == (everything.run / "results.json").read_bytes()
    html = (copy / "index.html").read_bytes()
    assert labrun("report", str(copy), env=no_engine).exit == 0
    assert (copy / "index.html").read_bytes() == html


def test_the_run_makes_a_finding_that_is_verified_and_has_its_recipe(
    every_lab: Callable[[str], Ran], tmp_path: Path, docker_labrun: Labrun
) -> None:
    everything = every_lab("docker")
    assert bundle(everything.run, tmp_path / "finding.zip").no_recipe is None
    found = docker_labrun("verify", str(tmp_path / "finding.zip"), env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert (found.exit, found.out.splitlines()[-1]) == (0, "verified"), found.out


def test_two_runs_agree_in_what_was_observed(everything: Ran, labrun: Labrun) -> None:
    again = labrun("run", "own-address", "capture-duplicates")
    assert again.exit == 0, again.err
    for slug in ("own-address", "capture-duplicates"):
        first, second = everything.lab(slug), again.lab(slug)
        # The line of an event is volatile: what the kernel changes by itself is noted when it happens.
        same = [re.sub(r"events\.jsonl:\d+", "events.jsonl", json.dumps(lab["hypotheses"])) for lab in (first, second)]
        assert same[0] == same[1]
        assert first["captures"] == second["captures"]


def test_least_isolation_gives_the_same_verdicts(every_lab: Callable[[str], Ran], docker_labrun: Labrun) -> None:
    everything = every_lab("docker")
    least = docker_labrun("all", "--isolation", "least")
    assert least.exit == 0, least.out + least.err
    assert least.results["run"]["isolation"] == "least"
    assert least.results["run"]["isolation_note"] is None, "it was asked for"
    for lab in everything.results["labs"]:
        assert least.verdicts(lab["id"]) == everything.verdicts(lab["id"])


def test_the_labs_of_the_checkout_are_those_that_ship(docker_labrun: Labrun) -> None:
    here, shipped = docker_labrun("list", cwd=REPOSITORY), docker_labrun("list")
    assert here.exit == shipped.exit == 0
    assert here.out == shipped.out
    assert all(slug in here.out for slug in IDS)
    assert "path-mtu " in here.out and "(2 runs: mtu 1400, 1280)" in here.out


GOLDEN = REPOSITORY / "tests" / "golden" / "labs"


def test_each_lab_reads_as_it_is_recorded(everything: Ran) -> None:
    """Its Markdown, byte for byte once the volatile parts are named, on every backend alike. `LABRUN_GOLDEN=write` writes
    it anew, for a look at the diff."""
    view = build_view(everything.run, judge_run(everything.run))
    different = []
    for lab in view.labs:
        text, file = steady(lab), GOLDEN / f"{lab.slug}.md"
        if os.environ.get("LABRUN_GOLDEN") == "write":
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        wanted = file.read_text(encoding="utf-8") if file.exists() else ""
        if text != wanted:
            lines = difflib.unified_diff(wanted.splitlines(), text.splitlines(), "recorded", "now", lineterm="", n=0)
            different.append(f"{lab.slug}:\n" + "\n".join(list(lines)[:30]))
    assert different == [], "\n".join(different)
    assert {lab.slug for lab in view.labs} == {file.stem for file in GOLDEN.glob("*.md")}


def test_the_page_of_every_bundled_lab_is_light(everything: Ran) -> None:
    """Under 40 kB a lab without captures. What counts as captures: the tables of packets with their headings,
    the hex dumps, the downloads within the page, and the ladders, which are drawn from captures alone. All else counts:
    style and script, verdicts, topologies, transcripts, what changed in the kernel, hypotheses and controls. The labs'
    own files do not: they are as long as their authors made them."""
    view = build_view(everything.run, judge_run(everything.run))

    def bare(variant: VariantView) -> VariantView:
        return replace(variant, captures=(), ladder=None)

    labs = tuple(
        replace(lab, experiment=bare(lab.experiment), controls=tuple(map(bare, lab.controls)), source_file=None)
        for lab in view.labs
        if lab.experiment is not None
    )
    assert len(labs) == len(view.labs)
    assert len(render_html(replace(view, labs=labs)).encode()) < 40_000 * len(labs)
    assert len((everything.run / "index.html").read_bytes()) < 140_000 * len(labs)


def test_judging_and_rendering_again_gives_the_same_bytes(everything: Ran) -> None:
    pages = [render_markdown(build_view(everything.run, judge_run(everything.run))) for _ in range(2)]
    assert pages[0] == pages[1] == (everything.run / "index.md").read_text(encoding="utf-8")
