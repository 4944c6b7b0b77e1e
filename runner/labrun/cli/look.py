"""`labrun explain`, `labrun diff` and `labrun open`: looking at stored runs. No engine, and nothing is written."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labrun.cli import options
from labrun.cli.defaults import Configured

if TYPE_CHECKING:
    from labrun.evidence.run import LabEntry


class DiffFormat(StrEnum):
    text = "text"
    md = "md"
    html = "html"


@click.command(cls=Configured)
@click.argument("what", metavar="LAB[/HYPOTHESIS]", shell_complete=options.complete_labs)
@click.option("--run", metavar="RUN", type=options.PATH, help="Of this run; else of the newest that has the lab.")
@options.out
def explain(what: str, run: Path | None, out: Path) -> None:
    """Say why a verdict is what it is: what was predicted, what was observed, where it stands in the evidence."""
    from labrun.cli.terminal import console_for
    from labrun.evidence.run import read_run
    from labrun.judge.explain import explain as explained
    from labrun.judge.run import judge_entry
    from labrun.logic.visible import visible

    lab, hypothesis = _meant(what)
    folder, entries = _with_lab(lab, run, out)
    record = read_run(folder)
    console = console_for(sys.stdout)
    found = 0
    ids: list[str] = []
    for entry in entries:
        result = judge_entry(folder, entry)
        ids += [h.id for h in result.hypotheses]
        if result.status != "done":
            console.print(visible(f"{entry.slug}: {result.status}: {result.message or result.reason or ''}", "\n\t"))
            found += hypothesis is None or hypothesis in result.unjudged
        for one in result.hypotheses:
            if hypothesis in (None, one.id):
                if found:
                    console.print()
                found += 1
                console.print(visible(f"{entry.slug}/{one.id}  ({result.file}:{one.line}; run {record.id})"))
                console.print(explained(one))
                if one.because:
                    console.print(visible(f"\nBecause: {one.because.strip()}", "\n\t"))
    if not found:
        from labrun.logic.suggest import did_you_mean

        raise click.UsageError(f"{folder}: no hypothesis '{hypothesis}' in {lab}.{did_you_mean(hypothesis or '', ids)}")


def _meant(what: str) -> tuple[str, str | None]:
    """`LAB/HYPOTHESIS`, and `LAB[mtu=1400]` as it is named in a run. Folders before the lab's name are passed over."""
    parts = [part for part in what.rstrip("/").split("/") if part not in ("", ".", "labs", "lab.yaml")]
    if what.endswith("lab.yaml") or Path(what, "lab.yaml").is_file():
        return Path(what.removesuffix("lab.yaml")).absolute().name, None
    if len(parts) >= 2:
        return parts[-2], parts[-1]
    return parts[-1] if parts else what, None


def _with_lab(lab: str, run: Path | None, out: Path) -> tuple[Path, list[LabEntry]]:
    """The run and the lab's entries in it; of a lab with parameters all its runs."""
    from labrun.evidence.run import EvidenceError, read_run, resolve_run
    from labrun.lab.catalogue import Named, cell_of
    from labrun.logic.suggest import did_you_mean

    base, cell = cell_of(lab)
    meant = Named(Path(), cell)
    slugs: set[str] = set()
    if run is not None:
        folders = [resolve_run(run, out)]
    else:
        folders = sorted((path.parent for path in out.glob("2*/run.json")), reverse=True)
    for folder in folders:
        try:
            entries = read_run(folder).labs
        except EvidenceError:
            if run is not None:
                raise
            continue
        slugs |= {entry.slug for entry in entries}
        same = [entry for entry in entries if entry.slug == lab]
        same = same or [e for e in entries if e.slug.partition("--")[0] == base and meant.means(e.slug, e.cell)]
        if same:
            return folder, same
    where = str(folders[0]) if run is not None else f"no run in {out}"
    raise click.UsageError(f"{where} has no lab '{lab}'.{did_you_mean(lab, slugs)}")


@click.command(cls=Configured)
@click.argument("before", metavar="RUN", type=options.PATH, shell_complete=options.complete_runs)
@click.argument(
    "after", metavar="[RUN]", type=options.PATH, default=Path("latest"), shell_complete=options.complete_runs
)
@click.option(
    "--format",
    "form",
    type=click.Choice(DiffFormat),
    default=DiffFormat.text,
    help="text, md: Markdown, or html: a page.",
)
@options.out
def diff(before: Path, after: Path, form: DiffFormat, out: Path) -> int:
    """Compare two runs (the second is the newest unless said): verdicts, what was observed, what they ran on.

    RUN is a run directory or its id, a finding's file, or a results.json. Runs and findings are judged from their
    evidence. Exits with 1 where a verdict differs, or a lab is in one only.
    """
    from labrun.cli.sides import side_of
    from labrun.cli.terminal import console_for
    from labrun.report.difference import difference
    from labrun.report.difference_text import as_html, as_markdown, as_text

    found = difference(side_of(before, out), side_of(after, out))
    if form is not DiffFormat.text:
        sys.stdout.write(as_markdown(found) if form is DiffFormat.md else as_html(found))
    else:
        console_for(sys.stdout).print(as_text(found))
    return 1 if found.decided else 0


@click.command("open", cls=Configured)
@click.argument("run", type=options.PATH, default=Path("latest"), shell_complete=options.complete_runs)
@options.out
def open_report(run: Path, out: Path) -> int:
    """Open a run's report in a browser; the newest unless a RUN is given."""
    import webbrowser

    from labrun.evidence.run import read_run, resolve_run

    folder = resolve_run(run, out).absolute()
    read_run(folder)
    page = folder / "index.html"
    if not page.is_file():
        raise click.UsageError(f"{page} is not there: `labrun report {folder}` makes it")
    print(page)
    if not webbrowser.open(page.as_uri()):
        print("labrun: no browser here (BROWSER names one)", file=sys.stderr)
        return 3
    return 0
