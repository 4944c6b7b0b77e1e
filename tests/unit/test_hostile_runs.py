"""Run directories from a stranger: whatever is in them, judge and report say it in words.

Never a file outside, never a hang, never a defect of ours, and no more memory than a bound. Each kind is done
to a sound run, which is then judged and reported by the command itself in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import tarfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from labrun.cli.app import main

DATA = Path(__file__).parents[1] / "data"
LAB = "labs/own-address"
VARIANT = f"{LAB}/experiment"
SECRET = "the-private-words-of-the-reader"
OUTPUT = f"{VARIANT}/outputs/probe.stdout"
CAPTURE = f"{VARIANT}/captures/seen.pcapng"
MEMORY_MB = 700
SECONDS = 60

Harm = Callable[[Path, Path], None]
"""(run, secret file outside of it)"""


def link(path: str) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        (run / path).unlink(missing_ok=True)
        (run / path).symlink_to(secret)

    return harm


def relative(path: str) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        (run / path).unlink()
        (run / path).symlink_to(os.path.relpath(secret, (run / path).parent))

    return harm


def folder_link(path: str) -> Harm:
    """The folder itself is somewhere else, with the same files and the secret in each."""

    def harm(run: Path, secret: Path) -> None:
        elsewhere = secret.parent / "elsewhere"
        (run / path).rename(elsewhere)
        for file in elsewhere.rglob("*.stdout"):
            file.write_text(SECRET)
        (run / path).symlink_to(elsewhere)

    return harm


def fifo(path: str) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        (run / path).unlink(missing_ok=True)
        os.mkfifo(run / path)

    return harm


def unix_socket(run: Path, secret: Path) -> None:
    (run / OUTPUT).unlink()
    here = Path.cwd()
    os.chdir((run / OUTPUT).parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("probe.stdout")
    finally:
        os.chdir(here)


def directory(path: str) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        (run / path).unlink(missing_ok=True)
        (run / path).mkdir()

    return harm


def zero(path: str) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        (run / path).unlink(missing_ok=True)
        (run / path).symlink_to("/dev/zero")

    return harm


def sparse(path: str) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        with (run / path).open("ab") as file:
            file.truncate(20 * 1024**3)

    return harm


def record(**changes: object) -> Harm:
    """Of run.json: of the record itself, or of its first lab."""

    def harm(run: Path, secret: Path) -> None:
        kept = json.loads((run / "run.json").read_text())
        for name, value in changes.items():
            of = kept["labs"][0] if name in kept["labs"][0] else kept
            of[name] = value
        (run / "run.json").write_text(json.dumps(kept))

    return harm


def text(path: str, content: str | bytes) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        (run / path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return harm


def events(change: Callable[[list[dict[str, object]], Path], object]) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        file = run / VARIANT / "events.jsonl"
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        change(kept, secret)
        file.write_text("".join(json.dumps(event) + "\n" for event in kept))

    return harm


def _first(kept: list[dict[str, object]], **wanted: object) -> dict[str, object]:
    return next(event for event in kept if all(event.get(key) == value for key, value in wanted.items()))


def output_at(path: str) -> Harm:
    def change(kept: list[dict[str, object]], secret: Path) -> None:
        result = _first(kept, kind="step-ended", step="probe")["result"]
        result["stdout"]["path"] = path if path != "SECRET" else str(secret)  # type: ignore[index]

    return events(change)


def plan(change: Callable[[dict[str, object], Path], object]) -> Harm:
    def harm(run: Path, secret: Path) -> None:
        file = run / VARIANT / "plan.json"
        kept = json.loads(file.read_text())
        change(kept, secret)
        file.write_text(json.dumps(kept))

    return harm


def step_id(name: str) -> Harm:
    return plan(lambda kept, secret: kept["steps"][-1].update(id=name))  # type: ignore[index,attr-defined]


def many_events(run: Path, secret: Path) -> None:
    file = run / VARIANT / "events.jsonl"
    line = file.read_bytes().splitlines()[1] + b"\n"
    with file.open("ab") as out:
        for _ in range(153):
            out.write(line * (1_000_000 // len(line)))


def many_files(run: Path, secret: Path) -> None:
    for number in range(20_000):
        (run / VARIANT / "outputs" / f"x{number}").touch()


def swapped(run: Path, secret: Path) -> None:
    control, third = run / LAB / "goes-through-lo", run / LAB / "third"
    (run / VARIANT).rename(third)
    control.rename(run / VARIANT)
    third.rename(control)


def deep_json(run: Path, secret: Path) -> None:
    (run / "run.json").write_text("[" * 1_000_000)


KINDS: dict[str, Harm] = {
    **{f"a link in the place of {path}": link(path) for path in (
        "run.json", f"{LAB}/lab.yaml", f"{LAB}/lab.json", f"{VARIANT}/plan.json", f"{VARIANT}/events.jsonl",
        f"{VARIANT}/seal.json", OUTPUT, CAPTURE)},
    "a link that is relative": relative(OUTPUT),
    **{f"a link in the place of the folder {path}": folder_link(path) for path in (
        f"{VARIANT}/outputs", f"{VARIANT}/captures", VARIANT, LAB, "labs")},
    **{f"a pipe in the place of {path}": fifo(path) for path in (
        "run.json", f"{LAB}/lab.yaml", f"{LAB}/lab.json", f"{VARIANT}/plan.json", f"{VARIANT}/events.jsonl",
        f"{VARIANT}/seal.json", OUTPUT, CAPTURE)},
    **{f"a folder in the place of {path}": directory(path) for path in (
        "run.json", f"{LAB}/lab.yaml", f"{LAB}/lab.json", f"{VARIANT}/events.jsonl", OUTPUT, CAPTURE)},
    **{f"/dev/zero in the place of {path}": zero(path) for path in (
        "run.json", f"{LAB}/lab.yaml", f"{VARIANT}/events.jsonl", OUTPUT, CAPTURE)},
    **{f"20 GB without anything at the end of {path}": sparse(path) for path in (
        "run.json", f"{LAB}/lab.yaml", f"{LAB}/lab.json", f"{VARIANT}/plan.json", f"{VARIANT}/events.jsonl",
        f"{VARIANT}/seal.json", OUTPUT, CAPTURE)},
    "a socket in the place of an output": unix_socket,
    **{f"results in the place of a link: {name}": link(name) for name in ("results.json", "index.html", "index.md",
                                                                          "junit.xml")},
    **{f"a pipe where {name} will be": fifo(name) for name in ("results.json", "index.html")},
    **{f"a slug {slug!r}": record(slug=slug) for slug in (
        "../../outside", "/etc", "..", ".", "", "a/b", "a\0b", "x" * 300)},
    **{f"a variant {name!r}": record(variants=[name]) for name in ("../../../outside", "/etc", "..", "", "a\0b")},
    **{f"{count} repeats": record(repeats=count) for count in (1_000_000_000, -5, 0, 1 << 70)},
    "repeats that are text": record(repeats="many"),
    "more variants than anybody runs": record(variants=[f"v{number}" for number in range(200_000)]),
    "labs that are no list": record(labs={}),
    "a record of a later labrun": record(schema="9"),
    "a record that is too deep": deep_json,
    "no record": lambda run, secret: (run / "run.json").unlink(),
    **{f"an output at {path!r}": output_at(path) for path in (
        "../../../../secret", "SECRET", "outputs/../../x", "plan.json", "outputs", ".", "outputs//x", "")},
    **{f"a step named {name!r}": step_id(name) for name in ("../../../secret", "/etc/passwd", "a/../../b", "", "a\0")},
    "events of 153 MB": many_events,
    "20,000 empty files": many_files,
    "a line of events without an end": text(f"{VARIANT}/events.jsonl", b'{"kind":"' + b"x" * 10_000_000),
    "events that are no JSON": text(f"{VARIANT}/events.jsonl", b"\xff\xfe\n\0\n"),
    "numbers beyond all bounds": events(lambda kept, secret: kept[-1].update(t_ns=1 << 200)),
    "an event before time": events(lambda kept, secret: kept[-1].update(t_ns=-1, wall_ns=-1)),
    "a filter that is no program": events(lambda kept, secret: kept[0].update(programs=[
        {"expression": one["expression"], "linktype": one["linktype"], "instructions": [[0xD2, 0, 0, 0]]}
        for one in kept[0]["programs"]])),  # type: ignore[attr-defined]
    "folders that were swapped": swapped,
    "a lab that is a bomb of aliases": text(f"{LAB}/lab.yaml", "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
        for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True))),
    "a lab that is a list": text(f"{LAB}/lab.yaml", "[]"),
    "a compiled lab of nothing": text(f"{LAB}/lab.json", "{}"),
    "a compiled lab that is too deep": text(f"{LAB}/lab.json", '{"format": 1, "a": ' + "[" * 100_000),
    "a seal of files outside": text(f"{VARIANT}/seal.json", json.dumps({"files": {
        f"{VARIANT}/events.jsonl": {"size": 1, "sha256": ""}, "../secret": {"size": 1, "sha256": ""}}})),
    "a seal of nothing": text(f"{VARIANT}/seal.json", "{}"),
    "a plan of nothing": text(f"{VARIANT}/plan.json", "{}"),
    "a capture of random bytes": text(CAPTURE, os.urandom(100_000)),
    "an empty capture": text(CAPTURE, b""),
}  # fmt: skip


def command(*words: str, cwd: Path) -> tuple[int, str]:
    """In a process of its own, which has all its modules already; MEMORY_MB more than it has then, and no more."""
    out = cwd.parent / f"{cwd.name}.out"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + MEMORY_MB * 2**20,) * 2)
            os.chdir(cwd)
            descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            sys.argv = ["labrun", *words]
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + SECONDS
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"{words[0]} did not end within {SECONDS} s")
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(found[1]), out.read_text(errors="replace")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_hostile_run_is_told_in_words(tmp_path: Path, kind: str) -> None:
    with tarfile.open(DATA / "run-of-ff7a1a9.tar.xz") as archive:
        members = [one for one in archive if one.name.startswith(f"run/{LAB}") or one.name == "run/run.json"]
        archive.extractall(tmp_path, members, filter="data")
    run, secret = tmp_path / "run", tmp_path / "secret"
    kept = json.loads((run / "run.json").read_text())
    kept["labs"] = [lab for lab in kept["labs"] if lab["slug"] == "own-address"]
    (run / "run.json").write_text(json.dumps(kept))
    secret.write_text(SECRET)
    KINDS[kind](run, secret)
    code, said = command("report", str(run), "--format", "html,md,junit,ctrf", cwd=tmp_path)  # which judges, too
    assert code in (0, 1, 2, 3), said[-2000:]
    assert "Traceback" not in said and "defect" not in said and "checker-crashed" not in said, said[-2000:]
    assert SECRET not in said
    assert secret.read_text() == SECRET, "nothing is written through a link"
    for name in ("results.json", "index.html", "index.md", "junit.xml", "ctrf.json"):
        written = run / name
        if written.is_file() and not written.is_symlink():
            assert SECRET not in written.read_text(), f"{name} shows a file outside of the run"
    assert {one.name for one in tmp_path.iterdir()} <= {"run", "secret", "elsewhere"}, "nothing is written beside it"
