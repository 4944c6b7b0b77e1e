"""The hooks and devices that packets crossed, as a `trace` step followed them, held against what was predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from labrun.evidence.record import VariantRecord
from labrun.evidence.ref import Ref
from labrun.judge.evaluation import SYMBOLS, compared, join, several, show, unknown
from labrun.judge.results import Evaluation, Subject
from labrun.lab.predictions import TraceIs, TraceSelector
from labrun.logic.compare import Truth, all_of
from labrun.observe.hooks import PacketPath, difference, ends, matches
from labrun.observe.paths import Paths, observe_paths
from labrun.observe.unknown import Unknown

SHOWN = 10


def evaluate_path(leaf: TraceIs, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    """Every selected packet went this way, and there is one at least."""
    subject = _selected(leaf.trace)
    observed = observe_paths(variant, leaf.trace)
    file = f"{prefix}traces/{leaf.trace.at}.jsonl"
    traces: list[Evaluation] = []
    if leaf.path is not None:
        way = leaf.path
        traces.append(
            _each(join(path, "path"), replace(subject, quantity="path"), "path", ", ".join(way), observed, file,
                  lambda one: matches(one, way), lambda one: difference(one, way) or one.end)
        )  # fmt: skip
    if leaf.ends is not None:
        end = leaf.ends
        traces.append(
            _each(join(path, "ends"), replace(subject, quantity="ends"), "ends", end, observed, file,
                  lambda one: ends(one, end), lambda one: one.end)
        )  # fmt: skip
    for operator, wanted in (leaf.count.operators() if leaf.count is not None else {}).items():
        where, what = join(path, f"count.{operator}"), replace(subject, quantity="count")
        if isinstance(observed, Unknown):
            traces.append(unknown(where, what, operator, show(wanted), observed))
            continue
        truth = observed.count.holds(operator, wanted)
        refs = _refs(file, observed.found)
        traces.append(compared(where, what, operator, wanted, observed.count, truth, refs, observed.doubt))
    return several(path, subject, traces)


def _each(
    path: str, subject: Subject, operator: str, expected: str, observed: Paths | Unknown, file: str,
    judged: Callable[[PacketPath], Truth], difference: Callable[[PacketPath], str],
) -> Evaluation:  # fmt: skip
    """True if there are packets and each is ``judged`` right. ``difference``: what is different about a wrong one."""
    if isinstance(observed, Unknown):
        return unknown(path, subject, operator, expected, observed)
    if not observed.found:
        if observed.doubt is not None:
            return unknown(path, subject, operator, expected, observed.doubt, (Ref(file),))
        text = "no such packet was traced"
        return Evaluation(path, subject, False, operator, expected, "no packet", None, text, (Ref(file),))
    truths = [(one, judged(one)) for one in observed.found]
    truth = all_of(truth for _, truth in truths)
    chosen = tuple(one for one, each in truths if each is truth)
    shown = chosen[0]
    actual = ", ".join(shown.path) + f" ({shown.end})"
    note = reason = None
    if truth is not True:
        more = f" (and {len(chosen) - 1} more packets)" if len(chosen) > 1 else ""
        reason = "trace-blind" if truth is None else None
        note = f"{shown.first}: {difference(shown) if truth is False else shown.doubt}{more}"
    return Evaluation(path, subject, truth, operator, expected, actual, reason, note, _refs(file, chosen))


def _refs(file: str, paths: tuple[PacketPath, ...]) -> tuple[Ref, ...]:
    return tuple(Ref(file, line=one.lines[0]) for one in paths[:SHOWN] if one.lines) or (Ref(file),)


def _selected(selector: TraceSelector) -> Subject:
    words = [f"packets of trace {selector.at}"]
    if selector.during is not None:
        begin, end = selector.during.start, selector.during.end
        words.append(f"during {begin}" if begin == end else f"from {begin} to {end}")
    where = [
        f"with {field} {SYMBOLS.get(operator, operator)} {show(expected)}"
        for field, check in selector.where.items()
        for operator, expected in check.operators().items()
    ]
    return Subject(" ".join(words), " ".join(where))
