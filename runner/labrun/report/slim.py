"""A view made smaller, in steps, until its page fits: what is read least goes first, and the page says what went.

`room` keeps nearly every page small while it is built; this is for what it cannot foresee, such as thousands of labs.
"""

from __future__ import annotations

from dataclasses import replace

from labrun.report.lab_file import LEFT_OUT
from labrun.report.view import CaptureView, LabFile, LabView, PacketGroup, RunView, StepView, StreamView, VariantView

_LINES = 12
_ROWS = 20
_LABS = 200
_MATRIX = 5_000

LEVELS = (
    "captures within the page and hex dumps",
    "most lines of outputs and most packet rows",
    "outputs, packets, the runs of controls and the labs' files",
    "all but the first labs that are as expected",
)


def slimmer(view: RunView, level: int) -> RunView:
    """``level`` from 1 to len(LEVELS); each has what those before it do."""
    labs = view.labs
    if level >= 4:
        odd = [lab for lab in labs if lab.standing != "as-expected"][:_LABS]
        rest = [lab for lab in labs if lab.standing == "as-expected"][: _LABS - len(odd)]
        keep = {id(lab) for lab in (*odd, *rest)}
        labs = tuple(lab for lab in labs if id(lab) in keep)
    anchors = {lab.anchor for lab in labs}
    rows = tuple(row for row in view.matrix if row.lab_anchor in anchors)[:_MATRIX] if level >= 4 else view.matrix
    missing = len(view.labs) - len(labs)
    words = "Cut, so that this page stays under 10 MB: " + ", ".join(LEVELS[:level]) + "."
    words += f" {missing} labs are in results.json alone." if missing else ""
    return replace(view, labs=tuple(_lab(lab, level) for lab in labs), matrix=rows,
                   cut=words + " The evidence beside the page has everything.")  # fmt: skip


def _lab(lab: LabView, level: int) -> LabView:
    return replace(
        lab,
        experiment=_variant(lab.experiment, level) if lab.experiment else None,
        controls=tuple(_variant(v, level) for v in lab.controls),
        topology=lab.topology if level < 4 else None,
        source_file=_file(lab.source_file) if level >= 3 else lab.source_file,
    )


def _file(file: LabFile | None) -> LabFile | None:
    return replace(file, text=None, exact=None, cut=LEFT_OUT) if file is not None and file.text is not None else file


def _variant(variant: VariantView, level: int) -> VariantView:
    is_control = variant.change is not None
    return replace(
        variant,
        topology_steps=variant.topology_steps if level < 3 else (),
        steps=tuple(_step(step, level) for step in variant.steps),
        captures=tuple(_capture(capture, level) for capture in variant.captures),
        ladder=None if level >= 3 or (level >= 2 and is_control) else variant.ladder,
    )


def _step(step: StepView, level: int) -> StepView:
    if level < 2:
        return step
    return replace(
        step,
        facts=() if level >= 3 else step.facts,
        changes=() if level >= 3 else step.changes,
        outputs=tuple(_stream(s, level) for s in step.outputs),
    )


def _stream(stream: StreamView, level: int) -> StreamView:
    lines = _LINES if level == 2 else 1
    if len(stream.lines) <= lines and not stream.tail:
        return stream
    return replace(stream, lines=stream.lines[:lines], tail=(), gap=None,
                   cut=f"The first {min(lines, len(stream.lines))} lines are shown.")  # fmt: skip


def _capture(capture: CaptureView, level: int) -> CaptureView:
    slim = replace(capture, inline=None, groups=tuple(_unlinked(group) for group in capture.groups))
    if level < 2:
        return slim
    rows = list(slim.rows())
    kept = {row.anchor for row in rows if row.cited} if level >= 2 else set()
    kept |= {row.anchor for row in rows[:_ROWS]}
    groups = tuple(replace(g, rows=tuple(row for row in g.rows if row.anchor in kept)) for g in slim.groups)
    note = slim.cut if len(kept) == len(rows) else f"{len(kept)} of {len(rows)} rows are shown; the file has them all."
    left = tuple(group for group, whole in zip(groups, slim.groups, strict=True) if group.rows or not whole.rows)
    return replace(slim, groups=left, cut=note)


def _unlinked(group: PacketGroup) -> PacketGroup:
    return replace(group, rows=tuple(replace(row, bytes=None) for row in group.rows))
