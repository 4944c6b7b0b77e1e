"""Where each part of a topology's picture goes: cards for nodes, rows for interfaces, curves for links.

Nodes stand in columns by their distance from one end, so that a path reads from left to right; the nodes around a
hub stand on both sides of it. Sizes are in CSS pixels of the picture. No colours here: those are the style sheet's.
"""

from __future__ import annotations

from labrun.protocol.record import dataclass
from labrun.report.topology import InterfaceView, LinkView, NodeView, TopologyView
from labrun.report.visible import shorten

_CHAR = 7.3  # advance of the 12 px monospace text
_HEAD, _ROW, _PAD = 32, 22, 14
_COLUMN_GAP, _ROW_GAP, _MARGIN = 84, 26, 2
_MAX_CHARS = 44
_PAGE = 1400  # wider pictures are folded
_FEW = 4  # nodes; in a larger picture an lo without an address of its own is left out


@dataclass(frozen=True, slots=True)
class Row:
    """An interface's line in its card; ``y`` is the text's middle."""

    y: float
    indent: int
    name: str
    detail: str
    kind: str
    up: bool
    new: bool


@dataclass(frozen=True, slots=True)
class Card:
    x: float
    y: float
    width: float
    height: float
    name: str
    made_by: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    path: str
    ends: tuple[tuple[float, float], tuple[float, float]]
    text: str
    text_at: tuple[float, float]
    new: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    cards: tuple[Card, ...]
    curves: tuple[Curve, ...]
    summary: str


def draw(topology: TopologyView) -> Drawing:
    cards: dict[str, Card] = {}
    bottom = float(_MARGIN)
    right = 0.0
    few = len(topology.nodes) <= _FEW
    blank = {node.name: _card(node, few) for node in topology.nodes}
    for columns in _folded(_blocks(topology), blank):
        tallest = max(sum(blank[name].height + _ROW_GAP for name in column) - _ROW_GAP for column in columns)
        x = float(_MARGIN)
        for column in columns:
            width = max(blank[name].width for name in column)
            y = bottom + round((tallest - sum(blank[name].height + _ROW_GAP for name in column) + _ROW_GAP) / 2)
            for name in column:
                cards[name] = _placed(blank[name], x, y, width)
                y += blank[name].height + _ROW_GAP
            x += width + _COLUMN_GAP
        right = max(right, x - _COLUMN_GAP)
        bottom += tallest + _ROW_GAP
    curves = tuple(curve for link in topology.links if (curve := _curve(link, cards)) is not None)
    bulge = 46 if any(curve.text_at[0] > right for curve in curves) else 0
    return Drawing(
        width=round(right + _MARGIN + bulge),
        height=round(bottom - _ROW_GAP + _MARGIN),
        cards=tuple(cards[node.name] for node in topology.nodes),
        curves=curves,
        summary=_summary(topology),
    )


def _folded(blocks: list[list[list[str]]], blank: dict[str, Card]) -> list[list[list[str]]]:
    """A part that is wider than a page goes on in the next row, back and forth, so that neighbours stay neighbours."""
    folded: list[list[list[str]]] = []
    for columns in blocks:
        rows: list[list[list[str]]] = [[]]
        width = 0.0
        for column in columns:
            wide = max(blank[name].width for name in column) + _COLUMN_GAP
            if rows[-1] and width + wide > _PAGE:
                rows.append([])
                width = 0.0
            rows[-1].append(column)
            width += wide
        folded += [row if index % 2 == 0 else row[::-1] for index, row in enumerate(rows)]
    return folded


def _card(node: NodeView, few: bool) -> Card:
    """At the origin, as narrow as its text allows."""
    shown = [i for i in node.interfaces if few or i.name != "lo" or i.addresses or len(node.interfaces) == 1]
    rows: list[Row] = []
    masters = {interface.name for interface in shown}
    for interface in shown:
        indent = 1 if interface.master in masters else 0
        first, *more = interface.addresses or ("",)
        detail = first or _detail(interface)
        rows.append(Row(0, indent, interface.name, detail, interface.kind, interface.up, interface.made_by is not None))
        rows += [Row(0, indent, "", address, "", True, False) for address in more]
    made_by = node.made_by
    longest = max((_chars(row) for row in rows), default=0)
    heading = len(node.name) + (len(f" made by {made_by}") if made_by else 0)
    width = round(max(150.0, longest * _CHAR + 2 * _PAD + 12, heading * 8.2 + 2 * _PAD))
    placed = tuple(
        Row(_HEAD + _ROW * index + 12, row.indent, row.name, shorten(row.detail, _MAX_CHARS), row.kind, row.up, row.new)
        for index, row in enumerate(rows)
    )
    return Card(0, 0, width, _HEAD + _ROW * len(rows) + 8, node.name, made_by, placed)


def _chars(row: Row) -> int:
    return len(row.name) + len(row.kind) + 1 + min(len(row.detail), _MAX_CHARS) + 3 + 2 * row.indent


def _detail(interface: InterfaceView) -> str:
    if not interface.up:
        return "down"
    return ""


def _placed(card: Card, x: float, y: float, width: float) -> Card:
    rows = tuple(Row(y + r.y, r.indent, r.name, r.detail, r.kind, r.up, r.new) for r in card.rows)
    return Card(x, y, width, card.height, card.name, card.made_by, rows)


def _blocks(topology: TopologyView) -> list[list[list[str]]]:
    """Each connected part as columns of node names; nodes without links share the last block, side by side."""
    around: dict[str, list[str]] = {node.name: [] for node in topology.nodes}
    for link in topology.links:
        one, other = link.ends[0][0], link.ends[1][0]
        if one != other and other not in around[one]:
            around[one].append(other)
            around[other].append(one)
    left = dict.fromkeys(around)
    blocks: list[list[list[str]]] = []
    loners: list[list[str]] = []
    while left:
        start = next(iter(left))
        part = [name for column in _layers(start, around) for name in column]
        part.sort(key=list(around).index)
        for name in part:
            del left[name]
        if len(part) == 1:
            loners.append(part)
        else:
            blocks.append(_columns(part, around))
    return blocks + [loners[at : at + 4] for at in range(0, len(loners), 4)]


def _columns(part: list[str], around: dict[str, list[str]]) -> list[list[str]]:
    hub = max(part, key=lambda name: len(around[name]))
    leaves = [name for name in part if name != hub]
    if len(around[hub]) == len(leaves) > 1 and all(len(around[name]) == 1 for name in leaves):
        half = (len(leaves) + 1) // 2
        return [leaves[:half], [hub], leaves[half:]]
    # The end from which the picture is the least tall, then the least wide, then as declared.
    return min((_layers(name, around) for name in part), key=lambda c: (max(len(column) for column in c), -len(c)))


def _layers(start: str, around: dict[str, list[str]]) -> list[list[str]]:
    seen = {start}
    layers = [[start]]
    while True:
        following: list[str] = []
        for name in layers[-1]:
            for other in around[name]:
                if other not in seen:
                    seen.add(other)
                    following.append(other)
        if not following:
            return layers
        layers.append(following)


def _curve(link: LinkView, cards: dict[str, Card]) -> Curve | None:
    found = []
    for node, interface in link.ends:
        card = cards[node]
        row = next((row for row in card.rows if row.name == interface), None)
        if row is None:
            return None
        found.append((card, row.y))
    (a, ya), (b, yb) = found
    if a.x > b.x:
        a, ya, b, yb = b, yb, a, ya
    xa = a.x + a.width
    if b.x >= a.x + a.width:
        xb, bend = b.x, (b.x - xa) / 2
        path = f"M{xa:g} {ya:g}C{xa + bend:g} {ya:g} {xb - bend:g} {yb:g} {xb:g} {yb:g}"
        middle = ((xa + xb) / 2, (ya + yb) / 2 - 6)
    else:  # in one column, or in one node: out on the right and back
        xb, reach = b.x + b.width, 40
        path = f"M{xa:g} {ya:g}C{xa + reach:g} {ya:g} {xb + reach:g} {yb:g} {xb:g} {yb:g}"
        middle = (max(xa, xb) + reach, (ya + yb) / 2)
    text = f"mtu {link.mtu}" if link.mtu else ""
    return Curve(path, ((xa, ya), (xb, yb)), text, middle, link.made_by is not None)


def _summary(topology: TopologyView) -> str:
    """The picture in words, for those who cannot see it."""
    nodes = "; ".join(
        f"{node.name} with " + (", ".join(" ".join((i.name, *i.addresses)) for i in node.interfaces) or "no interfaces")
        for node in topology.nodes
    )
    links = "; ".join(" to ".join(f"{node}.{interface}" for node, interface in link.ends) for link in topology.links)
    return f"Nodes: {nodes}." + (f" Links: {links}." if links else "")
