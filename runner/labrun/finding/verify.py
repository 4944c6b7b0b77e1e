"""Is a finding's file whole, and do its verdicts follow from its evidence? Offline, without an engine.

`verified`: every file is as the manifest has it, the evidence as its seals have it, and all else is what this labrun
makes of that evidence, byte by byte. `broken`: something is not as it says. `undecided`: another labrun, or other
libraries, judged and rendered it, and here it comes out differently. Who made it is for a signature to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from labrun import __version__
from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, digest_below, open_below, read_below, size_below
from labrun.evidence.pack import open_pack
from labrun.evidence.run import Finding, NewerFinding, RunRecord, read_finding, read_run
from labrun.finding.contents import evidence_files
from labrun.finding.derived import NAMES, libraries, told
from labrun.finding.recipe import kept_files
from labrun.finding.sign import MAX_BYTES, SIGNATURE, check, signer_of, statement
from labrun.judge.results import RunResult, results_text
from labrun.judge.run import judge_run
from labrun.lab.problems import LabError
from labrun.logic.visible import visible
from labrun.protocol.record import dataclass

T = TypeVar("T")

Word = Literal["verified", "broken", "undecided"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was checked. ``word``: what came of it. ``message``: in a sentence."""

    name: str
    word: Word
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The steps end with the first that is not `verified`."""

    steps: tuple[Step, ...]

    @property
    def word(self) -> Word:
        return self.steps[-1].word


class _Failed(Exception):
    def __init__(self, word: Word, message: str) -> None:
        super().__init__(message)
        self.word: Word = word


class _Check:
    """The steps share what the ones before them have read."""

    def __init__(self, file: Path, into: Path, key: bytes | None) -> None:
        self._file, self._into, self._key = file, into, key
        self._digests: Mapping[str, str] = {}
        self._paths: set[str] = set()
        self._accounted: set[str] = set()
        self._finding: Finding
        self._record: RunRecord
        self._result: RunResult

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        return (
            ("files", self._open), ("record", self._read), ("evidence", self._evidence), ("userland", self._userland),
            ("verdicts", self._judge), ("reports", self._tell), ("signature", self._signature),
        )  # fmt: skip

    def _open(self) -> str:
        self._digests = open_pack(self._file, self._into)
        self._paths = set(self._digests)
        return f"{len(self._paths)}, each with the SHA-256 that the manifest has"

    def _read(self) -> str:
        finding = read_finding(self._into)
        if finding is None:
            raise _Failed("broken", f"there is no {layout.FINDING}: the file is a pack, and no finding")
        self._finding = finding
        self._record = self._same(lambda: read_run(self._into))
        self._accounted |= {layout.FINDING, layout.RESULTS, *NAMES, *({SIGNATURE} & self._paths)}
        return f"run {self._record.id} of {self._record.started}, {_counted(finding.labs, 'lab')}"

    def _evidence(self) -> str:
        found = evidence_files(self._into, self._record)
        self._accounted |= set(found)
        seals = [path for path in found if path.endswith(f"/{layout.SEAL}")]
        return f"{_counted(seals, 'sandbox')}, closed by seals and as they were then"

    def _userland(self) -> str:
        found = kept_files(self._record, self._into)
        self._accounted |= set(found)
        other = sorted(self._paths - self._accounted)
        if other:
            raise _Failed("broken", f"{other[0][:200]!r} is no part of a finding")
        missing = sorted(self._accounted - self._paths)
        if missing:
            raise _Failed("broken", f"{missing[0]} is not there")
        return f"the recipe of {self._record.image}" if found else "its recipe is not in the finding"

    def _judge(self) -> str:
        self._result = self._same(lambda: judge_run(self._into))
        self._equal({layout.RESULTS: self._same(lambda: results_text(self._result))})
        counts = self._result.counts()
        words = ("supported", "refuted", "inconclusive")
        return "judged again, the same results.json: " + ", ".join(f"{counts[w]} {w}" for w in words if counts[w])

    def _tell(self) -> str:
        sizes = {path: size_below(self._into, path) for path in self._paths - {*NAMES, SIGNATURE}}
        self._equal(self._same(lambda: told(self._into, self._result, sizes)))
        return f"made again, the same bytes: {', '.join(NAMES)}"

    def _signature(self) -> str:
        if SIGNATURE not in self._paths:
            if self._key is not None:
                raise _Failed("broken", "it is not signed, by that key or any other")
            return "none: who made it is not known"
        digests = {path: digest for path, digest in self._digests.items() if path != SIGNATURE}
        text = read_below(self._into, SIGNATURE, MAX_BYTES)
        payload = statement(digests, self._result)
        try:
            signer = signer_of(text, payload)
            if self._key is None:
                return f"there is one, of the key {visible(signer)[:16]}; without --key it says nothing"
            return f"made by the key {check(text, self._key)[:16]}, for each of these files"
        except ValueError as error:
            raise self._failed(f"{SIGNATURE}: {error}") from error

    def _same(self, make: Callable[[], T]) -> T:
        """What this labrun makes of it. Where it cannot, another labrun's finding is not called broken for that."""
        try:
            return make()
        except (EvidenceError, LabError, UnicodeError, RecursionError) as error:
            raise self._failed(str(error).replace(f"{self._into}/", "")) from error

    def _equal(self, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            made = text.encode()
            if digest_below(self._into, name) != (len(made), hashlib.sha256(made).hexdigest()):
                raise self._failed(f"{name} is not what follows from the evidence: {self._first(name, made)}")

    def _first(self, name: str, made: bytes) -> str:
        """The first line that differs, on both sides."""
        number, before = 0, made.split(b"\n")
        with open_below(self._into, name) as file:
            for number, line in enumerate(file, start=1):
                mine = before[number - 1] if number <= len(before) else b""
                if line.rstrip(b"\n") != mine:
                    return f"line {number} is {_shown(line)}, and would be {_shown(mine)}"
        return f"it ends at line {number}"

    def _failed(self, message: str) -> _Failed:
        theirs = {"labrun": self._finding.labrun, **self._finding.libraries}
        ours = {"labrun": __version__, **libraries()}
        other = [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]
        if not other:
            return _Failed("broken", message)
        told = ", ".join(f"{name} {theirs.get(name, 'none')} (here {ours.get(name, 'none')})" for name in other)
        return _Failed("undecided", f"{message}. It was made with {told}: that version can decide it")


def verify(file: Path, into: Path, key: bytes | None = None) -> Verification:
    """``into``: a path where nothing is yet; there the finding is laid out, a run directory.

    ``key``: a public key in PEM, by which it must be signed. Raises OSError, and KeyUnusable for a key that is none.
    """
    into.mkdir()
    checks = _Check(file, into, key)
    done: list[Step] = []
    for name, step in checks.steps():
        try:
            done.append(Step(name, "verified", step()))
        except _Failed as failed:
            done.append(Step(name, failed.word, str(failed)))
        except NewerFinding as error:
            done.append(Step(name, "undecided", str(error).replace(f"{into}/", "")))
        except EvidenceError as error:
            done.append(Step(name, "broken", str(error).replace(f"{into}/", "").replace(f"{into}: ", "")))
        if done[-1].word != "verified":
            break
    return Verification(tuple(done))


def _shown(line: bytes) -> str:
    text = visible(line.decode("utf-8", "surrogateescape").strip())
    return f"`{text[:120]}{'...' if len(text) > 120 else ''}`"


def _counted(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "es" if word.endswith("x") else "s")
