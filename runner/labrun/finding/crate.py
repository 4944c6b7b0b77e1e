"""A finding's metadata: an RO-Crate 1.1 of the Process Run Crate profile, an action for each sandbox.

Written by hand: it has to be the same text on every machine, since whoever checks a finding makes it again and
compares. The `rocrate` package adds the time of writing, and what it adds changes with its versions.
https://www.researchobject.org/ro-crate/specification/1.1/ and https://www.researchobject.org/workflow-run-crate/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from labrun.evidence import layout
from labrun.evidence.run import RunRecord
from labrun.finding.sandboxes import Sandbox
from labrun.judge.results import LabResult, RunResult
from labrun.logic.visible import visible

CRATE = "ro-crate-metadata.json"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run#"
_CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    {name: _TERMS + name for name in ("ContainerImage", "DockerImage", "containerImage", "tag", "sha256")},
]
_MIT = "https://spdx.org/licenses/MIT"
_FORMATS = {
    ".json": "application/json", ".jsonl": "application/jsonl", ".html": "text/html", ".md": "text/markdown",
    ".xml": "application/xml", ".yaml": "application/yaml", ".pcapng": "application/vnd.tcpdump.pcap",
    ".log": "text/plain", ".txt": "text/plain", ".sh": "text/plain",
}  # fmt: skip
_LABRUN, _IMAGE = "#labrun", "#image"

Entity = dict[str, Any]


def crate_text(record: RunRecord, result: RunResult, ran: Sequence[Sandbox], files: Mapping[str, int]) -> str:
    """``files``: path -> length in bytes, of all that the finding has besides this one and its manifest."""
    claims = [claim for lab in result.labs for claim in _claims(lab)]
    actions = [_action(record, one) for one in ran]
    folders = {one.variant: [path for path in sorted(files) if path.startswith(f"{one.variant}/")] for one in ran}
    apart = {path for paths in folders.values() for path in paths}
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": _title(result.labs),
        "description": _description(result.labs),
        "datePublished": record.started,
        "license": {"@id": _MIT},
        "conformsTo": {"@id": _PROFILE},
        "about": _all(claims),
        "hasPart": [_ref(path) for path in sorted(set(files) - apart)] + [_ref(f"{folder}/") for folder in folders],
        "mentions": _all(actions),
    }
    datasets = [
        {"@id": quote(f"{folder}/"), "@type": "Dataset", "name": f"Evidence of {folder.removeprefix('labs/')}",
         "hasPart": [_ref(path) for path in paths]}
        for folder, paths in folders.items()
    ]  # fmt: skip
    graph = [
        {"@id": CRATE, "@type": "CreativeWork", "about": {"@id": "./"},
         "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
        root, *_background(record), *claims, *actions, *datasets,
        *(_file(path, size) for path, size in sorted(files.items())),
    ]  # fmt: skip
    return json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=1, ensure_ascii=False) + "\n"


def _background(record: RunRecord) -> Iterable[Entity]:
    yield {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    yield {
        "@id": _MIT, "@type": "CreativeWork", "name": "MIT License",
        "description": "Of labrun and the labs that ship with it; other labs are their authors'.",
    }  # fmt: skip
    yield {"@id": _LABRUN, "@type": "SoftwareApplication", "name": "labrun", "softwareVersion": record.labrun}
    if record.image is not None:
        name, _, tag = record.image.partition(":")
        image = {"@id": _IMAGE, "@type": "ContainerImage", "additionalType": {"@id": f"{_TERMS}DockerImage"},
                 "name": name, "tag": tag}  # fmt: skip
        digest = (record.image_id or "").partition("sha256:")[2]
        yield {**image, "sha256": digest} if digest else image


def _title(labs: Sequence[LabResult]) -> str:
    return visible(labs[0].title) if len(labs) == 1 else f"Findings of {len(labs)} labs"


def _description(labs: Sequence[LabResult]) -> str:
    every = [hypothesis for lab in labs for hypothesis in lab.hypotheses]
    counts = {word: sum(h.verdict == word for h in every) for word in ("supported", "refuted", "inconclusive")}
    return "Claims about networks on Linux, judged on evidence: " + ", ".join(f"{n} {w}" for w, n in counts.items())


def _claims(lab: LabResult) -> Iterable[Entity]:
    for hypothesis in lab.hypotheses:
        message = visible(hypothesis.message, "\n\t")
        yield {
            "@id": f"#{quote(f'{lab.id}/{hypothesis.id}')}",
            "@type": "Claim",
            "name": visible(hypothesis.claim, "\n\t"),
            "description": f"{hypothesis.verdict}: {message}",
        }


def _action(record: RunRecord, ran: Sandbox) -> Entity:
    lab = f"labs/{ran.lab}"
    found: Entity = {
        "@id": f"#{quote(ran.variant)}",
        "@type": "CreateAction",
        "name": f"Run of {ran.variant.removeprefix('labs/')}",
        "description": f"The steps of {ran.variant}/{layout.PLAN}, in a sandbox of the {record.engine} engine",
        "instrument": {"@id": _LABRUN},
        "object": [_ref(f"{lab}/{layout.LAB}"), _ref(f"{lab}/{layout.COMPILED}")],
        "result": _ref(f"{ran.variant}/"),
        "actionStatus": f"http://schema.org/{'Completed' if ran.complete else 'Failed'}ActionStatus",
    }
    if record.image is not None:
        found["containerImage"] = {"@id": _IMAGE}
    if ran.hello is not None:
        found["startTime"] = _time(ran.hello.wall_ns)
    if ran.ended_wall_ns is not None:
        found["endTime"] = _time(ran.ended_wall_ns)
    return found


def _time(wall_ns: int) -> str:
    """ISO 8601 in UTC, as the profile wants it: with milliseconds."""
    try:
        return datetime.fromtimestamp(wall_ns // 10**6 / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat(timespec="milliseconds")


def _file(path: str, size: int) -> Entity:
    name = path.rpartition("/")[2]
    suffix = name[name.rfind(".") :] if "." in name else ""
    kind = _FORMATS.get(suffix, "application/octet-stream")
    return {"@id": quote(path), "@type": "File", "name": name, "contentSize": str(size), "encodingFormat": kind}


def _ref(path: str) -> Entity:
    return {"@id": quote(path)}


def _all(entities: Iterable[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]
