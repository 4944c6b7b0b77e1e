"""The view: order, sentences, links into the evidence, and what a report says where evidence is missing."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
from labrun.evidence import layout
from labrun.evidence.run import EvidenceError
from labrun.judge.results import Evaluation, RunResult, Subject
from labrun.packets.describe import describe
from labrun.protocol import actions
from labrun.protocol.plan import Step
from labrun.report import anchors
from labrun.report.build import build_view
from labrun.report.drawing import draw
from labrun.report.hypotheses import observed
from labrun.report.packets import MAX_ROWS
from labrun.report.topology import topology_of
from labrun.report.view import LabView, RunView
from support.evidence_builder import capture_file
from support.recorded import WALL_NS, Recorder, icmp, recorded_run, topology_steps


@pytest.fixture
def view(tmp_path: Path) -> RunView:
    return build_view(*recorded_run(tmp_path))


def lab(view: RunView, slug: str) -> LabView:
    return next(each for each in view.labs if each.slug == slug)


def test_surprises_come_first_then_what_is_inconclusive(view: RunView) -> None:
    assert [row.hypothesis.standing for row in view.matrix] == [
        "surprise",
        "inconclusive",
        "as-expected",
        "as-expected",
    ]
    assert view.standing == "surprise"
    assert [each.slug for each in view.labs] == ["own-address", "colours", "needs-a-tool", "broken"]


def test_controls_stand_beside_the_experiment(view: RunView) -> None:
    through = lab(view, "own-address").hypotheses[0]
    assert [column.title for column in through.columns] == ["Experiment", "Control"]
    assert [[cell.actual for cell in row.cells if cell] for row in through.rows] == [
        [None, None],
        ["1", "0"],
        ["0", "1"],
    ]
    assert through.rows[1].predicted == "count = 1"
    packet = through.rows[1].cells[0]
    assert packet is not None and packet.links[0].href == "#lab-own-address-p-seen-1"
    other = through.rows[2].cells[1]
    assert other is not None and other.links[0].href == f"#{anchors.step('own-address', 'goes-through-lo', 'probe')}"


def test_a_control_tells_what_is_different(view: RunView) -> None:
    (control,) = lab(view, "own-address").controls
    assert [step.id for step in control.steps if step.changed] == ["gone"]
    assert not any(step.note for step in control.steps) and not control.topology_differs
    assert control.change == "before step 'probe': ip route delete local 172.17.0.1"


def test_packets_know_their_step_and_who_cites_them(view: RunView) -> None:
    experiment = lab(view, "own-address").experiment
    assert experiment is not None
    before, group = experiment.captures[0].groups
    assert (before.title, before.rows) == ("during routes to before: nothing", ())
    assert group.title == "during probe"
    first, second = group.rows
    assert (first.time, first.direction, first.protocol) == ("5.000", "in", "ICMP")
    assert [link.text for link in first.cited] == ["goes-through-lo"] and second.cited == ()


def test_a_broken_lab_says_what_is_missing(view: RunView) -> None:
    broken = lab(view, "broken")
    assert broken.experiment is None and broken.problem == "Broke: the daemon went away."
    assert any("experiment/events.jsonl: there is no such file" in note for note in broken.notes)
    assert any("cannot be read" in note for note in broken.notes)
    assert lab(view, "needs-a-tool").notes == ()


def test_lost_files_are_told_of_at_their_place(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    folder = layout.variant_folder(run, "own-address", "experiment")
    (folder / "captures/seen.pcapng").unlink()
    (folder / "outputs/probe.stdout").unlink()
    (folder / "snapshots/before.json").write_text("{")
    experiment = lab(build_view(run, result), "own-address").experiment
    assert experiment is not None
    assert experiment.captures[0].cut == "The file is not there: it never left the sandbox."
    probe = next(step for step in experiment.steps if step.id == "probe")
    assert probe.outputs[0].cut == "0 bytes of 44 bytes arrived from the sandbox."
    capture = folder / "captures/seen.pcapng"
    capture.write_bytes(b"no pcapng at all")
    experiment = lab(build_view(run, result), "own-address").experiment
    assert experiment is not None and "not a pcapng file" in str(experiment.captures[0].cut)
    capture.write_bytes(capture_file(["eth0"], []))
    experiment = lab(build_view(run, result), "own-address").experiment
    assert experiment is not None and experiment.captures[0].groups == ()
    assert "the file is of eth0" in str(experiment.captures[0].cut)


def test_a_cut_off_run_is_partial(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    events = layout.variant_folder(run, "own-address", "experiment") / layout.EVENTS
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:-3]))
    experiment = lab(build_view(run, result), "own-address").experiment
    assert experiment is not None and experiment.partial is not None
    assert experiment.steps[-1].trouble == "This step never ended: the evidence stops here."
    assert not experiment.captures[0].healthy


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError):
        build_view(tmp_path, RunResult({}, ()))


def test_a_large_capture_shows_its_beginning_and_what_is_cited(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    folder = layout.variant_folder(run, "own-address", "experiment")
    capture = (folder / "captures/seen.pcapng").read_bytes()
    from labrun.agent import pcapng  # the agent's writer, as in the recording

    block = pcapng.enhanced_packet(0, WALL_NS, icmp("10.0.0.1", "10.0.0.2", 8), 50, 1)
    (folder / "captures/seen.pcapng").write_bytes(capture + block * 500)
    first = result.labs[0].hypotheses[0]
    leaf = first.trace.children[0]
    moved = dataclasses.replace(leaf.refs[0], packets=(400, 502))
    trace = dataclasses.replace(first.trace, children=(dataclasses.replace(leaf, refs=(moved,)),))
    own = dataclasses.replace(result.labs[0], hypotheses=(dataclasses.replace(first, trace=trace),))
    experiment = lab(build_view(run, RunResult(result.run, (own,))), "own-address").experiment
    assert experiment is not None
    numbers = [row.number for group in experiment.captures[0].groups for row in group.rows]
    assert numbers == [*range(1, MAX_ROWS + 1), 400, 502]


def test_the_observed_sentence_is_short(tmp_path: Path) -> None:
    _, result = recorded_run(tmp_path)
    through = result.labs[0].hypotheses[0]
    assert observed(through) == "packets on host.lo during probe: 1; exit of probe: 0"

    def count(filter_: str, actual: str) -> Evaluation:
        return Evaluation(
            filter_, Subject("packets on a.b", f"matching '{filter_}'", "count"), True, "equals", actual, actual
        )

    two = dataclasses.replace(
        through, trace=Evaluation("", Subject("all of"), True, "all", children=(count("x", "1"), count("y", "2")))
    )
    assert observed(two) == "packets on a.b matching 'x': 1; packets on a.b matching 'y': 2"


def test_packets_in_words() -> None:
    assert describe(icmp("10.0.0.1", "10.0.0.2", 0), 1).info == "echo reply id 7 seq 1"
    arp = bytes(12) + bytes.fromhex("0806000108000604000102000000000a0a0000010000000000000a000002")
    assert describe(arp, 1).info == "who has 10.0.0.2? tell 10.0.0.1"
    syn = bytes.fromhex("4500002800010000400600000a0000010a00000222c4005000000001000000005002200000000000")
    words = describe(syn, 101)
    assert (words.protocol, words.destination) == ("TCP", "10.0.0.2:80")
    assert words.info == "SYN seq 1 ack 0 win 8192 len 0"
    for data in (b"", b"\x45", b"\x60" * 7, bytes(13), bytes(12) + b"\x86\xdd\x60", b"\xff" * 60):
        for linktype in (1, 101, 276):
            assert describe(data, linktype).info


def _network(links: list[tuple[str, str]], nodes: list[str]) -> list[Step]:
    steps = [Step(f"n-{n}", actions.Namespace("add", n), phase="topology") for n in nodes]
    for number, (one, other) in enumerate(links):
        peer = actions.Peer(f"eth{number}", other)
        steps.append(
            Step(f"l-{number}", actions.Link("add", f"eth{number}", type="veth", peer=peer), one, phase="topology")
        )
    return steps


@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("shape", ["chain", "star", "none", "ring"])
def test_cards_do_not_overlap_and_stay_inside(count: int, shape: str) -> None:
    nodes = [f"n{i}" for i in range(count)]
    links = {
        "chain": list(itertools.pairwise(nodes)),
        "star": [(nodes[0], other) for other in nodes[1:]],
        "ring": list(zip(nodes, nodes[1:] + nodes[:1], strict=True)) if count > 2 else [],
        "none": [],
    }[shape]
    topology = topology_of(_network(links, nodes))
    assert topology is not None
    drawing = draw(topology)
    assert len(drawing.cards) == count and len(drawing.curves) == len(links)
    for index, card in enumerate(drawing.cards):
        assert card.x >= 0 and card.x + card.width <= drawing.width
        assert card.y >= 0 and card.y + card.height <= drawing.height
        for other in drawing.cards[:index]:
            apart = card.x >= other.x + other.width or other.x >= card.x + card.width
            assert apart or card.y >= other.y + other.height or other.y >= card.y + card.height


def test_a_later_step_is_marked_in_the_picture(tmp_path: Path) -> None:
    steps = (*topology_steps(), Step("more", actions.Namespace("add", "ns1")),
             Step("pair", actions.Link("add", "v0", type="veth", peer=actions.Peer("v1", "ns1")), "host"),
             Step("moved", actions.Link("set", "v0", move_to="ns1"), "host"))  # fmt: skip
    with Recorder(tmp_path / "x", steps):
        pass
    topology = topology_of(steps)
    assert topology is not None
    assert [(node.name, node.made_by) for node in topology.nodes] == [("host", None), ("ns1", "more")]
    assert topology.links[0].made_by == "pair"
    assert topology_of(()) is None
