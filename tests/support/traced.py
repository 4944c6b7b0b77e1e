"""Events of traced packets, as the kernel tells them: eth0 is device 2, eth1 is 3, lo is 1."""

from __future__ import annotations

from labrun.protocol.traces import TRACE_TABLE, TraceEvent, Verdict

PING = "4500005439bc40004001ea9e0a0001020a00014d"  # recorded: 10.0.1.2 to 10.0.1.77, ICMP
ECHO = "08004a1f52bb00010001056b0000000090e50600"
FORWARDED = ("prerouting@eth0", "forward@eth0>eth1", "postrouting@eth1")


def own(id: int, chain: str, iif: int | None = None, oif: int | None = None, network: str = PING) -> TraceEvent:
    names = {1: "lo", 2: "eth0", 3: "eth1", None: None}
    return TraceEvent(
        0, id, chain.partition("_")[0], "inet", TRACE_TABLE, chain, "rule", "accept", 1,
        protocol="ip", iif=iif, iif_name=names[iif], oif=oif, oif_name=names[oif], network=network, transport=ECHO,
    )  # fmt: skip


def lab(id: int, hook: str, verdict: Verdict, rule: int | None = 4, comment: str | None = None) -> TraceEvent:
    kind = "policy" if rule is None else "rule"
    return TraceEvent(0, id, hook, "inet", "filter", hook, kind, verdict, rule, comment=comment)


def both(id: int, hook: str, iif: int | None = None, oif: int | None = None) -> list[TraceEvent]:
    return [own(id, f"{hook}_enter", iif, oif), own(id, f"{hook}_leave", iif, oif)]


def forwarded(id: int) -> list[TraceEvent]:
    return [*both(id, "prerouting", 2), *both(id, "forward", 2, 3), *both(id, "postrouting", 2, 3)]


def looped(out: int, back: int) -> list[TraceEvent]:
    there = [*both(out, "output", None, 1), *both(out, "postrouting", None, 1)]
    return [*there, *both(back, "prerouting", 1), *both(back, "input", 1)]
