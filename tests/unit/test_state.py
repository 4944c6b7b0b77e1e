"""Kernel state survives its way to the host: encoded, decoded, equal; and nothing else is accepted."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.protocol import state
from labrun.protocol.actions import ALL_PARTS
from labrun.protocol.codec import ProtocolError, dumps, loads
from labrun.protocol.state import KernelState, LinkState, NftState, NodeState, SocketState

LO = LinkState(
    index=1, name="lo", mtu=65536, up=True, operstate="UNKNOWN", flags=("LOOPBACK", "UP"), link_type="loopback"
)


def test_not_asked_empty_and_unavailable_stay_apart() -> None:
    node = NodeState(links=(LO,), routes=(), nft=None, unavailable={"nft": "nft is not installed"})
    back = loads(KernelState, dumps(KernelState({"a": node}))).nodes["a"]
    assert back == node
    assert back.links == (LO,) and back.routes == () and back.sockets is None
    assert back.nft is None
    assert loads(NodeState, dumps(NodeState(nft=NftState()))).nft == NftState()


@given(st.dictionaries(st.text(), st.from_type(NodeState), max_size=2))
def test_any_state_survives(nodes: dict[str, NodeState]) -> None:
    before = KernelState(nodes)
    text = dumps(before)
    assert loads(KernelState, text) == before
    assert "\n" not in text


def test_a_node_has_a_field_for_every_part() -> None:
    fields = [field.name for field in dataclasses.fields(NodeState)]
    assert fields == [*ALL_PARTS, "unavailable"]


def test_volatile_fields_exist() -> None:
    for cls, names in state.VOLATILE.items():
        assert set(names) <= {field.name for field in dataclasses.fields(getattr(state, cls))}


def test_no_field_is_called_kind() -> None:
    """The codec keeps that key for the members of a union."""
    classes = [cls for cls in vars(state).values() if isinstance(cls, type) and dataclasses.is_dataclass(cls)]
    assert len(classes) > 10
    for cls in classes:
        assert "kind" not in typing.get_type_hints(cls)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mtu": "1500"}, r"\$\.mtu: int is needed, got str"),
        ({"up": 1}, r"\$\.up: bool is needed"),
        ({"colour": "red"}, "unknown key 'colour' for LinkState"),
        ({"flags": "UP"}, r"\$\.flags: a list is needed"),
    ],
)
def test_what_is_no_link_is_refused(change: dict[str, Any], message: str) -> None:
    text = json.dumps({**json.loads(dumps(LO)), **change})
    with pytest.raises(ProtocolError, match=message):
        loads(LinkState, text)


def test_a_protocol_that_no_socket_has_is_refused() -> None:
    with pytest.raises(ProtocolError, match="none of"):
        loads(SocketState, '{"protocol": "sctp", "family": "inet", "state": "LISTEN"}')
