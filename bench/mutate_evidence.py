"""Does a change of stored evidence ever turn a firm verdict into the other one?

    python bench/mutate_evidence.py RUN [--mutations 10000] [--seed 1] [--unsealed]

RUN is a run directory, such as `labrun all --engine native` makes. Each round changes one thing in a copy of one of its
labs (a bit, a line, a number, a word, a file, two files that change places), judges that lab again, and puts it back.
What came out is counted: the same verdicts, inconclusive, an error of the lab, and *flips*: supported that was refuted,
or the other way round. ``--unsealed``: without the seals, as of a runner that died, where only contradictions tell.

Seeded: the same seed, run and labrun give the same mutations. Exits with 1 if a verdict flipped.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from labrun.evidence.run import LabEntry, read_run
from labrun.judge.results import LabResult
from labrun.judge.run import judge_entry

FIRM = ("supported", "refuted")
_NUMBER = re.compile(rb"-?\d+")
_WORD = re.compile(rb'"[^"\\\n]{1,60}"')


def one_bit(data: bytearray, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    data[place] ^= 1 << draw.randrange(8)
    return bytes(data)


def one_number(data: bytearray, draw: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return one_bit(data, draw)
    match = draw.choice(found)
    value = int(match[0]) if len(match[0]) < 30 else 0
    other = draw.choice([0, -1, value + 1, value - 1, value * 10, -value, 1 << 63])
    return bytes(data[: match.start()]) + str(other).encode() + bytes(data[match.end() :])


def one_word(data: bytearray, draw: random.Random) -> bytes:
    """One word of JSON in another's place."""
    found = list(_WORD.finditer(data))
    if len(found) < 2:
        return one_bit(data, draw)
    match, other = draw.choice(found), draw.choice(found)
    return bytes(data[: match.start()]) + other[0] + bytes(data[match.end() :])


def one_line(data: bytearray, draw: random.Random) -> bytes:
    """A line that goes, is there twice, or changes places with another."""
    lines = bytes(data).splitlines(keepends=True)
    place, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    how = draw.randrange(3)
    if how == 0:
        del lines[place]
    elif how == 1:
        lines.insert(other, lines[place])
    else:
        lines[place], lines[other] = lines[other], lines[place]
    return b"".join(lines)


def cut(data: bytearray, draw: random.Random) -> bytes:
    return bytes(data[: draw.randrange(len(data))])


def longer(data: bytearray, draw: random.Random) -> bytes:
    begin = draw.randrange(len(data))
    return bytes(data) + bytes(data[begin : begin + draw.randrange(1, 400)])


def empty(data: bytearray, draw: random.Random) -> bytes:
    return b""


CHANGES: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    one_bit, one_number, one_word, one_line, cut, longer, empty,
)  # fmt: skip


def mutate(run: Path, lab: Path, files: list[Path], draw: random.Random) -> tuple[str, Callable[[], None]]:
    """One change of a lab's evidence. What was done, and what puts it back."""
    how = draw.randrange(len(CHANGES) + 3)
    file = draw.choice(files)
    where = file.relative_to(run).as_posix()
    before = file.read_bytes()
    if how < len(CHANGES) and before:
        file.write_bytes(CHANGES[how](bytearray(before), draw))
        return f"{CHANGES[how].__name__} {where}", lambda: _write(file, before)
    if how == len(CHANGES):
        file.unlink()
        return f"gone {where}", lambda: _write(file, before)
    folders = [path for path in lab.iterdir() if path.is_dir()]
    if how == len(CHANGES) + 1 and len(folders) > 1:
        one, other = draw.sample(folders, 2)
        _swap(one, other)
        return f"swapped {one.name} {other.name}", lambda: _swap(one, other)
    other = draw.choice([path for path in files if path.suffix == file.suffix])
    after = other.read_bytes()
    _write(file, after)
    return f"{other.relative_to(run).as_posix()} in the place of {where}", lambda: _write(file, before)


def _write(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def _swap(one: Path, other: Path) -> None:
    third = one.with_name("third-place")
    one.rename(third)
    other.rename(one)
    third.rename(other)


def verdicts(result: LabResult) -> dict[str, str]:
    return {hypothesis.id: hypothesis.verdict for hypothesis in result.hypotheses}


def judged(run: Path, slug: str) -> LabResult | None:
    """None where the record of the run itself cannot be read any more."""
    from labrun.evidence.files import EvidenceError

    try:
        return judge_entry(run, next(entry for entry in read_run(run).labs if entry.slug == slug))
    except (EvidenceError, StopIteration):
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unsealed", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(asked.run.resolve(), run)
        if asked.unsealed:
            for seal in run.rglob("seal.json"):
                seal.unlink()
        counts, flips = tried(run, asked.mutations, random.Random(asked.seed))
    print(f"{asked.mutations} mutations, seed {asked.seed}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    for flip in flips:
        print(f"FLIP {flip}")
    return 1 if flips else 0


def tried(run: Path, mutations: int, draw: random.Random) -> tuple[dict[str, int], list[str]]:
    """Outcome -> how many mutations had it; and each flip in words."""
    labs: list[tuple[LabEntry, Path, list[Path], dict[str, str]]] = []
    for entry in read_run(run).labs:
        lab = run / "labs" / entry.slug
        files = sorted(path for path in (*lab.rglob("*"), run / "run.json") if path.is_file())
        labs.append((entry, lab, files, verdicts(judge_entry(run, entry))))
    counts: collections.Counter[str] = collections.Counter()
    flips = []
    for number in range(mutations):
        entry, lab, files, before = labs[number % len(labs)]
        what, undo = mutate(run, lab, files, draw)
        try:
            found = judged(run, entry.slug)
        finally:
            undo()
        after = verdicts(found) if found is not None else {}
        flipped = [name for name, old in before.items() if {old, after.get(name)} == set(FIRM)]
        if flipped:
            flips.append(json.dumps({"mutation": number, "what": what, "hypotheses": flipped}))
        unsure = any(old in FIRM and after.get(name) == "inconclusive" for name, old in before.items())
        counts["flipped" if flipped else "an error of the lab" if not after else "inconclusive" if unsure
               else "as before"] += 1  # fmt: skip
    return dict(counts), flips


if __name__ == "__main__":
    sys.exit(main())
