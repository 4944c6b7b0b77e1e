"""A run, or some labs of it, into a finding's file. The same run gives the same bytes, for the same labrun.

Evidence goes in as it was recorded and in no other form: it is sealed, and a finding with a word taken out of it could
not be judged again to the same verdict. So nothing is redacted. What of this host the files name is told instead.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labrun import __version__
from labrun.evidence import layout
from labrun.evidence.files import EvidenceError, digest_below, size_below, write_whole
from labrun.evidence.pack import write_pack
from labrun.evidence.run import Finding, RunRecord, read_run
from labrun.finding.contents import evidence_files
from labrun.finding.derived import libraries, told
from labrun.finding.names import host_names, where_named
from labrun.finding.recipe import keep, kept_files
from labrun.finding.sign import SIGNATURE, statement
from labrun.finding.verify import verify
from labrun.judge.results import RunResult, results_text
from labrun.judge.run import judge_run
from labrun.logic.suggest import did_you_mean
from labrun.protocol.codec import dumps
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Bundled:
    """``files``: how many. ``no_recipe``: why the userland's recipe is not in it.

    ``names``: what of this machine -> the files that have it.
    """

    result: RunResult
    files: int
    no_recipe: str | None
    names: Mapping[str, tuple[str, ...]]


def bundle(run: Path, target: Path, labs: Sequence[str] = (), sign: Callable[[bytes], str] | None = None) -> Bundled:
    """Write the finding of these labs of the run (all, where none is named) to ``target``, in one step.

    ``sign``: makes an envelope of a statement. Raises EvidenceError where the run's evidence is not whole, OSError
    where nothing can be written.
    """
    record = read_run(run)
    slugs = _meant(run, record, labs)
    with tempfile.TemporaryDirectory(prefix=".labrun-finding-", dir=target.parent) as scratch:
        folder = Path(scratch) / "finding"
        folder.mkdir()
        paths = [*evidence_files(run, _only(record, slugs)), layout.FINDING, layout.RESULTS]
        for path in paths[:-2]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / path, folder / path, follow_symlinks=False)
        write_whole(folder / layout.FINDING, dumps(Finding(slugs, __version__, libraries())) + "\n")
        narrowed = read_run(folder)
        no_recipe = keep(narrowed, folder)
        paths += kept_files(narrowed, folder)
        result = judge_run(folder)
        write_whole(folder / layout.RESULTS, results_text(result))
        for name, text in told(folder, result, {path: size_below(folder, path) for path in paths}).items():
            write_whole(folder / name, text)
            paths.append(name)
        if sign is not None:
            digests = {path: digest_below(folder, path)[1] for path in paths}
            write_whole(folder / SIGNATURE, sign(statement(digests, result)))
            paths.append(SIGNATURE)
        fresh = Path(scratch) / "fresh"
        write_pack(fresh, folder, paths)
        checked = verify(fresh, Path(scratch) / "checked")
        if checked.word != "verified":
            raise EvidenceError(f"{run}: no finding can be made of it: {checked.steps[-1].message}")
        fresh.replace(target)
        names = where_named(folder, paths, host_names())
    return Bundled(result, len(paths) + 1, no_recipe, names)


def _meant(run: Path, record: RunRecord, labs: Sequence[str]) -> tuple[str, ...]:
    """Slugs in the run's order; a lab with parameters stands for all its runs."""
    every = [*(entry.slug for entry in record.labs), *(lab.slug for lab in record.invalid)]
    for lab in labs:
        if not any(lab in (slug, slug.partition("--")[0]) for slug in every):
            raise EvidenceError(f"{run}: this run has no lab '{lab}'.{did_you_mean(lab, every)}")
    if not every:
        raise EvidenceError(f"{run}: this run has no lab")
    return tuple(slug for slug in every if not labs or slug in labs or slug.partition("--")[0] in labs)


def _only(record: RunRecord, slugs: Sequence[str]) -> RunRecord:
    return replace(record, labs=tuple(entry for entry in record.labs if entry.slug in slugs))
