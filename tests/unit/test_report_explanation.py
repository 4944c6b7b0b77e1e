"""The explanation is the same everywhere: each fact that the terminal and JUnit tell is on the page and in Markdown.

Every reason code's recorded samples are tried, and one made result that has all that a result can have.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from labrun.evidence.ref import Ref
from labrun.judge.explain import explain
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, Subject
from labrun.report.build import build_view
from labrun.report.html import render_html
from labrun.report.hypotheses import MAX_TEXT, hypothesis_view
from labrun.report.markdown import render_markdown
from labrun.report.references import Places
from labrun.report.view import RunView
from labrun.report.visible import one_line, shorten
from support.reasons import SAMPLES
from support.recorded import recorded_run

CASES = [(code, name) for code, samples in SAMPLES.items() for name in samples]


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def _html(view: RunView) -> str:
    """The text of its hypotheses, as it is read."""
    page = render_html(view)
    reader = _Text()
    reader.feed(" ".join(re.findall(r'<section class="hypothesis.*?</section>', page, re.DOTALL)))
    return _plain("".join(reader.found))


def _markdown(view: RunView) -> str:
    text = render_markdown(view).split("\n### Answer")[1].split("\n### ")[0]
    text = re.sub(r"\]\([^)]*\)", "", text.replace("&nbsp;", " "))  # links: their words are what is read
    return _plain(html.unescape(re.sub(r"\\(.)", r"\1", text)))


def _plain(text: str) -> str:
    """Without white space and the marks of code, which formats set as they like."""
    return re.sub(r"[\s`*\[\]]+", "", text)


def _words(text: str) -> str:
    return _plain(shorten(one_line(text), MAX_TEXT).rstrip("…"))


def _facts(result: HypothesisResult) -> Iterator[str]:
    """What `explain` tells. Where it has an operator in words, both sides are what counts."""
    yield result.claim
    yield result.verdict
    if result.verdict != "refuted" or not result.as_expected:
        yield result.message  # else both sides of the leaves say it
    yield result.no_control or ""
    yield from result.repeats or ()
    for name, (least, middle, most) in (result.timing or {}).items():
        yield f"{name}: {least:.4g} to {most:.4g}, median {middle:.4g}"
    yield from _facts_of(result.trace)
    for control in result.controls:
        yield control.change
        yield f"must {'' if control.must else 'not '}hold"
        yield control.note or ""
        yield from _facts_of(control.trace)


def _facts_of(trace: Evaluation) -> Iterator[str]:
    for child in trace.children:
        yield from _facts_of(child)
    if trace.children and trace.operator != "expr":
        return
    counted = trace.subject.quantity == "count"
    yield str(replace(trace.subject, quantity="") if counted else trace.subject)
    yield trace.actual or ""
    if trace.operator != "value":
        yield trace.expected or ""
    if trace.operator not in ("expr", "value"):
        yield trace.note or ""
    if trace.truth is None and trace.reason and trace.operator != "value":
        yield trace.reason
    for ref in trace.refs[:5]:
        yield from (str(number) for number in ref.packets[:6])
        yield str(ref.line or "")
        yield ref.path or ""


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A page to put a hypothesis on."""
    return build_view(*recorded_run(tmp_path_factory.mktemp("run")))


def _with(around: RunView, result: HypothesisResult, folder: Path) -> RunView:
    shown = hypothesis_view("own-address", result, Places("own-address", (), folder), "labs/own-address/lab.yaml")
    lab = next(lab for lab in around.labs if lab.slug == "own-address")
    return replace(around, labs=(replace(lab, hypotheses=(shown,), conclusion=None),), matrix=())


@pytest.mark.parametrize(("code", "name"), CASES)
def test_each_fact_is_on_the_page_and_in_markdown(code: str, name: str, around: RunView, tmp_path: Path) -> None:
    result = SAMPLES[code][name](tmp_path)
    view = _with(around, result, tmp_path)
    for told, text in (("html", _html(view)), ("markdown", _markdown(view))):
        missing = [fact for fact in _facts(result) if _words(fact) not in text]
        assert missing == [], (told, explain(result))


def test_a_result_with_everything(around: RunView, tmp_path: Path) -> None:
    refs = (
        Ref("labs/x/experiment/outputs/a.stdout", 7),
        Ref("labs/x/experiment/snapshots/s.json", path="nodes.a.links[0]"),
    )
    tree = Evaluation("", Subject("all of"), False, "all", children=(
        Evaluation("all.0.equals", Subject("exit of a"), True, "equals", "0", "0"),
        Evaluation("all.1.expr", Subject("rate / 2 > 3"), False, "expr", "true", "false", children=(
            Evaluation("all.1.expr.0", Subject("rate / 2"), True, "value", None, "2.5"),)),
        Evaluation("all.2.matches", Subject("stdout of a"), False, "matches", '"^x"', '"y"', refs=refs),
    ))  # fmt: skip
    controls = (
        ControlResult("one", "without step 'a'", False, replace(tree, truth=False), "Nothing else is changed."),
        ControlResult("two", "before step 'b': true", True, Evaluation("exit.equals", Subject("exit of c"), True, "equals", "1", "1"),
                      None, must=True),
    )  # fmt: skip
    result = HypothesisResult(
        "h", "It is fast.", "supported", "refuted", False, "contradicted", "rate / 2 > 3 is false", 9, tree, controls,
        None, "Because.", {"refuted": 3, "supported": 1}, {"duration of a": (0.1, 0.25, 1.5)},
    )  # fmt: skip
    view = _with(around, result, tmp_path)
    for text in (_html(view), _markdown(view)):
        missing = [fact for fact in _facts(result) if _words(fact) not in text]
        assert missing == []
        for line in explain(result).split("\n"):
            if line.startswith(("Runs:", "Over all runs")):
                assert _words(line) in text
        assert _words("rate / 2 > 3 first difference") in text or _words("rate / 2 > 3 (first difference)") in text
        assert text.count("firstdifference") == 1, "one check is marked, in the experiment"
