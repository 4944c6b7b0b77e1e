"""A judged hypothesis as a table: the same prediction beside itself, in the experiment and in every control."""

from __future__ import annotations

from dataclasses import replace

from labrun.judge.evaluation import sentence
from labrun.judge.explain import explain, first_word, spread
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, Subject, is_surprise
from labrun.logic.visible import visible
from labrun.report import anchors
from labrun.report.references import Places
from labrun.report.view import Cell, Column, HypothesisView, Link, Standing, TraceRow
from labrun.report.visible import first_sentence, one_line, shorten

MAX_TEXT = 600  # of one side of a comparison; the evidence has it whole
MAX_LINKS = 8
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
                note=_note(control),
                truth=control.truth,
                wanted=control.must,
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
        in_words=in_words(result),
        why=_why(slug, result),
        reason=one_line(result.reason),
        message=_message(slug, result),
        observed=observed(result),
        columns=columns,
        rows=_rows([result.trace, *(control.trace for control in controls)], places),
        spread=tuple(_text(line) for line in spread(result)),
        because=visible(result.because, "\n\t") if result.because else None,
        no_control=_text(result.no_control) if result.no_control else None,
        place=Link(f"{one_line(file)}:{result.line}", anchors.file_href(f"labs/{slug}/lab.yaml")),
        explanation=visible(explain(result), "\n"),
    )


def _note(control: ControlResult) -> str | None:
    """The author's words, and what else is not as in the experiment."""
    words = [visible(control.note, "\n\t")] if control.note else []
    words += [f"Also different there: {_text(text)}." for text in control.differs]
    return "\n\n".join(words) or None


def _message(slug: str, result: HypothesisResult) -> str:
    """A refutation that was expected needs no blame, just what was seen; the rest is said as judging says it."""
    if result.verdict == "refuted" and result.as_expected:
        return observed(result)
    return _text(result.message.replace(f"labs/{slug}/", ""))


def standing_of(result: HypothesisResult) -> Standing:
    if is_surprise(result):
        return "surprise"
    return "inconclusive" if result.verdict == "inconclusive" else "as-expected"


def in_words(result: HypothesisResult) -> str:
    """The verdict for whoever does not know labrun's words, to stand beside the exact one."""
    if result.verdict == "inconclusive":
        return "not decided"
    word = "true" if result.verdict == "supported" else "false"
    if result.as_expected:
        return word if result.verdict == "supported" else f"{word}: popular belief"
    return f"{word}, though {'true' if result.expect == 'supported' else 'false'} was expected"


def _why(slug: str, result: HypothesisResult) -> str:
    """One sentence. The author's reason stands for the verdict that the author expected, and for no other."""
    because = first_sentence(visible(result.because, "\n\t")) if result.because and result.as_expected else ""
    return _text(because) or _message(slug, result)


def observed(result: HypothesisResult) -> str:
    """What decided, in one short sentence: the first two of the leaves because of which the verdict is what it is."""
    leaves = result.trace.deciding(result.trace.truth)
    brief = [_uncounted(leaf.subject).brief() for leaf in leaves]
    told: dict[str, None] = {}
    for leaf, short in zip(leaves, brief, strict=True):
        same = {other.actual for other, name in zip(leaves, brief, strict=True) if name == short}
        # Without its conditions a subject may seem to be two things at once; then they are needed.
        subject = short if len(same) == 1 else str(_uncounted(leaf.subject))
        if leaf.actual is None:
            told[shorten(_text(sentence(leaf)), 160)] = None
        else:
            told[f"{shorten(_text(subject), 70)}: {shorten(_text(leaf.actual), 60)}"] = None
    more = f" (and {len(told) - 2} more)" if len(told) > 2 else ""
    return "; ".join(list(told)[:2]) + more


def _uncounted(subject: Subject) -> Subject:
    """A number of packets or objects says that it is a count."""
    return replace(subject, quantity="") if subject.quantity == "count" else subject


def _text(text: str) -> str:
    return shorten(one_line(text), MAX_TEXT)


def _rows(traces: list[Evaluation], places: Places) -> tuple[TraceRow, ...]:
    """The nodes of the prediction in its own order; a node that some variant never reached has no cell there.

    A control may have a prediction of its own, so a row is of one place and of one subject.
    """
    found = [_by_place(trace) for trace in traces]
    order: dict[tuple[str, str], int] = {}
    for each in found:
        for place, (depth, _) in each.items():
            order.setdefault(place, depth)
    mark, first_path = _first_difference(traces[0])
    rows = []
    for place, depth in order.items():
        cells = [each[place][1] if place in each else None for each in found]
        first = next(cell for cell in cells if cell is not None)
        branch = bool(first.children) and first.operator != "expr"
        rows.append(
            TraceRow(
                depth=depth,
                subject=_BRANCHES.get(first.subject.what) or _text(str(_uncounted(first.subject))),
                predicted="" if branch else _predicted(first),
                cells=tuple(_cell(cell, places) if cell is not None else None for cell in cells),
                branch=branch,
                first=mark if place[0] == first_path and cells[0] is not None else None,
            )
        )
    return tuple(rows)


def _first_difference(trace: Evaluation) -> tuple[str, str | None]:
    """Of several checks the first because of which the prediction is not true: what to call it, and its path."""
    if trace.truth is True or len(trace.leaves()) == 1:
        return "", None
    node = trace.decisive()
    return first_word(trace, node), node.path


def _by_place(trace: Evaluation, depth: int = 0) -> dict[tuple[str, str], tuple[int, Evaluation]]:
    found = {(trace.path, str(trace.subject)): (depth, trace)}
    for child in trace.children:
        for place, each in _by_place(child, depth + 1).items():
            # Paths are unique in a trace; should two meet, both are shown.
            found[place if place not in found else (f"{place[0]}#{len(found)}", place[1])] = each
    return found


def _predicted(trace: Evaluation) -> str:
    if trace.operator == "value":  # a part of an expression: nobody predicted it
        return ""
    counted = "count" if trace.subject.quantity == "count" else ""
    operator = _SYMBOLS.get(trace.operator or "", trace.operator)
    return _text(" ".join(word for word in (counted, operator, trace.expected) if word))


def _cell(trace: Evaluation, places: Places) -> Cell:
    links = tuple(dict.fromkeys(link for ref in trace.refs[:MAX_LINKS] for link in places.links(ref)))
    return Cell(
        truth=trace.truth,
        actual=_text(trace.actual) if trace.actual is not None else None,
        message=_more(trace),
        links=links[:MAX_LINKS],
    )


def _more(trace: Evaluation) -> str | None:
    """What there is to say besides both sides; of the unknown also why, as a code."""
    note = None if trace.operator in ("expr", "value") else trace.note
    code = f"[{trace.reason}]" if trace.truth is None and trace.reason and not trace.children else None
    shown = " ".join(word for word in (note, code) if word)
    return _text(shown) if shown else None
