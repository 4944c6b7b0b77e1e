"""A prediction over one variant's evidence: every node evaluated and traced, nothing cut short.

The message of a leaf shows both sides and where to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord
from labrun.evidence.ref import Ref
from labrun.judge.differences import evaluate_changes
from labrun.judge.evaluation import (
    DURATION,
    SYMBOLS,
    checks,
    compared,
    conditions,
    join,
    joined,
    several,
    show,
    undecided,
    unknown,
    unknowns,
)
from labrun.judge.expression import evaluate_expression
from labrun.judge.lookups import evaluate_lookup
from labrun.judge.paths import evaluate_path
from labrun.judge.results import Evaluation, Subject
from labrun.judge.series import in_time
from labrun.judge.suites import evaluate_suite
from labrun.lab.predictions import (
    AllOf,
    AnyOf,
    ChangeIs,
    ChangesAre,
    Check,
    CommandIs,
    ExprIs,
    LookupIs,
    Not,
    PacketsAre,
    PacketSelector,
    Prediction,
    StateIs,
    SuiteIs,
    TraceIs,
)
from labrun.logic.compare import Count, Truth, any_of, holds, negate
from labrun.observe.commands import Ended, Stream, Text, duration_s, observe_command, read_text, step_ref
from labrun.observe.instruments import without_trace
from labrun.observe.jsonpath import search_json
from labrun.observe.outcome import Accounts, last_words
from labrun.observe.packets import observe_packets
from labrun.observe.states import Objects, observe_state
from labrun.observe.unknown import Unknown, missing, step_trouble
from labrun.observe.values import bound
from labrun.observe.window import disturbed
from labrun.protocol.events import ChangeResult
from labrun.protocol.record import dataclass


def evaluate(
    prediction: Prediction, variant: VariantRecord, prefix: str, path: str = "", accounts: Accounts | None = None
) -> Evaluation:
    """``prefix``: the variant's folder, relative to the run directory, with a slash.

    ``accounts``: the exits that the predictions of the whole lab look at; None: this prediction is all there is.
    A leaf that names a value which no step saved is unknown.
    """
    own = Accounts.of((prediction,))
    return _evaluate(prediction, _Case(variant, prefix, accounts or own, own), path)


@dataclass(frozen=True, slots=True)
class _Case:
    """What a prediction is held against. ``own``: the exits that this very prediction looks at."""

    variant: VariantRecord
    prefix: str
    accounts: Accounts
    own: Accounts


def _evaluate(prediction: Prediction, case: _Case, path: str) -> Evaluation:
    variant, prefix = case.variant, case.prefix
    if isinstance(prediction, AllOf):
        return _branch("all", prediction.all, case, path)
    if isinstance(prediction, AnyOf):
        return _branch("any", prediction.any, case, path)
    if isinstance(prediction, Not):
        child = _evaluate(prediction.not_, case, join(path, "not"))
        return Evaluation(path, Subject("not"), negate(child.truth), "not", reason=child.reason, children=(child,))
    leaf = bound(prediction, variant.values())
    if isinstance(leaf, str):
        why = missing(variant, f"the value '{leaf}'")
        return unknown(path, f"value {leaf}", None, None, why)
    if isinstance(leaf, CommandIs):
        found = _command(leaf, case, path)
    elif isinstance(leaf, PacketsAre):
        found = _packets(leaf, case, path)
    elif isinstance(leaf, ExprIs):
        found = evaluate_expression(leaf, variant, prefix, path, case.own)
    else:
        found = _LEAVES[type(leaf)](leaf, variant, prefix, path)
    failed = disturbed(variant, leaf, case.accounts)
    return found if failed is None else undecided(found, failed)


def _branch(word: str, predictions: tuple[Prediction, ...], case: _Case, path: str) -> Evaluation:
    children = tuple(_evaluate(child, case, join(path, f"{word}.{index}")) for index, child in enumerate(predictions))
    return joined(path, word, "all of" if word == "all" else "any of", children)


def _command(leaf: CommandIs, case: _Case, path: str) -> Evaluation:
    variant, prefix = case.variant, case.prefix
    subject = f"command {leaf.command}"
    record = variant.step(leaf.command)
    observed = observe_command(variant, leaf.command, case.own)
    refs = step_ref(record, prefix, layout.EVENTS)
    traces: list[Evaluation] = []
    if leaf.exit is not None:
        status = observed.exit if isinstance(observed, Ended) else observed
        made = _value_checks(join(path, "exit"), f"exit of {leaf.command}", leaf.exit, status, refs)
        said = last_words(variant, record) if record is not None and status != 0 else None
        traces += [replace(one, note=f"its last words: {said}") if said and one.truth is False else one for one in made]
    streams: tuple[tuple[Stream, Check | None], ...] = (("stdout", leaf.stdout), ("stderr", leaf.stderr))
    for field, check in streams:
        if check is None:
            continue
        where, what = join(path, field), f"{field} of {leaf.command}"
        if isinstance(observed, Unknown):
            traces += unknowns(where, what, check, observed, refs)
        else:
            traces += _text_checks(where, what, check, read_text(variant, observed, field, prefix))
    if leaf.json_ is not None:
        traces += _json_checks(leaf.json_, observed, variant, prefix, f"json of {leaf.command}", join(path, "json"))
    if leaf.duration is not None:
        seconds = observed if isinstance(observed, Unknown) else duration_s(variant, leaf.command)
        timed = Subject(f"command {leaf.command}", quantity=DURATION)
        traces += _value_checks(join(path, "duration"), timed, leaf.duration, seconds, refs)
    return several(path, subject, traces)


def _value_checks(
    path: str, subject: Subject | str, check: Check, value: Any, refs: tuple[Ref, ...]
) -> list[Evaluation]:
    if isinstance(value, Unknown):
        return unknowns(path, subject, check, value, refs)
    return checks(path, subject, check, value, refs)


def _json_checks(
    wanted: dict[str, Check], observed: Ended | Unknown, variant: VariantRecord, prefix: str, subject: str, path: str
) -> list[Evaluation]:
    text = read_text(variant, observed, "stdout", prefix) if isinstance(observed, Ended) else None
    traces: list[Evaluation] = []
    for expression, check in wanted.items():
        value: Any = observed
        refs: tuple[Ref, ...] = ()
        if text is not None:
            value, refs = text.cut or search_json(text.value, expression), (text.ref,)
        made = _value_checks(join(path, expression), f"{subject}: {expression}", check, value, refs)
        traces += [_of_null(trace) for trace in made] if value is None else made
    return traces


def _of_null(trace: Evaluation) -> Evaluation:
    """`null` equals nothing else; there is nothing in it to search, or to put in order: `lacks` would always hold."""
    if trace.operator in ("equals", "one_of"):
        return trace
    return replace(trace, truth=None, reason="json-nothing-found", note=f"{trace.subject} is null")


def _of_text(operator: str, value: str, ended: bool, expected: Any) -> Truth:
    """A text may be written with its last line break, or without."""
    truth = holds(operator, value, expected)
    if operator in ("equals", "one_of") and ended:
        return any_of((truth, holds(operator, value + "\n", expected)))
    return truth


def _text_checks(path: str, subject: str, check: Check, text: Text) -> list[Evaluation]:
    """Of a text that was cut, only what was found in it is sure. What an instrument put into it decides nothing."""
    traces = []
    alone = without_trace(text.value)
    for operator, expected in check.operators().items():
        truth = _of_text(operator, text.value, text.ended, expected)
        doubt = None
        if isinstance(alone, Unknown):
            truth, doubt = None, alone
        elif truth is not _of_text(operator, alone, text.ended, expected):
            truth, doubt = None, Unknown("instrument-interferes", "what decides is the table with which labrun traces")
        if text.cut is not None and not text.surely(operator, expected):
            truth, doubt = None, text.cut
        where = join(path, operator)
        traces.append(compared(where, subject, operator, expected, text.value, truth, (text.ref,), doubt))
    return traces


def _change(leaf: ChangeIs, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    subject = f"errno of {leaf.change}"
    record = variant.step(leaf.change)
    refs = step_ref(record, prefix, layout.EVENTS)
    where = join(path, "errno")
    result = record.ended.result if record is not None and record.ended is not None else None
    trouble = step_trouble(record) if record is not None else None
    if trouble is not None or not isinstance(result, ChangeResult):
        why = trouble or missing(variant, f"the end of step '{leaf.change}'")
        unknowns = [
            unknown(join(where, operator), subject, operator, show(expected), why, refs)
            for operator, expected in leaf.errno.operators().items()
        ]
        return several(path, subject, unknowns)
    return several(path, subject, checks(where, subject, leaf.errno, result.errno or "none", refs))


def _packets(leaf: PacketsAre, case: _Case, path: str) -> Evaluation:
    variant, prefix = case.variant, case.prefix
    subject = _selected(leaf.packets)
    observed = observe_packets(variant, leaf.packets, prefix, accounts=case.accounts)
    traces = []
    if leaf.seen_on is not None:
        traces.append(_chain(leaf, leaf.seen_on, case, join(path, "seen_on"), subject))
    operators = leaf.count.operators() if leaf.count is not None else {}
    for operator, expected in operators.items():
        where, what = join(path, f"count.{operator}"), replace(subject, quantity="count")
        if isinstance(observed, Unknown):
            traces.append(unknown(where, what, operator, show(expected), observed))
            continue
        truth = observed.count.holds(operator, expected)
        refs = (observed.ref,)
        made = compared(where, what, operator, expected, observed.count, truth, refs, observed.doubt)
        traces.append(made if made.note is not None else replace(made, note=observed.company))
    return several(path, subject, traces)


def _chain(leaf: PacketsAre, chain: tuple[str, ...], case: _Case, path: str, subject: Subject) -> Evaluation:
    """Every selected packet was seen on just this chain. Seen otherwise is false, if the capture lost nothing."""
    observed = observe_packets(case.variant, leaf.packets, case.prefix, chain, leaf.nat, case.accounts)
    what, expected = replace(subject, quantity="each seen on"), ", ".join(chain)
    if isinstance(observed, Unknown):
        return unknown(path, what, "seen_on", expected, observed)
    seen = observed.seen
    assert seen is not None  # a chain was asked for
    doubt = observed.doubt or seen.doubt
    others = sum(way.count for way in seen.others)
    truth = None if doubt is not None else seen.chain.count > 0 and not others
    found = [f"{seen.count} seen on {seen.chain}"] if seen.chain.count or seen.ambiguous or seen.rewritten else []
    actual = "; ".join([*found, *([seen.instead()] if others else [])]) or "no packet was seen"
    numbers = tuple(number for way in (seen.chain, *seen.others) for packet in way.numbers for number in packet)
    numbers += tuple(number for pair in seen.rewritten for number in pair)
    ref = Ref(observed.ref.file, packets=tuple(sorted(numbers[:10])))
    reason, note = (doubt.code, doubt.message) if doubt is not None else (None, observed.company)
    return Evaluation(path, what, truth, "seen_on", expected, actual, reason, note, (ref,))


def _selected(selector: PacketSelector) -> Subject:
    words = [f"packets on {selector.on}"]
    if selector.direction:
        words.append(selector.direction)
    if selector.during is not None:
        begin, end = selector.during.start, selector.during.end
        words.append(f"during {begin}" if begin == end else f"from {begin} to {end}")
    where = [f"matching '{selector.match}'"] if selector.match else []
    for part, its in selector.checks().items():
        layer = "" if part == "fields" else f"{part} "
        for field, check in its.items():
            for operator, expected in check.operators().items():
                where.append(f"with {layer}{field} {SYMBOLS.get(operator, operator)} {show(expected)}")
    return Subject(" ".join(words), " ".join(where))


def _state(leaf: StateIs, variant: VariantRecord, prefix: str, path: str, moment: int = 0) -> Evaluation:
    selector = leaf.selector
    observed = observe_state(variant, leaf, prefix, moment)
    node = observed.node if isinstance(observed, Objects) else selector.node or "?"
    subject = Subject(f"{leaf.kind} of {node} at {selector.at}", conditions(selector.where))
    traces: list[Evaluation] = []
    if leaf.count is not None:
        for operator, expected in leaf.count.operators().items():
            where, what = join(path, f"count.{operator}"), replace(subject, quantity="count")
            if isinstance(observed, Unknown):
                traces.append(unknown(where, what, operator, show(expected), observed))
            else:
                count = Count(len(observed.found), len(observed.found) + observed.perhaps)
                refs = tuple(found.ref for found in observed.found[:10]) or (observed.file,)
                truth = count.holds(operator, expected)
                traces.append(compared(where, what, operator, expected, count, truth, refs, observed.doubt))
    if leaf.each is not None:
        traces += _each(leaf.each, observed, subject, path)
    return several(path, subject, traces)


def _each(each: dict[str, Any], observed: Objects | Unknown, subject: Subject, path: str) -> list[Evaluation]:
    """Every found object passes every check. Of none nothing is known: `count` asks whether there is one."""
    where = join(path, "each")
    if isinstance(observed, Unknown):
        return [
            evaluation
            for field, check in each.items()
            for evaluation in unknowns(join(where, field), replace(subject, quantity=field), check, observed)
        ]
    if observed.doubt is not None:
        return [unknown(where, subject, "each", "at least one", observed.doubt, (observed.file,))]
    if not observed.found:
        why = Unknown("none-selected", f"there is none (of {observed.total}), so that nothing is said of each")
        return [unknown(where, subject, "each", "at least one", why, (observed.file,))]
    return [
        trace
        for found in observed.found
        for field, check in each.items()
        for trace in checks(
            join(where, field), replace(subject, quantity=field), check, found.value.get(field), (found.ref,)
        )
    ]


def _state_in_time(leaf: StateIs, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    """Now (the first moment), or at the moments of a repeated snapshot."""
    sampling = leaf.sampling()
    if sampling is None:
        return _state(leaf, variant, prefix, path)

    def at_moment(number: int) -> Evaluation:
        return _state(leaf, variant, prefix, path, number)

    return in_time(leaf, sampling, variant, path, at_moment)


_Evaluate = Callable[[Any, VariantRecord, str, str], Evaluation]
_LEAVES: dict[type, _Evaluate] = {
    ChangeIs: _change,
    StateIs: _state_in_time,
    ChangesAre: evaluate_changes,
    LookupIs: evaluate_lookup,
    SuiteIs: evaluate_suite,
    TraceIs: evaluate_path,
}
