"""What GitHub shows of a run: the summary of a job's step, and annotations at the lines of the lab files.

The summary is not the report: relative links lead nowhere there, so it has none. It has the verdicts, both sides of
whatever is not as expected, and each lab's pictures; the rest is in the artifact.
"""

from __future__ import annotations

from collections.abc import Iterator

from labrun.report import gfm, mermaid
from labrun.report.junit import explained
from labrun.report.view import HypothesisView, LabView, RunView
from labrun.report.visible import shorten

MAX_SUMMARY = 900 * 1024  # bytes; GitHub refuses a summary of more than 1 MiB
MAX_ANNOTATIONS = 10  # of a kind; GitHub shows no more of one step
_MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


def step_summary(view: RunView) -> str:
    """GitHub-flavoured Markdown of less than MAX_SUMMARY bytes."""
    parts: list[str] = []
    left = MAX_SUMMARY - 300
    for part in _parts(view):
        left -= len(part.encode()) + 2
        if left < 0:
            parts.append("The rest is in the report.")
            break
        parts.append(part)
    return "\n\n".join(parts) + "\n"


def _parts(view: RunView) -> Iterator[str]:
    yield f"## {gfm.label(view.title)}"
    yield f"**{gfm.text(view.headline)}** {gfm.text(view.where)}."
    head = ["Lab", "Claim", "Verdict", "Why"]
    rows = [
        [gfm.text(row.lab), gfm.label(row.hypothesis.claim), _verdict(row.hypothesis), gfm.label(row.hypothesis.why)]
        for row in view.matrix
    ]  # fmt: skip
    for begin in range(0, len(rows), 200):
        yield gfm.table(head, rows[begin : begin + 200])
    for lab in view.labs:
        if lab.problem:
            yield f"- {gfm.text(lab.slug)}: {gfm.text(lab.problem)}"
    for lab in view.labs:
        for hypothesis in lab.hypotheses:
            if hypothesis.standing != "as-expected":
                yield gfm.details(f"{lab.slug}: {hypothesis.id}", gfm.fence(explained(hypothesis)))
    for lab in view.labs:
        pictures = [gfm.fence(text, "mermaid") for text in _pictures(lab)]
        if pictures:
            yield gfm.details(f"{lab.slug}: {lab.title}", "\n\n".join(pictures))


def _pictures(lab: LabView) -> Iterator[str]:
    if lab.topology is not None and (drawn := mermaid.topology(lab.topology)):
        yield drawn
    if lab.experiment is not None and lab.experiment.ladder and (drawn := mermaid.ladder(lab.experiment.ladder)):
        yield drawn


def _verdict(h: HypothesisView) -> str:
    words = f"{_MARKS[h.verdict]} {h.in_words} ({h.verdict})"
    return words if h.standing == "as-expected" else f"**{words}{' (surprise)' if h.standing == 'surprise' else ''}**"


def annotated(view: RunView) -> tuple[str, ...]:
    """Workflow commands: an error at each surprise's own line, a warning at each inconclusive's and each skip."""
    errors = [_annotation("error", h) for lab in view.labs for h in lab.hypotheses if h.standing == "surprise"]
    doubts = [_annotation("warning", h) for lab in view.labs for h in lab.hypotheses if h.standing == "inconclusive"]
    broken = [
        command("error", lab.problem or "it broke", title=lab.slug)
        for lab in view.labs
        if lab.status == "error" and not lab.hypotheses
    ]
    doubts += [
        command("warning", lab.problem or "skipped", title=f"{lab.slug}: not judged")
        for lab in view.labs
        if lab.status == "skipped"
    ]
    return (*errors[:MAX_ANNOTATIONS], *broken[:MAX_ANNOTATIONS], *doubts[:MAX_ANNOTATIONS])


def _annotation(level: str, h: HypothesisView) -> str:
    file, _, line = (h.place.text if h.place else "").rpartition(":")
    what = f"expected {h.expect}, got {h.verdict}" if h.standing == "surprise" else f"inconclusive ({h.reason})"
    return command(level, f"{h.claim}\n{h.message}", file=file, line=line, title=f"{h.id}: {what}")


def command(level: str, message: str, **properties: str) -> str:
    """A workflow command, in which no text can end its place or begin another command."""
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level} {given}::{_message(shorten(message, 2000))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
