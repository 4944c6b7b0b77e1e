"""No instrument changes the result: each lab that ships, once with every instrument everywhere and once with none."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import REPOSITORY, Labrun
from ruamel.yaml import YAML

LABS = sorted(path.parent.name for path in (REPOSITORY / "labs").glob("*/lab.yaml"))
INSTRUMENTS = ("capture", "trace", "snapshot", "lookup")
PARTS = ["links", "addresses", "routes", "rules", "nft"]
NUMBER = re.compile(r"\d+(\.\d+)?")


def written(folder: Path, slug: str, *, watched: bool) -> Path:
    """The lab's own steps without its instruments, or with captures, traces and snapshots of ours in every node."""
    yaml = YAML(typ="safe")
    lab = yaml.load(REPOSITORY / "labs" / slug / "lab.yaml")
    gone = {step["id"] for step in lab["steps"] if any(kind in step for kind in INSTRUMENTS)}
    steps = [step for step in lab["steps"] if step.get("stop") not in gone and step["id"] not in gone]
    nodes = list(lab.get("topology", {}).get("nodes", ()))
    first = 0
    if not nodes:  # the lab makes its namespaces itself
        first, made = next((at + 1, step["namespace"]) for at, step in enumerate(steps) if "namespace" in step)
        nodes = [made if isinstance(made, str) else made["add"]]
    if watched:
        captures = [{"id": f"any-{node}", "in": node, "capture": {"on": "any"}} for node in nodes]
        traces = [{"id": f"way-{node}", "in": node, "trace": {}} for node in nodes]
        states = [{"id": f"state-{number}", "snapshot": {}} for number in range(len(steps))]
        own = [step for pair in zip(steps, states, strict=True) for step in pair]
        steps = [*own[: 2 * first], *captures, *traces, *own[2 * first :]]
    steps.append({"id": "after-all", "snapshot": {"nodes": nodes, "parts": PARTS}})
    predict = {"links": {"at": "after-all", "in": nodes[0], "where": {"name": "lo"}}, "count": 1}
    claim = {"id": "h", "claim": "It ran.", "predict": predict, "control": {"none": "Two runs are compared."}}
    kept = {key: lab[key] for key in ("title", "question", "topology", "requires") if key in lab}
    parameters = {name: values[:1] for name, values in lab.get("parameters", {}).items()}
    path = folder / "labs" / f"{slug}-{'watched' if watched else 'alone'}" / "lab.yaml"
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        extra = {"parameters": parameters} if parameters else {}
        yaml.dump({**kept, **extra, "steps": steps, "hypotheses": [claim]}, file)
    return path.parent


def told(folder: Path) -> dict[str, Any]:
    """How each command of the lab ended and what it printed, and the kernel's state after all; numbers left out."""
    found: dict[str, Any] = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        result = event.get("result") or {}
        if "stdout" in result:
            outputs = [(folder / result[name]["path"]).read_text(errors="replace") for name in ("stdout", "stderr")]
            found[event["step"]] = (result.get("exit"), [NUMBER.sub("#", text) for text in outputs])
    state = json.loads((folder / "snapshots/after-all.json").read_text())
    found["state"] = re.sub(r'"(index|handle|packets|bytes)": ?\d+', "", json.dumps(state, sort_keys=True))
    return found


@pytest.mark.parametrize("slug", LABS)
def test_with_every_instrument_the_lab_goes_as_with_none(labrun: Labrun, tmp_path: Path, slug: str) -> None:
    folders = [written(tmp_path, slug, watched=watched) for watched in (False, True)]
    ran = labrun("run", *map(str, folders))
    assert all(lab["status"] == "done" for lab in ran.results["labs"]), ran.out + ran.err
    found = {path.name.partition("--")[0]: told(path / "experiment") for path in (ran.run / "labs").iterdir()}
    alone, watched = (found[folder.name] for folder in folders)
    assert len(alone) > 1
    assert watched == alone
