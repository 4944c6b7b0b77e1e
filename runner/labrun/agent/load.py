"""How busy the machine was: three files that the kernel keeps for all namespaces, read at the ends of each step.

Documentation/accounting/psi.rst (cpu, `some`), proc_stat(5) (the eighth number of `cpu`), net/core/net-procfs.c
(softnet_seq_show: the second number of each processor). A kernel without one of them says nothing about it.
"""

from __future__ import annotations

import os

from labrun.protocol.events import Load

_FILES = ("/proc/pressure/cpu", "/proc/stat", "/proc/net/softnet_stat")


class LoadWatch:
    def __init__(self) -> None:
        self._fds = [_opened(path) for path in _FILES]
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._before = self._read()

    def start(self) -> None:
        self._before = self._read()

    def since_start(self) -> Load | None:
        """What there was of it since then; None where there was nothing at all."""
        now = self._read()
        waited_us, stolen, dropped = (max(0, new - old) for new, old in zip(now, self._before, strict=True))
        load = Load(waited_us, stolen * 1_000_000 // self._ticks, dropped)
        return load if load != Load(0, 0, 0) else None

    def _read(self) -> tuple[int, int, int]:
        pressure, stat, softnet = (b"" if fd is None else _contents(fd) for fd in self._fds)
        try:
            waited = int(pressure.partition(b"total=")[2].split()[0]) if pressure else 0
            stolen = int(stat.split(None, 9)[8]) if stat else 0
            dropped = sum(int(line.split()[1], 16) for line in softnet.splitlines())
        except (ValueError, IndexError):
            return 0, 0, 0
        return waited, stolen, dropped


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _contents(fd: int) -> bytes:
    try:
        return os.pread(fd, 65536, 0)
    except OSError:  # PSI may be there and switched off (EOPNOTSUPP)
        return b""
