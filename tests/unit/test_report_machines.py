"""CTRF, GitHub's summary and annotations, GitLab's attachments, Mermaid: for machines, so hostile text must not steer them."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.cli.ci import tell_ci
from labrun.protocol.state import AddressState, KernelState, LinkState, NeighbourState, NodeState, SocketState
from labrun.report import github, mermaid
from labrun.report.build import build_view
from labrun.report.ctrf import render_ctrf
from labrun.report.html import render_html
from labrun.report.kernel import Course, changes
from labrun.report.room import MAX_PAGE
from labrun.report.slim import LEVELS, slimmer
from labrun.report.volatile import named
from labrun.report.write import write_reports
from support.recorded import hostile_run, recorded_run


def test_ctrf_counts_what_it_lists(tmp_path: Path) -> None:
    report = json.loads(render_ctrf(build_view(*recorded_run(tmp_path))))["results"]
    assert report["summary"] == {
        "tests": 7, "passed": 2, "failed": 1, "pending": 0, "skipped": 2, "other": 2,
        "start": 1790000000000, "stop": 1790000000090,
    }  # fmt: skip
    wrong = next(test for test in report["tests"] if test["extra"]["id"] == "wrong")
    assert wrong["name"] == f"colours: {wrong['extra']['claim']}" and wrong["duration"] == 0
    assert sum(test["duration"] for test in report["tests"]) == 260  # each lab once
    assert (wrong["filePath"], wrong["line"], wrong["status"]) == ("labs/colours/lab.yaml", 12, "failed")
    assert "actual 2" in wrong["trace"]


def test_annotations_stand_at_the_hypothesis(tmp_path: Path) -> None:
    lines = github.annotated(build_view(*recorded_run(tmp_path)))
    assert lines[0].startswith(
        "::error file=labs/colours/lab.yaml,line=12,title=wrong%3A expected supported%2C got refuted::There are three"
    )
    assert any(line.startswith("::warning file=labs/colours/lab.yaml,line=20") for line in lines)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_ends_a_workflow_command(message: str, title: str) -> None:
    line = github.command("error", message, title=title)
    assert len(line.split("\n")) == 1 and "\r" not in line
    properties = line.removeprefix("::error ").split("::")[0]
    assert properties.count("=") == title.count("=") + bool(title) and "," not in properties


def test_ci_is_told_and_nobody_else(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    write_reports(run, result)
    out = io.StringIO()
    tell_ci(run, result, out, {})
    assert out.getvalue() == "" and "ATTACHMENT" not in (run / "junit.xml").read_text()
    summary = tmp_path / "summary.md"
    env = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true"}
    tell_ci(run, result, out, env)
    assert "::error file=labs/colours/lab.yaml,line=12" in out.getvalue()
    text = summary.read_text()
    assert "1 surprise" in text and "](#" not in text and "](./" not in text and "```mermaid" in text
    tell_ci(run, result, out, {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path)})
    cases = ElementTree.parse(run / "junit.xml").iter("system-out")
    attached = re.findall(r"\[\[ATTACHMENT\|(.*?)\]\]", "\n".join(case.text or "" for case in cases))
    assert attached and all((tmp_path / file).is_file() for file in attached)


@pytest.mark.parametrize("make", [recorded_run, hostile_run])
def test_a_summary_stays_small(make: object, tmp_path: Path) -> None:
    view = build_view(*make(tmp_path))  # type: ignore[operator]
    many = replace(view, matrix=view.matrix * 3000)
    assert len(github.step_summary(many).encode()) < github.MAX_SUMMARY


@given(st.text(max_size=80))
def test_mermaid_words_mean_nothing(text: str) -> None:
    words = mermaid.words(text)
    bare = re.sub(r"#\d+;", "", words)
    assert not set(bare) & set(";#\"'<>[](){}|%&\n`:") and "--" not in bare and "end" not in bare


def test_mermaid_is_capped(tmp_path: Path) -> None:
    view = build_view(*recorded_run(tmp_path))
    ladder = view.labs[0].experiment.ladder if view.labs[0].experiment else None
    assert ladder is not None
    text = mermaid.ladder(replace(ladder, journeys=ladder.journeys * 200))
    assert text is not None and text.count("->>") <= mermaid.MAX_MESSAGES and len(text) < mermaid.MAX_CHARS
    assert "more packets are in the HTML report" in text


def state(**parts: object) -> KernelState:
    return KernelState({"h": NodeState(**parts)})  # type: ignore[arg-type]


LO = LinkState(1, "lo", 65536, False, "DOWN", ("LOOPBACK",), "loopback")
UP = replace(LO, up=True, operstate="UNKNOWN", flags=("LOOPBACK", "UP"))
ADDRESS = AddressState("lo", "inet", "127.0.0.1", 8, "host")
SERVER = SocketState("tcp", "inet", "LISTEN", "0.0.0.0", 80, inode=7, pid=9, process="nc")


def test_what_changed_in_the_kernel() -> None:
    told = [
        f"{c.sign} {c.text}"
        for c in changes(state(links=(LO,), addresses=()), state(links=(UP,), addresses=(ADDRESS,)))
    ]
    assert told == ["~ link lo: up no → yes, operstate DOWN → UNKNOWN, flags +UP", "+ address 127.0.0.1/8 dev lo"]
    assert changes(state(sockets=(SERVER,)), state(sockets=(replace(SERVER, inode=8, pid=1),))) == ()
    twice = changes(state(sockets=(SERVER,)), state(sockets=(SERVER, SERVER)))
    assert [c.text for c in twice] == ["socket tcp LISTEN 0.0.0.0:80 (nc)"]
    assert changes(state(links=None), state(links=(UP,))) == (), "what was not looked at is not compared"
    gone = changes(KernelState({"h": NodeState(), "x": NodeState()}), state())
    assert [(c.sign, c.node, c.text) for c in gone] == [("-", "x", "node")]
    before = NeighbourState("eth0", "inet", "10.0.0.2", "INCOMPLETE")
    after = replace(before, state="REACHABLE", lladdr="02:00:00:00:00:02")
    (change,) = changes(state(neighbours=(before,)), state(neighbours=(after,)))
    assert change.text == (
        "neighbour 10.0.0.2 dev eth0 lladdr 02:00:00:00:00:02: state INCOMPLETE → REACHABLE, lladdr none → 02:00:00:00:00:02"
    )


def test_snapshots_are_compared_where_nobody_watched() -> None:
    course = Course()
    assert course.after(None, state(links=(LO,))) == ()
    assert len(course.after(None, state(links=(UP,)))) == 1
    assert course.after(state(links=(LO,)), None) == ()
    assert len(course.after(state(links=(UP,)), state(links=(LO,)))) == 1


def test_a_page_that_is_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    view = build_view(*recorded_run(tmp_path))
    lab = view.labs[0]
    assert lab.experiment is not None
    huge = tuple(
        replace(lab, anchor=f"{lab.anchor}-{n}", experiment=replace(lab.experiment, steps=lab.experiment.steps * 20))
        for n in range(400)
    )
    page = render_html(replace(view, labs=huge))
    assert len(page.encode()) <= MAX_PAGE and "so that this page stays under 10 MB" in page
    for level in range(1, len(LEVELS) + 1):
        assert slimmer(view, level).cut is not None


def test_volatile_parts_are_named() -> None:
    one = "64 bytes: time=0.033 ms\nrtt min/avg/max/mdev = 0.033/0.033/0.033/0.000 ms\n127.0.0.1:41234 12/nc 6.790 ms id 12 seq 1"
    other = (
        "64 bytes: time=1.2 ms\nrtt min/avg/max/mdev = 1.2/1.2/1.2/0.000 ms\n127.0.0.1:54321 907/nc 16.79 ms id 9 seq 1"
    )
    assert named(one) == named(other) != one
    assert named("tcp port 8900 ttl 64, 3 packets, 10.0.0.1/24") == "tcp port 8900 ttl 64, 3 packets, 10.0.0.1/24"
