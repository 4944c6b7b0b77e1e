"""A lab becomes plans: topology first, steps in order, one plan a control, and the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labrun.lab.compile import CompiledLab, compile_lab
from labrun.lab.load import parse_lab
from labrun.lab.problems import LabError
from labrun.lab.topology import fixed_mac
from labrun.protocol import actions
from labrun.protocol.codec import dumps, loads
from labrun.protocol.plan import Plan, Step
from labrun.protocol.shown import equivalent

LAB = """\
title: T
question: Q
topology:
  nodes: {host: {}, outside: {ipv6: true}, quiet: {lo: false}}
  bridges: {host.br0: {address: 10.1.0.1/24, ports: [port]}}
  links:
    - {host.port: , outside.eth0: 10.1.0.2/24, mtu: 1400}
    - {host.eth1: [10.2.0.1/24, 10.3.0.1/24], quiet.eth0: {up: false}}
  routes: {outside: {default: 10.1.0.1}}
  sysctls: {host: {net.ipv4.ip_forward: 1, net.ipv4.conf.eth1.rp_filter: 0, net.ipv4.conf.all.rp_filter: off}}
requires: {tools: [ping, ip, ping]}
steps:
  - {capture: {on: any}, in: host}
  - {id: probe, run: ping -c 1 10.1.0.2, in: host, note: A note.}
  - {run: [ping, -c, 1, 10.1.0.2], in: host, timeout: 2s}
  - {id: end, snapshot: }
hypotheses:
  - id: first
    claim: C
    predict:
      all:
        - {packets: {on: host.any, during: probe, match: icmp}, count: 2}
        - {packets: {on: host.port, during: probe, match: arp}, count: {ge: 1}}
        - {command: probe, exit: 0}
    control: {before: probe, insert: {link: {set: eth1, up: false}, in: host}}
  - id: second
    claim: C
    predict: {command: probe, exit: 0}
    control:
      - {before: probe, insert: {link: {set: eth1, up: false}, in: host}}
      - {none: There is no other.}
      - {replace: probe, with: {run: "false", in: host}}
      - {after: end, insert: [{run: a, in: host}, {run: b, in: host}]}
      - {without: step-3}
  - {id: third, claim: C, predict: {not: {command: probe, exit: 1}}, expect: refuted, control: {none: No cause.}}
"""


def compiled(text: str = LAB, **options: float) -> CompiledLab:
    return compile_lab(parse_lab(text, Path("labs/a-lab/lab.yaml"), "a-lab", "labs/a-lab/lab.yaml"), **options)


def lab_steps(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.phase == "lab"]


def topology(plan: Plan) -> list[tuple[str | None, actions.Action]]:
    return [(step.node, step.action) for step in plan.steps if step.phase == "topology"]


def variant(lab: CompiledLab, name: str) -> Plan:
    return next(plan for plan in lab.variants if plan.variant == name)


def test_steps_keep_their_order_and_get_ids_by_their_place():
    steps = lab_steps(compiled().experiment)
    assert [step.id for step in steps] == ["step-1", "probe", "step-3", "end"]
    assert [type(step.action).KIND for step in steps] == ["capture", "run", "run", "snapshot"]


def test_a_string_is_a_shell_line_and_a_list_is_run_as_it_is():
    steps = lab_steps(compiled().experiment)
    assert steps[1].action == actions.Run(("bash", "-c", "ping -c 1 10.1.0.2"))
    assert (steps[1].shell, steps[1].note) == ("ping -c 1 10.1.0.2", "A note.")
    assert steps[2].action == actions.Run(("ping", "-c", "1", "10.1.0.2"))
    assert (steps[2].shell, steps[2].timeout_s) == (None, 2.0)


def test_the_plan_says_what_it_needs_and_which_filters_its_judges_use():
    plan = compiled().experiment
    assert plan.tools == ("ip", "ping")
    assert plan.filters == ("arp", "icmp")
    assert plan.nodes == ("host", "outside", "quiet")
    assert (plan.lab, plan.variant, plan.limits.lab_timeout_s) == ("a-lab", "experiment", 120.0)


def test_the_command_line_can_bound_the_time():
    assert compiled(timeout_s=7).experiment.limits.lab_timeout_s == 7


def test_each_thing_of_the_topology_is_made_before_it_is_needed():
    made = [action for _, action in topology(compiled().experiment)]
    kinds = list(dict.fromkeys(type(action).KIND for action in made))
    assert kinds == ["namespace", "sysctl", "link", "address", "route"]

    def at(wanted: object) -> int:
        return next(index for index, action in enumerate(made) if action == wanted)

    def first_link(name: str) -> int:
        return next(i for i, a in enumerate(made) if isinstance(a, actions.Link) and a.name == name)

    assert at(actions.Sysctl((("net.ipv4.ip_forward", "1"),))) < first_link("br0")
    assert at(actions.Sysctl((("net.ipv4.conf.all.rp_filter", "off"),))) < first_link("br0")
    assert first_link("br0") < first_link("port") < at(actions.Link("set", "port", up=True, master="br0"))
    assert first_link("eth1") < at(actions.Sysctl((("net.ipv4.conf.eth1.rp_filter", "0"),)))
    assert at(actions.Sysctl((("net.ipv4.conf.eth1.rp_filter", "0"),))) < at(
        actions.Address("add", "10.3.0.1/24", "eth1")
    )
    assert made[-1] == actions.Route("add", "default", via="10.1.0.1")


def test_lo_is_up_and_ipv6_is_off_unless_the_lab_says_otherwise():
    made = topology(compiled().experiment)
    up = [node for node, action in made if action == actions.Link("set", "lo", up=True)]
    off = [node for node, action in made if isinstance(action, actions.Sysctl) and "ipv6" in action.settings[0][0]]
    assert up == ["host", "outside"]
    assert sorted(set(off)) == ["host", "quiet"]


def test_an_end_that_is_to_stay_down_is_not_set_up():
    made = topology(compiled().experiment)
    assert ("quiet", actions.Link("set", "eth0", up=True)) not in made
    assert ("outside", actions.Link("set", "eth0", up=True)) in made


def test_macs_follow_from_the_names_alone_and_are_unicast_and_local():
    veth = next(action for _, action in topology(compiled().experiment)
                if isinstance(action, actions.Link) and action.name == "port")  # fmt: skip
    assert veth.mac == fixed_mac("host", "port") == "02:a3:c6:04:dd:ff"
    assert veth.peer == actions.Peer("eth0", "outside", fixed_mac("outside", "eth0"), 1400)
    assert fixed_mac("host", "eth0") != fixed_mac("host", "eth1") != fixed_mac("outside", "eth1")


def test_a_given_mac_is_taken():
    text = LAB.replace("quiet.eth0: {up: false}", "quiet.eth0: {mac: 52:54:00:12:34:56}")
    links = [action for _, action in topology(compiled(text).experiment) if isinstance(action, actions.Link)]
    assert "52:54:00:12:34:56" in [link.peer.mac for link in links if link.peer]


def test_a_snapshot_of_all_is_of_the_nodes_that_are_there_by_then():
    text = LAB.replace("  - {id: end, snapshot: }", "  - namespace: ns1\n  - {id: end, snapshot: }\n"
                       "  - namespace: {delete: quiet}\n  - {id: later, snapshot: [host]}\n  - snapshot: all")  # fmt: skip
    snapshots = [step.action for step in lab_steps(compiled(text).experiment) if type(step.action).KIND == "snapshot"]
    assert [shot.nodes for shot in snapshots] == [
        ("host", "outside", "quiet", "ns1"), ("host",), ("host", "outside", "ns1"),
    ]  # fmt: skip


def test_a_step_of_a_lab_with_one_node_is_in_that_node():
    text = "title: T\nquestion: Q\nsteps: [{namespace: ns1}, {id: a, run: x}]\n" \
           "hypotheses: [{id: h, claim: C, predict: {command: a, exit: 0}}]\n"  # fmt: skip
    steps = lab_steps(compiled(text).experiment)
    assert [(step.id, step.node) for step in steps] == [("step-1", None), ("a", "ns1")]


def test_the_same_change_is_one_variant_however_many_hypotheses_share_it():
    lab = compiled()
    assert lab.controls == {"first": ("first",), "second": ("first", "second-3", "second-4", "second-5"), "third": ()}
    assert [plan.variant for plan in lab.variants] == ["first", "second-3", "second-4", "second-5"]


def test_a_control_differs_from_the_experiment_in_its_change_alone():
    lab = compiled()
    base = lab.experiment.steps
    at = next(index for index, step in enumerate(base) if step.id == "probe")

    inserted = variant(lab, "first").steps
    assert inserted[:at] + inserted[at + 1 :] == base
    assert (inserted[at].id, inserted[at].action) == ("inserted-1", actions.Link("set", "eth1", up=False))

    replaced = variant(lab, "second-3").steps
    assert replaced[:at] + replaced[at + 1 :] == base[:at] + base[at + 1 :]
    assert (replaced[at].id, replaced[at].shell) == ("probe", "false")

    appended = variant(lab, "second-4").steps
    assert appended[: len(base)] == base
    assert [(step.id, step.shell) for step in appended[len(base) :]] == [("inserted-1", "a"), ("inserted-2", "b")]

    assert variant(lab, "second-5").steps == tuple(step for step in base if step.id != "step-3")


def test_the_same_lab_gives_the_same_plans_to_the_byte():
    first, second = compiled(), compiled()
    assert dumps(first.experiment) == dumps(second.experiment)
    assert [plan.digest for plan in first.variants] == [plan.digest for plan in second.variants]
    assert loads(Plan, dumps(first.experiment)).sealed().digest == first.experiment.digest


def test_every_plan_of_a_lab_has_a_digest_of_its_own():
    lab = compiled()
    digests = [plan.digest for plan in lab.plans]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ping -c 1 10.1.0.2, in", "ping -c 2 10.1.0.2, in"),
        ("timeout: 2s", "timeout: 3s"),
        ("mtu: 1400", "mtu: 1401"),
        ("host.br0", "host.br1"),
        ("net.ipv4.ip_forward: 1", "net.ipv4.ip_forward: 0"),
        ("match: icmp", "match: icmp6"),
        ("tools: [ping,", "tools: [curl,"),
        ("note: A note.", "note: Another."),
    ],
)
def test_a_change_of_what_happens_changes_the_digest(old, new):
    assert LAB.count(old) == 1
    assert compiled(LAB.replace(old, new)).experiment.digest != compiled().experiment.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [("title: T", "title: Another"), ("expect: refuted", "expect: supported"), ("mtu: 1400", "mtu:   1400 ")],
)
def test_a_change_of_what_is_said_about_it_does_not(old, new):
    assert LAB.count(old) == 1
    assert compiled(LAB.replace(old, new)).experiment.digest == compiled().experiment.digest


def test_durations_that_are_equal_are_one_plan_however_they_are_written():
    assert compiled(LAB.replace("2s", "2000ms")).experiment.digest == compiled().experiment.digest


WRONG = {
    "an interface twice": ("quiet.eth0: {up: false}", "host.port: ", "8:47: host.port is there already"),
    "lo as a link": ("host.eth1:", "host.lo:", "8:8: 'lo' cannot be an interface's name here (1 to 15 bytes, not lo, "
                                               "not any)"),
    "a name too long": ("host.br0", "host." + "b" * 16, f"5:13: '{'b' * 16}' cannot be an interface's name here "
                                                        "(1 to 15 bytes, not lo, not any)"),
    "no interface": ("host.br0", "br0", "5:13: 'br0' is not node.interface, such as host.br0"),
    "a port that is not there": ("ports: [port]", "ports: [prot]", "5:54: host has no interface 'prot' in the topology. "
                                                                   "Did you mean 'port'?"),
    "routes of nobody": ("routes: {outside", "routes: {outsid", "9:12: unknown node 'outsid'. Did you mean 'outside'?"),
    "settings of nobody": ("sysctls: {host", "sysctls: {hots", "10:13: unknown node 'hots'. Did you mean 'host'?"),
    "an id of labrun's": ("{id: end,", "{id: topology-1,", "16:10: ids that begin with 'topology-' are labrun's own"),
    "a window before its capture": (
        "during: probe, match: icmp", "during: step-1, match: icmp",
        "22:44: hypothesis 'first': step 'step-1' does not come after 'step-1', which starts the capture"),
    "a window that is turned round": (
        "during: probe, match: icmp", "during: {from: end, to: probe}, match: icmp",
        "22:44: hypothesis 'first': step 'end' comes after 'probe'"),
    "an insertion with a taken default id": (
        "{id: end,", "{id: inserted-1,",
        "25:38: control: the id 'inserted-1' is there already"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG)
def test_what_only_the_whole_lab_shows_to_be_wrong_is_told_at_its_place(old, new, said):
    assert LAB.count(old) == 1
    with pytest.raises(LabError) as caught:
        compiled(LAB.replace(old, new))
    assert f"labs/a-lab/lab.yaml:{said}" in str(caught.value).splitlines()


def test_a_window_after_the_capture_was_stopped_is_refused():
    text = LAB.replace("  - {id: probe,", "  - stop: step-1\n  - {id: probe,")
    with pytest.raises(LabError, match="the capture 'step-1' is stopped before 'probe' ends"):
        compiled(text)


def test_two_captures_of_one_interface_must_be_told_apart():
    more = "  - {id: more, capture: {on: port}, in: host}\n  - {id: probe,"
    text = LAB.replace("  - {id: probe,", more).replace("without: step-3", "without: step-4")
    with pytest.raises(LabError, match=r"host\.port is captured by step-1, more: say which with capture:"):
        compiled(text)
    compiled(text.replace("on: host.port, during", "on: host.port, capture: more, during")
                 .replace("on: host.any, during", "on: host.any, capture: step-1, during"))  # fmt: skip


def test_an_ipv6_address_needs_a_node_with_ipv6():
    with pytest.raises(LabError, match=r"fd00::1/64 on a node without IPv6; give it: nodes: \{a: \{ipv6: true\}\}"):
        compile_lab(parse_lab(json.dumps({
            "title": "T", "question": "Q", "topology": {
                "nodes": {"a": {}, "b": {"ipv6": True}}, "links": [{"a.eth0": "fd00::1/64", "b.eth0": "fd00::2/64"}]},
            "steps": [{"id": "s", "in": "a", "run": "true"}],
            "hypotheses": [{"id": "h", "claim": "C", "predict": {"command": "s", "exit": 0}}],
        }), Path("lab.yaml"), "x", "lab.yaml"))  # fmt: skip


@pytest.mark.parametrize(
    "control",
    [
        "{replace: probe, with: {run: ping -c 1 10.1.0.2, in: host}}",
        "{replace: probe, with: {run: ping -c 1 10.1.0.2, in: host, note: Another note., timeout: 3s}}",
    ],
)
def test_a_control_that_does_what_the_experiment_does_is_none(control: str) -> None:
    """Only chance could make it come out otherwise."""
    with pytest.raises(LabError) as caught:
        compiled(LAB.replace("{before: probe, insert: {link: {set: eth1, up: false}, in: host}}", control, 1))
    (problem,) = caught.value.problems
    assert problem.message == "control: this does just what the experiment does"
    assert (problem.line, problem.column) == (25, 14)


def test_offloads_of_a_link_are_set_on_both_ends():
    text = LAB.replace("mtu: 1400", "mtu: 1400, offloads: off")
    assert text != LAB
    links = [action for _, action in topology(compiled(text).experiment) if isinstance(action, actions.Link)]
    assert [link.name for link in links if link.offloads == "off"] == [
        link.name for link in links if link.op == "set" and link.name != "lo" and link.offloads is not None
    ]
    assert sum(link.offloads == "off" for link in links) == 2


@pytest.mark.parametrize(
    ("nodes", "link", "off"),
    [
        ("host: {}", "", []),
        ("host: {offloads: off}", "", ["lo", "br0", "port", "eth0", "eth1", "eth0"]),
        ("host: {offloads: off}", ", offloads: on", ["lo", "br0", "eth1", "eth0"]),  # what is nearer counts
        ("host: {offloads: off, lo: false}", "", ["lo", "br0", "port", "eth0", "eth1", "eth0"]),
        ("host: {}, other: {offloads: off}", "", ["lo"]),
    ],
)
def test_offloads_of_a_node_are_those_of_all_that_it_has(nodes: str, link: str, off: list[str]) -> None:
    text = LAB.replace("host: {}", nodes, 1).replace("mtu: 1400", f"mtu: 1400{link}")
    links = [action for _, action in topology(compiled(text).experiment) if isinstance(action, actions.Link)]
    assert [action.name for action in links if action.offloads == "off"] == off
    assert [action.up for action in links if action.name == "lo"][:1] == [None if "lo: false" in nodes else True]


def test_what_switches_offloads_off_is_shown() -> None:
    plan = compiled(LAB.replace("host: {}", "host: {offloads: off}", 1)).experiment
    lines = [equivalent(step.action) for step in plan.steps if isinstance(step.action, actions.Link)]
    assert [line for line in lines if line.startswith(("ethtool -K lo", "ethtool -K br0"))] == [
        "ethtool -K lo tx off sg off tso off gso off gro off && ip link set dev lo up",
        "ethtool -K br0 tx off sg off tso off gso off gro off",
    ]
