"""What judging gives: traces, verdicts, and results.json. Reports render these and never judge again."""

from __future__ import annotations

import json
from typing import Any, Literal

from labrun.evidence.ref import Ref
from labrun.protocol.codec import encode
from labrun.protocol.record import dataclass

RESULTS_SCHEMA = 1
Verdict = Literal["supported", "refuted", "inconclusive"]
Truth = bool | None  # None: unknown


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check looks at, in parts, so that each renderer shows what it has room for.

    ``what``: ``packets on host.lo during probe``. ``where``: the conditions, ``matching 'icmp'``. ``quantity``: what of
    it is compared, ``count`` or ``mtu``.
    """

    what: str
    where: str = ""
    quantity: str = ""

    def __str__(self) -> str:
        selected = f"{self.what} {self.where}" if self.where else self.what
        return f"{selected}: {self.quantity}" if self.quantity else selected

    def brief(self) -> str:
        """Without the conditions."""
        return f"{self.what}: {self.quantity}" if self.quantity else self.what


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One node of a prediction, evaluated. A leaf has an operator and both sides; a branch has children.

    ``path``: where it stands in the prediction (all.0). ``reason``: a code, where the truth is unknown.
    ``note``: what there is to say besides both sides, such as why the truth is unknown. Renderers make the sentences.
    """

    path: str
    subject: Subject
    truth: Truth
    operator: str | None = None
    expected: str | None = None
    actual: str | None = None
    reason: str | None = None
    note: str | None = None
    refs: tuple[Ref, ...] = ()
    children: tuple[Evaluation, ...] = ()

    def leaves(self) -> tuple[Evaluation, ...]:
        if not self.children or self.operator == "expr":  # the parts of an expression are values, not predictions
            return (self,)
        return tuple(leaf for child in self.children for leaf in child.leaves())

    def decisive(self) -> Evaluation:
        """The first node because of which this one is what it is: a leaf, or all that stands under a ``not``."""
        node = self
        while node.children and node.operator in ("all", "any"):
            node = next(child for child in node.children if child.truth is node.truth)
        return node.children[0] if node.operator == "not" else node

    def deciding(self, truth: Truth) -> tuple[Evaluation, ...]:
        """The leaves because of which this node is ``truth``."""
        if not self.children or self.operator in (None, "expr"):
            return (self,)
        if self.operator == "not":
            return self.children[0].deciding(None if truth is None else not truth)
        return tuple(leaf for child in self.children if child.truth is truth for leaf in child.deciding(truth))


@dataclass(frozen=True, slots=True)
class ControlResult:
    """What came of a control. ``change``: what is different there, in words.

    ``differs``: what else is not as in the experiment.
    ``must``: the truth that it must have. The hypothesis's prediction must be false in a control; where the control
    has a prediction of its own, that must be true.
    """

    variant: str
    change: str
    truth: Truth
    trace: Evaluation
    note: str | None = None
    must: bool = False
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HypothesisResult:
    """``line``: of the hypothesis in its lab file. ``reason`` is a code; ``message`` says it in a sentence.

    ``no_control``: why the claim has no control, where its author says so.
    """

    id: str
    claim: str
    expect: Literal["supported", "refuted"]
    verdict: Verdict
    as_expected: bool
    reason: str
    message: str
    line: int
    trace: Evaluation
    controls: tuple[ControlResult, ...] = ()
    no_control: str | None = None
    because: str | None = None
    repeats: dict[str, int] | None = None  # verdict -> how often, where the lab was repeated
    timing: dict[str, tuple[float, float, float]] | None = None  # what -> (min, median, max) in s, over repeats


@dataclass(frozen=True, slots=True)
class CaptureSummary:
    """A capture of the experiment; ``packets`` is None where the capture was never finished."""

    step: str
    node: str
    interfaces: tuple[str, ...]
    file: str
    packets: int | None
    drops: int | None


@dataclass(frozen=True, slots=True)
class LabResult:
    """``status``: done; skipped (something that it requires is missing: not judged); error (it broke on the way).

    ``reason`` is a code and ``message`` a sentence where the status is not done; a lab that claims nothing has the
    message alone, what it ran and what failed. ``unjudged``: the ids of the hypotheses of a skipped lab.
    """

    id: str
    title: str
    file: str
    status: Literal["done", "skipped", "error"]
    hypotheses: tuple[HypothesisResult, ...]
    captures: tuple[CaptureSummary, ...]
    reason: str | None = None
    message: str | None = None
    unjudged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything of a run. ``run`` is the run record as plain JSON."""

    run: dict[str, Any]
    labs: tuple[LabResult, ...]

    def counts(self) -> dict[str, int]:
        """How many verdicts of each kind, surprises, and labs skipped, broken, or without a claim."""
        every = [h for lab in self.labs for h in lab.hypotheses]
        return {
            "hypotheses": len(every),
            "supported": sum(h.verdict == "supported" for h in every),
            "refuted": sum(h.verdict == "refuted" for h in every),
            "inconclusive": sum(h.verdict == "inconclusive" for h in every),
            "surprises": sum(is_surprise(h) for h in every),
            "skipped": sum(lab.status == "skipped" for lab in self.labs),
            "errors": sum(lab.status == "error" for lab in self.labs),
            "claimless": sum(map(claims_nothing, self.labs)),
        }


def claims_nothing(lab: LabResult) -> bool:
    """A lab without hypotheses that ran to its end."""
    return lab.status == "done" and not lab.hypotheses


def is_surprise(hypothesis: HypothesisResult) -> bool:
    """A firm verdict that is not the expected one."""
    return not hypothesis.as_expected and hypothesis.verdict != "inconclusive"


def failures(lab: LabResult) -> int:
    """How many of a lab's verdicts are not as expected; 1 for a lab that broke before it had any."""
    return sum(not h.as_expected for h in lab.hypotheses) or int(lab.status == "error")


# What the lab's author must mend; everything else that breaks a lab is the machine's or ours.
AUTHORS_FAULTS = ("invalid-lab", "bad-filter")


def exit_code(result: RunResult, strict: bool) -> int:
    """0 every verdict as expected; 1 a surprise; 2 a lab is wrong; 3 inconclusive, broken, or nothing was judged.

    A wrong lab comes before a surprise: what it would have said is not known. ``strict`` makes a skip 3. A lab that
    claims nothing and ran is 0.
    """
    counts = result.counts()
    if any(lab.reason in AUTHORS_FAULTS for lab in result.labs):
        return 2
    if counts["surprises"]:
        return 1
    unsure = counts["inconclusive"] or counts["errors"] or not (counts["hypotheses"] or counts["claimless"])
    return 3 if unsure or (strict and counts["skipped"]) else 0


def results_json(result: RunResult) -> dict[str, Any]:
    """The contract that others read (schema 1)."""
    return {"schema": RESULTS_SCHEMA, "run": result.run, "labs": [_lab(lab) for lab in result.labs]}


def results_text(result: RunResult) -> str:
    """results.json as a file has it. The same evidence, judged by the same labrun, gives the same text."""
    return json.dumps(results_json(result), indent=1, ensure_ascii=False) + "\n"


def _lab(lab: LabResult) -> dict[str, Any]:
    return {
        "id": lab.id,
        "title": lab.title,
        "file": lab.file,
        "status": lab.status,
        "reason": lab.reason,
        "message": lab.message,
        "hypotheses": [_hypothesis(hypothesis) for hypothesis in lab.hypotheses],
        "unjudged": list(lab.unjudged),
        "captures": [encode(capture) for capture in lab.captures],
    }


def _hypothesis(hypothesis: HypothesisResult) -> dict[str, Any]:
    leaves = hypothesis.trace.leaves()
    return {
        "id": hypothesis.id,
        "claim": hypothesis.claim,
        "verdict": hypothesis.verdict,
        "expect": hypothesis.expect,
        "as_expected": hypothesis.as_expected,
        "reason": hypothesis.reason,
        "message": hypothesis.message,
        "line": hypothesis.line,
        "observed": [
            {
                "path": leaf.path,
                "subject": str(leaf.subject),
                "operator": leaf.operator,
                "expected": leaf.expected,
                "actual": leaf.actual,
                "truth": leaf.truth,
                "reason": leaf.reason,
            }
            for leaf in leaves
        ],
        "evidence": list(dict.fromkeys(str(ref) for leaf in leaves for ref in leaf.refs)),
        "controls": [
            {
                "variant": control.variant,
                "change": control.change,
                "truth": control.truth,
                "must": control.must,
                "differs": list(control.differs),
            }
            for control in hypothesis.controls
        ],
        "no_control": hypothesis.no_control,
        "because": hypothesis.because,
        "repeats": hypothesis.repeats,
        "timing": hypothesis.timing,
    }
