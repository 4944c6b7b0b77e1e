"""A run from its start to its end on an engine that replays scripts: what is kept, in which order, whatever breaks."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from labrun.conduct import begin, conduct, entry_of, finish
from labrun.engines.base import Engine, EngineError, EngineInfo
from labrun.engines.scripted import Block, ScriptedEngine
from labrun.evidence import layout
from labrun.evidence.durations import keep_durations, read_durations
from labrun.evidence.record import read_variant
from labrun.evidence.run import EvidenceError, InvalidLab, read_run, write_run
from labrun.judge.results import exit_code, results_json
from labrun.judge.run import judge_run
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from labrun.pace import Fixed
from labrun.protocol.actions import Run
from labrun.protocol.events import ChangeResult, CommandResult, Done, Hello, Output, StepEnded, StepStarted
from labrun.protocol.frames import Piece
from support.recorded import run_record

MS = 1_000_000


def lab(slug, path, controls=1):
    control = [{"without": "cause"}, {"replace": "cause", "with": {"run": "false"}}][:controls]
    return compile_lab(parse_lab(json.dumps({
        "title": slug, "question": "?", "topology": {"nodes": {"host": {}}},
        "steps": [{"id": "cause", "run": "true"}, {"id": "probe", "run": "probe"}],
        "hypotheses": [{"id": "h", "claim": "So it is.", "predict": {"command": "probe", "exit": 0}, "control": control}],
    }), path / "lab.yaml", slug, f"labs/{slug}/lab.yaml"))  # fmt: skip


def hello():
    return Hello(0, 0, "0", "", "6.1.0", "x86_64", "3.11", (), {}, ())


def probe(exit=0):
    """What comes of the step that is judged."""
    out = [Output(f"outputs/probe.{stream}", 2, 2) for stream in ("stdout", "stderr")]
    return (
        StepStarted("probe", 5 * MS, 5 * MS),
        *(Piece(one.path, b"x\n") for one in out),
        StepEnded("probe", 9 * MS, 9 * MS, "ok", None, CommandResult(exit, None, *out)),
    )


def whole(exit=0):
    return (hello(), *probe(exit), Done(10 * MS, 10 * MS))


def fitted(plan, script):
    """As an agent begins: with the digest of its plan, and every step before the one that is judged."""
    if not script or not isinstance(script[0], Hello):
        return script
    before = []
    for step in plan.steps:
        if step.id != "probe":
            none = [Output(f"outputs/{step.id}.{stream}", 0, 0) for stream in ("stdout", "stderr")]
            result = CommandResult(0, None, *none) if isinstance(step.action, Run) else ChangeResult()
            before += [StepStarted(step.id, 0, 0), StepEnded(step.id, 0, 0, "ok", None, result)]
    return (replace(script[0], plan=plan.digest), *before, *script[1:])


@dataclass
class Told:
    """Progress, as a list."""

    calls: list[tuple[object, ...]] = field(default_factory=list)
    inside: int = 0

    def _note(self, *call):
        self.inside += 1
        assert self.inside == 1, "one call at a time"
        self.calls.append(call)
        time.sleep(0.001)
        self.inside -= 1

    def started(self, slug, variants):
        self._note("started", slug, variants)

    def step(self, slug, variant, step):
        if step == "probe":
            self._note("step", slug, variant, step)

    def judged(self, result, seconds):
        self._note("judged", result.id, result.status, [h.verdict for h in result.hypotheses], seconds)

    def of(self, slug):
        return [call for call in self.calls if call[1] == slug]


class Stage:
    """A run directory, labs and an engine."""

    def __init__(self, path):
        self.run = path / "reports" / "run"
        self.path = path
        self.told = Told()
        self.pace = None

    def go(self, scripts, labs=None, jobs=2, progress=None, engine=None, **options):
        """``scripts``: slug -> (experiment's, control's)."""
        self.labs = [lab(slug, self.path, len(given) - 1) for slug, given in scripts.items()]
        flat = {
            (compiled.lab.slug, plan.variant): fitted(plan, script)
            for compiled, given in zip(self.labs, scripts.values(), strict=True)
            for plan, script in zip(compiled.plans, given, strict=True)
            if script is not None
        }
        self.engine = engine or ScriptedEngine(flat)
        begin(self.run, run_record([entry_of(compiled) for compiled in self.labs]))
        ticks = count()
        clock = lambda: float(next(ticks))  # noqa: E731
        self.conducted = conduct(
            self.labs, self.engine, self.run, self.pace or Fixed(jobs), progress or self.told, clock, **options
        )
        return self.conducted.whole

    def variant(self, slug, name="experiment"):
        return read_variant(layout.variant_folder(self.run, slug, name), self.run)

    def faults(self, slug, name="experiment"):
        return [(fault.code, fault.message, fault.t_ns) for fault in self.variant(slug, name).faults]

    def verdicts(self):
        return {lab.id: [(h.verdict, h.reason) for h in lab.hypotheses] for lab in judge_run(self.run).labs}


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


FINE = (whole(0), whole(1))


def test_a_scripted_engine_is_an_engine():
    engine: Engine = ScriptedEngine({}, EngineInfo("scripted", "7", "least"))
    assert engine.info == EngineInfo("scripted", "7", "least")
    assert ScriptedEngine({}).info.name == "scripted"


def test_evidence_is_kept_and_judged(stage):
    assert stage.go({"one": FINE}) is True
    assert (layout.lab_folder(stage.run, "one") / layout.LAB).read_text() == stage.labs[0].lab.text
    for name, plan, exit in zip(("experiment", "h"), stage.labs[0].plans, (0, 1), strict=True):
        variant = stage.variant("one", name)
        assert variant.plan == plan
        assert variant.complete and variant.faults == ()
        assert variant.step("probe").ended.result.exit == exit
        assert variant.output(variant.step("probe").ended.result.stdout) == b"x\n"
    assert stage.verdicts() == {"one": [("supported", "as-predicted")]}


def test_the_experiment_comes_first_and_then_the_controls_lab_by_lab(stage):
    stage.go({"b": (whole(0), whole(1), whole(1)), "a": FINE}, jobs=1)
    assert stage.engine.names == ["b-experiment", "b-h", "b-h-2", "a-experiment", "a-h"]
    assert [call[1] for call in stage.told.calls if call[0] == "started"] == ["b", "a"]
    assert [call[1] for call in stage.told.calls if call[0] == "judged"] == ["b", "a"]


def test_progress_is_told_once_each(stage):
    stage.go({"one": FINE}, jobs=1)
    assert stage.told.calls == [
        ("started", "one", 2), ("step", "one", "experiment", "probe"), ("step", "one", "h", "probe"),
        ("judged", "one", "done", ["supported"], 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["c-experiment", "c-h", "b-experiment", "a-experiment", "b-h", "a-h"]),
        ({"in_order": True}, ["a-experiment", "a-h", "b-experiment", "b-h", "c-experiment", "c-h"]),
        ({"max_failures": 9}, ["a-experiment", "a-h", "b-experiment", "b-h", "c-experiment", "c-h"]),
    ],
)
def test_what_lasted_longest_when_it_last_ran_is_started_first(stage, options, names):
    stage.run.parent.mkdir()
    keep_durations(stage.run.parent, {"a/experiment": 2.0, "a/h": 0.5, "b/experiment": 3.0, "b/h": 1.0, "d/h": 9.0})
    stage.go({"a": FINE, "b": FINE, "c": FINE}, jobs=1, **options)
    assert stage.engine.names == names
    assert stage.verdicts() == {slug: [("supported", "as-predicted")] for slug in "abc"}


def test_how_long_each_lasted_is_kept_for_the_next_run(stage):
    stage.run.parent.mkdir()
    keep_durations(stage.run.parent, {"one/h": 5.0, "other/experiment": 1.5})
    stage.go({"one": (whole(0), (hello(),))})
    assert read_durations(stage.run.parent) == {"one/experiment": 0.01, "one/h": 5.0, "other/experiment": 1.5}


def test_a_run_needs_no_durations(stage):
    (stage.run.parent / "durations.json").mkdir(parents=True)
    assert stage.go({"one": FINE}) is True
    assert stage.verdicts() == {"one": [("supported", "as-predicted")]}


WRONG, BROKEN = (whole(1), whole(1)), ((hello(),), whole(1))


@pytest.mark.parametrize(
    ("scripts", "limit", "left_out"),
    [
        ({"a": FINE, "b": WRONG, "c": FINE, "d": FINE}, 1, ("c", "d")),
        ({"a": BROKEN, "b": FINE}, 1, ("b",)),
        ({"a": WRONG, "b": FINE, "c": WRONG, "d": FINE}, 2, ("d",)),
        ({"a": WRONG, "b": FINE}, 2, ()),
        ({"a": FINE, "b": WRONG}, 1, ()),
    ],
)
def test_after_enough_failures_no_lab_is_begun_and_the_run_has_no_more(stage, scripts, limit, left_out):
    assert stage.go(scripts, jobs=1, max_failures=limit) is True
    done = [slug for slug in scripts if slug not in left_out]
    assert stage.conducted.left_out == read_run(stage.run).left_out == left_out
    assert [entry.slug for entry in read_run(stage.run).labs] == done
    assert [name.partition("-")[0] for name in stage.engine.names if name.endswith("experiment")] == done
    assert sorted({path.parent.name for path in stage.run.glob("labs/*/*/")}) == done
    assert [lab.id for lab in finish(stage.run, stage.conducted.judged).labs] == done


def test_a_lab_that_has_evidence_was_not_left_out(stage):
    stage.go({"a": FINE})
    (stage.run / "left-out.json").write_text('["a"]')
    with pytest.raises(EvidenceError, match="it has evidence"):
        read_run(stage.run)


def test_a_lab_that_runs_goes_on_to_its_end_when_enough_has_failed(stage):
    stage.go({"a": WRONG, "b": FINE, "c": FINE}, jobs=3, max_failures=1)
    told = {slug: verdicts for slug, verdicts in stage.verdicts().items() if slug != "a"}
    assert all(verdicts == [("supported", "as-predicted")] for verdicts in told.values())
    assert told.keys() | set(stage.conducted.left_out) == {"b", "c"}


def test_a_lab_is_judged_when_its_last_variant_is_done(stage):
    stage.go({"one": FINE, "two": (whole(1),)}, jobs=1)
    assert [call[0] for call in stage.told.of("one")] == ["started", "step", "step", "judged"]
    assert [call[0] for call in stage.told.of("two")] == ["started", "step", "judged"]
    assert stage.told.of("two")[-1][3] == ["refuted"]


def test_progress_is_told_one_call_at_a_time(stage):
    stage.go({f"lab-{n}": FINE for n in range(8)}, jobs=8)
    assert len(stage.told.calls) == 8 * 4


def test_a_sandbox_starts_until_its_first_word(stage):
    """What the pace is told: how many there are, and how many of them have said nothing yet."""
    told = []

    class Watched:
        most, look_s = 2, 1.0

        def another(self, running, starting=0):
            told.append((running, starting))
            return running < 2

    stage.pace = Watched()
    stage.go({f"lab-{n}": FINE for n in range(3)})
    assert all(0 <= starting <= running for running, starting in told)
    assert told[:2] == [(0, 0), (1, 1)] or told[:2] == [(0, 0), (1, 0)]
    assert (0, 0) in told and len(stage.engine.names) == 6


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_never_more_sandboxes_than_jobs(stage, jobs):
    stage.go({f"lab-{n}": FINE for n in range(6)}, jobs=jobs)
    assert 1 <= stage.engine.most <= jobs
    assert stage.engine.running == 0
    assert len(stage.engine.names) == 12


def test_as_many_sandboxes_at_once_as_jobs(stage):
    """All of them hang; only when the third is there, the engine is cancelled."""
    scripts = {f"lab-{n}": ((hello(), Block()),) for n in range(5)}
    compiled = [lab(slug, stage.path, 0) for slug in scripts]
    engine = ScriptedEngine(
        {(one.lab.slug, "experiment"): fitted(one.experiment, scripts[one.lab.slug][0]) for one in compiled}
    )

    def cancel():
        for _ in range(3):
            assert engine.blocked.acquire(timeout=10)
        engine.cancel()

    watcher = threading.Thread(target=cancel)
    watcher.start()
    assert stage.go(scripts, jobs=3, engine=engine) is True
    watcher.join()
    assert engine.most == 3
    assert {code for slug in scripts for code, _, _ in stage.faults(slug)} == {"sandbox-died", "interrupted"}


# --- what breaks ---


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EngineError("sandbox-died", "it was killed (signal 9)"), "sandbox-died", "it was killed (signal 9)"),
        (EngineError("engine-unreachable", "no daemon"), "engine-unreachable", "no daemon"),
        (RuntimeError("a defect"), "runner-crashed", "RuntimeError: a defect"),
        (OSError(28, "No space left on device"), "runner-crashed", "OSError: [Errno 28] No space left on device"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2, 4, 5])
def test_whatever_breaks_is_a_fault_in_the_evidence(stage, error, code, message, place):
    """Evidence up to there is kept; the lab is inconclusive, never refuted; the other goes on."""
    broken = (*whole(1)[:place], error, *whole(1)[place:])
    assert stage.go({"broken": (broken, whole(1)), "fine": FINE}) is True
    t_ns = (0, 0, 5 * MS, 5 * MS, 5 * MS, 9 * MS)[place]
    assert stage.faults("broken") == [(code, message, t_ns)]
    variant = stage.variant("broken")
    assert not variant.complete
    assert [variant.hello is not None, variant.step("probe").started is not None, variant.step("probe").ended is not None] == [
        place > 0, place > 1, place > 4,
    ]  # fmt: skip
    assert stage.verdicts() == {"broken": [("inconclusive", code)], "fine": [("supported", "as-predicted")]}
    assert [call[0] for call in stage.told.of("fine")] == ["started", "step", "step", "judged"]
    assert stage.told.of("broken")[-1][:3] == ("judged", "broken", "error")
    assert stage.engine.running == 0


def test_a_control_that_breaks_makes_its_hypothesis_inconclusive_only(stage):
    stage.go({"one": (whole(0), (hello(), EngineError("sandbox-died", "killed")))})
    assert stage.faults("one") == []
    assert stage.faults("one", "h") == [("sandbox-died", "killed", 0)]
    assert stage.verdicts() == {"one": [("inconclusive", "control-sandbox-died")]}


def test_a_sandbox_that_cannot_start(stage):
    stage.go({"one": (None, whole(1)), "two": FINE})
    assert stage.faults("one") == [("sandbox-refused", "no script for one, variant experiment", 0)]
    assert stage.verdicts()["two"] == [("supported", "as-predicted")]


def test_a_sandbox_that_ends_early_without_a_word(stage):
    stage.go({"one": (whole(0)[:-1], whole(1))})
    ((code, _, _),) = stage.faults("one")
    assert code == "sandbox-died"
    assert stage.verdicts() == {"one": [("inconclusive", "sandbox-died")]}


@pytest.mark.parametrize("path", ["../../../run.json", layout.EVENTS, layout.PLAN, "/etc/x"])
def test_a_path_that_is_none_is_a_fault_and_writes_nothing(stage, path):
    stage.go({"one": ((hello(), Piece(path, b"x"), *probe(), Done(1, 1)), whole(1)), "two": FINE})
    ((code, message, _),) = stage.faults("one")
    assert code == "runner-crashed" and "not a path for evidence" in message
    assert read_run(stage.run).labs[0].slug == "one"
    assert stage.verdicts()["two"] == [("supported", "as-predicted")]


def test_a_fault_after_the_end_does_not_take_the_evidence_away(stage):
    stage.go({"one": ((*whole(0), EngineError("engine-error", "could not be removed")), whole(1))})
    assert stage.variant("one").complete
    assert stage.verdicts() == {"one": [("supported", "as-predicted")]}
    assert exit_code(judge_run(stage.run), strict=False) == 3  # and it is not hidden either


def test_damaged_evidence_of_one_lab_is_its_error(stage):
    """A sandbox overwrites nothing, but a snapshot may be nonsense."""
    nonsense = (hello(), Piece("snapshots/x.json", b"{"), *probe(), Done(1, 1))
    stage.go({"one": (nonsense, whole(1)), "two": FINE})
    assert stage.verdicts()["two"] == [("supported", "as-predicted")]


# --- Ctrl-C ---


def interrupt_when(engine, sandboxes, also=lambda: True):
    """Send this process the signal of Ctrl-C once so many sandboxes hang."""

    def press():
        for _ in range(sandboxes):
            assert engine.blocked.acquire(timeout=10)
        while not also():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_an_interrupt_ends_everything_and_keeps_what_there_is(stage):
    scripts = {
        "done": (whole(0),),
        "hangs": ((*whole(0)[:-1], Block(), Done(1, 1)),),
        "never": (whole(0),),
        "too": (whole(0),),
    }
    compiled = [lab(slug, stage.path, 0) for slug in scripts]
    engine = ScriptedEngine(
        {(one.lab.slug, "experiment"): fitted(one.experiment, scripts[one.lab.slug][0]) for one in compiled}
    )
    thread = interrupt_when(engine, 1, lambda: any(call[:2] == ("judged", "done") for call in stage.told.calls))
    assert stage.go(scripts, jobs=1, engine=engine) is False
    thread.join()
    assert engine.running == 0
    assert stage.faults("hangs") == [("interrupted", "the run was interrupted", 9 * MS)]
    assert engine.names == ["done-experiment", "hangs-experiment"]
    assert stage.verdicts() == {
        "done": [("supported", "as-predicted")], "hangs": [("inconclusive", "interrupted")],
        "never": [("inconclusive", "not-run")], "too": [("inconclusive", "not-run")],
    }  # fmt: skip
    assert [call[1] for call in stage.told.calls if call[0] == "judged"] == ["done"]


def test_an_interrupt_with_several_sandboxes_running(stage):
    scripts = {f"lab-{n}": ((hello(), Block(), *probe()),) for n in range(4)}
    compiled = [lab(slug, stage.path, 0) for slug in scripts]
    engine = ScriptedEngine(
        {(one.lab.slug, "experiment"): fitted(one.experiment, scripts[one.lab.slug][0]) for one in compiled}
    )
    thread = interrupt_when(engine, 3)
    assert stage.go(scripts, jobs=3, engine=engine) is False
    thread.join()
    assert engine.running == 0
    assert [stage.faults(f"lab-{n}") for n in range(3)] == [[("interrupted", "the run was interrupted", 0)]] * 3
    assert {verdict for ((verdict, _),) in stage.verdicts().values()} == {"inconclusive"}


def test_a_cancelled_engine_starts_nothing(stage):
    engine = ScriptedEngine({("one", "experiment"): whole(0)})
    engine.cancel()
    assert stage.go({"one": (whole(0),)}, engine=engine) is True
    assert stage.faults("one") == [("interrupted", "interrupted before it started", 0)]


# --- the beginning and the end ---


def test_a_run_has_its_record_from_the_start(tmp_path):
    run = tmp_path / "reports" / "r"
    record = run_record([])
    begin(run, record)
    assert read_run(run) == record
    with pytest.raises(FileExistsError):
        begin(run, record)


def test_a_run_that_was_killed_can_be_judged(stage):
    begin(stage.run, run_record([entry_of(lab("one", stage.path))]))
    (found,) = judge_run(stage.run).labs
    assert (found.status, found.reason) == ("error", "evidence-unreadable")  # not even its lab file was written


def test_the_end_writes_results_and_reports_and_points_latest_at_the_run(stage):
    stage.go({"one": FINE})
    result = finish(stage.run)
    data = json.loads((stage.run / layout.RESULTS).read_text())
    assert [h["verdict"] for h in data["labs"][0]["hypotheses"]] == ["supported"]
    assert exit_code(result, strict=True) == 0
    assert {"index.html", "index.md", "junit.xml"} <= {file.name for file in stage.run.iterdir()}
    assert (stage.run.parent / "latest").resolve() == stage.run


def test_what_was_judged_while_others_ran_is_what_judging_all_of_it_again_says(stage):
    stage.go({"one": FINE, "two": (whole(0), whole(0)), "broken": ([EngineError("sandbox-died", "it died")], whole(1))})
    assert set(stage.conducted.judged) == {"one", "two", "broken"}
    again = results_json(judge_run(stage.run))
    assert results_json(judge_run(stage.run, stage.conducted.judged)) == again
    assert results_json(judge_run(stage.run, {"two": stage.conducted.judged["two"]})) == again


def test_invalid_labs_are_in_the_results(stage):
    stage.go({"one": FINE})
    bad = InvalidLab("bad", "labs/bad/lab.yaml", ("no",))
    write_run(stage.run, replace(read_run(stage.run), invalid=(bad,)))
    result = finish(stage.run)
    assert [(found.id, found.status) for found in result.labs] == [("one", "done"), ("bad", "error")]
    assert exit_code(result, strict=False) == 2
