"""Whether a machine that was busy may be why something took long, or came late."""

from __future__ import annotations

from labrun.evidence.record import StepRecord

_SHARE = 0.25  # of a step's time: below this, waiting for a processor is the ordinary course of things
_LEAST_S = 0.02  # and the kernel counts in its own ticks, so that very short steps say nothing


def busy(record: StepRecord | None) -> str | None:
    """What to say of the machine during a step; None where it was not notable or is not known."""
    if record is None or record.started is None or record.ended is None or record.ended.load is None:
        return None
    load, lasted_s = record.ended.load, (record.ended.t_ns - record.started.t_ns) / 1e9
    words = []
    for seconds, what in ((load.waited_us / 1e6, "processes waited for a processor"),
                          (load.stolen_us / 1e6, "the hypervisor took the processors away")):  # fmt: skip
        if seconds >= max(_LEAST_S, _SHARE * lasted_s):
            words.append(f"{what} for {seconds:.2g} s")
    if load.dropped:
        words.append(f"the kernel dropped {load.dropped} packets, since its backlog was full")
    return f"this machine was busy during '{record.step.id}' ({lasted_s:.2g} s): {'; '.join(words)}" if words else None
