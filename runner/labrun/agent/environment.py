"""What the sandbox is made of: kernel, capabilities, package versions. Recorded, so that a finding can be checked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from labrun.protocol.events import Program

PACKAGES = Path("/usr/share/labrun/packages.json")
KERNEL = Path("/run/labrun/kernel.json")  # put there by the vm engine
HOST_PACKAGES = Path("/run/labrun/packages.json")  # put there by the native engine, on the host's own userland
LINKTYPES = (1, 101)  # LINKTYPE_ETHERNET, LINKTYPE_RAW: what captures of labs have

# The Debian packages of what labs call.
DEBIAN = {
    "arping": "iputils-arping", "brctl": "bridge-utils", "bridge": "iproute2", "conntrack": "conntrack", "curl": "curl",
    "dnsmasq": "dnsmasq-base", "drill": "ldnsutils", "ethtool": "ethtool", "ifconfig": "net-tools", "ip": "iproute2",
    "iperf3": "iperf3", "iptables": "iptables", "nc": "netcat-openbsd", "netstat": "net-tools", "nft": "nftables",
    "ping": "iputils-ping", "route": "net-tools", "socat": "socat", "ss": "iproute2", "sysctl": "procps",
    "tc": "iproute2", "tcpdump": "tcpdump", "tracepath": "iputils-tracepath", "traceroute": "traceroute",
    "wg": "wireguard-tools",
}  # fmt: skip

# include/uapi/linux/capability.h, by number
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)


def capabilities() -> tuple[str, ...]:
    """The effective ones of this process, by name."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return tuple(name for number, name in enumerate(_CAPABILITIES.split()) if bits >> number & 1)
    return ()


def packages() -> dict[str, str]:
    """Name -> version, as the image recorded them when it was built; empty on a userland that has no record."""
    found = _record()
    found.pop("userland", None)
    flat: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            flat |= {str(name): str(version) for name, version in value.items()}
        else:
            flat[str(key)] = str(value)
    return dict(sorted(flat.items()))


def userland() -> str:
    """Whose programs these are: "image", or the host's by its name."""
    return str(_record().get("userland", "image"))


def kernel_build() -> dict[str, str] | None:
    """What this kernel was made of, where a virtual machine has one of its own."""
    found = _read(KERNEL)
    return None if found is None else {str(name): str(value) for name, value in found.items()}


def _record() -> dict[str, Any]:
    return _read(HOST_PACKAGES) or _read(PACKAGES) or {}


def _read(place: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def missing_tools(tools: tuple[str, ...], path: str) -> tuple[str, ...]:
    folders = path.split(os.pathsep)
    return tuple(tool for tool in tools if not any(_is_program(f"{folder}/{tool}") for folder in folders))


def _is_program(path: str) -> bool:
    return os.access(path, os.X_OK) and not Path(path).is_dir()


def where_to_get(missing: tuple[str, ...]) -> str:
    """A sentence for people. Only on the host's own userland can they do something about it."""
    words = f"not in the sandbox: {', '.join(missing)}"
    packages = sorted({DEBIAN[tool] for tool in missing if tool in DEBIAN})
    return f"{words}; Debian: {' '.join(packages)}" if packages and HOST_PACKAGES.exists() else words


def python_version() -> str:
    return sys.version.split()[0]


def kernel() -> tuple[str, str]:
    """(release, machine)"""
    name = os.uname()
    return name.release, name.machine


def programs(filters: tuple[str, ...]) -> tuple[Program, ...]:
    """Each filter as BPF for the link types where it makes sense. Raises FilterError if it makes none for Ethernet."""
    if not filters:
        return ()
    from labrun.agent.pcap_filter import FilterError, compile_filter

    found = []
    for expression in filters:
        for linktype in LINKTYPES:
            try:
                found.append(Program(expression, linktype, tuple(compile_filter(expression, linktype))))
            except FilterError:
                if linktype == LINKTYPES[0]:
                    raise
    return tuple(found)
