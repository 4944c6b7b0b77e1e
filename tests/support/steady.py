"""A lab's report without what differs between two runs in more than a word; `labrun.report.volatile` names the words.

Each rule has its reason. What no rule names must be the same in every run, on every engine, or something has changed:

- The segments of a TCP connection: two programs race, and the kernel acknowledges when it likes. A direction of a
  connection is one row, with its bytes in all.
- A question that nobody answers (ARP): a timer repeats it until the sandbox ends. It is one row, where it first was.
- Rows of different interfaces: a router takes in the next packet before or after it has sent the one before. They are
  told interface by interface; those of one interface stay in their order.
- Steps in whose time nothing was seen: a packet at the end of one step may come at the beginning of the next.
- A listening socket that goes away: a server that has served its one client ends when the scheduler lets it, in this
  step's time or the next one's.
"""

from __future__ import annotations

import re
from dataclasses import replace

from labrun.report.build import beside
from labrun.report.kernel import Change
from labrun.report.markdown import lab_markdown
from labrun.report.view import (
    CaptureView,
    Cell,
    HypothesisView,
    LabView,
    Link,
    PacketGroup,
    PacketRow,
    StepView,
    VariantView,
)
from labrun.report.volatile import named

Moved = dict[str, tuple[int, str, bool]]
"""#anchor of a row -> its number and #anchor now, and whether it is one of several."""


def steady(lab: LabView) -> str:
    """Its Markdown, the same bytes in every run."""
    moved: Moved = {}
    experiment = _variant(lab.experiment, moved) if lab.experiment else None
    return named(
        lab_markdown(
            replace(
                lab,
                experiment=experiment,
                controls=tuple(_beside(_variant(control, moved), experiment) for control in lab.controls),
                hypotheses=tuple(_hypothesis(each, moved) for each in lab.hypotheses),
            )
        )
    )


def _variant(variant: VariantView, moved: Moved) -> VariantView:
    raced = any(row.protocol == "TCP" for capture in variant.captures for row in capture.rows())
    return replace(
        variant,
        steps=tuple(_step(step) for step in variant.steps),
        captures=tuple(_capture(capture, moved, raced) for capture in variant.captures),
        ladder=None if raced or variant.ladder is None else replace(variant.ladder, nothing=()),
    )


def _beside(control: VariantView, experiment: VariantView | None) -> VariantView:
    """What is "as in the experiment" is so by what is told of both here."""
    known = {step.id: step for step in experiment.steps} if experiment else {}
    return replace(control, steps=tuple(beside(step, known.get(step.id)) for step in control.steps))


def _step(step: StepView) -> StepView:
    kept = tuple(change for change in step.changes if not _is_a_server_ending(change))
    return replace(step, changes=kept)


def _is_a_server_ending(change: Change) -> bool:
    """Its listening socket is gone, or is still there and its process is not."""
    return change.text.startswith("socket tcp LISTEN") and (change.sign == "-" or not change.text.endswith(")"))


def _capture(capture: CaptureView, moved: Moved, raced: bool) -> CaptureView:
    first: dict[tuple[str, ...], tuple[str, PacketRow]] = {}
    same: dict[tuple[str, ...], list[PacketRow]] = {}
    for group in capture.groups:
        for row in group.rows:
            key = _key(group.title, row)
            first.setdefault(key, (group.title, row))
            same.setdefault(key, []).append(row)
    titles = [group.title for group in capture.groups]
    order = sorted(first, key=lambda key: (titles.index(first[key][0]), first[key][1].interface, first[key][1].number))
    groups: dict[str, list[PacketRow]] = {}
    for number, key in enumerate(order, start=1):
        title, row = first[key]
        anchor = f"{capture.anchor}-{number}"
        for each in same[key]:
            moved[f"#{each.anchor}"] = number, f"#{anchor}", len(same[key]) > 1
        if row.protocol == "TCP":
            length = sum(int(each.info.rpartition("len ")[2]) for each in same[key])
            row = replace(row, info=f"a connection's segments, {length} bytes", length=length)
        row = replace(row, number=number, anchor=anchor, journey=None if raced else row.journey)
        groups.setdefault(title, []).append(row)
    told = tuple(PacketGroup(title, tuple(rows)) for title, rows in groups.items())
    fewer = capture.packets is not None and len(order) < sum(map(len, same.values()))
    return replace(capture, groups=told, packets=len(order) if fewer else capture.packets)


def _key(title: str, row: PacketRow) -> tuple[str, ...]:
    way = (row.interface, row.direction or "", row.source, row.destination)
    if row.protocol == "TCP":
        return ("tcp", title, *way)
    if row.protocol == "ARP" and row.info.startswith("who has"):
        return ("arp", row.info, *way)
    return (str(row.number),)


def _hypothesis(hypothesis: HypothesisView, moved: Moved) -> HypothesisView:
    rows = tuple(
        replace(row, cells=tuple(_cell(cell, moved) if cell else None for cell in row.cells)) for row in hypothesis.rows
    )
    return replace(hypothesis, rows=rows)


def _cell(cell: Cell, moved: Moved) -> Cell:
    links: dict[str, Link] = {}
    raced = False
    for link in cell.links:
        number, href, several = moved.get(link.href, (0, link.href, False))
        raced = raced or several
        text = re.sub(r"\d+$", str(number), link.text) if number else re.sub(r"^and \d+ more", "and more", link.text)
        links.setdefault(href, replace(link, text=text, href=href))
    several_links = tuple(links.values())
    if raced:  # how many there were of them, and which one was seen last, is told nowhere
        several_links = tuple(link for link in several_links if not link.text.startswith("and more"))
    counted = raced and cell.actual is not None and cell.actual.isdigit() and int(cell.actual) > 3
    return replace(cell, links=several_links, actual="<n>" if counted else cell.actual)
