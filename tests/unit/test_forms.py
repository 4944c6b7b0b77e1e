"""Values that can never be equal, and checks that hold of everything or nothing: errors of the lab, with what is right."""

from __future__ import annotations

import pytest
from labrun.agent import names
from labrun.agent.incoming import OPERSTATES
from labrun.agent.link_state import ADDRESS_FLAGS, LINK_FLAGS, NEIGHBOUR_FLAGS
from labrun.agent.route_state import FEATURES, METRICS, PREFERENCES, ROUTE_FLAGS, RULE_FLAGS
from labrun.agent.socket_state import STATES
from labrun.lab.check.predictions import OBJECTS
from labrun.lab.check.values import errno_misfit, misfit, only_one_way
from labrun.protocol import words
from unit.test_named import problems


@pytest.mark.parametrize(
    ("kind", "field", "value", "said"),
    [
        ("links", "address", "02:AA:bb:cc:dd:ee", "is written 02:aa:bb:cc:dd:ee"),
        ("links", "address", "eth0", "not a MAC address"),
        ("links", "operstate", "up", "It is written UP."),
        ("addresses", "address", "10.0.0.1/24", "this is the address alone: 10.0.0.1"),
        ("addresses", "address", "fd00:0::1", "is written fd00::1"),
        ("addresses", "family", "ipv4", "Known: inet, inet6."),
        ("addresses", "scope", "Link", "It is written link."),
        ("routes", "dst", "0.0.0.0/0", "is written default"),
        ("routes", "dst", "::/0", "is written default"),
        ("routes", "dst", "10.0.0.1/32", "is written 10.0.0.1"),
        ("routes", "dst", "10.0.0.1/24", "is written 10.0.0.0/24"),
        ("routes", "dst", "everything", "neither default, an address, nor a prefix"),
        ("routes", "type", "blackhol", "Did you mean 'blackhole'?"),
        ("rules", "source", "0.0.0.0/0", "is written all"),
        ("rules", "action", "table", "Known: "),
        ("neighbours", "state", "reachable", "It is written REACHABLE."),
        ("sockets", "state", "LISTENING", "Did you mean 'LISTEN'?"),
        ("sockets", "protocol", "TCP", "It is written tcp."),
        ("nft", "hook", "INPUT", "It is written input."),
        ("trace", "protocol", "ICMP", "It is written icmp."),
        ("trace", "destination", "10.0.0.2/32", "this is the address alone"),
        ("trace", "protocol", "58", "'58' is written icmpv6"),
        ("trace", "protocol", "047", "is written 47"),
        ("trace", "protocol", "256", "the numbers are 0 to 255"),
        ("trace", "protocol", "ip", "can never be equal"),
        ("rules", "ipproto", "icmpv6", "can never be equal"),
        ("rules", "ipproto", "6", "is written tcp"),
        ("routes", "source", "::/0", "is written all"),
        ("routes", "table", "254", "'254' is written main"),
        ("sockets", "process", "systemd-resolved", "has 16 bytes, and the kernel keeps 15 of a name at most"),
        ("links", "name", "a-veth-that-is-long", "has 19 bytes"),
        ("rules", "table", "mine", "can never be equal"),
        ("routes", "protocol", "2", "'2' is written kernel"),
        ("routes", "protocol", "KERNEL", "It is written kernel."),
        ("routes", "scope", "254", "'254' is written host"),
    ],
)
def test_a_value_that_is_written_otherwise(kind: str, field: str, value: str, said: str) -> None:
    told = misfit(kind, field, value)
    assert told is not None and told.startswith(f"{field}: ") and said in told


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("links", "address", "02:aa:bb:cc:dd:ee"),
        ("links", "address", "10.0.0.1"),  # of a tunnel
        ("links", "name", "Whatever"),
        ("routes", "dst", "default"),
        ("routes", "dst", "10.0.0.0/8"),
        ("routes", "dst", "fd00::1"),
        ("rules", "to", "all"),
        ("sockets", "state", "TIME_WAIT"),
        ("trace", "protocol", "47"),
        ("rules", "ipproto", "103"),
    ],
)
def test_a_value_that_can_be(kind: str, field: str, value: str) -> None:
    assert misfit(kind, field, value) is None


@pytest.mark.parametrize(
    ("kind", "field", "words"),
    [
        ("links", "operstate", OPERSTATES),
        ("addresses", "scope", words.SCOPES.values()),
        ("routes", "type", names.ROUTE_TYPES.values()),
        ("rules", "action", names.RULE_ACTIONS.values()),
        ("routes", "table", [*words.TABLES.values(), "100"]),
        ("rules", "protocol", [*words.PROTOCOLS.values(), "99"]),
        ("routes", "scope", ["42"]),
        ("neighbours", "state", names.NEIGHBOUR_STATES.values()),
        ("routes", "pref", PREFERENCES.values()),
        ("rules", "ipproto", words.IP_PROTOCOLS.values()),
        ("sockets", "state", [*STATES.values(), "UNCONNECTED"]),
    ],
)
def test_every_word_that_the_agent_writes_is_known(kind: str, field: str, words: list[str]) -> None:
    assert [word for word in words if misfit(kind, field, word)] == []
    assert [word for word in words if only_one_way(kind, field, "contains", word)] == []
    assert [word for word in words if only_one_way(kind, field, "matches", f"^{word}$")] == []


@pytest.mark.parametrize(
    ("kind", "field", "words"),
    [
        ("links", "flags", [*(name for _, name in LINK_FLAGS), "NO-CARRIER"]),
        ("addresses", "flags", [*(name for _, name in ADDRESS_FLAGS), "secondary", "temporary"]),
        ("routes", "flags", [name for _, name in ROUTE_FLAGS]),
        ("routes", "features", [name for _, name in FEATURES]),
        ("routes", "locked", [name for _, name in METRICS]),
        ("rules", "flags", [name for _, name in RULE_FLAGS]),
        ("neighbours", "flags", [name for _, name in NEIGHBOUR_FLAGS]),
    ],
)
def test_every_word_of_a_list_is_known(kind: str, field: str, words: list[str]) -> None:
    assert [word for word in words if only_one_way(kind, field, "lacks", word)] == []
    assert only_one_way(kind, field, "lacks", "Up") is not None


@pytest.mark.parametrize(
    ("kind", "field", "operator", "expected", "said"),
    [
        ("links", "flags", "lacks", "up", "'up' is never one of them. It is written UP."),
        ("routes", "nexthops", "lacks", "10.0.0.1", "nexthops is a list of objects"),
        ("sockets", "state", "contains", "listen", "no state contains 'listen': they are LISTEN, ESTABLISHED"),
        ("sockets", "state", "lacks", "LISTENING", "no state contains 'LISTENING'"),
        ("neighbours", "state", "matches", "^reach", "no state matches '^reach'"),
        ("routes", "family", "contains", "inet", "every family contains 'inet'"),
        ("sockets", "port", "equals", 70000, "port is never 70000"),
        ("sockets", "port", "one_of", (80, -1), "port is never -1"),
        ("sockets", "port", "gt", 65535, "port is never gt 65535"),
        ("links", "mtu", "lt", 0, "mtu is never lt 0"),
        ("links", "mtu", "le", -1, "mtu is never le -1"),
        ("trace", "ttl", "ge", 256, "ttl is never ge 256"),
        ("links", "index", "equals", 0, "index is never 0"),
        ("addresses", "prefixlen", "equals", 129, "prefixlen is never 129"),
    ],
)
def test_a_comparison_that_comes_out_one_way(kind: str, field: str, operator: str, expected: object, said: str) -> None:
    told = only_one_way(kind, field, operator, expected)
    assert told is not None and said in told


@pytest.mark.parametrize(
    ("kind", "field", "operator", "expected"),
    [
        ("sockets", "state", "contains", "WAIT"),
        ("sockets", "state", "matches", "^(LISTEN|ESTABLISHED)$"),
        ("links", "name", "lacks", "veth"),
        ("links", "up", "equals", True),
        ("links", "mtu", "gt", 1_000_000),
        ("routes", "metric", "ge", 0),  # has one
        ("routes", "metric", "equals", 0),  # of IPv6
        ("sockets", "port", "le", 65535),  # has one
        ("routes", "pref", "matches", "."),  # has one
        ("sockets", "port", "lt", 1),  # of raw sockets: IPPROTO_IP
        ("routes", "table", "contains", "1"),
        ("rules", "inverted", "equals", False),
        ("nft", "packets", "equals", 0),
    ],
)
def test_a_comparison_that_may_come_out_either_way(kind: str, field: str, operator: str, expected: object) -> None:
    assert only_one_way(kind, field, operator, expected) is None


def test_the_forms_are_of_fields_that_there_are() -> None:
    from labrun.lab.check.predictions import _TRACED, state_fields
    from labrun.lab.check.values import _FORMS

    for kind, field in _FORMS:
        assert field in (_TRACED if kind == "trace" else state_fields(kind)), (kind, field)
    assert OBJECTS.keys() >= {kind for kind, _ in _FORMS if kind != "trace"}


@pytest.mark.parametrize(("name", "fine"), [("EEXIST", True), ("none", True), ("EOPNOTSUPP", True), ("EEXISTS", False)])
def test_names_of_errors(name: str, fine: bool) -> None:
    assert (errno_misfit(name) is None) is fine


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        ("{links: {at: before, in: router, where: {operstate: up}}, count: 0}", "It is written UP."),
        (
            "{routes: {at: before, in: router, where: {dst: {one_of: [default, 0.0.0.0/0]}}}, count: 0}",
            "written default",
        ),
        ("{changes: {from: before, to: both, of: links, in: router, where: {operstate: up}}, added: 0}", "written UP"),
        ("{trace: {at: hooks, where: {protocol: TCP}}, count: 0}", "It is written tcp."),
        (
            "{links: {at: before, in: router, where: {flags: {lacks: up}}}, count: 2}",
            "is never one of them. It is written UP",
        ),
        ("{routes: {at: before, in: router}, each: {table: '254'}}", "'254' is written main"),
        ("{trace: {at: hooks, where: {dport: 70000}}, count: 0}", "dport is never 70000"),
        ("{lookup: asked, errno: ENETUNREACHABLE}", "Did you mean 'ENETUNREACH'?"),
        ("{change: gone, errno: eexist}", "It is written EEXIST."),
        ("{links: {at: before, in: router}, each: {mtu: '${addr}'}}", "'addr' is saved as text, and mtu is a number"),
        (
            "{links: {at: before, in: router}, each: {name: '${size}'}}",
            "'size' is saved as a number (int), and name is",
        ),
        ("{packets: {on: router.west}, count: {ge: 0}}", "a count is always ge 0: this asserts nothing"),
        ("{packets: {on: router.west}, count: {lt: 0}}", "a count is never lt 0"),
        ("{packets: {on: router.west}, count: 1.5}", "a count is never 1.5"),
        ("{command: probe, exit: 256}", "an exit status is never 256"),
        ("{command: probe, exit: {le: 255, ge: 0}}", "this asserts nothing"),
        ("{command: probe, duration: {ge: 0}}", "a duration is always ge 0"),
        ("{command: probe, stdout: {contains: ''}}", "every text contains the empty one"),
        ("{command: probe, stdout: {matches: '.*'}}", "every text matches '.*'"),
        ("{command: probe, stdout: {matches: 'x*'}}", "every text matches 'x*'"),
    ],
)
def test_found_before_anything_starts(predict: str, said: str) -> None:
    (told,) = problems(predict)
    assert said in told and ":23:" in told, told


@pytest.mark.parametrize(
    "predict",
    [
        "{packets: {on: router.west}, count: {ge: 0, le: 0}}",
        "{packets: {on: router.west}, count: {gt: 0}}",
        "{command: probe, exit: {ge: 1}}",
        "{command: probe, stdout: {matches: '^$'}}",
        "{links: {at: before, in: router}, each: {mtu: '${size}', name: '${addr}'}}",
    ],
)
def test_what_can_come_out_either_way(predict: str) -> None:
    assert problems(predict) == []
