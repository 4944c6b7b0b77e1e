"""pcap-filter expressions (what tcpdump users know) as classic BPF programs, for the kernel and for a capture.

The sandbox's libpcap compiles them; it refuses to capture with it. Programs are plain tuples, so that they can leave
the sandbox as evidence.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from labrun.packets import libpcap
from labrun.packets.libpcap import WHOLE_PACKET, FilterSyntaxError, Instruction

Program = tuple[Instruction, ...]

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_INSTRUCTION = struct.Struct("=HBBI")


class FilterError(ValueError):
    """The expression is not a pcap filter, in libpcap's words; or there is no libpcap to ask."""


def compile_filter(expression: str, linktype: int = 1, snaplen: int = WHOLE_PACKET) -> Program:
    """The program for frames of ``linktype``; it returns ``snaplen`` for a match and 0 otherwise."""
    try:
        program = libpcap.compile_filter(expression, linktype, snaplen)
    except FilterSyntaxError as error:
        raise FilterError(str(error)) from error
    if program is None:
        raise FilterError("no libpcap in the sandbox: filters cannot be compiled (package libpcap0.8)")
    return program


def encode_program(program: Program) -> bytes:
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def attach(sock: socket.socket, program: Program) -> None:
    """Make the kernel drop whatever ``program`` returns 0 for, before it reaches ``sock``."""
    encoded = ctypes.create_string_buffer(encode_program(program))
    fprog = struct.pack("@HP", len(program), ctypes.addressof(encoded))  # struct sock_fprog, linux/filter.h
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
