"""Our own nftables table, which marks packets for tracing and says at which hook they are.

Made through libnftables and not the `nft` command, because it is owned by the socket that made it (NFT_TABLE_F_OWNER,
Linux 5.12): a lab's `nft flush ruleset` leaves it alone, and it goes away with the agent.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import subprocess

from labrun.agent.nft_state import ENVIRONMENT, TIMEOUT_S
from labrun.protocol.traces import CHECK_TABLE, TRACE_TABLE

Families = tuple[str, ...]
FIRST, LAST = -(1 << 31), (1 << 31) - 1  # NF_IP_PRI_FIRST, NF_IP_PRI_LAST


class TraceError(Exception):
    """The trace cannot be started, or has broken. The message says which and why."""


class Table:
    """libnftables, with a netlink socket of its own for the namespace where it was made: the owner of our table."""

    def __init__(self) -> None:
        library = self._library = ctypes.CDLL("libnftables.so.1")  # libnftables(3)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        context = library.nft_ctx_new(0)
        if not context:
            raise OSError(errno.ENOMEM, "libnftables has no context")
        self._context = ctypes.c_void_p(context)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_buffer_output(self._context)

    def run(self, text: str) -> str | None:
        """Carry out; what was refused, in one line."""
        if self._library.nft_run_cmd_from_buffer(self._context, text.encode()) == 0:
            return None
        said: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b"it failed and said nothing"
        return first_line(said.decode(errors="replace"))

    def close(self) -> None:
        """With the socket, an owned table goes too."""
        self._library.nft_ctx_free(self._context)


def table_text(match: str, families: Families, devices: tuple[str, ...], *, owned: bool) -> str:
    only = f"meta protocol {families[0]} " if len(families) == 1 else ""
    mark = f"{only}{match} meta nftrace set 1 accept; accept;"
    flags = "flags owner; " if owned else ""

    def chains(hook: str, device: str, enter: str) -> str:
        base = f"type filter hook {hook}{device} priority"
        return f"chain {hook}_enter {{ {base} {FIRST}; {enter} }}; chain {hook}_leave {{ {base} {LAST}; accept; }}; "

    hooks = (
        ("prerouting", mark),
        ("input", "accept;"),
        ("forward", "accept;"),
        ("output", mark),
        ("postrouting", "accept;"),
    )
    blocks = {"inet": "".join(chains(hook, "", enter) for hook, enter in hooks)}
    if devices:
        named = " devices = { " + ", ".join(f'"{device}"' for device in devices) + " }"
        blocks["netdev"] = chains("ingress", named, mark) + chains("egress", named, "accept;")
    # `create` refuses a table that is there; but nft 1.0.6 loses the chains in its block.
    return "".join(
        f"create table {family} {TRACE_TABLE} {{ {flags}}}\ntable {family} {TRACE_TABLE} {{ {flags}{block}}}\n"
        for family, block in blocks.items()
    )


def check_match(match: str) -> None:
    """Let a child parse the author's text, in a chain that no packet ever gets to. Raises TraceError."""
    chain = f"table inet {CHECK_TABLE} {{ chain match {{ {match} meta nftrace set 1 accept; }}; }}"
    argv = ["nft", "-j", "-e", chain]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False, env=ENVIRONMENT, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TraceError(f"cannot run nft: {error}") from error
    if done.returncode:
        raise TraceError(f"nft does not take the match {match!r}: {first_line(done.stderr or 'it crashed')}")
    with contextlib.closing(Table()) as table:
        table.run(f"delete table inet {CHECK_TABLE}")
    rules = [
        item["add"]["rule"]["expr"] for item in json.loads(done.stdout)["nftables"] if "rule" in item.get("add", ())
    ]
    if len(rules) != 1 or any("match" not in statement for statement in rules[0][:-2]):
        raise TraceError(f"only matches can say which packets to trace: {match!r}")
    if any("ct" in statement["match"]["left"] for statement in rules[0][:-2]):
        raise TraceError(f"conntrack has not seen a packet where tracing begins: {match!r}")


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].partition("Error: ")[2] or text.strip().split("\n")[0]
