"""containerlab's topologies: kinds, groups, defaults, both forms of a link, and what is not of the format."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.problems import LabError
from support.folders import compiled, imported, make, remarks

LAB = """\
name: demo
x-env: &env {MODE: fast}
topology:
  defaults: {kind: linux, env: {A: 1, B: yes}}
  kinds:
    linux: {image: "alpine:3", exec: [ip link set lo up], sysctls: {net.ipv4.ip_forward: 1}}
  groups:
    routers: {env: {B: two}, exec: ["ip addr add 10.9.9.9/32 dev lo"]}
  nodes:
    R1: {group: routers, env: {<<: *env, C: "${HERE:=there}"}, binds: ["./r1.conf:/etc/r1.conf:ro", "/etc/hosts:/etc/x:ro"], ports: ["80:80"], colour: red}
    n2:
      cmd: sleep infinity
      exec:
        - ip addr add 10.0.0.2/24 dev eth1
        - bash -c "echo hello > /tmp/x"
    n3: {}
    br0: {kind: bridge}
  links:
    - endpoints: ["R1:eth1", "n2:eth1"]
    - endpoints: ["R1:eth2", "br0:p1"]
    - endpoints: ["br0:p2", "n2:eth2"]
    - type: veth
      mtu: 1400
      endpoints:
        - {node: n2, interface: eth3, mac: "02:00:00:00:00:AA", ipv4: 10.1.0.1/24, ipv6: "fd00::1/64"}
        - {node: n3, interface: eth3}
    - endpoints: ["n3:eth4", "host:demo4"]
    - {type: host, endpoint: {node: n3, interface: eth5}, host-interface: demo5}
    - {type: dummy, endpoint: {node: n3, interface: eth6}}
    - {type: macvlan, endpoint: {node: n3, interface: eth7}, host-interface: wlan0}
"""


def test_a_topology_with_each_thing(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", {"demo.clab.yml": LAB, "r1.conf": "x\n"})
    lab = imported("containerlab", folder)
    own = {"A": "1", "B": "yes"}
    machine = {"machine": True, "ipv6": True}
    assert lab.lab["topology"] == {
        "nodes": {
            "r1": machine | {"files": {"/etc/r1.conf": "binds/r1.conf"}, "env": own | {"B": "two", "MODE": "fast", "C": "there"}},
            "n2": machine | {"env": own}, "n3": machine | {"env": own}, "host": None, "segments": None,
        },
        "sysctls": {name: {"net.ipv4.ip_forward": "1"} for name in ("r1", "n2", "n3")},
        "links": [
            {"r1.eth1": None, "n2.eth1": None},
            {"r1.eth2": None, "segments.r1-eth2": None},
            {"n2.eth2": None, "segments.n2-eth2": None},
            {"n2.eth3": {"mac": "02:00:00:00:00:aa", "address": ["10.1.0.1/24", "fd00::1/64"]}, "n3.eth3": None, "mtu": 1400},
            {"n3.eth4": None, "host.demo4": None},
            {"n3.eth5": None, "host.demo5": None},
        ],
        "bridges": {"segments.br0": {"ports": ["r1-eth2", "n2-eth2"]}},
    }  # fmt: skip
    runs = [(step["in"], step["run"]) for step in lab.lab["steps"] if "run" in step]
    assert runs == [
        ("r1", "ip link set lo up"), ("r1", "ip addr add 10.9.9.9/32 dev lo"), ("n2", "ip link set lo up"),
        ("n2", "ip addr add 10.0.0.2/24 dev eth1"), ("n2", ["bash", "-c", "echo hello > /tmp/x"]), ("n3", "ip link set lo up"),
    ]  # fmt: skip
    assert lab.lab["steps"][0] == {"id": "dummy-1", "in": "n3", "link": {"add": "eth6", "type": "dummy", "up": True}}
    assert lab.lab["defaults"]["links"] == {"mtu": 9500}
    assert {
        "ports of R1",
        "bind /etc/hosts:/etc/x:ro",
        "colour of R1",
        "cmd of n2",
        "link macvlan of n3:eth7",
    } <= remarks(lab, "left out").keys()
    assert {"host", "node R1", "image alpine:3"} <= remarks(lab, "changed").keys()
    compiled(lab, folder, tmp_path / "labs")


def topology(nodes: str = "{a: {kind: linux}, b: {kind: linux}}", links: str = "[]") -> str:
    return f"topology:\n  nodes: {nodes}\n  links: {links}\n"


WRONG = {
    "no mapping": ("- a\n", "a mapping is needed"),
    "no nodes": ("name: x\n", "it has no nodes"),
    "a vendor's router": (topology("{a: {kind: nokia_srlinux}}"), r":2:14: topology\.nodes\.a: kind 'nokia_srlinux'"),
    "no kind": (topology("{a: }"), "it has no kind"),
    "one endpoint": (topology(links='[{endpoints: ["a:eth1"]}]'), "a link has two endpoints"),
    "no interface": (topology(links='[{endpoints: ["a", "b:eth1"]}]'), r"not NODE:INTERFACE: 'a'"),
    "nobody": (topology(links='[{endpoints: ["a:eth1", "c:eth1"]}]'), "no node is named 'c'"),
    "a long name": (topology(links='[{endpoints: ["a:ethernet-1/1", "b:e1"]}]'), "not an interface name"),
    "two bridges": (topology("{a: {kind: bridge}, b: {kind: bridge}}", '[{endpoints: ["a:1", "b:1"]}]'), "between two bridges"),
    "a list for a text": (topology("{a: {kind: [linux]}}"), "text is needed"),
    "no YAML": ("topology: [\n", "not YAML"),
    "a tag": ("topology: !!python/object {}\n", "tags"),
    "a bomb": ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ), "aliases multiply"),
    "a bomb of merges": ("a: &a {x: 1}\n" + "".join(
        f"{b}: &{b} {{y: *{a}, z: {{<<: [*{a}, *{a}, *{a}, *{a}]}}, w: *{a}, v: *{a}, u: *{a}}}\n"
        for a, b in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
    ), "aliases multiply"),
    "a merge of a text": ("topology: {<<: x}\n", "takes a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_of_the_format(what: str, tmp_path: Path) -> None:
    text, told = WRONG[what]
    with pytest.raises(LabError, match=told):
        imported("containerlab", make(tmp_path, {"x.clab.yml": text}))
