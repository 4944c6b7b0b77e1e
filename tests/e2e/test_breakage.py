"""What happens when things break, for real: each lab gets one clear message, the others go on, nothing is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from e2e.conftest import Backend, Labrun, Ran
from labrun.engines.docker import LABEL
from labrun.lease import lease
from support.sandboxes import launched_by

OK = "{command: a, exit: 0}"
WriteLab = Callable[..., Path]


def eventually(condition: Callable[[], Any], within_s: float = 180.0) -> Any:
    """What the condition gives once it gives something true; fails the test otherwise."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def start(backend: Backend, tmp_path: Path, *args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        backend.command(*args),
        cwd=tmp_path,
        env={**os.environ, **backend.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def at_step(tmp_path: Path, slug: str, step: str, variant: str = "experiment") -> bool:
    """The evidence says that the lab is in this step."""
    files = list((tmp_path / "reports").glob(f"2*/labs/{slug}/{variant}/events.jsonl"))
    return bool(files) and f'"kind":"step-started","step":"{step}"' in files[0].read_text()


SLOW = "  - {id: a, run: 'echo before'}\n  - {id: b, run: 'sleep 60', timeout: 90s}"


def test_a_killed_sandbox_makes_its_lab_inconclusive_and_the_others_finish(
    write_lab: WriteLab, tmp_path: Path, backend: Backend
) -> None:
    write_lab("slow", SLOW, OK, "{command: a, exit: 1}", "{command: b, exit: 0}")
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    with start(backend, tmp_path, "run", "slow", "quick") as process:
        eventually(lambda: at_step(tmp_path, "slow", "b"))
        (victim,) = [one for one in backend.sandboxes(tmp_path) if one.runs("sleep 60")]
        victim.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    ran = Ran(process.returncode, "", err, tmp_path)
    assert set(ran.verdicts("slow").values()) == {("inconclusive", "sandbox-died")}, "never refuted, never supported"
    assert ran.lab("slow")["status"] == "error"
    assert "killed" in ran.lab("slow")["message"]
    assert ran.verdicts("quick") == {"h1": ("supported", "as-predicted")}
    assert (ran.run / "labs/slow/experiment/outputs/a.stdout").read_text() == "before\n", "evidence so far is kept"
    assert backend.sandboxes(tmp_path) == []


def test_a_killed_runner_leaves_no_sandbox(
    write_lab: WriteLab, tmp_path: Path, backend: Backend, labrun: Labrun
) -> None:
    write_lab("slow", SLOW, OK)
    with start(backend, tmp_path, "run", "slow") as process:
        eventually(lambda: at_step(tmp_path, "slow", "b"))
        eventually(lambda: len(backend.sandboxes(tmp_path)) == 1)  # those started ahead, and not needed, are going
        process.kill()
        process.communicate(timeout=10)
    eventually(lambda: not backend.sandboxes(tmp_path), within_s=10.0)
    (run,) = (tmp_path / "reports").glob("2*")
    judged = labrun("judge", str(run))
    assert judged.exit == 3
    assert "inconclusive" in judged.out


def test_sandboxes_that_were_started_ahead_for_wrong_labs_are_gone(
    write_lab: WriteLab, tmp_path: Path, backend: Backend
) -> None:
    write_lab("wrong", "  - {id: a, rum: 'true'}", OK)
    with start(backend, tmp_path, "run", "wrong") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "Did you mean 'run'?" in err, err
    assert not (tmp_path / "reports").exists() and launched_by(process.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["SIGINT", "SIGHUP"])
def test_interrupting_tears_down_keeps_the_evidence_and_reports(
    write_lab: WriteLab, tmp_path: Path, backend: Backend, number: signal.Signals
) -> None:
    write_lab("slow", SLOW, OK)
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    with start(backend, tmp_path, "run", "quick", "slow", "--jobs", "1") as process:
        eventually(lambda: at_step(tmp_path, "slow", "b"))
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "interrupted" in err and "Traceback" not in err
    ran = Ran(process.returncode, "", err, tmp_path)
    assert ran.verdicts("quick") == {"h1": ("supported", "as-predicted")}
    assert ran.verdicts("slow") == {"h1": ("inconclusive", "interrupted")}
    assert backend.sandboxes(tmp_path) == []


def test_a_wrong_expectation_is_a_surprise_with_both_sides_and_evidence(write_lab: WriteLab, labrun: Labrun) -> None:
    write_lab("s", "  - {id: a, run: 'echo hello; exit 3'}", OK, "{command: a, stdout: goodbye}")
    ran = labrun("run", "s")
    assert ran.exit == 1
    assert ran.verdicts("s") == {"h1": ("refuted", "contradicted"), "h2": ("refuted", "contradicted")}
    assert "exit of a == 0, actual 3" in ran.out
    assert 'stdout of a == "goodbye", actual "hello" (labs/s/experiment/outputs/a.stdout)' in ran.out
    assert "labs/s/lab.yaml:8" in ran.out, "and where the hypothesis stands"


def test_expecting_refuted_of_something_true_is_a_surprise(write_lab: WriteLab, labrun: Labrun) -> None:
    write_lab("s", "  - {id: a, run: 'true'}", OK, expect="refuted")
    ran = labrun("run", "s")
    assert (ran.exit, ran.verdicts("s")) == (1, {"h1": ("supported", "as-predicted")})


def test_a_hanging_step_meets_its_deadline_and_what_needs_it_is_inconclusive(
    write_lab: WriteLab, labrun: Labrun
) -> None:
    steps = "  - {id: a, run: 'echo so far; sleep 99', timeout: 1s}\n  - {id: b, run: 'true'}"
    write_lab("hang", steps, OK, "{command: b, exit: 0}", "{not: {command: a, exit: 0}}")
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    ran = labrun("run", "hang", "quick")
    assert ran.exit == 3
    assert {verdict for verdict, _ in ran.verdicts("hang").values()} == {"inconclusive"}
    assert {reason for _, reason in ran.verdicts("hang").values()} == {"timeout"}
    assert "step 'a': the command did not end within 1 s" in ran.lab("hang")["message"]
    assert (ran.run / "labs/hang/experiment/outputs/a.stdout").read_text() == "so far\n"
    assert ran.verdicts("quick") == {"h1": ("supported", "as-predicted")}


def test_the_bound_on_a_lab_holds(write_lab: WriteLab, labrun: Labrun) -> None:
    write_lab("long", "  - {id: a, run: 'sleep 99', timeout: 100s}", OK)
    ran = labrun("run", "long", "--timeout", "1s")
    assert ran.exit == 3
    assert ran.verdicts("long")["h1"][0] == "inconclusive"


def test_fifty_megabytes_are_kept_whole(write_lab: WriteLab, labrun: Labrun) -> None:
    steps = "  - {id: a, run: 'head -c 50000000 /dev/zero | tr \"\\\\0\" x', timeout: 60s}"
    write_lab("loud", steps, "{command: a, stdout: {matches: '^x+$'}, exit: 0}")
    ran = labrun("run", "loud")
    assert ran.exit == 0, ran.out + ran.err
    assert (ran.run / "labs/loud/experiment/outputs/a.stdout").stat().st_size == 50_000_000
    assert (ran.run / "index.html").stat().st_size < 10_000_000


def test_past_the_limit_the_cut_is_recorded_and_absence_in_it_is_unknown(write_lab: WriteLab, labrun: Labrun) -> None:
    # The limit is 64 MiB; the word comes after it.
    steps = "  - {id: a, run: 'head -c 70000000 /dev/zero | tr \"\\\\0\" x; echo end', timeout: 60s}"
    write_lab("cut", steps, "{command: a, stdout: {lacks: end}}", "{command: a, stdout: {contains: xx}}")
    ran = labrun("run", "cut")
    assert ran.exit == 3
    assert ran.verdicts("cut") == {"h1": ("inconclusive", "output-cut"), "h2": ("supported", "as-predicted")}
    assert (ran.run / "labs/cut/experiment/outputs/a.stdout").stat().st_size == 64 * 1024 * 1024


def test_raw_bytes_and_escape_codes_are_kept_and_never_obeyed(write_lab: WriteLab, labrun: Labrun) -> None:
    steps = "  - {id: a, run: 'printf \"\\\\033[2J\\\\377\\\\000\\\\007x\"'}"
    write_lab("raw", steps, "{command: a, stdout: nothing like it}")
    ran = labrun("run", "raw")
    assert ran.exit == 1
    assert (ran.run / "labs/raw/experiment/outputs/a.stdout").read_bytes() == b"\x1b[2J\xff\0\x07x"
    for text in (ran.out, ran.err, (ran.run / "index.html").read_text(), (ran.run / "index.md").read_text()):
        assert "\x1b" not in text and "\x07" not in text and "\0" not in text


def test_a_missing_tool_skips_the_lab_with_its_reason_and_strict_makes_that_a_failure(
    write_lab: WriteLab, labrun: Labrun
) -> None:
    write_lab("lacks", "  - {id: a, run: 'true'}", OK, extra="requires: {tools: [ping, nosuchtool]}")
    ran = labrun("run", "lacks")
    assert ran.exit == 3, "nothing was judged"
    assert "0 hypotheses judged, 1 lab skipped, 0 broken. Nothing was judged." in ran.out
    lab = ran.lab("lacks")
    assert (lab["status"], lab["reason"], lab["hypotheses"], lab["unjudged"]) == ("skipped", "missing-tool", [], ["h1"])
    assert "nosuchtool" in ran.out, "a skip does not hide"
    write_lab("fine", "  - {id: a, run: 'true'}", OK)
    assert labrun("run", "lacks", "fine").exit == 0
    assert labrun("run", "lacks", "fine", "--strict").exit == 3


def test_wrong_labs_are_reported_and_the_others_go_on(write_lab: WriteLab, labrun: Labrun, tmp_path: Path) -> None:
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    write_lab("typo", "  - {id: a, rnu: 'true'}", OK)
    write_lab("filter", "  - {id: c, capture: {on: lo, filter: 'icmp or'}}\n  - {id: a, run: 'true'}", OK)
    binary = tmp_path / "labs" / "binary"
    binary.mkdir()
    (binary / "lab.yaml").write_bytes(b"\x00\xff\xfe")
    ran = labrun("all")
    assert ran.exit == 2
    assert "labs/typo/lab.yaml:6:13: step 'a': unknown key 'rnu'. Did you mean 'run'?" in ran.err
    assert "labs/filter/lab.yaml:6:" in ran.err and "not a pcap filter" in ran.err
    assert "labs/binary/lab.yaml:1:1: not UTF-8 text" in ran.err
    assert ran.verdicts("quick") == {"h1": ("supported", "as-predicted")}
    assert ran.lab("typo")["reason"] == "invalid-lab"


def test_a_failed_change_names_the_kernels_reason(write_lab: WriteLab, labrun: Labrun) -> None:
    steps = "  - {id: r, route: {add: default, via: 10.9.9.9}}\n  - {id: a, run: 'true'}"
    write_lab("route", steps, OK)
    ran = labrun("run", "route")
    assert ran.exit == 3
    assert ran.verdicts("route")["h1"] == ("inconclusive", "step-failed")
    assert "step 'r' failed: " in ran.lab("route")["message"]


@pytest.mark.parametrize("host", ["unix:///nowhere.sock", "tcp://127.0.0.1:1"])
def test_a_daemon_that_is_away_is_one_sentence(write_lab: WriteLab, docker_labrun: Labrun, host: str) -> None:
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    ran = docker_labrun("run", "quick", env={"DOCKER_HOST": host})
    assert ran.exit == 3
    assert ran.err.startswith("labrun: no Docker engine answers")
    assert ran.err.count("\n") == 1


def test_clean_removes_what_was_left(docker_client: Any, lab_image: str, docker_labrun: Labrun) -> None:
    """Containers that were never started: one of a process that is gone, and one of this process."""
    script = "import json; from labrun.lease import lease; print(json.dumps(lease()))"
    gone = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    left, held = (
        docker_client.containers.create(lab_image, ["sleep", "60"], labels={LABEL: "test-left-over", **owner})
        for owner in (gone, lease())
    )
    try:
        ran = docker_labrun("clean")
        assert ran.exit == 0 and f"removed container {left.name}" in ran.out and held.name not in ran.out
        with pytest.raises(docker.errors.NotFound):
            left.reload()
        held.reload()
    finally:
        held.remove(force=True)


def test_clean_in_a_loop_leaves_live_runs_alone(
    write_lab: WriteLab, tmp_path: Path, backend: Backend, labrun: Labrun
) -> None:
    """One sandbox after the other is made, started and removed meanwhile."""
    write_lab("slow", "  - {id: a, run: 'true'}\n  - {id: b, run: 'sleep 0.5'}", OK)
    cleaned = 0
    with start(backend, tmp_path, "run", "slow", "--repeat", "3", "--jobs", "1") as process:
        while process.poll() is None:
            assert labrun("clean").exit == 0
            cleaned += 1
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and cleaned >= 2, (cleaned, err)


def test_the_doctor_says_what_works(docker_labrun: Labrun) -> None:
    ran = docker_labrun("doctor")
    assert ran.exit == 0, ran.out
    assert "ok    engine: docker" in ran.out and "ok    --isolation least: a sandbox starts" in ran.out
    away = docker_labrun("doctor", env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert away.exit == 3 and "FAIL  engine" in away.out and "->" in away.out


def test_json_is_alone_on_stdout(write_lab: WriteLab, labrun: Labrun) -> None:
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    ran = labrun("run", "quick", "--json")
    assert json.loads(ran.out) == ran.results


@pytest.mark.parametrize(
    ("args", "needle"),
    [
        (("run", "own-adress"), "Did you mean 'own-address'?"),
        (("run",), "Missing argument"),
        (("run", "quick", "--jobs", "0"), "--jobs"),
        (("run", "quick", "--timeout", "soon"), "such as 500ms"),
        (("judge", "nowhere"), "not a run directory"),
        (("al",), "No such command"),
        (("all", "--tag", "nosuchtag"), "--tag 'nosuchtag': no lab is selected by this"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_so(docker_labrun: Labrun, args: tuple[str, ...], needle: str) -> None:
    ran = docker_labrun(*args)
    assert ran.exit == 2, ran.err
    assert needle in ran.err


def test_a_control_that_broke_off_makes_nothing_supported(tmp_path: Path, labrun: Labrun) -> None:
    """Without its bridge the next step fails, nobody pings, and there is no packet: that shows nothing."""
    folder = tmp_path / "labs" / "casc"
    folder.mkdir(parents=True)
    (folder / "lab.yaml").write_text("""\
title: T
question: Does br9 cause the echo?
topology: {nodes: {a: {}, b: {}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]}
steps:
  - {id: seen, in: b, capture: {on: eth0, filter: icmp}}
  - {id: br, in: a, link: {add: br9, type: bridge, up: true}}
  - {id: ad, in: a, address: {add: 10.3.0.1/24, dev: br9}}
  - {id: probe, in: a, run: ping -c 1 -W 1 10.0.0.2}
hypotheses:
  - {id: all, claim: It does., predict: {packets: {on: b.eth0}, count: 2}, control: {without: br}}
  - id: own
    claim: It does.
    predict: {packets: {on: b.eth0, direction: in}, count: 1}
    control: {without: br, predict: {packets: {on: b.eth0}, count: 0}}
""")
    ran = labrun("run", "casc")
    assert ran.exit == 3, ran.out
    assert ran.verdicts("casc") == dict.fromkeys(("all", "own"), ("inconclusive", "control-step-failed"))
    assert "step 'ad' failed: ENODEV" in ran.out


def test_a_control_whose_own_command_failed_makes_nothing_supported(tmp_path: Path, labrun: Labrun) -> None:
    """It is not known to be without the cause: neither if it agrees, nor if the prediction fails for another reason."""
    folder = tmp_path / "labs" / "luck"
    folder.mkdir(parents=True)
    (folder / "lab.yaml").write_text("""\
title: T
question: Does eth0 of a cause the echo?
topology: {nodes: {a: {}, b: {}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]}
steps:
  - {id: seen, in: b, capture: {on: eth0, filter: icmp}}
  - {id: probe, in: a, run: ping -c 1 -W 1 10.0.0.2}
hypotheses:
  - id: agrees
    claim: It does.
    predict: {packets: {on: b.eth0, during: probe}, count: 2}
    control: {before: probe, insert: {in: a, run: ip link set eth9 down}}
  - id: luck
    claim: It does.
    predict: {packets: {on: b.eth0, during: probe}, count: 2}
    control: {before: probe, insert: {in: a, run: "ip link set eth0 down; ip link set eth9 down"}}
  - id: allowed
    claim: It does.
    predict: {packets: {on: b.eth0, during: probe}, count: 2}
    control: {before: probe, insert: {in: a, run: "ip link set eth0 down; ip link set eth9 down || true"}}
""")
    ran = labrun("run", "luck")
    assert ran.exit == 3, ran.out
    failed = ("inconclusive", "control-step-failed")
    assert ran.verdicts("luck") == {"agrees": failed, "luck": failed, "allowed": ("supported", "as-predicted")}


def test_a_line_of_which_the_shell_does_not_find_a_part_observes_nothing(tmp_path: Path, labrun: Labrun) -> None:
    """As the shell of each userland complains of it: the exit status is that of the last command."""
    folder = tmp_path / "labs" / "part"
    folder.mkdir(parents=True)
    (folder / "lab.yaml").write_text("""\
title: T
question: Is nothing tracked?
topology: {nodes: {a: {}}}
steps: [{id: count, in: a, run: no-such-tool --list | grep -c tcp}]
hypotheses:
  - {id: none, claim: Nothing is., predict: {command: count, stdout: "0"}}
  - {id: status, claim: Nothing is., predict: {not: {command: count, exit: 0}}}
""")
    ran = labrun("run", "part")
    assert ran.exit == 3, ran.out
    assert ran.verdicts("part") == dict.fromkeys(("none", "status"), ("inconclusive", "missing-tool"))
    assert "the shell does not find 'no-such-tool'" in ran.out
