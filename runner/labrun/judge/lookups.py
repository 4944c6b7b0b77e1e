"""What the kernel answered to a lookup: the route that a packet would take, or its refusal."""

from __future__ import annotations

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord
from labrun.judge.commands import step_ref
from labrun.judge.results import Trace
from labrun.judge.tracing import checks, join, several, show, unknowns
from labrun.judge.why import Unknown, missing, step_trouble
from labrun.lab.predictions import LookupIs
from labrun.protocol.codec import encode
from labrun.protocol.events import LookupResult


def lookup_trace(leaf: LookupIs, variant: VariantRecord, prefix: str, path: str) -> Trace:
    """Fields of a route where the kernel has none: false, for that is its answer, and a valid one."""
    record = variant.step(leaf.lookup)
    result = record.ended.result if record is not None and record.ended is not None else None
    why: Unknown | None = step_trouble(record) if record is not None else None
    if why is None and not isinstance(result, LookupResult):
        why = missing(variant, f"the answer to '{leaf.lookup}'")
    refs = step_ref(record, prefix, layout.EVENTS)
    subject = f"route of {leaf.lookup}"
    traces: list[Trace] = []
    if leaf.errno is not None:
        where, what = join(path, "errno"), f"errno of {leaf.lookup}"
        if why is not None or not isinstance(result, LookupResult):
            traces += unknowns(where, what, leaf.errno, why or missing(variant, leaf.lookup), refs)
        else:
            traces += checks(where, what, leaf.errno, result.errno or "none", refs)
    for field, check in (leaf.route or {}).items():
        where, what = join(path, f"route.{field}"), f"{subject}: {field}"
        if why is not None or not isinstance(result, LookupResult):
            traces += unknowns(where, what, check, why or missing(variant, leaf.lookup), refs)
        elif result.route is None:
            text = f"{what}: the kernel has no route ({result.errno or 'no answer'}: {result.message or ''})"
            traces += [
                Trace(join(where, operator), what, False, operator, show(expected), "no route", None, text, refs)
                for operator, expected in check.operators().items()
            ]
        else:
            traces += checks(where, what, check, encode(result.route).get(field), refs)
    return several(path, subject, traces)
