"""What each step changed in the kernel: the state of the nodes after it, kept as evidence where it is not as before.

Between steps and never inside one: a packet's time, a deadline or a poll does not see it. It only reads (netlink dumps,
which need no lock that forwards packets), it starts nothing, and it does not look at all in labs of more than
MAX_NODES nodes. Its failures are its own: a state that cannot be read is not there, and no lab breaks over it.

Measured (`bench/watch.py`, natively, Linux 6.18, 2 shared cores, a load of 5, medians): 4 ms after a step in labs of
two nodes, nearly half of it their sockets; 12 ms when pyroute2 still took the messages apart. Without other load a node
takes 1 to 2 ms.
"""

from __future__ import annotations

from labrun.agent.stage import Stage
from labrun.protocol import actions
from labrun.protocol.codec import dumps
from labrun.protocol.events import StateNoted
from labrun.protocol.plan import Step
from labrun.protocol.state import KernelState

MAX_NODES = 8
_PARTS: tuple[actions.SnapshotPart, ...] = ("links", "addresses", "routes", "rules", "neighbours", "sockets")
# These look, wait or capture; what else happens meanwhile is seen after the next step.
_IDLE = (actions.Capture, actions.Snapshot, actions.Wait)


class Watch:
    """Remembers the last state, so that only what differs is written."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._last = ""
        self._on = stage.plan.watch is not False

    def after(self, step: Step) -> None:
        """Note the state after ``step``, if it is new. The first call says what there was at the beginning."""
        if not self._on or (self._last and isinstance(step.action, _IDLE)):
            return
        nodes = self._stage.nodes.fds()
        if not 0 < len(nodes) <= MAX_NODES:
            self._on = not nodes
            return
        from labrun.agent.snapshot import node_state

        states = {}
        for node in sorted(nodes):
            try:
                with self._stage.nodes.inside(node):
                    states[node] = node_state(_PARTS, self._stage.netlink(node), nodes)
            except OSError:
                continue
        text = dumps(KernelState(states)) + "\n"
        if text == self._last:
            return
        self._last = text
        name = f"kernel/{step.id}.json"
        emitter = self._stage.emitter
        emitter.path(name).write_text(text, encoding="utf-8")
        emitter.ship(name, final=True)
        emitter.event(StateNoted(step.id, *emitter.now(), name))
