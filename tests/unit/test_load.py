"""A busy machine is told where a time was not as predicted or a step took too long, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labrun.agent.load import LoadWatch
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from labrun.protocol.events import Load
from support.evidence_builder import Evidence, prediction
from support.labs import judge_first

SLOW = {"command": "probe", "duration": {"lt": 0.5}}
FAST = {"command": "probe", "duration": {"ge": 0.5}}
BUSY = "this machine was busy during 'probe' (1 s): "


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (Load(600_000, 0, 0), BUSY + "processes waited for a processor for 0.6 s"),
        (Load(0, 400_000, 0), BUSY + "the hypervisor took the processors away for 0.4 s"),
        (Load(600_000, 0, 3), BUSY + "processes waited for a processor for 0.6 s; the kernel dropped 3 packets, since its backlog was full"),
        (Load(200_000, 200_000, 0), None),
        (None, None),
    ],
)  # fmt: skip
def test_a_surprise_about_time_names_what_was_busy(tmp_path: Path, load: Load | None, said: str | None) -> None:
    variant = Evidence(tmp_path / "experiment").run("probe", at=(0, 1000), load=load).done().read()

    def message(predict: object, expect: str = "supported") -> str:
        hypothesis = {
            "id": "h",
            "claim": "It is so.",
            "expect": expect,
            "predict": predict,
            "control": {"none": "One."},
        }
        lab = {
            "title": "A lab", "question": "Is it so?", "topology": {"nodes": {"host": {}}},
            "steps": [{"id": "probe", "run": "probe"}], "hypotheses": [hypothesis],
        }  # fmt: skip
        compiled = compile_lab(parse_lab(json.dumps(lab), tmp_path / "lab.yaml", "tried", "labs/tried/lab.yaml"))
        return judge_first(compiled, {"experiment": variant}).message

    quiet = message(SLOW, "refuted")
    assert message(SLOW) == (f"{quiet}; {said}" if said else quiet)
    assert "busy" not in quiet + message(FAST) + message({"command": "probe", "exit": 7})


def test_a_timeout_on_a_busy_machine_says_so(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "experiment")
    evidence.run("probe", at=(0, 1000), status="timeout", message="took longer than 1 s", load=Load(900_000, 0, 0))
    told = evaluate(prediction({"command": "probe", "exit": 0}), evidence.read(), "")
    assert (told.truth, told.reason) == (None, "timeout")
    assert BUSY + "processes waited for a processor for 0.9 s" in sentence(told)


def test_the_files_of_the_kernel_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("cpu", "stat", "softnet")]
    monkeypatch.setattr("labrun.agent.load._FILES", tuple(map(str, files)))

    def kernel(waited: int, stolen: int, dropped: int) -> None:
        files[0].write_text(
            f"some avg10=0.00 avg60=0.00 avg300=0.00 total={waited}\nfull avg10=0.00 avg60=0 avg300=0 total=7\n"
        )
        files[1].write_text(f"cpu  1 2 3 4 5 6 7 {stolen} 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
        files[2].write_text(f"00000001 {dropped:08x} 00000002\n00000001 00000001 00000002\n")

    kernel(100, 10, 4)
    watch = LoadWatch()
    watch.start()
    assert watch.since_start() is None
    kernel(350, 12, 20)
    assert watch.since_start() == Load(250, 20_000, 16)  # with 100 ticks a second


@pytest.mark.parametrize("text", ["", "garbage", "total=", None])
def test_a_kernel_without_them_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None) -> None:
    files = [tmp_path / name for name in ("cpu", "stat", "softnet")]
    monkeypatch.setattr("labrun.agent.load._FILES", tuple(map(str, files)))
    for file in files if text is not None else ():
        file.write_text(text or "")
    watch = LoadWatch()
    watch.start()
    assert watch.since_start() is None
