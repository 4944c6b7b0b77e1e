"""Labs of other tools, imported and run: what they do, what they say, and what labrun says of them. On every engine."""

from __future__ import annotations

from pathlib import Path

from e2e.conftest import Labrun
from support.folders import make

KATHARA = {
    "lab.conf": 'pc_1[0]="A"\npc2[0]="A"\nr1[0]="A"\nr1[1]="B"\npc3[0]="B"\npc3[exec]="ping -c 1 -W 2 10.0.0.2"\n',
    "pc_1.startup": "ip address add 10.0.0.1/24 dev eth0\n",
    "pc2.startup": "ip address add 10.0.0.2/24 dev eth0\nip link set eth7 up\nip route add default via 10.0.0.254\n",
    "r1.startup": "ip address add 10.0.0.254/24 dev eth0\nip address add 10.1.0.254/24 dev eth1\n",
    "pc3.startup": "ip address add 10.1.0.3/24 dev eth0\nip route add default via 10.1.0.254\ncat /shared/hello /srv/own; hostname\n",
    "shared/hello": "hello from the folder\n",
    "pc2/srv/own": "of pc2\n",
    "pc3/srv/own": "of pc3\n",
}
CONTAINERLAB = {
    "demo.clab.yml": """\
name: demo
topology:
  nodes:
    a: {kind: linux, env: {WHO: somebody}, exec: ["ip addr add 10.0.0.1/24 dev eth1", "bash -c 'echo $WHO; cat /etc/conf'"], binds: ["a.conf:/etc/conf"]}
    b: {kind: linux, exec: ["ip addr add 10.0.0.2/24 dev eth1", "ping -c 1 -W 2 10.0.0.1"]}
    br: {kind: bridge}
  links: [{endpoints: ["a:eth1", "br:p1"]}, {endpoints: ["b:eth1", "br:p2"]}]
""",
    "a.conf": "configured\n",
}
COMPOSE = {
    "docker-compose.yml": """\
services:
  HostA:
    networks: {net-10: {ipv4_address: 10.9.0.5}}
    volumes: ["./data:/data"]
    command: bash -c "cat /data/hello && ip route add 192.168.60.0/24 via 10.9.0.11 && tail -f /dev/null"
  router:
    sysctls: [net.ipv4.ip_forward=1]
    networks: {net-10: {ipv4_address: 10.9.0.11}, net-192: {ipv4_address: 192.168.60.11}}
    command: tail -f /dev/null
  host1:
    depends_on: [HostA, router]
    networks: {net-192: {ipv4_address: 192.168.60.5}}
    command: bash -c "ip route del default && ip route add default via 192.168.60.11 && ping -c 1 -W 2 10.9.0.5"
networks:
  net-10: {ipam: {config: [{subnet: 10.9.0.0/24}]}}
  net-192: {ipam: {config: [{subnet: 192.168.60.0/24}]}}
""",
    "data/hello": "hello from the folder\n",
}
CHECKED = {
    "correction.yaml": """\
convergence_time: 2
structure: lab.conf
test:
  ip_mapping: {pc1: {0: 10.0.0.1/24}, r1: {eth0: 10.0.0.253/24}, gone: {0: 10.0.0.9/24}}
  kernel_routes: {pc1: [10.0.0.0/24, ["0.0.0.0/0", ["10.0.0.254"]], "!10.9.0.0/16"]}
  reachability: {pc1: [10.0.0.254, "!10.0.0.77", "!10.0.0.254"], r1: ["!192.0.2.1", "!no.such.name"]}
  daemons: {pc1: ["!sshd"]}
  sysctls: {r1: [net.ipv4.ip_forward=1]}
  custom_commands: {r1: [{command: echo hi, output: hi, exit_code: 0}, {command: "false", exit_code: 1}]}
""",
    "lab/lab.conf": 'pc1[0]="A"\nr1[0]="A"\n',
    "lab/pc1.startup": "ip address add 10.0.0.1/24 dev eth0\nip route add default via 10.0.0.254\n",
    "lab/r1.startup": "ip address add 10.0.0.254/24 dev eth0\n",
}
VERDICTS = {
    "c1": "supported", "c2": "refuted",  # addresses
    "c3": "supported", "c4": "supported", "c5": "supported", "c6": "supported",  # routes
    "c7": "supported", "c8": "supported", "c9": "refuted",  # pings
    "c10": "supported", "c11": "inconclusive",  # no route; no such name, which says nothing of who can be reached
    "c12": "supported", "c13": "supported",
    "c14": "supported", "c15": "supported", "c16": "supported",
}  # fmt: skip
SELFTEST = {
    "far.sh": "#!/bin/bash\nsource lib.sh\nsetup\ntry near 10.0.0.2\ntry nobody 10.0.0.9\nip netns del far\nexit $failed\n",
    "lib.sh": """\
failed=0
setup() {
    ip netns add far && ip link add v0 type veth peer name v1 netns far
    ip addr add 10.0.0.1/24 dev v0 && ip link set v0 up
    ip -n far addr add 10.0.0.2/24 dev v1 && ip -n far link set v1 up
    until ip link show v0 | grep -q 'state UP'; do sleep 0.05; done  # until then packets are dropped (linkwatch)
}
try() {
    if ping -c 1 -W 1 "$2" > /dev/null; then echo "TEST: $1     [ OK ]"; else echo "TEST: $1     [FAIL]"; failed=1; fi
}
""",
}


def test_folders_of_other_tools_run_as_they_are(tmp_path: Path, labrun: Labrun) -> None:
    make(tmp_path / "theirs/kat", KATHARA)
    make(tmp_path / "theirs/clab", CONTAINERLAB)
    make(tmp_path / "theirs/st", SELFTEST)
    make(tmp_path / "theirs/chk", CHECKED)
    make(tmp_path / "theirs/seed", COMPOSE)
    ran = labrun("run", "theirs/kat", "theirs/clab", "theirs/st", "theirs/chk", "theirs/seed")
    assert ran.exit == 1, ran.out + ran.err
    kathara = ran.lab("kat")
    assert kathara["message"].startswith("ran, 5 commands, 1 failed, nothing was claimed\nstep 'startup-pc2'"), kathara
    outputs = ran.run / "labs/kat/experiment/outputs"
    assert "1 received" in (outputs / "exec-pc3-1.stdout").read_text()
    assert (outputs / "startup-pc3.stdout").read_text() == "hello from the folder\nof pc3\npc3\n"
    assert ran.lab("demo")["message"] == "ran, 4 commands, 0 failed, nothing was claimed"
    assert (ran.run / "labs/demo/experiment/outputs/a-2.stdout").read_text() == "somebody\nconfigured\n"
    assert ran.verdicts("far") == {
        "far": ("refuted", "contradicted"),
        "far-near": ("supported", "as-predicted"),
        "far-nobody": ("refuted", "contradicted"),
    }
    assert ran.lab("seed")["message"] == "ran, 2 commands, 0 failed, nothing was claimed"
    outputs = ran.run / "labs/seed/experiment/outputs"
    assert "hello from the folder" in (outputs / "command-hosta.stdout").read_text()
    assert "1 received" in (outputs / "command-host1.stdout").read_text()
    checked = {name.partition("-")[0]: verdict for name, (verdict, _) in ran.verdicts("chk-lab").items()}
    assert checked == VERDICTS
    report = (ran.run / "index.md").read_text()
    assert "device pc_1: is node pc-1" in report
    assert "is node pc-1" in ran.err


def test_an_import_is_a_lab_that_runs(tmp_path: Path, docker_labrun: Labrun) -> None:
    """Nothing is run in a container here: it is the command line alone."""
    make(tmp_path / "kat", KATHARA)
    ran = docker_labrun("import", "kathara", "kat")
    assert ran.exit == 0, ran.err
    assert ran.out.startswith("labs/kat/lab.yaml\n  Mapped as it is:\n")
    assert docker_labrun("check", "kat").exit == 0
    again = docker_labrun("import", "kathara", "kat")
    assert again.exit == 2 and "labs/kat is there already" in again.err
    for args, told in (
        (("import", "kathra", "kat"), "Did you mean 'kathara'?"),
        (("import", "kathara", "nowhere"), "nowhere does not exist"),
        (("import", "kathara", "kat", "--image", "x", "--to", "l2"), "'x' is not NAME=PACKAGE,..."),
        (("import", "containerlab", "kat", "--to", "l2"), "no *.clab.yml"),
    ):
        wrong = docker_labrun(*args)
        assert wrong.exit == 2 and told in wrong.err, (args, wrong.err)
    assert not (tmp_path / "l2").exists()
