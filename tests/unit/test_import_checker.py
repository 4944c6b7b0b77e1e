"""kathara-lab-checker's configurations: each kind of check, and what is not of the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labrun.lab.problems import LabError
from support.folders import compiled, imported, make, remarks

LAB = {"lab/lab.conf": 'r_1[0]="A"\npc[0]="A"\n', "lab/pc.startup": "true\n"}
IN_TIME = {"eventually": {"within": 30, "every": 1}}


def check(tests: Any, folder: Path, **top: Any) -> Any:
    text = json.dumps({"convergence_time": 30, "test": tests, **top})
    return imported("kathara-lab-checker", make(folder, {**LAB, "correction.json": text}))


def at(moment: str, kind: str, **where: Any) -> dict[str, Any]:
    return {kind: {"at": moment, "in": "r-1", "where": where}}


ROUTE = {"dst": "10.0.0.0/24", "table": "main", "family": "inet"}
VTYSH = "vtysh -c 'show running-config bgpd'"
CHECKS: dict[str, tuple[Any, list[tuple[Any, Any]]]] = {
    "an address": ({"ip_mapping": {"r_1": {"0": "10.0.0.1/24"}}},
        [({**at("converging", "addresses", dev="eth0", address="10.0.0.1", prefixlen=24), "count": 1, **IN_TIME}, None)]),
    "a route": ({"kernel_routes": {"r_1": ["10.0.0.0/24"]}},
        [({**at("converging", "routes", **ROUTE), "count": {"ge": 1}, **IN_TIME}, None)]),
    "no route": ({"kernel_routes": {"r_1": ["!10.0.0.0/24"]}}, [({**at("converged", "routes", **ROUTE), "count": 0}, None)]),
    "a route by a gateway": ({"kernel_routes": {"r_1": [["0.0.0.0/0", ["10.0.0.2"]]]}}, [
        ({**at("converging", "routes", **ROUTE | {"dst": "default"}), "count": {"ge": 1}, **IN_TIME}, None),
        ({**at("converging", "routes", **ROUTE | {"dst": "default"}, gateway="10.0.0.2"), "count": {"ge": 1}, **IN_TIME}, None)]),
    "a route by two": ({"kernel_routes": {"r_1": [["10.0.0.9/32", ["10.0.0.2", "eth0"]]]}}, [
        ({**at("converging", "routes", **ROUTE | {"dst": "10.0.0.9"}), "count": {"ge": 1}, **IN_TIME}, None),
        ({"all": [{"command": "check-1", "stdout": {"matches": r"(?m)\b10\.0\.0\.2(\s|$)"}},
                  {"command": "check-1", "stdout": {"matches": r"(?m)\beth0(\s|$)"}}]}, "ip -4 route show 10.0.0.9/32")]),
    "a ping": ({"reachability": {"r_1": ["10.0.0.2"]}},
        [({"command": "check-1", "stdout": {"contains": "1 received"}}, "ping -q -n -c 1 -W 2 10.0.0.2")]),
    "no ping": ({"reachability": {"r_1": ["!10.0.0.2"]}},
        [({"command": "check-1", "stdout": {"lacks": "1 received"}}, "ping -q -n -c 1 -W 2 10.0.0.2")]),
    "IPv6": ({"ipv6_enabled": ["r_1"]}, [({"command": "check-1", "stdout": "0"}, "sysctl -n net.ipv6.conf.all.disable_ipv6")]),
    "a sysctl": ({"sysctls": {"r_1": ["net.ipv4.ip_forward=1"]}},
        [({"command": "check-1", "stdout": "1"}, "sysctl -n net.ipv4.ip_forward")]),
    "no injection": ({"protocols": {"bgpd": {"injections": {"r_1": ["!rip"]}}}},
        [({"not": {"command": "check-1", "stdout": {"matches": r"(?m)^\s*redistribute\s+rip(\s|$)"}}}, VTYSH)]),
    "a network": ({"protocols": {"bgpd": {"networks": {"r_1": ["10.0.0.0/8"]}}}},
        [({"command": "check-1", "stdout": {"matches": r"(?m)^\s*network\s+10\.0\.0\.0/8(\s|$)"}}, VTYSH)]),
    "a neighbour": ({"protocols": {"bgpd": {"neighbors": {"r_1": [{"ip": "10.0.0.2", "asn": 2}]}}}},
        [({"command": "check-1", "json": {'ipv4Unicast.peers."10.0.0.2".state': {"one_of": ["Established"]},
           'ipv4Unicast.peers."10.0.0.2".remoteAs': {"one_of": [2]}}}, "vtysh -c 'show bgp summary json'")]),
    "a command": ({"custom_commands": {"r_1": [{"command": "id -u", "output": "0\r\n", "regex_match": "^0", "exit_code": 0}]}}, [
        ({"command": "check-1", "exit": 0}, "id -u"), ({"command": "check-1", "stdout": {"equals": "0"}}, "id -u"),
        ({"command": "check-1", "stdout": {"matches": "^0"}}, "id -u")]),
    "a record": ({"applications": {"dns": {"local_ns": {"10.0.0.3": ["r_1"]}, "records": {"A": {"a.b": ["10.0.0.4"]}}}}}, [
        ({"command": "check-1", "stdout": {"matches": r"(?m)^nameserver 10\.0\.0\.3\s*$"}}, "cat /etc/resolv.conf"),
        ({"command": "check-2", "stdout": {"one_of": ["10.0.0.4"]}}, "dig +short A a.b")]),
    "a page": ({"applications": {"http": {"r_1": [{"url": "http://a/", "status_code": 404, "body_contains": "gone"}]}}},
        [({"command": "check-1", "stdout": {"matches": "(?:^|\\n)404$", "contains": "gone"}},
          "curl -sS -m 10 -X GET -w '\\n%{http_code}' http://a/")]),
}  # fmt: skip


@pytest.mark.parametrize("what", CHECKS)
def test_each_kind_of_check(what: str, tmp_path: Path) -> None:
    tests, wanted = CHECKS[what]
    lab = check(tests, tmp_path / "x")
    runs = {step["id"]: step["run"] for step in lab.lab["steps"] if "run" in step}
    found = [(one["predict"], runs.get(_step(one["predict"]))) for one in lab.lab["hypotheses"]]
    assert found == wanted
    compiled(lab, tmp_path / "x", tmp_path / "labs")


def _step(predict: Any) -> str:
    if isinstance(predict, dict):
        return str(predict.get("command") or next(filter(None, map(_step, predict.values())), ""))
    return next(filter(None, map(_step, predict)), "") if isinstance(predict, list) else ""


def test_commands_come_when_the_time_to_converge_has_passed(tmp_path: Path) -> None:
    lab = check({"reachability": {"r_1": ["10.0.0.2"]}}, tmp_path)
    ids = [step["id"] for step in lab.lab["steps"]]
    assert ids == ["startup-pc", "converging", "converged", "check-1"]
    assert lab.lab["steps"][1]["run"] == "sleep 30"


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    tests = {"reachability": {"r_1": ["pc"], "gone": ["x"]}, "requiring_startup": ["pc"], "scion": {},
             "protocols": {"ospfd": {"routes": {}}}, "applications": {"dns": {"authoritative": {}}, "ftp": {}}}  # fmt: skip
    assert remarks(check(tests, tmp_path, structure="x"), "left out").keys() >= {
        "structure", "reachability.gone", "requiring_startup", "scion", "protocols.ospfd.routes",
        "applications.dns.authoritative", "applications.ftp",
    }  # fmt: skip


WRONG: dict[str, tuple[Any, str]] = {
    "no address": ({"ip_mapping": {"r_1": {"0": "10.0.0"}}}, r"correction\.json:1:\d+: test\.ip_mapping\.r_1\.0: not an address"),
    "no route": ({"kernel_routes": {"r_1": ["hello"]}}, "not a route"),
    "no mapping": ({"reachability": ["r_1"]}, "a mapping is needed"),
    "no command": ({"custom_commands": {"r_1": [{}]}}, "it has no command"),
    "a neighbour with quotes": ({"protocols": {"bgpd": {"neighbors": {"r_1": [{"ip": "x\"'"}]}}}}, "not a neighbour"),
    "nothing": ({}, "no check in it"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_of_the_format(what: str, tmp_path: Path) -> None:
    tests, told = WRONG[what]
    with pytest.raises(LabError, match=told):
        check(tests, tmp_path)


def test_several_labs_have_the_same_checks(tmp_path: Path) -> None:
    from labrun.importers.base import Options
    from labrun.importers.formats import importer, read_folder

    more = {"labs/one/lab.conf": 'r_1[0]="A"\n', "correction.yaml": "test: {ipv6_enabled: [r_1]}\n"}
    folder = make(tmp_path / "x", {**LAB, **more})
    labs = importer("kathara-lab-checker").read(read_folder(folder), Options())
    assert [lab.name for lab in labs] == ["x-lab", "x-labs-one"]
