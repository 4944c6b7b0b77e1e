"""Observations of packets: how many in a window matched, and how sure that number is.

Absence is believed only of a capture that ran from before the window's start to after its end, lost nothing, and kept
whole packets. Otherwise the count is a range, and what falls inside it is unknown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from labrun.evidence.files import EvidenceError, EvidenceMissing
from labrun.evidence.record import StepRecord, VariantRecord
from labrun.evidence.ref import Ref
from labrun.lab.predictions import ExprIs, PacketsAre, PacketSelector, Prediction, leaves
from labrun.lab.predictions import Window as StepWindow
from labrun.logic.compare import Count
from labrun.observe.instruments import interference
from labrun.observe.journeys import Seen
from labrun.observe.matching import Matching
from labrun.observe.outcome import Accounts, unaccounted
from labrun.observe.scan import Answer, Question, Scan, scan
from labrun.observe.unknown import Unknown, cut_short, missing
from labrun.observe.values import bound
from labrun.observe.window import span_of
from labrun.packets.identity import differences
from labrun.packets.pcapng import PcapngError, read_packets
from labrun.protocol.actions import Capture
from labrun.protocol.events import CaptureResult
from labrun.protocol.plan import EXPERIMENT
from labrun.protocol.record import dataclass

Window = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Packets:
    """``doubt``: why the count is a range, where it is one. ``seen``: of a chain, the ways that packets took.

    ``beside``: see `Span`.
    """

    count: Count
    ref: Ref
    doubt: Unknown | None
    seen: Seen | None = None
    beside: tuple[str, ...] = ()

    @property
    def company(self) -> str | None:
        """Why what was seen need not be because of the steps that were asked for, in words; None where it must be."""
        if not self.beside or not self.count.low:
            return None
        ran = " and ".join(f"'{name}'" for name in self.beside)
        return f"at that time, and not because of it alone: {ran} ran too"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A selector over one variant, ready to be asked of its capture file."""

    record: StepRecord
    path: str
    window: Window
    matching: Matching
    question: Question
    cut_short: Unknown | None
    """Why packets of the whole capture may be missing: not all was done that the plan says."""
    later: Unknown | None
    """Why packets that are meant may have come after the window."""
    beside: tuple[str, ...]
    gone: Unknown | None
    """Why there may have been nothing to see: an interface went away."""
    changed: Unknown | None
    """Why there may have been more or fewer than without the instruments."""


def observe_packets(
    variant: VariantRecord,
    selector: PacketSelector,
    prefix: str,
    chain: tuple[str, ...] | None = None,
    nat: bool = False,
    accounts: Accounts | None = None,
) -> Packets | Unknown:
    """Count the packets that the selector means. ``chain``: and find out on which interfaces each of them was seen.

    ``accounts``: the exits that predictions look at; None: any. After a step that failed and that nothing accounts for,
    a whole capture is not believed any more.
    """
    known = variant.memo.get(_key(selector, prefix, chain, nat))
    if isinstance(known, Packets | Unknown):
        return known
    asked = _ask(variant, selector, chain, nat, accounts)
    return asked if isinstance(asked, Unknown) else _observe(variant, (asked,), prefix)[0]


def scan_ahead(
    variant: VariantRecord, predictions: Iterable[Prediction], prefix: str, accounts: Accounts | None = None
) -> None:
    """Answer every packet question of these predictions with one pass over each capture file.

    Reading a capture is most of the work of judging it. The answers go into the variant's memo, where
    `observe_packets` finds them; without this, it reads the file for each question, with the same answers.
    """
    files: dict[str, list[tuple[str, _Asked]]] = {}
    for prediction in predictions:
        for _, leaf in leaves(prediction):
            filled = bound(leaf, variant.values())
            for selector, chain, nat in _questions(filled):
                asked = _ask(variant, selector, chain, nat, accounts)
                if isinstance(asked, _Asked):
                    files.setdefault(asked.path, []).append((_key(selector, prefix, chain, nat), asked))
    for questions in files.values():
        if len(questions) > 1:
            found = _observe(variant, tuple(asked for _, asked in questions), prefix)
            variant.memo.update(zip((key for key, _ in questions), found, strict=True))


def _questions(leaf: object) -> list[tuple[PacketSelector, tuple[str, ...] | None, bool]]:
    if isinstance(leaf, PacketsAre):
        counted = [(leaf.packets, None, False)] if leaf.count is not None else []
        return [*counted, *([(leaf.packets, leaf.seen_on, leaf.nat)] if leaf.seen_on is not None else [])]
    if isinstance(leaf, ExprIs):
        return [(value.packets, None, False) for value in leaf.let.values() if value.packets is not None]
    return []


def _key(selector: PacketSelector, prefix: str, chain: tuple[str, ...] | None, nat: bool) -> str:
    return f"{prefix} {selector.model_dump_json()} {chain} {nat}"


def _ask(
    variant: VariantRecord,
    selector: PacketSelector,
    chain: tuple[str, ...] | None,
    nat: bool,
    accounts: Accounts | None,
) -> _Asked | Unknown:
    record = find_capture(variant, selector)
    if record is None:
        return missing(variant, f"a capture on {selector.on}")
    if record.ended is None or not isinstance(record.ended.result, CaptureResult):
        return missing(variant, f"the capture '{record.step.id}'")
    window: Window = None
    later: Unknown | None = None
    beside: tuple[str, ...] = ()
    if selector.during is not None:
        span = span_of(variant, selector.during)
        if isinstance(span, Unknown):
            return span
        window, later, beside = (span.begin_ns, span.end_ns), span.doubt, span.beside
    elif accounts is not None and (failed := unaccounted(variant, accounts, None)) is not None:
        before, later = failed
        assert before.started is not None
        started_ns = record.capture.started_ns if record.capture is not None else 0
        if before.started.wall_ns <= started_ns:
            return later
        window = (started_ns, before.started.wall_ns)
    interface = selector.place[1]
    names = (interface, *(chain or ()))
    if (strange := _strange(variant, record, names, selector.during)) is not None:
        return strange
    matching = Matching(variant, selector)
    question = Question(
        interfaces=None if interface == "any" else frozenset((interface,)),
        direction=selector.direction,
        window=window,
        match=matching if selector.match or any(selector.checks().values()) else None,
        chain=chain,
        nat=nat,
    )
    gone = _gone(variant, record, names, window)
    changed = interference(variant, selector.on)
    path, short = record.ended.result.path, cut_short(variant)
    return _Asked(record, path, window, matching, question, short, later, beside, gone, changed)


def _observe(variant: VariantRecord, asked: tuple[_Asked, ...], prefix: str) -> list[Packets | Unknown]:
    """All of one capture file, in one pass over it."""
    path = asked[0].path
    try:
        with variant.open(path) as file:
            found = scan(Path(path), [one.question for one in asked], file)
    except EvidenceMissing:
        return [missing(variant, f"the capture file {path}") for _ in asked]
    except (PcapngError, EvidenceError, OSError) as error:
        return [Unknown("capture-unreadable", str(error)) for _ in asked]
    if (other := another_capture(asked[0].record, found.interface_names, found.truncated)) is not None:
        return [Unknown("evidence-damaged", f"{path}: {other}") for _ in asked]
    return [
        _weighed(one, _named(answer, variant, path), found, prefix)
        for one, answer in zip(asked, found.answers, strict=True)
    ]


def _named(answer: Answer, variant: VariantRecord, path: str) -> Answer:
    """With the fields by which packets that may be one differ: of the first such pair."""
    seen = answer.seen
    if seen is None or seen.doubt is None or seen.doubt.code == "packets-cut" or not seen.rewritten:
        return answer
    pair = seen.rewritten[0]
    with variant.open(path) as file:
        until = takewhile(lambda one: one.number <= max(pair), read_packets(Path(path), file))
        found = {packet.number: packet for packet in until if packet.number in pair}
    one, other = (found[number] for number in pair)
    fields = ", ".join(differences(one.data, other.data, one.linktype))
    text = f"packet {one.number} may have gone on as packet {other.number}, rewritten: they differ in {fields} alone"
    return replace(answer, seen=replace(seen, doubt=Unknown("perhaps-rewritten", text)))


def _weighed(asked: _Asked, answer: Answer, found: Scan, prefix: str) -> Packets | Unknown:
    """An answer with how sure it is."""
    if asked.matching.trouble is not None:
        return asked.matching.trouble
    record = asked.record
    broken: Unknown | None = None
    if found.truncated:
        broken = Unknown("capture-unhealthy", f"the capture '{record.step.id}' breaks off in the middle")
    elif record.capture is not None and record.capture.packets != found.packets:
        text = f"the capture '{record.step.id}' kept {record.capture.packets} packets, and its file has {found.packets}"
        broken = Unknown("capture-unhealthy", text)
    if broken is None and asked.window is None:
        broken = asked.cut_short
    high, doubt = _sureness(record, asked.window, answer.count, answer.unsure, broken, asked.matching)
    if doubt is None and (asked.gone or asked.later) is not None:
        high, doubt = None, asked.gone or asked.later
    if doubt is None and answer.supers:
        high = None if answer.more is None else answer.count + answer.more
        text = (
            f"{answer.supers} packets in '{record.step.id}' are super-packets: each becomes several packets on a wire. "
            f"`offloads: off` on the link avoids them"
        )
        doubt = Unknown("super-packets", text)
    ref = Ref(prefix + asked.path, packets=answer.numbers)
    if doubt is None and asked.changed is not None:
        return Packets(Count(min(answer.count, 1), None), ref, asked.changed, answer.seen, asked.beside)
    return Packets(Count(answer.count, high), ref, doubt, answer.seen, asked.beside)


def _strange(
    variant: VariantRecord, record: StepRecord, names: tuple[str, ...], during: StepWindow | None
) -> Unknown | None:
    """An interface that was not there: never, not any more, or not yet. In a control that may be the point of it."""
    if variant.plan.variant != EXPERIMENT or record.capture is None:
        return None
    name = next((name for name in names if name not in ("any", *record.capture.interfaces)), None)
    if name is not None and isinstance(record.step.action, Capture) and "any" in record.step.action.interfaces:
        there = ", ".join(record.capture.interfaces) or "none"
        text = f"there was no interface '{name}' in {record.step.node} while '{record.step.id}' captured (but {there})"
        return Unknown("no-such-interface", text)
    if during is None:
        return None
    first, last = variant.step(during.start), variant.step(during.end)
    assert first is not None and first.started is not None and last is not None  # else there is no window
    after = variant.steps[variant.steps.index(last) + 1 :]
    begin, end = first.started.wall_ns, min((s.started.wall_ns for s in after if s.started), default=sys.maxsize)
    for name in names:
        spans = _spans(record, name)
        if spans and all((gone is not None and gone < begin) or came > end for came, gone in spans):
            text = f"there was no interface '{name}' in {record.step.node} when it was looked at"
            return Unknown("no-such-interface", text)
    return None


def _gone(variant: VariantRecord, record: StepRecord, names: tuple[str, ...], window: Window) -> Unknown | None:
    """An interface that went away, or got another name, while it was looked at: it may have had no time to be seen."""
    if variant.plan.variant != EXPERIMENT:
        return None
    first, last = window or (0, sys.maxsize)
    name = next((name for name in names for _, gone in _spans(record, name) if gone and first <= gone <= last), None)
    if name is None:
        return None
    text = f"the interface '{name}' of {record.step.node} went away, or got another name, while it was looked at"
    return Unknown("no-such-interface", text)


def _spans(record: StepRecord, name: str) -> list[tuple[int, int | None]]:
    """From when to when each interface had this name; None: to the end."""
    capture = record.capture
    if capture is None:
        return []
    starts = capture.interface_starts or (0,) * len(capture.interfaces)
    ends = capture.interface_ends or (None,) * len(capture.interfaces)
    spans = zip(capture.interfaces, starts, ends, strict=False)
    return [(start, end) for has, start, end in spans if has == name]


def another_capture(record: StepRecord, names: Sequence[str], truncated: bool) -> str | None:
    """Why a file is not what this step captured, by the interfaces that it describes; None where they fit.

    ``truncated``: the file breaks off, and may not name them all. A capture that never ended never told its own.
    """
    if record.capture is None:
        return None
    own = record.capture.interfaces[: len(names)] if truncated else record.capture.interfaces
    if tuple(names) == own:
        return None
    its, there = ", ".join(record.capture.interfaces) or "none", ", ".join(names) or "none"
    return f"the capture '{record.step.id}' was on {its}, and the file is of {there}"


def find_capture(variant: VariantRecord, selector: PacketSelector) -> StepRecord | None:
    """The capture step that the selector means."""
    for record in variant.steps:
        action = record.step.action
        if isinstance(action, Capture) and selector.may_mean(record.step.id, record.step.node, action.interfaces):
            return record
    return None


def _sureness(
    record: StepRecord, window: Window, count: int, unsure: int, broken: Unknown | None, matching: Matching
) -> tuple[int | None, Unknown | None]:
    """The most packets that there can have been (None: no bound), and why that is more than were counted."""
    name, capture = record.step.id, record.capture
    if broken is not None:
        return None, broken
    if capture is None:
        return None, Unknown("capture-unhealthy", f"the capture '{name}' was never finished")
    if capture.trouble is not None:
        return None, Unknown("capture-unhealthy", f"the capture '{name}': {capture.trouble}")
    if window is not None and not capture.started_ns <= window[0] <= window[1] <= capture.ended_ns:
        return None, Unknown("capture-unhealthy", f"the capture '{name}' did not run all the time")
    lost = capture.drops + capture.not_kept
    if lost:
        return count + lost + unsure, Unknown("packets-dropped", f"the capture '{name}' lost {lost} packets")
    if unsure and sum(matching.hidden.values()) == unsure:
        by = " or ".join(matching.hidden)
        text = f"{unsure} packets in '{name}' have {by}, behind which a pcap filter does not look: ask with fields"
        return count + unsure, Unknown("filter-passed-over", text)
    if unsure:
        text = f"{unsure} packets in '{name}' are cut by its snaplen and may have matched"
        return count + unsure, Unknown("packets-cut", text)
    return count, None
