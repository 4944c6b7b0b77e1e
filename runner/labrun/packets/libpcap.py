"""pcap-filter expressions compiled by libpcap, whose word on errors is the only one; and its interpreter.

Captures usually come with programs that the sandbox compiled, with this module, which is shipped there. The host needs
it for what was not known then (a filter added when a stored run is judged anew) and for `labrun check`, which finds a
wrong filter before anything starts. libpcap opens no device here, so nothing depends on the interface that a filter is
for but its link type.
It refuses to fail where the library is not installed: it answers None, and the caller says what that means.
"""

from __future__ import annotations

import ctypes
import functools
import struct

Instruction = tuple[int, int, int, int]
"""code, jt, jf, k: struct sock_filter (linux/filter.h), struct bpf_insn (pcap/bpf.h)"""

_DLT = {1: 1, 101: 12}  # LINKTYPE_ (files) -> DLT_ (libpcap, pcap/dlt.h): Ethernet, raw IP
_NETMASK_UNKNOWN = 0xFFFFFFFF
WHOLE_PACKET = 262144  # the largest snapshot length that libpcap uses (MAXIMUM_SNAPLEN)
_JUMP = 0x05  # BPF_JMP|BPF_JA
_BACK = 1 << 31  # from here on an offset is a negative one
_SONAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so", "libpcap.dylib", "/usr/lib/libpcap.A.dylib")


class FilterSyntaxError(ValueError):
    """The expression is not a pcap filter for this link type, in libpcap's words."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


@functools.cache
def _libpcap() -> ctypes.PyDLL | None:
    # PyDLL keeps the GIL: every call here is short, and bpf_filter runs once for a packet. One exception:
    # a host name in an expression asks the resolver, which in a sandbox has nobody to wait for.
    for name in _SONAMES:
        try:
            library = ctypes.PyDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
        )  # fmt: skip
        library.pcap_freecode.argtypes = (ctypes.POINTER(_Program),)
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = (ctypes.c_void_p,)
        library.bpf_filter.restype = ctypes.c_uint
        library.bpf_filter.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint)
        return library
    return None


def compile_filter(expression: str, linktype: int = 1, snaplen: int = WHOLE_PACKET) -> tuple[Instruction, ...] | None:
    """The program for frames of a link type (LINKTYPE_ number), which returns ``snaplen`` for a match and 0 otherwise.

    None where no libpcap is installed.
    """
    library = _libpcap()
    if library is None:
        return None
    if "\0" in expression:
        raise FilterSyntaxError("a filter cannot contain a null character")
    if linktype not in _DLT:
        raise FilterSyntaxError(f"no filters for link type {linktype}")
    handle = library.pcap_open_dead(_DLT[linktype], snaplen)
    if not handle:
        raise MemoryError
    program = _Program()
    try:
        text = expression.encode(errors="surrogateescape")
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, _NETMASK_UNKNOWN) != 0:
            raise FilterSyntaxError(library.pcap_geterr(handle).decode(errors="replace"))
        raw = ctypes.string_at(program.instructions, program.length * 8)
        library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
    compiled: tuple[Instruction, ...] = tuple(struct.iter_unpack("=HBBI", raw))  # struct bpf_insn, pcap/bpf.h
    if any(code == _JUMP and k >= _BACK for code, _jt, _jf, k in compiled):
        raise FilterSyntaxError("the filter loops (protochain), and neither the kernel nor labrun runs loops")
    return compiled


def matches(encoded: bytes, data: bytes, original_length: int) -> bool:
    """Whether a program (struct bpf_insn, one after the other) accepts a packet, by libpcap's interpreter."""
    library = _libpcap()
    assert library is not None  # it compiled the program
    return bool(library.bpf_filter(encoded, data, original_length, len(data)))
