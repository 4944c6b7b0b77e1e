"""Stable deep links: the same lab, step, hypothesis or packet has the same address in every report."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import quote

from labrun.protocol.plan import EXPERIMENT


def lab(slug: str) -> str:
    return f"lab-{_part(slug)}"


def hypothesis(slug: str, name: str) -> str:
    return f"{lab(slug)}-h-{_part(name)}"


def variant(slug: str, name: str) -> str:
    """The experiment's own is the lab's, so that its steps have the short addresses. A control's is short as well, for
    a page has it a thousand times: a digest of its name, which stays the same whatever else changes in the lab."""
    if name == EXPERIMENT:
        return lab(slug)
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=5).digest()
    return f"{lab(slug)}-c-{base64.b32encode(digest).decode().lower()[:6]}"


def step(slug: str, variant_name: str, name: str) -> str:
    return f"{variant(slug, variant_name)}-s-{_part(name)}"


def setup(slug: str, variant_name: str) -> str:
    """All the steps that make the topology: they are told together."""
    return f"{variant(slug, variant_name)}-setup"


def capture(slug: str, variant_name: str, name: str) -> str:
    return f"{variant(slug, variant_name)}-p-{_part(name)}"


def packet(slug: str, variant_name: str, name: str, number: int) -> str:
    return f"{capture(slug, variant_name, name)}-{number}"


def packet_bytes(slug: str, variant_name: str, name: str, number: int) -> str:
    return f"{packet(slug, variant_name, name, number)}-b"


def rung(slug: str, variant_name: str, letter: str) -> str:
    """A packet's way on the ladder; the template writes it too."""
    return f"{variant(slug, variant_name)}-ladder-{letter}"


def file_href(path: str) -> str:
    """A path relative to the run directory as a URL. Never absolute and never upwards: those get no link."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "" in parts:
        return "#"
    return "./" + quote(path, safe="/")


def _part(name: str) -> str:
    # Slugs stay as they are; a lab folder may be called anything.
    return re.sub(r"[^A-Za-z0-9-]", lambda match: "_" + "_".join(f"{byte:02x}" for byte in match[0].encode(
        "utf-8", "surrogateescape")), name)  # fmt: skip
