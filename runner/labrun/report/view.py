"""What a report shows: plain frozen data, built once from a run directory and its results, used by every format.

All text in here has been through `visible`: no control character is left in it. It is not escaped for any format;
that is each renderer's own duty. ``Prose`` is an author's Markdown, everything else is text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Literal

from labrun.judge.results import Truth, Verdict
from labrun.protocol.record import dataclass
from labrun.report.ansi import Line
from labrun.report.hexdump import PacketBytes
from labrun.report.kernel import Change
from labrun.report.ladder import Ladder
from labrun.report.topology import TopologyView

Prose = str
Standing = Literal["surprise", "inconclusive", "as-expected"]


@dataclass(frozen=True, slots=True)
class Link:
    """``href``: ``#anchor`` of this page, or a percent-encoded path relative to the run directory."""

    text: str
    href: str
    file: str | None = None
    """The file of the run directory that it is about."""


@dataclass(frozen=True, slots=True)
class StreamView:
    """One output of a command, its beginning at least, and its end. ``cut``: what is missing, where the whole is."""

    name: Literal["stdout", "stderr"]
    lines: tuple[Line, ...]
    file: Link
    cut: str | None = None
    tail: tuple[Line, ...] = ()
    """Its last lines, where what comes before them is left out; ``gap`` says so in between."""
    gap: str | None = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node in a snapshot: what was counted, and each object as one line."""

    node: str
    summary: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as a terminal shows it. ``ended``: what the prompt would not show (exit 7, killed by SIGKILL, ...)."""

    id: str
    anchor: str
    prompt: str
    command: tuple[str, ...]
    note: Prose | None
    stdin: str | None
    outputs: tuple[StreamView, ...]
    facts: tuple[NodeFacts, ...]
    ended: str | None
    trouble: str | None
    remark: str | None
    took: str | None
    changes: tuple[Change, ...]
    """What it changed in the kernel, as far as anybody looked."""
    changed: bool
    """In a control: the experiment has no such step, or another in its place."""
    like: str | None
    """In a control: the anchor of the experiment's step, where it went as there, but for times and ids. It is not
    told twice."""
    typed: bool
    """A change that labrun made over netlink; the command is what would do the same."""


@dataclass(frozen=True, slots=True)
class PacketRow:
    number: int
    anchor: str
    time: str
    """Milliseconds since its step began."""
    interface: str
    direction: Literal["in", "out"] | None
    length: int
    protocol: str
    source: str
    destination: str
    info: str
    cited: tuple[Link, ...]
    """The hypotheses whose judging refers to this packet."""
    journey: Link | None = None
    """The letter of the packet in the ladder: rows of one letter are one packet."""
    whole: str | None = None
    """Of a fragment: the letter of the packet that it is of."""
    bytes: PacketBytes | None = None
    """Its fields and its hex dump."""


@dataclass(frozen=True, slots=True)
class PacketGroup:
    """Packets of one step's time, and where there are none, that nothing was seen."""

    title: str
    rows: tuple[PacketRow, ...]


@dataclass(frozen=True, slots=True)
class CaptureView:
    step: str
    anchor: str
    node: str
    interfaces: tuple[str, ...]
    filter: str | None
    file: Link
    packets: int | None
    health: str
    healthy: bool
    groups: tuple[PacketGroup, ...]
    cut: str | None
    inline: str | None = None
    """The whole file as base64, where it is small."""
    size: str | None = None
    """Of the file, in words."""

    def rows(self) -> Iterator[PacketRow]:
        return (row for group in self.groups for row in group.rows)


@dataclass(frozen=True, slots=True)
class VariantView:
    """One run of the steps: the experiment, or a control."""

    id: str
    anchor: str
    change: str | None
    """What is different in this control, in words."""
    topology_steps: tuple[StepView, ...]
    topology_differs: bool
    """False in a control that was set up just as the experiment was."""
    steps: tuple[StepView, ...]
    captures: tuple[CaptureView, ...]
    ladder: Ladder | None
    faults: tuple[str, ...]
    partial: str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What one variant says to one node of a prediction."""

    truth: Truth
    actual: str | None
    message: str | None
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A variant beside the others. ``wanted``: the truth that speaks for the claim here."""

    title: str
    change: str | None
    note: Prose | None
    truth: Truth
    wanted: bool
    href: str | None


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A node of the prediction: what was looked at, what had to hold, and what each column has to say (or None)."""

    depth: int
    subject: str
    predicted: str
    cells: tuple[Cell | None, ...]
    branch: bool
    first: str | None = None
    """Of several checks the first that made the prediction fail in the experiment: what it is, in words."""


@dataclass(frozen=True, slots=True)
class HypothesisView:
    id: str
    anchor: str
    claim: str
    expect: str
    verdict: Verdict
    standing: Standing
    in_words: str
    """The verdict in a stranger's words, for beside the exact one."""
    why: str
    """Why it is so, in one sentence: the author's of an expected verdict, else what was found. May have `code`."""
    reason: str
    message: str
    observed: str
    columns: tuple[Column, ...]
    rows: tuple[TraceRow, ...]
    because: Prose | None
    no_control: str | None
    place: Link | None
    """Where it stands in the lab file: text file:line."""
    spread: tuple[str, ...]
    """Of a repeated lab: how often each verdict came, and how long things took."""
    explanation: str
    """All of it in plain lines, as the terminal has it: for formats without tables."""


@dataclass(frozen=True, slots=True)
class LabFile:
    """The lab's file as it ran, from which the page alone can run it again.

    ``file``: as the run named it. ``values``: of its parameters, as JSON. ``only``: the ids of its hypotheses, spaces
    between. ``text``: None where it stands with another run of the same lab, or is too large for the page (``cut``).
    ``exact``: its bytes in base64, where the text shows some of them as signs. ``sha256``: of its bytes.
    """

    file: str
    values: str
    only: str
    sha256: str
    text: str | None = None
    exact: str | None = None
    cut: str | None = None


@dataclass(frozen=True, slots=True)
class LabView:
    slug: str
    anchor: str
    title: str
    question: str | None
    source: str | None
    source_url: str | None
    background: Prose | None
    conclusion: Prose | None
    tags: tuple[str, ...]
    status: Literal["done", "skipped", "error"]
    problem: str | None
    notes: tuple[str, ...]
    topology: TopologyView | None
    experiment: VariantView | None
    controls: tuple[VariantView, ...]
    hypotheses: tuple[HypothesisView, ...]
    unjudged: tuple[str, ...]
    files: tuple[Link, ...]
    standing: Standing
    took_ms: int
    """How long its sandboxes ran, one after another; 0 where none did."""
    beside: tuple[Link, ...] = ()
    """The files beside the lab's own that are kept."""
    source_file: LabFile | None = None

    @property
    def took(self) -> str | None:
        return f"{self.took_ms / 1000:.1f} s" if self.took_ms else None


@dataclass(frozen=True, slots=True)
class MatrixRow:
    lab: str
    lab_anchor: str
    hypothesis: HypothesisView


@dataclass(frozen=True, slots=True)
class MatrixGroup:
    """Neighbouring rows of one lab, with what it asked."""

    lab: str
    anchor: str
    question: str | None
    took: str | None
    hypotheses: tuple[HypothesisView, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """What sandboxes were made of; one for all labs whose sandboxes were alike."""

    labs: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunView:
    id: str
    title: str
    headline: str
    standing: Standing
    started: str
    where: str
    """The environment in one line."""
    facts: tuple[tuple[str, str], ...]
    command: str
    counts: tuple[tuple[str, int], ...]
    matrix: tuple[MatrixRow, ...]
    labs: tuple[LabView, ...]
    environments: tuple[Environment, ...]
    files: tuple[Link, ...]
    times_ms: tuple[int, int] = (0, 0)
    """When it began and when its evidence ends, since the epoch."""
    cut: str | None = None
    """What the page leaves out to stay small."""
    total: int = 0
    """How many labs there are, those included that the page leaves out."""

    def by_lab(self) -> Iterator[MatrixGroup]:
        """The matrix in its order."""
        labs = {lab.anchor: lab for lab in self.labs}
        for (lab, anchor), rows in groupby(self.matrix, key=lambda row: (row.lab, row.lab_anchor)):
            of = labs.get(anchor)  # a page that is cut has rows of labs that it leaves out
            question, took = (of.question, of.took) if of is not None else (None, None)
            yield MatrixGroup(lab, anchor, question, took, tuple(row.hypothesis for row in rows))
