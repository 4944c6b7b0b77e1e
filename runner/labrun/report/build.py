"""A run directory and its results to one view. Reads evidence through `labrun.evidence`, never judges.

What cannot be read is said in the report, at its place: a report of a broken run is when one needs a report most.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from labrun.evidence import layout
from labrun.evidence.kept import kept
from labrun.evidence.lab import StoredLab, StoredSource, read_lab
from labrun.evidence.record import VariantRecord, read_variant
from labrun.evidence.run import EvidenceError, LabEntry, RunRecord, read_run
from labrun.judge.results import LabResult, RunResult, claims_nothing
from labrun.lab.catalogue import portable
from labrun.lab.problems import LabError
from labrun.logic.visible import visible
from labrun.observe.journeys import wiring_of
from labrun.protocol.actions import Trace
from labrun.protocol.plan import EXPERIMENT
from labrun.report import anchors
from labrun.report.ansi import plain_text
from labrun.report.environment import environments
from labrun.report.hypotheses import hypothesis_view
from labrun.report.kernel import Course
from labrun.report.lab_file import lab_file
from labrun.report.ladder import Journey, Place, journeys_of, ladder_of
from labrun.report.marks import Traced, marked
from labrun.report.packets import CaptureRead, capture_view, nothing_seen, with_journeys
from labrun.report.references import Places, cited_packets
from labrun.report.room import Room
from labrun.report.topology import TopologyView, topology_of
from labrun.report.transcript import step_view
from labrun.report.view import LabView, Link, MatrixRow, RunView, Standing, StepView, VariantView
from labrun.report.visible import one_line, shorten
from labrun.report.volatile import named

_NAMED = 5  # of the files that a run does not keep
_LINKED = 100  # of those that it keeps
_WORST: tuple[Standing, ...] = ("surprise", "inconclusive", "as-expected")


def build_view(run: Path, result: RunResult) -> RunView:
    """Raises EvidenceError where ``run`` is not a run directory."""
    record = read_run(run)
    entries = {entry.slug: entry for entry in record.labs}
    labs: list[LabView] = []
    room = Room()
    read: list[tuple[str, list[VariantRecord]]] = []
    for lab in result.labs:
        variants, notes = _variants(run, entries.get(lab.id), lab.id)
        read.append((lab.id, variants))
        labs.append(_lab_view(run, lab, entries.get(lab.id), variants, notes, room))
    counts = result.counts()
    rows = [MatrixRow(lab.slug, lab.anchor, h) for lab in labs for h in lab.hypotheses]
    rows.sort(key=lambda row: _WORST.index(row.hypothesis.standing))  # stable: in the run's order otherwise
    return RunView(
        id=record.id,
        title=_title(labs, counts["hypotheses"]),
        headline=_headline(counts),
        standing=_standing(counts),
        started=_when(record.started),
        where=_where(record),
        facts=_facts(record),
        command=one_line(shlex.join(map(_without_folders, record.command))),
        counts=tuple(counts.items()),
        matrix=tuple(rows),
        labs=tuple(labs),
        environments=environments(read),
        files=tuple(Link(name, anchors.file_href(name)) for name in (layout.RESULTS, layout.RUN)),
        times_ms=_times(record, [variant for _, variants in read for variant in variants]),
        total=len(labs),
    )  # fmt: skip


def _standing(counts: dict[str, int]) -> Standing:
    if counts["surprises"]:
        return "surprise"
    unsure = counts["inconclusive"] or counts["errors"] or not (counts["hypotheses"] or counts["claimless"])
    return "inconclusive" if unsure else "as-expected"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _title(labs: Sequence[LabView], hypotheses: int) -> str:
    if len(labs) == 1:
        return labs[0].title
    return f"{_plural(hypotheses, 'hypothesis', 'hypotheses')} in {_plural(len(labs), 'lab', 'labs')}"


def _headline(counts: dict[str, int]) -> str:
    surprises, unsure, every = counts["surprises"], counts["inconclusive"], counts["hypotheses"]
    parts = [_plural(surprises, "surprise", "surprises")] if surprises else []
    parts += [f"{unsure} inconclusive"] if unsure else []
    fine = every - surprises - unsure
    if parts:
        parts += [f"{fine} as expected"] if fine else []
    elif not every and counts["claimless"]:
        parts = ["Nothing was claimed"]
    elif every:
        parts = ["Every verdict is as expected" if every > 1 else "The verdict is as expected"]
    else:
        parts = ["Nothing was judged"]
    parts += [_plural(counts["errors"], "lab broke", "labs broke")] if counts["errors"] else []
    parts += [_plural(counts["skipped"], "lab skipped", "labs skipped")] if counts["skipped"] else []
    return ", ".join(parts) + "."


def _when(started: str) -> str:
    """2026-11-24T02:14:38+00:00 as people write it."""
    return one_line(started).replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def _times(record: RunRecord, variants: Sequence[VariantRecord]) -> tuple[int, int]:
    try:
        began = int(datetime.fromisoformat(record.started).timestamp() * 1000)
    except ValueError:
        began = 0
    ends = [step.ended.wall_ns // 1_000_000 for variant in variants for step in variant.steps if step.ended]
    return began, max((began, *ends))


def _ended_ms(variant: VariantRecord) -> int:
    """When its last step ended, since its sandbox began."""
    return max((step.ended.t_ns for step in variant.steps if step.ended), default=0) // 1_000_000


def _where(record: RunRecord) -> str:
    words = [f"{record.engine} engine ({record.isolation})"]
    words += [f"Linux {record.kernel}"] if record.kernel else []
    words += [record.image] if record.image else []
    return one_line(", ".join((*words, f"labrun {record.labrun}")))


def _facts(record: RunRecord) -> tuple[tuple[str, str], ...]:
    image = " ".join(word for word in (record.image, f"({record.image_id})" if record.image_id else None) if word)
    facts = (
        ("Run", record.id), ("Started", _when(record.started)), ("labrun", record.labrun),
        ("Engine", f"{record.engine} {record.engine_version}".strip()),
        ("Isolation", record.isolation + (f": {record.isolation_note}" if record.isolation_note else "")),
        ("Kernel", record.kernel or ""), ("Image" if record.userland == "image" else "Programs of", image),
        ("Python on the host", record.python), *_from(record),
    )  # fmt: skip
    return tuple((name, one_line(value)) for name, value in facts if value)


def _from(record: RunRecord) -> Iterator[tuple[str, str]]:
    """The commit that has the labs, and the job that ran them."""
    for checkout in record.checkouts:
        words = f"git commit {checkout.commit}"
        if len(record.checkouts) > 1 or len(checkout.labs) < len(record.labs):
            words += f" ({', '.join(checkout.labs)})"
        if checkout.changed is None:
            words += "; whether they are as in it is not known"
        elif checkout.changed:
            every = len(checkout.changed) == len(checkout.labs)
            words += f", and changes that are not in it{'' if every else ': ' + ', '.join(checkout.changed)}"
        yield "Labs", words
    if record.ci is not None:
        job = f"{record.ci.service}, {record.ci.job}"
        job += f", commit {record.ci.commit}" if record.ci.commit and not record.checkouts else ""
        yield "CI job", f"{job}: {record.ci.url}" if record.ci.url else job


def _without_folders(word: str) -> str:
    """Of a command line: runs that an older labrun recorded have paths of their machine in it."""
    option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{sign}{portable(value)}" if value.count("/") > 1 and value.startswith("/") else word


def _variants(run: Path, entry: LabEntry | None, slug: str) -> tuple[list[VariantRecord], list[str]]:
    found: list[VariantRecord] = []
    notes: list[str] = []
    for name in entry.variants if entry is not None else (EXPERIMENT,):
        folder = layout.variant_folder(run, slug, name)
        try:
            found.append(read_variant(folder, run))
        except EvidenceError as error:
            notes.append(f"{name}: {one_line(str(error)).replace(str(run), '.')}")
    return found, notes


def _stored(run: Path, entry: LabEntry | None, notes: list[str]) -> StoredLab | None:
    if entry is None:
        return None
    try:
        return read_lab(run, entry)
    except (LabError, EvidenceError) as error:
        notes.append(f"The lab cannot be read: {one_line(str(error)).replace(str(run), '.')}")
        return None


def _lab_view(
    run: Path,
    lab: LabResult,
    entry: LabEntry | None,
    variants: list[VariantRecord],
    notes: list[str],
    room: Room,
) -> LabView:
    notes = [] if lab.status == "skipped" else notes  # nothing ran, so nothing is missing
    model = _stored(run, entry, notes)
    places = Places(lab.id, variants, run)
    cited = cited_packets(lab.id, lab.hypotheses)
    changes = {control.variant: control.change for each in lab.hypotheses for control in each.controls}
    views = {v.plan.variant: _variant_view(run, lab.id, v, cited, changes.get(v.plan.variant), room) for v in variants}
    for view in views.values():
        places.show(view.captures)
    views = _beside(views)
    hypotheses = tuple(hypothesis_view(lab.id, each, places, lab.file) for each in lab.hypotheses)
    experiment = next((variant for variant in variants if variant.plan.variant == EXPERIMENT), None)
    standings = [each.standing for each in hypotheses] + (["inconclusive"] if lab.status == "error" else [])
    source, url = _source(model.source if model else None)
    files = [Link("lab.yaml", f"labs/{lab.id}/{layout.LAB}")]
    beside, cut = _files(lab.id, experiment)
    files += [Link(name, f"labs/{lab.id}/{name}/{layout.EVENTS}") for name in views]
    return LabView(
        slug=one_line(lab.id),
        anchor=anchors.lab(lab.id),
        title=shorten(one_line(model.title if model else lab.title), 300),
        question=shorten(one_line(model.question), 1000) if model else None,
        source=source,
        source_url=url,
        background=_prose(model.background if model else None),
        conclusion=_prose(model.conclusion if model else None),
        tags=model.tags if model else (),
        status=lab.status,
        problem=_problem(lab),
        notes=(*notes, *cut),
        topology=_topology(model, experiment),
        experiment=views.get(EXPERIMENT),
        controls=tuple(view for name, view in views.items() if name != EXPERIMENT),
        hypotheses=hypotheses,
        unjudged=tuple(one_line(name) for name in lab.unjudged),
        files=tuple(Link(one_line(link.text), anchors.file_href(link.href)) for link in files),
        standing=min(standings, key=_WORST.index, default="as-expected"),
        took_ms=sum(_ended_ms(variant) for variant in variants),
        beside=beside,
        source_file=lab_file(run, entry, model.hypotheses if model else (), room) if entry else None,
    )


def _files(slug: str, experiment: VariantRecord | None) -> tuple[tuple[Link, ...], tuple[str, ...]]:
    """What was beside the lab's file and is kept, and in words what is not."""
    files = [file for file in (experiment.plan.files or () if experiment else ()) if file.sha256 is not None]
    here = list(kept(files))
    cut = [file for file in files if file not in here]
    missing = [f"{one_line(file.path)} ({file.size} bytes, SHA-256 {file.sha256})" for file in cut[:_NAMED]]
    missing += [f"{len(cut) - _NAMED} more"] if len(cut) > _NAMED else []
    places = [(file.path, f"labs/{slug}/{layout.FILES}/{file.path}") for file in here[:_LINKED]]
    links = tuple(Link(one_line(path), anchors.file_href(place)) for path, place in places)
    return links, (f"Too large to be kept with the evidence: {', '.join(missing)}.",) if missing else ()


def _prose(text: str | None) -> str | None:
    return visible(text, "\n\t") if text else None


def _problem(lab: LabResult) -> str | None:
    if claims_nothing(lab):
        first, *failures = (lab.message or "ran, nothing was claimed").split("\n")
        return ". ".join((first.capitalize(), *failures)) + "."
    if lab.status == "done":
        return None
    word = "Skipped" if lab.status == "skipped" else "Broke"
    text = one_line(lab.message or lab.reason or "no reason was given")
    return f"{word}: {text}" + ("" if text.endswith((".", "!", "?")) else ".")


def _source(source: StoredSource | None) -> tuple[str | None, str | None]:
    """The words, and the address if it is on the web."""
    if source is None:
        return None, None
    words = ", ".join([source.title, *([source.author] if source.author else ()), *([str(source.year)] if source.year
                      else ())])  # fmt: skip
    url = source.url if source.url and source.url.startswith(("http://", "https://")) else None
    return shorten(one_line(words), 300), one_line(url).replace(" ", "%20") if url else None


def _topology(model: StoredLab | None, experiment: VariantRecord | None) -> TopologyView | None:
    if experiment is not None:
        return topology_of(experiment.plan.steps)
    return topology_of(model.topology_steps()) if model else None


def _beside(views: dict[str, VariantView]) -> dict[str, VariantView]:
    """Each control as it differs from the experiment: what is the same is not told twice, what is not is marked."""
    experiment = views.get(EXPERIMENT)
    if experiment is None:
        return views
    same = [step.command for step in experiment.topology_steps]
    known = {step.id: step for step in experiment.steps}

    def differs(view: VariantView) -> bool:
        made = [step.command for step in view.topology_steps]
        return made != same or any(step.trouble for step in view.topology_steps)

    return {
        name: view
        if view is experiment
        else replace(
            view, topology_differs=differs(view), steps=tuple(beside(step, known.get(step.id)) for step in view.steps)
        )
        for name, view in views.items()
    }


def beside(step: StepView, before: StepView | None) -> StepView:
    """A control's step as it differs from the experiment's."""
    if before is None:
        return replace(step, changed=True)
    changed = step.command != before.command
    like = None if changed or _told(step) != _told(before) else before.anchor
    note = step.note if step.note != before.note else None
    return replace(step, changed=changed, like=like, note=note)


def _traces(variant: VariantRecord) -> list[Traced]:
    found = []
    for record in variant.steps:
        if isinstance(record.step.action, Trace):
            try:
                events = variant.trace_events(record.step.id)
            except EvidenceError:
                continue
            found += [Traced(one_line(record.step.node or ""), events)] if events else []
    return found


def _told(step: StepView) -> str:
    """What a reader learns of the step, without what is never the same."""
    outputs = [plain_text((*out.lines, *out.tail)) for out in step.outputs]
    facts = [line for node in step.facts for line in (node.node, *node.lines)]
    changed = [f"{change.sign} {change.node} {change.text}" for change in step.changes]
    return named("\n".join((*outputs, *facts, *changed, str(step.ended), str(step.trouble), str(step.remark))))


def _looked_at(journeys: Sequence[Journey]) -> Sequence[Journey]:
    """Of a control the packets of those steps that a verdict looks at: the others go as in the experiment, or matter to
    nobody, and the tables have them."""
    moments = {journey.first.moment for journey in journeys if journey.cited}
    return [journey for journey in journeys if journey.first.moment in moments] if moments else journeys


def _variant_view(
    run: Path,
    slug: str,
    variant: VariantRecord,
    cited: dict[str, dict[int, tuple[Link, ...]]],
    change: str | None,
    room: Room,
) -> VariantView:
    folder = variant.folder.relative_to(run).as_posix()
    course = Course()
    steps = [(record.step.phase, step_view(slug, variant, record, run, room, course)) for record in variant.steps]
    read: list[CaptureRead] = []
    for record in variant.steps:
        path = f"{folder}/{record.capture.path}" if record.capture else f"{folder}/captures/{record.step.id}.pcapng"
        capture = capture_view(slug, variant, record, run, cited.get(path, {}), room)
        read += [capture] if capture is not None else []
    is_control = variant.plan.variant != EXPERIMENT
    room.next_variant({anchor: packet for capture in read for anchor, packet in capture.packets.items()}, is_control)
    sightings = [sighting for capture in read for sighting in capture.sightings]
    every = marked(journeys_of(sightings, wiring_of(variant)), _traces(variant))
    watched = [Place(c.view.node, name) for c in read for name in c.view.interfaces]
    ladder = ladder_of(_looked_at(every) if is_control else every, watched, len(every), nothing_seen(read))
    drawn = frozenset(journey.name for journey in (ladder.journeys if ladder else ()))
    captures = [with_journeys(capture, every, drawn, slug, variant.plan.variant, room) for capture in read]
    faults = tuple(
        f"{one_line(fault.code)}: {one_line(fault.message)}" + (f" (step {one_line(fault.step)})" if fault.step else "")
        for fault in variant.faults
    )
    return VariantView(
        id=variant.plan.variant,
        anchor=anchors.variant(slug, variant.plan.variant),
        change=shorten(one_line(change), 300) if change else None,
        topology_steps=tuple(view for phase, view in steps if phase == "topology"),
        topology_differs=True,
        steps=tuple(view for phase, view in steps if phase == "lab"),
        captures=tuple(captures),
        ladder=ladder,
        faults=faults,
        partial=None
        if variant.complete
        else "The sandbox ended before everything was handed over: this is what arrived until then.",
    )
