"""What differs between two runs: their verdicts, what was observed, and what they ran on. Both are judged alike.

Times, ports, process ids and the like differ between any two runs (`report.volatile`) and are no differences here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError
from labrun.evidence.lab import read_lab
from labrun.evidence.record import read_variant
from labrun.evidence.run import LabEntry, RunRecord, read_run
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, LabResult, RunResult, Subject
from labrun.lab.problems import LabError
from labrun.protocol.events import Hello
from labrun.protocol.record import dataclass
from labrun.report.volatile import named

Facts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """``before`` and ``after`` are None where it is not there. ``decided``: a verdict, or what makes one impossible."""

    what: str
    before: str | None
    after: str | None
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """The changes of a lab, a hypothesis or the environment. ``title``: which."""

    title: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Sections without a change are left out. ``same``: how many hypotheses have one verdict in both."""

    before: str
    after: str
    same: int
    environment: tuple[Change, ...]
    sections: tuple[Section, ...]

    @property
    def decided(self) -> int:
        """How many verdicts, labs or hypotheses are not the same in both."""
        return sum(change.decided for section in self.sections for change in section.changes)


@dataclass(frozen=True, slots=True)
class Side:
    """A run, judged. ``plans``: slug -> variant -> digest of what was done. ``facts``: what it ran on.

    ``brief``: results alone, without what was done and what was observed in controls: neither is compared then.
    """

    id: str
    labs: tuple[LabResult, ...]
    plans: Mapping[str, Facts]
    facts: Facts
    brief: bool = False


def side(run: Path, result: RunResult) -> Side:
    """Raises EvidenceError where the folder is no run. A lab or variant that cannot be read has no facts of its own."""
    record = read_run(run)
    plans: dict[str, Facts] = {}
    for entry in record.labs:
        with suppress(EvidenceError, LabError):
            plans[entry.slug] = read_lab(run, entry).plans
    return Side(record.id, result.labs, plans, _facts(record, _hellos(run, record.labs)))


def _hellos(run: Path, entries: Iterable[LabEntry]) -> Iterable[Hello]:
    for entry in entries:
        for variant in entry.variants:
            with suppress(EvidenceError):
                hello = read_variant(layout.variant_folder(run, entry.slug, variant), run).hello
                if hello is not None:
                    yield hello


def _facts(record: RunRecord, hellos: Iterable[Hello]) -> Facts:
    """Where sandboxes of one run differ, all values, one after the other."""
    found: dict[str, set[str]] = {
        "labrun": {record.labrun}, "engine": {record.engine}, "engine version": {record.engine_version},
        "isolation": {record.isolation}, "userland": {record.userland}, "kernel": {record.kernel or "not known"},
        "processor": {record.processor or "not known"}, "image": {record.image or "none"},
        "image id": {record.image_id or "none"}, "Python": {record.python},
    }  # fmt: skip
    for hello in hellos:
        told = {"machine": hello.machine, "Python in the sandbox": hello.python, "agent": hello.agent}
        told |= {f"package {name}": version for name, version in hello.packages.items()}
        told |= {f"setting {name}": value for name, value in (hello.settings or {}).items()}
        told |= {f"kernel's {name}": value for name, value in (hello.kernel_build or {}).items()}
        told |= {"capabilities": " ".join(sorted(hello.capabilities))}
        for name, value in told.items():
            found.setdefault(name, set()).add(value)
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def difference(before: Side, after: Side) -> Difference:
    """Pure."""
    brief = before.brief or after.brief
    if brief:
        before, after = _shortened(before), _shortened(after)
    old, new = ({lab.id: lab for lab in one.labs} for one in (before, after))
    sections: list[Section] = []
    same = 0
    for slug in dict.fromkeys((*old, *new)):
        a, b = old.get(slug), new.get(slug)
        if a is None or b is None:
            sections.append(Section(slug, (Change("lab", _there(a), _there(b), True),)))
            continue
        changes = []
        if before.plans.get(slug) != after.plans.get(slug):
            changes.append(Change("what was done", *_steps(before.plans.get(slug), after.plans.get(slug))))
        if (a.status, a.reason) != (b.status, b.reason):
            changes.append(Change("lab", _status(a), _status(b), a.status != b.status))
        if changes:
            sections.append(Section(slug, tuple(changes)))
        ours, theirs = ({h.id: h for h in lab.hypotheses} for lab in (a, b))
        for name in dict.fromkeys((*ours, *theirs)):
            found = tuple(_hypothesis(ours.get(name), theirs.get(name)))
            if found:
                sections.append(Section(f"{slug}/{name}", found))
            same += not any(change.decided for change in found)
    environment = []
    for name in dict.fromkeys((*before.facts, *after.facts)):
        one, two = before.facts.get(name), after.facts.get(name)
        if one != two and not (brief and (one is None or two is None)):
            environment.append(Change(name, one, two))
    return Difference(before.id, after.id, same, tuple(environment), tuple(sections))


def _shortened(one: Side) -> Side:
    """As results.json has it."""
    labs = tuple(
        replace(lab, hypotheses=tuple(replace(h, controls=tuple(map(_brief, h.controls))) for h in lab.hypotheses))
        for lab in one.labs
    )
    return replace(one, labs=labs, plans={})


def _brief(control: ControlResult) -> ControlResult:
    return replace(control, trace=Evaluation("", Subject("the prediction"), control.truth))


def _there(lab: LabResult | None) -> str | None:
    return None if lab is None else _status(lab)


def _status(lab: LabResult) -> str:
    return f"{lab.status} ({lab.reason})" if lab.reason else lab.status


def _steps(before: Facts | None, after: Facts | None) -> tuple[str, str]:
    """Of each variant that did something else, the first digits of its plan."""
    one, two = before or {}, after or {}
    names = [name for name in dict.fromkeys((*one, *two)) if one.get(name) != two.get(name)]
    told = [
        ", ".join(f"{n} {plans[n][:12]}" if n in plans else f"{n} not there" for n in names) for plans in (one, two)
    ]
    return told[0], told[1]


def _hypothesis(before: HypothesisResult | None, after: HypothesisResult | None) -> Iterable[Change]:
    if before is None or after is None:
        yield Change("verdict", _verdict(before), _verdict(after), True)
        return
    if (before.verdict, before.reason) != (after.verdict, after.reason):
        yield Change("verdict", _verdict(before), _verdict(after), before.verdict != after.verdict)
    if before.expect != after.expect:
        yield Change("expected", before.expect, after.expect)
    yield from _trace("", before.trace, after.trace)
    ours, theirs = ({control.variant: control for control in h.controls} for h in (before, after))
    for name in dict.fromkeys((*ours, *theirs)):
        yield from _control(ours.get(name), theirs.get(name))


def _verdict(hypothesis: HypothesisResult | None) -> str | None:
    return None if hypothesis is None else f"{hypothesis.verdict} ({hypothesis.reason})"


def _control(before: ControlResult | None, after: ControlResult | None) -> Iterable[Change]:
    one = before or after
    assert one is not None
    where = f"in the control ({one.change}): "
    if before is None or after is None:
        one_truth, other_truth = (_truth(control.trace if control else None) for control in (before, after))
        yield Change(where + "prediction", one_truth, other_truth)
        return
    yield from _trace(where, before.trace, after.trace)


def _trace(where: str, before: Evaluation, after: Evaluation) -> Iterable[Change]:
    """By the checks of the prediction: its place and what is looked at; what is expected is part of the prediction."""
    ours, theirs = (_checks(trace) for trace in (before, after))
    for key in dict.fromkeys((*ours, *theirs)):
        a, b = ours.get(key), theirs.get(key)
        one, two = _observed(a), _observed(b)
        if (
            (a and a.truth) is not (b and b.truth)
            or named(one or "") != named(two or "")
            or (a is None) is not (b is None)
        ):
            yield Change(where + key[1], one, two)


def _checks(trace: Evaluation) -> dict[tuple[str, str], Evaluation]:
    found = {}
    for leaf in trace.leaves():
        wanted = " ".join(word for word in (leaf.operator, leaf.expected) if word)
        found[leaf.path, named(f"{leaf.subject} {wanted}".rstrip())] = leaf
    return found


def _observed(leaf: Evaluation | None) -> str | None:
    if leaf is None:
        return None
    seen = leaf.actual if leaf.actual is not None else f"not observed [{leaf.reason or 'unknown'}]"
    return f"{seen}, {_truth(leaf)}"


def _truth(trace: Evaluation | None) -> str | None:
    return None if trace is None else {True: "holds", False: "does not hold", None: "not known"}[trace.truth]
