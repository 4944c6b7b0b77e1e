"""Stable deep links: the same lab, step, hypothesis or packet has the same address in every report."""

from __future__ import annotations

import re
from urllib.parse import quote

from labrun.lab.compile import EXPERIMENT


def lab(slug: str) -> str:
    return f"lab-{_part(slug)}"


def hypothesis(slug: str, name: str) -> str:
    return f"{lab(slug)}-h-{_part(name)}"


def variant(slug: str, name: str) -> str:
    """The experiment's own is the lab's, so that its steps have the short addresses."""
    return lab(slug) if name == EXPERIMENT else f"{lab(slug)}-c-{_part(name)}"


def step(slug: str, variant_name: str, name: str) -> str:
    return f"{variant(slug, variant_name)}-s-{_part(name)}"


def capture(slug: str, variant_name: str, name: str) -> str:
    return f"{variant(slug, variant_name)}-p-{_part(name)}"


def packet(slug: str, variant_name: str, name: str, number: int) -> str:
    return f"{capture(slug, variant_name, name)}-{number}"


def packet_bytes(slug: str, variant_name: str, name: str, number: int) -> str:
    return f"{packet(slug, variant_name, name, number)}-b"


def on_ladder(packet_anchor: str) -> str:
    return f"{packet_anchor}-l"


def ladder(slug: str, variant_name: str) -> str:
    return f"{variant(slug, variant_name)}-ladder"


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
