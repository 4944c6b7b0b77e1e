"""What a line for the shell reports beside its exit status, with a real bash; and that the line itself stays as it was."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from labrun.agent.emitter import Emitter, NoRoom, as_no_room
from labrun.agent.main import fault_of
from labrun.agent.processes import ENVIRONMENT, Process
from labrun.agent.shell import Told
from labrun.protocol.events import FailedInside


def start(argv: tuple[str, ...], environment: dict[str, str], files: dict[int, int]) -> int:
    """Here, instead of in a node."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in files.items()]
    return os.posix_spawnp(argv[0], argv, environment, file_actions=actions, setsid=True, setsigdef=(signal.SIGPIPE,))


def ran(line: str, folder: Path, shell: bool = True) -> tuple[Process, str, str]:
    out, err = folder / "out", folder / "err"
    process = Process(("bash", "-c", line), None, ("out", out), ("err", err), 1 << 20, start, shell=shell)
    assert process.wait(10)
    return process, out.read_text(), err.read_text()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("true", Told((0,), ())),
        ("false | true", Told((1, 0), ())),
        ("true | false | (exit 7)", Told((0, 1, 7), ())),
        ("false; true | grep x", Told((0, 1), (), (FailedInside((1,), "false"),))),
        (
            "false; true; (exit 3); echo x",
            Told((0,), (), (FailedInside((1,), "false"), FailedInside((3,), "( exit 3 )"))),
        ),
        ("false || true; false && true; if false; then :; fi; ! true; true", Told((0,), ())),
        ("false; false", Told((1,), (), (FailedInside((1,), "false"),))),
        ("grep -c nosuch  /etc/passwd\necho x", Told((0,), (), (FailedInside((1,), "grep -c nosuch /etc/passwd"),))),
        ("nosuchtool -L 2>/dev/null | grep -c tcp", Told((127, 1), ("nosuchtool",))),
        ("if nosuchtool 2>/dev/null; then echo yes; else echo no; fi", Told((0,), ("nosuchtool",))),
        ("x=$(nosuchtool 2>&1 | wc -l); echo $x", Told((0,), ("nosuchtool",))),
        ("yes | head -1", Told((141, 0), ())),
        ("exec true", Told(None, ())),
        ("false; exec true", Told(None, (), (FailedInside((1,), "false"),))),
        ("trap : EXIT; false", Told(None, (), (FailedInside((1,), "false"),))),
        ("kill -9 $$", Told(None, ())),
        ("exit 3", Told((3,), ())),
        ("set -e; false; true", Told((1,), ())),
    ],
)
def test_what_is_reported(line: str, told: Told, tmp_path: Path) -> None:
    process, _, _ = ran(line, tmp_path)
    found = process.told()
    assert found is not None
    # With an EXIT status of its own bash has one part: that of `exit`.
    failed = tuple(each for each in found.failed if each.parts != (127,))
    assert (found.parts, found.missing, failed) == (told.parts, told.missing, told.failed) or line == "exit 3"


@pytest.mark.parametrize(
    ("line", "inside"),
    [
        ("true; grep -q x /dev/null || true; if false; then :; fi", []),
        ("false", []),
        ("(false)", []),
        ("f() { false; }; f", []),
        ("x=$(cat /nosuch)", []),
        ("cat /nosuch | grep -q x", []),
        ("false; true", [((1,), "false")]),
        ("false && true; (exit 3); true", [((3,), "( exit 3 )")]),
        ("f() { cat /nosuch; true; }; f", [((1,), "cat /nosuch")]),
        ("for i in 1 2 3; do false; done; true", [((1,), "false")]),
        ("echo $(cat /nosuch)", [((1,), "cat /nosuch")]),
        ("test -z $(cat /nosuch)", [((1,), "cat /nosuch")]),
        ("diff <(cat /nosuch) /dev/null", [((1,), "cat /nosuch")]),
        ("x=$(cat /nosuch); true", [((1,), "cat /nosuch"), ((1,), "x=$(cat /nosuch)")]),
        ("wc -l < /nosuch; true", [((1,), "wc -l < /nosuch")]),
        ("(cat /nosuch; true) | grep -c x; true", [((1,), "cat /nosuch"), ((0, 1), "grep -c x")]),
        ("if cat /nosuch | grep -q x; then echo yes; else echo no; fi", [((1, 1), None)]),
        ("grep x /nosuch || echo 0", [((2,), None)]),
        ("for ((i = 0; i < 4000; i++)); do test -e /nosuch; done; (exit 9); true", "( exit 9 )"),
    ],
)
def test_what_failed_inside_a_line_is_reported(line: str, inside: list[object] | str, tmp_path: Path) -> None:
    process, _, _ = ran(line, tmp_path)
    told = process.told()
    assert told is not None
    found = [(failed.parts, failed.command) for failed in told.failed if not failed.background]
    assert inside in [command for _, command in found] if isinstance(inside, str) else set(found) == set(inside)


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        ("false & wait", [1]),
        ("false & wait; echo none", [1]),
        ("false & sleep 0.1; echo none", [1]),
        ("false & true & wait; echo $!", [1]),
        ("true & false & wait $!", [1]),
        ("cat /nosuch & sleep 0.2 & wait $!; echo x", [1]),
        ("cat /nosuch | wc -l & wait; echo x", []),
        ("{ false; true; } & wait; true", []),
        ("(cat /nosuch & wait); echo x", [1]),
        ("(cat /nosuch & sleep 0.1); echo x", [1]),
        ("f() { cat /nosuch & }; f; wait; echo x", [1]),
        ("for i in 1 2; do cat /nosuch$i & done; wait; echo x", [1]),
        ("set -u; true & wait; echo x", []),
        ("sleep 9 & kill $!; wait; echo x", []),
        ("sleep 9 & kill -9 $!; wait $!; echo $?", []),
        ("timeout 0.1 sleep 9 & wait; echo x", [124]),
        ("false & wait -n || echo $?", []),
        ("sleep 0.1 & false & wait -n; echo $?", []),
    ],
)
def test_commands_in_the_background_that_failed_are_reported(line: str, statuses: list[int], tmp_path: Path) -> None:
    process, out, err = ran(line, tmp_path)
    told = process.told()
    assert told is not None
    assert [failed.parts[0] for failed in told.failed if failed.background] == statuses
    plain = subprocess.run(["bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True)
    assert (out, sorted(err), process.status) == (plain.stdout, sorted(plain.stderr), (plain.returncode, None)) or (
        "$!" in line
    )


@pytest.mark.parametrize(
    "line",
    [
        "echo $0 $# $LINENO ${-//[ET]}; set -o | grep -v trace", "nosuchtool", "nosuchtool 2>&1 | cat", "false | true", "exit 7",
        "echo a\necho b >&2\nfalse", "trap 'echo bye' EXIT; exit 2", "set -e; false; echo no", "cat <<X\n$HOME\nX",
        "echo ${BASH_ENV-none}; env | grep -c BASH", "type -t command_not_found_handle >/dev/null; echo", "wait; jobs",
        "bash -c nosuchtool", "ls /proc/self/fd | wc -l", "kill -TERM $$",
        "false; echo $? ${PIPESTATUS[*]}", "false | true | false; echo ${PIPESTATUS[*]} $?", "f() { false; echo $?; }; f",
        "(exit 3); x=$?; (exit 2) || echo $? $x", "trap 'echo err $?' ERR; false; true", "set -e; f() { false; }; f || echo",
        "x=$(false; echo $?); echo $x", "false & wait $!; echo $?", "echo a; echo $_",
    ],
)  # fmt: skip
def test_the_line_does_what_it_does_without_a_report(line: str, tmp_path: Path) -> None:
    process, out, err = ran(line, tmp_path)
    plain = subprocess.run(
        ["bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    code, signal = process.status
    assert (out, err) == (plain.stdout, plain.stderr) or line.startswith("ls /proc")
    assert code == plain.returncode or (signal == "SIGTERM" and plain.returncode == -15)


def test_what_a_line_leaves_running_has_a_name(tmp_path: Path) -> None:
    process, _, _ = ran("sleep 30 >/dev/null 2>&1 & setsid sleep 31 >/dev/null 2>&1 &", tmp_path)
    try:
        assert len(process.left(set())) >= 2  # and whatever else this machine started meanwhile
    finally:
        process.stop("KILL", 1.0)
        subprocess.run(["pkill", "-x", "-f", "sleep 31"], check=False)


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("echo a", False),
        ("sleep 5 >/dev/null 2>&1 &", False),
        ("sleep 0.1 && echo late & echo a", True),
        ("sleep 5 & echo a", True),
        ("sleep 5 2>&1 >/dev/null &", True),
    ],
)
def test_who_may_still_write_is_known(line: str, held: bool, tmp_path: Path) -> None:
    process, _, _ = ran(line, tmp_path)
    try:
        deadline = time.monotonic() + 5
        while process.holders() and not held and time.monotonic() < deadline:
            time.sleep(0.01)  # until the child has let go of what it inherited
        assert bool(process.holders()) is held
    finally:
        process.stop("KILL", 1.0)


def test_a_program_that_is_no_line_for_the_shell_reports_nothing(tmp_path: Path) -> None:
    assert ran("false | true", tmp_path, shell=False)[0].told() is None


def left_of_a_line(line: str, folder: Path) -> set[str]:
    """What it left, of programs that nobody else has: `dozer` sleeps, `deaf` is a shell."""
    for name, program in (("dozer", "sleep"), ("deaf", "dash")):
        shutil.copy(f"/usr/bin/{program}", folder / name)
    process, _, _ = ran(f"PATH={folder}:$PATH; {line}", folder)
    try:
        return {"dozer", "deaf"} & set(process.left(set()))
    finally:
        process.stop("KILL", 0)


def test_what_a_line_killed_is_not_left_running(tmp_path: Path) -> None:
    assert not left_of_a_line("for i in 1 2 3 4; do dozer 60 & done; sleep 0.1; kill %1 %2 %3 %4; echo none", tmp_path)


def test_what_does_not_end_by_its_signal_is_left_running(tmp_path: Path) -> None:
    line = "deaf -c 'trap : TERM; dozer 60' >&- 2>&- & sleep 0.2; kill $!"
    assert left_of_a_line(line, tmp_path) == {"dozer", "deaf"}


@pytest.mark.parametrize("line", ["echo x; sleep 60", "echo x", "head -c 3000000 /dev/zero"])
def test_output_that_cannot_be_kept_is_told_at_once_and_stops_no_command(line: str, tmp_path: Path) -> None:
    """/dev/full is a disk without room."""
    process = Process(("bash", "-c", line), None, ("out", Path("/dev/full")), ("err", tmp_path / "err"), 1 << 30, start)
    with pytest.raises(OSError, match="No space left") as raised:
        process.wait(30)
    full = as_no_room(raised.value, tmp_path)
    assert full is not None and "the sandbox is full" in str(full)
    process.stop("TERM", 5.0)
    assert process.ended
    out, _ = process.outputs()
    assert out.kept == 0 < out.size
    with pytest.raises(OSError, match="No space left"):
        process.wait_output("nosuch", 1.0)


def test_a_full_sandbox_is_no_defect(tmp_path: Path) -> None:
    emitter = Emitter(1, tmp_path)
    for error in (OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), NoRoom("the sandbox is full")):
        fault = fault_of(emitter, error)
        assert fault.code == "evidence-full" and fault.message.startswith("the sandbox is full")
    assert fault_of(emitter, OSError(errno.EIO, "x")).code == "agent-crashed"
