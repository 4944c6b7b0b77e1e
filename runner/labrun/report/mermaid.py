"""Topology and ladder as Mermaid, which GitHub and GitLab draw. Only for Markdown: a page has its own pictures.

Mermaid gives up on more than 50,000 characters, and its grammar has traps: `;` ends a statement, `#` begins an entity,
`end` closes a block, `%%` begins a comment or a directive. No text from a run gets into the source but as letters,
digits and a few harmless signs; everything else becomes its entity code.
"""

from __future__ import annotations

from labrun.report.ladder import Ladder, Nothing
from labrun.report.topology import TopologyView
from labrun.report.visible import shorten

MAX_MESSAGES = 60
MAX_CHARS = 50_000
_MAX_NODES = 60
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ./_+=,?!→-µ")


def words(text: str, limit: int = 80) -> str:
    """Text that means nothing to Mermaid, nor to the HTML that it makes of it."""
    safe = "".join(char if char in _PLAIN or char.isalnum() else f"#{ord(char)};" for char in shorten(text, limit))
    # A word that is a keyword at the wrong place, and dashes that are an arrow.
    for trap in ("end", "End", "END", "--", "->", "=="):
        safe = safe.replace(trap, f"#{ord(trap[0])};{trap[1:]}")
    return safe or " "


def topology(view: TopologyView) -> str | None:
    """A flowchart: a box a node with its interfaces, a line a cable. None where it would be too much to be read."""
    if not 0 < len(view.nodes) <= _MAX_NODES:
        return None
    lines = ["flowchart LR"]
    names = {node.name: f"n{index}" for index, node in enumerate(view.nodes)}
    for node in view.nodes:
        parts = [f"<b>{words(node.name)}</b>"]
        for interface in node.interfaces:
            parts.append(words(" ".join((interface.name, *interface.addresses[:3]))))
        lines.append(f'  {names[node.name]}["{"<br/>".join(parts)}"]')
    for link in view.links:
        (one, left), (other, right) = link.ends
        if one in names and other in names:
            lines.append(f'  {names[one]} ---|"{words(left, 20)} to {words(right, 20)}"| {names[other]}')
    return _capped(lines)


def ladder(view: Ladder) -> str | None:
    """A sequence diagram: a participant an interface, a message for each stretch that a packet went."""
    lines = ["sequenceDiagram"]
    names = {place: f"i{index}" for index, place in enumerate(view.columns)}
    for place, name in names.items():
        lines.append(f"  participant {name} as {words(f'{place.node}.{place.interface}', 40)}")
    messages = 0
    moment = None
    for journey in view.in_order():
        if isinstance(journey, Nothing):
            lines.append(f"  Note over {names[view.columns[0]]}: {words(journey.text)}")
            moment = None
            continue
        if moment != journey.first.moment:
            moment = journey.first.moment
            lines.append(f"  Note over {names[view.columns[0]]}: {words(moment)}")
        text = words(f"{journey.name} {journey.first.protocol} {journey.first.info}")
        stops = journey.sightings
        by_anchor = {stop.anchor: stop for stop in stops}
        pairs = [(by_anchor[stop.after], stop) for stop in stops if stop.after in by_anchor] or [(stops[0], stops[0])]
        if messages + len(pairs) > MAX_MESSAGES:
            lines.append(f"  Note over {names[view.columns[0]]}: more packets are in the HTML report")
            break
        for index, (one, other) in enumerate(pairs):
            arrow = "-->>" if other.unjoined else "->>"
            lines.append(f"  {names[one.place]}{arrow}{names[other.place]}: {text if index == 0 else journey.name}")
        for mark in journey.marks:
            lines.append(f"  Note over {names[stops[-1].place]}: {words(mark.text)}")
        messages += len(pairs)
    return _capped(lines)


def _capped(lines: list[str]) -> str | None:
    text = "\n".join(lines)
    return text if len(text) < MAX_CHARS else None
