"""What the kernel answered to a lookup: the route that a packet would take, or its refusal."""

from __future__ import annotations

from labrun.evidence import layout
from labrun.evidence.record import VariantRecord
from labrun.judge.evaluation import checks, join, several, show, unknowns
from labrun.judge.results import Evaluation, Subject
from labrun.lab.check.predictions import ASKED
from labrun.lab.predictions import LookupIs
from labrun.observe.commands import step_ref
from labrun.observe.unknown import Unknown, missing, step_trouble
from labrun.protocol.codec import encode
from labrun.protocol.events import LookupResult
from labrun.protocol.state import RouteState

UNTOLD_OF_IPV4 = ("protocol", "scope", "metric", "nhid", "flags", "pref")


def evaluate_lookup(leaf: LookupIs, variant: VariantRecord, prefix: str, path: str) -> Evaluation:
    """Fields of a route where the kernel has none: false, for that is its answer, and a valid one."""
    answer = _answer(variant, leaf.lookup)
    refs = step_ref(variant.step(leaf.lookup), prefix, layout.EVENTS)
    subject = Subject(f"route of {leaf.lookup}")
    traces: list[Evaluation] = []
    if leaf.errno is not None:
        where, what = join(path, "errno"), Subject(f"errno of {leaf.lookup}")
        if isinstance(answer, Unknown):
            traces += unknowns(where, what, leaf.errno, answer, refs)
        else:
            traces += checks(where, what, leaf.errno, answer.errno or "none", refs)
    for field, check in (leaf.route or {}).items():
        where, what = join(path, f"route.{field}"), Subject(f"route of {leaf.lookup}", quantity=field)
        if isinstance(answer, Unknown):
            traces += unknowns(where, what, check, answer, refs)
        elif answer.route is None and (field == "type" or answer.errno == "EINVAL"):
            # A blackhole, an unreachable destination, or a question that makes no sense: it does not say which.
            said = f"the kernel refuses ({answer.errno}: {answer.message or ''}) and names no route: ask for errno"
            traces += unknowns(where, what, check, Unknown("not-observable", said), refs)
        elif answer.route is None:
            text = f"the kernel has no route ({answer.errno or 'no answer'}: {answer.message or ''})"
            traces += [
                Evaluation(join(where, operator), what, False, operator, show(expected), "no route", None, text, refs)
                for operator, expected in check.operators().items()
            ]
        elif (hidden := _hidden(answer.route, field)) is not None:
            traces += unknowns(where, what, check, Unknown("not-observable", f"{what}: {hidden}"), refs)
        else:
            traces += checks(where, what, check, encode(answer.route).get(field), refs)
    return several(path, subject, traces)


def _hidden(route: RouteState, field: str) -> str | None:
    """Why the answer does not have this of the route that was found (rt_fill_info() in net/ipv4/route.c).

    An IPv4 answer says protocol unspec, scope global and no metric, whatever the route has; `ip route get` hides it.
    """
    if field in ASKED:
        return "the kernel repeats what was asked for"
    if route.family == "inet" and field in UNTOLD_OF_IPV4:
        return "the kernel does not tell it of the route that it found: look at the routes of a snapshot"
    return None


def _answer(variant: VariantRecord, name: str) -> LookupResult | Unknown:
    record = variant.step(name)
    if record is not None and record.ended is not None:
        trouble = step_trouble(record)
        if trouble is not None:
            return trouble
        if isinstance(record.ended.result, LookupResult):
            return record.ended.result
    return missing(variant, f"the answer to '{name}'")
