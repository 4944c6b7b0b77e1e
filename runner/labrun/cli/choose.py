"""The labs that a command line means, compiled, in the order in which they run; and those that are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labrun.cli.selection import Earlier, selection

if TYPE_CHECKING:
    from labrun.evidence.run import InvalidLab
    from labrun.lab.base import Scalar
    from labrun.lab.catalogue import Named
    from labrun.lab.compile import CompiledLab
    from labrun.lab.load import Lab


@dataclass(frozen=True)
class Wanted:
    """What the command line says of which labs run. ``earlier``: read where it is asked for how they did before."""

    words: str | None = None
    tags: tuple[str, ...] = ()
    values: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    timeout_s: float | None = None
    last_failed: bool = False
    failed_first: bool = False
    earlier: Earlier | None = None


@dataclass(frozen=True)
class Chosen:
    """``remark``: what to say of how they were chosen."""

    labs: tuple[CompiledLab, ...]
    invalid: tuple[InvalidLab, ...]
    remark: str | None = None


def choose_labs(paths: Sequence[Named], wanted: Wanted) -> Chosen:
    """Raises LabError where nothing is left, and where a name that was given is nowhere."""
    from labrun.lab.problems import LabError, Problem

    means = selection(wanted.words, wanted.tags)
    compiled, invalid, parameters = _compile(paths, wanted)
    unknown = [name for name in wanted.values if name not in parameters]
    if unknown and not invalid:
        from labrun.logic.suggest import did_you_mean

        hint = did_you_mean(unknown[0], parameters)
        raise LabError([Problem(f"--set {unknown[0]}", 0, 0, f"no lab here has this parameter.{hint}")])
    chosen = [(lab, ids) for lab, named in compiled if (ids := means.of(lab.lab, named)) is not None]
    if not chosen and not invalid:
        asked = " ".join([*([f"-k '{wanted.words}'"] if wanted.words else []), *(f"--tag '{t}'" for t in wanted.tags)])
        what = "hypothesis is" if wanted.words else "lab is"
        raise LabError([Problem(asked, 0, 0, f"no {what} selected by this")])
    remark = None
    if wanted.last_failed or wanted.failed_first:
        chosen, remark = _by_failure(chosen, wanted)
    labs = tuple(lab if len(ids) == len(lab.controls) else lab.only(ids) for lab, ids in chosen)
    return Chosen(labs, tuple(invalid), remark)


def _by_failure(
    chosen: list[tuple[CompiledLab, frozenset[str]]], wanted: Wanted
) -> tuple[list[tuple[CompiledLab, frozenset[str]]], str | None]:
    if wanted.earlier is None:
        return chosen, "no earlier run is there: all run"
    failed = [(lab, wanted.earlier.failures(lab.lab.slug, ids)) for lab, ids in chosen]
    if not any(ids for _, ids in failed):
        return chosen, "nothing failed when it last ran: all run"
    if wanted.last_failed:
        return [(lab, ids) for lab, ids in failed if ids], None
    bad = {lab.lab.slug for lab, ids in failed if ids}
    return sorted(chosen, key=lambda one: one[0].lab.slug not in bad), None


def _compile(
    paths: Sequence[Named], wanted: Wanted
) -> tuple[list[tuple[CompiledLab, frozenset[str] | None]], list[InvalidLab], set[str]]:
    """Those that can run, each with the only hypotheses that were named; those that cannot, each with its problems;
    and the names of all parameters. A lab that is named more than once runs once, with all that was named."""
    from labrun.evidence.run import InvalidLab
    from labrun.lab.catalogue import portable
    from labrun.lab.load import load_cells
    from labrun.lab.problems import LabError

    compiled: dict[str, CompiledLab] = {}
    named: dict[str, frozenset[str] | None] = {}
    invalid: list[InvalidLab] = []
    parameters: set[str] = set()
    for one in paths:
        try:
            for lab in load_cells(one.file, one, wanted.values):
                parameters |= lab.model.parameters.keys()
                only = _only(lab, (one.hypothesis,) if one.hypothesis else one.kept.hypotheses if one.kept else ())
                before = compiled.get(lab.slug)
                if before is not None and _same(before.lab, lab):
                    known = named[lab.slug]
                    named[lab.slug] = None if only is None or known is None else known | only
                    continue
                compiled[lab.slug] = _checked(lab, before, wanted.timeout_s)
                named[lab.slug] = only
        except LabError as error:
            slug, shown = one.file.absolute().parent.name, error.problems[0].file
            invalid.append(InvalidLab(slug, portable(shown), tuple(str(problem) for problem in error.problems)))
    return [(lab, named[slug]) for slug, lab in compiled.items()], invalid, parameters


def _same(one: Lab, other: Lab) -> bool:
    """Of one file; a lab of an earlier run may have another text than the file has now."""
    return one.path.absolute() == other.path.absolute() and one.text == other.text


def _only(lab: Lab, hypotheses: Sequence[str]) -> frozenset[str] | None:
    """Raises LabError where the lab has no such hypothesis. None: all are meant."""
    from labrun.lab.problems import LabError, Problem
    from labrun.logic.suggest import did_you_mean

    if not hypotheses:
        return None
    ids = [one.id for one in lab.model.hypotheses]
    for hypothesis in hypotheses:
        if hypothesis not in ids:
            text = f"no hypothesis '{hypothesis}' in this lab.{did_you_mean(hypothesis, ids)}"
            raise LabError([Problem(lab.shown, 0, 0, text)])
    return frozenset(hypotheses)


def _checked(lab: Lab, other: CompiledLab | None, timeout_s: float | None) -> CompiledLab:
    """``other``: a lab of another file that has the same name. Raises LabError."""
    from labrun.lab.check.filters import check_filters
    from labrun.lab.compile import compile_lab
    from labrun.lab.problems import LabError, Problem

    compiled = compile_lab(lab, timeout_s)
    problems = check_filters(lab)
    if other is not None:
        text = f"another lab of this run has the same name: {other.lab.shown}"
        problems = (*problems, Problem(lab.shown, 0, 0, text))
    if problems:
        raise LabError(problems)
    return compiled
