"""The run directory: what is written comes back, what is missing is missing, and what is damaged says where."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.evidence import layout
from labrun.evidence.record import read_variant
from labrun.evidence.run import (
    EvidenceError,
    InvalidLab,
    LabEntry,
    new_run_id,
    point_latest,
    read_run,
    resolve_run,
    write_run,
)
from labrun.evidence.writer import DiskRoom, EvidenceFull, EvidenceWriter
from labrun.protocol import actions
from labrun.protocol.events import CommandResult, Done, Fault, Output, SnapshotResult, StepEnded, StepStarted
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Plan, Step
from labrun.protocol.state import KernelState, NodeState
from support.evidence_builder import Evidence, Seen, icmp
from support.recorded import run_record

PLAN = Plan("lab", "experiment", (Step("one", actions.Run(("true",)), "host"),), ("host",)).sealed()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "experiment"


# --- the writer ---


def test_what_is_written_comes_back(folder):
    evidence = Evidence(folder, "control").run("one", b"out", b"err", at=(1, 2)).start("two").capture("three", "lo")
    evidence.snapshot("four", {"host": NodeState(links=())}).run("five", started=False).run("six", ended=False)
    evidence.captured("three", ("lo",), Seen(5, icmp())).capture_ended("three", 1).process_ended("two", b"bye", exit=0)
    variant = evidence.fault("lab-timeout", "long", "six").done().read()
    assert variant.folder == folder
    assert variant.plan == variant.plan.sealed() and variant.plan.variant == "control"
    assert variant.hello == dataclasses.replace(evidence.hello, plan=variant.plan.digest)
    assert (variant.complete, [fault.code for fault in variant.faults]) == (True, ["lab-timeout"])
    one, two, three, four, five, six = variant.steps
    assert (one.started.t_ns, one.ended.t_ns, one.line) == (1_000_000, 2_000_000, 3)
    assert variant.output(one.ended.result.stdout) == b"out" and variant.output(one.ended.result.stderr) == b"err"
    assert variant.output(one.ended.result.stdout, 2) == b"ou"
    assert two.process.exit == 0 and two.capture is None and variant.output(two.process.stdout) == b"bye"
    assert three.capture.packets == 1 and three.process is None
    assert variant.snapshot("four") == KernelState({"host": NodeState(links=())}) and four.ended is not None
    assert (five.started, five.ended, five.line) == (None, None, None)
    assert (six.started is None, six.ended, six.line) == (False, None, 10)
    assert variant.step("three") is three and variant.step("seven") is None


def test_the_writer_writes_plan_and_events_at_once(folder):
    with EvidenceWriter(folder, PLAN) as writer:
        assert json.loads((folder / layout.PLAN).read_text())["digest"] == PLAN.digest
        writer.put(Done(1, 2))
        assert read_variant(folder).complete  # a run that is killed now has it


def test_pieces_are_appended_in_the_order_in_which_they_come(folder):
    with EvidenceWriter(folder, PLAN) as writer:
        for data in (b"a", b"", b"bc"):
            writer.put(Piece("outputs/one.stdout", data))
        writer.put(Piece("empty", b""))
    assert (folder / "outputs/one.stdout").read_bytes() == b"abc"
    assert (folder / "empty").read_bytes() == b""


def test_nothing_is_written_over(folder):
    with EvidenceWriter(folder, PLAN):
        pass
    with pytest.raises(FileExistsError), EvidenceWriter(folder, PLAN):
        pass


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../b", "a//b", "", ".", "..", ".hidden", "a/.b", "-x", "a b", "a\n", "a\0", "a/b/c/d/e", "x" * 200,
     "a/", layout.PLAN, layout.EVENTS],
)  # fmt: skip
def test_a_path_that_could_climb_out_or_hide_is_refused(folder, tmp_path, path):
    with EvidenceWriter(folder, PLAN) as writer, pytest.raises(ValueError, match="not a path for evidence"):
        writer.put(Piece(path, b"x"))
    assert {file.name for file in tmp_path.rglob("*")} == {"experiment", layout.PLAN, layout.EVENTS, layout.SEAL}


def test_a_file_where_a_folder_should_be_is_an_error_and_not_a_loss(folder):
    with EvidenceWriter(folder, PLAN) as writer:
        writer.put(Piece("outputs", b"x"))
        with pytest.raises(OSError):
            writer.put(Piece("outputs/one", b"y"))
        writer.put(Done(1, 2))
    assert read_variant(folder).complete


def test_the_limit_is_for_all_files_together(folder):
    with EvidenceWriter(folder, PLAN, DiskRoom(10)) as writer:
        writer.put(Piece("a", b"12345"))
        writer.put(Piece("b", b"12345"))
        with pytest.raises(EvidenceFull, match="stopped in c"):
            writer.put(Piece("c", b"1"))
    assert not (folder / "c").exists()
    assert (folder / "a").read_bytes() + (folder / "b").read_bytes() == b"1234512345"


def test_events_count_too(folder):
    with EvidenceWriter(folder, PLAN, DiskRoom(60)) as writer:
        writer.put(Done(1, 2))
        with pytest.raises(EvidenceFull, match=r"stopped in events\.jsonl"):
            writer.put(Done(1, 2))


def test_a_full_writer_still_takes_the_fault_that_says_so(folder):
    with EvidenceWriter(folder, PLAN, DiskRoom(10)) as writer:
        with pytest.raises(EvidenceFull):
            writer.put(Piece("a", bytes(11)))
        writer.put(Fault(0, "evidence-full", "more than one lab may keep"))
    assert [fault.code for fault in read_variant(folder).faults] == ["evidence-full"]


def test_the_file_of_events_is_closed_whatever_happens(folder):
    writer = EvidenceWriter(folder, PLAN)
    with pytest.raises(RuntimeError), writer:
        raise RuntimeError
    with pytest.raises(ValueError, match="closed"):
        writer.put(Done(1, 2))


# --- the reader ---


def test_a_half_written_last_line_is_left_out(folder):
    Evidence(folder).run("one", b"x").done().write()
    file = folder / layout.EVENTS
    whole = file.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1]) + 1):
        file.write_bytes(whole[:-cut])
        variant = read_variant(folder)
        assert not variant.complete
        assert variant.step("one").ended is not None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_wherever_the_events_are_cut_the_rest_is_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut") / "experiment"
    Evidence(folder).run("one").run("two").done().write()
    file = folder / layout.EVENTS
    whole = file.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:cut])
    variant = read_variant(folder)
    assert variant.complete is (cut == len(whole))
    events = (variant.hello, *[event for step in variant.steps for event in (step.started, step.ended)])
    assert sum(event is not None for event in events) == min(5, whole[:cut].count(b"\n"))


@pytest.mark.parametrize(
    "line",
    [b"not json", b"{}", b"[]", b'{"kind":"unknown","t_ns":1}', b'{"kind":"done","t_ns":1}', b"", b"\xff",
     b'{"kind":"done","t_ns":1,"wall_ns":2,"more":3}'],
)  # fmt: skip
def test_a_line_that_is_no_event_is_an_error_with_its_place(folder, line):
    Evidence(folder).run("one").write()
    with (folder / layout.EVENTS).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(EvidenceError, match=r"events\.jsonl:4: "):
        read_variant(folder)


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd", "a/../../b", ".x"])
@pytest.mark.parametrize("kind", ["command", "snapshot"])
def test_events_that_were_tampered_with_lead_nowhere(folder, path, kind):
    """The writer has no say in what an event names: the reader looks again."""
    Evidence(folder).run("one").write()
    bad, good = Output(path, 1, 1), Output("outputs/one.stdout", 1, 1)
    results = [CommandResult(0, None, bad, good), CommandResult(0, None, good, bad)]
    for result in results if kind == "command" else [SnapshotResult(path)]:
        with EvidenceWriter(
            folder.parent / f"{kind}{results.index(result) if kind == 'command' else ''}", PLAN
        ) as writer:
            writer.put(StepEnded("one", 1, 2, "ok", None, result))
        with pytest.raises(EvidenceError, match=r"events\.jsonl:1: .*not a path for evidence"):
            read_variant(writer._folder)


def test_events_of_steps_that_are_not_in_the_plan_are_nobodys(folder):
    with EvidenceWriter(folder, PLAN) as writer:
        writer.put(StepStarted("other", 1, 2))
        writer.put(StepEnded("other", 1, 2, "ok"))
    variant = read_variant(folder)
    assert [step.step.id for step in variant.steps] == ["one"]
    assert variant.steps[0].started is None


@pytest.mark.parametrize("missing", [layout.PLAN, layout.EVENTS])
def test_without_its_plan_or_events_a_folder_is_no_variant(folder, missing):
    Evidence(folder).run("one").done().write()
    (folder / missing).unlink()
    with pytest.raises(EvidenceError, match="not a variant's evidence" if missing == layout.PLAN else "no such file"):
        read_variant(folder)
    with pytest.raises(EvidenceError):
        read_variant(folder / "nowhere")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"lab":1}', "{"])
def test_a_plan_that_is_none(folder, text):
    Evidence(folder).write()
    (folder / layout.PLAN).write_text(text)
    with pytest.raises(EvidenceError, match="not a variant's evidence"):
        read_variant(folder)


def test_files_that_never_came_are_missing_and_not_guessed(folder):
    variant = Evidence(folder).run("one", ship=False).snapshot("two", {}, ship=False).run("three").read()
    assert variant.output(variant.step("one").ended.result.stdout) == b""
    assert [variant.snapshot(name) for name in ("two", "three", "four")] == [None, None, None]


def test_files_that_cannot_be_read_are_an_error(folder):
    variant = Evidence(folder).run("one", b"x").piece("snapshots/two.json", b"{").snapshot("two", {}, ship=False).read()
    (folder / "outputs/one.stdout").unlink()
    (folder / "outputs/one.stdout").mkdir()
    with pytest.raises(EvidenceError, match=r"one\.stdout"):
        variant.output(variant.step("one").ended.result.stdout)
    with pytest.raises(EvidenceError, match=r"two\.json"):
        variant.snapshot("two")
    (folder / "snapshots/two.json").unlink()
    (folder / "snapshots/two.json").mkdir()
    with pytest.raises(EvidenceError, match=r"two\.json"):
        variant.snapshot("two")


# --- the run record ---

RECORD = dataclasses.replace(
    run_record([LabEntry("a", "labs/a/lab.yaml", ("experiment", "h"))]),
    invalid=(InvalidLab("b", "labs/b/lab.yaml", ("1:1: no",)),),
)


def test_the_run_record_comes_back(tmp_path):
    write_run(tmp_path, RECORD)
    assert read_run(tmp_path) == RECORD
    assert (tmp_path / layout.RUN).read_bytes().endswith(b"}\n")


def test_a_folder_without_a_record_is_no_run(tmp_path):
    with pytest.raises(EvidenceError, match=r"not a run directory \(no run\.json in it\)"):
        read_run(tmp_path)
    with pytest.raises(EvidenceError, match="not a run directory"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": "x"}', "\xff"])
def test_a_record_that_is_none(tmp_path, text):
    (tmp_path / layout.RUN).write_bytes(text.encode("latin-1"))
    with pytest.raises(EvidenceError, match=r"run\.json: "):
        read_run(tmp_path)


def test_a_record_that_cannot_be_read(tmp_path):
    (tmp_path / layout.RUN).mkdir()
    with pytest.raises(EvidenceError, match=r"run\.json: "):
        read_run(tmp_path)


def test_run_ids_sort_by_time_in_utc_and_differ_in_one_second():
    now = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    ids = {new_run_id(now) for _ in range(20)}
    assert len(ids) > 1
    assert all(name.startswith("20260921-141320-") for name in ids)
    east = now.astimezone(timezone(timedelta(hours=9)))
    assert new_run_id(east)[:15] == "20260921-141320"
    assert max(ids) < new_run_id(now + timedelta(seconds=1))


# --- latest ---


def test_latest_points_at_the_newest_run(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point_latest(tmp_path / name)
        assert (tmp_path / "latest").is_symlink()
        assert (tmp_path / "latest").resolve() == tmp_path / name
    assert (tmp_path / "latest").readlink().name == "two"  # relative: reports may be moved
    assert {file.name for file in tmp_path.iterdir()} == {"one", "two", "latest"}


def test_a_folder_named_latest_is_left_alone(tmp_path):
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").touch()
    (tmp_path / "one").mkdir()
    with pytest.raises(OSError):
        point_latest(tmp_path / "one")
    assert {file.name for file in tmp_path.iterdir()} == {"one", "latest"}


def test_a_run_is_found_by_its_path_its_id_and_latest(tmp_path):
    run = tmp_path / "reports" / "one"
    run.mkdir(parents=True)
    point_latest(run)
    assert resolve_run(run, tmp_path) == run
    assert resolve_run(tmp_path / "reports/latest", tmp_path) == run
    assert resolve_run(run.relative_to(tmp_path / "reports"), tmp_path / "reports") == run
