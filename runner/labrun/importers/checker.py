"""kathara-lab-checker's configurations (JSON or YAML): a Kathara lab, and each check as a hypothesis.

A check that begins with `!` is judged by what is seen, as the others are: where its command is broken, nothing is
known, and it does not pass. `convergence_time` is how long addresses and routes are looked at; they must be there at
one moment of it. Commands are run after that.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labrun.importers.base import Folder, Imported, Names, Options, Remark, slug
from labrun.importers.foreign_yaml import Document
from labrun.importers.images import add_packages, packages_of_scripts
from labrun.importers.kathara import CONF, read_conf
from labrun.importers.kathara import IMPORTER as KATHARA
from labrun.lab.text import Keys

_CONFIGS = ("correction.json", "correction.yaml", "correction.yml")
LOOKED, AFTER = "converging", "converged"
EVERY_S = 1
LONGEST_S = 600
MAX_CHECKS = 2000
_EXTRA = ("vtysh", "dig", "curl")  # programs of packages that not every userland has
_CONTROL = {"none": "The check of a network as it is: it says what there is, and not why."}
_NOT_MAPPED = {
    "requiring_startup": "whether the lab has a file says nothing of what happens",
    "lab_inline": "how a lab must be wired is not compared with how it is",
    "structure": "how a lab must be wired is not compared with how it is",
}


class Checker:
    title = "kathara-lab-checker configurations (correction.json, correction.yaml)"

    def recognises(self, names: Sequence[str]) -> bool:
        return any(name in _CONFIGS for name in names)

    def read(self, folder: Folder, options: Options) -> tuple[Imported, ...]:
        path = folder.chosen or next((name for name in _CONFIGS if name in folder), None)
        if path is None:
            raise folder.wrong(_CONFIGS[0], 0, "no configuration of the checker in this folder")
        labs = [found.rpartition("/")[0] for found in folder.entries if f"/{found}".endswith(f"/{CONF}")]
        if not labs:
            raise folder.wrong(CONF, 0, "no folder here has a Kathara lab")
        return tuple(_with_checks(folder, path, where, options) for where in sorted(labs))


IMPORTER = Checker()


@dataclass(frozen=True)
class Check:
    """One hypothesis. ``step``: what must run for it."""

    claim: str
    predict: dict[str, Any]
    step: dict[str, Any] | None = None


def _with_checks(folder: Folder, path: str, where: str, options: Options) -> Imported:
    lab_folder = folder.below_as_one(where)
    (imported,) = KATHARA.read(lab_folder, options)
    document = Document(folder, path)
    reading = _Reading(document, lab_folder)
    steps = [step for step in imported.lab["steps"] if "snapshot" not in step]
    hypotheses: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    known: dict[str, str] = {}
    for number, check in enumerate(reading.checks(), start=1):
        if number > MAX_CHECKS:
            raise document.wrong(("test",), f"more than {MAX_CHECKS} checks")
        predict = check.predict
        if check.step is not None:
            said = str(check.step)
            if said not in known:
                known[said] = f"check-{len(known) + 1}"
                runs.append({"id": known[said], **check.step})
            predict = _named(predict, known[said])
        hypotheses.append({"id": f"c{number}-{slug(check.claim)}"[:63].rstrip("-"), "claim": check.claim,
                           "predict": predict, "control": _CONTROL})  # fmt: skip
    if not hypotheses:
        raise document.wrong(("test",), "no check in it that labrun knows")
    seconds = reading.convergence_s
    if not any(LOOKED in str(one["predict"]) for one in hypotheses):
        steps.append({"id": LOOKED, "run": f"sleep {seconds}", "in": next(iter(reading.nodes.values()))})
    else:
        steps.append({"id": LOOKED, "snapshot": "all"})
    # What does not even try leaves all that comes after it undecided: it comes last.
    runs.sort(key=lambda step: _may_not_try(str(step["run"])))
    steps += [{"id": AFTER, "snapshot": "all"}, *runs]
    lab = imported.lab | {
        "steps": steps,
        "hypotheses": hypotheses,
        "question": f"Is the lab {imported.lab['title']} as its checks say?",
        "timeout": min(imported.lab["timeout"] + 2 * seconds + 10 * len(runs), 3600),
    }
    remarks = [*imported.remarks, *reading.remarks]
    known_packages = set(imported.lab.get("userland", {}).get("packages", ()))
    more = packages_of_scripts(step["run"] for step in runs) - known_packages
    if more:
        add_packages(lab, known_packages | more, remarks)
    name = slug(f"{folder.name}-{where}" if where else folder.name)
    return Imported(name, lab, imported.files, tuple(remarks))


def _named(predict: Any, step: str) -> Any:
    """With the step's name where a prediction has none yet."""
    if isinstance(predict, dict):
        return {key: step if key == "command" else _named(value, step) for key, value in predict.items()}
    return [_named(one, step) for one in predict] if isinstance(predict, list) else predict


class _Reading:
    """A configuration, for one lab."""

    def __init__(self, document: Document, lab: Folder) -> None:
        self.document = document
        top = document.mapping(document.value, ())
        self.test = document.mapping(top.get("test"), ("test",))
        names = Names()
        self.nodes = {name: names[name] for name in read_conf(lab)[1]}
        self.remarks: list[Remark] = []
        given = top.get("convergence_time") or 0
        if not isinstance(given, int | float | str) or not str(given).strip().isdecimal():
            raise document.wrong(("convergence_time",), "not a number of seconds")
        self.convergence_s = min(max(int(given), EVERY_S), LONGEST_S)
        self.in_time = {"eventually": {"within": self.convergence_s, "every": EVERY_S}}
        for key in ("lab_inline", "structure"):
            if key in top:
                self.remarks.append(Remark("left out", key, _NOT_MAPPED[key]))

    def checks(self) -> Iterator[Check]:
        known: dict[str, Any] = {
            "ip_mapping": self._addresses, "ipv6_enabled": self._ipv6, "sysctls": self._sysctls,
            "kernel_routes": self._routes, "daemons": self._daemons, "protocols": self._protocols,
            "reachability": self._reachability, "applications": self._applications,
            "custom_commands": self._commands,
        }  # fmt: skip
        for key, value in self.test.items():
            if key in known:
                yield from known[key](value, ("test", key))
            else:
                self._left_out(key, _NOT_MAPPED.get(key, "a kind of check that labrun does not know"))

    def _left_out(self, what: str, why: str) -> None:
        self.remarks.append(Remark("left out", what, why))

    def _of_devices(self, value: Any, at: Keys) -> Iterator[tuple[str, str, Any, Keys]]:
        """(device, node, value, place) of each device that the lab has."""
        for device, one in self.document.mapping(value, at).items():
            if device in self.nodes:
                yield device, self.nodes[device], one, (*at, device)
            else:
                self._left_out(".".join((*map(str, at[1:]), device)), f"the lab has no device {device}")

    def _each(self, value: Any, at: Keys) -> Iterator[tuple[str, str, str, bool]]:
        """(device, node, text, is it meant) of lists of texts, of which some begin with `!`."""
        for device, node, one, place in self._of_devices(value, at):
            for text in self.document.words(one, place):
                yield device, node, text.removeprefix("!"), not text.startswith("!")

    def _addresses(self, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, interfaces, place in self._of_devices(value, at):
            for name, text in self.document.table(interfaces, place).items():
                interface = f"eth{name}" if name.isdecimal() else name
                try:
                    address = ipaddress.ip_interface(text)
                except ValueError as error:
                    raise self.document.wrong((*place, name), f"not an address: {error}") from error
                where = {"dev": interface, "address": str(address.ip), "prefixlen": address.network.prefixlen}
                selector = {"at": LOOKED, "in": node, "where": where}
                yield Check(
                    f"{device} has {address} on {interface}.", {"addresses": selector, "count": 1, **self.in_time}
                )

    def _routes(self, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, routes, place in self._of_devices(value, at):
            for number, route in enumerate(self.document.items(routes, place)):
                where = (*place, number)
                listed = route if isinstance(route, list) else [route, []]
                text = self.document.text(listed[0] if listed else None, where)
                hops = self.document.words(listed[1] if len(listed) > 1 else [], where)
                yield from self._route(device, node, text, hops, where)
        self._left_out("other routes", "that a device has none besides those that are listed is not checked")

    def _route(self, device: str, node: str, text: str, hops: Sequence[str], at: Keys) -> Iterator[Check]:
        meant, text = not text.startswith("!"), text.removeprefix("!")
        try:
            network = (
                ipaddress.ip_network(text, strict=False) if text != "default" else ipaddress.ip_network("0.0.0.0/0")
            )
        except ValueError as error:
            raise self.document.wrong(at, f"not a route: {error}") from error
        alone = network.num_addresses == 1
        dst = "default" if network.prefixlen == 0 else str(network.network_address) if alone else str(network)
        family = "inet" if network.version == 4 else "inet6"
        where = {"dst": dst, "table": "main", "family": family}
        if not meant:
            selector = {"at": AFTER, "in": node, "where": where}
            yield Check(f"{device} has no route to {text}.", {"routes": selector, "count": 0})
            return
        selector = {"at": LOOKED, "in": node, "where": where}
        yield Check(f"{device} has a route to {text}.", {"routes": selector, "count": {"ge": 1}, **self.in_time})
        if len(hops) == 1:
            key = "dev" if _is_name(hops[0]) else "gateway"
            selector = {"at": LOOKED, "in": node, "where": where | {key: hops[0]}}
            claim = f"{device} reaches {text} by {hops[0]}."
            yield Check(claim, {"routes": selector, "count": {"ge": 1}, **self.in_time})
        elif hops:
            command = {"in": node, "run": f"ip -{network.version} route show {text}"}
            parts = [{"command": "", "stdout": {"matches": rf"(?m)\b{re.escape(hop)}(\s|$)"}} for hop in hops]
            yield Check(f"{device} reaches {text} by {', '.join(hops)}.", {"all": parts}, command)

    def _ipv6(self, value: Any, at: Keys) -> Iterator[Check]:
        for device in self.document.words(value, at):
            if device in self.nodes:
                step = {"in": self.nodes[device], "run": "sysctl -n net.ipv6.conf.all.disable_ipv6"}
                yield Check(f"{device} has IPv6.", {"command": "", "stdout": "0"}, step)
            else:
                self._left_out(f"ipv6_enabled.{device}", f"the lab has no device {device}")

    def _sysctls(self, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, text, meant in self._each(value, at):
            name, sign, wanted = text.partition("=")
            if not sign or not meant:
                raise self.document.wrong(at, f"not NAME=VALUE: {text[:80]!r}")
            step = {"in": node, "run": f"sysctl -n {shlex.quote(name.strip())}"}
            yield Check(
                f"{name.strip()} of {device} is {wanted.strip()}.", {"command": "", "stdout": wanted.strip()}, step
            )

    def _daemons(self, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, daemon, meant in self._each(value, at):
            line = (f"for pid in $(pgrep {shlex.quote(daemon)}); do"
                    " test /proc/$pid/ns/net -ef /proc/self/ns/net && exit 0; done; exit 1")  # fmt: skip
            step = {"in": node, "run": line, "exit": [0, 1], "note": "Of this node, and not of another one."}
            yield Check(f"{daemon} {'runs' if meant else 'does not run'} on {device}.",
                        {"command": "", "exit": 0 if meant else 1}, step)  # fmt: skip

    def _reachability(self, value: Any, at: Keys) -> Iterator[Check]:
        """By what ping prints. Where it did not try, as for a name that nobody knows, that says nothing."""
        for device, node, destination, meant in self._each(value, at):
            step = {"in": node, "run": f"ping -q -n -c 1 -W 2 {shlex.quote(destination)}"}
            claim = f"{device} {'reaches' if meant else 'does not reach'} {destination}."
            yield Check(claim, {"command": "", "stdout": {"contains" if meant else "lacks": "1 received"}}, step)

    def _commands(self, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, entries, place in self._of_devices(value, at):
            for number, entry in enumerate(self.document.items(entries, place)):
                where = (*place, number)
                given = self.document.mapping(entry, where)
                command = self.document.text(given.get("command"), (*where, "command"))
                if not command:
                    raise self.document.wrong(where, "it has no command")
                step: dict[str, Any] = {"in": node, "run": command}
                status = given.get("exit_code")
                if isinstance(status, int) and 0 <= status <= 255:
                    step["exit"] = status
                    yield Check(f"{command} on {device} ends with {status}.", {"command": "", "exit": status}, step)
                texts = (("output", "equals", "prints what it must"), ("regex_match", "matches", "prints what matches"))
                for key, operator, words in texts:
                    if key in given:
                        text = self.document.text(given[key], (*where, key)).replace("\r\n", "\n").strip("\n")
                        check = {"command": "", "stdout": {operator: text}}
                        yield Check(f"{command} on {device} {words}.", check, step)

    def _protocols(self, value: Any, at: Keys) -> Iterator[Check]:
        for protocol, sections in self.document.mapping(value, at).items():
            for key, one in self.document.mapping(sections, (*at, protocol)).items():
                place = (*at, protocol, key)
                if key in ("networks", "injections"):
                    word = "network" if key == "networks" else "redistribute"
                    for device, node, text, meant in self._each(one, place):
                        step = {"in": node, "run": f"vtysh -c 'show running-config {protocol}'"}
                        found = {"command": "", "stdout": {"matches": rf"(?m)^\s*{word}\s+{re.escape(text)}(\s|$)"}}
                        claim = f"{protocol} of {device} has {'a' if meant else 'no'} `{word} {text}`."
                        yield Check(claim, found if meant else {"not": found}, step)
                elif key == "neighbors" and protocol in ("bgpd", "ospfd"):
                    yield from self._neighbours(protocol, one, place)
                else:
                    self._left_out(f"protocols.{protocol}.{key}", "a kind of check that labrun does not know yet")

    def _neighbours(self, protocol: str, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, entries, place in self._of_devices(value, at):
            for number, entry in enumerate(self.document.items(entries, place)):
                given = self.document.mapping(entry, (*place, number))
                if protocol == "ospfd":
                    name = self.document.text(given.get("router_id"), place)
                    state = self.document.text(given.get("state"), place) or "Full"
                    command = "show ip ospf neighbor json"
                    states = {"one_of": [state.upper(), state.capitalize()]}
                    check: dict[str, Any] = {f'neighbors."{name}"[].converged | [0]': states}
                else:
                    name = self.document.text(given.get("ip"), place)
                    family = "ipv6Unicast" if ":" in name else "ipv4Unicast"
                    command = "show bgp summary json"
                    check = {f'{family}.peers."{name}".state': {"one_of": ["Established"]}}
                    if isinstance(given.get("asn"), int):
                        check[f'{family}.peers."{name}".remoteAs'] = {"one_of": [given["asn"]]}
                if not re.fullmatch(r"[\w.:-]+", name):
                    raise self.document.wrong((*place, number), f"not a neighbour: {name[:60]!r}")
                step = {"in": node, "run": f"vtysh -c '{command}'"}
                yield Check(f"{device} and {name} are neighbours in {protocol}.", {"command": "", "json": check}, step)

    def _applications(self, value: Any, at: Keys) -> Iterator[Check]:
        for key, one in self.document.mapping(value, at).items():
            if key == "http":
                yield from self._http(one, (*at, key))
            elif key == "dns":
                yield from self._dns(self.document.mapping(one, (*at, key)), (*at, key))
            else:
                self._left_out(f"applications.{key}", "a kind of check that labrun does not know yet")

    def _http(self, value: Any, at: Keys) -> Iterator[Check]:
        for device, node, entries, place in self._of_devices(value, at):
            for number, entry in enumerate(self.document.items(entries, place)):
                given = self.document.mapping(entry, (*place, number))
                url = self.document.text(given.get("url"), place)
                method = self.document.text(given.get("method"), place).upper() or "GET"
                if not url or not method.isalpha():
                    raise self.document.wrong((*place, number), "it has no url, or no method")
                step = {"in": node, "run": f"curl -sS -m 10 -X {method} -w '\\n%{{http_code}}' {shlex.quote(url)}"}
                status = self.document.text(given.get("status_code"), place) or "200"
                body: dict[str, Any] = {"matches": rf"(?:^|\n){re.escape(status)}$"}
                if given.get("body_contains"):
                    body["contains"] = self.document.text(given["body_contains"], place)
                yield Check(
                    f"{method} {url} on {device} is answered with {status}.", {"command": "", "stdout": body}, step
                )
                if given.get("regex_body"):
                    pattern = self.document.text(given["regex_body"], place)
                    claim = f"The answer to {method} {url} on {device} matches {pattern}."
                    yield Check(claim, {"command": "", "stdout": {"matches": pattern}}, step)

    def _dns(self, value: dict[str, Any], at: Keys) -> Iterator[Check]:
        local = self.document.mapping(value.get("local_ns"), (*at, "local_ns"))
        clients: dict[str, str] = {}
        for server, devices in local.items():
            for device in self.document.words(devices, (*at, "local_ns", server)):
                if device not in self.nodes:
                    self._left_out(f"applications.dns.local_ns.{server}.{device}", f"the lab has no device {device}")
                    continue
                clients[device] = self.nodes[device]
                step = {"in": self.nodes[device], "run": "cat /etc/resolv.conf"}
                pattern = rf"(?m)^nameserver {re.escape(server)}\s*$"
                yield Check(
                    f"{device} asks the name server {server}.", {"command": "", "stdout": {"matches": pattern}}, step
                )
        for kind, records in self.document.mapping(value.get("records"), (*at, "records")).items():
            for name, addresses in self.document.mapping(records, (*at, "records", kind)).items():
                wanted = self.document.words(addresses, (*at, "records", kind, name))
                for device, node in clients.items():
                    step = {"in": node, "run": f"dig +short {shlex.quote(kind)} {shlex.quote(name)}"}
                    claim = f"{name} has the {kind} record {' or '.join(wanted)}, as {device} sees it."
                    yield Check(claim, {"command": "", "stdout": {"one_of": wanted}}, step)
        for key in value:
            if key not in ("local_ns", "records"):
                self._left_out(f"applications.dns.{key}", "a kind of check that labrun does not know yet")


def _may_not_try(line: str) -> bool:
    """A program that may not be there, or a name that nobody may know."""
    return line.startswith(_EXTRA) or (line.startswith("ping ") and _is_name(line.split()[-1]))


def _is_name(hop: str) -> bool:
    try:
        ipaddress.ip_address(hop)
    except ValueError:
        return True
    return False
