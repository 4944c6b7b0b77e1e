"""A static site of findings: a page a claim, an index by topic that is searched where it lies, and an Atom feed.

A claim is a hypothesis of a lab, by their names; its page has every finding in which it was judged, and where: so that
one sees on which kernels it holds. Findings are verified before they come in. The same findings give the same site.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from labrun.evidence.files import EvidenceError
from labrun.evidence.lab import read_lab
from labrun.evidence.run import read_run
from labrun.judge.run import judge_run
from labrun.lab.problems import LabError
from labrun.protocol.record import dataclass
from labrun.report import anchors
from labrun.report.build import build_view
from labrun.report.compiled import Compiled
from labrun.report.prose import label, prose
from labrun.report.view import HypothesisView, LabView
from labrun.report.visible import one_line

_TEMPLATES = Path(__file__).parent / "templates"
_ALIKE = uuid.UUID("6d1c3a52-0a3e-5f0e-9a6a-6c616272756e")  # in which names are hashed; any would do
NO_TOPIC = "other"
_MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


@dataclass(frozen=True, slots=True)
class Sighting:
    """A claim judged in one finding. ``finding``: the name of its folder in the site, and of its file."""

    finding: str
    run: str
    started: str
    kernel: str
    where: str
    verdict: str
    expect: str
    why: str
    observed: str
    href: str


@dataclass(frozen=True, slots=True)
class Claim:
    """``page``: its address in the site. ``sightings``: the newest first, which also tells what the lab is."""

    lab: str
    name: str
    page: str
    claim: str
    title: str
    question: str
    because: str | None
    source: str | None
    source_url: str | None
    topics: tuple[str, ...]
    sightings: tuple[Sighting, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Each that it had, the newest first."""
        return tuple(dict.fromkeys(one.verdict for one in self.sightings))

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.kernel for one in self.sightings))

    @property
    def id(self) -> str:
        return uuid.uuid5(_ALIKE, f"{self.lab}/{self.name}").urn


def claims_of(run: Path, finding: str) -> Iterable[Claim]:
    """Of a finding that was laid out at ``run``, and verified. Raises EvidenceError."""
    record = read_run(run)
    result = judge_run(run)
    view = build_view(run, result)
    entries = {entry.slug: entry for entry in record.labs}
    where = one_line(f"{record.engine} ({record.isolation}), {record.image or record.userland}")
    kernel = one_line(record.kernel or "not known")
    for lab, judged in zip(view.labs, result.labs, strict=True):
        entry = entries.get(judged.id)
        topics = lab.tags or (NO_TOPIC,)
        try:
            title = read_lab(run, entry).title if entry is not None else judged.title
        except (EvidenceError, LabError):
            title = judged.title
        for hypothesis in lab.hypotheses:
            href = f"findings/{finding}/index.html#{hypothesis.anchor}"
            seen = Sighting(finding, one_line(record.id), one_line(record.started), kernel, where, hypothesis.verdict,
                            hypothesis.expect, hypothesis.why, hypothesis.observed, href)  # fmt: skip
            yield _claim(judged.id, one_line(title), lab, hypothesis, topics, seen)


def _claim(
    slug: str, title: str, lab: LabView, hypothesis: HypothesisView, topics: tuple[str, ...], seen: Sighting
) -> Claim:
    return Claim(
        lab=slug, name=hypothesis.id, page=f"claims/{_file(anchors.hypothesis(slug, hypothesis.id))}.html",
        claim=hypothesis.claim, title=title, question=lab.question or "", because=hypothesis.because,
        source=lab.source, source_url=lab.source_url, topics=tuple(map(one_line, topics)), sightings=(seen,),
    )  # fmt: skip


def _file(name: str) -> str:
    """Names that are longer than a file's may be have a digest instead of their end."""
    return name if len(name) <= 200 else f"{name[:160]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def together(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Those of one name as one, by name."""
    found: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        found.setdefault((claim.lab, claim.name), []).append(claim)
    return tuple(_one(same) for _, same in sorted(found.items()))


def _one(same: list[Claim]) -> Claim:
    ordered = sorted(same, key=lambda claim: (claim.sightings[0].started, claim.sightings[0].finding), reverse=True)
    seen: dict[tuple[str, ...], Sighting] = {}
    for claim in ordered:
        for one in claim.sightings:  # one run may be in several findings
            seen.setdefault((one.run, one.started, one.kernel, one.where, one.verdict, one.why, one.observed), one)
    return replace(ordered[0], sightings=tuple(seen.values()))


def site(claims: Iterable[Claim], title: str, address: str = "") -> dict[str, str]:
    """Path -> text, of all but the findings themselves. ``address``: where the site will be, for the feed's links."""
    every = together(claims)
    topics: dict[str, list[Claim]] = {}
    for claim in every:
        for topic in claim.topics:
            topics.setdefault(topic, []).append(claim)
    ordered = sorted(topics.items(), key=lambda topic: (topic[0] == NO_TOPIC, topic[0]))
    pages = {claim.page: _page("claim.html.j2", claim=claim, title=title, up="../") for claim in every}
    updated = max((_instant(one.started) for claim in every for one in claim.sightings), default=_instant(""))
    feed = _environment().get_template("feed.xml.j2").render(
        title=title, address=address, updated=updated, claims=_newest_first(every), instant=_instant,
        id=uuid.uuid5(_ALIKE, f"{address} {title}").urn,
    )  # fmt: skip
    index = _page("gallery.html.j2", topics=ordered, count=len(every), title=title, up="")
    return {"index.html": index, "feed.xml": feed, **pages}


def _newest_first(claims: Iterable[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: (_instant(claim.sightings[0].started), claim.id), reverse=True)


def _instant(text: str) -> str:
    """RFC 3339 in UTC, as Atom wants it; the epoch where the text is no time."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if found.tzinfo else f"{found:%Y-%m-%dT%H:%M:%S}Z"
    except (ValueError, OverflowError):
        return "1970-01-01T00:00:00Z"


def _page(template: str, **given: object) -> str:
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("gallery.css", "gallery.js"))
    allowed = f"style-src {_digest(style)}; script-src {_digest(script)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    given = {**given, "style": Markup(style), "script": Markup(script), "policy": policy}
    return _environment().get_template(template).render(**given)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, bytecode_cache=Compiled(_TEMPLATES, "gallery"),
    )  # fmt: skip
    environment.filters.update(prose=prose, label=label)
    environment.globals.update(marks=_MARKS)
    return environment
