"""Messages of `labrun check` that show the place and name the fix: a table of what people write instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.lab.check.lines import check_lines
from labrun.lab.hints import comparison, display_filter, unquoted
from labrun.lab.load import parse_lab
from labrun.lab.problems import Problem, excerpt

LAB = """\
title: t
question: q
topology:
  nodes: {a: {}, b: {}}
  links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]
steps:
  - {id: c, in: a, capture: {on: eth0}}
  - {id: p, in: a, run: "ping -c 1 10.0.0.2"}
hypotheses:
  - id: h
    claim: x
    predict: {command: p, exit: 0}
    control: {none: x}
"""
PREDICT = "{command: p, exit: 0}"
SEND = "  - {id: s, in: a, send: %s}\n" + '  - {id: p, in: a, run: "ping -c 1 10.0.0.2"}\n'
RUN = '  - {id: p, in: a, run: "ping -c 1 10.0.0.2"}\n'


@pytest.mark.parametrize(
    ("old", "new", "message", "under"),
    [
        ("claim: x", "claim: Truth: pings pass", "quotes, as in `claim: 'Truth: pings pass'`", ": pings"),
        ("exit: 0", 'exit: ">= 1"', "a number is needed, not '>= 1'. Write {ge: 1}", '">= 1"'),
        ("exit: 0", 'exit: {"==": 1}', "unknown key '=='. Write equals:", '"==": 1'),
        ("exit: 0", 'exit: {"!=": 1}', "unknown key '!='. Put the prediction under not: {...}", '"!=": 1'),
        (PREDICT, "{packets: {on: a.eth0}, count: '> 1'}", "not '> 1'. Write {gt: 1}", "'> 1'"),
        (PREDICT, "{packets: {on: a.eth0, fields: {ip.ttl: '<= 64'}}, count: 1}", "Write {le: 64}", "'<= 64'"),
        (PREDICT, "{packets: {on: a.eth0, match: 'icmp.type == 8 && ip.ttl < 5'}, count: 1}",
         "a display filter: write `fields: {icmp.type: 8, ip.ttl: {lt: 5}}`", "'icmp.type"),
        ("nodes: {a: {}, b: {}}", "nodes: [a, b]", "Write it as `nodes: {a: {}, b: {}}`", "[a, b]"),
        ("{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}", "[a.eth0, b.eth0]",
         "Write it as `{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}`", "[a.eth0"),
        ("run: ", "exec: ", "unknown key 'exec'. A command is run: LINE", "exec: "),
        ('in: a, run: "', 'run: "', "'in' is missing: in which node does this happen? Nodes here: a, b", "{id: p"),
        ('"ping -c 1 10.0.0.2"', '"if true; then echo x"', "bash does not understand this: syntax error", '"if true'),
        (RUN, SEND % "IPP()/ICMP()", "send: scapy has no 'IPP'. Did you mean 'IP'?", "IPP()"),
        (RUN, SEND % "'IP(tll=3)/ICMP()'", "send: IP has no field 'tll'. Did you mean 'ttl'?", "'IP(tll"),
        (RUN, SEND % "'IP(ttl=3'", "send: not a Python expression: '(' was never closed", "'IP("),
    ],
)  # fmt: skip
def test_the_place_and_the_fix(old: str, new: str, message: str, under: str, tmp_path: Path) -> None:
    assert old in LAB
    (tmp_path / "lab.yaml").write_text(LAB.replace(old, new))
    done = subprocess.run([sys.executable, "-m", "labrun", "check", "."], cwd=tmp_path, capture_output=True, text=True)
    first, line, caret, *_ = done.stderr.split("\n")
    assert done.returncode == 2
    assert message in first
    assert line[caret.index("^") :].startswith(under)


def test_a_line_for_the_shell_is_read_and_not_run(tmp_path: Path) -> None:
    text = LAB.replace("ping -c 1 10.0.0.2", f"touch {tmp_path}/ran; $(touch {tmp_path}/ran2)")
    assert not list(check_lines(parse_lab(text, tmp_path / "lab.yaml", "x", "lab.yaml")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "[[ a =~ ^(b|c)$ ]] && echo x",
        "cat <<E\\nx\\nE",
        "f() { :; }; f",
        "mapfile -t x < <(ls)",
        "echo ${p:-1}",
        "a=(1 2)",
    ],
)
def test_what_bash_understands_is_no_problem(line: str, tmp_path: Path) -> None:
    text = LAB.replace("ping -c 1 10.0.0.2", line)
    assert not list(check_lines(parse_lab(text, tmp_path / "lab.yaml", "x", "lab.yaml")))


@pytest.mark.parametrize(
    "packet",
    [
        "IP(dst='10.0.0.2', ttl=3)/ICMP()",
        "[IP(dst='10.0.0.2')/UDP(dport=p) for p in range(3)]",
        "Ether(dst='ff:ff:ff:ff:ff:ff')/ARP(pdst='10.0.0.2')",
        "IP(dst='10.0.0.2')/TCP(flags='S', options=[('MSS', 1400)])",
        "fragment(IP(dst='10.0.0.2')/UDP()/Raw(b'x' * 3000), fragsize=1000)",
        "list(map(lambda n: IP(id=n), range(2)))",
        "IP(options=IPOption_RR())/ICMP()",
    ],
)
def test_what_scapy_has_is_no_problem(packet: str, tmp_path: Path) -> None:
    text = LAB.replace(RUN, SEND % f'"{packet}"')
    assert not list(check_lines(parse_lab(text, tmp_path / "lab.yaml", "x", "lab.yaml")))


def test_no_fix_is_named_where_none_is_sure() -> None:
    assert comparison("many") == comparison(5) == comparison(">= x y") == ""
    assert (
        display_filter("icmp[0] == 8") == display_filter("ip.ttl != 5") == display_filter("a.b == 1 || c.d == 2") == ""
    )
    assert unquoted("  - [a") == unquoted("claim: x") == ""


def caret_of(text: str, line: int, column: int) -> tuple[str, str]:
    shown, caret = excerpt(Problem("f", line, column, "m"), text).split("\n")
    return shown, caret


def test_the_caret_stands_under_the_place() -> None:
    assert caret_of("a: b\nc: d", 2, 4) == ("  2 | c: d", "    |    ^")
    assert caret_of("\tc: d", 1, 5) == ("  1 |  c: d", "    |     ^")
    assert caret_of("名前: d", 1, 5) == ("  1 | 名前: d", "    |       ^")  # each of the two takes two columns
    assert caret_of("a", 1, 9) == ("  1 | a", "    |  ^")
    assert excerpt(Problem("f", 3, 1, "m"), "a") == excerpt(Problem("f", 0, 0, "m"), "a") == ""


@given(st.text(max_size=400), st.integers(0, 5), st.integers(0, 450))
def test_any_file_gives_two_short_lines_or_none(text: str, line: int, column: int) -> None:
    found = excerpt(Problem("f", line, column, "m"), text)
    assert not found or len(found.splitlines()) == found.count("\n") + 1 == 2
    assert "\x1b" not in found and "\r" not in found
