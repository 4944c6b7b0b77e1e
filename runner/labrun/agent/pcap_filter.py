"""pcap-filter expressions (what tcpdump users know) as classic BPF programs, through the sandbox's libpcap.

libpcap is loaded when the first expression is compiled, and through ctypes, as the image's Python has no binding.
It refuses to capture: libpcap opens no device here, so nothing depends on the interface that a filter is for but its
link type. Programs are plain tuples, so that they can leave the sandbox as evidence.
"""

from __future__ import annotations

import ctypes
import functools
import socket
import struct

from labrun.agent.pcapng import LINKTYPE_ETHERNET, LINKTYPE_RAW

Instruction = tuple[int, int, int, int]  # code, jt, jf, k: struct sock_filter of linux/filter.h
Program = tuple[Instruction, ...]

# libpcap's own link-type numbers (pcap/dlt.h); they differ from those in files for raw IP.
_DLT = {LINKTYPE_ETHERNET: 1, LINKTYPE_RAW: 12}
_NETMASK_UNKNOWN = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN: `ip broadcast` is then refused instead of guessed
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_JUMP = 0x05  # BPF_JMP|BPF_JA
_INSTRUCTION = struct.Struct("=HBBI")
WHOLE_PACKET = 262144  # the largest snapshot length that libpcap uses (MAXIMUM_SNAPLEN)


class FilterError(ValueError):
    """The expression is not a pcap filter, in libpcap's words; or there is no libpcap to ask."""


class _BpfProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


@functools.cache
def _libpcap() -> ctypes.PyDLL:
    # PyDLL keeps the GIL: every call here is short, and bpf_filter runs once for a packet. One exception:
    # a host name in an expression asks the resolver, which in a sandbox has nobody to wait for.
    for name in ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so"):  # upstream's soname, Debian's, the -dev link
        try:
            library = ctypes.PyDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.POINTER(_BpfProgram), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
        )  # fmt: skip
        library.pcap_freecode.argtypes = (ctypes.POINTER(_BpfProgram),)
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = (ctypes.c_void_p,)
        library.bpf_filter.restype = ctypes.c_uint
        library.bpf_filter.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint)
        return library
    raise FilterError("no libpcap in the sandbox: filters cannot be compiled (package libpcap0.8)")


def compile_filter(expression: str, linktype: int = LINKTYPE_ETHERNET, snaplen: int = WHOLE_PACKET) -> Program:
    """The program for frames of ``linktype``; it returns ``snaplen`` for a match and 0 otherwise."""
    if "\0" in expression:
        raise FilterError("a filter cannot contain a null character")
    library = _libpcap()
    handle = library.pcap_open_dead(_DLT[linktype], snaplen)
    if not handle:
        raise FilterError("libpcap is out of memory")
    program = _BpfProgram()
    try:
        text = expression.encode("utf-8", "surrogateescape")
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, _NETMASK_UNKNOWN) != 0:
            raise FilterError(library.pcap_geterr(handle).decode("utf-8", "replace"))
        raw = ctypes.string_at(program.instructions, program.length * _INSTRUCTION.size)
        library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
    compiled: Program = tuple(_INSTRUCTION.iter_unpack(raw))
    if any(code == _JUMP and k > 0x7FFFFFFF for code, _jt, _jf, k in compiled):
        raise FilterError("the filter loops (protochain), and the kernel runs no loops")
    return compiled


def encode_program(program: Program) -> bytes:
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def matches(encoded: bytes, data: bytes, original_length: int) -> bool:
    """Whether an encoded program accepts a packet, decided by libpcap's interpreter instead of the kernel's."""
    return bool(_libpcap().bpf_filter(encoded, data, original_length, len(data)))


def attach(sock: socket.socket, program: Program) -> None:
    """Make the kernel drop whatever ``program`` returns 0 for, before it reaches ``sock``."""
    encoded = ctypes.create_string_buffer(encode_program(program))
    fprog = struct.pack("@HP", len(program), ctypes.addressof(encoded))  # struct sock_fprog, linux/filter.h
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
