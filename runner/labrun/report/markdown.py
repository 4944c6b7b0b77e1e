"""The view as one Markdown file that reads well on GitHub and in a terminal: the verdicts first, then each lab.

The same facts as the HTML page, with less of the long parts: the evidence has them whole, and each cut says where.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from labrun.judge.results import Truth
from labrun.report import gfm, mermaid
from labrun.report.ansi import plain_text
from labrun.report.view import (
    CaptureView,
    Cell,
    HypothesisView,
    LabView,
    Link,
    PacketRow,
    RunView,
    StepView,
    VariantView,
)

MAX_LINES = 100  # of an output
MAX_ROWS = 50  # of a capture; cited packets are always there
_TAIL = 20
_PACKET_HEAD = (
    "No.", "When", "Time since the step began", "Packet", "Interface", "Way", "Protocol", "From", "To", "What",
    "Bytes", "Cited by",
)  # fmt: skip
_FOLD_LINES = 40
_MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}
_TRUTHS: dict[Truth, str] = {True: "✓ holds", False: "✗ does not hold", None: "? unknown"}


def render_markdown(view: RunView) -> str:
    """The same view gives the same bytes."""
    return "\n\n".join(part for part in _run(view) if part) + "\n"


def lab_markdown(lab: LabView) -> str:
    """One lab alone, without what the run says of itself."""
    return "\n\n".join(part for part in _lab(lab) if part) + "\n"


def _run(view: RunView) -> Iterator[str]:
    yield f"# {gfm.label(view.title)}"
    if len(view.labs) == 1 and view.labs[0].question:
        yield f"> {gfm.label(view.labs[0].question)}"
    yield f"**{gfm.text(view.headline)}**"
    yield f"{gfm.text(view.started)}, {gfm.text(view.where)}."
    yield gfm.fence(f"$ {view.command}", "console")
    yield "## Verdicts"
    if view.matrix:
        yield _matrix(view)
    for lab in view.labs:
        if lab.status != "done":
            yield f"- {gfm.link(gfm.text(lab.slug), '#' + lab.anchor)}: {_problem(lab)}"
    for lab in view.labs:
        yield from _lab(lab)
    yield from _environment(view)


def _matrix(view: RunView) -> str:
    many = len(view.labs) > 1
    head = [*(["Lab"] if many else []), "Claim", "Verdict", "Why"]
    rows = []
    for row in view.matrix:
        h = row.hypothesis
        rows.append([
            *([gfm.link(gfm.text(row.lab), "#" + row.lab_anchor)] if many else []),
            gfm.link(gfm.label(h.claim), "#" + h.anchor), _verdict(h), gfm.label(h.why),
        ])  # fmt: skip
    return gfm.table(head, rows)


def _verdict(h: HypothesisView) -> str:
    words = f"{_MARKS[h.verdict]} {h.in_words} ({h.verdict})"
    if h.standing == "surprise":
        return f"**{words} (surprise)**"
    return f"**{words}**" if h.standing == "inconclusive" else words


def _problem(lab: LabView) -> str:
    words = gfm.text(lab.problem or "")
    return words + (f" Not judged: {', '.join(gfm.text(name) for name in lab.unjudged)}." if lab.unjudged else "")


def _lab(lab: LabView) -> Iterator[str]:
    yield "---"
    yield f"{gfm.anchor(lab.anchor)}\n\n## {gfm.label(lab.title)}"
    yield f"**{gfm.label(lab.question)}**" if lab.question else ""
    if lab.source:
        words = gfm.text(lab.source)
        yield f"From {gfm.link(words, _url(lab.source_url)) if lab.source_url else words}."
    yield f"> {_problem(lab)}" if lab.problem else ""
    for note in lab.notes:
        yield f"> {gfm.text(note)}"
    if lab.hypotheses:
        yield "### Answer"
        for hypothesis in lab.hypotheses:
            yield from _hypothesis(hypothesis)
    if lab.conclusion:
        yield "### Conclusion"
        yield gfm.prose(lab.conclusion)
    if lab.background:
        yield "### Background"
        yield gfm.prose(lab.background)
    if lab.topology is not None:
        yield "### Topology"
        yield gfm.fence(drawn, "mermaid") if (drawn := mermaid.topology(lab.topology)) else ""
        yield "\n".join(_topology(lab))
    if lab.experiment is not None:
        yield "### Experiment"
        yield from _variant(lab.experiment)
        if lab.experiment.captures:
            yield "### Captures"
            ladder = lab.experiment.ladder
            yield gfm.fence(drawn, "mermaid") if ladder and (drawn := mermaid.ladder(ladder)) else ""
            for capture in lab.experiment.captures:
                yield from _capture(capture)
    if lab.beside:
        yield f"The lab's own files: {', '.join(gfm.link(gfm.text(link.text), link.href) for link in lab.beside)}."
    if lab.controls:
        yield "### Controls"
        for control in lab.controls:
            content = [*_variant(control), *(part for capture in control.captures for part in _capture(capture))]
            yield gfm.anchor(control.anchor)
            yield gfm.details(f"{control.id}: {control.change or 'control'}", "\n\n".join(filter(None, content)))


def _url(url: str) -> str:
    return url.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _topology(lab: LabView) -> Iterator[str]:
    assert lab.topology is not None
    for node in lab.topology.nodes:
        made = f" (made by {gfm.text(node.made_by)})" if node.made_by else ""
        yield f"- **{gfm.text(node.name)}**{made}"
        for i in node.interfaces:
            facts = [*i.addresses, *([f"port of {i.master}"] if i.master else []), *([] if i.up else ["down"])]
            yield f"  - {gfm.code(i.name)} {i.kind}" + (f": {gfm.text(', '.join(facts))}" if facts else "")
        for route in node.routes:
            yield f"  - route {gfm.text(route)}"
    for link in lab.topology.links:
        ends = " and ".join(gfm.code(f"{node}.{interface}") for node, interface in link.ends)
        yield f"- link between {ends}" + (f", mtu {link.mtu}" if link.mtu else "")


def _variant(variant: VariantView) -> Iterator[str]:
    if variant.topology_steps and variant.topology_differs:
        yield gfm.anchor(f"{variant.anchor}-setup")
        summary = f"The topology, made in {len(variant.topology_steps)} steps"
        yield gfm.details(summary, gfm.fence("\n".join(_terminal(s) for s in variant.topology_steps), "console"))
    part: list[StepView] = []
    for step in variant.steps:
        if step.note and part:
            yield from _steps(part)
            part = []
        if step.note:
            yield gfm.prose(step.note)
        part.append(step)
    if part:
        yield from _steps(part)
    for fault in variant.faults:
        yield f"> {gfm.text(fault)}"
    yield f"> {gfm.text(variant.partial)}" if variant.partial else ""


def _steps(steps: list[StepView]) -> Iterator[str]:
    """Steps with no note between them share one terminal. A long one is folded by itself."""
    for long, group in groupby(steps, key=lambda step: sum(len(out.lines) for out in step.outputs) > _FOLD_LINES):
        part = list(group)
        yield "".join(gfm.anchor(step.anchor) for step in part)
        block = gfm.fence("\n".join(_terminal(step) for step in part), "console")
        yield gfm.details(f"{', '.join(step.id for step in part)}: a long output", block) if long else block
        for step in (each for each in part if not each.like):
            for out in step.outputs:
                if out.cut or len(out.lines) > MAX_LINES:
                    cut = out.cut or f"The first {MAX_LINES} lines are shown."
                    yield f"{gfm.text(cut)} The whole: {gfm.link(gfm.text(out.file.text), out.file.href)}"
            if step.changes:
                lines = "\n".join(f"{c.sign if c.sign != '~' else '!'} {c.node} {c.text}" for c in step.changes)
                yield gfm.details(f"{step.id}: {len(step.changes)} changes in the kernel", gfm.fence(lines, "diff"))
            for node in step.facts:
                lines = "\n".join(node.lines)
                yield gfm.details(f"{step.id}, {node.node}: {node.summary}", gfm.fence(lines)) if lines else ""


def _terminal(step: StepView) -> str:
    if step.like:
        return f"{step.prompt} {step.command[0]}   # as in the experiment"
    lines = [f"{step.prompt} " + "\n".join(step.command) + ("   # only in this control" if step.changed else "")]
    if step.stdin:
        lines += [f"> {line}" for line in step.stdin.rstrip("\n").split("\n")]
    for out in step.outputs:
        lines.append(plain_text(out.lines[:MAX_LINES]))
        if len(out.lines) > MAX_LINES:
            lines.append(f"[{len(out.lines) - MAX_LINES} more lines]")
        if out.tail:
            lines += [f"[{out.gap}]", plain_text(out.tail[-_TAIL:])]
    lines += [f"[{words}]" for words in (step.ended, step.remark, step.trouble) if words]
    return "\n".join(lines)


def _capture(capture: CaptureView) -> Iterator[str]:
    where = f"{gfm.text(capture.node)}: {', '.join(gfm.code(name) for name in capture.interfaces) or 'no interface'}"
    yield f"{gfm.anchor(capture.anchor)}\n\n#### {gfm.text(capture.step)} ({where})"
    counted = "" if capture.packets is None else f"{capture.packets} packet{'' if capture.packets == 1 else 's'}. "
    filtered = f"Filter {gfm.code(capture.filter)}. " if capture.filter else ""
    yield f"{filtered}{counted}{gfm.text(capture.health)} {gfm.link(gfm.text(capture.file.text), capture.file.href)}"
    rows: list[list[str]] = []
    left_out = 0
    for group in capture.groups:
        if not group.rows:
            rows.append(["", gfm.text(group.title), *([""] * (len(_PACKET_HEAD) - 2))])
        for row in group.rows:
            if len(rows) >= MAX_ROWS and not row.cited:
                left_out += 1
            else:
                rows.append(_packet(group.title, row))
    if rows:
        head = list(_PACKET_HEAD)
        content = gfm.table(head, rows)
        shown = sum(len(group.rows) for group in capture.groups) - left_out
        yield gfm.details(f"{shown} packets", content) if len(rows) > 12 else content
    cut = f"{left_out} more rows are in the HTML report. " if left_out else ""
    yield gfm.text(cut + (capture.cut or ""))


def _packet(title: str, row: PacketRow) -> list[str]:
    letter = row.journey.text + (f" of {row.whole}" if row.whole else "") if row.journey else ""
    words = (
        title,
        f"{row.time} ms" if row.time else "",
        letter,
        row.interface,
        row.direction or "",
        row.protocol,
        row.source,
        row.destination,
        row.info,
    )
    return [f"{gfm.anchor(row.anchor)}{row.number}", *(gfm.text(word) for word in words), str(row.length),
            _links(row.cited)]  # fmt: skip


def _links(links: tuple[Link, ...]) -> str:
    return ", ".join(gfm.link(gfm.text(link.text), link.href) for link in links)


def _hypothesis(h: HypothesisView) -> Iterator[str]:
    yield f"{gfm.anchor(h.anchor)}\n\n#### {gfm.label(h.claim)}"
    expected = "as expected" if h.standing == "as-expected" else f"expected: {h.expect}"
    yield f"{_verdict(h)}, {expected}: {gfm.label(h.message)}"
    yield "\n".join(f"- {gfm.text(line)}" for line in h.spread)
    yield gfm.prose(h.because) if h.because else ""
    head = ["Looked at", "Predicted"]
    for column in h.columns:
        title = gfm.link(column.title, column.href) if column.href and column.change else column.title
        title += f", must {'' if column.wanted else 'not '}hold" if column is not h.columns[0] else ""
        head.append(title + (f": {gfm.label(column.change)}" if column.change else ""))
    rows = [
        [
            "&nbsp;" * 4 * row.depth + gfm.text(row.subject) + (f" **({row.first})**" if row.first else ""),
            gfm.code(row.predicted),
            *(_cell(cell) for cell in row.cells),
        ]
        for row in h.rows
    ]
    yield gfm.table(head, rows)
    for column in h.columns:
        yield gfm.prose(f"{column.title}: {column.note}") if column.note else ""
    yield f"No control: {gfm.label(h.no_control)}" if h.no_control else ""
    yield f"In the lab file: {gfm.link(gfm.text(h.place.text), h.place.href)}" if h.place else ""


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "not reached"
    parts = [_TRUTHS[cell.truth]]
    parts += [gfm.code(cell.actual)] if cell.actual is not None else []
    parts += [gfm.text(cell.message)] if cell.message else []
    parts += [f"({_links(cell.links)})"] if cell.links else []
    return " ".join(parts)


def _environment(view: RunView) -> Iterator[str]:
    yield "---"
    yield '<a id="environment"></a>\n\n## Environment'
    yield gfm.table(["What", "Value"], [[name, gfm.text(value)] for name, value in view.facts])
    for made in view.environments:
        yield f"### In the sandbox of {gfm.text(', '.join(made.labs))}"
        facts = [*made.facts, *((("Capabilities", ", ".join(made.capabilities)),) if made.capabilities else ())]
        yield gfm.table(["What", "Value"], [[name, gfm.text(value)] for name, value in facts])
        if made.packages:
            rows = [[gfm.text(name), gfm.text(version)] for name, version in made.packages]
            yield gfm.details(f"{len(rows)} packages", gfm.table(["Package", "Version"], rows))
    yield f"The evidence is beside this page: {_links(view.files)}."
