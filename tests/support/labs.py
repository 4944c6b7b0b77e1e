"""Labs as a run keeps them, for tests that judge them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from labrun.evidence.lab import StoredLab, stored
from labrun.evidence.older import lab_of_older_run
from labrun.evidence.record import VariantRecord
from labrun.evidence.run import LabEntry
from labrun.judge.results import HypothesisResult
from labrun.judge.verdict import judge_hypothesis
from labrun.lab.compile import CompiledLab
from labrun.observe.unknown import Unknown


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
