"""What test programs say of their tests, in their many ways; and whether their exit statuses say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.observe.suite import Said, judge_suite, judge_test, read_suite

LINES = {
    "ok 1 - one": ("one", "passed"),
    "ok 1 one": ("one", "passed"),
    "ok - one": ("one", "passed"),
    "ok 7": ("7", "passed"),
    "not ok 2 two": ("two", "failed"),
    "    ok 1 nested": ("nested", "passed"),
    "ok 3 three # SKIP no tool": ("three", "skipped"),
    "ok 3 # skip no tool": ("3", "skipped"),
    "not ok 4 four # TODO later": ("four", "skipped"),
    "not ok 4 four # XFAIL": ("four", "skipped"),
    "ok 5 five # TODO works already": ("five", "passed"),
    "not ok 6 issue #12 is back": ("issue #12 is back", "failed"),
    "TEST: ping local                          [ OK ]": ("ping local", "passed"),
    "    TEST: IPv6 route (weird [name])       [FAIL]": ("IPv6 route (weird [name])", "failed"),
    "TEST: no tool                             [SKIP]": ("no tool", "skipped"),
    "TEST: known                               [XFAIL]": ("known", "skipped"),
    "\x1b[32mTEST: coloured                    [ OK ]\x1b[0m": ("coloured", "passed"),
    "01 no JOIN                                [ ok ]": ("01 no JOIN", "passed"),
    "[PASS] in front": ("in front", "passed"),
    "I: [OK]         testcases/sets/one": ("testcases/sets/one", "passed"),
    "W: [FAILED]     testcases/sets/two": ("testcases/sets/two", "failed"),
    "PASS: flow offload": ("flow offload", "passed"),
    "FAIL: flow offload": ("flow offload", "failed"),
    "ERROR: cannot ping": ("cannot ping", "failed"),
    "SKIP: Need root privileges": ("Need root privileges", "skipped"),
    "gre tunnel: PASS": ("gre tunnel", "passed"),
    "reassembly... ok": ("reassembly", "passed"),
    "reassembly: FAILED": ("reassembly", "failed"),
}
NO_TESTS = (
    "", "TAP version 14", "# ok 1 told by a runner", "okay", "not okay", "it failed", "rtt min/avg/max = 1/2/3 ms",
    "2 packets transmitted, 2 received, 0% packet loss", "INFO: starting", "failed to open x", "[ 12.3 ] kernel: hello",
    "Tests passed: 3", "ok:", "  inet 10.0.0.1/24 scope global eth0", "Error: Unknown device type.",
)  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line(line: str) -> None:
    (test,) = read_suite(f"before\n{line}\nafter\n").tests
    assert ((test.name, test.outcome), test.line) == (LINES[line], 2)


@pytest.mark.parametrize("line", NO_TESTS)
def test_what_is_no_test(line: str) -> None:
    assert read_suite(f"{line}\n").tests == ()


def test_a_word_alone_has_the_heading_above_it() -> None:
    text = "run arp_announce test\nPING 127.25.3.14\n64 bytes from it\nok\ncleanup\nrun arp_ignore test\nPING\nfailed\n[ OK ]\n"
    assert [(test.name, test.outcome) for test in read_suite(text).tests] == [
        ("run arp_announce test", "passed"), ("run arp_ignore test", "failed"), ("test in line 9", "passed"),
    ]  # fmt: skip


def test_both_streams_count() -> None:
    said = read_suite("ok 1 a\n", "FAIL: b\n")
    assert [(test.name, test.stream) for test in said.tests] == [("a", "stdout"), ("b", "stderr")]


OK, BAD, SKIP, NONE = "ok 1 a\n", "ok 1 a\nnot ok 2 b\n", "ok 1 a # SKIP no tool\n", "hello\n"
WHOLE = {
    (OK, 0): True, (NONE, 0): True, (SKIP, 0): "test-skipped", (OK + SKIP, 0): True, ("1..0 # SKIP no tool\n", 0): "test-skipped",
    (BAD, 1): False, (BAD, 3): False, ("not ok 1 a\n" * 4, 4): False,
    (BAD, 0): "test-contradicts-exit", ("Tests failed: 2\n", 0): "test-contradicts-exit", ("Tests failed: 2\n", 1): False,
    (OK, 1): "test-contradicts-exit", (NONE, 1): "test-contradicts-exit", (SKIP, 1): "test-contradicts-exit",
    (OK, 2): "test-skipped", (NONE, 2): "test-skipped", (BAD, 2): False,
    (SKIP, 4): "test-skipped", (NONE, 4): "test-skipped", (OK, 4): "test-skipped",
    (OK, 139): "test-contradicts-exit", (BAD, 139): "step-failed", (OK, 255): "test-contradicts-exit",
    ("1..2\nok 1 a\n", 0): "tests-unfinished", ("1..1\nok 1 a\nok 2 b\n", 0): "tests-unfinished", ("1..1\nok 1 a\n", 0): True,
    ("ok 1 a\nBail out! no disk\n", 1): "tests-unfinished", ("1..1\n    1..2\n    ok 1 x\n    ok 2 y\nok 1 a\n", 0): True,
    ("1..2\nnot ok 1 a\n", 1): "tests-unfinished",
    ("# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0\n", 0): "test-contradicts-exit",
}  # fmt: skip


@pytest.mark.parametrize(("text", "status"), WHOLE)
def test_text_and_exit_status_agree_or_nothing_is_known(text: str, status: int) -> None:
    found = judge_suite(read_suite(text), status)
    assert (found.why.code if found.why else found.truth) == WHOLE[text, status]


ONE = {
    (OK, 0, "a"): True, (BAD, 1, "a"): True, (BAD, 1, "b"): False,
    (BAD, 0, "a"): True, (BAD, 0, "b"): "test-contradicts-exit",
    (OK, 1, "a"): "test-contradicts-exit", (OK, 4, "a"): True, (SKIP, 0, "a"): "test-skipped",
    (OK, 0, "c"): "tests-unfinished", ("1..3\nok 1 a\n", 0, "a"): "tests-unfinished",
    ("ok 1 a\nnot ok 2 a\n", 1, "a"): False, (BAD, 139, "a"): "step-failed",
}  # fmt: skip


@pytest.mark.parametrize(("text", "status", "name"), ONE)
def test_one_test_of_many(text: str, status: int, name: str) -> None:
    found = judge_test(read_suite(text), status, name)
    assert (found.why.code if found.why else found.truth) == ONE[text, status, name]


def test_a_skip_says_why() -> None:
    for text in ("SKIP: needs jq\n", "1..0 # SKIP needs jq\n", "starting\nneeds jq\n", "ok 1 a # SKIP needs jq\n"):
        why = judge_suite(read_suite(text), 4).why
        assert why is not None and why.message == "skipped: needs jq"


@given(st.text(), st.text(), st.integers(0, 255))
def test_any_text_is_read(out: str, err: str, status: int) -> None:
    said = read_suite(out, err)
    assert isinstance(said, Said)
    judge_suite(said, status)
    for name in said.names():
        judge_test(said, status, name)


@given(st.lists(st.sampled_from([OK, BAD, SKIP, NONE])), st.integers(1, 255))
def test_a_status_that_is_not_zero_never_means_passed(parts: list[str], status: int) -> None:
    assert judge_suite(read_suite("".join(parts)), status).truth is not True
