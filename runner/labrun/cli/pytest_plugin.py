"""`pytest --labrun labs/`: a lab file is collected, a hypothesis is a test, and its explanation is what pytest says.

pytest imports this at each start, with or without labs: so it imports nothing of labrun before it is asked for.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from labrun.cli.run import RunOptions
    from labrun.judge.results import HypothesisResult, LabResult

_LAB_FILE = "lab.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("labrun", "networking labs")
    group.addoption("--labrun", action="store_true", help="Collect lab files: each hypothesis is a test.")
    group.addoption("--labrun-args", default="", metavar="ARGS", help="Options of `labrun run`: '--engine native'.")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.name == _LAB_FILE and parent.config.getoption("labrun"):
        return LabFile.from_parent(parent, path=file_path)
    return None


class LabFile(pytest.File):
    """A lab.yaml."""

    def collect(self) -> Iterator[Hypothesis]:
        from labrun.lab.load import load_cells
        from labrun.lab.problems import LabError

        try:
            cells = load_cells(self.path)
        except LabError as error:
            raise self.CollectError(str(error)) from error
        for lab in cells:
            values = ",".join(f"{name}={value}" for name, value in lab.cell.items())
            for number, one in enumerate(lab.model.hypotheses):
                name = f"{one.id}[{values}]" if values else one.id
                line = lab.places.of(("hypotheses", number, "id"))[0]
                item: Hypothesis = Hypothesis.from_parent(self, name=name, slug=lab.slug, hypothesis=one.id, line=line)
                for tag in lab.model.tags:
                    item.keywords[tag] = True
                yield item


class Hypothesis(pytest.Item):
    """One claim of a lab. Its lab runs, with all others that were selected, when the first of them is asked for."""

    def __init__(self, *, slug: str, hypothesis: str, line: int, **more: Any) -> None:
        super().__init__(**more)
        self.slug = slug
        self.hypothesis = hypothesis
        self.line = line

    def runtest(self) -> None:
        found = _runs(self.config).of(self)
        one = next((h for h in found.hypotheses if h.id == self.hypothesis), None)
        if found.status == "skipped":
            pytest.skip(found.message or found.reason or "no reason was given")
        if one is None:
            raise NotAsExpected(f"inconclusive: {found.message or found.reason or 'its lab broke'}")
        self.user_properties += [("verdict", one.verdict), ("expected", one.expect), ("reason", one.reason)]
        if not one.as_expected:
            raise NotAsExpected(_said(one))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotAsExpected):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, f"{self.slug}/{self.hypothesis}"


class NotAsExpected(Exception):
    """A verdict that fails a test. The message explains it."""


def _said(one: HypothesisResult) -> str:
    from labrun.judge.explain import explain
    from labrun.judge.results import is_surprise

    word = "surprise" if is_surprise(one) else "inconclusive"
    return f"{word}: {one.claim}\n{explain(one)}"


@dataclass
class Runs:
    """What ran in this session. ``trouble``: why nothing could."""

    config: pytest.Config
    labs: dict[str, LabResult] = field(default_factory=dict)
    pages: list[Path] = field(default_factory=list)
    trouble: dict[str, str] = field(default_factory=dict)

    def of(self, item: Hypothesis) -> LabResult:
        """The item's lab, which is run where it has not been. Raises NotAsExpected where it could not."""
        if item.slug not in self.labs and item.slug not in self.trouble:
            every = [one for one in item.session.items if isinstance(one, Hypothesis)]
            if hasattr(self.config, "workerinput"):  # pytest-xdist: others run the rest
                every = [one for one in every if one.path == item.path]
            self._run(every)
        if item.slug in self.trouble:
            raise NotAsExpected(self.trouble[item.slug])
        return self.labs[item.slug]

    def _run(self, items: Sequence[Hypothesis]) -> None:
        from labrun.engines.base import EngineError
        from labrun.evidence.run import EvidenceError
        from labrun.image.errors import ImageError
        from labrun.lab.problems import LabError

        try:
            self._conduct(items, _options(self.config))
        except (EngineError, ImageError, EvidenceError, LabError, OSError) as error:
            self.trouble |= {item.slug: str(error) for item in items}

    def _conduct(self, items: Sequence[Hypothesis], wanted: RunOptions) -> None:
        from datetime import UTC, datetime

        from labrun.cli.choose import Wanted, choose_labs
        from labrun.cli.engines import choose
        from labrun.cli.provenance import states
        from labrun.cli.run import record_of
        from labrun.conduct import begin, conduct, finish
        from labrun.evidence.run import new_run_id
        from labrun.lab.catalogue import Named
        from labrun.pace import ByPressure, Fixed, cores

        named = [Named(one.path, one.slug[len(one.path.parent.name) :] or None, one.hypothesis) for one in items]
        chosen = choose_labs(named, Wanted(values=wanted.values, timeout_s=wanted.timeout_s))
        wrong = {one.slug: "\n".join(one.problems) for one in chosen.invalid}
        for item in items:
            if item.path.parent.name in wrong:
                self.trouble[item.slug] = wrong[item.path.parent.name]
        if not chosen.labs:
            return
        now = datetime.now(UTC)
        run_id = new_run_id(now)
        run = wanted.out / run_id
        ahead = wanted.jobs or cores()
        pace = Fixed(wanted.jobs) if wanted.jobs else ByPressure(cores())
        choice = choose(wanted.engine, wanted.userland, wanted.isolation, run_id, _say, ahead)
        known = states([lab.lab.path for lab in chosen.labs], wanted.out)
        files = dict.fromkeys(str(one.path.relative_to(Path.cwd())) if one.path.is_relative_to(Path.cwd())
                              else one.path.parent.name for one in items)  # fmt: skip
        with choice.engine as engine:
            command = ("pytest", "--labrun", *files)
            begin(run, record_of(run_id, now, command, choice, chosen.labs, (), wanted.repeat, known))
            import time

            done = conduct(chosen.labs, engine, run, pace, _Quiet(), time.monotonic, wanted.repeat)
        self.labs |= {lab.id: lab for lab in finish(run, done.judged).labs}
        self.pages.append(run / "index.html")
        if not done.whole:
            raise KeyboardInterrupt


class _Quiet:
    """pytest tells how far it is."""

    def started(self, slug: str, variants: int) -> None:
        return

    def step(self, slug: str, variant: str, step: str) -> None:
        return

    def judged(self, result: LabResult, seconds: float) -> None:
        return


def _options(config: pytest.Config) -> RunOptions:
    """Those of `labrun run`, with the project's defaults."""
    import click

    from labrun.cli.run import RunOptions, some_labs

    try:
        context = some_labs.make_context("labrun run", [*shlex.split(config.getoption("labrun_args")), "--", "labs"])
    except click.ClickException as error:
        raise pytest.UsageError(f"--labrun-args: {error.format_message()}") from error
    return RunOptions(**{name: value for name, value in context.params.items() if name != "labs"})


def _say(text: str) -> None:
    from labrun.logic.visible import visible

    print(visible(text, "\n\t"), file=sys.stderr)


_RUNS = pytest.StashKey[Runs]()


def _runs(config: pytest.Config) -> Runs:
    if _RUNS not in config.stash:
        config.stash[_RUNS] = Runs(config)
    return config.stash[_RUNS]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for page in _runs(config).pages if config.getoption("labrun") else ():
        terminalreporter.write_line(f"labrun report: {page}")
