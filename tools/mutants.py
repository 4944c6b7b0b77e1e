"""How good are the tests of judging? Every mutant of it, each judged by the tests that reach the mutated function.

Judging is what the rooms judge/, observe/, logic/ and packets/ do.

    python tools/mutants.py                  all of these: minutes to an hour, by the machine
    python tools/mutants.py --alive          again those that lived last time, and those of functions that changed
    python tools/mutants.py --show [WORD]    the differences that nothing noticed last time
    python tools/mutants.py WORD...          only mutants whose name has one of the words

mutmut makes the mutants. (Its own way to run them asks for a `src` layout, and collects the tests anew for each, which
takes seconds.) Here one pytest has collected every test file that imports them, and a fork of it runs the tests of
one mutant until one fails: first those that killed others of its function, then the quickest. Where a function ran
while modules were imported, the fork imports these anew.

A mutant is killed by a failing test, a timeout or a crash. Alive are those that pass, and those that no test reaches.
Exit status 1 if more than --limit percent are alive, 2 if the tests fail without any mutant.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import gc
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import mmap
import os
import random
import re
import resource
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hypothesis
import mutmut.mutation.trampoline
import pytest
from mutmut.mutation.file_mutation import mutate_file_contents

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "runner"
KEPT = ROOT / ".mutants"
RESULTS = KEPT / "results.json"
UNFINISHED = KEPT / "unfinished.json"
TESTS = ("tests/unit", "tests/golden")
ROOMS = ("judge", "observe", "logic", "packets")
_ABOUT_JUDGE = re.compile(rf"labrun\.({'|'.join(ROOMS)})|support\.(reasons|traced)")
_FAVOURITES = 6  # tests that are tried first
_EXAMPLES = 25  # of a property, at most: what only more of them would notice is alive
_SLOW_S = 1.0  # tests that take more of the processor's time are left out, and what only they would notice is alive
ORIGINAL = "_mutmut_orig"
KILLED, ALIVE, TIMEOUT, UNREACHED = "killed", "alive", "timeout", "unreached"
MEMORY = 6 << 30


class Active:
    """Which mutant runs in this process, and which functions were called."""

    mutant = ""
    keys: dict[str, str] = {}
    """Every mutant, with the hash of its function."""
    reached: set[str] | None = set()
    at_import: dict[str, list[str]] = {}
    """Functions that ran while modules were imported: which modules, in this order."""


class Mutated:
    """The modules of ROOMS with all their mutants in them: what each is called, and its code."""

    def __init__(self) -> None:
        KEPT.mkdir(exist_ok=True)
        self.code: dict[str, str] = {}
        self.mutants: dict[str, str] = {}
        """Every mutant, with the hash of the function that it is one of."""
        for file in sorted(file for room in ROOMS for file in (SOURCE / "labrun" / room).rglob("*.py")):
            module = ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
            made = self._made(file)
            self.code[module] = made["code"]
            for name in made["names"]:
                self.mutants[f"{module}:{name}"] = made["hashes"].get(function_of(name), "")

    def _made(self, file: Path) -> dict[str, Any]:
        text = file.read_text(encoding="utf-8")
        key = hashlib.sha256(f"{version('mutmut')} {text}".encode()).hexdigest()[:24]
        kept = KEPT / f"{key}.json"
        if not kept.exists():
            made = mutate_file_contents(str(file), text)
            found = {"code": made.code, "names": made.mutant_names, "hashes": dict(made.hash_by_function_name)}
            kept.write_text(json.dumps(found), encoding="utf-8")
        read: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return read

    def difference(self, mutant: str) -> str:
        module, name = mutant.split(":")
        code = self.code[module]
        wanted = {name: "", f"{function_of(name)}_{ORIGINAL}": ""}
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.FunctionDef) and node.name in wanted:
                wanted[node.name] = ast.get_source_segment(code, node) or ""
        new, old = (text.splitlines()[1:] for text in wanted.values())
        lines = list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]
        return "\n".join(f"    {line}" for line in lines)


def function_of(name: str) -> str:
    return name.partition("__mutmut_")[0]


def wrap_in_trampoline(mutants: dict[str, Any], is_classmethod: bool = False) -> Callable[[Any], Any]:
    """In the place of mutmut's, whose way of choosing takes longer than most of the functions here."""

    def decorate(function: Any) -> Any:
        prefix = f"{function.__module__}:"

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            chosen = mutants[ORIGINAL]
            if Active.reached is not None:
                Active.reached.add(prefix + function_of(chosen.__name__))
            if Active.mutant.startswith(prefix):
                chosen = mutants.get(Active.mutant[len(prefix) :], chosen)
            if is_classmethod:
                return getattr(args[0], chosen.__name__)(*args[1:], **kwargs)
            return chosen(*args, **kwargs)

        return call

    return decorate


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the mutated modules, from where the real ones are."""

    def __init__(self, code: dict[str, str]) -> None:
        self._code = code

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self._code:
            return None
        real = importlib.machinery.PathFinder.find_spec(name, path)
        assert real is not None and real.origin is not None
        folders = real.submodule_search_locations
        return importlib.util.spec_from_file_location(
            name, real.origin, loader=self, submodule_search_locations=folders
        )

    def get_source(self, name: str) -> str:
        return self._code[name]

    def is_package(self, name: str) -> bool:
        return False

    def exec_module(self, module: types.ModuleType) -> None:
        outside = Active.reached
        if outside is None:  # it is imported again
            super().exec_module(module)
            return
        Active.reached = set()
        super().exec_module(module)
        for function in Active.reached:
            Active.at_import.setdefault(function, []).append(module.__name__)
        Active.reached = outside


def import_again(names: Sequence[str]) -> None:
    """So that what a module made of the mutated function is made anew, and stands wherever the old one was."""
    for name in names:
        old = dict(vars(sys.modules[name]))
        new = vars(importlib.reload(sys.modules[name]))
        instead = {id(value): new[key] for key, value in old.items() if new.get(key) is not value and key in new}
        for module in list(sys.modules.values()):
            if module.__name__.startswith((*(f"labrun.{room}" for room in ROOMS), "tests.", "unit.", "support.")):
                for key, value in list(vars(module).items()):
                    if id(value) in instead:
                        setattr(module, key, instead[id(value)])


class Failures:
    """Notices the first test that fails."""

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed


class Loop:
    """In the place of pytest's loop over the tests: once without a mutant, and then for each mutant in a fork."""

    def __init__(self, mutants: Sequence[str], jobs: int) -> None:
        self._mutants = tuple(mutants)
        self._jobs = jobs
        self._killers: dict[str, list[int]] = {}
        self.results: dict[str, str] = {}
        self.broken: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        failures = Failures()
        session.config.pluginmanager.register(failures)
        signal.signal(signal.SIGPROF, lambda number, frame: pytest.skip("slow"))  # nobody asks for its end
        for item in session.items:
            _fewer_examples(getattr(item, "function", None))
        runs = [self._alone(item, failures) for item in session.items]
        Active.reached = None
        if self.broken:
            return True
        session.config.pluginmanager.unregister(name="terminalreporter")
        gc.freeze()
        for item in session.items:
            item.repr_failure = lambda excinfo, style=None: ""  # type: ignore[method-assign,misc]  # nobody reads it
        by_function: dict[str, list[int]] = {}
        for number in sorted(range(len(runs)), key=lambda number: runs[number][0]):
            for function in runs[number][1]:
                by_function.setdefault(function, []).append(number)
        called = {name: set(numbers) for name, numbers in by_function.items()}
        every = [number for number in sorted(range(len(runs)), key=lambda n: runs[n][0]) if runs[number][0] < _SLOW_S]
        for function in Active.at_import:  # any test may use what it made; those of its module are tried first
            module = f"{function.split(':')[0]}:"
            near = set().union(*(numbers for name, numbers in called.items() if name.startswith(module)))
            by_function[function] = sorted(every, key=lambda number: number not in near)
        self.results |= {name: UNREACHED for name in self._mutants if function_of(name) not in by_function}
        todo = [name for name in self._mutants if name not in self.results]

        def again(modules: Sequence[str], numbers: Iterable[int], last: Slot) -> int:
            limit_time(60)
            import_again(modules)
            for number in numbers:
                last.write(number)
                limit_time(10 + 10 * runs[number][0])
                session.items[number].config.hook.pytest_runtest_protocol(item=session.items[number], nextitem=None)
                if failures.failed:
                    return 1
            return 0

        def child(mutant: str, killer: Slot) -> int:
            Active.mutant = mutant
            function = function_of(mutant)
            numbers = dict.fromkeys((*self._killers.get(function, ()), *by_function[function]))
            return again(Active.at_import.get(function, ()), numbers, killer)

        def jobs() -> Iterator[Job]:
            for mutant in todo:
                yield mutant, functools.partial(child, mutant)

        killers: dict[tuple[str, ...], set[int]] = {}

        def learn(mutant: str, number: int) -> None:
            function = function_of(mutant)
            killers.setdefault(tuple(Active.at_import.get(function, ())), set()).add(number)
            known = self._killers.setdefault(function, [])
            known[:] = [number, *(other for other in known if other != number)][:_FAVOURITES]

        self.results |= in_forks(jobs(), len(todo), self._jobs, learn)
        # In such a process, and with modules imported again, what killed them passes as long as nothing is changed.
        unchanged = [
            (f"unchanged, imported again: {names}", functools.partial(again, names, sorted(numbers)))
            for names, numbers in killers.items()
        ]
        last: dict[str, int] = {}
        for name, result in in_forks(iter(unchanged), len(unchanged), self._jobs, last.__setitem__).items():
            if result != ALIVE:
                self.broken.append(f"{name}: {session.items[last[name]].nodeid if name in last else result}")
        return True

    def _alone(self, item: pytest.Item, failures: Failures) -> tuple[float, set[str]]:
        Active.reached, failures.failed = set(), False
        start = processor_time()
        signal.setitimer(signal.ITIMER_PROF, 1.5 * _SLOW_S)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if failures.failed:
            self.broken.append(item.nodeid)
        seconds = processor_time() - start
        return seconds, Active.reached if seconds < _SLOW_S else set()


def processor_time() -> float:
    """Of this process and the programs that it ran."""
    return sum(os.times()[:4])


def limit_time(seconds: float) -> None:
    """From now on, of the processor: a busy machine kills no mutant. (What waits for ever, pytest's timeout ends.)"""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, hard))


def _fewer_examples(test: Any) -> None:
    """Where a test asks for more of them. (The attribute is not Hypothesis's interface: without it, all are tried.)"""
    asked = getattr(test, "_hypothesis_internal_use_settings", None)
    if asked is not None:
        fewer = hypothesis.settings(asked, max_examples=min(asked.max_examples, _EXAMPLES))
        test._hypothesis_internal_use_settings = fewer


class Slot:
    """A number that a child leaves behind for its parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def write(self, number: int) -> None:
        self._memory[:] = number.to_bytes(8, "big")

    def read(self) -> int:
        return int.from_bytes(self._memory[:], "big")


Job = tuple[str, Callable[[Slot], int]]


def in_forks(
    jobs: Iterator[Job], total: int, at_once: int, learn: Callable[[str, int], None] = lambda name, number: None
) -> dict[str, str]:
    """Each (name, work) in a process of its own; its result by the exit status of the work.

    ``learn``: told of each that was killed, with the number that its work wrote last.
    """
    results: dict[str, str] = {}
    running: dict[int, tuple[str, Slot]] = {}
    free = [Slot() for _ in range(at_once)]
    shown = 0.0

    def reap() -> None:
        nonlocal shown
        pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        late = code == -signal.SIGXCPU
        name, slot = running.pop(pid)
        results[name] = ALIVE if code == 0 else TIMEOUT if late else KILLED
        if results[name] == KILLED:
            learn(name, slot.read())
        free.append(slot)
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            known = {name: [result, Active.keys[name]] for name, result in results.items() if name in Active.keys}
            UNFINISHED.write_text(json.dumps(known), encoding="utf-8")
            alive = sum(result == ALIVE for result in results.values())
            print(f"{len(results)} of {total}, {alive} alive", file=sys.stderr, flush=True)

    for name, work in jobs:
        while len(running) >= at_once:
            reap()
        slot = free.pop()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            code = 1
            try:
                code = work(slot)
            finally:
                os._exit(code)
        running[pid] = name, slot
    while running:
        reap()
    return results


def judged(mutants: Sequence[str], jobs: int) -> tuple[dict[str, str], list[str]]:
    """Results of these mutants; or the tests that fail without one."""
    loop = Loop(mutants, jobs)
    files = [file for folder in TESTS for file in sorted((ROOT / folder).glob("test_*.py"))]
    chosen = [str(file) for file in files if _ABOUT_JUDGE.search(file.read_text(encoding="utf-8"))]
    options = ["-q", "-p", "no:cacheprovider", "--assert=plain", "--rootdir", str(ROOT)]
    pytest.main([*options, *chosen], plugins=[loop])
    return loop.results, loop.broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only mutants whose name has one of these words")
    parser.add_argument("--alive", action="store_true", help="only what was alive, or has changed since")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, always the same")
    parser.add_argument("--show", action="store_true", help="show what was alive; run nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--limit", type=float, default=5.0, help="percent that may be alive (default: 5)")
    options = parser.parse_args()
    os.chdir(ROOT)
    mutated = Mutated()
    Active.keys = mutated.mutants
    kept: dict[str, list[str]] = {}
    for file in (RESULTS, UNFINISHED):  # the second is there if a run did not come to its end
        kept |= json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if UNFINISHED.exists():
        RESULTS.write_text(json.dumps(kept, indent=0), encoding="utf-8")
        UNFINISHED.unlink()
    kept = {name: kept[name] for name, key in mutated.mutants.items() if name in kept and kept[name][1] == key}
    names = [n for n in mutated.mutants if not options.words or any(word in n for word in options.words)]
    if options.show:
        for name in names:
            if name in kept and kept[name][0] in (ALIVE, UNREACHED):
                print(f"{name}: {kept[name][0]}\n{mutated.difference(name)}")
        return 0
    if options.alive:
        names = [name for name in names if name not in kept or kept[name][0] in (ALIVE, UNREACHED)]
    if options.sample is not None:
        names = random.Random(0).sample(names, min(options.sample, len(names)))
    mutmut.mutation.trampoline.wrap_in_trampoline = wrap_in_trampoline
    sys.meta_path.insert(0, Finder(mutated.code))
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    start = time.monotonic()
    results, broken = judged(names, options.jobs)
    if broken:
        print("these tests fail without any mutant:", *broken, sep="\n  ", file=sys.stderr)
        return 2
    UNFINISHED.unlink(missing_ok=True)
    kept |= {name: [result, mutated.mutants[name]] for name, result in results.items()}
    RESULTS.write_text(json.dumps(kept, indent=0), encoding="utf-8")
    print(f"\n{len(results)} mutants in {time.monotonic() - start:.0f} s")
    left = len(mutated.mutants) - len(kept)
    if left:
        print(f"{left} mutants have not been tried: --alive tries them")
    return told(kept, options.limit)


def told(kept: dict[str, list[str]], limit: float) -> int:
    """One line for each module, and the sum."""
    modules: dict[str, Counter[str]] = {}
    for name, (result, _) in kept.items():
        modules.setdefault(name.split(":")[0].removeprefix("labrun."), Counter())[result] += 1
    whole: Counter[str] = Counter()
    for module, counts in [*sorted(modules.items()), ("all", whole)]:
        alive, total = counts[ALIVE] + counts[UNREACHED], counts.total()
        killed = f"{counts[KILLED]} killed, {counts[TIMEOUT]} by timeout"
        print(f"{module:20} {killed}, {alive} alive ({counts[UNREACHED]} unreached) of {total}: {alive / total:.1%}")
        whole += counts
    return int((whole[ALIVE] + whole[UNREACHED]) * 100 > limit * whole.total())


if __name__ == "__main__":
    sys.exit(main())
