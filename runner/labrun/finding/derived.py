"""What a finding says of its evidence: made from the evidence alone, so that whoever checks it makes it again.

All of it is text, and a function of the run directory, this labrun and its libraries: no clock, no path, no network.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from labrun.evidence.run import RunRecord, read_run
from labrun.finding.crate import CRATE, crate_text
from labrun.finding.sandboxes import Sandbox, sandboxes
from labrun.judge.results import RunResult
from labrun.protocol.codec import encode
from labrun.report.write import DEFAULT, FORMATS, rendered

ENVIRONMENT = "environment.json"
NAMES = (ENVIRONMENT, CRATE, *(FORMATS[name] for name in DEFAULT))
"""Of the files that `told` makes."""
_LIBRARIES = ("jinja2", "jmespath", "junitparser", "markdown", "nh3", "pydantic", "regex")


def libraries() -> dict[str, str]:
    """Name -> version, of what has a part in judging and rendering."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def told(run: Path, result: RunResult, files: Mapping[str, int]) -> dict[str, str]:
    """Name -> text. ``files``: path -> length in bytes, of all else that the finding has. Raises EvidenceError."""
    record = read_run(run)
    ran = sandboxes(run, record)
    texts = {ENVIRONMENT: _environment(record, ran), **rendered(run, result)}
    lengths = {**files, **{name: len(text.encode()) for name, text in texts.items()}}
    return {**texts, CRATE: crate_text(record, result, ran, lengths)}


def _environment(record: RunRecord, ran: Sequence[Sandbox]) -> str:
    """What the run ran on: the host in the runner's words, and each kind of sandbox in its agent's, with who had it."""
    host = {
        name: getattr(record, name)
        for name in ("started", "labrun", "engine", "engine_version", "isolation", "isolation_note", "kernel",
                     "processor", "python", "userland", "image", "image_id")
    }  # fmt: skip
    kinds: dict[str, list[str]] = {}
    for one in ran:
        if one.hello is not None:
            kinds.setdefault(json.dumps(_made_of(one), sort_keys=True), []).append(one.variant)
    made = [{"variants": variants, **json.loads(kind)} for kind, variants in kinds.items()]
    return json.dumps({"host": host, "sandboxes": made}, indent=1, ensure_ascii=False) + "\n"


def _made_of(ran: Sandbox) -> dict[str, object]:
    """All but when it began, which plan it had, and the filters that were compiled for it."""
    told: dict[str, object] = encode(ran.hello)
    return {name: value for name, value in told.items() if name not in ("kind", "t_ns", "wall_ns", "plan", "programs")}
