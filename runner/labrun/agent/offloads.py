"""What an interface leaves to the device, or to the last moment: checksums, and the cutting of super-packets.

Switched by ioctl, as `ethtool -K DEV tx off sg off tso off gso off gro off` does (linux/ethtool.h, man 8 ethtool).
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct

from labrun.agent.rtnetlink import refused

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_SETTERS = {"tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}  # ETHTOOL_STXCSUM, ...
_GETTERS = {"tx": 0x16, "sg": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}


def switch(name: str, *, on: bool) -> None:
    """All of them, of an interface of this network namespace. Raises KernelRefused where the kernel refuses one.

    Off leaves on what the device has for good, as ethtool does: nobody computes the checksums of lo.
    """
    features = list(_SETTERS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for feature in features if on else features[::-1]:  # what is left to a device needs its checksums
            try:
                if _ask(sock, name, _GETTERS[feature], 0) != on:
                    _ask(sock, name, _SETTERS[feature], int(on))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP or on:
                    raise refused(error.errno or errno.EIO, f"{name}: {feature}: {error.strerror}") from error


def _ask(sock: socket.socket, name: str, command: int, value: int) -> int:
    """struct ethtool_value through a struct ifreq, which has 40 bytes."""
    asked = array.array("I", (command, value))
    request = struct.pack("16sP16x", name.encode(), asked.buffer_info()[0])
    fcntl.ioctl(sock, _SIOCETHTOOL, request)
    return asked[1]
