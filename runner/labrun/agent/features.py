"""Does this kernel have it? Asked by trying, in a network namespace that is thrown away.

A version number says little: features are compiled in or left out, and modules may be there or not. What the kernel
answers for a kind that it does not know (EOPNOTSUPP, ENOENT, EPROTONOSUPPORT) differs from what it answers to a
question that is merely incomplete (EINVAL), so that the smallest question will do.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from labrun.agent import namespaces as ns
from labrun.agent.lab_root import make_tun_device
from labrun.protocol.features import FEATURES, Feature

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST, _ACK, _CREATE, _EXCL, _ERROR = 0x1, 0x4, 0x400, 0x200, 0x2
_NEWLINK, _NEWQDISC = 16, 36
_IFNAME, _LINKINFO, _INFO_KIND, _TCA_KIND = 3, 18, 1, 1
_NFT_GETGEN, _CT_GET_STATS = 16, 5
_NESTED = 0x8000
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1  # include/uapi/linux/pkt_sched.h
_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENODEV, errno.ENXIO)
_NETLINK_NETFILTER = 12
_TIMEOUT_S = 10.0


def lacking(names: tuple[str, ...]) -> dict[str, str]:
    """Of ``names`` those that this kernel does not have here, with its answer."""
    found = {}
    with ns.kept(("net", ns.CLONE_NEWNET)):
        ns.unshare(ns.CLONE_NEWNET)
        for name in names:
            try:
                _probe(FEATURES[name])
            except KeyError:
                found[name] = "not known to this labrun"
            except OSError as error:
                found[name] = error.strerror or str(error)
    return found


def _probe(feature: Feature) -> None:
    """Raises OSError if it is not there."""
    if feature.probe == "link":
        kind = _attribute(_LINKINFO | _NESTED, _attribute(_INFO_KIND, feature.value.encode() + b"\0"))
        body = (
            struct.pack("=BxHiII", 0, 0, 0, 0, 0)
            + _attribute(_IFNAME, f"p-{feature.value}"[:15].encode() + b"\0")
            + kind
        )
        _ask(socket.NETLINK_ROUTE, _NEWLINK, _CREATE | _EXCL, body)
    elif feature.probe == "qdisc":
        parent, handle = (_INGRESS, 0xFFFF0000) if feature.value == "ingress" else (_ROOT, 0x10000)
        body = struct.pack("=BxxxiIII", 0, 1, handle, parent, 0)  # struct tcmsg; lo is always number 1
        _ask(
            socket.NETLINK_ROUTE,
            _NEWQDISC,
            _CREATE | _EXCL,
            body + _attribute(_TCA_KIND, feature.value.encode() + b"\0"),
        )
    elif feature.probe == "nfnetlink":
        subsystem = int(feature.value)
        question = _NFT_GETGEN if subsystem == 10 else _CT_GET_STATS
        _ask(_NETLINK_NETFILTER, subsystem << 8 | question, 0, struct.pack("=BBH", 0, 0, 0), (errno.EINVAL,))
    elif feature.probe == "tun":
        make_tun_device()
        os.close(os.open(feature.value, os.O_RDWR | os.O_CLOEXEC))
    else:
        family, _, protocol = feature.value.partition("/")
        socket.socket(int(family), socket.SOCK_STREAM, int(protocol or 0)).close()


def _ask(protocol: int, kind: int, flags: int, body: bytes, also: tuple[int, ...] = ()) -> None:
    """One request and its answer. Raises OSError if that says: unknown."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body)
        answer = sock.recv(65536)
    if _HEADER.unpack_from(answer)[1] == _ERROR:
        code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if code in _UNKNOWN or code in also:
            raise OSError(code, os.strerror(code))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
