"""A prediction over one variant's evidence: every node evaluated and traced, nothing cut short.

The message of a leaf shows both sides and where to look.
"""

from __future__ import annotations

from typing import Any

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord
from labrun.judge.commands import Ended, Text, observe_command, read_text, step_ref
from labrun.judge.compare import Count, all_of, any_of, holds, negate
from labrun.judge.packets import observe_packets
from labrun.judge.results import Ref, Trace, Truth
from labrun.judge.states import Objects, observe_state
from labrun.judge.why import Unknown, missing, step_trouble
from labrun.lab.predictions import (
    AllOf,
    AnyOf,
    ChangeIs,
    Check,
    CommandIs,
    Not,
    PacketsAre,
    PacketSelector,
    Prediction,
    StateIs,
)
from labrun.protocol.events import ChangeResult

_SYMBOLS = {"equals": "==", "ge": ">=", "le": "<=", "gt": ">", "lt": "<"}
_SHOWN = 200  # characters of an actual value in a message; the evidence has all of it


def evaluate(prediction: Prediction, variant: VariantRecord, prefix: str, path: str = "") -> Trace:
    """``prefix``: the variant's folder, relative to the run directory, with a slash."""
    if isinstance(prediction, AllOf):
        return _branch("all", prediction.all, variant, prefix, path)
    if isinstance(prediction, AnyOf):
        return _branch("any", prediction.any, variant, prefix, path)
    if isinstance(prediction, Not):
        child = evaluate(prediction.not_, variant, prefix, _join(path, "not"))
        return Trace(path, "not", negate(child.truth), "not", reason=child.reason, children=(child,))
    if isinstance(prediction, CommandIs):
        return _command(prediction, variant, prefix, path)
    if isinstance(prediction, ChangeIs):
        return _change(prediction, variant, prefix, path)
    if isinstance(prediction, PacketsAre):
        return _packets(prediction, variant, prefix, path)
    return _state(prediction, variant, prefix, path)


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def _branch(word: str, predictions: tuple[Prediction, ...], variant: VariantRecord, prefix: str, path: str) -> Trace:
    children = tuple(
        evaluate(child, variant, prefix, _join(path, f"{word}.{index}")) for index, child in enumerate(predictions)
    )
    return _joined(path, word, "all of" if word == "all" else "any of", children)


def _joined(path: str, word: str, subject: str, children: tuple[Trace, ...]) -> Trace:
    truths = [child.truth for child in children]
    truth = any_of(truths) if word == "any" else all_of(truths)
    reason = next((child.reason for child in children if child.truth is None), None) if truth is None else None
    return Trace(path, subject, truth, word, reason=reason, children=children)


def _several(path: str, subject: str, traces: list[Trace]) -> Trace:
    """Several checks on one subject: one node, or a branch over them."""
    return traces[0] if len(traces) == 1 else _joined(path, "all", subject, tuple(traces))


def _unknown(path: str, subject: str, operator: str | None, expected: str | None, why: Unknown,
             refs: tuple[Ref, ...] = ()) -> Trace:  # fmt: skip
    return Trace(path, subject, None, operator, expected, None, why.code, why.message, refs)


def _compared(path: str, subject: str, operator: str, expected: Any, actual: Any, truth: Truth,
              refs: tuple[Ref, ...], doubt: Unknown | None = None) -> Trace:  # fmt: skip
    shown_expected, shown_actual = _show(expected), _show(actual)
    symbol = _SYMBOLS.get(operator, operator)
    message = f"{subject} {symbol} {shown_expected}, actual {shown_actual}"
    if refs:
        message += f" ({', '.join(str(ref) for ref in refs)})"
    reason = None
    if truth is None:
        mismatch = Unknown("type-mismatch", f"{operator} cannot compare {shown_actual} with {shown_expected}")
        doubt = doubt or mismatch
        reason, message = doubt.code, f"{message}; {doubt.message}"
    return Trace(path, subject, truth, operator, shown_expected, shown_actual, reason, message, refs)


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN else value[:_SHOWN] + f"... ({len(value)} characters)"
        return f'"{text}"'
    return str(value)


def _checks(path: str, subject: str, check: Check, actual: Any, refs: tuple[Ref, ...]) -> list[Trace]:
    return [
        _compared(_join(path, operator), subject, operator, expected, actual, holds(operator, actual, expected), refs)
        for operator, expected in check.operators().items()
    ]


def _command(leaf: CommandIs, variant: VariantRecord, prefix: str, path: str) -> Trace:
    subject = f"command {leaf.command}"
    observed = observe_command(variant, leaf.command)
    refs = step_ref(variant.step(leaf.command), prefix, layout.EVENTS)
    traces: list[Trace] = []
    given = [("exit", leaf.exit), ("stdout", leaf.stdout), ("stderr", leaf.stderr)]
    for field, check in given:
        if check is None:
            continue
        where, what = _join(path, field), f"{field} of {leaf.command}"
        why = observed if isinstance(observed, Unknown) else None
        if isinstance(observed, Ended) and field == "exit":
            if isinstance(observed.exit, Unknown):
                why = observed.exit
            else:
                traces += _checks(where, what, check, observed.exit, refs)
        elif isinstance(observed, Ended):
            output = observed.stdout if field == "stdout" else observed.stderr
            traces += _text_checks(where, what, check, read_text(variant, output, prefix))
        if why is not None:
            traces += [
                _unknown(_join(where, operator), what, operator, _show(expected), why, refs)
                for operator, expected in check.operators().items()
            ]
    return _several(path, subject, traces)


def _text_checks(path: str, subject: str, check: Check, text: Text) -> list[Trace]:
    """On a text that was cut, only what was found in the kept part is sure."""
    traces = []
    for operator, expected in check.operators().items():
        truth = holds(operator, text.value, expected)
        sure = (operator in ("contains", "matches") and truth is True) or (operator == "lacks" and truth is False)
        doubt = None
        if text.cut and not sure:
            truth, doubt = None, Unknown("output-cut", "the command printed more than was kept")
        where = _join(path, operator)
        traces.append(_compared(where, subject, operator, expected, text.value, truth, (text.ref,), doubt))
    return traces


def _change(leaf: ChangeIs, variant: VariantRecord, prefix: str, path: str) -> Trace:
    subject = f"errno of {leaf.change}"
    record = variant.step(leaf.change)
    refs = step_ref(record, prefix, layout.EVENTS)
    where = _join(path, "errno")
    why = step_trouble(record) if record is not None else missing(variant, f"step '{leaf.change}'")
    result = record.ended.result if record is not None and record.ended is not None else None
    if why is None and not isinstance(result, ChangeResult):
        why = missing(variant, f"the end of step '{leaf.change}'")
    if why is not None or not isinstance(result, ChangeResult):
        why = why or missing(variant, leaf.change)
        unknowns = [
            _unknown(_join(where, operator), subject, operator, _show(expected), why, refs)
            for operator, expected in leaf.errno.operators().items()
        ]
        return _several(path, subject, unknowns)
    return _several(path, subject, _checks(where, subject, leaf.errno, result.errno or "none", refs))


def _packets(leaf: PacketsAre, variant: VariantRecord, prefix: str, path: str) -> Trace:
    subject = f"packets {_selected(leaf.packets)}"
    observed = observe_packets(variant, leaf.packets, prefix)
    traces = []
    for operator, expected in leaf.count.operators().items():
        where, what = _join(path, f"count.{operator}"), f"{subject}: count"
        if isinstance(observed, Unknown):
            traces.append(_unknown(where, what, operator, _show(expected), observed))
            continue
        truth = observed.count.holds(operator, expected)
        refs = (observed.ref,)
        traces.append(_compared(where, what, operator, expected, observed.count, truth, refs, observed.doubt))
    return _several(path, subject, traces)


def _selected(selector: PacketSelector) -> str:
    words = [f"on {selector.on}"]
    if selector.direction:
        words.append(selector.direction)
    if selector.during is not None:
        begin, end = selector.during.start, selector.during.end
        words.append(f"during {begin}" if begin == end else f"from {begin} to {end}")
    if selector.match:
        words.append(f"matching '{selector.match}'")
    return " ".join(words)


def _state(leaf: StateIs, variant: VariantRecord, prefix: str, path: str) -> Trace:
    selector = leaf.selector
    observed = observe_state(variant, leaf, prefix)
    node = observed.node if isinstance(observed, Objects) else selector.node or "?"
    conditions = [
        f"{field} {_SYMBOLS.get(operator, operator)} {_show(expected)}"
        for field, check in selector.where.items()
        for operator, expected in check.operators().items()
    ]
    subject = f"{leaf.kind} of {node} at {selector.at}" + (f" where {' and '.join(conditions)}" if conditions else "")
    traces: list[Trace] = []
    if leaf.count is not None:
        for operator, expected in leaf.count.operators().items():
            where, what = _join(path, f"count.{operator}"), f"{subject}: count"
            if isinstance(observed, Unknown):
                traces.append(_unknown(where, what, operator, _show(expected), observed))
            else:
                count = Count(len(observed.found), len(observed.found))
                refs = tuple(found.ref for found in observed.found[:10]) or (observed.file,)
                truth = count.holds(operator, expected)
                traces.append(_compared(where, what, operator, expected, count, truth, refs))
    if leaf.each is not None:
        traces += _each(leaf.each, observed, subject, path)
    return _several(path, subject, traces)


def _each(each: dict[str, Any], observed: Objects | Unknown, subject: str, path: str) -> list[Trace]:
    """Every found object passes every check. Where there is no object at all, the prediction is false."""
    where = _join(path, "each")
    if isinstance(observed, Unknown):
        return [
            _unknown(_join(where, f"{field}.{operator}"), f"{subject}: {field}", operator, _show(expected), observed)
            for field, check in each.items()
            for operator, expected in check.operators().items()
        ]
    if not observed.found:
        text = f"{subject}: there is none (of {observed.total})"
        return [Trace(where, subject, False, "each", "at least one", "none", None, text, (observed.file,))]
    return [
        trace
        for found in observed.found
        for field, check in each.items()
        for trace in _checks(_join(where, field), f"{subject}: {field}", check, found.value.get(field), (found.ref,))
    ]
