"""The labs that ship with labrun: all there, all sound, each with its reasons and its controls."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from labrun.lab.catalogue import all_labs, shipped_labs
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_lab, parse_lab
from labrun.lab.schema import lab_schema, schema_text
from labrun.lab.text import parse_yaml

LABS = {path.parent.name: path for path in all_labs(shipped_labs())}
SEED = {
    "empty-namespace": {
        "no-interfaces": "refuted",
        "ifconfig-silent": "supported",
        "server-listens": "supported",
        "curl-cannot-connect": "supported",
        "no-packets-sent": "supported",
        "bind-needs-an-address": "refuted",
    },
    "loopback-up": {"same-server-answers": "supported", "bind-needs-an-address": "refuted"},
    "capture-duplicates": {"any-sees-it-three-times": "supported", "bridge-sees-it-once": "supported"},
    "own-address": {
        "goes-out-docker0": "refuted",
        "goes-through-lo": "supported",
        "because-of-the-local-route": "supported",
    },
    "packet-path": {
        "prerouting-is-step-zero": "refuted",
        "routing-assigns-the-device": "supported",
        "captured-after-routing": "supported",
        "captured-on-entry": "supported",
    },
    "listing": {"ifconfig-lists-all": "refuted"},
}


def test_the_labs_of_the_seed_are_there_with_their_eighteen_hypotheses():
    found = {slug: {h.id: h.expect for h in load_lab(LABS[slug]).model.hypotheses} for slug in SEED}
    assert found == SEED
    assert sum(map(len, found.values())) == 18


@pytest.mark.parametrize("slug", LABS)
def test_a_shipped_lab_compiles_to_plans_with_digests_of_their_own(slug):
    lab = compile_lab(load_lab(LABS[slug]))
    digests = [plan.digest for plan in lab.plans]
    assert len(set(digests)) == len(digests)
    assert lab.experiment == compile_lab(load_lab(LABS[slug])).experiment


@pytest.mark.parametrize("slug", LABS)
def test_each_hypothesis_says_why_and_has_a_control_or_the_reason_for_none(slug):
    for hypothesis in load_lab(LABS[slug]).model.hypotheses:
        assert hypothesis.because, hypothesis.id
        assert hypothesis.control, hypothesis.id


@pytest.mark.parametrize("slug", LABS)
def test_what_is_supported_has_a_control_that_runs(slug):
    lab = compile_lab(load_lab(LABS[slug]))
    for hypothesis in lab.lab.model.hypotheses:
        if hypothesis.expect == "supported" and all(control.none is None for control in hypothesis.control):
            assert lab.controls[hypothesis.id], hypothesis.id


@pytest.mark.parametrize("slug", LABS)
def test_a_shipped_lab_names_its_source_its_tags_its_tools_and_what_follows(slug):
    model = load_lab(LABS[slug]).model
    assert model.source is not None and model.source.url
    assert model.tags and model.requires.tools and model.background and model.conclusion
    assert model.question.endswith("?")


@pytest.mark.parametrize("slug", LABS)
def test_no_step_of_a_shipped_lab_waits_for_a_fixed_time(slug):
    for step in load_lab(LABS[slug]).model.steps:
        command = step.run if step.run is not None else step.start
        words = command.split() if isinstance(command, str) else list(command or ())
        assert "sleep" not in words, step.id


def test_the_schema_file_is_fresh():
    file = shipped_labs() / "lab.schema.json"
    assert file.read_text() == schema_text(), f"run: python -m labrun.lab.schema > {file.name}"


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(lab_schema())


def complaints(text: str) -> list[str]:
    value, _ = parse_yaml(text, "lab.yaml")
    return [error.json_path for error in jsonschema.Draft202012Validator(lab_schema()).iter_errors(value)]


@pytest.mark.parametrize("slug", LABS)
def test_an_editor_finds_nothing_wrong_with_a_shipped_lab(slug):
    assert complaints(LABS[slug].read_text()) == []


@pytest.mark.parametrize("slug", LABS)
def test_a_shipped_lab_tells_editors_of_the_schema(slug):
    first = LABS[slug].read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../lab.schema.json"
    assert (LABS[slug].parent / "../lab.schema.json").is_file()


SHORT = """\
title: T
question: Q
timeout: 2m
topology:
  nodes: {a: , b: {ipv6: true}}
  bridges: {a.br0: , a.br1: {address: 10.9.0.1/24}}
  links: [{a.eth0: 10.0.0.1/24, b.eth0: , mtu: 1400}, {a.eth1: [10.1.0.1/24], b.eth1: {up: false}}]
  routes: {a: {default: 10.0.0.2, 10.5.0.0/16: {via: 10.0.0.2, metric: 5}}}
  sysctls: {a: {net.ipv4.ip_forward: 1, net.ipv4.conf.all.rp_filter: "0"}}
steps:
  - namespace: ns1
  - namespace: {delete: ns1}
  - {id: c, capture: {on: any}, in: a}
  - {capture: {on: [eth0, eth1], filter: icmp}, in: a}
  - {id: s, start: [nc, -l, 8900], in: a, ready: {port: 8900}, timeout: 500ms}
  - stop: s
  - {stop: {step: c, signal: INT}}
  - {send: IP()/ICMP(), in: a}
  - {send: {packet: IP(), dev: eth0, count: 2}, in: a}
  - snapshot:
  - snapshot: all
  - snapshot: a
  - {id: k, snapshot: [a, b]}
  - {snapshot: {nodes: a, parts: [nft]}}
  - {rule: {add: {from: 10.0.0.0/8, table: 100}}, in: a}
  - {route: {add: default, via: 10.0.0.2, table: 100}, in: a}
  - {id: r, run: x, in: a, timeout: 3}
hypotheses:
  - id: h
    claim: C
    predict:
      any:
        - {command: r, exit: 0, stdout: "x"}
        - {command: r, exit: {ge: 1, le: 2}, stderr: {matches: x}}
        - {packets: {on: a.eth1, capture: step-4, during: {from: s, to: r}}, count: {one_of: [1, 2]}}
        - {not: {links: {at: k, in: a, where: {up: true, mtu: {ge: 1400}}}, each: {mtu: 1400, name: {matches: eth}}}}
    control:
      - {before: r, insert: {run: x, in: a}}
      - {after: r, insert: [{run: x, in: a}, {run: y, in: a}]}
      - {none: A reason.}
  - {id: i, claim: C, predict: {command: r, exit: 0}, control: {none: A reason.}}
"""


def test_an_editor_accepts_every_shorthand_that_labrun_accepts():
    compile_lab(parse_lab(SHORT, Path("lab.yaml"), "short", "lab.yaml"))
    assert complaints(SHORT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: T", "titel: T"),
        ("timeout: 2m", "timeout: 2w"),
        ("mtu: 1400}", "mtu: 20}"),
        ("{delete: ns1}", "{remove: ns1}"),
        ("{id: c, capture", "{id: C!, capture"),
        ("signal: INT", "signal: WINCH"),
        ("exit: {ge: 1, le: 2}", "exit: {eq: 1}"),
        ("parts: [nft]", "parts: [iptables]"),
        ("ipv6: true", "ipv6: off"),
        ("metric: 5", 'metric: "5"'),
        ("{matches: eth}", "{match: eth}"),
        ("during: {from: s, to: r}", "during: {from: s}"),
    ],
)
def test_an_editor_flags_what_labrun_refuses(old, new):
    assert SHORT.count(old) == 1
    assert complaints(SHORT.replace(old, new))


def test_the_schema_describes_what_it_names():
    schema = lab_schema()
    assert schema["$defs"]["Step"]["properties"]["run"]["description"].startswith("Run a command to its end.")
    assert "title" not in schema["$defs"]["Step"]
    assert "title" in schema["properties"]
    assert json.loads(schema_text()) == schema


def test_the_labs_are_found_from_the_package_too(tmp_path: Path):
    assert (shipped_labs() / "own-address" / "lab.yaml").is_file()
