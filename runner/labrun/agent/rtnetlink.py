"""One rtnetlink socket: send a message, wait for the kernel's answer, say its refusal in words.

The transport is ours; the messages are outgoing.py's and incoming.py's, or pyroute2's where speed is nothing. The
sockets of pyroute2 0.9 each carry an asyncio event loop (350 us to open, 600 us for a dump of one address); a blocking
socket opens in about 10 us, never forks, starts no thread, and stays in the network namespace where it was opened,
which is all that the agent needs. It asks for extended acknowledgements, so that a refusal carries the kernel's own
sentence.

It does not wait for notifications and does not know what the messages mean.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from labrun.agent.incoming import Incoming, taken_apart
from labrun.agent.outgoing import LinkMessage, Outgoing

# include/uapi/linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 0x2, 0x3
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NLMSGERR_ATTR_MSG = 1
# include/uapi/linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTEXT_FILTER_SKIP_STATS = 1 << 3

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port id
RECEIVE_BYTES = 256 * 1024  # the kernel never puts more than 32 KiB into one dump message
ANSWER_TIMEOUT_S = 10.0  # the kernel answers in the same system call; waiting at all means that something broke
DUMP_ATTEMPTS = 10
BATCH = 100  # acknowledgements wait in the socket's buffer, which holds some 250 of them (net.core.rmem_default)
IFLA_IFNAME, IFLA_OPERSTATE = 3, 16
# Python's table has one name a number, and not always the kernel's.
ERRNO_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN", errno.EDEADLK: "EDEADLK"}


class KernelRefused(Exception):
    """The kernel said no: ``errno_name`` such as EEXIST, ``message`` its own words where it has some."""

    def __init__(self, errno_name: str, message: str) -> None:
        super().__init__(f"{errno_name}: {message}")
        self.errno_name = errno_name
        self.message = message


def refused(code: int, message: str | None = None) -> KernelRefused:
    """A refusal by its errno; the words are strerror's unless given."""
    return KernelRefused(ERRNO_NAMES.get(code, f"E{code}"), message or os.strerror(code))


class Rtnetlink:
    """A socket for the network namespace in which it was made, wherever the thread goes afterwards."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._sequence = 0

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def change(self, kind: int, flags: int, message: Any) -> None:
        """Send a message of type ``kind`` (RTM_NEWLINK, ...) and return when the kernel has done it.

        Raises KernelRefused when it did not.
        """
        sequence = self._send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, message)
        for _kind, _flags, _body in self._answers(sequence):
            pass

    def changes(self, requests: Sequence[tuple[int, int, Outgoing]]) -> list[KernelRefused | None]:
        """Many changes in few system calls, in their order; each one's refusal. One that is refused stops none."""
        outcomes: list[KernelRefused | None] = []
        for start in range(0, len(requests), BATCH):
            outcomes += self._batch(requests[start : start + BATCH])
        return outcomes

    def _batch(self, requests: Sequence[tuple[int, int, Outgoing]]) -> list[KernelRefused | None]:
        first = self._sequence + 1
        datagram = bytearray()
        for kind, flags, message in requests:
            self._sequence += 1
            body = message.body()
            flags |= NLM_F_REQUEST | NLM_F_ACK
            datagram += HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0) + body
            datagram += bytes(-len(body) % 4)
        self._socket.send(datagram)
        outcomes: list[KernelRefused | None] = [None] * len(requests)
        missing = len(requests)
        while missing:
            for number, code, flags, whole in _acks(self._socket.recv(RECEIVE_BYTES)):
                if number >= first:
                    missing -= 1
                    if code:
                        outcomes[number - first] = refused(-code, _words(whole, flags))
        return outcomes

    def names(self) -> dict[str, int]:
        """The interfaces here: name -> index."""
        return {link[1]: link[0] for link in self.links()}

    def links(self) -> tuple[tuple[int, str, int, int], ...]:
        """(index, name, flags, operational state) of each interface here, read without decoding the rest."""
        request = LinkMessage()
        request["attrs"] = [("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS)]
        for _attempt in range(DUMP_ATTEMPTS):
            sequence = self._send(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, request)
            found, interrupted = [], False
            for _kind, flags, whole in self._answers(sequence):
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                found.append(_brief(whole))
            if not interrupted:
                return tuple(found)
        raise refused(errno.EINTR, "the kernel's list kept changing while it was read")

    def get(self, kind: int, message: Any) -> bytes | None:
        """The kernel's one answer, from its netlink header on; None if it acknowledged without any."""
        sequence = self._send(kind, NLM_F_REQUEST | NLM_F_ACK, message)
        found: bytes | None = None
        for _kind, _flags, whole in self._answers(sequence):
            found = whole
        return found

    def dump(self, kind: int, message: Any, answer: type[Incoming] | None = None) -> tuple[Any, ...]:
        """All objects that the kernel lists, as ``answer`` has them, or as pyroute2's class of ``message`` does.

        A dump that changed under the reader is begun again: it could lack or repeat entries (netlink(7)).
        """
        for _attempt in range(DUMP_ATTEMPTS):
            sequence = self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, message)
            found, interrupted = [], False
            for _kind, flags, whole in self._answers(sequence):
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                found.append(whole)
            if not interrupted:
                if answer is not None:
                    return tuple(taken_apart(answer, whole) for whole in found)
                return tuple(decoded(type(message), whole) for whole in found)
        raise refused(errno.EINTR, "the kernel's list kept changing while it was read")

    def index_of(self, name: str) -> int:
        """The index of the interface ``name`` here; KernelRefused(ENODEV) if there is none."""
        if not 0 < len(name.encode()) < 16:  # IFNAMSIZ: no interface can have it, and the kernel would say EINVAL
            raise refused(errno.ENODEV, f"there is no interface {name!r}")
        request = LinkMessage()
        request["attrs"] = [("IFLA_IFNAME", name), ("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS)]
        try:
            whole = self.get(RTM_GETLINK, request)
        except KernelRefused as error:
            if error.errno_name == "ENODEV":
                raise refused(errno.ENODEV, f"there is no interface {name!r}") from error
            raise
        if whole is None:
            raise refused(errno.ENODEV, f"there is no interface {name!r}")
        # struct ifinfomsg: family, pad, type (u16), index (i32). The whole message need not be decoded for that.
        index: int = struct.unpack_from("=i", whole, HEADER.size + 4)[0]
        return index

    def _send(self, kind: int, flags: int, message: Any) -> int:
        self._sequence += 1
        if isinstance(message, Outgoing):
            body = message.body()
            self._socket.send(HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
            return self._sequence
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        self._socket.send(message.data)
        return self._sequence

    def _answers(self, sequence: int) -> Iterator[tuple[int, int, bytes]]:
        """(type, flags, whole message) of each answer to ``sequence``, up to its end; raises the refusal."""
        while True:
            data = self._socket.recv(RECEIVE_BYTES)
            at = 0
            while at + HEADER.size <= len(data):
                length, kind, flags, number, _port = HEADER.unpack_from(data, at)
                whole = data[at : at + length]
                at += (length + 3) & ~3
                if number != sequence:
                    continue  # the rest of an answer that was given up earlier
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    code = struct.unpack_from("=i", whole, HEADER.size)[0] if length > HEADER.size else 0
                    if code < 0:
                        raise refused(-code, _words(whole, flags) if kind == NLMSG_ERROR else None)
                    return
                yield kind, flags, whole


def _acks(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(sequence number, error code, flags, whole message) of each acknowledgement in a datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, number, _port = HEADER.unpack_from(data, at)
        if kind == NLMSG_ERROR:
            yield number, struct.unpack_from("=i", data, at + HEADER.size)[0], flags, data[at : at + length]
        at += (length + 3) & ~3


def _brief(whole: bytes) -> tuple[int, str, int, int]:
    """(index, name, flags, operational state) of an RTM_NEWLINK."""
    index, flags = struct.unpack_from("=iI", whole, HEADER.size + 4)
    name, state = "", 0
    at = HEADER.size + 16
    while at + 4 <= len(whole):
        length, kind = struct.unpack_from("=HH", whole, at)
        if kind == IFLA_IFNAME:
            name = os.fsdecode(whole[at + 4 : at + length - 1])
        elif kind == IFLA_OPERSTATE:
            state = whole[at + 4]
        at += max(4, (length + 3) & ~3)
    return index, name, flags, state


def open_rtnetlink() -> Rtnetlink:
    """An rtnetlink socket in the calling thread's network namespace."""
    return Rtnetlink()


def decoded(cls: Any, whole: bytes) -> Any:
    message = cls(whole)
    message.decode()
    return message


def _words(whole: bytes, flags: int) -> str | None:
    """The kernel's sentence in an error (Documentation/userspace-api/netlink/intro.rst, "Ext ACK"), if it sent one."""
    if not flags & NLM_F_ACK_TLVS:
        return None
    # After the error code comes the request's header, and, unless capped, its body.
    request_length = struct.unpack_from("=I", whole, HEADER.size + 4)[0]
    at = HEADER.size + 4 + (HEADER.size if flags & NLM_F_CAPPED else (request_length + 3) & ~3)
    while at + 4 <= len(whole):
        length, kind = struct.unpack_from("=HH", whole, at)
        if length < 4:
            return None
        if kind & 0x3FFF == NLMSGERR_ATTR_MSG:
            text = whole[at + 4 : at + length].rstrip(b"\0").decode(errors="replace")
            return text.strip().removesuffix(".") or None
        at += (length + 3) & ~3
    return None
