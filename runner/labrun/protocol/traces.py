"""What the kernel tells of packets that it traces through nftables: `traces/<step>.jsonl`, one `TraceEvent` a line.

An event says which rule or policy judged a packet, not which hook it was at. So labrun's own table has two chains at
every hook, `<hook>_enter` before all others and `<hook>_leave` after all others; whatever comes between belongs there.
"""

from __future__ import annotations

import re
from typing import Literal

from labrun.protocol.record import dataclass

TRACE_TABLE = "labrun_trace"
CHECK_TABLE = "labrun_trace_check"  # where a match is tried out, for a moment
OWN_TABLES = (TRACE_TABLE, CHECK_TABLE)
FIRST_HOOKS = ("ingress", "prerouting", "output")  # where a packet's way through this machine may begin
HOOKS = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")
STATION = re.compile(rf"({'|'.join(HOOKS)})(?:@([^\s@>]+)(?:>([^\s@>]+))?)?")
"""A station as an author writes it: `forward`, `prerouting@eth0`, `forward@eth0>eth1`."""

Type = Literal["rule", "policy", "return"]
Verdict = Literal["accept", "drop", "stolen", "queue", "repeat", "stop", "continue", "break", "jump", "goto", "return"]


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One rule or policy judged one packet.

    Devices and headers are only in the first event of a packet in each base chain; so says the kernel
    (net/netfilter/nf_tables_trace.c, `packet_dumped`).
    """

    wall_ns: int
    """CLOCK_REALTIME when labrun *read* it: the kernel's message has no time. Never before the packet was there; up to
    a scheduling delay after. The order of the lines is the kernel's; durations cannot be had from this."""
    id: int
    """NFTA_TRACE_ID, a hash over the buffer's address, flow and input interface. Constant while the packet goes from
    hook to hook, another one after it went through `lo`, and not unique: later packets of a flow often have it again.
    """
    hook: str | None
    """Of HOOKS. None where the packet is traced by a rule of the lab, before it came to a chain of ours."""
    family: str
    """Of the table: ip, ip6, inet, arp, bridge, netdev."""
    table: str
    chain: str
    type: Type
    verdict: Verdict
    rule: int | None = None
    """Its handle. A `rule` without one, with the verdict `continue`, is the end of a chain."""
    target: str | None = None
    """The chain of a jump or goto."""
    text: str | None = None
    """The rule as nft prints it, looked up when the trace was flushed. None where it, or its table, was gone by then.
    """
    comment: str | None = None
    protocol: str | None = None
    """ip, ip6, or a number: what the packet is, whatever the table."""
    iif: int | None = None
    iif_name: str | None = None
    """As it was called when the event was read."""
    oif: int | None = None
    oif_name: str | None = None
    mark: int | None = None
    """None is 0: the kernel leaves it out."""
    link: str | None = None
    """The first bytes of the header, as hex; also ``network`` and ``transport``. 20, 40 and 20 at most."""
    network: str | None = None
    transport: str | None = None

    @property
    def own(self) -> bool:
        """A chain of labrun's, not of the lab's."""
        return self.table == TRACE_TABLE

    @property
    def enters(self) -> bool:
        return self.own and self.chain.endswith("_enter")

    @property
    def leaves(self) -> bool:
        return self.own and self.chain.endswith("_leave")
