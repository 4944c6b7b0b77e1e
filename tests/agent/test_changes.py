"""What rtnetlink reports of real namespaces: whether something changed, and whether a look can have missed a state."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.agent.changes import Changes, told
from labrun.agent.nodes import Nodes
from support.netns import Netns


@pytest.fixture
def ns() -> Iterator[Netns]:
    with Netns() as made:
        made.sh(
            "ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip link set eth0 up; ip link set lo up"
        )
        made.until("ip link show eth0 | grep -q 'state UP'")
        made.sh("ip addr add 10.0.0.1/24 dev eth0; ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud stale")
        yield made


def watching(ns: Netns) -> Changes:
    nodes: Any = SimpleNamespace(inside=lambda _: ns.enter())
    return Changes(cast("Nodes", nodes), ("a",))


@pytest.mark.parametrize(
    ("batch", "unseen"),
    [
        ("link set eth0 mtu 1400", ()),
        ("link set eth0 mtu 1400\nlink set eth0 mtu 1500", ("a.links",)),
        ("link set eth0 address 02:00:00:00:00:09\nlink set eth1 mtu 1400", ()),
        ("route add 10.9.0.0/16 dev eth0", ()),
        ("route add 10.9.0.0/16 dev eth0\nroute add 10.8.0.0/16 dev eth0", ()),
        ("route add 10.9.0.0/16 dev eth0\nroute del 10.9.0.0/16 dev eth0", ("a.routes",)),
        ("rule add priority 7 lookup 9\nrule del priority 7 lookup 9", ("a.rules",)),
        ("neigh replace 10.0.0.2 lladdr 02:00:00:00:00:03 dev eth0 nud stale", ()),
        (
            "neigh del 10.0.0.2 dev eth0\nneigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud stale",
            ("a.neighbours",),
        ),
        ("addr add 10.0.0.7/24 dev eth0", ()),
        ("addr add 10.0.0.7/32 dev eth0\naddr del 10.0.0.7/32 dev eth0", ("a.addresses", "a.routes")),
    ],
)
def test_a_look_misses_what_changed_twice(ns: Netns, batch: str, unseen: tuple[str, ...]) -> None:
    with watching(ns) as changes:
        assert (changes.wait(0.0), changes.unseen()) == (False, ())
        ns.sh(f"ip -batch - <<X\n{batch}\nX")
        assert changes.wait(5.0)
        assert changes.unseen() == unseen
        assert (changes.wait(0.0), changes.unseen()) == (False, ())


def test_what_comes_during_a_look_is_looked_at_again(ns: Netns) -> None:
    with watching(ns) as changes:
        assert not changes.wait(0.0)
        ns.sh("ip link set eth0 mtu 1400")
        assert changes.unseen() == ()
        assert changes.wait(0.0), "the look may have come before it"
        ns.sh("ip link set eth0 mtu 1500")
        assert changes.unseen() == ("a.links",), "and this one after the next change"


@given(st.binary(max_size=200))
def test_no_report_breaks_the_reader(data: bytes) -> None:
    assert all(kind for kind, _, _ in told(data))
