"""Test programs whose tests are hypotheses, and labs that claim nothing, on every engine."""

from __future__ import annotations

from pathlib import Path

from e2e.conftest import Labrun

LAB = """\
title: A program
question: Does it pass?
topology: {{nodes: {{machine: {{}}}}}}
steps:
  - id: suite
    run: |
{script}
hypotheses:
  - {{id: all, claim: All pass., predict: {{tests: suite}}, control: {{none: It has its own.}}}}
"""
NAMESPACES = """\
      ip netns add far && ip link add v0 type veth peer name v1 netns far
      ip addr add 10.0.0.1/24 dev v0 && ip link set v0 up
      ip -n far addr add 10.0.0.2/24 dev v1 && ip -n far link set v1 up
      ping -c 1 -W 2 10.0.0.2 > /dev/null && echo "TEST: near to far     [ OK ]"
      ip netns exec far ping -c 1 -W 1 10.0.0.9 > /dev/null || echo "TEST: to nobody     [FAIL]"
      ip netns del far
      exit {status}"""
SKIPS = """\
      echo "SKIP: no such hardware"
      exit 4"""
CLAIMLESS = """\
title: Nothing is claimed
question: What happens?
topology: {nodes: {a: {}}}
steps:
  - {run: ip link show}
  - {run: ip link set eth9 up, may_fail: true}
"""


def write(folder: Path, **labs: str) -> None:
    for slug, text in labs.items():
        (folder / "labs" / slug).mkdir(parents=True)
        (folder / "labs" / slug / "lab.yaml").write_text(text)


def test_each_test_is_a_hypothesis_if_text_and_exit_status_agree(tmp_path: Path, labrun: Labrun) -> None:
    write(
        tmp_path,
        agree=LAB.format(script=NAMESPACES.format(status=1)),
        differ=LAB.format(script=NAMESPACES.format(status=0)),
        skips=LAB.format(script=SKIPS),
        free=CLAIMLESS,
    )
    ran = labrun("run", "agree", "differ", "skips", "free")
    assert ran.exit == 1, ran.out + ran.err
    assert ran.verdicts("agree") == {
        "all": ("refuted", "contradicted"),
        "all-near-to-far": ("supported", "as-predicted"),
        "all-to-nobody": ("refuted", "contradicted"),
    }
    assert ran.verdicts("differ") == {
        "all": ("inconclusive", "test-contradicts-exit"),
        "all-near-to-far": ("supported", "as-predicted"),
        "all-to-nobody": ("inconclusive", "test-contradicts-exit"),
    }
    skipped = ran.lab("skips")
    assert (skipped["status"], skipped["message"]) == ("skipped", "skipped: no such hardware")
    free = ran.lab("free")
    assert (free["status"], free["hypotheses"]) == ("done", [])
    assert free["message"].startswith("ran, 2 commands, 1 failed, nothing was claimed\n")

    ran = labrun("run", "free")
    assert ran.exit == 0
    assert "ran, 2 commands, 1 failed, nothing was claimed" in ran.out
    assert "Cannot find device" in ran.out
    assert "Ran, 2 commands, 1 failed, nothing was claimed." in (ran.run / "index.md").read_text()
