"""Does `labrun verify` ever call a changed finding verified?

    python bench/mutate_finding.py FINDING.zip [--mutations 1000] [--seed 1]

FINDING.zip is what `labrun bundle` writes. Every other round changes the file as it is (a bit, a number, a line, a part
that goes or comes twice). The others change one file in it (the same, and: another file's content, a file that goes,
comes, or has another name) and write the finding again in its right form, with a manifest that fits: only seals, and
what follows from the evidence, can tell then. Counted is what `verify` says.

Seeded: the same seed and finding give the same mutations. Exits with 1 if one was verified, or `verify` crashed.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import sys
import tempfile
from pathlib import Path

from labrun.evidence.pack import open_pack, write_pack
from labrun.finding.verify import verify
from mutate_evidence import CHANGES


def of_the_file(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    change = draw.choice(CHANGES)
    return change.__name__, change(bytearray(data), draw)


def of_what_is_in_it(folder: Path, paths: list[str], draw: random.Random) -> tuple[str, list[str]]:
    """Change a file of a copy of the finding. What was done, and the paths that it has then."""
    path = draw.choice(paths)
    file = folder / path
    data = file.read_bytes()
    how = draw.randrange(len(CHANGES) + 4)
    if how == len(CHANGES):
        return f"gone {path}", [one for one in paths if one != path]
    if how == len(CHANGES) + 1:
        other = draw.choice(paths)
        file.write_bytes((folder / other).read_bytes())
        return f"{other} in the place of {path}", paths
    if how >= len(CHANGES) + 2:
        fresh = f"{path}{draw.choice('x~2')}"
        (folder / fresh).write_bytes(data)
        keeps = how == len(CHANGES) + 2
        return f"{fresh} {'besides' if keeps else 'for'} {path}", [*(p for p in paths if keeps or p != path), fresh]
    file.write_bytes(CHANGES[how](bytearray(data), draw) if data else b"x")
    return f"{CHANGES[how].__name__} {path}", paths


def tried(finding: Path, mutations: int, draw: random.Random, scratch: Path) -> tuple[dict[str, int], list[str]]:
    """Word -> how many mutations `verify` had it for; and each that was verified, or crashed, in words."""
    whole = finding.read_bytes()
    opened = scratch / "opened"
    opened.mkdir()
    paths = sorted(open_pack(finding, opened))
    counts: collections.Counter[str] = collections.Counter()
    bad = []
    changed = scratch / "changed.zip"
    for number in range(mutations):
        if number % 2:
            what, data = of_the_file(whole, draw)
            changed.write_bytes(data)
        else:
            shutil.copytree(opened, scratch / "copy")
            what, kept = of_what_is_in_it(scratch / "copy", paths, draw)
            write_pack(changed, scratch / "copy", kept)
            shutil.rmtree(scratch / "copy")
        if changed.read_bytes() == whole:
            counts["unchanged"] += 1
            continue
        try:
            word: str = verify(changed, scratch / "into").word
        except Exception as error:
            word = f"crashed: {type(error).__name__}: {error}"
        shutil.rmtree(scratch / "into")
        counts[word.partition(":")[0]] += 1
        if word not in ("broken", "undecided"):
            bad.append(f"{word}: mutation {number}: {what}")
    return dict(counts), bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("finding", type=Path)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, bad = tried(asked.finding, asked.mutations, random.Random(asked.seed), Path(folder))
    print(f"{asked.mutations} mutations, seed {asked.seed}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    for one in bad:
        print(one)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
