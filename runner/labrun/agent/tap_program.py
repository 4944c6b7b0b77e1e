"""What the kernel keeps for a capture, as one classic BPF program: interfaces first, then the user's filter.

One socket sees all interfaces of its namespace, so the choice of interfaces is part of the filter. Two kinds of frame
are let through unfiltered, for the capture to decide, because the kernel shows them to a filter in another shape than
the file will have: those whose VLAN tag the kernel has put aside, and those of interfaces without Ethernet header.
"""

from __future__ import annotations

from labrun.agent.pcap_filter import FilterError, Program
from labrun.agent.pcapng import ARPHRD_LOOPBACK, ETHERNET_TYPES
from labrun.packets.libpcap import WHOLE_PACKET, Instruction

# Ancillary data by absolute load (SKF_AD_OFF -0x1000 and SKF_AD_*, linux/filter.h)
_PKTTYPE, _IFINDEX, _HATYPE, _VLAN_PRESENT = 0xFFFFF004, 0xFFFFF008, 0xFFFFF01C, 0xFFFFF030
_PACKET_OUTGOING = 4  # linux/if_packet.h
_LD, _LDI, _JEQ, _JA, _RET = 0x20, 0x00, 0x15, 0x05, 0x06  # BPF_LD|W|ABS, LD|IMM, JMP|JEQ|K, JMP|JA, RET|K
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, linux/bpf_common.h
MAX_INTERFACES = 200  # conditional jumps reach 255 instructions


def tap_program(indexes: tuple[int, ...] | None, user: Program | None, snaplen: int) -> Program:
    """Keep packets on ``indexes`` (None: on any) that ``user``, made for Ethernet, accepts (None: all)."""
    program: list[Instruction] = []
    if indexes is not None:
        program.append((_LD, 0, 0, _IFINDEX))
        # A match jumps over the rest of the comparisons and the `ret 0` behind them.
        program += [(_JEQ, len(indexes) - place, 0, index) for place, index in enumerate(indexes)]
        program.append((_RET, 0, 0, 0))
    program += [
        # Loopback shows each packet twice, going out and coming in. libpcap drops the first, and so do we.
        (_LD, 0, 0, _HATYPE),
        (_JEQ, 0, 3, ARPHRD_LOOPBACK),
        (_LD, 0, 0, _PKTTYPE),
        (_JEQ, 0, 1, _PACKET_OUTGOING),
        (_RET, 0, 0, 0),
    ]
    if user is None:
        return (*program, (_RET, 0, 0, snaplen))
    program += [(_LD, 0, 0, _VLAN_PRESENT), (_JEQ, 0, 1, 1), (_RET, 0, 0, WHOLE_PACKET), (_LD, 0, 0, _HATYPE)]
    types = sorted(ETHERNET_TYPES)
    program += [(_JEQ, len(types) - place, 0, kind) for place, kind in enumerate(types)]
    program.append((_RET, 0, 0, WHOLE_PACKET))
    program.append((_LDI, 0, 0, 0))  # a filter may count on A being 0 at its start
    program += user
    if len(program) > _MAX_INSTRUCTIONS:
        raise FilterError(f"the filter compiles to {len(program)} instructions, the kernel takes {_MAX_INSTRUCTIONS}")
    return tuple(program)
