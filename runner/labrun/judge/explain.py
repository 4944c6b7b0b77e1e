"""Why a verdict is what it is, as plain text: the same words on the terminal, in JUnit, and wherever text is read.

Claim, what was predicted, what was observed, the first difference and all other checks, sub-values, controls, and the
evidence by line, packet number or object path. A line of evidence stays a line: its line breaks are shown as pictures.
"""

from __future__ import annotations

from labrun.evidence.ref import Ref
from labrun.judge.evaluation import NAMED, SYMBOLS, sentence, times
from labrun.judge.results import ControlResult, Evaluation, HypothesisResult, Truth
from labrun.logic.visible import visible

MARKS: dict[Truth, str] = {True: "✔", False: "✘", None: "?"}
_HOLDS: dict[Truth, str] = {True: "holds", False: "does not hold", None: "could not be judged"}
_BRANCHES = {"all": "all of these", "any": "one of these at least", "not": "not this"}
_GROUP = 3  # checks of a group that are named
_REFS = 5  # places in the evidence that are named of each check


def explain(hypothesis: HypothesisResult) -> str:
    """Lines without a final line break."""
    lines = [f"Claim: {_prose(hypothesis.claim)}", f"Verdict: {_verdict(hypothesis)}"]
    lines.append(f"Reason: {_line(hypothesis.message)} [{_line(hypothesis.reason)}]")
    lines += spread(hypothesis)
    lines.append("")
    lines.append(f"In the experiment the prediction {_HOLDS[hypothesis.trace.truth]}.")
    lines += _first(hypothesis.trace)
    lines += _tree(hypothesis.trace, "  ")
    for control in hypothesis.controls:
        lines += ["", *_control(control)]
    if hypothesis.no_control is not None:
        lines += ["", f"There is no control: {_prose(hypothesis.no_control)}"]
    return "\n".join(lines)


def _verdict(hypothesis: HypothesisResult) -> str:
    expected = "as expected" if hypothesis.as_expected else f"{hypothesis.expect} was expected"
    return f"{hypothesis.verdict}; {expected}"


def spread(hypothesis: HypothesisResult) -> list[str]:
    """Of a repeated lab: how often each verdict came, and how long things took."""
    lines = []
    if hypothesis.repeats is not None:
        told = times(hypothesis.repeats)
        lines.append(f"Runs: {sum(hypothesis.repeats.values())}, {told}; what follows is of the first")
    for what, (least, middle, most) in (hypothesis.timing or {}).items():
        lines.append(f"Over all runs, {_line(what)}: {least:.4g} to {most:.4g}, median {middle:.4g}")
    return lines


def _control(control: ControlResult) -> list[str]:
    wanted = "its own prediction must hold" if control.must else "the prediction must not hold"
    head = f"In the control ({_line(control.change)}) {wanted}, and it {_HOLDS[control.truth]}."
    note = [f"  {_prose(control.note)}"] if control.note else []
    note += [f"  Also different there: {_line(text)}." for text in control.differs]
    return [head, *note, *_tree(control.trace, "  ")]


def _first(trace: Evaluation) -> list[str]:
    """The first of several checks, or the first group, because of which a prediction is not true."""
    if trace.truth is True or len(trace.leaves()) == 1:
        return []
    node = trace.decisive()
    leaves = node.leaves() if node.operator in _BRANCHES else (node,)
    sides = "; ".join(_both_sides(leaf) for leaf in leaves[:_GROUP])
    group = f"all of this together: {sides}" if node.operator == "all" and len(leaves) > 1 else sides
    more = len(set(trace.deciding(trace.truth)) - set(leaves)) + max(0, len(leaves) - _GROUP)
    return [f"{first_word(trace, node).capitalize()}: {group}" + (f" (and {more} more)" if more else "")]


def first_word(trace: Evaluation, node: Evaluation) -> str:
    """What to call the node that decided. Under a `not` it is one that holds."""
    if trace.truth is None:
        return "first unknown"
    return "first difference" if node.truth is False else "holds, and must not"


def _tree(trace: Evaluation, indent: str) -> list[str]:
    mark = MARKS[trace.truth]
    if trace.children and trace.operator in _BRANCHES:
        subject = "" if trace.subject.what in ("all of", "any of", "not") else f"{_line(str(trace.subject))}: "
        lines = [f"{indent}{mark} {subject}{_BRANCHES[trace.operator]}"]
        return lines + [line for child in trace.children for line in _tree(child, indent + "  ")]
    lines = [f"{indent}{mark} {_both_sides(trace)}"]
    if trace.operator == "expr":
        return lines + [f"{indent}    {_line(sentence(part))}" for part in trace.children]
    if trace.note:
        lines.append(f"{indent}    {_line(trace.note)}")
    if trace.refs:
        lines.append(f"{indent}    evidence: {_places(trace.refs)}")
    return lines + [line for child in trace.children for line in _tree(child, indent + "    ")]


def _both_sides(trace: Evaluation) -> str:
    """`exit of probe: predicted == 0, observed 3`."""
    operator = "" if trace.operator in NAMED else SYMBOLS.get(trace.operator or "", trace.operator or "")
    wanted = " ".join(word for word in (operator, trace.expected) if word)
    predicted = f"predicted {_line(wanted)}, " if wanted else ""
    if trace.actual is not None:
        doubt = f", which decides nothing [{_line(trace.reason or 'unknown')}]" if trace.truth is None else ""
        return f"{_line(str(trace.subject))}: {predicted}observed {_line(trace.actual)}{doubt}"
    code = f" [{_line(trace.reason)}]" if trace.reason else ""
    return f"{_line(str(trace.subject))}: {predicted}not observed{code}"


def _places(refs: tuple[Ref, ...]) -> str:
    more = f" and {len(refs) - _REFS} more" if len(refs) > _REFS else ""
    return "; ".join(_line(str(ref)) for ref in refs[:_REFS]) + more


def _prose(text: str) -> str:
    """An author's sentence, however it is folded in the lab file."""
    return _line(" ".join(text.split()))


def _line(text: str) -> str:
    """One line: what is text of a lab or of its output must not look like a line of ours."""
    return visible(text.strip())
