"""A judged hypothesis as a table: the same prediction beside itself, in the experiment and in every control."""

from __future__ import annotations

import re

from labrun.judge.explain import explain
from labrun.judge.results import HypothesisResult, Trace, is_surprise
from labrun.report import anchors
from labrun.report.references import Places
from labrun.report.view import Cell, Column, HypothesisView, Link, Standing, TraceRow
from labrun.report.visible import one_line, shorten, visible

MAX_TEXT = 600  # of one side of a comparison; the evidence has it whole
MAX_LINKS = 8
_COUNT = ": count"
_BRANCHES = {"all of": "all of these", "any of": "any of these", "not": "not this"}
_SYMBOLS = {"equals": "=", "ge": "≥", "le": "≤", "gt": ">", "lt": "<", "one_of": "one of"}


def hypothesis_view(slug: str, result: HypothesisResult, places: Places, file: str) -> HypothesisView:
    controls = result.controls
    columns = (
        Column("Experiment", None, None, result.trace.truth, True, f"#{anchors.lab(slug)}"),
        *(
            Column(
                title="Control" if len(controls) == 1 else f"Control {number}",
                change=_text(control.change),
                note=visible(control.note, "\n\t") if control.note else None,
                truth=control.truth,
                wanted=False,
                href=f"#{anchors.variant(slug, control.variant)}" if control.variant in places.variants else None,
            )
            for number, control in enumerate(controls, start=1)
        ),
    )
    return HypothesisView(
        id=result.id,
        anchor=anchors.hypothesis(slug, result.id),
        claim=_text(result.claim),
        expect=result.expect,
        verdict=result.verdict,
        standing=standing_of(result),
        reason=one_line(result.reason),
        message=_message(slug, result),
        observed=observed(result),
        columns=columns,
        rows=_rows([result.trace, *(control.trace for control in controls)], places),
        because=visible(result.because, "\n\t") if result.because else None,
        no_control=_text(result.no_control) if result.no_control else None,
        place=Link(f"{one_line(file)}:{result.line}", anchors.file_href(f"labs/{slug}/lab.yaml")),
        explanation=visible(explain(result), "\n"),
    )


def _message(slug: str, result: HypothesisResult) -> str:
    """A refutation that was expected needs no blame, just what was seen; the rest is said as judging says it."""
    if result.verdict == "refuted" and result.as_expected:
        return observed(result)
    return _text(result.message.replace(f"labs/{slug}/", ""))


def standing_of(result: HypothesisResult) -> Standing:
    if is_surprise(result):
        return "surprise"
    return "inconclusive" if result.verdict == "inconclusive" else "as-expected"


def observed(result: HypothesisResult) -> str:
    """What decided, in one short sentence: the first two of the leaves because of which the verdict is what it is."""
    leaves = result.trace.deciding(result.trace.truth)
    brief = [_brief(leaf.subject) for leaf in leaves]
    told: dict[str, None] = {}
    for leaf, subject in zip(leaves, brief, strict=True):
        same = [other for other, short in zip(leaves, brief, strict=True) if short == subject]
        # Without its filter a subject may seem to be two things at once; then the filter is needed.
        whole = subject if len({other.actual for other in same}) == 1 else leaf.subject.removesuffix(_COUNT)
        if leaf.actual is None:
            told[shorten(_text(leaf.message or f"{whole}: not observed"), 160)] = None
        else:
            told[f"{shorten(_text(whole), 90)}: {shorten(_text(leaf.actual), 60)}"] = None
    more = f" (and {len(told) - 2} more)" if len(told) > 2 else ""
    return "; ".join(list(told)[:2]) + more


def _brief(subject: str) -> str:
    """Without the filter or the conditions, which the table of the hypothesis has."""
    return re.sub(r" (?:matching '.*'|where .*?)(?=: \w+$|$)", "", subject, flags=re.DOTALL).removesuffix(_COUNT)


def _text(text: str) -> str:
    return shorten(one_line(text), MAX_TEXT)


def _rows(traces: list[Trace], places: Places) -> tuple[TraceRow, ...]:
    """The nodes of the prediction in its own order; a node that some variant never reached has no cell there."""
    found = [_by_path(trace) for trace in traces]
    order: dict[str, int] = {}
    for each in found:
        for path, (depth, _) in each.items():
            order.setdefault(path, depth)
    rows = []
    for path, depth in order.items():
        cells = [each[path][1] if path in each else None for each in found]
        first = next(cell for cell in cells if cell is not None)
        branch = bool(first.children)
        rows.append(
            TraceRow(
                depth=depth,
                subject=_BRANCHES.get(first.subject) or _text(first.subject.removesuffix(_COUNT)),
                predicted="" if branch else _predicted(first),
                cells=tuple(_cell(cell, places) if cell is not None else None for cell in cells),
                branch=branch,
            )
        )
    return tuple(rows)


def _by_path(trace: Trace, depth: int = 0) -> dict[str, tuple[int, Trace]]:
    found = {trace.path: (depth, trace)}
    for child in trace.children:
        for path, each in _by_path(child, depth + 1).items():
            # Paths are unique in a trace; should two meet, both are shown.
            found[path if path not in found else f"{path}#{len(found)}"] = each
    return found


def _predicted(trace: Trace) -> str:
    counted = "count" if trace.subject.endswith(_COUNT) else ""
    operator = _SYMBOLS.get(trace.operator or "", trace.operator)
    return _text(" ".join(word for word in (counted, operator, trace.expected) if word))


def _cell(trace: Trace, places: Places) -> Cell:
    links = tuple(dict.fromkeys(link for ref in trace.refs[:MAX_LINKS] for link in places.links(ref)))
    return Cell(
        truth=trace.truth,
        actual=_text(trace.actual) if trace.actual is not None else None,
        message=_text(trace.message) if trace.message and trace.truth is None else None,
        links=links[:MAX_LINKS],
    )
