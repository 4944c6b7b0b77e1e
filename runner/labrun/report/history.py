"""Several runs, oldest first: what each claim came to in each, and where that changed. Of results.json alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from labrun.protocol.record import dataclass
from labrun.report import anchors
from labrun.report.visible import one_line, shorten

State = Literal["supported", "refuted", "inconclusive", "skipped", "broke"]
MOST_RUNS = 40  # columns of the page
_MOST_CLAIMS = 5_000  # rows of the page
_MOST_CHANGES = 1_000
_FACTS = (
    ("labrun", "labrun"), ("engine", "engine"), ("engine_version", "engine version"), ("isolation", "isolation"),
    ("userland", "userland"), ("kernel", "kernel"), ("image", "image"), ("image_id", "image id"), ("python", "Python"),
)  # fmt: skip
_VERDICTS: Mapping[str, State] = {"supported": "supported", "refuted": "refuted", "inconclusive": "inconclusive"}


class NoResults(ValueError):
    """What should be results.json is none. The message says in what way."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claim in a run. ``why``: a code, and where nothing was judged a sentence."""

    state: State
    surprise: bool
    why: str
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A run as its results.json tells it. ``claims``: (lab, hypothesis) -> its words. ``href``: of its page."""

    id: str
    started: str
    facts: Mapping[str, str]
    outcomes: Mapping[tuple[str, str], Outcome]
    claims: Mapping[tuple[str, str], str]
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a claim came to something else than before. ``news``: what else was not as in the run before."""

    lab: str
    hypothesis: str
    claim: str
    before: Outcome
    after: Outcome
    run: Past
    earlier: Past
    news: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a claim in a run; ``outcome`` is None where the run did not have it. ``turned``: not as it was before."""

    run: Past
    outcome: Outcome | None
    turned: bool


@dataclass(frozen=True, slots=True)
class Row:
    hypothesis: str
    claim: str
    cells: tuple[Cell, ...]
    turns: int
    """How often it changed, in all runs."""


@dataclass(frozen=True, slots=True)
class Group:
    """The claims of a lab."""

    lab: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class History:
    """``turns``: newest first. ``shown``: the runs that have a column. ``cut``: what the page leaves out."""

    runs: tuple[Past, ...]
    shown: tuple[Past, ...]
    turns: tuple[Turn, ...]
    groups: tuple[Group, ...]
    unsteady: int
    """How many claims changed at all."""
    cut: str | None = None

    @property
    def claims(self) -> int:
        return sum(len(group.rows) for group in self.groups)


def past(value: object, page: str | None = None) -> Past:
    """``value``: a results.json, parsed. ``page``: where the run's page is, from the history's. Raises NoResults."""
    run, labs = _of(value, "run", dict), _of(value, "labs", list)
    facts = {name: one_line(str(run[key])) for key, name in _FACTS if isinstance(run.get(key), str)}
    facts |= _commits(run.get("checkouts"))
    outcomes: dict[tuple[str, str], Outcome] = {}
    claims: dict[tuple[str, str], str] = {}
    for lab in labs:
        slug, status = one_line(_of(lab, "id", str)), _of(lab, "status", str)
        said = one_line(str(lab.get("message") or lab.get("reason") or ""))
        unjudged: State = "skipped" if status == "skipped" else "broke"
        for one in _of(lab, "hypotheses", list):
            key = (slug, one_line(_of(one, "id", str)))
            verdict = _VERDICTS.get(_of(one, "verdict", str))
            if verdict is None:
                raise NoResults(f"{one_line(str(one['verdict']))[:80]} is no verdict")
            surprise = verdict != "inconclusive" and not _of(one, "as_expected", bool)
            href = f"{page}#{anchors.hypothesis(_of(lab, 'id', str), _of(one, 'id', str))}" if page else None
            outcomes[key] = Outcome(verdict, surprise, one_line(_of(one, "reason", str)), href)
            claims[key] = shorten(one_line(_of(one, "claim", str)), 300)
        for name in lab.get("unjudged") or ():
            outcomes.setdefault((slug, one_line(str(name))), Outcome(unjudged, False, shorten(said, 300), page))
    started = one_line(_of(run, "started", str)).replace("T", " ").replace("+00:00", " UTC")
    return Past(one_line(_of(run, "id", str)), started, facts, outcomes, claims, page)


def _commits(value: object) -> dict[str, str]:
    if not isinstance(value, list) or not value:
        return {}
    words = []
    for one in value:
        if isinstance(one, dict) and isinstance(one.get("commit"), str):
            changed = one.get("changed")
            words.append(one_line(one["commit"])[:12] + (" and changes" if changed or changed is None else ""))
    return {"labs' commit": ", ".join(words)}


def _of(value: object, key: str, kind: type) -> Any:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        raise NoResults(f"'{key}' is missing, or is something else than it should be")
    return found


def history(runs: Iterable[Past]) -> History:
    """In the order of their start, whatever the order in which they are given; a run that is given twice is one."""
    every = sorted({run.id: run for run in runs}.values(), key=lambda run: (run.started, run.id))
    shown = every[-MOST_RUNS:]
    keys = dict.fromkeys(key for run in reversed(every) for key in run.outcomes)
    turns: list[Turn] = []
    rows: dict[str, list[Row]] = {}
    unsteady = 0
    for key in keys:
        claim = next((run.claims[key] for run in reversed(every) if key in run.claims), key[1])
        own = list(_turns(key, claim, every))
        turns += own
        unsteady += bool(own)
        at = {turn.run.id for turn in own}
        cells = tuple(Cell(run, run.outcomes.get(key), run.id in at) for run in shown)
        rows.setdefault(key[0], []).append(Row(key[1], claim, cells, len(own)))
    turns.sort(key=lambda turn: (turn.run.started, turn.run.id), reverse=True)
    left = _MOST_CLAIMS
    groups = []
    for lab, own_rows in rows.items():
        groups.append(Group(lab, tuple(own_rows[:left])))
        left -= len(groups[-1].rows)
    cut = [f"the columns of the first {len(every) - len(shown)} runs"] if len(every) > len(shown) else []
    cut += [f"{len(keys) - _MOST_CLAIMS} claims"] if len(keys) > _MOST_CLAIMS else []
    cut += [f"{len(turns) - _MOST_CHANGES} changes"] if len(turns) > _MOST_CHANGES else []
    return History(
        tuple(every),
        tuple(shown),
        tuple(turns[:_MOST_CHANGES]),
        tuple(group for group in groups if group.rows),
        unsteady,
        f"Left out: {', '.join(cut)}." if cut else None,
    )


def _turns(key: tuple[str, str], claim: str, runs: Sequence[Past]) -> Iterator[Turn]:
    before: tuple[Past, Outcome] | None = None
    for run in runs:
        outcome = run.outcomes.get(key)
        if outcome is None:
            continue
        if before is not None and (outcome.state, outcome.surprise) != (before[1].state, before[1].surprise):
            yield Turn(*key, claim, before[1], outcome, run, before[0], _news(before[0], run))
        before = run, outcome


def _news(before: Past, after: Past) -> tuple[str, ...]:
    """``kernel 6.1 → 6.12``. What one of them does not tell is no news."""
    names = [name for name in after.facts if name in before.facts]
    return tuple(
        f"{name} {shorten(before.facts[name], 60)} → {shorten(after.facts[name], 60)}"
        for name in names
        if before.facts[name] != after.facts[name]
    )
