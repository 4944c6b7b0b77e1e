"""Shards: which labs each has; and runs put together: the same as one run, every attempt kept, what is missing said."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from labrun.cli.app import app
from labrun.cli.shards import dealt, shard_name
from labrun.evidence.attempts import check_parts, merge
from labrun.evidence.durations import read_durations
from labrun.evidence.files import EvidenceError
from labrun.evidence.run import Shard, read_run
from labrun.finding.bundle import bundle
from labrun.finding.verify import verify
from labrun.judge.results import exit_code, results_json
from labrun.judge.run import judge_run
from support.recorded import run_record
from support.small import LAB, small_runs

EVERY = ("a", "b", "c")
ABOUT = run_record(())


def shard(root: Path, number: int, labs: Sequence[str], of: int = 2, name: str = "", **fields: object) -> Path:
    run_id = name or f"20260921-141320-000{number}"
    return small_runs(root / run_id, [*labs], id=run_id, shard=Shard(number, of, EVERY), **fields)


@pytest.mark.parametrize(("text", "number", "of"), [("1/1", 1, 1), ("2/5", 2, 5), ("10000/10000", 10000, 10000)])
def test_a_shards_name(text: str, number: int, of: int) -> None:
    found = shard_name(text)
    assert found is not None and (found.number, found.of) == (number, of)


@pytest.mark.parametrize("text", ["", "2", "0/5", "6/5", "1/0", "a/b", "-1/5", "1/5/2", "1/99999", "١/٥", " 1/5"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(click.BadParameter):
        shard_name(text)


def test_each_lab_is_in_one_shard_whatever_is_known_of_how_long_they_take() -> None:
    draw = random.Random(5)
    for _ in range(200):
        labs = {f"lab-{n}": ("experiment", "h")[: draw.randint(0, 2)] for n in range(draw.randint(0, 30))}
        known = {f"{slug}/experiment": draw.random() * 10 for slug in labs if draw.random() < 0.7}
        of = draw.randint(1, 8)
        shards = dealt(labs, known, of)
        assert len(shards) == of
        assert sorted(slug for one in shards for slug in one) == sorted(labs)
        assert shards == dealt(labs, dict(reversed(known.items())), of)
        shuffled = dict(draw.sample([*labs.items()], len(labs)))
        assert [set(one) for one in dealt(shuffled, known, of)] == [set(one) for one in shards]
        # No shard has more than the others by more than its last lab: what longest-first promises.
        lasts = {slug: sum(known.get(f"{slug}/{v}", 0.0) for v in names) for slug, names in labs.items()}
        if all(f"{slug}/{v}" in known for slug, names in labs.items() for v in names):
            loads = [sum(lasts[slug] for slug in one) for one in shards]
            assert max(loads) - min(loads) <= max(lasts.values(), default=0.0) + 1e-9


def test_long_labs_are_dealt_to_different_shards() -> None:
    labs = dict.fromkeys("abcdef", ("experiment",))
    known = {f"{name}/experiment": 1.0 for name in "abcdef"} | {"a/experiment": 100.0, "d/experiment": 90.0}
    assert [set(one) & {"a", "d"} for one in dealt(labs, known, 2)] == [{"a"}, {"d"}]


def test_shards_together_are_as_one_run(tmp_path: Path) -> None:
    one = small_runs(tmp_path / "one", [*EVERY])
    made = merge([shard(tmp_path, 1, ["a", "c"]), shard(tmp_path, 2, ["b"])], tmp_path / "whole", ABOUT)
    assert made.notes == ()
    whole, alone = judge_run(tmp_path / "whole"), judge_run(one)
    labs = {lab["id"]: lab for lab in results_json(whole)["labs"]}
    assert labs == {lab["id"]: lab for lab in results_json(alone)["labs"]}
    assert exit_code(whole, False) == exit_code(alone, False)
    assert (whole.run["engine"], whole.run["kernel"]) == (alone.run["engine"], alone.run["kernel"])
    assert not list(tmp_path.glob(".*"))


def test_two_attempts_that_agree_say_so(tmp_path: Path) -> None:
    made = merge([shard(tmp_path, 1, ["a"], 1), shard(tmp_path, 1, ["a"], 1, "again")], tmp_path / "whole", ABOUT)
    assert any("a (2 times)" in note for note in made.notes)
    first = judge_run(tmp_path / "whole").labs[0].hypotheses[0]
    assert (first.verdict, first.repeats) == ("supported", {"supported": 2})


def unlike(root: Path) -> Path:
    """The same lab, whose control agrees with the experiment this time."""
    import support.small as small

    run = shard(root, 1, ["a"], 1, "unlike")
    shutil.rmtree(run / "labs/a/holds")
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import parse_lab

    compiled = compile_lab(parse_lab(json.dumps(LAB), run / "lab.yaml", "a", "labs/a/lab.yaml"))
    small.carried_out(run, compiled.variants[0], {})
    return run


def test_two_attempts_that_differ_are_unstable_in_either_order(tmp_path: Path) -> None:
    runs = [shard(tmp_path, 1, ["a"], 1), unlike(tmp_path)]
    for number, order in enumerate((runs, runs[::-1])):
        merge(order, tmp_path / f"whole{number}", ABOUT)
        result = judge_run(tmp_path / f"whole{number}")
        first = result.labs[0].hypotheses[0]
        assert (first.verdict, first.reason) == ("inconclusive", "unstable"), first
        assert not first.as_expected


def test_an_attempt_that_was_never_closed_is_no_nicer(tmp_path: Path) -> None:
    lost = shard(tmp_path, 1, ["a"], 1, "lost")
    shutil.rmtree(lost / "labs/a/experiment")
    merge([shard(tmp_path, 1, ["a"], 1), lost], tmp_path / "whole", ABOUT)
    assert judge_run(tmp_path / "whole").labs[0].hypotheses[0].verdict == "inconclusive"


def test_what_is_missing_and_what_differs_is_said(tmp_path: Path) -> None:
    runs = [shard(tmp_path, 1, ["a"], 3), shard(tmp_path, 3, ["c"], 3, labrun="9.9.9", kernel="6.2.0")]
    made = merge(runs, tmp_path / "whole", ABOUT)
    told = "\n".join(made.notes)
    assert "shard 2/3 is missing" in told and "labs that did not run: b" in told
    assert "labrun is not the same: 0.1.0 in" in told and "kernel is not the same: 6.1.0 in" in told
    result = judge_run(tmp_path / "whole")
    missing = next(lab for lab in result.labs if lab.id == "b")
    assert (missing.status, missing.reason) == ("error", "shard-missing")
    assert exit_code(result, False) in (1, 3)
    assert result.run["labrun"] == "0.1.0, 9.9.9"


def test_another_lab_of_that_name_is_refused(tmp_path: Path) -> None:
    one, other = shard(tmp_path, 1, ["a"]), shard(tmp_path, 2, ["a"])
    text = (other / "labs/a/lab.json").read_text()
    digest = json.loads(text)["plans"]["experiment"]
    (other / "labs/a/lab.json").write_text(text.replace(digest, "0" * 64))
    with pytest.raises(EvidenceError, match="a is not the same lab in"):
        merge([one, other], tmp_path / "whole", ABOUT)
    assert not (tmp_path / "whole").exists()


def test_a_run_twice_or_one_that_was_put_together_is_refused(tmp_path: Path) -> None:
    one = shard(tmp_path, 1, ["a"])
    with pytest.raises(EvidenceError, match="the same run"):
        merge([one, one], tmp_path / "whole", ABOUT)
    merge([one], tmp_path / "whole", ABOUT)
    with pytest.raises(EvidenceError, match="put together already"):
        merge([tmp_path / "whole", shard(tmp_path, 2, ["b"])], tmp_path / "more", ABOUT)


def test_a_whole_makes_a_finding_with_all_attempts(tmp_path: Path) -> None:
    merge([shard(tmp_path, 1, ["a", "b"], 1), unlike(tmp_path)], tmp_path / "whole", ABOUT)
    bundle(tmp_path / "whole", tmp_path / "whole.zip")
    assert verify(tmp_path / "whole.zip", tmp_path / "into").word == "verified"
    assert (tmp_path / "into/parts/unlike/labs/a/experiment/events.jsonl").is_file()
    bundle(tmp_path / "whole", tmp_path / "b.zip", ["b"])
    assert verify(tmp_path / "b.zip", tmp_path / "only-b").word == "verified"
    assert not (tmp_path / "only-b/parts/unlike/labs").exists()


def test_a_whole_that_says_other_than_its_parts_is_found(tmp_path: Path) -> None:
    merge([shard(tmp_path, 1, ["a"]), shard(tmp_path, 2, ["b"])], tmp_path / "whole", ABOUT)
    check_parts(tmp_path / "whole", read_run(tmp_path / "whole"))
    file = tmp_path / "whole/run.json"
    for old, new in (('"kernel":"6.1.0"', '"kernel":"6.2.0"'), ('"number":1', '"number":3')):
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(EvidenceError):
            check_parts(tmp_path / "whole", read_run(tmp_path / "whole"))
        file.write_text(text)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [shard(tmp_path, 1, ["a"]), shard(tmp_path, 2, ["b"])]
    words = ["merge", *map(str, runs), "--out", str(tmp_path), "-o", str(tmp_path / "whole")]
    with app.make_context("labrun", words) as context:
        code = app.invoke(context)
    told = capsys.readouterr()
    assert code == 1, told  # LAB has a surprise
    assert "labs that did not run: c" in told.err
    assert (tmp_path / "whole/index.html").is_file() and (tmp_path / "latest").resolve() == tmp_path / "whole"


def test_durations_of_a_file_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"a/experiment": 3.0, "a/b": -1, "c": "x"}')
    assert read_durations(tmp_path, "mine.json") == {"a/experiment": 3.0}
    assert read_durations(tmp_path, "none.json") == {}
