"""What a command line means: words, tags, hypotheses, parameters' values, and how labs did before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.cli.choose import Wanted, choose_labs
from labrun.cli.earlier import earlier
from labrun.evidence.lab import stored
from labrun.lab.catalogue import find_labs
from labrun.lab.problems import LabError
from labrun.logic.words import meaning

LAB = """\
title: T
question: Q
tags: [{tags}]
{parameters}
topology: {{nodes: {{host: {{}}}}}}
steps:
  - {{id: probe, in: host, run: "true"}}
hypotheses:
  - id: fast
    claim: A
    predict: {{command: probe, exit: 0}}
    control: {{replace: probe, with: {{run: "false"}}}}
  - id: slow-path
    claim: B
    predict: {{command: probe, exit: 0}}
    control: {{replace: probe, with: {{run: exit 3}}}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for slug, tags, parameters in (
        ("alpha", "routing, slow", ""),
        ("beta", "mtu", "parameters: {mtu: [1400, 1500]}"),
        ("gamma", "", ""),
    ):
        (tmp_path / "labs" / slug).mkdir(parents=True)
        (tmp_path / "labs" / slug / "lab.yaml").write_text(LAB.format(tags=tags, parameters=parameters))
    monkeypatch.chdir(tmp_path)
    return tmp_path


EVERY = ("alpha", "beta", "gamma")


def chosen(here: Path, *names: str, **wanted: object) -> list[str]:
    labs = choose_labs(find_labs(names or EVERY, here), Wanted(**wanted)).labs  # type: ignore[arg-type]
    return [f"{lab.lab.slug}/{name}" for lab in labs for name in lab.controls]


A, B, C = (
    [f"{slug}/fast", f"{slug}/slow-path"] for slug in ("alpha", "beta--mtu-1400", "beta--mtu-1500")
)  # fmt: skip
G = ["gamma/fast", "gamma/slow-path"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("alpha", A),
        ("ALPHA", A),
        ("mtu-1400", B),
        ("routing", A),
        ("fast", [A[0], B[0], C[0], G[0]]),
        ("fast and alpha", A[:1]),
        ("alpha or gamma", A + G),
        ("not beta and not slow-path", [A[0], G[0]]),
        ("not (alpha or beta)", G),
        ("alpha/slow", A[1:]),
        ("gamma or alpha and fast", [A[0], *G]),
    ],
)
def test_words(here: Path, words: str, meant: list[str]) -> None:
    assert chosen(here, words=words) == meant


@pytest.mark.parametrize(
    ("tags", "meant"),
    [
        (("mtu",), B + C),
        (("mt",), []),  # a tag is a whole word
        (("not slow",), B + C + G),
        (("routing", "mtu"), A + B + C),
        (("routing", "mtu", "not slow"), B + C),
        (("routing and not slow",), []),
        (("not routing and not mtu",), G),
    ],
)
def test_tags(here: Path, tags: tuple[str, ...], meant: list[str]) -> None:
    if meant:
        assert chosen(here, tags=tags) == meant
    else:
        with pytest.raises(LabError, match="no lab is selected by this"):
            chosen(here, tags=tags)


@pytest.mark.parametrize("text", ["", "and", "a b", "(a", "a)", "not", "a or", "or a", "()", "not " * 90 + "a"])
def test_words_that_mean_nothing(text: str) -> None:
    with pytest.raises(ValueError):
        meaning(text)


@given(st.recursive(st.sampled_from("abc"), lambda parts: st.one_of(
    st.tuples(parts, st.sampled_from(["and", "or"]), parts).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
    parts.map(lambda p: f"not ({p})")), max_leaves=12), st.sets(st.sampled_from("abc")))  # fmt: skip
def test_words_mean_what_python_means(text: str, true: set[str]) -> None:
    assert meaning(text)(true.__contains__) is bool(eval(text, {name: name in true for name in "abc"}))


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (("alpha/fast",), A[:1]),
        (("labs/alpha/fast",), A[:1]),
        (("labs/alpha/lab.yaml/slow-path",), A[1:]),
        (("alpha/fast", "alpha/slow-path"), A),
        (("alpha/fast", "alpha"), A),
        (("beta[mtu=1500]/fast",), C[:1]),
        (("beta--mtu-1400/fast", "beta/slow-path"), [*B, C[1]]),
        (("beta/slow-path",), [B[1], C[1]]),
    ],
)
def test_hypotheses_by_name(here: Path, names: tuple[str, ...], meant: list[str]) -> None:
    assert chosen(here, *names) == meant


def test_only_the_controls_of_what_is_asked_for_run(here: Path) -> None:
    (lab,) = choose_labs(find_labs(["alpha/slow-path"], here), Wanted()).labs
    assert [plan.variant for plan in lab.plans] == ["experiment", "slow-path"]
    kept = stored(lab)
    assert [hypothesis.id for hypothesis in kept.hypotheses] == ["slow-path"]
    assert kept.hypotheses[0].line == 13
    assert kept.plans.keys() == {"experiment", "slow-path"}


def test_a_hypothesis_that_is_not_there_makes_the_lab_wrong(here: Path) -> None:
    found = choose_labs(find_labs(["alpha/fst", "gamma"], here), Wanted())
    assert [lab.lab.slug for lab in found.labs] == ["gamma"]
    assert found.invalid[0].problems[0].endswith("no hypothesis 'fst' in this lab. Did you mean 'fast'?")


def test_values_of_parameters(here: Path) -> None:
    assert chosen(here, values={"mtu": (9000,)})[2:4] == ["beta--mtu-9000/fast", "beta--mtu-9000/slow-path"]
    (lab,) = choose_labs(find_labs(["beta"], here), Wanted(values={"mtu": (9000,)})).labs
    assert lab.lab.cell == {"mtu": 9000}
    with pytest.raises(LabError, match="no lab here has this parameter"):
        chosen(here, values={"mtuu": (1,)})


def write_run(here: Path, number: int, **labs: dict[str, bool] | None) -> None:
    """Lab -> hypothesis -> as expected; None: it broke."""
    folder = here / "reports" / f"2026010{number}-000000-abcd"
    folder.mkdir(parents=True)
    told = [
        {"id": slug.replace("_", "-"), "status": "error" if verdicts is None else "done",
         "hypotheses": [{"id": name.replace("_", "-"), "as_expected": good} for name, good in (verdicts or {}).items()]}
        for slug, verdicts in labs.items()
    ]  # fmt: skip
    (folder / "results.json").write_text(json.dumps({"labs": told}))


def again(here: Path, **wanted: object) -> list[str]:
    return chosen(here, earlier=earlier(here / "reports"), **wanted)


def test_last_failed_is_the_last_that_is_known_of_each(here: Path) -> None:
    write_run(here, 1, alpha={"fast": False, "slow_path": False}, gamma=None)
    assert again(here, last_failed=True) == A + G
    write_run(here, 2, alpha={"fast": True})
    assert again(here, last_failed=True) == [A[1], *G]
    write_run(here, 3, gamma={"fast": True, "slow_path": True})
    assert again(here, last_failed=True) == A[1:]
    assert again(here, failed_first=True) == A + B + C + G
    write_run(here, 4, alpha={"slow_path": True}, gamma={"fast": False})
    assert again(here, last_failed=True) == G[:1]
    assert again(here, failed_first=True) == G + A + B + C


def test_where_nothing_failed_all_run_and_it_is_said(here: Path) -> None:
    labs = find_labs(EVERY, here)
    assert choose_labs(labs, Wanted(last_failed=True)).remark == "no earlier run is there: all run"
    write_run(here, 1, alpha={"fast": True})
    found = choose_labs(labs, Wanted(last_failed=True, earlier=earlier(here / "reports")))
    assert (len(found.labs), found.remark) == (4, "nothing failed when it last ran: all run")


@pytest.mark.parametrize("text", ["", "[]", '{"labs": [1]}', '{"labs": [{"id": 1}]}', "\xff"])
def test_results_that_cannot_be_read_say_nothing(here: Path, text: str) -> None:
    write_run(here, 1, alpha={"fast": False})
    write_run(here, 2)
    (here / "reports" / "20260102-000000-abcd" / "results.json").write_text(text, encoding="latin-1")
    assert again(here, last_failed=True) == A[:1]
