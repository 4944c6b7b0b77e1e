"""Does everything that a lab names exist when it is named? Nodes, steps, interfaces, captures, snapshots, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from labrun.lab.load import Lab
from labrun.lab.predictions import ChangeIs, CommandIs, PacketsAre, StateIs, leaves
from labrun.lab.problems import Problem, did_you_mean
from labrun.lab.steps import NODELESS, StepModel
from labrun.lab.text import Keys

PlacedStep = tuple[str, StepModel, Keys]
CHANGES = ("link", "address", "route", "rule", "neighbour", "sysctl", "nft", "namespace")


@dataclass
class _Known:
    """What is there so far, while the steps are walked in order."""

    nodes: list[str]
    order: dict[str, int] = field(default_factory=dict)  # step id -> its number
    verbs: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str | None] = field(default_factory=dict)  # step id -> its node
    captures: dict[str, tuple[str | None, tuple[str, ...]]] = field(default_factory=dict)
    snapshots: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)  # capture step -> number of the step that stops it


def check_references(
    lab: Lab, steps: Sequence[PlacedStep], only_predictions_of: int | None = None, at: Keys = ()
) -> list[Problem]:
    """Problems of the steps and of the predictions over them.

    For a control: only the predictions of its hypothesis, reported at the control (``at``).
    """
    problems: list[Problem] = []
    if only_predictions_of is None:
        problems += _topology(lab)
    known = _Known(list(lab.model.topology.nodes))
    later = {model.namespace.add: step_id for step_id, model, _ in steps if model.namespace and model.namespace.add}
    for number, (step_id, model, path) in enumerate(steps):
        problems += [
            lab.problem((*path, *where), f"step '{step_id}': {text}")
            for where, text in _step(step_id, model, known, later)
        ]
        known.order[step_id] = number
    for index, hypothesis in enumerate(lab.model.hypotheses):
        if only_predictions_of not in (None, index):
            continue
        for leaf_path, leaf in leaves(hypothesis.predict):
            for where, text in _leaf(leaf, known):
                if only_predictions_of is None:
                    path = ("hypotheses", index, "predict", *leaf_path, *where)
                    problems.append(lab.problem(path, f"hypothesis '{hypothesis.id}': {text}"))
                else:
                    place = at if lab.places.has(at) else at[:-1]
                    problems.append(lab.problem(place, f"hypothesis '{hypothesis.id}': in this control: {text}"))
    return problems


Found = list[tuple[Keys, str]]


def _topology(lab: Lab) -> list[Problem]:
    topology = lab.model.topology
    problems = []

    def unknown(node: str) -> str:
        return f"unknown node '{node}'.{did_you_mean(node, topology.nodes)}"

    seen: dict[str, str] = {}
    places: list[tuple[str, Keys]] = [(name, ("topology", "bridges", name)) for name in topology.bridges]
    for index, link in enumerate(topology.links):
        places += [(end, ("topology", "links", index, end)) for end in link.ends]
    for name, path in places:
        node, dot, interface = name.partition(".")
        if not dot or not interface:
            problems.append(lab.problem(path, f"'{name}' is not node.interface, such as host.br0", key=True))
        elif node not in topology.nodes:
            problems.append(lab.problem(path, unknown(node), key=True))
        elif len(interface.encode()) > 15 or interface == "any" or interface == "lo":
            text = f"'{interface}' cannot be an interface's name here (1 to 15 bytes, not lo, not any)"
            problems.append(lab.problem(path, text, key=True))
        elif name in seen:
            problems.append(lab.problem(path, f"{name} is there already", key=True))
        seen[name] = name
    interfaces = topology.interfaces()
    for name, bridge in topology.bridges.items():
        node, dot, _ = name.partition(".")
        if not dot or node not in topology.nodes:
            continue  # said already
        for index, port in enumerate(bridge.ports):
            if port not in interfaces.get(node, set()):
                hint = did_you_mean(port, interfaces.get(node, set()) - {"lo"})
                path = ("topology", "bridges", name, "ports", index)
                problems.append(lab.problem(path, f"{node} has no interface '{port}' in the topology.{hint}"))
    for key in ("routes", "sysctls"):
        for node in getattr(topology, key):
            if node not in topology.nodes:
                problems.append(lab.problem(("topology", key, node), unknown(node), key=True))
    return problems


def _step(step_id: str, model: StepModel, known: _Known, later: dict[str, str]) -> Found:
    found: Found = []

    def need_node(node: str, where: Keys) -> None:
        if node in known.nodes:
            return
        if node in later:
            found.append((where, f"node '{node}' is made by step '{later[node]}', which comes later"))
        else:
            found.append((where, f"unknown node '{node}'.{did_you_mean(node, known.nodes)}"))

    home = model.node
    if model.verb not in NODELESS:
        if home is not None:
            need_node(home, ("in",))
        elif len(known.nodes) == 1:
            home = known.nodes[0]
        else:
            have = ", ".join(known.nodes) or "none: make one in the topology or with a namespace step"
            found.append(((), f"in which node? Give in: (nodes here: {have})"))
    known.verbs[step_id] = model.verb
    known.homes[step_id] = home
    if model.namespace is not None:
        if model.namespace.add in known.nodes:
            found.append((("namespace",), f"node '{model.namespace.add}' is there already"))
        elif model.namespace.add:
            known.nodes.append(model.namespace.add)
        elif model.namespace.delete:
            need_node(model.namespace.delete, ("namespace", "delete"))
            known.nodes = [node for node in known.nodes if node != model.namespace.delete]
    if model.capture is not None:
        known.captures[step_id] = (home, model.capture.on)
    if model.snapshot is not None:
        for node in model.snapshot.nodes or ():
            need_node(node, ("snapshot",))
        known.snapshots[step_id] = (model.snapshot.nodes or tuple(known.nodes), model.snapshot.parts)
    if model.link is not None:
        if model.link.peer is not None and model.link.peer.node is not None:
            need_node(model.link.peer.node, ("link", "peer", "node"))
        if model.link.move_to is not None:
            need_node(model.link.move_to, ("link", "move_to"))
    found += _step_references(model, known)
    return found


def _step_references(model: StepModel, known: _Known) -> Found:
    found: Found = []
    wanted: list[tuple[Keys, str, tuple[str, ...]]] = []
    if model.stop is not None:
        wanted.append((("stop",), model.stop.step, ("start", "capture")))
        if known.verbs.get(model.stop.step) == "capture":
            known.stopped.setdefault(model.stop.step, len(known.order))
    if model.wait is not None and model.wait.packets is not None:
        wanted.append((("wait", "packets"), model.wait.packets, ("capture",)))
    if model.wait is not None and model.wait.output is not None:
        wanted.append((("wait", "output"), model.wait.output, ("start",)))
    for where, target, verbs in wanted:
        found += [(where, text) for text in _wrong_step(target, verbs, known)]
    return found


def _wrong_step(target: str, verbs: tuple[str, ...], known: _Known) -> list[str]:
    """Why ``target`` is not an earlier step with one of these verbs; empty if it is."""
    if target not in known.verbs:
        fitting = [name for name, verb in known.verbs.items() if verb in verbs]
        return [f"unknown step '{target}'.{did_you_mean(target, fitting)}"]
    if known.verbs[target] not in verbs:
        return [f"step '{target}' is a {known.verbs[target]} step; one of these is needed: {', '.join(verbs)}"]
    return []


def _leaf(leaf: object, known: _Known) -> Found:
    if isinstance(leaf, CommandIs):
        return [(("command",), text) for text in _wrong_step(leaf.command, ("run", "start"), known)]
    if isinstance(leaf, ChangeIs):
        return [(("change",), text) for text in _wrong_step(leaf.change, CHANGES, known)]
    if isinstance(leaf, PacketsAre):
        return _packets(leaf, known)
    if isinstance(leaf, StateIs):
        return _state(leaf, known)
    return []


def _packets(leaf: PacketsAre, known: _Known) -> Found:
    found: Found = []
    selector = leaf.packets
    node, dot, interface = selector.on.partition(".")
    if not dot:
        return [(("packets", "on"), f"'{selector.on}' is not node.interface, such as host.lo or host.any")]
    here = {
        step: names
        for step, (home, names) in known.captures.items()
        if home == node and (interface in names or "any" in names or interface == "any")
    }
    if selector.capture is not None:
        if selector.capture not in here:
            return [(("packets", "capture"), f"no capture step '{selector.capture}' captures on {selector.on}."
                     + did_you_mean(selector.capture, here))]  # fmt: skip
        here = {selector.capture: here[selector.capture]}
    if not here:
        captured = sorted(f"{home}.{name}" for home, names in known.captures.values() for name in names)
        return [(("packets", "on"), f"nothing captures on {selector.on}.{did_you_mean(selector.on, captured)}")]
    if len(here) > 1:
        return [(("packets",), f"{selector.on} is captured by {', '.join(here)}: say which with capture:")]
    if selector.during is None:
        return found
    capture = next(iter(here))
    begin, end = selector.during.start, selector.during.end
    for name in dict.fromkeys((begin, end)):
        if name not in known.order:
            found.append((("packets", "during"), f"unknown step '{name}'.{did_you_mean(name, known.order)}"))
    if not found:
        if known.order[begin] > known.order[end]:
            found.append((("packets", "during"), f"step '{begin}' comes after '{end}'"))
        if known.order[begin] <= known.order[capture]:
            text = f"step '{begin}' does not come after '{capture}', which starts the capture"
            found.append((("packets", "during"), text))
        if known.stopped.get(capture, len(known.order)) <= known.order[end]:
            found.append((("packets", "during"), f"the capture '{capture}' is stopped before '{end}' ends"))
    return found


def _state(leaf: StateIs, known: _Known) -> Found:
    selector = leaf.selector
    wrong = _wrong_step(selector.at, ("snapshot",), known)
    if wrong:
        return [((leaf.kind, "at"), text) for text in wrong]
    nodes, parts = known.snapshots[selector.at]
    found: Found = []
    if leaf.kind not in parts:
        found.append(
            ((leaf.kind, "at"), f"snapshot '{selector.at}' does not keep {leaf.kind}, only {', '.join(parts)}")
        )
    if selector.node is None and len(nodes) != 1:
        found.append(((leaf.kind,), f"in which node? Give in: (snapshot '{selector.at}' has {', '.join(nodes)})"))
    if selector.node is not None and selector.node not in nodes:
        found.append(((leaf.kind, "in"), f"snapshot '{selector.at}' does not have node '{selector.node}'."
                      + did_you_mean(selector.node, nodes)))  # fmt: skip
    return found
