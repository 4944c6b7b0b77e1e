"""Does everything that a lab names exist when it is named? Nodes, steps, interfaces, captures, snapshots, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from labrun.lab.base import REFERENCE
from labrun.lab.check.known import Found, Known, wrong_step
from labrun.lab.check.predictions import leaf_problems
from labrun.lab.load import Lab
from labrun.lab.predictions import Prediction, leaves
from labrun.lab.problems import Problem
from labrun.lab.steps import NODELESS, StepModel
from labrun.lab.text import Keys
from labrun.logic.suggest import did_you_mean

PlacedStep = tuple[str, StepModel, Keys]


def check_references(
    lab: Lab, steps: Sequence[PlacedStep], only_predictions_of: int | None = None, at: Keys = (),
    own: Prediction | None = None,
) -> list[Problem]:  # fmt: skip
    """Problems of the steps and of the predictions over them.

    For a control: only the prediction of its hypothesis, reported at the control (``at``), or the control's ``own``,
    reported where it is written.
    """
    problems: list[Problem] = []
    if only_predictions_of is None:
        problems += _topology(lab)
    known = Known(list(lab.model.topology.nodes), values=dict.fromkeys(lab.cell))
    later = {model.namespace.add: step_id for step_id, model, _ in steps if model.namespace and model.namespace.add}
    for number, (step_id, model, path) in enumerate(steps):
        problems += [
            lab.problem((*path, *where), f"step '{step_id}': {text}")
            for where, text in _step(step_id, model, known, later)
        ]
        known.order[step_id] = number
        known.values.update(model.save or {})
    for index, hypothesis in enumerate(lab.model.hypotheses):
        if only_predictions_of not in (None, index):
            continue
        for leaf_path, leaf in leaves(own or hypothesis.predict):
            for where, text in leaf_problems(leaf, known):
                if own is not None:
                    path = (*at, "predict", *leaf_path, *where)
                    problems.append(lab.problem(path, f"hypothesis '{hypothesis.id}': in this control: {text}"))
                elif only_predictions_of is None:
                    path = ("hypotheses", index, "predict", *leaf_path, *where)
                    problems.append(lab.problem(path, f"hypothesis '{hypothesis.id}': {text}"))
                else:
                    place = at if lab.places.has(at) else at[:-1]
                    problems.append(lab.problem(place, f"hypothesis '{hypothesis.id}': in this control: {text}"))
    return problems


def _addresses(lab: Lab) -> Iterator[tuple[Keys, str, str]]:
    """(place, node, address) of each end of a link and each bridge."""
    topology = lab.model.topology
    for name, bridge in topology.bridges.items():
        for address in bridge.address:
            yield ("topology", "bridges", name), name.partition(".")[0], address
    for index, link in enumerate(topology.links):
        for name, end in link.ends.items():
            for address in end.address:
                yield ("topology", "links", index, name), name.partition(".")[0], address


def _topology(lab: Lab) -> list[Problem]:
    topology = lab.model.topology
    problems = []

    def unknown(node: str) -> str:
        return f"unknown node '{node}'.{did_you_mean(node, topology.nodes)}"

    for path, node, address in _addresses(lab):
        if ":" in address and node in topology.nodes and not topology.nodes[node].ipv6:
            text = f"{address} on a node without IPv6; give it: nodes: {{{node}: {{ipv6: true}}}}"
            problems.append(lab.problem(path, text, key=True))
    for node, model in topology.nodes.items():
        at = ("topology", "nodes", node)
        if model.machine is False and (model.files or model.services):
            text = "with files or services of its own, a node is a machine: leave `machine: false` out"
            problems.append(lab.problem((*at, "machine"), text))
        for place, put in model.files.items():
            if put.source is not None and not lab.files.below(put.source):
                hint = did_you_mean(put.source, [file.path for file in lab.files.entries])
                text = f"there is no file '{put.source[:200]}' beside the lab's file.{hint}"
                problems.append(lab.problem((*at, "files", place), text))
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


def _step(step_id: str, model: StepModel, known: Known, later: dict[str, str]) -> Found:
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
            found.append(((), f"'in' is missing: in which node does this happen? Nodes here: {have}"))
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
    if model.trace is not None:
        known.traces.add(step_id)
    found += _step_references(model, known)
    found += _values(model, known)
    return found


def _step_references(model: StepModel, known: Known) -> Found:
    found: Found = []
    wanted: list[tuple[Keys, str, tuple[str, ...]]] = []
    if model.stop is not None:
        wanted.append((("stop",), model.stop.step, ("start", "capture", "trace")))
        if known.verbs.get(model.stop.step) in ("capture", "trace"):
            known.stopped.setdefault(model.stop.step, len(known.order))
    if model.wait is not None and model.wait.packets is not None:
        wanted.append((("wait", "packets"), model.wait.packets, ("capture",)))
    if model.wait is not None and model.wait.output is not None:
        wanted.append((("wait", "output"), model.wait.output, ("start",)))
    for where, target, verbs in wanted:
        found += [(where, text) for text in wrong_step(target, verbs, known)]
    return found


def _values(model: StepModel, known: Known) -> Found:
    """Each ``${name}`` of a typed step must be a parameter, or saved by an earlier step. Shell lines have their own."""
    verb = model.verb
    if verb in ("run", "start", "nft", "send"):
        return []
    given = getattr(model, verb)
    fields = given.model_dump() if isinstance(given, BaseModel) else given
    found: Found = []
    for value in _texts(fields):
        match = REFERENCE.fullmatch(value)
        if match is not None and match[1] not in known.values:
            hint = did_you_mean(match[1], known.values)
            found.append(((verb,), f"no earlier step saves '{match[1]}', and it is no parameter.{hint}"))
    return found


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []
