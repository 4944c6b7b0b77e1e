"""Interface counters of the current namespace: IFLA_STATS64, as `ip -statistics link` prints them."""

from __future__ import annotations

from labrun.agent.messages import LinkMessage
from labrun.agent.rtnetlink import RTM_GETLINK, Rtnetlink
from labrun.protocol.state import CounterState


def counter_states(ipr: Rtnetlink) -> tuple[CounterState, ...]:
    """By device name."""
    found = []
    for message in ipr.dump(RTM_GETLINK, LinkMessage()):
        stats = message.get_attr("IFLA_STATS64") or message.get_attr("IFLA_STATS")
        if stats is None:
            continue
        found.append(
            CounterState(
                dev=message.get_attr("IFLA_IFNAME"),
                **{
                    f"{way}_{what}": stats[f"{way}_{what}"]
                    for way in ("rx", "tx")
                    for what in ("packets", "bytes", "errors", "dropped")
                },
            )
        )
    return tuple(sorted(found, key=lambda counter: counter.dev))
