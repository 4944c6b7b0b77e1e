"""`${name}` where nobody declares the name, and predictions that hold whatever is observed: errors of the lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labrun.lab.check.filters import check_filters
from labrun.lab.check.variables import unknown_of_shell
from labrun.lab.load import parse_lab


def problems(tmp_path: Path, step: dict[str, Any] | None = None, predict: Any = None, **lab: Any) -> list[str]:
    content = {
        "title": "t", "question": "q", "parameters": {"mtu": [1400]}, "topology": {"nodes": {"a": {}}},
        "steps": [{"id": "first", "run": "echo 7", "save": {"seven": {}}}, {"id": "probe", **(step or {"run": "true"})}],
        "hypotheses": [{"id": "h", "claim": "c", "predict": predict or {"command": "probe", "exit": 0}, "control": {"none": "x"}}],
        **lab,
    }  # fmt: skip
    text = json.dumps(content)
    return [str(problem) for problem in check_filters(parse_lab(text, tmp_path / "lab.yaml", "x", "lab.yaml"))]


@pytest.mark.parametrize(
    "step",
    [
        {"run": "ip link set eth0 mtu ${mtuu}"}, {"run": 'echo "$sevn"'}, {"start": "nc -l ${mtt}"},
        {"run": ["echo", "${mtuu}"]}, {"run": "cat", "stdin": "${sevne}"}, {"nft": "add rule x y meta mark ${sevn}"},
        {"send": {"packet": "IP(len=${mtuu})"}}, {"wait": {"succeeds": "test ${mttu} = 1"}}, {"run": "true", "note": "with ${mtuu}"},
    ],
)  # fmt: skip
def test_a_misspelt_name_is_an_error_with_what_was_meant(tmp_path: Path, step: dict[str, Any]) -> None:
    found = problems(tmp_path, step)
    assert len(found) == 1 and "Did you mean" in found[0]
    assert found[0].startswith("lab.yaml:1:")


@pytest.mark.parametrize("where", [{"title": "${mtuu}"}, {"question": "${mtuu}?"}, {"conclusion": "so ${mtuu}"}])
def test_prose_too(tmp_path: Path, where: dict[str, str]) -> None:
    assert len(problems(tmp_path, **where)) == 1


@pytest.mark.parametrize(
    "step",
    [
        {"run": "echo ${mtu} $seven ${HOME} $? $1 $$ $! ${#mtu}"}, {"run": "for i in 1 2; do echo $i; done"},
        {"run": "x=1; echo $x ${x:-2} ${y:-3}"}, {"run": "while read -r a b; do echo $a ${b}; done"},
        {"run": "awk '{print $x}'"}, {"run": "echo \\$x"}, {"run": "local z=3; echo $z"}, {"run": "eval $(cat f); echo $q"},
        {"run": "bash", "stdin": "for i in 1; do echo ${i}; done; echo ${mtu}"}, {"run": "cat", "stdin": "mtu ${mtu} ${seven}"},
        {"nft": "add rule ip t c ip length gt ${mtu}"}, {"run": ["echo", "${mtu}"]}, {"run": "arr=(a b); echo ${arr[0]} ${#arr[@]}"},
    ],
)  # fmt: skip
def test_the_names_of_the_lab_and_of_the_shell_are_fine(tmp_path: Path, step: dict[str, Any]) -> None:
    assert problems(tmp_path, step) == []


def test_what_a_step_saves_is_not_there_before_it(tmp_path: Path) -> None:
    steps = [{"run": "echo $later"}, {"run": "echo 1", "save": {"later": {}}}]
    assert len(problems(tmp_path, predict={"command": "step-1", "exit": 0}, steps=steps)) == 1


def test_a_name_may_be_used_before_a_default_only() -> None:
    assert unknown_of_shell("echo ${a:-1} ${a:=2} ${a+x} ${b}", set()) == ["b"]


TRUE: dict[str, Any] = {"command": "probe", "exit": 0}


@pytest.mark.parametrize(
    "predict",
    [
        {"any": [TRUE, {"not": TRUE}]}, {"all": [TRUE, {"not": TRUE}]}, {"not": {"all": [TRUE, {"not": TRUE}]}},
        {"any": [{"all": [TRUE, {"command": "first", "exit": 0}]}, {"not": TRUE}, {"not": {"command": "first", "exit": 0}}]},
        {"any": [TRUE, {"command": "probe", "exit": {"gt": 0}}]}, {"all": [TRUE, {"command": "probe", "exit": {"gt": 0}}]},
        {"any": [TRUE, {"command": "probe", "exit": 1}, {"not": {"command": "probe", "exit": {"one_of": [0, 1]}}}]},
        {"any": [{"command": "probe", "duration": {"lt": 2}}, {"command": "probe", "duration": {"ge": 1}}]},
        {"any": [{"packets": {"on": "host.lo"}, "count": 0}, {"packets": {"on": "host.lo"}, "count": {"ge": 1}}]},
        {"not": {"all": [{"packets": {"on": "host.lo"}, "count": {"lt": 3}}, {"packets": {"on": "host.lo"}, "count": {"gt": 3}}]}},
        *({"expr": text, "let": {"n": {"command": "probe", "of": "exit"}}}
          for text in ("n - n == 0", "n * 0 == 0", "n + 1 > n", "n >= n - 1", "abs(n) >= 0", "n == 3 or n != 3")),
        {"expr": "len(t) >= 0", "let": {"t": {"command": "probe", "of": "stdout"}}},
    ],
)  # fmt: skip
def test_what_holds_whatever_is_observed_is_refused(tmp_path: Path, predict: Any) -> None:
    found = problems(tmp_path, predict=predict)
    assert any("asserts nothing" in text for text in found), found


@pytest.mark.parametrize(
    "predict",
    [
        {"any": [TRUE, {"command": "first", "exit": 0}]}, {"not": TRUE}, {"all": [TRUE, TRUE]},
        {"any": [TRUE, {"command": "probe", "exit": {"gt": 1}}]}, {"any": [TRUE, {"command": "first", "exit": {"gt": 0}}]},
        {"any": [{"command": "probe", "duration": {"lt": 1}}, {"command": "probe", "duration": {"gt": 1}}]},
        {"expr": "n == 3 or n > 100", "let": {"n": {"command": "probe", "of": "exit"}}},
        {"expr": "n >= 0 and n < 200", "let": {"n": {"command": "probe", "of": "exit"}}},
        {"expr": "'x' in t", "let": {"t": {"command": "probe", "of": "stdout"}}},
    ],
)  # fmt: skip
def test_what_an_observation_decides_is_fine(tmp_path: Path, predict: Any) -> None:
    assert not [text for text in problems(tmp_path, predict=predict) if "whatever" in text or "all values" in text]
