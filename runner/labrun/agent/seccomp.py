"""What no command of a lab may ask of the kernel: what labs never need, and what no namespace keeps to itself.

One filter, put on the agent before it starts anything; all its children inherit it (seccomp(2)), in every engine. It is
a table and an assembler of a few lines, not libseccomp: that would be one more library in every image and host, loaded
at each start, for a filter that looks at a number and one argument.

- Sockets of families that are not in a network namespace: AF_VSOCK reaches the hypervisor, AF_ALG the kernel's crypto,
  AF_QIPCRTR and AF_NFC hardware. Allowed is a list; a family that is not in it fails as one that the kernel lacks.
- io_uring, which opens sockets without the system call that is filtered.
- The machine: another kernel, modules, the clock, swap, quotas, accounting, reboot, ports of the hardware.
- Keys, which belong to users and not to namespaces.
- perf_event_open, which looks at the whole kernel.
- Ways to other mount namespaces of one's user namespace: file handles (open_by_handle_at on nsfs, Linux 6.18), and
  NS_MNT_GET_NEXT and NS_MNT_GET_PREV (Linux 6.12).
- Cgroup namespaces: in one of its own, root may mount the cgroup that bounds the lab, and lift the bounds. clone3 has
  its flags in memory, where a filter cannot look; it fails as one that the kernel lacks, and libraries then use clone.
- System calls of another architecture, whose numbers and arguments differ: 32-bit programs do not run.

bpf(2) is left: where a lab has the right to it, XDP and tc need it. Numbers: arch/x86/entry/syscalls/syscall_64.tbl,
include/uapi/asm-generic/unistd.h; the program: include/uapi/linux/{filter,seccomp,audit}.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from labrun.agent import namespaces as ns

# include/linux/socket.h: UNIX INET INET6 KEY NETLINK PACKET PPPOX MPLS CAN TIPC RXRPC KCM SMC XDP MCTP
FAMILIES = (1, 2, 10, 15, 16, 17, 24, 28, 29, 30, 33, 41, 43, 44, 45)
NS_MNT_GET = (0xB70B, 0xB70C)  # the type and number of the ioctl: include/uapi/linux/nsfs.h
# name -> number on x86_64, and on the architectures with generic numbers (None: there is none)
DENIED: dict[str, tuple[int, int | None]] = {
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "iopl": (172, None), "ioperm": (173, None), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "perf_event_open": (298, 241), "open_by_handle_at": (304, 265), "userfaultfd": (323, 282),
}  # fmt: skip
_SOCKETS: tuple[tuple[int, int], ...] = ((41, 198), (53, 199))  # socket, socketpair
_IOCTL = (16, 29)
_NAMESPACES: tuple[tuple[int, int], ...] = ((56, 220), (272, 97))  # clone, unshare: flags come first
_CLONE3 = 435
_CLONE_NEWCGROUP = 0x02000000
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}
_X32 = 0x40000000  # the bit of x32's system calls, which have the architecture of x86_64

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = (
    0x20,
    0x15,
    0x35,
    0x54,
    0x06,
)  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, |JGE|K, BPF_ALU...
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # struct seccomp_data; little-endian: the low half comes first
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def install() -> None:
    """From now on, for the calling thread and all that it starts. Raises OSError where the kernel refuses."""
    program = filter_program(os.uname().machine)
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    ns.prctl(_PR_SET_SECCOMP, _MODE_FILTER, fprog)


def filter_program(machine: str) -> bytes:
    """In struct sock_filter's, 8 bytes each."""
    architecture, column = _ARCHITECTURES[machine]
    refused, unknown = _ERROR | errno.EPERM, _ERROR | errno.EAFNOSUPPORT
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refused),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, refused)]
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    lines += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    flags = [(_AND, 0, 0, _CLONE_NEWCGROUP), (_EQUAL, 0, 1, _CLONE_NEWCGROUP), (_RETURN, 0, 0, refused)]
    lines += _for(tuple(numbers[column] for numbers in _NAMESPACES), _FIRST, flags)
    families = [(_EQUAL, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)]
    lines += _for(tuple(numbers[column] for numbers in _SOCKETS), _FIRST, [*families, (_RETURN, 0, 0, unknown)])
    looks = [(_AND, 0, 0, 0xFFFF), *((_EQUAL, 0, 1, NS_MNT_GET[0]), (_RETURN, 0, 0, refused)),
             *((_EQUAL, 0, 1, NS_MNT_GET[1]), (_RETURN, 0, 0, refused))]  # fmt: skip
    lines += _for((_IOCTL[column],), _SECOND, looks)
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


_Line = tuple[int, int, int, int]


def _for(numbers: tuple[int, ...], argument: int, body: list[_Line]) -> list[_Line]:
    """``body`` with an argument loaded, where the call is one of ``numbers``; what falls through is allowed."""
    block = [(_LOAD, 0, 0, argument), *body, (_RETURN, 0, 0, _ALLOW)]
    tests = [(_EQUAL, len(numbers) - 1 - place, 0, number) for place, number in enumerate(numbers)]
    last = tests.pop()
    return [*tests, (last[0], 0, len(block), last[3]), *block]
