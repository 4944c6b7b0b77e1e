"""What a test program said, held against "all passed": as one hypothesis, and as one more for each of its tests."""

from __future__ import annotations

import re
from collections.abc import Iterator

from labrun.evidence import layout
from labrun.evidence.files import EvidenceError
from labrun.evidence.lab import StoredHypothesis, StoredLab
from labrun.evidence.record import VariantRecord
from labrun.evidence.ref import Ref
from labrun.judge.evaluation import unknown
from labrun.judge.results import Evaluation, Subject
from labrun.lab.predictions import SuiteIs
from labrun.observe.commands import READ_LIMIT, step_ref
from labrun.observe.outcome import ending, failure, signal_status
from labrun.observe.suite import Said, counted, judge_suite, judge_test, read_suite
from labrun.observe.unknown import Unknown, missing, step_trouble
from labrun.protocol.record import dataclass

SKIPPED = "test-skipped"
MOST = 1000  # tests that have a hypothesis of their own
_SHOWN = 5
_ID = 63  # characters of a hypothesis's name


@dataclass(frozen=True, slots=True)
class _Ended:
    """``files``: where each stream is kept, by name."""

    said: Said
    exit: int
    files: dict[str, str]


def evaluate_suite(leaf: SuiteIs, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    what = f"the tests of {leaf.tests}" if leaf.name is None else f"test '{leaf.name}' of {leaf.tests}"
    ended = _ended(variant, leaf.tests)
    if isinstance(ended, Unknown):
        refs = step_ref(variant.step(leaf.tests), prefix, layout.EVENTS)
        return unknown(path, what, "equals", "passed", ended, refs)
    said = ended.said
    one = leaf.name is not None
    found = judge_test(said, ended.exit, leaf.name) if leaf.name is not None else judge_suite(said, ended.exit)
    refs = tuple(Ref(prefix + ended.files[test.stream], line=test.line) for test in found.shown[:_SHOWN])
    tests = said.named(leaf.name) if leaf.name is not None else said.tests
    names = [test.name for test in found.shown if test.outcome == "failed"][:_SHOWN]
    listed = f": {', '.join(names)}" if names and not one else ""
    actual = f"{counted(tests)}, exit status {ended.exit}{listed}"
    code, note = (found.why.code, found.why.message) if found.why is not None else (None, None)
    return Evaluation(path, Subject(what), found.truth, "equals", "passed", actual, code, note, refs)


def _ended(variant: VariantRecord, step_id: str) -> _Ended | Unknown:
    """A program that was not found, was cut off or was ended by a signal has not said what its tests found."""
    record = variant.step(step_id)
    if record is None or record.ended is None:
        return missing(variant, f"step '{step_id}'")
    trouble = step_trouble(record)
    if trouble is not None:
        return trouble
    ended = ending(record)
    if ended is None:
        return missing(variant, f"the end of step '{step_id}'")
    failed = failure(variant, record)
    if failed is not None and failed.needs_name:
        return failed.why
    status = ended.exit if ended.exit is not None else signal_status(ended.signal or "")
    if status is None:
        return Unknown("no-exit-status", f"the command was ended by {ended.signal}")
    texts = {}
    for name, output in (("stdout", ended.stdout), ("stderr", ended.stderr)):
        data = variant.output(output, READ_LIMIT)
        if output.size > len(data):
            return Unknown("output-cut", "the command printed more than was kept")
        texts[name] = data.decode(errors="replace")
    files = {"stdout": ended.stdout.path, "stderr": ended.stderr.path}
    return _Ended(read_suite(texts["stdout"], texts["stderr"]), status, files)


def with_each_test(
    hypothesis: StoredHypothesis, lab: StoredLab, experiment: VariantRecord | None
) -> Iterator[StoredHypothesis]:
    """The hypothesis; and if it is that all tests of a program pass, one of the same kind for each of them.

    Only where that is what its author expects, and nothing else is asked of it: else which of them pass is not claimed.
    """
    yield hypothesis
    leaf = hypothesis.predict
    alone = isinstance(leaf, SuiteIs) and hypothesis.expect == "supported" and not hypothesis.controls
    if not alone or experiment is None or not isinstance(leaf, SuiteIs) or leaf.name is not None:
        return
    try:
        ended = _ended(experiment, leaf.tests) if experiment.damage is None else None
    except EvidenceError:
        return  # the hypothesis itself says so
    if not isinstance(ended, _Ended):
        return
    taken = {one.id for one in lab.hypotheses}
    for name in ended.said.names()[:MOST]:
        own = _id(hypothesis.id, name, taken)
        taken.add(own)
        told = {"id": own, "claim": f"The test '{name}' passes.", "predict": leaf.model_copy(update={"name": name})}
        yield hypothesis.model_copy(update=told)


def _id(base: str, name: str, taken: set[str]) -> str:
    """A name of its own, made of the test's."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "test"
    stem = f"{base}-{words}"[:_ID].rstrip("-")
    number = 1
    found = stem
    while found in taken:
        number += 1
        found = f"{stem[: _ID - 1 - len(str(number))].rstrip('-')}-{number}"
    return found
