"""What people see on the terminal: progress while labs run, and the summary.

Bytes from labs are shown, never obeyed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from labrun.logic.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from labrun.judge.results import HypothesisResult, LabResult, RunResult

VERDICTS = ("supported", "refuted", "inconclusive")
_CLAIM = 24  # characters of a claim that are worth showing


def console_for(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Detail:
    """How much is said of a lab that has been judged. ``run``: its steps too, from it. ``quiet``: troubles alone."""

    run: Path | None = None
    quiet: bool = False

    def tell(self, console: Console, result: LabResult, seconds: float) -> None:
        from labrun.judge.results import failures

        if self.quiet and result.status != "skipped" and not failures(result):
            return
        console.print(lab_line(result, seconds))
        if self.run is not None:
            from labrun.cli.steps import step_lines

            for line in step_lines(self.run, result.id):
                console.print(f"      {line}")


class Lines:
    """Progress where nobody watches a screen: a line when a lab has been judged."""

    def __init__(self, detail: Detail = Detail(), stream: TextIO = sys.stderr) -> None:
        self._console = console_for(stream)
        self._detail = detail

    def started(self, slug: str, variants: int) -> None:
        return

    def step(self, slug: str, variant: str, step: str) -> None:
        return

    def judged(self, result: LabResult, seconds: float) -> None:
        self._detail.tell(self._console, result, seconds)

    def close(self) -> None:
        return


class Live:
    """Progress on a screen: the labs that run now and their current steps, below the lines of those that are done."""

    def __init__(self, total: int, detail: Detail = Detail(), stream: TextIO = sys.stderr) -> None:
        from rich.live import Live as RichLive

        self._console = console_for(stream)
        self._detail = detail
        self._total = total
        self._done = 0
        self._now: dict[str, dict[str, str]] = {}
        self._live = RichLive(self._view(), console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def started(self, slug: str, variants: int) -> None:
        self._now[slug] = {}
        self._live.update(self._view())

    def step(self, slug: str, variant: str, step: str) -> None:
        self._now.setdefault(slug, {})[variant] = step
        self._live.update(self._view())

    def judged(self, result: LabResult, seconds: float) -> None:
        self._now.pop(result.id, None)
        self._done += 1
        self._detail.tell(self._live.console, result, seconds)
        self._live.update(self._view())

    def close(self) -> None:
        self._live.stop()

    def _view(self) -> Text:
        from rich.text import Text

        view = Text(no_wrap=True, overflow="ellipsis")
        for slug, variants in self._now.items():
            steps = ", ".join(f"{variant}: {step}" for variant, step in variants.items())
            view.append("  … ", "dim")
            view.append(f"{slug}  ")
            view.append(f"{steps}\n", "dim")
        view.append(f"  {self._done} of {self._total} labs", "dim")
        return view


def lab_line(result: LabResult, seconds: float) -> Text:
    """A lab in one line: how it went, and how long it took."""
    from rich.text import Text

    from labrun.judge.results import claims_nothing, is_surprise

    line = Text()
    if result.status == "skipped":
        line.append("  – ", "yellow")
        line.append(f"{result.id}  skipped: {visible(result.message or '')}")
        return line
    if claims_nothing(result):
        line.append("  ✔ ", "green")
        line.append(result.id, "bold")
        line.append(f"  {visible((result.message or '').partition(chr(10))[0])}  ")
        line.append(f"{seconds:.1f} s", "dim")
        return line
    surprises = sum(is_surprise(h) for h in result.hypotheses)
    unsure = sum(h.verdict == "inconclusive" for h in result.hypotheses)
    expected = sum(h.as_expected for h in result.hypotheses)
    mark, style = (
        ("✘", "red") if surprises else ("?", "yellow") if unsure or result.status == "error" else ("✔", "green")
    )
    line.append(f"  {mark} ", style)
    line.append(result.id, "bold")
    parts = [f"{expected} as expected"] if expected else []
    parts += [f"{surprises} surprising"] if surprises else []
    parts += [f"{unsure} inconclusive"] if unsure else []
    line.append(f"  {', '.join(parts)}  ")
    line.append(f"{seconds:.1f} s", "dim")
    if result.status == "error":
        line.append(f"\n      {visible(result.message or '')}", "yellow")
    return line


def print_summary(result: RunResult, stream: TextIO, quiet: bool = False, run: Path | None = None) -> None:
    """A line for each hypothesis (unless ``quiet``), then every surprise and every inconclusive one with its reason.

    ``run``: where the run is, for what its steps printed.
    """
    from labrun.judge.results import exit_code

    console = console_for(stream)
    if not quiet:
        console.print()
        for line in _lines(result, console.width if stream.isatty() else None):
            console.print(line)
    for lab in result.labs:
        _print_troubles(console, lab, run)
    if not quiet or exit_code(result, False):
        console.print()
    console.print(_totals(result.counts()))


def _lines(result: RunResult, width: int | None) -> Iterator[Text]:
    """Mark, verdict, the name that `labrun explain` takes, and what of the claim fits into ``width`` (None: all)."""
    from rich.text import Text

    from labrun.judge.results import claims_nothing, is_surprise

    rows: list[tuple[str, str, str, str]] = []
    for lab in result.labs:
        for one in lab.hypotheses:
            mark, style = _mark(one)
            word = f"{mark} {one.verdict}{' !' if is_surprise(one) else ''}"
            rows.append((word, style, f"{lab.id}/{one.id}", one.claim))
        rows += [("– skipped", "yellow", f"{lab.id}/{name}", lab.reason or "") for name in lab.unjudged]
        if claims_nothing(lab):
            rows.append(("✔ ran", "green", lab.id, (lab.message or "").partition("\n")[0]))
        if lab.status == "error" and not lab.hypotheses:
            rows.append(("– not run", "yellow", lab.id, lab.reason or ""))
    names = max((len(name) for _, _, name, _ in rows), default=0)
    for word, style, name, claim in rows:
        line = Text()
        line.append(f"{word:<15}", style)
        line.append(visible(name))
        said = visible(" ".join(claim.split()))
        room = len(said) if width is None else width - 17 - names
        if room >= min(_CLAIM, len(said)):
            line.append(" " * (names - len(name) + 2))
            line.append(said if len(said) <= room else said[: room - 1].rsplit(" ", 1)[0] + "…", "dim")
        yield line


def _mark(hypothesis: HypothesisResult) -> tuple[str, str]:
    """✘ is for surprises alone: a claim that was known to be wrong, and is, has a mark of its own."""
    from labrun.judge.results import is_surprise

    if is_surprise(hypothesis):
        return "✘", "bold red"
    return {"supported": ("✔", "green"), "refuted": ("≠", "green")}.get(hypothesis.verdict, ("?", "yellow"))


def _print_troubles(console: Console, lab: LabResult, run: Path | None) -> None:
    from rich.text import Text

    from labrun.judge.explain import explain
    from labrun.judge.results import claims_nothing, is_surprise

    same: list[str] = []
    if lab.status != "done":
        same = [h.id for h in lab.hypotheses if h.verdict == "inconclusive" and _because_of(lab, h)]
        console.print()
        message = visible(lab.message or "", "\n\t")
        undecided = f"\n  so nothing is known of: {', '.join(same)}" if same else ""
        console.print(Text(f"{lab.id}: {lab.status}: {message}{undecided}", "yellow"))
        _print_output(console, lab, None, run)
    if claims_nothing(lab) and "\n" in (lab.message or ""):
        console.print()
        console.print(Text(f"{lab.id}: {visible(lab.message or '', chr(10))}"))
    for hypothesis in lab.hypotheses:
        if hypothesis.as_expected or hypothesis.id in same:
            continue
        word = "surprise" if is_surprise(hypothesis) else "inconclusive"
        console.print()
        console.print(Text(f"{word}: {lab.id} / {hypothesis.id}  ({lab.file}:{hypothesis.line})", "bold"))
        for line in explain(hypothesis).split("\n"):
            console.print(f"  {visible(line)}" if line else "")
        _print_output(console, lab, hypothesis, run)


def _because_of(lab: LabResult, hypothesis: HypothesisResult) -> bool:
    """Whether what broke the lab is all that is to be said of a hypothesis."""
    return hypothesis.reason == lab.reason and (lab.message or "") in hypothesis.message


def _print_output(console: Console, lab: LabResult, hypothesis: HypothesisResult | None, run: Path | None) -> None:
    """The last lines of what the step printed that decided, with a path that opens."""
    if run is None or lab.status == "skipped":
        return
    from labrun.cli.steps import last_words

    found = last_words(run, lab.id, hypothesis)
    if found is not None:
        console.print(f"\n  {visible(found.step)} printed ({visible(str(found.path))}):")
        for line in found.lines:
            console.print(f"    {line}", style="dim")


def counted(number: int, noun: str) -> str:
    """`1 hypothesis`, `2 hypotheses`, `3 labs`."""
    many = noun[:-2] + "es" if noun.endswith("is") else noun + "s"
    return f"{number} {noun if number == 1 else many}"


def _totals(counts: dict[str, int]) -> Text:
    """What was judged, skipped and broken, always all three; and what that means."""
    from rich.text import Text

    verdicts = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    words = f"{counted(counts['hypotheses'], 'hypothesis')} judged" + (f" ({verdicts})" if verdicts else "")
    text = Text(f"{words}, {counted(counts['skipped'], 'lab')} skipped, {counts['errors']} broken. ")
    if counts["surprises"]:
        text.append(f"{counts['surprises']} not as expected.", "bold red")
    elif not counts["hypotheses"] and counts["claimless"]:
        text.append("Not all ran." if counts["errors"] else "Nothing was claimed.", "yellow")
    elif not counts["hypotheses"]:
        text.append("Nothing was judged.", "bold yellow")
    elif counts["inconclusive"] or counts["errors"]:
        text.append(
            f"{counts['inconclusive']} not decided." if counts["inconclusive"] else "Not all was judged.", "yellow"
        )
    else:
        text.append("All that was judged is as expected." if counts["skipped"] else "All as expected.", "green")
    return text
