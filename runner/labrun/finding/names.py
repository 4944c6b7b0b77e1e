"""What of the machine that it was made on a finding names: for its sender to look at before it is sent."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from labrun.evidence.files import read_below

_MAX_BYTES = 64 * 1024 * 1024  # of a file that is looked through
_COMMON = {"localhost", "root", "debian", "ubuntu", "linux", "user", "host", "/root", "/"}  # they name nobody


def host_names() -> dict[str, str]:
    """What it is -> the words, of this machine and account: those that could name somebody."""
    found = {"the host name": platform.node(), "the home folder": str(Path.home())}
    with suppress(OSError, KeyError):  # an account without a name
        found["the user name"] = getpass.getuser()
    for mac in sorted(_addresses()):
        found[f"the MAC address {mac}"] = mac
    return {what: words for what, words in found.items() if len(words) > 2 and words.lower() not in _COMMON}


def _addresses() -> set[str]:
    """Of the host's own interfaces: links with a device behind them."""
    found = set()
    for folder in Path("/sys/class/net").glob("*"):
        if (folder / "device").exists():
            found.add((folder / "address").read_text(encoding="ascii", errors="replace").strip())
    return found - {"", "00:00:00:00:00:00"}


def where_named(run: Path, paths: Collection[str], names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What it is -> the files that have it as a word of its own; nothing for what is nowhere."""
    patterns = {what: _pattern(words) for what, words in names.items()}
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        data = read_below(run, path, _MAX_BYTES) if (run / path).stat().st_size <= _MAX_BYTES else b""
        for what, pattern in patterns.items():
            if pattern.search(data):
                found.setdefault(what, []).append(path)
    return {what: tuple(files) for what, files in found.items()}


def _pattern(words: str) -> re.Pattern[bytes]:
    """As text, or the six bytes of a MAC address, which captures have."""
    text = rb"(?<![\w-])" + re.escape(words.encode()) + rb"(?![\w-])"
    if re.fullmatch(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", words):
        text += b"|" + re.escape(bytes.fromhex(words.replace(":", "")))
    return re.compile(text)
