"""A lab compiled: flat ordered steps, every default resolved. The same lab gives the same plan and digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from labrun.protocol.actions import Action, Snapshot
from labrun.protocol.codec import dumps
from labrun.protocol.record import dataclass

PLAN_SCHEMA = 1
EXPERIMENT = "experiment"  # the variant that is no control
Contents = Mapping[str, bytes]  # SHA-256 in hexadecimal -> the bytes of a lab's file
NO_CONTENTS: Contents = {}


@dataclass(frozen=True, slots=True)
class LabFile:
    """A file of the lab, beside its lab.yaml: what it is, without what is in it. Its bytes go into the sandbox apart.

    ``path``: from the lab's folder, slashes between. A symbolic link has a ``target``; a folder with nothing in it has
    neither target nor ``sha256``.
    """

    path: str
    sha256: str | None = None
    size: int | None = None
    executable: bool | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one lab may use. Past a limit the rest is not kept, and the evidence says so."""

    output_bytes: int = 64 * 1024 * 1024  # kept of each stdout and each stderr
    capture_bytes: int = 256 * 1024 * 1024  # kept of each capture
    lab_timeout_s: float = 120.0  # the whole plan, setup included


@dataclass(frozen=True, slots=True)
class Save:
    """Keep a value of a step's output under a name: the first group of ``matches``, or the whole without one."""

    name: str
    stream: Literal["stdout", "stderr"] = "stdout"
    matches: str | None = None
    type: Literal["text", "int", "float"] = "text"


@dataclass(frozen=True, slots=True)
class Step:
    """One action in order. ``timeout_s`` bounds it; ``may_fail`` makes a refusal, or any exit, an observation."""

    id: str
    action: Action
    node: str | None = None
    timeout_s: float = 10.0
    phase: Literal["topology", "lab"] = "lab"
    may_fail: bool = False
    note: str | None = None
    shell: str | None = None  # the line as the author wrote it, for reports
    save: tuple[Save, ...] = ()
    exits: tuple[int, ...] | None = None  # of a command: the exit statuses that are meant; None: 0
    env: tuple[tuple[str, str], ...] | None = None  # of a command: what its lab, its node and it say, together

    def doing(self) -> tuple[object, ...]:
        """How often a snapshot looks follows from predictions; what was not watched for long enough is told there."""
        action = replace(self.action, for_s=None, every_s=0.0) if isinstance(self.action, Snapshot) else self.action
        return (self.id, action, self.node, self.phase, self.may_fail, self.exits, self.save, self.env)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the agent needs to run one variant of a lab.

    ``variant`` is "experiment" or a control's id. ``filters`` are the pcap-filter expressions that predictions
    use: the agent compiles them with the sandbox's libpcap and hands the bytecode over as evidence, so that a
    host without libpcap can judge. ``tools`` must be in the sandbox, else nothing runs.
    """

    lab: str
    variant: str
    steps: tuple[Step, ...]
    nodes: tuple[str, ...]  # of the topology; `namespace` steps may make more
    filters: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()  # parameters; commands have them, and what steps save, as environment
    limits: Limits = Limits()
    seed: int = 0
    watch: bool | None = None  # False: do not note the kernel's state after each step; None does not change the digest
    features: tuple[str, ...] = ()  # of the kernel, by the names of protocol/features.py; likewise
    files: tuple[LabFile, ...] | None = None  # what is beside the lab's file; None where nothing is
    userland: tuple[str, ...] | None = None  # Debian packages beside those of the lab image
    schema: int = PLAN_SCHEMA
    digest: str = ""

    def doing(self) -> tuple[object, ...]:
        """What it does, whatever its steps are told to be for, and however long they may take."""
        return (self.values, *(step.doing() for step in self.steps))

    def sealed(self) -> Plan:
        """The same plan with its digest: SHA-256 over its canonical JSON without the digest."""
        import hashlib  # 10 ms, and the agent only compares digests

        bare = replace(self, digest="")
        return replace(bare, digest=hashlib.sha256(dumps(bare).encode()).hexdigest())
