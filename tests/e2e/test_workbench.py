"""Working with labs: what runs, what is said of it, and what is asked of a run afterwards. Natively: engines do not differ."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.parametrize("backend", ["native"], indirect=True)
Labrun = Callable[..., Any]
WriteLab = Callable[..., Path]


@pytest.fixture
def two_labs(write_lab: WriteLab) -> None:
    step = "  - {id: probe, in: host, run: 'echo it printed this; echo and this >&2; exit 4', exit: 4}"
    write_lab("bad", step, "{command: probe, exit: 3}", "{command: probe, exit: 4}", extra="tags: [slow]")
    write_lab("good", step, "{command: probe, exit: 4}")


def test_selected_labs_run_and_the_rest_is_left_out(labrun: Labrun, two_labs: None) -> None:
    ran = labrun("all", "-x", "-j", "1", "-q")
    assert ran.exit == 1
    assert [lab["id"] for lab in ran.results["labs"]] == ["bad"]
    assert (
        f"probe printed (reports/{ran.run.name}/labs/bad/experiment/outputs/probe.stderr):\n    and this\n" in ran.out
    )
    assert ran.results["run"]["left_out"] == ["good"]
    assert "not begun, after enough had failed: good" in ran.err
    ran = labrun("all", "--last-failed", "-v")
    assert [(lab["id"], [h["id"] for h in lab["hypotheses"]]) for lab in ran.results["labs"]] == [("bad", ["h1"])]
    assert "host# echo it printed this; echo and this >&2; exit 4\n" in ran.err
    assert "      it printed this\n      and this\n      [exit 4]\n" in ran.err
    ran = labrun("run", "bad/h2", "good", "-q")
    assert ran.exit == 0
    assert ran.err == ""
    assert ran.out.startswith("2 hypotheses judged (2 supported), 0 labs skipped, 0 broken. All as expected.\nreport: ")


def test_a_run_is_explained_compared_and_opened(labrun: Labrun, two_labs: None, tmp_path: Path) -> None:
    labrun("all", "-q")
    first = labrun("explain", "bad/h1")
    assert first.exit == 0
    assert "Verdict: refuted; supported was expected" in first.out
    assert "exit of probe: predicted == 3, observed 4" in first.out
    assert "h2" not in first.out
    before = first.run.name
    (tmp_path / "labs" / "bad" / "lab.yaml").write_text(
        (tmp_path / "labs" / "bad" / "lab.yaml")
        .read_text()
        .replace("exit 4", "exit 3")
        .replace("exit: 4}\n", "exit: 3}\n")
    )
    labrun("run", "bad", "-q")
    told = labrun("diff", before)
    assert told.exit == 1
    assert "! verdict: refuted (contradicted) -> supported (as-predicted)" in told.out
    assert "  exit of probe equals 3: 4, does not hold -> 3, holds" in told.out
    assert "good\n! lab: done -> (not there)" in told.out
    assert "**verdict**" in labrun("diff", before, "--format", "md").out
    assert labrun("diff", before, before).exit == 0
    assert labrun("diff", before, "nowhere").exit == 2
    assert labrun("explain", "good").out.startswith(f"good/h1  (labs/good/lab.yaml:8; run {before})\n")
    told = labrun("explain", "bad/h9")
    assert (told.exit, "no hypothesis 'h9' in bad. Known: h1, h2." in told.err) == (2, True)
    opened = labrun("open", env={"BROWSER": "echo opened %s"})
    assert opened.exit == 0
    assert opened.out.splitlines()[-1].startswith("opened file:///")
    assert opened.out.splitlines()[-1].endswith("/reports/latest/index.html")


def test_a_run_runs_again_from_its_directory_and_from_its_page_alone(labrun: Labrun, tmp_path: Path) -> None:
    file = tmp_path / "labs" / "own" / "lab.yaml"
    file.parent.mkdir(parents=True)
    step = "[{id: probe, in: host, run: 'echo ${size}'}]"
    told = [f"{{id: {name}, claim: It is said., predict: {{command: probe, stdout: {{contains: '1'}}}}, "
            "control: {none: It has no cause.}}" for name in ("one", "two")]  # fmt: skip
    file.write_text(f"title: Own\nquestion: What?\nparameters: {{size: [1, 12]}}\ntopology: {{nodes: {{host: {{}}}}}}\n"
                    f"steps: {step}\nhypotheses: [{', '.join(told)}]\n")  # fmt: skip
    first = labrun("run", "own/two", "--set", "size=21", "-q", "--out", str(tmp_path / "reports"))
    assert first.exit == 0, first.err
    assert first.results["run"]["command"][:7] == ["labrun", "run", "own/two", "--set", "size=21", "-q", "--out"]
    assert first.results["run"]["command"][7] == "reports"
    page = first.run / "index.html"
    assert str(tmp_path) not in page.read_text()
    (tmp_path / "mailed.html").write_bytes(page.read_bytes())
    file.unlink()
    for name in (first.run.name, "latest", "mailed.html"):
        ran = labrun("run", name, "-q")
        assert ran.exit == 0, ran.err
        (lab,) = ran.results["labs"]
        assert (lab["id"], [h["id"] for h in lab["hypotheses"]]) == ("own--size-21", ["two"])
        kept = [run / "labs" / lab["id"] / "lab.yaml" for run in (first.run, ran.run)]
        assert kept[0].read_bytes() == kept[1].read_bytes()


def test_every_template_runs_as_it_is(labrun: Labrun) -> None:
    for template in ("two-hosts", "router", "bridge", "nat", "service"):
        assert labrun("new", f"my-{template}", "--from", template).exit == 0
    ran = labrun("all", "-j", "5", "-q")
    assert ran.exit == 0, ran.out
    assert len(ran.results["labs"]) == 5


def test_a_watched_lab_runs_again_when_it_is_saved(two_labs: None, backend: Any, tmp_path: Path) -> None:
    file = tmp_path / "labs" / "good" / "lab.yaml"
    command = [*backend.argv, "watch", "good", "-q", *backend.options]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def told(lines: Iterator[str]) -> str:
            """What is said until it watches again."""
            said = ""
            for line in lines:
                said += line
                if line.startswith(("watching labs/good;", f"watching {file.parent};")):
                    return said
            raise AssertionError(said)

        try:
            assert "All as expected." in told(process.stdout)
            file.write_text(file.read_text().replace("command: probe, exit: 4", "command: probe, exit: 5"))
            assert "1 not as expected." in told(process.stdout)
            file.write_text("title: [")
            told(process.stdout)
            file.write_text("title: [[")
            told(process.stdout)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait() == 2
