"""When a run starts another sandbox: one for each processor always, more where the machine is idle and has memory."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.evidence.durations import FILE, keep_durations, read_durations
from labrun.pace import LOOK_S, MOST, ByPressure, Fixed, Machine, is_idle, longest_first, look_at_machine

GIB = 1024**3
IDLE = Machine(waited_us=0, runnable=1, free_bytes=8 * GIB)


@pytest.mark.parametrize(
    ("now", "idle"),
    [
        (replace(IDLE, waited_us=0), True),
        (replace(IDLE, waited_us=599_999), True),
        (replace(IDLE, waited_us=600_000), False),
        (replace(IDLE, waited_us=0, runnable=99), True),  # what the kernel counts says more than one moment
        (replace(IDLE, waited_us=None, runnable=2), True),
        (replace(IDLE, waited_us=None, runnable=3), False),
        (replace(IDLE, waited_us=None, runnable=None), False),
        (replace(IDLE, free_bytes=GIB), True),
        (replace(IDLE, free_bytes=GIB - 1), False),
        (replace(IDLE, free_bytes=None), False),
    ],
)
def test_idle_is_what_is_known_to_be_idle(now, idle):
    assert is_idle(IDLE, now, 1.0, cores=2) is idle


class Stage:
    """A machine that says what it is told, and a clock that goes when it is told."""

    def __init__(self, cores):
        self.now = 0.0
        self.machine = IDLE
        self.pace = ByPressure(cores, lambda: self.machine, lambda: self.now)

    def after_a_look(self, machine, running):
        """How many are started until the pace says no."""
        self.now += 1.01 * LOOK_S
        self.machine = machine
        started = 0
        while self.pace.another(running + started):
            started += 1
        return started


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_one_for_each_processor_however_busy_the_machine_is(cores):
    stage = Stage(cores)
    assert stage.after_a_look(replace(IDLE, waited_us=10**9, free_bytes=0), running=0) == cores


@pytest.mark.parametrize(("cores", "more"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_after_each_look_that_finds_it_idle_half_as_many_more(cores, more):
    stage = Stage(cores)
    assert stage.after_a_look(IDLE, running=cores) == more
    assert stage.pace.another(cores + more) is False, "before the next look nothing is known of those"
    assert stage.after_a_look(IDLE, running=cores + more) == more
    assert stage.after_a_look(replace(IDLE, waited_us=10**6), running=cores + more) == 0
    assert stage.after_a_look(replace(IDLE, waited_us=10**6), running=cores + more) == more, (
        "it waited before, not since"
    )


@pytest.mark.parametrize(("starting", "more"), [(0, True), (1, True), (2, False), (9, False)])
def test_those_that_start_are_waited_for(starting, more):
    stage = Stage(2)
    stage.now += LOOK_S * 1.01
    assert stage.pace.another(10, starting) is more
    assert stage.pace.another(1, starting) is True, "one for each processor in any case"


def test_never_more_than_most():
    assert Stage(2).after_a_look(IDLE, running=MOST) == 0
    assert Stage(200).after_a_look(IDLE, running=0) <= MOST


@given(st.integers(1, 100), st.integers(0, 200))
def test_a_number_that_was_given_is_the_number(jobs, running):
    assert Fixed(jobs).another(running) is (running < jobs)
    assert Fixed(jobs).most == jobs


# --- a machine of which we know everything ---


def _run(jobs, cores, counts_waiting):
    """Seconds until all jobs are done. A job is a list of ["compute" or "wait", seconds]; processors are shared."""
    now = waited = 0.0
    runnable = 0
    step = 0.004
    pace = ByPressure(
        cores, lambda: Machine(int(waited * 1e6) if counts_waiting else None, runnable, 8 * GIB), lambda: now
    )
    queue = [[list(part) for part in job] for job in jobs]
    running: list[list[list[object]]] = []
    while queue or running:
        while queue and pace.another(len(running)):
            running.append(queue.pop(0))
        runnable = sum(job[0][0] == "compute" for job in running)
        waited += step if runnable > cores else 0
        for job in running:
            job[0][1] -= step * (min(1.0, cores / runnable) if job[0][0] == "compute" else 1)
            if job[0][1] <= 0:
                del job[0]
        running = [job for job in running if job]
        now += step
    return now


def _job(rnd, compute, waits):
    """Half of it at the start; then the steps, each with a short wait; some with a long one."""
    parts = [["compute", compute / 2]]
    for number in range(12):
        parts += [["compute", compute / 24], ["wait", rnd.uniform(0.005, 0.03)]]
        parts += [["wait", waits[number]]] if number < len(waits) else []
    return parts


@pytest.mark.parametrize("counts_waiting", [True, False])
@pytest.mark.parametrize("cores", [1, 2, 4, 8])
def test_labs_that_wait_end_soon_after_the_longest_of_them_or_after_what_they_compute(cores, counts_waiting):
    """The shape of the labs that ship: of 35 sandboxes a third wait."""
    rnd = random.Random(3)
    long = [[1.0]] * 5 + [[1.0, 1.0]] + [[0.5] * 4] * 2 + [[0.5] * 3] + [[0.5] * 2] * 4 + [[0.5]] + [[]] * 22
    jobs = [_job(rnd, rnd.uniform(0.25, 0.45), each) for each in long]
    compute = sum(seconds for job in jobs for kind, seconds in job if kind == "compute")
    longest = max(sum(seconds for _, seconds in job) for job in jobs)
    assert _run(jobs, cores, counts_waiting) <= 1.25 * max(longest, compute / cores)


def test_on_a_machine_that_is_busy_with_other_things_there_are_as_many_as_processors():
    stage = Stage(2)
    for look in range(1, 20):
        assert stage.after_a_look(replace(IDLE, waited_us=look * 50_000), running=2) == 0


# --- what the machine says ---


def _machine(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return look_at_machine(root)


MEMORY = {"proc/meminfo": "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\nHugePages_Total:       0\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Machine(None, None, None)),
        ({"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=71\nfull avg10=0.00 total=9\n"}, Machine(71, None, None)),
        ({"proc/pressure/cpu": "", "proc/loadavg": "0.20 0.18 0.12 3/80 11206\n"}, Machine(None, 2, None)),
        ({"proc/pressure/cpu": "some\n", "proc/loadavg": "0.20\n"}, Machine(None, None, None)),
        (MEMORY, Machine(None, None, 4 * GIB)),
        (  # v2: the tightest of our own cgroup and those that it is in
            MEMORY | {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "5\n",
                      "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "900\n", "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 50\n"},
            Machine(None, None, 150),
        ),
        (  # v1, in a container: the path is the host's, the files are at the top
            MEMORY | {"proc/self/cgroup": "3:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
                      "sys/fs/cgroup/memory/memory.usage_in_bytes": "900\n", "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 60\n"},
            Machine(None, None, 160),
        ),
        (MEMORY | {"proc/self/cgroup": "0::/../../a\n"}, Machine(None, None, 4 * GIB)),
    ],
)  # fmt: skip
def test_what_the_machine_says(tmp_path, files, expected):
    assert _machine(tmp_path, files) == expected


def test_this_machine_says_something():
    seen = look_at_machine()
    assert seen.runnable is not None and seen.runnable >= 0
    assert seen.free_bytes is not None and seen.free_bytes > 0


# --- longest first ---


def test_the_longest_come_first_and_before_them_what_nobody_knows():
    assert longest_first(["a", "new", "b", "c", "other"], {"a": 0.5, "b": 2.0, "c": 0.5}) == [1, 4, 2, 0, 3]
    assert longest_first(["b", "a"], {}) == [0, 1]


def test_durations_are_kept_beside_the_runs(tmp_path):
    assert read_durations(tmp_path) == {}
    keep_durations(tmp_path, {"a/experiment": 1.23456, "b/experiment": 2})
    keep_durations(tmp_path, {"b/experiment": 0.5, "c/x": 0.0})
    assert read_durations(tmp_path) == {"a/experiment": 1.235, "b/experiment": 0.5, "c/x": 0.0}
    keep_durations(tmp_path, {})
    assert len(read_durations(tmp_path)) == 3


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", {}), ("[]", {}), ("3", {}), ("[" * 100_000, {}), ("\0", {}), ('{"a": 1', {}),
        ('{"a": 1, "b": "2", "c": -1, "d": NaN, "e": Infinity, "f": true, "g": null, "h": 1e999}', {"a": 1.0}),
    ],
)  # fmt: skip
def test_durations_that_make_no_sense_are_not_known(tmp_path, text, known):
    (tmp_path / FILE).write_text(text)
    assert read_durations(tmp_path) == known
    keep_durations(tmp_path, {"x": 1.0})
    assert read_durations(tmp_path) == known | {"x": 1.0}
