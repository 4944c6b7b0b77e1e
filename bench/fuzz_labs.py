"""Does any lab file make `labrun check` crash, hang, or say too much?

    python bench/fuzz_labs.py [--labs 10000] [--seed 1]

Each round changes a shipped lab (a character, a line, a word in another's place, a value made hostile) up to four times,
and checks it as `labrun check` does: load, compile, filters, advice, the image's schema. A lab that is refused with a
place is as good as one that is accepted. Counted as failures: any other exception, more than ten seconds of processor
time, a message with a line of its own for a CI service, and more than 120 kB of messages.

Seeded: the same seed and labs give the same files. A failure's file is kept and named. Exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from labrun.lab.catalogue import Named
from labrun.lab.check.advice import advice
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_cells
from labrun.lab.problems import LabError

LABS = Path(__file__).parents[1] / "labs"
LIMIT_S = 10.0
MOST = 120_000
HOSTILE = (
    "", "null", "true", "-1", "0", "1e400", ".nan", "[]", "{}", "[[[[]]]]", "1" * 400, "99999999999999999999", "'" + "x" * 5000 + "'",
    "!!python/object/apply:os.system [id]", "&a [*a]", "2001-01-01", "0x1F", "1_000", "'\\u0000'", '"\\u2028\\n::error::x"', '"a\\r::warning::x"',
    "{a: 1, a: 2}", "'../../etc/passwd'", "'/dev/zero'", "'${nosuch}'", "'${a}${b'", "'" + "(" * 3000 + ")" * 3000 + "'", "'a{4294967295}'",
    "'[?a==`1`]'", "'icmp and and'", "'a ' ", "'*'", "? [x]\n: y", "|\n  x", "'é\\udc80'", "127.0.0.1/33", "'::ffff:1.2.3.4'", "1s", "-1s", "1e9s",
)  # fmt: skip
_WORD = re.compile(r"[\w.$/-]+")
_VALUE = re.compile(r"(?<=: )[^\n{}\[\],]+")


def one_character(text: str, draw: random.Random) -> str:
    place = draw.randrange(len(text))
    return (
        text[:place]
        + draw.choice(["", "\t", "\0", ":", "{", "}", "[", '"', "'", "&", "*", "\n", "é", "#"])
        + text[place + 1 :]
    )


def one_line(text: str, draw: random.Random) -> str:
    lines = text.split("\n")
    place, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(4)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[other])
    elif kind == 2:
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines[place] = " " * draw.randrange(6) + lines[place].strip()
    return "\n".join(lines)


def one_word(text: str, draw: random.Random) -> str:
    found = list(_WORD.finditer(text))
    if len(found) < 2:
        return text + "x"
    match, other = draw.choice(found), draw.choice(found)
    return text[: match.start()] + other[0] + text[match.end() :]


def one_value(text: str, draw: random.Random) -> str:
    found = list(_VALUE.finditer(text))
    if not found:
        return draw.choice(HOSTILE)
    match = draw.choice(found)
    return text[: match.start()] + draw.choice(HOSTILE) + text[match.end() :]


CHANGES: tuple[Callable[[str, random.Random], str], ...] = (one_character, one_line, one_word, one_value, one_value)


class TooLong(BaseException):
    """The checks took longer than they may. No Exception, so that nothing on the way takes it for a problem."""


def verdict(path: Path) -> tuple[str, str]:
    """("ok" or "refused", what was said) of a lab file; raises what is a failure."""
    try:
        cells = load_cells(path, Named(path))
        for lab in cells:
            compile_lab(lab)
            if problems := check_filters(lab):
                raise LabError(problems)
    except LabError as error:
        return "refused", str(error)
    return "ok", "\n".join(str(problem) for problem in advice(cells[0]))


def failure(path: Path, count: collections.Counter[str]) -> str | None:
    """Why this file is a failure; None if it is none."""

    def late(number: int, frame: object) -> None:
        raise TooLong

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        word, said = verdict(path)
    except TooLong:
        return f"took more than {LIMIT_S:g} s of processor time"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    count[word] += 1
    if len(said) > MOST:
        return f"said {len(said)} characters"
    if re.search(r"^::", said, re.MULTILINE) or "\r" in said:
        return "a line of its own for a CI service"
    return None


def fuzz(rounds: int, seed: int, keep: Path) -> tuple[collections.Counter[str], list[str]]:
    """What came of ``rounds`` files, and the failures, each with the file that is kept in ``keep``."""
    draw = random.Random(seed)
    sources = [path.read_text(encoding="utf-8") for path in sorted(LABS.glob("*/lab.yaml"))]
    count: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    folder = keep / "fuzzed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lab.yaml"
    for number in range(rounds):
        text = draw.choice(sources)
        for _ in range(draw.randint(1, 4)):
            text = draw.choice(CHANGES)(text, draw) or "\n"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        why = failure(path, count)
        if why is not None:
            kept = keep / f"lab-{number}.yaml"
            kept.write_bytes(path.read_bytes())
            failures.append(f"{kept}: {why}")
    return count, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="fuzz-labs-"))
    count, failures = fuzz(asked.labs, asked.seed, keep)
    told = ", ".join(f"{number} {word}" for word, number in sorted(count.items()))
    print(f"{asked.labs} lab files with seed {asked.seed}: {told}, {len(failures)} failures")
    for line in failures[:20]:
        print(f"  {line}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
