"""A topology of 50 nodes is still a picture: no wider than a page, no two cards in one place."""

from __future__ import annotations

from itertools import combinations

import pytest
from labrun.report.drawing import draw
from labrun.report.topology import InterfaceView, LinkView, NodeView, TopologyView


def star(count: int) -> TopologyView:
    ports = tuple(InterfaceView(f"p{n}", "veth", (), "br0", True) for n in range(count))
    hub = NodeView("hub", (InterfaceView("br0", "bridge", ("10.0.0.1/24",), None, True), *ports))
    leaves = [NodeView(f"n{n}", (InterfaceView("eth0", "veth", (f"10.0.0.{n + 2}/24",)),)) for n in range(count)]
    return TopologyView((hub, *leaves), tuple(LinkView(((f"n{n}", "eth0"), ("hub", f"p{n}"))) for n in range(count)))


def chain(count: int) -> TopologyView:
    nodes = [NodeView(f"r{n}", (InterfaceView("left", "veth", (f"10.{n}.0.2/24",)), InterfaceView("right", "veth")))
             for n in range(count)]  # fmt: skip
    links = [LinkView(((f"r{n}", "right"), (f"r{n + 1}", "left"))) for n in range(count - 1)]
    return TopologyView(tuple(nodes), tuple(links))


@pytest.mark.parametrize("topology", [star(49), chain(50), star(1), chain(2)], ids=["star", "chain", "pair", "two"])
def test_cards_have_their_own_places(topology: TopologyView) -> None:
    drawing = draw(topology)
    assert len(drawing.cards) == len(topology.nodes) and len(drawing.curves) == len(topology.links)
    assert drawing.width <= 1500 and drawing.height <= 2500
    for one, other in combinations(drawing.cards, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y, (one.name, other.name)
