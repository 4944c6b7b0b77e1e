"""Kathara's labs: their own small ones, each option once, and what is not of the format."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.problems import LabError
from support.folders import compiled, imported, make, remarks

LAB = {
    "lab.conf": """\
LAB_NAME="Two nets"
LAB_DESCRIPTION='Who answers?'
LAB_AUTHOR="Somebody"
LAB_WEB=https://example.org/

# hosts
pc_1[0]="A/02:00:00:00:00:AA"   # with a MAC
pc2[0]=A
r1[0]="A"
r1[1]="B"
r1[ipv6]="true"
r1[sysctl]="net.ipv4.conf.all.arp_ignore=1"
r1[env]="WHO=me"
pc3[0]="B"
pc3[bridged]="true"
pc3[port]="8080:80/tcp"
pc3[mem]="64m"
pc3[image]="example/odd:1"
pc3[exec]="ping -c 1 10.0.0.2"
alone[0]="Z"
viewer[image]="lscr.io/linuxserver/wireshark"
viewer[bridged]=true
""",
    "shared.startup": "hostname\n",
    "pc_1.startup": "#!/bin/bash\nip address add 10.0.0.1/24 dev eth0\nip route add default via 10.0.0.254\n",
    "pc2.startup": "ip link set eth7 up\r\ncat /hostlab/r1.startup\r\n",
    "pc2.shutdown": "true\n",
    "gone.startup": "true\n",
    "lab.dep": "# later\npc3: r1 pc2\npc_1:alone\n",
    "r1/etc/frr/frr.conf": "router rip\n",
    "shared/notes": "read me\n",
}


def test_a_lab_with_each_option(tmp_path: Path) -> None:
    lab = imported("kathara", make(tmp_path / "two", LAB))
    assert (lab.name, lab.lab["title"], lab.lab["question"]) == ("two", "Two nets", "Who answers?")
    assert lab.lab["source"] == {"title": "Kathara lab Two nets", "author": "Somebody", "url": "https://example.org/"}
    own = {"machine": True, "files": {"/shared": "shared"}}
    forwards = {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0}
    assert lab.lab["topology"] == {
        "nodes": {
            "pc-1": own, "pc2": own, "r1": own | {"ipv6": True, "env": {"WHO": "me"}}, "pc3": own, "alone": own,
            "segments": None,
        },
        "sysctls": {
            "pc-1": forwards, "pc2": forwards, "pc3": forwards, "alone": forwards,
            "r1": forwards | {
                "net.ipv6.conf.all.forwarding": 1, "net.ipv6.conf.all.accept_ra": 0, "net.ipv6.icmp.ratelimit": 0,
                "net.ipv4.conf.all.arp_ignore": 1,
            },
        },
        "links": [
            {"pc-1.eth0": {"mac": "02:00:00:00:00:aa"}, "segments.pc-1-eth0": None},
            {"pc2.eth0": None, "segments.pc2-eth0": None},
            {"r1.eth0": None, "segments.r1-eth0": None},
            {"r1.eth1": None, "pc3.eth0": None},
            {"alone.eth0": None, "segments.alone-eth0": None},
        ],
        "bridges": {
            "segments.A": {"ports": ["pc-1-eth0", "pc2-eth0", "r1-eth0"]},
            "segments.Z": {"ports": ["alone-eth0"]},
        },
    }  # fmt: skip
    steps = {step["id"]: step for step in lab.lab["steps"]}
    order = list(steps)
    assert order[-1] == "state"
    assert order.index("exec-pc3-1") > max(order.index("shared-r1"), order.index("startup-pc2"))
    assert order.index("startup-pc-1") > order.index("shared-alone")
    assert order.index("startup-pc-1") == order.index("shared-pc-1") + 1
    assert steps["startup-pc2"]["run"] == "ip link set eth7 up\ncat /lab/r1.startup\n"
    assert lab.lab["defaults"] == {"steps": {"may_fail": True, "timeout": 60}}
    assert {path for path, _ in lab.files} == {"r1/etc/frr/frr.conf", "shared/notes"}
    left = remarks(lab, "left out")
    assert {
        "device viewer",
        "bridged of pc3",
        "port of pc3",
        "mem of pc3",
        "pc2.shutdown",
        "gone.startup",
    } <= left.keys()
    changed = remarks(lab, "changed")
    assert {"device pc_1", "shared/", "pc2.startup", "image example/odd:1"} <= changed.keys()
    assert "not in the table" in changed["image example/odd:1"]
    done = compiled(lab, tmp_path / "two", tmp_path / "labs")
    assert not done.lab.model.hypotheses


WRONG = {
    "no lab.conf": ({"pc1.startup": ""}, r"lab\.conf: no lab\.conf"),
    "nothing in it": ({"lab.conf": "# nothing\n"}, "names no device"),
    "another line": ({"lab.conf": 'pc1[0]="A"\nhello\n'}, r"lab\.conf:2:1: not DEVICE\[OPTION\]=VALUE: 'hello'"),
    "capitals": ({"lab.conf": 'PC1[0]="A"\n'}, r"lab\.conf:1:1: not DEVICE"),
    "quotes that differ": ({"lab.conf": "pc1[0]=\"A'\n"}, "not DEVICE"),
    "a path for a domain": ({"lab.conf": 'pc1[0]="../A"\n'}, "not COLLISION_DOMAIN"),
    "no MAC": ({"lab.conf": 'pc1[0]="A/02:00"\n'}, "not COLLISION_DOMAIN"),
    "an interface twice": ({"lab.conf": 'pc1[0]="A"\npc1[0]="B"\n'}, r"lab\.conf:2:1: pc1 has an interface 0 already"),
    "the number of an interface": ({"lab.conf": 'pc1[123456789012]="A"\n'}, "no interface has a number"),
    "a sysctl without a value": ({"lab.conf": 'pc1[sysctl]="net.ipv4.ip_forward"\n'}, "not NAME=VALUE"),
    "too many devices": ({"lab.conf": "".join(f'd{n}[0]="A"\n' for n in range(501))}, "more than 500 devices"),
    "a circle": ({"lab.conf": 'a[0]="A"\nb[0]="A"\n', "lab.dep": "a: b\nb: a\n"}, r"lab\.dep: a circle"),
    "another line of lab.dep": ({"lab.conf": 'a[0]="A"\n', "lab.dep": "a b\n"}, r"lab\.dep:1:1: not DEVICE"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_of_the_format(what: str, tmp_path: Path) -> None:
    files, told = WRONG[what]
    with pytest.raises(LabError, match=told):
        imported("kathara", make(tmp_path, files))


def test_long_names_of_domains_and_devices(tmp_path: Path) -> None:
    """An interface has 15 bytes at most, and none of them may be there twice."""
    names = [f"a_very_long_device_name_{number}" for number in range(3)]
    text = "".join(f'{name}[0]="{domain}"\n{name}[{n}]="{domain}2"\n' for n, (name, domain) in enumerate(
        ((name, "A_VERY_LONG_COLLISION_DOMAIN") for name in names), start=1))  # fmt: skip
    compiled(imported("kathara", make(tmp_path / "long", {"lab.conf": text})), tmp_path / "long", tmp_path / "labs")


def test_two_ends_at_one_device_are_a_link(tmp_path: Path) -> None:
    lab = imported("kathara", make(tmp_path / "one", {"lab.conf": 'a[0]="A"\na[1]="A"\n'}))
    assert lab.lab["topology"]["links"] == [{"a.eth0": None, "a.eth1": None}]
    compiled(lab, tmp_path / "one", tmp_path / "labs")


def test_the_services_of_devices_are_packages(tmp_path: Path) -> None:
    """Quagga is FRR by now, and nothing here is systemd."""
    lab = imported("kathara", make(tmp_path / "rip", {
        "lab.conf": 'r_1[0]="A"\nr_1[image]="kathara/quagga"\npc[0]="A"\npc[image]="example/nginx"\n',
        "r_1/etc/quagga/daemons": "zebra=yes\n", "r_1/etc/quagga/zebra.conf": "!\n", "r_1/etc/hosts": "127.0.0.1 r\n",
        "r_1.startup": "systemctl start quagga\n", "pc.startup": "true\n" * 70 + "systemctl start radvd\n",
    }), images={"example/nginx": ("nginx-light",)})  # fmt: skip
    assert lab.lab["userland"] == {"packages": ["frr", "nginx-light"]}
    files = dict(lab.files)
    assert set(files) == {"r-1/etc/frr/daemons", "r-1/etc/frr/zebra.conf", "r-1/etc/hosts", "pc.startup"}
    assert str(files["pc.startup"]).endswith("true\n/etc/init.d/radvd start\n")
    assert [step.get("run") for step in lab.lab["steps"]] == ["/etc/init.d/frr start", "source ./pc.startup", None]
    assert {"/etc/quagga", "r_1.startup", "programs"} <= remarks(lab, "changed").keys()
    done = compiled(lab, tmp_path / "rip", tmp_path / "labs")
    assert (done.lab.path.parent / "pc.startup").read_text() == files["pc.startup"]
