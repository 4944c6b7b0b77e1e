"""Filters and fields of a lab that are wrong, each with its place, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.check.filters import check_filters
from labrun.lab.load import parse_lab
from labrun.packets import libpcap

LAB = """\
title: A lab
question: Is it so?
topology: {nodes: {host: {}}}
steps:
  - id: all
    capture: {on: lo}
  - id: seen
    capture:
      on: lo
      filter: FILTER
  - {id: probe, run: "true"}
hypotheses:
  - id: counted
    claim: It is so.
    predict:
      all:
        - packets: {on: host.lo, capture: seen}
          count: 1
        - packets:
            on: host.lo
            capture: seen
            match: FIRST
            fields: {ip.ttl: FIELD}
          count: 1
    control:
      without: probe
      predict:
        packets:
          on: host.lo
          capture: seen
          match: CONTROL
        count: 0
  - id: reckoned
    claim: It is so.
    predict:
      expr: n + m == 2
      let:
        n: {command: probe, of: exit}
        m:
          packets:
            on: host.lo
            capture: seen
            match: SECOND
            fields:
              udp.port: 53
              KEY: 1
    control: {none: It is a test.}
"""
RIGHT = {"FILTER": "ip or arp", "FIRST": "udp", "FIELD": "64", "CONTROL": "arp", "SECOND": "ip", "KEY": "ip.id"}


def problems(tmp_path: Path, **wrong: str) -> list[str]:
    text = LAB
    for name, value in (RIGHT | wrong).items():
        text = text.replace(name, value)
    return [str(problem) for problem in check_filters(parse_lab(text, tmp_path / "lab.yaml", "tried", "lab.yaml"))]


def test_a_lab_without_a_fault(tmp_path: Path) -> None:
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "place"), [("FILTER", "10:15"), ("FIRST", "22:20"), ("CONTROL", "31:18"), ("SECOND", "43:20")]
)
def test_a_filter_that_libpcap_refuses(tmp_path: Path, name: str, place: str) -> None:
    (problem,) = problems(tmp_path, **{name: "icmpp"})
    assert problem.startswith(f"lab.yaml:{place}: ") and "not a pcap filter: 'icmpp': " in problem


def test_fields_that_are_wrong(tmp_path: Path) -> None:
    one, two = problems(tmp_path, FIELD='"much"', KEY="ip.idd")
    assert one == "lab.yaml:23:30: fields: ip.ttl is a number, not 'much'"
    assert two.startswith("lab.yaml:46:")
    assert two.endswith("fields: unknown field 'ip.idd'. Did you mean 'ip.id'?")


def test_every_problem_is_told(tmp_path: Path) -> None:
    found = problems(tmp_path, FILTER="icmpp", FIRST="udpp", CONTROL="arpp", SECOND="tcpp", FIELD='"much"')
    assert [text.split(": ")[0] for text in found] == [
        "lab.yaml:23:30", "lab.yaml:10:15", "lab.yaml:22:20", "lab.yaml:31:18", "lab.yaml:43:20",
    ]  # fmt: skip


def test_without_libpcap_only_the_fields_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "_SONAMES", ("libpcap-that-is-not-there.so",))
    libpcap._libpcap.cache_clear()
    assert len(problems(tmp_path, FIRST="udpp", FIELD='"much"')) == 1
    libpcap._libpcap.cache_clear()
