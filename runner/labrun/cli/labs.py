"""`labrun list`, `show` and `check`: what labs there are and what is in them. Starts nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labrun.cli import options
from labrun.cli.defaults import Configured

if TYPE_CHECKING:
    from labrun.lab.base import Scalar
    from labrun.lab.load import Lab


@click.command("list", cls=Configured)
@options.tag
def list_labs(tags: tuple[str, ...]) -> int:
    """List the labs: slug, title, number of hypotheses, tags. What each run of them has is counted last."""
    from labrun.cli.selection import selection
    from labrun.cli.terminal import console_for, counted
    from labrun.lab.catalogue import all_labs, labs_folder
    from labrun.lab.load import load_cells
    from labrun.lab.problems import LabError
    from labrun.lab.text import told
    from labrun.logic.visible import visible

    console = console_for(sys.stdout)
    means = selection(None, tags)
    wrong = False
    listed: list[tuple[Lab, ...]] = []
    for path in all_labs(labs_folder(Path.cwd())):
        try:
            cells = load_cells(path)
        except LabError as error:
            wrong = True
            print(visible(told(error), "\n\t"), file=sys.stderr)
            continue
        lab = cells[0]
        if means.of(lab, None) is None:
            continue
        listed.append(cells)
        slug = path.absolute().parent.name
        shown = f"  [{', '.join(lab.model.tags)}]" if lab.model.tags else ""
        runs = f"  ({len(cells)} runs: {_matrix(lab.model.parameters)})" if len(cells) > 1 else ""
        console.print(visible(f"{slug:<24} {_hypotheses(lab):>13}  {lab.model.title}{shown}{runs}"))
    if listed:
        times = sum(len(cells) for cells in listed)
        hypotheses = sum(len(lab.model.hypotheses) for cells in listed for lab in cells)
        print(f"{counted(len(listed), 'lab')} in {counted(times, 'run')}, {counted(hypotheses, 'hypothesis')} in all")
    return 2 if wrong else 0


def _hypotheses(lab: Lab) -> str:
    from labrun.cli.terminal import counted

    return counted(len(lab.model.hypotheses), "hypothesis")


def _matrix(parameters: Mapping[str, tuple[Scalar, ...]]) -> str:
    return "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in parameters.items())


@click.command
@click.argument("lab", shell_complete=options.complete_labs)
def show(lab: str) -> None:
    """Show a lab: its question, its steps as they run, and its hypotheses. LAB is a slug, a folder or a file."""
    from labrun.cli.terminal import console_for
    from labrun.lab.catalogue import find_labs
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import load_cells
    from labrun.logic.visible import visible
    from labrun.protocol.shown import equivalent

    named = find_labs([lab], Path.cwd())[0]
    loaded = load_cells(named.file, named)[0]
    compiled = compile_lab(loaded)
    model = loaded.model
    out = [model.title, "=" * len(model.title), "", model.question, ""]
    for step in compiled.experiment.steps:
        if step.note:
            out += ["", *(f"  {line}" for line in step.note.strip().splitlines())]
        line = step.shell or equivalent(step.action)
        mark = " " if step.phase == "lab" else "·"
        out += [
            f"{mark} {step.node or 'lab'}# {part}" if n == 0 else f"    {part}"
            for n, part in enumerate(line.split("\n"))
        ]
    out.append("")
    for hypothesis in model.hypotheses:
        controls = compiled.controls[hypothesis.id]
        none = next((control.none for control in hypothesis.control if control.none), None)
        control = f"{len(controls)} control(s)" if controls else f"no control: {none}" if none else "no control"
        out += [f"{hypothesis.id} (expected: {hypothesis.expect}; {control})", f"  {hypothesis.claim}"]
    console_for(sys.stdout).print(visible("\n".join(out), "\n\t"))


@click.command
@click.argument("labs", metavar="[LAB...]", nargs=-1, shell_complete=options.complete_labs)
def check(labs: tuple[str, ...]) -> int:
    """Validate labs (all if none is given) without running anything; name the hypotheses that have no control."""
    from labrun.lab.catalogue import Named, all_labs, find_labs, labs_folder
    from labrun.lab.check.advice import advice
    from labrun.lab.check.filters import check_filters
    from labrun.lab.check.lines import check_lines
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import load_cells
    from labrun.lab.problems import LabError
    from labrun.lab.text import told
    from labrun.logic.visible import visible

    cwd = Path.cwd()
    wrong = 0
    named = find_labs(labs, cwd) if labs else [Named(path) for path in all_labs(labs_folder(cwd))]
    for one in named:
        try:
            cells = load_cells(one.file, one)
            for lab in cells:
                compile_lab(lab)
                problems = (*check_filters(lab), *check_lines(lab))
                if problems:
                    raise LabError(problems)
        except LabError as error:
            wrong += 1
            print(visible(told(error), "\n\t"), file=sys.stderr)
            continue
        lab = cells[0]
        print(visible(f"{lab.shown}: ok, {_hypotheses(lab)}"))
        for problem in advice(lab):
            print(visible(f"  note: {problem}"))
        for hypothesis in lab.model.hypotheses:
            none = next((control.none for control in hypothesis.control if control.none), None)
            if none is not None:
                print(visible(f"  {hypothesis.id}: no control: {none.strip()}"))
            elif not hypothesis.control:
                print(visible(f"  {hypothesis.id}: no control, and no reason given"))
    if wrong:
        print(f"{wrong} of {len(named)} labs are wrong", file=sys.stderr)
        return 2
    return 0
