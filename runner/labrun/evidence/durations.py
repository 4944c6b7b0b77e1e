"""How long each variant lasted when it last ran, beside the runs: `durations.json`, "<slug>/<variant>" -> seconds.

Known from runs of any selection of labs. Only the order in which sandboxes are started depends on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from labrun.evidence.files import EvidenceError, read_below, write_whole

FILE = "durations.json"
_MAX_NAMES = 10_000
_MAX_BYTES = 4 * 1024**2


def read_durations(out: Path, name: str = FILE) -> dict[str, float]:
    """What is known; nothing where the file is not there or makes no sense."""
    try:
        told = json.loads(read_below(out, name, _MAX_BYTES))
    except (EvidenceError, ValueError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    return {name: float(value) for name, value in told.items() if type(value) in (int, float) and _is_duration(value)}


def keep_durations(out: Path, lasted_s: Mapping[str, float]) -> None:
    """Add these to what is known; what was not run for longest is forgotten. Raises OSError."""
    if lasted_s:
        known = {name: value for name, value in read_durations(out).items() if name not in lasted_s}
        known |= {name: round(value, 3) for name, value in lasted_s.items()}
        write_whole(out / FILE, json.dumps(dict([*known.items()][-_MAX_NAMES:]), indent=0) + "\n")


def _is_duration(value: float) -> bool:
    return 0 <= value < math.inf
