"""What an instrument of a lab may have changed in what it looks at, and whether that can be undone.

| instrument | what it changes | what is done about it |
|---|---|---|
| capture | nothing: it taps devices, and copies packets | |
| capture, `promiscuous`, on a bridge | the bridge takes each frame in, and forwards a clone | a trace joins the clone |
| the same, and frames cross the hooks of IP | a packet may be judged and delivered twice | other counts are in doubt |
| trace | a table of its own in `nft list ruleset` | snapshots leave it out, outputs are read with and without |
| snapshot, lookup | nothing | |

Sources: br_handle_frame_finish in net/bridge/br_input.c, br_netfilter_hooks.c; `agent/trace.py`.
"""

from __future__ import annotations

import re

from labrun.evidence.record import VariantRecord
from labrun.observe.unknown import Unknown
from labrun.protocol.traces import TRACE_TABLE

_TABLE = re.compile(rf"^table \S+ {TRACE_TABLE} \{{.*?^\}}[^\n]*(?:\n|\Z)", re.MULTILINE | re.DOTALL)


def interference(variant: VariantRecord, looked_at: str) -> Unknown | None:
    """Why packets at ``looked_at`` (node.interface) may be more or fewer than without the captures; None if not."""
    for record in variant.steps:
        for bridge in record.capture.bridges if record.capture is not None else ():
            if looked_at == f"{record.step.node}.{bridge}":
                continue
            text = (
                f"the capture '{record.step.id}' made the bridge {bridge} promiscuous, and netfilter sees its frames: "
                f"packets may have been delivered more than once"
            )
            return Unknown("instrument-interferes", text)
    return None


def without_trace(text: str) -> str | Unknown:
    """The output of a command without the table with which labrun traces, where that is certain: as nft lists rules."""
    if TRACE_TABLE not in text:
        return text
    alone = _TABLE.sub("", text)
    if TRACE_TABLE not in alone:
        return alone
    return Unknown("instrument-interferes", f"the output tells of {TRACE_TABLE}, the table with which labrun traces")
