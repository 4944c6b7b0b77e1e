"""What hides a packet's transport from a pcap filter, and that filter and fields do not silently disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.judge.evaluate import evaluate
from labrun.lab.predictions import Check
from labrun.packets.bpf import translate
from labrun.packets.fields import compile_fields
from labrun.packets.laid_open import EXTENSION, TAG, laid_open
from labrun.packets.libpcap import compile_filter
from support.evidence_builder import Evidence, Seen, extended, icmp, prediction, tagged
from unit.test_fields import CORPUS, mutated

TWINS = {
    "icmp": {"ip.proto": Check(equals=1), "icmp.type": Check(ge=0)},
    "icmp6": {"icmpv6.type": Check(ge=0)},
    "udp port 9999": {"udp.port": Check(equals=9999)},
    "tcp dst port 8080": {"tcp.dstport": Check(equals=8080)},
    "arp": {"arp.opcode": Check(ge=0)},
}


@pytest.mark.parametrize("expression", TWINS)
def test_filter_and_fields_agree_or_the_packet_is_one_whose_transport_is_hidden(expression: str) -> None:
    program = compile_filter(expression)
    assert program is not None
    passes, fields = translate(program), compile_fields(TWINS[expression])
    for name, data in CORPUS.items():
        by_filter, by_fields = bool(passes(data, len(data))), fields(data, 1, len(data), "")
        opened = laid_open(data, 1, True)
        if by_filter != by_fields and opened is not None:
            assert bool(passes(opened[0], len(opened[0]))) == by_fields, name
        elif "fragment" not in name:
            assert by_filter == by_fields, name


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120), st.sampled_from([1, 101, 113]), st.booleans(), st.integers(0, 30))
def test_no_bytes_raise(noise: bytes, linktype: int, tags: bool, seed: int) -> None:
    for data in (
        noise,
        noise[:12] + b"\x86\xdd" + noise,
        noise[:12] + b"\x81\0\0\1\x86\xdd" + noise,
        *mutated(3, seed),
    ):
        opened = laid_open(data, linktype, tags)
        assert opened is None or (len(opened[0]) < len(data) and opened[1] in (TAG, EXTENSION))


@pytest.mark.parametrize("following", [59, 254, 44])
def test_an_extension_header_that_hides_no_transport_hides_nothing(following: int) -> None:
    header = b"\x60" + bytes(3) + b"\0\x08\0\x40" + bytes(32)
    data = bytes(12) + b"\x86\xdd" + header + bytes((following,)) + bytes(7)
    assert laid_open(data, 1, True) is None
    assert laid_open(data[14:], 101, True) is None


def count(tmp_path: Path, frame: bytes, **selector: object) -> tuple[bool | None, str | None]:
    evidence = Evidence(tmp_path / "experiment").capture("seen", "lo", at=(0, 10)).run("probe", at=(20, 100))
    evidence.captured("seen", ("lo",), Seen(30, frame)).capture_ended("seen", 1)
    asked = prediction({"packets": {"on": "host.lo", "during": "probe", **selector}, "count": 0})
    found = evaluate(asked, evidence.done().read(), "")
    return found.truth, found.reason


@pytest.mark.parametrize(
    ("frame", "selector", "truth"),
    [
        (tagged(icmp()), {"match": "icmp"}, None),
        (tagged(icmp()), {"match": "vlan and icmp"}, False),
        (tagged(icmp()), {"match": "vlan and udp"}, True),
        (tagged(icmp()), {"match": "udp"}, True),
        (tagged(icmp()), {"match": "icmp", "fields": {"icmp.type": 3}}, True),
        (tagged(icmp()), {"fields": {"icmp.type": {"ge": 0}}}, False),
        (extended(), {"match": "icmp6"}, None),
        (extended(), {"match": "icmp6 and ip6[40] == 143"}, None),
        (extended(), {"match": "icmp6 and ip6[40] == 135"}, True),
        (extended(), {"match": "ip6"}, False),
        (extended(), {"match": "udp"}, True),
        (extended(), {"fields": {"icmpv6.type": 143}}, False),
    ],
    ids=lambda value: "frame" if isinstance(value, bytes) else str(value),
)
def test_none_that_a_filter_passed_over_is_no_none(tmp_path, frame, selector, truth):
    reason = "filter-passed-over" if truth is None else None
    assert count(tmp_path, frame, **selector) == (truth, reason)


@pytest.mark.parametrize("linktype", [0, 9, 113, 276])  # null, PPP, Linux cooked and cooked v2
def test_of_a_link_type_that_it_does_not_read_nothing_is_laid_open(linktype: int) -> None:
    header = b"\x60" + bytes(3) + b"\0\x10\0\x40" + bytes(32)
    data = header + b"\x3a\0" + bytes(6) + b"\x80\0" + bytes(6)  # hop-by-hop, then an echo request
    assert laid_open(data, 101, True) is not None
    assert laid_open(data, linktype, True) is None
