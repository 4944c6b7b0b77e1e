"""A packet socket with a memory-mapped receive ring: the kernel writes packets, nobody is asked for each.

TPACKET_V3, Documentation/networking/packet_mmap.rst and linux/if_packet.h. The ring's memory is not bounded by
net.core.rmem_max, so a user namespace gets the same buffer as root. It refuses to interpret packets: it hands out
whole blocks as bytes, and gives each back to the kernel at once.

With each packet comes the kernel's metadata of what is left to do (PACKET_VNET_HDR): how a super-packet will be cut,
and whether its checksum is filled in. A super-packet of a kind that it cannot describe, such as SCTP's, counts as a
drop (virtio_net_hdr_from_skb, linux/virtio_net.h).

A socket belongs to the network namespace of the thread that made it, for good.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from types import TracebackType

from labrun.agent.pcap_filter import Program, attach
from labrun.protocol.record import dataclass

# linux/if_packet.h
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_VNET_HDR = 1, 5, 6, 10, 15
_PACKET_MR_PROMISC = 1
_TPACKET_V3 = 2
_TP_STATUS_KERNEL, _TP_STATUS_USER = 0, 1
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
# linux/if_ether.h: every protocol; and one kept for experiments, which nobody's packets carry
_ETH_P_ALL, _ETH_P_802_EX1 = 0x0003, 0x88B5

# struct tpacket_block_desc: version, offset_to_priv, then block_status, num_pkts, offset_to_first_pkt, blk_len
BLOCK_PACKETS = struct.Struct("=12xII")
_STATUS_WORD, _LENGTH_WORD = 2, 5
# struct tpacket3_hdr (next_offset, sec, nsec, snaplen, len, status, mac, net, rxhash, vlan_tci, vlan_tpid, padding)
# and the struct sockaddr_ll right behind it (family, protocol, ifindex, hatype, pkttype, halen, addr)
PACKET_HEADER = struct.Struct("=IIIIIIHHIIH10x4xiHB")

# struct virtio_net_hdr (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset), linux/virtio_net.h: what the
# packet left for a device to do. A checksum is of what lies behind csum_start, counted from the packet's first byte
VNET_HEADER_BYTES = 10
VNET_HEADER = struct.Struct("=BBHHH")  # all but csum_offset
VNET_HDR_F_NEEDS_CSUM = 1

_REJECT_ALL: Program = ((0x06, 0, 0, 0),)  # BPF_RET|BPF_K 0


@dataclass(frozen=True, slots=True)
class RingSize:
    """How much the kernel can hold while nobody reads.

    A block is handed over when it is full or ``retire_ms`` after its first packet, so a slow trickle fills the ring in
    no less than blocks * retire_ms, and a flush waits up to retire_ms. A packet that is larger than a block is cut.
    """

    block_bytes: int = 256 * 1024
    blocks: int = 64
    retire_ms: int = 4


class PacketRing:
    """Open, with its filter in force and no packet accepted yet. ``listen`` opens the tap."""

    def __init__(self, program: Program, size: RingSize) -> None:
        # Protocol 0: the kernel hooks the socket up only in listen(), so that nothing unfiltered gets in before.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self.socket.setblocking(False)
            attach(self.socket, program)
            self.socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)  # a struct virtio_net_hdr before each packet
            self.socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            # struct tpacket_req3. Frames have any size in V3; the kernel wants numbers that add up all the same.
            frame = 2048
            frames = size.block_bytes // frame * size.blocks
            request = struct.pack("=7I", size.block_bytes, size.blocks, frame, frames, size.retire_ms, 0, 0)
            self.socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._map = mmap.mmap(self.socket.fileno(), size.block_bytes * size.blocks)
        except BaseException:
            self.socket.close()
            raise
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("I")
        self._size = size
        self._next = 0
        self.counted = 0  # packets that passed the filter, lost ones included, as of the last count()
        self.drops = 0  # of these, those that found no room

    def __enter__(self) -> PacketRing:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _bind(self, protocol: int) -> None:
        # socket.bind() insists on an interface's name; index 0, every interface of the namespace, has none.
        address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(protocol), 0, 0, 0, 0)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.bind(self.socket.fileno(), address, len(address)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def listen_to_all_stations(self, index: int) -> None:
        """Make an interface accept frames for others too, as long as this ring is open ("promiscuous")."""
        request = struct.pack("=iHH8x", index, _PACKET_MR_PROMISC, 0)  # struct packet_mreq
        self.socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)

    def listen(self) -> None:
        """When this returns, every packet that passes the filter is kept or counted as a drop."""
        self._bind(_ETH_P_ALL)

    def deafen(self) -> None:
        """When this returns, no further packet is counted, and none is on its way.

        Changing the protocol makes the kernel unhook the socket and wait for all who are in it (synchronize_net in
        packet_do_bind, net/packet/af_packet.c).
        """
        attach(self.socket, _REJECT_ALL)
        self._bind(_ETH_P_802_EX1)

    def count(self) -> None:
        """Bring ``counted`` and ``drops`` up to date. Reading resets the kernel's counters, so they are added up."""
        packets, drops, _freezes = struct.unpack("=III", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))
        self.counted += packets
        self.drops += drops

    def take(self) -> bytes | None:
        """A copy of the next block, which the kernel gets back at once; None when none is ready."""
        start = self._next * self._size.block_bytes
        word = start // 4
        if not self._words[word + _STATUS_WORD] & _TP_STATUS_USER:
            return None
        block = bytes(self._bytes[start : start + self._words[word + _LENGTH_WORD]])
        self._words[word + _STATUS_WORD] = _TP_STATUS_KERNEL
        self._next = (self._next + 1) % self._size.blocks
        return block

    def close(self) -> None:
        self._words.release()
        self._bytes.release()
        self._map.close()
        self.socket.close()
