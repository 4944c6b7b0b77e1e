"""The explanation in plain text: a line stays a line, nothing is left out, and the terminal prints just that."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.cli.terminal import print_summary
from labrun.evidence.ref import Ref
from labrun.judge.explain import explain, first_word
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, LabResult, RunResult, Subject
from support.reasons import SAMPLES


def of(trace: Evaluation, **fields: object) -> HypothesisResult:
    given = {"message": "m", "reason": "r", "controls": (), "as_expected": False, **fields}
    return HypothesisResult("h", "claim", "supported", "refuted", line=3, trace=trace, **given)  # type: ignore[arg-type]


LEAF = Evaluation("exit.equals", Subject("exit of a"), False, "equals", "0", "1")


@given(st.text(alphabet=st.sampled_from("a\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029 "), max_size=20))
def test_no_text_of_a_lab_or_its_output_makes_a_line_of_its_own(text: str) -> None:
    leaf = Evaluation("p", Subject(text), False, "equals", text, text, None, text, (Ref("f", path=text),))
    control = ControlResult("c", text, False, leaf, text)
    result = of(leaf, message=text, reason=text, controls=(control,), no_control=text)
    plain = of(LEAF, controls=(ControlResult("c", "x", False, LEAF, "x"),), no_control="x")
    lines = explain(result).splitlines()
    assert len(lines) <= len(explain(plain).splitlines()) + 4  # what the messages say, and the evidence, of both leaves
    assert all(
        line == "" or line.startswith(("Claim", "Verdict", "Reason", "In the ", "There is", "  ")) for line in lines
    )


def test_every_leaf_and_every_place_is_there() -> None:
    refs = tuple(Ref("capture", packets=(number,)) for number in range(1, 9))
    tree = Evaluation("", Subject("all of"), False, "all", children=(
        Evaluation("all.0", Subject("one"), True, "equals", "1", "1", refs=refs),
        Evaluation("all.1", Subject("not"), False, "not", children=(Evaluation("x", Subject("two"), True, "ge", "1", "5"),)),
        Evaluation("all.2", Subject("three"), None, "lt", "1", None, "timeout", "it took too long"),
        Evaluation("all.3", Subject("four"), False, "matches", '"^a"', '"b"'),
    ))  # fmt: skip
    text = explain(of(tree))
    assert "Holds, and must not: two: predicted >= 1, observed 5 (and 1 more)" in text
    for line in (
        "    ✔ one: predicted == 1, observed 1",
        "        evidence: capture packet 1; capture packet 2; capture packet 3; capture packet 4; capture packet 5 and 3 more",
        "    ✘ not this",
        "      ✔ two: predicted >= 1, observed 5",
        "    ? three: predicted < 1, not observed [timeout]",
        "        it took too long",
        '    ✘ four: predicted matches "^a", observed "b"',
    ):
        assert line in text.split("\n")


@pytest.mark.parametrize(
    ("whole", "leaf", "word"),
    [
        (False, False, "first difference"),
        (False, True, "holds, and must not"),  # under a `not`
        (None, None, "first unknown"),
        (None, False, "first unknown"),
    ],
)
def test_what_the_check_is_called_that_decided(whole: bool | None, leaf: bool | None, word: str) -> None:
    assert first_word(trace(truth=whole), trace(truth=leaf)) == word


@pytest.mark.parametrize("code", ["contradicted", "timeout", "control-agrees", "unstable", "expression-failed"])
def test_the_terminal_prints_it_as_it_is(code: str, tmp_path: Path) -> None:
    result = next(iter(SAMPLES[code].values()))(tmp_path)
    lab = LabResult("ping", "T", "labs/ping/lab.yaml", "done", (result,), ())
    stream = io.StringIO()
    print_summary(RunResult({}, (lab,)), stream)
    block = "\n".join(f"  {line}" if line else "" for line in explain(result).split("\n"))
    assert block in stream.getvalue()
    word = "surprise" if code == "contradicted" else "inconclusive"
    assert f"{word}: ping / h  (labs/ping/lab.yaml:{result.line})\n{block}" in stream.getvalue()


def test_on_the_terminal_nothing_is_obeyed() -> None:
    stream = io.StringIO()
    leaf = Evaluation("p", Subject("\x1b[2J"), False, "equals", "\u202e", "\x07", None, "\x9b31m")
    print_summary(RunResult({}, (LabResult("a", "T", "f", "done", (of(leaf),), ()),)), stream)
    assert not set(stream.getvalue()) & set("\x1b\x07\x9b\u202e")


def trace(**fields: object) -> Evaluation:
    given = {
        "path": "p",
        "subject": Subject("exit of a"),
        "truth": False,
        "operator": "equals",
        "expected": "0",
        "actual": "1",
        **fields,
    }
    return Evaluation(**given)  # type: ignore[arg-type]


AT = Ref("f", line=3)


@pytest.mark.parametrize(
    ("leaf", "lines"),
    [
        (trace(), ["  ✘ exit of a: predicted == 0, observed 1"]),
        (trace(refs=(AT,)), ["  ✘ exit of a: predicted == 0, observed 1", "      evidence: f:3"]),
        (trace(note="it was late"), ["  ✘ exit of a: predicted == 0, observed 1", "      it was late"]),
        (trace(operator="path", subject=Subject("its path"), expected="x, y", actual="x", note="and z", refs=(AT,)),
         ["  ✘ its path: predicted x, y, observed x", "      and z", "      evidence: f:3"]),
        (trace(operator=None, expected=None), ["  ✘ exit of a: observed 1"]),
        (trace(operator="matches"), ["  ✘ exit of a: predicted matches 0, observed 1"]),
        (trace(truth=None, reason="packets-dropped"), ["  ? exit of a: predicted == 0, observed 1, which decides nothing [packets-dropped]"]),
        (trace(truth=None), ["  ? exit of a: predicted == 0, observed 1, which decides nothing [unknown]"]),
        (trace(truth=None, actual=None), ["  ? exit of a: predicted == 0, not observed"]),
        (trace(truth=None, actual=None, reason="timeout"), ["  ? exit of a: predicted == 0, not observed [timeout]"]),
        (trace(truth=True, actual="0", refs=(AT,) * 5), ["  ✔ exit of a: predicted == 0, observed 0", "      evidence: f:3; f:3; f:3; f:3; f:3"]),
        (trace(refs=(AT,) * 6), ["  ✘ exit of a: predicted == 0, observed 1", "      evidence: f:3; f:3; f:3; f:3; f:3 and 1 more"]),
    ],
)  # fmt: skip
def test_one_check_is_told_with_all_that_it_has(leaf: Evaluation, lines: list[str]) -> None:
    assert explain(of(leaf)).split("\n") == [
        "Claim: claim", "Verdict: refuted; supported was expected", "Reason: m [r]", "",
        f"In the experiment the prediction {'holds' if leaf.truth else 'does not hold' if leaf.truth is False else 'could not be judged'}.",
        *lines,
    ]  # fmt: skip


def test_branches_runs_and_controls_are_told() -> None:
    leaf, good = trace(), trace(truth=True, actual="0", subject=Subject("exit of b"))
    tree = Evaluation("", Subject("command a"), False, "all", children=(
        Evaluation("all.0", Subject("any of"), False, "any", children=(leaf, trace(subject=Subject("exit of c")))), good))  # fmt: skip
    held = ControlResult("c", "without\nstep x", True, good, "A  folded\nnote.", must=True)
    failed = ControlResult("d", "with y", False, leaf)
    text = explain(of(tree, controls=(held, failed), no_control="It is\na definition.", as_expected=True,
                      repeats={"supported": 2, "refuted": 1}, timing={"command a: duration in s": (0.123456, 1, 22.5)}))  # fmt: skip
    assert text.split("\n") == [
        "Claim: claim", "Verdict: refuted; as expected", "Reason: m [r]",
        "Runs: 3, supported 2 times, refuted once; what follows is of the first",
        "Over all runs, command a: duration in s: 0.1235 to 22.5, median 1", "",
        "In the experiment the prediction does not hold.",
        "First difference: exit of a: predicted == 0, observed 1 (and 1 more)",
        "  ✘ command a: all of these", "    ✘ one of these at least", "      ✘ exit of a: predicted == 0, observed 1",
        "      ✘ exit of c: predicted == 0, observed 1", "    ✔ exit of b: predicted == 0, observed 0", "",
        "In the control (without␊step x) its own prediction must hold, and it holds.", "  A folded note.",
        "  ✔ exit of b: predicted == 0, observed 0", "",
        "In the control (with y) the prediction must not hold, and it does not hold.",
        "  ✘ exit of a: predicted == 0, observed 1", "", "There is no control: It is a definition.",
    ]  # fmt: skip
    unknown = Evaluation("", Subject("all of"), None, "all", children=(trace(truth=None, actual=None), good))
    assert "\nFirst unknown: exit of a: predicted == 0, not observed\n  ? all of these\n" in explain(of(unknown))


def test_of_a_group_that_must_not_hold_the_whole_group_decided() -> None:
    """Neither `exit == 0` nor the count alone is what must not be: both together are."""
    group = Evaluation("not", Subject("all of"), True, "all", children=(
        trace(path="not.all.0", truth=True, actual="0"), trace(path="not.all.1", truth=True, subject=Subject("answers", quantity="count"))))  # fmt: skip
    whole = Evaluation("", Subject("not"), False, "not", children=(group,))
    assert whole.decisive() is group
    assert (
        "\nHolds, and must not: all of this together: exit of a: predicted == 0, observed 0; answers: count: "
        in explain(of(whole))
    )
    inside = Evaluation("", Subject("all of"), False, "all", children=(trace(truth=True), whole))
    assert inside.decisive() is group
