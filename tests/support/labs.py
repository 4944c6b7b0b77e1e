"""Labs as a run keeps them, for tests that judge them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.lab import StoredLab, stored
from labrun.evidence.older import lab_of_older_run
from labrun.evidence.record import VariantRecord
from labrun.evidence.run import LabEntry
from labrun.evidence.writer import EvidenceWriter
from labrun.judge.results import HypothesisResult
from labrun.judge.verdict import judge_hypothesis
from labrun.lab.compile import CompiledLab
from labrun.observe.unknown import Unknown
from labrun.protocol.actions import Run
from labrun.protocol.events import ChangeResult, CommandResult, Done, Hello, Output, StepEnded, StepStarted
from labrun.protocol.plan import Plan


def unchecked(content: object, slug: str, variants: Sequence[str] = ("experiment", "h")) -> StoredLab:
    """A lab file that nobody has checked, as of an older run."""
    text = content if isinstance(content, str) else json.dumps(content)
    return lab_of_older_run(text.encode(), LabEntry(slug, f"labs/{slug}/lab.yaml", tuple(variants)))


def judge_first(
    lab: CompiledLab | StoredLab, variants: Mapping[str, VariantRecord], gone: Mapping[str, Unknown] = {}
) -> HypothesisResult:
    """Its first hypothesis."""
    kept = lab if isinstance(lab, StoredLab) else stored(lab)
    return judge_hypothesis(kept, kept.hypotheses[0], variants, gone)


def carried_out(run: Path, plan: Plan, exits: Mapping[str, int] = {}) -> None:
    """Evidence of a plan of commands and changes, each a millisecond long and in order. ``exits``: of commands; else 0."""
    begin = 1_790_000_000_000_000_000
    with EvidenceWriter(layout.variant_folder(run, plan.lab, plan.variant), plan, run=run) as writer:
        writer.put(Hello(0, begin, "0", plan.digest, "6.1.0", "x86_64", "3.11.2", (), {}, ()))
        for number, step in enumerate(plan.steps, start=1):
            t_ns = number * 1_000_000
            outputs = [Output(f"outputs/{step.id}.{stream}", 0, 0) for stream in ("stdout", "stderr")]
            command = isinstance(step.action, Run)
            result = CommandResult(exits.get(step.id, 0), None, *outputs) if command else ChangeResult()
            writer.put(StepStarted(step.id, t_ns, begin + t_ns))
            writer.put(StepEnded(step.id, t_ns + 900_000, begin + t_ns + 900_000, "ok", None, result))
        writer.put(Done(10**9, begin + 10**9))
