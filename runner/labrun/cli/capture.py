"""`labrun capture`: a lab runs, and what passes an interface of it goes out live, as Wireshark reads it.

Nothing of it is kept, as with `labrun shell`. It also speaks Wireshark's extcap interface, for tools/labrun-extcap.
"""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from labrun import __version__
from labrun.cli import options
from labrun.cli.defaults import Configured
from labrun.cli.options import EngineName, IsolationName, UserlandName
from labrun.cli.shell import one_lab

if TYPE_CHECKING:
    from labrun.engines.base import Engine
    from labrun.protocol.plan import Plan

_STEP = "live-capture"
_FILE = f"captures/{_STEP}.pcapng"


@click.command(cls=Configured)
@click.argument("lab", metavar="LAB", required=False, shell_complete=options.complete_labs)
@click.argument("place", metavar="NODE:INTERFACE", required=False)
@click.option("-w", "target", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True),
              help="Where the packets go as pcapng; - is stdout.")  # fmt: skip
@click.option("-f", "expression", metavar="FILTER", help="Only packets that this pcap filter accepts.")
@options.engine
@options.isolation
@options.userland
@options.values
@click.option("--extcap-interfaces", is_flag=True, hidden=True)
@click.option("--extcap-dlts", is_flag=True, hidden=True)
@click.option("--extcap-config", is_flag=True, hidden=True)
@click.option("--extcap-interface", hidden=True)
@click.option("--extcap-version", hidden=True)
@click.option("--extcap-capture-filter", hidden=True)
@click.option("--capture", "extcap_capture", is_flag=True, hidden=True)
@click.option("--fifo", type=options.PATH, hidden=True)
def capture(
    lab: str | None,
    place: str | None,
    target: Path | None,
    expression: str | None,
    engine: EngineName,
    isolation: IsolationName | None,
    userland: UserlandName,
    values: dict[str, tuple[object, ...]],
    extcap_interfaces: bool,
    extcap_dlts: bool,
    extcap_config: bool,
    extcap_interface: str | None,
    extcap_version: str | None,
    extcap_capture_filter: str | None,
    extcap_capture: bool,
    fifo: Path | None,
) -> int:
    """Run a lab, and hand over live what passes one of its interfaces (any: all of a node), as pcapng.

    labrun capture LAB NODE:INTERFACE -w - | wireshark -k -i -
    """
    if extcap_interfaces:
        _list_interfaces()
        return 0
    if extcap_dlts or extcap_config:
        if extcap_dlts:
            print("dlt {number=1}{name=EN10MB}{display=Ethernet}")
        return 0
    if extcap_capture and extcap_interface is not None:
        lab, _, place = extcap_interface.removeprefix("labrun:").partition(":")
        target, expression = fifo, extcap_capture_filter or expression
    if lab is None or place is None or target is None:
        raise click.UsageError("a lab, NODE:INTERFACE and -w are needed: labrun capture LAB NODE:INTERFACE -w -")
    compiled = one_lab(lab, values)
    plan = live_plan(compiled.experiment, *_meant(place), expression or None)
    with ExitStack() as stack:
        if str(target) == "-":
            if sys.stdout.isatty():
                raise click.UsageError("packets on a terminal help nobody: ... -w - | wireshark -k -i -")
            out: BinaryIO = sys.stdout.buffer
        else:
            out = stack.enter_context(target.open("wb"))
        from labrun.cli.engines import choose

        run_id = f"live-{secrets.token_hex(3)}"
        entered = stack.enter_context(choose(engine, userland, isolation, run_id, _say, 1).engine)
        return _hand_over(entered, plan, out)


def _meant(place: str) -> tuple[str, str]:
    node, sign, interface = place.partition(":")
    if not (node and sign and interface):
        raise click.UsageError(f"{place}: NODE:INTERFACE is needed, such as router:eth0")
    return node, interface


def live_plan(plan: Plan, node: str, interface: str, expression: str | None) -> Plan:
    """The lab with one capture more, from the moment on at which its steps have made the interface.

    Raises UsageError where they make no such node.
    """
    from labrun.logic.suggest import did_you_mean
    from labrun.protocol.actions import Capture
    from labrun.protocol.plan import Step
    from labrun.report.topology import topology_of

    first = sum(step.phase == "topology" for step in plan.steps)
    at, nodes = first, set(plan.nodes)
    for end in range(first, len(plan.steps) + 1):
        there = topology_of(plan.steps[:end])
        found = {one.name: {each.name for each in one.interfaces} for one in (there.nodes if there else ())}
        nodes |= found.keys()
        if interface in found.get(node, ()) or (interface == "any" and node in found):
            at = end
            break
    if node not in nodes:
        raise click.UsageError(f"{plan.lab}: no node '{node}'.{did_you_mean(node, nodes)}")
    live = Step(_STEP, Capture((interface,), expression, live=True), node)
    return replace(plan, variant="live", steps=(*plan.steps[:at], live, *plan.steps[at:]), watch=False).sealed()


def _hand_over(engine: Engine, plan: Plan, out: BinaryIO) -> int:
    """Until the lab has ended, or whoever reads has enough. The exit code: 3 where it could not run to its end."""
    from labrun.engines.base import EngineError
    from labrun.protocol.events import CaptureEnded, Fault, StepEnded
    from labrun.protocol.frames import Piece

    trouble: str | None = None
    packets = 0
    phases = {step.id: step.phase for step in plan.steps}
    try:
        with engine.sandbox(plan, plan.lab) as frames:
            for frame in frames:
                if isinstance(frame, Piece):
                    if frame.path == _FILE and frame.data:
                        out.write(frame.data)
                        out.flush()
                elif isinstance(frame, Fault):
                    trouble = frame.message
                elif isinstance(frame, CaptureEnded) and frame.step == _STEP:
                    packets = frame.packets
                elif isinstance(frame, StepEnded) and phases.get(frame.step) == "lab" and frame.step != _STEP:
                    _say(f"{frame.step}: {frame.message or 'done'}")
                    trouble = frame.message or trouble
                elif isinstance(frame, StepEnded) and frame.status != "ok":
                    trouble = frame.message
    except (BrokenPipeError, KeyboardInterrupt):
        return 0  # whoever reads, or types, has enough
    except EngineError as error:
        trouble = str(error)
    if trouble is not None:
        _say(trouble)
        return 3
    _say(f"{packets} packets")
    return 0


def _list_interfaces() -> None:
    """For Wireshark's list: each interface of each lab that is here, or ships with labrun."""
    from labrun.lab.catalogue import all_labs, labs_folder
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import load_lab
    from labrun.lab.problems import LabError
    from labrun.report.topology import topology_of

    print(f"extcap {{version={__version__}}}{{display=labrun}}")
    for path in all_labs(labs_folder(Path.cwd())):
        try:
            compiled = compile_lab(load_lab(path))
        except LabError:
            continue
        there = topology_of(compiled.experiment.steps)
        for node in there.nodes if there else ():
            for name in (*(interface.name for interface in node.interfaces), "any"):
                if not set("{}\n:") & set(f"{node.name}{name}"):
                    value, shown = f"{path.parent.name}:{node.name}:{name}", f"{path.parent.name}, {node.name}:{name}"
                    print(f"interface {{value=labrun:{value}}}{{display=lab {shown}}}")


def _say(text: str) -> None:
    from labrun.logic.visible import visible

    print(visible(text, "\n\t"), file=sys.stderr, flush=True)
