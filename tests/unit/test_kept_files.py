"""The files beside a lab travel with its run: into a finding, and back to where the lab runs again."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

import pytest
from labrun.cli.again import labs_of_run
from labrun.conduct import begin, entry_of
from labrun.evidence import kept, layout
from labrun.evidence.files import EvidenceError
from labrun.evidence.kept import keep_files, lay_out
from labrun.evidence.lab import lab_json, stored
from labrun.finding.bundle import bundle
from labrun.finding.verify import verify
from labrun.lab.compile import CompiledLab, compile_lab
from labrun.lab.load import load_cells, load_lab
from labrun.lab.problems import LabError
from labrun.protocol.plan import LabFile
from support.labs import carried_out
from support.recorded import run_record

LAB = """\
title: t
question: q
include: net.yaml
steps: [{id: a, run: ./tool, in: host}]
hypotheses: [{id: h, claim: c, predict: {command: a, exit: 0}, control: {none: It has no cause.}}]
"""


@pytest.fixture
def lab(tmp_path: Path) -> CompiledLab:
    folder = tmp_path / "labs" / "mine"
    (folder / "sub" / "none").mkdir(parents=True)
    (folder / "lab.yaml").write_text(LAB)
    (folder / "net.yaml").write_text("topology: {nodes: {host: {}}}\n")
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    (folder / "sub" / "link").symlink_to("../tool")
    return compile_lab(load_lab(folder))


@pytest.fixture
def run(tmp_path: Path, lab: CompiledLab) -> Path:
    run = tmp_path / "run"
    begin(run, run_record([entry_of(lab)]))
    folder = layout.lab_folder(run, "mine")
    folder.mkdir(parents=True)
    (folder / layout.LAB).write_text(lab.lab.text)
    (folder / layout.COMPILED).write_text(lab_json(stored(lab)))
    keep_files(folder, lab.lab.files.entries, lab.lab.files.contents)
    for plan in lab.plans:
        carried_out(run, plan)
    return run


def test_a_finding_has_them_and_the_lab_runs_again_from_it(run: Path, lab: CompiledLab, tmp_path: Path) -> None:
    bundle(run, tmp_path / "finding.zip")
    assert verify(tmp_path / "finding.zip", tmp_path / "into").word == "verified"
    assert (tmp_path / "into/labs/mine/lab.files/tool").read_text() == "#!/bin/sh\n"
    with ExitStack() as stack:
        (named,) = labs_of_run(tmp_path / "into", stack)
        (again,) = load_cells(named.file, named)
        assert compile_lab(again).experiment.digest == lab.experiment.digest
        assert again.files.contents == lab.lab.files.contents
        assert named.kept is not None and named.kept.folder is not None and named.kept.folder.is_dir()
    assert not named.kept.folder.exists()


@pytest.mark.parametrize("change", ["#!/bin/sh\nevil\n", None])
def test_a_file_that_is_not_what_ran_makes_no_finding(change: str | None, run: Path, tmp_path: Path) -> None:
    file = run / "labs/mine/lab.files/tool"
    file.unlink() if change is None else file.write_text(change)
    with pytest.raises(EvidenceError, match=r"lab\.files/tool"):
        bundle(run, tmp_path / "no.zip")
    with ExitStack() as stack, pytest.raises(EvidenceError, match=r"lab\.files/tool"):
        labs_of_run(run, stack)


def test_a_file_that_was_too_large_is_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_FILE", 12)
    (run / "labs/mine/lab.files/net.yaml").unlink()
    bundle(run, tmp_path / "finding.zip")
    assert verify(tmp_path / "finding.zip", tmp_path / "into").word == "verified"
    with ExitStack() as stack, pytest.raises(EvidenceError, match=r"'net\.yaml' was too large to be kept"):
        labs_of_run(run, stack)


def test_what_no_run_kept_is_not_taken_from_here(
    run: Path, lab: CompiledLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab of a stranger's page, say: files that happen to lie here under its name are not its own."""
    monkeypatch.chdir(tmp_path)  # where labs/mine is
    from labrun.cli.again import _named

    with pytest.raises(LabError, match=r"the run kept no file 'net\.yaml'"):
        load_cells(Path("labs/mine/lab.yaml"), _named("labs/mine/lab.yaml", LAB, {}, ()))
    text = LAB.replace("include: net.yaml", "topology: {nodes: {host: {}}}")
    (found,) = load_cells(Path("labs/mine/lab.yaml"), _named("labs/mine/lab.yaml", text, {}, ()))
    assert found.files.entries == ()


DATA = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "files",
    [
        (LabFile("../x", DATA, 1),),
        (LabFile("/x", DATA, 1),),
        (LabFile("a//b", DATA, 1),),
        (LabFile("../x", target="y"),),
        (LabFile("../d"),),
        (LabFile("a", target="/etc"), LabFile("a/b", target="c")),
        (LabFile("a", target="/etc"), LabFile("a/b")),
        (LabFile("a\0", target="x"),),
    ],
)
def test_no_name_leads_out_of_the_folder(files: tuple[LabFile, ...], tmp_path: Path) -> None:
    run, into = tmp_path / "run", tmp_path / "a" / "into"
    (run / "labs/s/lab.files").mkdir(parents=True)
    (run / "labs/s/lab.files/b").write_bytes(b"x")
    into.mkdir(parents=True)
    with pytest.raises(EvidenceError):
        lay_out(run, "s", files, into)
    assert [path for path in (tmp_path / "a").rglob("*") if not path.is_relative_to(into)] == []
