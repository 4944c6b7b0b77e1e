"""What a test program says of its tests: by lines of its text, and by its exit status. Both must agree.

Read are TAP (testanything.org, version 14) with KTAP's nesting, and what the kernel's selftests print instead:
`TEST: name [ OK ]`, `name: PASS`, `FAIL: name`, and an `ok` or `failed` that stands alone under a heading. Exit
statuses are those of tools/testing/selftests/kselftest.h: 0 passed, 1 failed, 2 failed as expected, 4 skipped. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from labrun.observe.unknown import Unknown
from labrun.protocol.record import dataclass

Stream = Literal["stdout", "stderr"]
Outcome = Literal["passed", "failed", "skipped"]
MAX_TESTS = 10_000  # more are no tests, but a log
_WORDS: dict[str, Outcome] = {
    "ok": "passed", "pass": "passed", "passed": "passed",
    "not ok": "failed", "fail": "failed", "failed": "failed", "error": "failed",
    "skip": "skipped", "skipped": "skipped", "xfail": "skipped",
}  # fmt: skip
_WORD = r"ok|pass(?:ed)?|fail(?:ed)?|skip(?:ped)?|xfail"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_POINT = re.compile(r"(\s*)(ok|not ok)(?:\s+(\d+)(?!\S))?(?:\s+(?:-\s+)?(\S.*))?")
_DIRECTIVE = re.compile(r"(.*?)\s*(?<!\\)#\s*(SKIP|TODO|XFAIL)\S*\s*(.*)", re.IGNORECASE)
_PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*(SKIP\S*\s*.*))?", re.IGNORECASE)
_BAIL = re.compile(r"Bail out!\s*(.*)")
_BEHIND = re.compile(rf"\s*(?:TEST:\s*)?(\S.*?)\s*\[\s*({_WORD})\s*\]\s*", re.IGNORECASE)
_AHEAD = re.compile(rf"\s*(?:[A-Z]:\s*)?\[\s*({_WORD})\s*\]\s*(.*)", re.IGNORECASE)
_LABEL = re.compile(r"\s*(PASS|OK|FAIL|SKIP|XFAIL|ERROR)\s*:\s*(\S.*)")
_SAID = re.compile(rf"\s*(\S.*?)\s*(?::|\.\.+)\s*({_WORD.upper()}|ok|passed|failed|skipped)\s*")
_ALONE = re.compile(rf"\s*({_WORD})[.!]?\s*", re.IGNORECASE)
_HEADING = re.compile(r"\b(?:test|check|case)\b", re.IGNORECASE)
_HEADINGS = 50
_TOTAL = re.compile(r"\s*(?:Tests failed:\s*|#\s*Totals:.*\bfail:)(\d+).*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Test:
    """One test. ``line``: of the text that tells of it, from 1, and ``stream``: which of the two texts that is.

    ``reason``: why it was skipped, where that is said.
    """

    __test__ = False  # for pytest, which takes the name for its own

    name: str
    outcome: Outcome
    line: int
    reason: str = ""
    stream: Stream = "stdout"


@dataclass(frozen=True, slots=True)
class Said:
    """All that a text says of tests. ``unfinished``: why there are more tests than it tells of.

    ``failures``: how many failed by its own count; ``last``: its last line, for a skip that gives no reason otherwise.
    """

    tests: tuple[Test, ...]
    unfinished: str | None = None
    failures: int = 0
    skip: str | None = None
    last: str = ""

    def named(self, name: str) -> tuple[Test, ...]:
        return tuple(test for test in self.tests if test.name == name)

    def first(self, outcome: Outcome) -> Test | None:
        return next((test for test in self.tests if test.outcome == outcome), None)

    def names(self) -> tuple[str, ...]:
        """Each once, in the order in which they ended."""
        return tuple(dict.fromkeys(test.name for test in self.tests))


def read_suite(stdout: str, stderr: str = "") -> Said:
    """What a program printed, to its tests. Any text is read; what is no line about a test is passed over."""
    out, err = _read(stdout), _read(stderr)
    tests = (*out.tests, *(replace(test, stream="stderr") for test in err.tests))
    failures = max(out.failures, err.failures)
    return Said(tests, out.unfinished or err.unfinished, failures, out.skip or err.skip, out.last or err.last)


def _read(text: str) -> Said:
    tests: list[Test] = []
    points, planned, bail, skip, failures = 0, None, None, None, 0
    last = ""
    before: list[str] = []  # since the last test
    for number, raw in enumerate(text.split("\n"), start=1):
        line = _ESCAPES.sub("", raw).rstrip()
        if not line.strip():
            continue
        last = line.strip()
        if found := _PLAN.fullmatch(line):
            planned = int(found[1]) if len(found[1]) < 9 else MAX_TESTS
            skip = found[2].partition(" ")[2].strip() or found[2] if found[2] and not planned else skip
        elif found := _BAIL.match(line):
            bail = f"it bailed out: {found[1]}" if found[1] else "it bailed out"
        elif found := _TOTAL.fullmatch(line):
            failures = max(failures, int(found[1][:9]))
        elif (test := _test(line, number, _heading(before))) is not None:
            before = []
            points += not line[:1].isspace() and _POINT.fullmatch(line) is not None
            if len(tests) < MAX_TESTS:
                tests.append(test)
            else:
                bail = f"it tells of more than {MAX_TESTS} tests"
        elif len(before) < _HEADINGS or _HEADING.search(last):
            before = [*before[: _HEADINGS - 1], last]
    if bail is None and planned is not None and points != planned:
        bail = f"it planned {planned} tests, and tells of {points}"
    return Said(tuple(tests), bail, failures, skip, last)


def _heading(lines: Sequence[str]) -> str:
    """Of what a program printed before its `ok` the line that names the test: the last with that word, or the first."""
    return next((line for line in reversed(lines) if _HEADING.search(line)), lines[0] if lines else "")


def _test(line: str, number: int, before: str) -> Test | None:
    """The test that a line tells of; None where it tells of none. ``before``: the heading above it."""
    lone = before or f"test in line {number}"
    if found := _POINT.fullmatch(line):
        name, word, reason = (found[4] or "").strip(), found[2], ""
        if directive := _DIRECTIVE.fullmatch(name):
            name, reason = directive[1].strip(), directive[3].strip() or directive[2].upper()
            if directive[2].upper() == "SKIP" or word == "not ok":
                return Test(name or found[3] or lone, "skipped", number, reason)
        if name or found[3]:
            return Test(name or found[3], _WORDS[word], number, reason)
        return Test(lone, _WORDS[word], number)
    if found := _ALONE.fullmatch(line):
        return Test(lone, _WORDS[found[1].lower()], number)
    if found := _AHEAD.fullmatch(line):
        return Test(found[2].strip() or lone, _WORDS[found[1].lower()], number)
    if found := _BEHIND.fullmatch(line):
        return Test(found[1], _WORDS[found[2].lower()], number)
    if found := _LABEL.fullmatch(line):
        outcome = _WORDS[found[1].lower()]
        return Test(found[2], outcome, number, found[2] if outcome == "skipped" else "")
    if found := _SAID.fullmatch(line):
        return Test(found[1], _WORDS[found[2].lower()], number)
    return None


@dataclass(frozen=True, slots=True)
class Judged:
    """``truth`` of "all passed", of the whole or of one test; why not known; and the tests that show it."""

    truth: bool | None
    why: Unknown | None = None
    shown: tuple[Test, ...] = ()


def judge_suite(said: Said, status: int) -> Judged:
    """Did all of its tests pass? ``status``: its exit status, which must say the same as the text."""
    failed = said.first("failed")
    some = tuple(test for test in said.tests if test.outcome == "failed") or said.tests[-1:]
    if said.unfinished is not None:
        return Judged(None, Unknown("tests-unfinished", f"not all of its tests ran: {said.unfinished}"), some)
    text = f"'{_cut(failed.name)}' failed (line {failed.line})" if failed else f"{said.failures} tests failed"
    fails = failed is not None or said.failures > 0
    if status == 0 and fails:
        return _contradicts("0, passed", text, some)
    if status == 0 and said.first("passed") is None and (skipped := said.first("skipped")) is not None:
        return Judged(None, _skipped(skipped.reason or skipped.name), (skipped,))
    if status == 0 and said.skip is not None:
        return Judged(None, _skipped(said.skip))
    if status == 0:
        return Judged(True, None, said.tests[-1:])
    if status == 4 and not fails:
        told = said.first("skipped")
        return Judged(None, _skipped(said.skip or (told and (told.reason or told.name)) or said.last), some)
    if status == 2 and not fails:
        return Judged(None, Unknown("test-skipped", "its exit status is 2: it failed as its author expects (XFAIL)"))
    if not fails:
        told_of = "that all passed" if said.first("passed") else "nothing of a test that failed"
        return _contradicts(f"{status}, not passed", told_of, some)
    if status >= 126:
        return Judged(None, Unknown("step-failed", f"exit status {status} is not that of a test; {text}"), some)
    return Judged(False, None, some)


def judge_test(said: Said, status: int, name: str) -> Judged:
    """Did the one test pass? All tests of that name count.

    Where the text tells of failures and the exit status does not, those that passed did; the others are not known.
    """
    tests = said.named(name)
    if not tests:
        return Judged(None, Unknown("tests-unfinished", f"its text tells of no test '{_cut(name)}'"))
    if (skipped := next((test for test in tests if test.outcome == "skipped"), None)) is not None:
        return Judged(None, _skipped(skipped.reason), (skipped,))
    passed = all(test.outcome == "passed" for test in tests)
    shown = tuple(test for test in tests if test.outcome == "failed") or tests
    whole = judge_suite(said, status)
    if passed and (whole.truth is not None or status in (0, 4)) and said.unfinished is None:
        return Judged(True, None, shown)
    return Judged(False if whole.truth is False else None, whole.why, shown)


def _contradicts(exit_says: str, text_says: str, shown: Sequence[Test]) -> Judged:
    why = f"exit status and text disagree: the status says {exit_says}; the text says {text_says}"
    return Judged(None, Unknown("test-contradicts-exit", why), tuple(shown))


def _skipped(reason: str) -> Unknown:
    return Unknown("test-skipped", f"skipped: {reason}" if reason else "skipped, no reason given")


def _cut(name: str) -> str:
    return name if len(name) <= 120 else f"{name[:120]}..."


def counted(tests: Iterable[Test]) -> str:
    """`3 passed, 1 failed`."""
    every = [test.outcome for test in tests]
    kinds: tuple[Outcome, ...] = ("passed", "failed", "skipped")
    return ", ".join(f"{every.count(kind)} {kind}" for kind in kinds if kind in every) or "no tests"
