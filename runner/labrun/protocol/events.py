"""What happened, as the agent tells it: one line of JSON an event.

Two clocks: ``t_ns`` is CLOCK_MONOTONIC since the agent's start, for durations and order; ``wall_ns`` is
CLOCK_REALTIME, the clock of the kernel's packet timestamps, so that a packet can be put inside a step's window.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from labrun.protocol.record import dataclass
from labrun.protocol.state import RouteState


@dataclass(frozen=True, slots=True)
class Output:
    """One stream of a process, kept as a file of the run directory. ``size`` > ``kept`` means it was cut."""

    path: str
    size: int
    kept: int


@dataclass(frozen=True, slots=True)
class Program:
    """A pcap-filter expression as classic BPF for one link type: (code, jt, jf, k) each."""

    expression: str
    linktype: int  # LINKTYPE_ as in pcapng: 1 Ethernet, 101 raw IP
    instructions: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first event. The environment record: what the sandbox is made of."""

    KIND: ClassVar[str] = "hello"
    t_ns: int
    wall_ns: int
    agent: str
    plan: str  # its digest
    kernel: str
    machine: str
    python: str
    capabilities: tuple[str, ...]
    packages: dict[str, str]
    programs: tuple[Program, ...]
    userland: str | None = None  # whose programs: the lab image's, or, as here named, the host's
    settings: dict[str, str] | None = None  # of the kernel, that are not as protocol.settings has them
    kernel_build: dict[str, str] | None = None  # of a virtual machine: its kernel's package and digests


@dataclass(frozen=True, slots=True)
class StepStarted:
    KIND: ClassVar[str] = "step-started"
    step: str
    t_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class FailedInside:
    """A pipeline within a line for the shell that failed. ``parts``: how each part of it ended.

    ``command``: its last part, as the shell prints it; None where the line itself looks at the status, as `if` does,
    and of a command in the background, of which the shell tells the status alone.
    """

    parts: tuple[int, ...]
    command: str | None = None
    background: bool | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command that ran. ``exit`` is None when a signal ended it; ``signal`` is its name, such as SIGKILL.

    ``parts``: of a line for the shell, how each part of its last pipeline ended; None where the shell did not say.
    ``missing``: commands that the shell did not find. ``failed``: those before the last pipeline that failed.
    ``left``: processes that it left running, by name.
    """

    KIND: ClassVar[str] = "command"
    exit: int | None
    signal: str | None
    stdout: Output
    stderr: Output
    parts: tuple[int, ...] | None = None
    missing: tuple[str, ...] | None = None
    left: tuple[str, ...] | None = None
    failed: tuple[FailedInside, ...] | None = None


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """A typed change. ``errno`` is the kernel's refusal by name (EEXIST, ...), None when it was done."""

    KIND: ClassVar[str] = "change"
    errno: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    KIND: ClassVar[str] = "snapshot"
    path: str


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """A snapshot that was repeated: one `Sample` of JSON a line."""

    KIND: ClassVar[str] = "series"
    path: str
    samples: int


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The kernel's answer to a lookup: a route, or its refusal by name (EHOSTUNREACH, ENETUNREACH, ...)."""

    KIND: ClassVar[str] = "lookup"
    route: RouteState | None = None
    errno: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class TraceResult:
    KIND: ClassVar[str] = "tracing"
    path: str


@dataclass(frozen=True, slots=True)
class SendResult:
    KIND: ClassVar[str] = "send"
    packets: int
    summary: str  # scapy's one-line summary of the packet


@dataclass(frozen=True, slots=True)
class StartResult:
    KIND: ClassVar[str] = "started"
    pid: int


@dataclass(frozen=True, slots=True)
class WaitResult:
    """``held``: False where the condition did not come true in time, and the lab allows for that."""

    KIND: ClassVar[str] = "wait"
    attempts: int
    held: bool | None = None  # None: it held


@dataclass(frozen=True, slots=True)
class CaptureResult:
    KIND: ClassVar[str] = "capturing"
    path: str
    interfaces: tuple[str, ...]


Result = (
    CommandResult | ChangeResult | SnapshotResult | SeriesResult | LookupResult | TraceResult | SendResult
    | StartResult | WaitResult | CaptureResult
)  # fmt: skip

StepStatus = Literal["ok", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the machine was during a step: all of it, other sandboxes and programs included.

    ``waited_us``: how long at least one process waited for a processor. ``stolen_us``: processor time, over all
    processors, that the hypervisor gave to others. ``dropped``: packets for which a processor's backlog had no room.
    """

    waited_us: int
    stolen_us: int
    dropped: int


@dataclass(frozen=True, slots=True)
class StepEnded:
    """``failed`` and ``timeout`` end the plan: later steps do not run. ``message`` says why."""

    KIND: ClassVar[str] = "step-ended"
    step: str
    t_ns: int
    wall_ns: int
    status: StepStatus
    message: str | None = None
    result: Result | None = None
    saved: dict[str, Any] | None = None  # name -> text or number, taken from this step's output
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class StateNoted:
    """The kernel's state after a step, where it is not what it was after the one before. For reports; never judged."""

    KIND: ClassVar[str] = "state-noted"
    step: str
    t_ns: int
    wall_ns: int
    path: str


@dataclass(frozen=True, slots=True)
class CaptureEnded:
    """A capture was stopped and drained. It kept all in [started_ns, ended_ns] (wall clock) if nothing was lost.

    ``drops``: lost by the kernel. ``not_kept``: past the size limit. ``trouble``: why it ended unhealthily.
    ``interface_ends``: as ``interfaces``, when each was found to be gone or to have another name (wall clock).
    """

    KIND: ClassVar[str] = "capture-ended"
    step: str
    t_ns: int
    wall_ns: int
    path: str
    interfaces: tuple[str, ...]
    packets: int
    drops: int
    not_kept: int
    started_ns: int
    ended_ns: int
    trouble: str | None = None
    interface_ends: tuple[int | None, ...] | None = None
    """None: all were there to the end."""
    interface_starts: tuple[int, ...] | None = None
    """Likewise, when each was found to be there; 0, and None for all: when the capture began. It looks anew between two
    steps, so that who came during one is found before the next."""
    bridges: tuple[str, ...] = ()
    """Those that it made promiscuous while their frames crossed netfilter's hooks: so each may cross them twice."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a trace cannot look behind: in words, and when it was found to be there (CLOCK_REALTIME; 0: at the start).

    The agent looks between two steps, so what comes during a step is found before the next.
    """

    what: str
    since_ns: int = 0


@dataclass(frozen=True, slots=True)
class TraceEnded:
    """A trace was stopped. ``drops``: messages that the kernel could not deliver; then it is not whole.

    ``blind``: what could take packets away before the trace saw them. ``silencers``: rules that end tracing. Both of
    any time during it, as what was there may be gone.
    """

    KIND: ClassVar[str] = "trace-ended"
    step: str
    t_ns: int
    wall_ns: int
    path: str
    events: int
    drops: int
    trouble: str | None = None
    blind: tuple[Unseen, ...] = ()
    silencers: tuple[Unseen, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """A started process is gone. ``stopped``: we ended it; otherwise it ended by itself. See `CommandResult`."""

    KIND: ClassVar[str] = "process-ended"
    step: str
    t_ns: int
    wall_ns: int
    stopped: bool
    exit: int | None
    signal: str | None
    stdout: Output
    stderr: Output
    parts: tuple[int, ...] | None = None
    missing: tuple[str, ...] | None = None
    left: tuple[str, ...] | None = None
    failed: tuple[FailedInside, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """The tool broke, or the sandbox lacks what the plan needs. Never evidence against a hypothesis.

    ``code``: agent-crashed, missing-tool, missing-feature, bad-filter, lab-timeout, interrupted, ...
    """

    KIND: ClassVar[str] = "fault"
    t_ns: int
    code: str
    message: str
    step: str | None = None
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The last event: everything was stopped, drained and handed over. Without it the evidence is partial."""

    KIND: ClassVar[str] = "done"
    t_ns: int
    wall_ns: int


Event = Hello | StepStarted | StepEnded | StateNoted | CaptureEnded | TraceEnded | ProcessEnded | Fault | Done
