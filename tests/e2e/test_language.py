"""The judging language on a real engine: parameters, repeats, judging again by an edited lab, and the labs that use it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.conftest import Labrun

MATRIX = """\
title: Sizes
question: What is the size?
parameters: {mtu: [1400, 9000]}
topology:
  nodes: {a: {}, b: {}}
  links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24, mtu: "${mtu}"}]
steps:
  - {id: said, in: a, run: 'echo "$mtu"; cat /sys/class/net/eth0/mtu', save: {first: {matches: '\\d+', type: int}}}
  - {id: wire, in: b, capture: {on: eth0, filter: icmp}}
  - {id: ping, in: a, run: ping -c 1 -W 1 -M do -s 2000 10.0.0.2}
  - {id: look, snapshot: {nodes: a, parts: [links]}}
  - {id: asked, in: a, lookup: 10.0.0.2}
hypotheses:
  - id: as-written
    claim: The link has ${mtu} bytes.
    predict:
      all:
        - {links: {at: look, where: {name: eth0, mtu: "${mtu}"}}, count: 1}
        - {links: {at: look, where: {name: eth0}}, each: {mtu: "${first}"}}
        - {command: said, stdout: "${mtu}\\n${mtu}"}
        - {lookup: asked, route: {dev: eth0}}
    control: {parameters: {mtu: 1280}}
  - id: large-ones-pass
    claim: A packet of 2000 bytes passes, in one piece.
    predict:
      expr: seen == 2 and exit == 0
      let: {seen: {packets: {on: b.eth0, during: ping}}, exit: {command: ping, of: exit}}
    control: {none: It is so in one cell and not in the other.}
"""


def write(folder: Path, slug: str, text: str) -> Path:
    (folder / "labs" / slug).mkdir(parents=True)
    file = folder / "labs" / slug / "lab.yaml"
    file.write_text(text)
    return file


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_cell_is_a_run_and_a_row_of_its_own(tmp_path: Path, labrun: Labrun) -> None:
    # Two lines of text from a parameter are not YAML's to write; here the file has them.
    write(tmp_path, "sizes", MATRIX)
    ran = labrun("run", "sizes")
    assert ran.exit == 1, ran.out + ran.err  # in the cell of 1400 bytes the large packet does not pass
    cells = ["sizes--mtu-1400", "sizes--mtu-9000"]
    assert [lab["id"] for lab in ran.results["labs"]] == cells
    assert ran.verdicts(cells[0]) == {
        "as-written": ("supported", "as-predicted"), "large-ones-pass": ("refuted", "contradicted"),
    }  # fmt: skip
    assert ran.verdicts(cells[1]) == {
        "as-written": ("supported", "as-predicted"), "large-ones-pass": ("supported", "as-predicted"),
    }  # fmt: skip
    for cell, mtu in zip(cells, (1400, 9000), strict=True):
        folder = ran.run / "labs" / cell
        assert sorted(path.name for path in folder.iterdir()) == ["as-written", "experiment", "lab.json", "lab.yaml"]
        said = (folder / "experiment/outputs/said.stdout").read_text()
        assert said == f"{mtu}\n{mtu}\n"
        assert (folder / "as-written/outputs/said.stdout").read_text() == "1280\n1280\n"
        assert ran.lab(cell)["hypotheses"][0]["claim"] == f"The link has {mtu} bytes."
        assert cell in ran.out
    surprise = ran.out.partition("surprise: sizes--mtu-1400 / large-ones-pass")[2]
    for words in (
        "seen == 2 and exit == 0: predicted true, observed false",
        "seen = 0",
        "exit = 1",
        "There is no control:",
    ):
        assert words in surprise


def test_a_wrong_value_of_a_later_cell_is_found_by_check(tmp_path: Path, labrun: Labrun) -> None:
    file = write(tmp_path, "sizes", MATRIX.replace("[1400, 9000]", "[1400, 999999]"))
    checked = labrun("check", "sizes")
    assert checked.exit == 2
    line = MATRIX.splitlines().index('  links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24, mtu: "${mtu}"}]') + 1
    assert f"labs/sizes/lab.yaml:{line}:" in checked.err, file


def test_three_repeats_that_agree(write_lab: Callable[..., Path], labrun: Labrun) -> None:
    write_lab(
        "steady", "  - {id: probe, run: 'true'}", "{command: probe, exit: 0}", "{command: probe, duration: {lt: 5}}"
    )
    ran = labrun("run", "steady", "--repeat", "3")
    assert ran.exit == 0, ran.out + ran.err
    steady, fast = ran.lab("steady")["hypotheses"]
    assert (steady["verdict"], steady["repeats"]) == ("supported", {"supported": 3})
    least, middle, most = fast["timing"]["command probe: duration in s"]
    assert 0 < least <= middle <= most < 5
    folder = ran.run / "labs" / "steady"
    assert sorted(path.name for path in folder.iterdir()) == [
        "experiment", "experiment.2", "experiment.3", "lab.json", "lab.yaml",
    ]  # fmt: skip
    assert all(
        (folder / name / "events.jsonl").stat().st_size for name in ("experiment", "experiment.2", "experiment.3")
    )
    again = labrun("judge", str(ran.run), env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert again.exit == 0 and again.results == ran.results


def test_a_verdict_that_flips_is_unstable_with_its_counts(write_lab: Callable[..., Path], labrun: Labrun) -> None:
    write_lab("coin", "  - {id: probe, run: 'test $((RANDOM % 2)) = 0'}", "{command: probe, exit: 0}")
    ran = labrun("run", "coin", "--repeat", "12")
    (coin,) = ran.lab("coin")["hypotheses"]
    counts = coin["repeats"]
    assert sum(counts.values()) == 12
    if len(counts) == 1:  # once in 2048 runs
        pytest.skip("the coin fell on the same side twelve times")
    assert ran.exit == 3, ran.out + ran.err
    assert (coin["verdict"], coin["reason"]) == ("inconclusive", "unstable")
    assert set(counts) == {"supported", "refuted"}
    assert coin["message"].startswith("12 runs did not agree: refuted ")
    assert "[unstable]" in ran.out and "Runs: 12, refuted" in ran.out


def test_judging_again_by_an_edited_lab(tmp_path: Path, write_lab: Callable[..., Path], labrun: Labrun) -> None:
    folder = write_lab("hello", "  - {id: probe, run: echo hello}", "{command: probe, stdout: hello}")
    ran = labrun("run", "hello")
    assert ran.exit == 0, ran.out + ran.err
    before = digest(ran.run)
    no_engine = {"DOCKER_HOST": "unix:///nowhere.sock"}
    text = (folder / "lab.yaml").read_text()
    edited = tmp_path / "edited" / "hello" / "lab.yaml"
    edited.parent.mkdir(parents=True)

    def judge(replacement: str) -> tuple[int, str, str]:
        edited.write_text(text.replace("{command: probe, stdout: hello}", replacement))
        done = labrun("judge", str(ran.run), "--lab", str(edited), env=no_engine)
        assert digest(ran.run) == before, "the run directory is not touched"
        return done.exit, done.out, done.err

    begun = time.monotonic()
    code, out, _ = judge("{command: probe, stdout: goodbye}")
    assert time.monotonic() - begun < 5
    assert code == 1
    assert 'stdout of probe: predicted == "goodbye", observed "hello"' in out
    assert judge("{command: probe, stdout: {matches: h.llo}}")[0] == 0
    code, out, _ = judge("{command: later, exit: 0}")
    assert code == 2, "a step that the lab does not have"
    code, _, err = judge("{comand: probe, exit: 0}")
    assert code == 2 and "edited/hello/lab.yaml:" in err
    code, _, err = judge("{packets: {on: host.lo}, count: 0}")
    assert code == 2 and "nothing captures on host.lo" in err


def test_the_two_labs_about_time_and_ways(labrun: Labrun) -> None:
    ran = labrun("run", "arp-cache", "path-mtu")
    assert ran.exit == 0, ran.out + ran.err
    assert [lab["id"] for lab in ran.results["labs"]] == ["arp-cache", "path-mtu--mtu-1400", "path-mtu--mtu-1280"]
    for lab in ran.results["labs"]:
        assert lab["status"] == "done", lab
        for hypothesis in lab["hypotheses"]:
            assert hypothesis["as_expected"] is True, hypothesis
            assert hypothesis["controls"] or hypothesis["no_control"], hypothesis["id"]
            for place in hypothesis["evidence"]:
                assert (ran.run / place.split(" ")[0].split(":")[0]).is_file(), place
    operators = {leaf["operator"] for lab in ran.results["labs"] for h in lab["hypotheses"] for leaf in h["observed"]}
    assert {"eventually", "never", "seen_on", "path", "ends"} <= operators
