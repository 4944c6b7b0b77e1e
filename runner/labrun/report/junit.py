"""JUnit XML, for those who read results in their CI: a suite a lab, a case a hypothesis.

A case has the claim's words as its name. Hypotheses share their lab's run: the first case has its time, so that sums
are right. A surprise is a failure, with both sides. Inconclusive is an error, for nobody knows. A skipped lab's
hypotheses are skipped, with the reason.
"""

from __future__ import annotations

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from labrun.report.view import HypothesisView, LabView, RunView
from labrun.report.visible import shorten

_MAX = 4000
_MAX_TEXT = 16_000
_MAX_FILES = 5


def render_junit(view: RunView, evidence: str | None = None) -> str:
    """``evidence``: the run directory as CI knows it; then each case names its files, which GitLab and Jenkins attach.

    All text of the view is free of control characters already, which XML could not carry.
    """
    xml = JUnitXml("labrun")
    for lab in view.labs:
        xml.add_testsuite(_suite(view, lab, evidence))
    xml.update_statistics()  # type: ignore[no-untyped-call]
    text = xml.tostring()  # type: ignore[no-untyped-call]
    return (text.decode("utf-8") if isinstance(text, bytes) else str(text)).rstrip("\n") + "\n"


def _suite(view: RunView, lab: LabView, evidence: str | None) -> TestSuite:
    suite = TestSuite(lab.slug)
    suite.timestamp = view.started.removesuffix(" UTC").replace(" ", "T")
    for name, value in (("title", lab.title), ("run", view.id), ("where", view.where)):
        suite.add_property(name, value)
    for hypothesis in lab.hypotheses:
        case = _case(lab, hypothesis)
        case.time = duration_ms(lab, hypothesis) / 1000
        if evidence is not None:
            case.system_out = "\n".join(f"[[ATTACHMENT|{evidence}/{file}]]" for file in _attachments(hypothesis))
        suite.add_testcase(case)
    for name in lab.unjudged:
        case = TestCase(name, f"labrun.{lab.slug}", 0.0)
        case.result = [Skipped(lab.problem or "skipped")]
        suite.add_testcase(case)
    if lab.status == "error" and not lab.hypotheses:
        case = TestCase("lab", f"labrun.{lab.slug}", 0.0)
        case.result = [Error(lab.problem or "it broke", "error")]
        suite.add_testcase(case)
    return suite


def _case(lab: LabView, hypothesis: HypothesisView) -> TestCase:
    case = TestCase(test_name(lab, hypothesis), f"labrun.{lab.slug}", 0.0)
    if hypothesis.standing == "surprise":
        summary = f"expected {hypothesis.expect}, got {hypothesis.verdict}: {hypothesis.message}"
        failure = Failure(shorten(summary, _MAX), hypothesis.reason)
        failure.text = explained(hypothesis)
        case.result = [failure]
    elif hypothesis.standing == "inconclusive":
        error = Error(shorten(hypothesis.message, _MAX), hypothesis.reason)
        error.text = explained(hypothesis)
        case.result = [error]
    return case


def test_name(lab: LabView, hypothesis: HypothesisView) -> str:
    """The claim. A test that passes because its claim is false says so; two of one claim are told apart."""
    twice = sum(other.claim == hypothesis.claim for other in lab.hypotheses) > 1
    words = f"{hypothesis.claim} [{hypothesis.id}]" if twice else hypothesis.claim
    return words + (" (expected: refuted)" if hypothesis.expect == "refuted" else "")


def explained(hypothesis: HypothesisView) -> str:
    """The same words as on the terminal, and where the hypothesis is written."""
    place = f"Lab file: {hypothesis.place.text}\n" if hypothesis.place is not None else ""
    return shorten(place + hypothesis.explanation, _MAX_TEXT)


def duration_ms(lab: LabView, hypothesis: HypothesisView) -> int:
    return lab.took_ms if hypothesis is lab.hypotheses[0] else 0


def _attachments(hypothesis: HypothesisView) -> list[str]:
    """The files that the verdict rests on, and the report. A name that could end the mark is left out."""
    found = dict.fromkeys(link.file for row in hypothesis.rows for cell in row.cells if cell for link in cell.links)
    safe = [file for file in found if file and not set(file) & set("[]|\n") and not file.startswith(("/", ".."))]
    return [*safe[:_MAX_FILES], "index.html"]
