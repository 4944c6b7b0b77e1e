"""Where a capture saw nothing: said where that is known, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.report.ladder import Nothing
from labrun.report.packets import capture_view, nothing_seen, nothings
from labrun.report.room import Room
from support.evidence_builder import Evidence, Seen, ethernet, icmp, ipv4

PACKET = ethernet(ipv4(1, icmp()))


def views(tmp_path: Path, *packets: float, kept: int | None = None, **ended: object) -> tuple[list[str], list[str]]:
    """The groups of a capture's table, and when a ladder has nothing. Steps of 10 ms: early, probe, late; from 20 ms on."""
    evidence = Evidence(tmp_path / "run" / "labs" / "lab" / "experiment")
    evidence.capture("seen", "lo").run("early").run("probe").run("late")
    evidence.captured("seen", ["lo"], *(Seen(at, PACKET) for at in packets))
    evidence.capture_ended("seen", len(packets) if kept is None else kept, **{"during": (9, 100), **ended})  # type: ignore[arg-type]
    variant = evidence.done().read()
    read = capture_view("lab", variant, variant.steps[0], tmp_path / "run", {}, Room())
    assert read is not None
    return [group.title for group in read.view.groups], [each.text for each in nothing_seen([read])]


@pytest.mark.parametrize(
    ("packets", "table", "ladder"),
    [
        ((), ["during early to late: nothing"], ["during early to late: nothing"]),
        ((25,), ["during early: nothing", "during probe", "during late: nothing"], ["during early: nothing", "during late: nothing"]),
        ((15, 35), ["during early", "during probe: nothing", "during late"], ["during probe: nothing"]),
        ((15, 25, 35), ["during early", "during probe", "during late"], []),
        ((50,), ["during early to late: nothing", "after late"], ["during early to late: nothing"]),
    ],
)  # fmt: skip
def test_a_window_without_a_packet_is_a_row(
    tmp_path: Path, packets: tuple[float, ...], table: list[str], ladder: list[str]
) -> None:
    assert views(tmp_path, *packets) == (table, ladder)


@pytest.mark.parametrize(
    "ended",
    [
        {"drops": 1}, {"not_kept": 1}, {"trouble": "it broke"},
        {"kept": 9},  # more than are shown
        {"during": (50, 100)},  # it began later
        {"during": (9, 12)},  # it ended before
        {"starts": [50]},  # an interface that came later: what it saw before nobody knows
    ],
)  # fmt: skip
def test_what_is_not_known_is_not_nothing(tmp_path: Path, ended: dict[str, object]) -> None:
    table, ladder = views(tmp_path, **ended)  # type: ignore[arg-type]
    assert not [title for title in (*table, *ladder) if "nothing" in title]


def test_a_file_of_another_capture_says_nothing(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "run" / "labs" / "lab" / "experiment")
    evidence.capture("seen", "eth0").run("early").captured("seen", ["lo"])
    variant = evidence.capture_ended("seen", 0, during=(9, 100), interfaces=["eth0"]).done().read()
    read = capture_view("lab", variant, variant.steps[0], tmp_path / "run", {}, Room())
    assert read is not None and read.view.cut is not None and "not of this capture" in read.view.cut
    assert read.view.groups == () and nothing_seen([read]) == []


def test_a_capture_that_never_ended_says_nothing_of_absence(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "run" / "labs" / "lab" / "experiment")
    variant = evidence.capture("seen", "lo").run("early").captured("seen", ["lo"]).read()
    read = capture_view("lab", variant, variant.steps[0], tmp_path / "run", {}, Room())
    assert read is not None and read.view.groups == () and nothing_seen([read]) == []


def test_neighbours_are_told_in_one_line() -> None:
    looked = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert nothings(looked, frozenset("abd")) == [Nothing(1, "during a, b: nothing"), Nothing(4, "during d: nothing")]
    assert nothings(looked, frozenset()) == []
    assert nothings(looked, frozenset("abcd")) == [Nothing(1, "during a to d: nothing")]
