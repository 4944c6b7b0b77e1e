"""docker compose files as SEED's labs have them: networks, addresses, commands, files, and what is not of the format."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.problems import LabError
from support.folders import compiled, imported, make, remarks

LAB = """\
version: "3"
x-common: &common
  image: handsonsecurity/seed-ubuntu:large
  cap_add: [ALL]
services:
  Attacker: {<<: *common, network_mode: host, volumes: ["./volumes:/volumes"]}
  HostA:
    <<: *common
    build: ./image
    networks: {net-10: {ipv4_address: 10.9.0.5}}
    sysctls: [net.ipv4.tcp_syncookies=0]
    environment: {WHO: "${WHO:-me}", COST: "5$$"}
    command: bash -c "
                ip route add 192.168.60.0/24 via 10.9.0.11 &&
                tail -f /dev/null
             "
  router:
    <<: *common
    depends_on: [HostA]
    networks:
      net-192: {ipv4_address: 192.168.60.11}
      net-10: {ipv4_address: 10.9.0.11, mac_address: "02:00:00:00:00:AA"}
    command: ["sleep", "infinity"]
    ports: ["80:80"]
  b:
    <<: *common
    networks: [net-192]
    depends_on: {router: {condition: service_started}}
    command: python3 -m http.server 80
  c: {image: alpine, network_mode: none}
networks:
  net-10: {ipam: {config: [{subnet: 10.9.0.0/24}]}}
  net-192: {ipam: {config: [{subnet: 192.168.60.0/24, gateway: 192.168.60.254}]}}
"""


def test_a_file_with_each_thing(tmp_path: Path) -> None:
    folder = make(tmp_path / "Labsetup", {"docker-compose.yml": LAB, "volumes/x.py": "print()\n"})
    lab = imported("compose", folder)
    machine = {"machine": True}
    assert lab.lab["topology"] == {
        "nodes": {
            "attacker": machine | {"files": {"/volumes": "binds/volumes"}},
            "hosta": machine | {"env": {"WHO": "me", "COST": "5$"}}, "router": machine, "b": machine, "c": machine,
        },
        "sysctls": {"hosta": {"net.ipv4.tcp_syncookies": "0"}},
        "routes": {
            "hosta": {"default": "10.9.0.1"}, "router": {"default": "10.9.0.1"}, "b": {"default": "192.168.60.254"},
        },
        "links": [
            {"hosta.eth0": {"address": ["10.9.0.5/24"]}, "attacker.hosta-eth0": None},
            {"router.eth0": {"mac": "02:00:00:00:00:aa", "address": ["10.9.0.11/24"]}, "attacker.router-eth0": None},
            {"router.eth1": {"address": ["192.168.60.11/24"]}, "attacker.router-eth1": None},
            {"b.eth0": {"address": ["192.168.60.2/24"]}, "attacker.b-eth0": None},
        ],
        "bridges": {
            "attacker.net-10": {"address": ["10.9.0.1/24"], "ports": ["hosta-eth0", "router-eth0"]},
            "attacker.net-192": {"address": ["192.168.60.254/24"], "ports": ["router-eth1", "b-eth0"]},
        },
    }  # fmt: skip
    steps = [(step["in"], step.get("run") or step.get("start")) for step in lab.lab["steps"] if "in" in step]
    assert steps == [
        ("hosta", "ip route add 192.168.60.0/24 via 10.9.0.11"),
        ("b", ["python3", "-m", "http.server", "80"]),
    ]
    assert {"ports of router", "build of HostA", "network_mode of c"} <= remarks(lab, "left out").keys()
    assert [path for path, _ in lab.files] == ["binds/volumes/x.py"]
    compiled(lab, folder, tmp_path / "labs")


def test_a_file_without_networks(tmp_path: Path) -> None:
    lab = imported("compose", make(tmp_path / "x", {"compose.yaml": "services: {a: {image: x}, b: {image: x}}\n"}))
    assert [next(iter(link.values())) for link in lab.lab["topology"]["links"]] == [
        {"address": ["172.18.0.2/16"]}, {"address": ["172.18.0.3/16"]},
    ]  # fmt: skip
    compiled(lab, tmp_path / "x", tmp_path / "labs")


def of(service: str, networks: str = "{n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}") -> str:
    return f"services:\n  a: {service}\n  b: {{}}\nnetworks: {networks}\n"


WRONG = {
    "no services": ("version: '3'\n", "it has no services"),
    "no network": (of("{networks: [m]}"), "no network is named 'm'"),
    "no subnet": (of("{}", "{n: {ipam: {config: [{subnet: hello}]}}}"), "not a subnet"),
    "an address of another": (of("{networks: {n: {ipv4_address: 10.1.0.1}}}"), r"10\.1\.0\.1 is in no subnet"),
    "no address": (of("{networks: {n: {ipv4_address: x}}}"), "not an address"),
    "a circle": ("services: {a: {depends_on: [b]}, b: {depends_on: [a]}}\n", "a circle"),
    "quotes": (of("{command: 'bash -c \"'}"), "not words for a command"),
    "a text for a mapping": ("services: {a: hello}\n", r":1:15: services\.a: a mapping is needed"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_of_the_format(what: str, tmp_path: Path) -> None:
    text, told = WRONG[what]
    with pytest.raises(LabError, match=told):
        imported("compose", make(tmp_path, {"compose.yaml": text}))


COMMANDS = {
    "tail -f /dev/null": None,
    "bash": None,
    "sleep infinity": None,
    "bash -c 'tail -f /dev/null'": None,
    "sh -c 'ip link; sleep infinity'": {"run": "ip link"},
    "bash -c 'ip link && exec tail -F /dev/null;'": {"run": "ip link"},
    "bash -c 'ip link && /start.sh'": {"start": "ip link && /start.sh"},
    "nginx -g 'daemon off;'": {"start": ["nginx", "-g", "daemon off;"]},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_keeps_a_container_alive(command: str, tmp_path: Path) -> None:
    lab = imported("compose", make(tmp_path, {"compose.yaml": f'services:\n  a: {{command: "{command}"}}\n'}))
    found = [{key: step[key] for key in ("run", "start") if key in step} for step in lab.lab["steps"] if "in" in step]
    assert found == ([COMMANDS[command]] if COMMANDS[command] else [])
