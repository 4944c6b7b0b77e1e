"""Small recorded runs, written as real ones are: through EvidenceWriter and the agent's pcapng blocks.

`recorded_run` has one of everything that a report must show; `hostile_run` has an attack in every place where a
sandbox or an author can put text. Both are the same bytes every time.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

from labrun.agent import pcapng
from labrun.evidence import layout
from labrun.evidence.ref import Ref
from labrun.evidence.run import LabEntry, RunRecord, write_run
from labrun.evidence.writer import EvidenceWriter
from labrun.judge.results import (
    CaptureSummary,
    ControlResult,
    Evaluation,
    HypothesisResult,
    LabResult,
    RunResult,
    Subject,
)
from labrun.protocol import actions
from labrun.protocol.codec import dumps, encode
from labrun.protocol.events import (
    CaptureEnded,
    CaptureResult,
    ChangeResult,
    CommandResult,
    Done,
    Fault,
    Hello,
    Output,
    ProcessEnded,
    Result,
    SnapshotResult,
    StartResult,
    StepEnded,
    StepStarted,
)
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Plan, Step
from labrun.protocol.state import AddressState, KernelState, LinkState, NodeState, RouteState
from support.evidence_builder import run_of

WALL_NS = 1_790_000_000_000_000_000
_MS = 1_000_000


class Recorder:
    """One variant's evidence, step by step, ten milliseconds each."""

    def __init__(self, folder: Path, steps: Sequence[Step], variant: str = "experiment") -> None:
        self.plan = Plan("lab", variant, tuple(steps), ("host",)).sealed()
        self._writer = EvidenceWriter(folder, self.plan, run=run_of(folder))
        self._now = 0

    def __enter__(self) -> Recorder:
        self._writer.__enter__()
        self._writer.put(
            Hello(0, WALL_NS, "0.1.0", self.plan.digest, "6.1.0", "x86_64", "3.11.2", ("CAP_NET_ADMIN", "CAP_NET_RAW"),
                  {"iproute2": "6.1.0-3", "iputils-ping": "3:20221126-1"}, ())
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.__exit__(None, None, None)

    def topology(self) -> None:
        for step in self.plan.steps:
            if step.phase == "topology":
                self.step(step.id, ChangeResult())

    def step(self, name: str, result: Result | None, status: str = "ok", message: str | None = None) -> None:
        started = self._tick(0)
        self._writer.put(StepStarted(name, *started))
        self._writer.put(StepEnded(name, *self._tick(10), status, message, result))  # type: ignore[arg-type]

    def command(self, name: str, stdout: bytes = b"", stderr: bytes = b"", code: int | None = 0, **cut: int) -> None:
        self.step(name, CommandResult(code, None if code is not None else "SIGKILL",
                                      self.output(f"{name}.stdout", stdout, **cut), self.output(f"{name}.stderr", stderr)))  # fmt: skip

    def output(self, name: str, data: bytes, size: int | None = None) -> Output:
        path = f"outputs/{name}"
        self._writer.put(Piece(path, data))
        return Output(path, size if size is not None else len(data), len(data))

    def process(self, name: str, stdout: bytes, stopped: bool = True) -> None:
        ended = ProcessEnded(name, *self._tick(1), stopped, None if stopped else 0, "SIGTERM" if stopped else None,
                             self.output(f"{name}.stdout", stdout), self.output(f"{name}.stderr", b""))  # fmt: skip
        self._writer.put(ended)

    def snapshot(self, name: str, state: KernelState) -> None:
        path = f"snapshots/{name}.json"
        self._writer.put(Piece(path, dumps(state).encode()))
        self.step(name, SnapshotResult(path))

    def capture(self, name: str, interfaces: Sequence[str], packets: Sequence[tuple[int, int, int, bytes]],
                drops: int = 0) -> None:  # fmt: skip
        """Packets are (interface, milliseconds since the start, kernel's packet type, bytes)."""
        path = f"captures/{name}.pcapng"
        self._writer.put(Piece(path, pcapng.section_header("Linux")))
        for interface in interfaces:
            self._writer.put(Piece(path, pcapng.interface_description(interface, 1, 262144)))
        for interface, ms, kind, data in packets:
            block = pcapng.enhanced_packet(interface, WALL_NS + ms * _MS, data, len(data), pcapng.EPB_FLAGS[kind])
            self._writer.put(Piece(path, block))
        ended = CaptureEnded(name, *self._tick(1), path, tuple(interfaces), len(packets), drops, 0, WALL_NS,
                             WALL_NS + self._now * _MS)  # fmt: skip
        self._writer.put(ended)

    def fault(self, code: str, message: str, step: str | None = None) -> None:
        self._writer.put(Fault(self._now * _MS, code, message, step))

    def done(self) -> None:
        self._writer.put(Done(*self._tick(1)))

    def _tick(self, ms: int) -> tuple[int, int]:
        self._now += ms
        return self._now * _MS, WALL_NS + self._now * _MS


def icmp(source: str, destination: str, kind: int, payload: bytes = b"abcdefgh") -> bytes:
    """An Ethernet frame with an ICMP echo (8) or its reply (0); checksums are left at zero."""
    message = struct.pack(">BBHHH", kind, 0, 0, 7, 1) + payload
    ends = b"".join(bytes(int(part) for part in address.split(".")) for address in (source, destination))
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(message), 1, 0, 64, 1, 0) + ends
    return bytes(12) + b"\x08\x00" + header + message


def topology_steps(node: str = "host") -> tuple[Step, ...]:
    acts: list[tuple[str | None, actions.Action]] = [
        (None, actions.Namespace("add", node)),
        (node, actions.Link("set", "lo", up=True)),
        (node, actions.Link("add", "docker0", type="bridge", mac="02:c2:a0:30:d9:1f", up=True)),
        (node, actions.Address("add", "172.17.0.1/16", "docker0")),
    ]
    return tuple(Step(f"topology-{n:03}", act, where, phase="topology") for n, (where, act) in enumerate(acts, start=1))


def run_record(labs: Sequence[LabEntry], **fields: str) -> RunRecord:
    return RunRecord(
        id="20260921-141320-abcd", started="2026-09-21T14:13:20+00:00", labrun="0.1.0", engine="docker",
        engine_version="20.10.24", isolation=fields.get("isolation", "privileged"),
        isolation_note=fields.get("note"), kernel=fields.get("kernel", "6.1.0"), image="labrun-lab:250d526e87a6",
        image_id="sha256:f4218f9ff0fc", python="3.11.2",
        command=("labrun", "run", *(entry.shown for entry in labs)), labs=tuple(labs),
    )  # fmt: skip


def _result(record: RunRecord, labs: Sequence[LabResult]) -> RunResult:
    return RunResult(encode(record), tuple(labs))


def write_lab(run: Path, slug: str, content: object) -> None:
    """YAML has JSON in it, so any text gets through unchanged."""
    folder = layout.lab_folder(run, slug)
    folder.mkdir(parents=True)
    (folder / layout.LAB).write_text(json.dumps(content, indent=1), encoding="utf-8")


OWN_ADDRESS = {
    "title": "Packets to your own address go through lo",
    "question": "docker0 has the address 172.17.0.1. If I ping it, which interface is it on?",
    "source": {"title": "What's a network interface?", "author": "Julia Evans", "year": 2017,
               "url": "https://jvns.ca/blog/2017/09/03/network-interfaces/"},
    "background": "Routing a packet means *assigning it a device*.\n\n# A heading of the author's\n\n```\nip route\n```\n",
    "tags": ["routing"],
    "topology": {"nodes": {"host": {}}, "bridges": {"host.docker0": {"address": "172.17.0.1/16"}}},
    "steps": [{"run": "true"}],
    "hypotheses": [{"id": "x", "claim": "x", "predict": {"command": "step-1", "exit": 0}}],
    "conclusion": "What makes an address *mine* is a route.",
}  # fmt: skip


def recorded_run(root: Path) -> tuple[Path, RunResult]:
    """Two labs that ran, one that was skipped, one that broke; a surprise, an inconclusive, and the rest as expected."""
    run = root / "20260921-141320-abcd"
    record = run_record((
        LabEntry("own-address", "labs/own-address/lab.yaml", ("experiment", "goes-through-lo")),
        LabEntry("colours", "labs/colours/lab.yaml", ("experiment",)),
        LabEntry("needs-a-tool", "labs/needs-a-tool/lab.yaml", ("experiment",)),
        LabEntry("broken", "labs/broken/lab.yaml", ("experiment",)),
    ))  # fmt: skip
    labs = (_own_address(run), _colours(run), _skipped(run), _broken(run))
    write_run(run, record)
    return run, _result(record, labs)


def _own_address(run: Path) -> LabResult:
    write_lab(run, "own-address", OWN_ADDRESS)
    base = (
        Step("routes", actions.Run(("bash", "-c", "ip route show table local")), "host",
             note="The `local` table is asked first.", shell="ip route show table local"),
        Step("seen", actions.Capture(("lo", "docker0"), "icmp"), "host"),
        Step("before", actions.Snapshot(("host",), ("links", "addresses", "routes")), None),
        Step("probe", actions.Run(("ping", "-c", "1", "172.17.0.1")), "host"),
    )  # fmt: skip
    state = KernelState({"host": NodeState(
        links=(LinkState(1, "lo", 65536, True, "UNKNOWN", ("LOOPBACK", "UP"), "loopback"),),
        addresses=(AddressState("docker0", "inet", "172.17.0.1", 16, "global"),),
        routes=(RouteState("inet", "local", "172.17.0.1", "local", "kernel", "host", dev="docker0"),),
        unavailable={"nft": "nft is not installed"},
    )})  # fmt: skip
    with Recorder(layout.variant_folder(run, "own-address", "experiment"), (*topology_steps(), *base)) as recorder:
        recorder.topology()
        recorder.command("routes", b"local 172.17.0.1 dev docker0 proto kernel scope host src 172.17.0.1\n")
        recorder.step("seen", CaptureResult("captures/seen.pcapng", ("lo", "docker0")))
        recorder.snapshot("before", state)
        recorder.command("probe", b"64 bytes from 172.17.0.1: icmp_seq=1 ttl=64\n")
        echo, reply = icmp("172.17.0.1", "172.17.0.1", 8), icmp("172.17.0.1", "172.17.0.1", 0)
        recorder.capture("seen", ("lo", "docker0"), [(0, 75, 0, echo), (0, 76, 0, reply)])
        recorder.done()
    gone = Step("gone", actions.Route("delete", "172.17.0.1", dev="docker0", table="local", type="local"), "host")
    steps = (*topology_steps(), *base[:3], gone, base[3])
    with Recorder(layout.variant_folder(run, "own-address", "goes-through-lo"), steps, "goes-through-lo") as recorder:
        recorder.topology()
        recorder.command("routes", b"")
        recorder.step("seen", CaptureResult("captures/seen.pcapng", ("lo", "docker0")))
        recorder.snapshot("before", state)
        recorder.step("gone", ChangeResult())
        recorder.command("probe", b"From 172.17.0.1 icmp_seq=1 Destination Host Unreachable\n", code=1)
        recorder.capture("seen", ("lo", "docker0"), [])
        recorder.done()

    def trace(variant: str, count: int) -> Evaluation:
        capture = f"labs/own-address/{variant}/captures/seen.pcapng"
        return Evaluation("", Subject("all of"), count == 1, "all", children=(
            Evaluation("all.0.count.equals", Subject("packets on host.lo during probe", "matching 'icmp'", "count"), count == 1, "equals",
                  "1", str(count), refs=(Ref(capture, packets=(1,) if count else ()),),
                  note=None),
            Evaluation("all.1.exit.equals", Subject("exit of probe"), count == 1, "equals", "0", "0" if count else "1",
                  refs=(Ref(f"labs/own-address/{variant}/outputs/probe.stdout", line=1),)),
        ))  # fmt: skip

    through = HypothesisResult(
        "goes-through-lo", "A packet to `my own` address goes through lo.", "supported", "supported", True,
        "as-predicted", "as predicted, and not so in the control", 40, trace("experiment", 1),
        (ControlResult("goes-through-lo", "before step 'probe': ip route delete local 172.17.0.1", False,
                       trace("goes-through-lo", 0), "The same without the route."),),
        because="The `local` table answers first.",
    )  # fmt: skip
    out = HypothesisResult(
        "goes-out-docker0", "It goes out on docker0.", "refuted", "refuted", True, "contradicted", "contradicted", 60,
        Evaluation("count.equals", Subject("packets on host.docker0 during probe", quantity="count"), False, "equals", "1", "0",
              refs=(Ref("labs/own-address/experiment/captures/seen.pcapng"),)),
        no_control="The claim is false.",
    )  # fmt: skip
    capture = CaptureSummary(
        "seen", "host", ("lo", "docker0"), "labs/own-address/experiment/captures/seen.pcapng", 2, 0
    )
    return LabResult("own-address", str(OWN_ADDRESS["title"]), "labs/own-address/lab.yaml", "done", (through, out),
                     (capture,))  # fmt: skip


def _colours(run: Path) -> LabResult:
    write_lab(run, "colours", {**OWN_ADDRESS, "title": "Colours | and `pipes`", "topology": {"nodes": {"host": {}}}})
    steps = (
        *topology_steps(),
        Step("server", actions.Start(("nc", "-l", "8900"), actions.Ready(8900), "hello\nworld\n"), "host"),
        Step("colours", actions.Run(("ls", "--color")), "host"),
        Step("long", actions.Run(("seq", "2000")), "host"),
        Step("again", actions.Address("add", "172.17.0.1/16", "docker0"), "host", may_fail=True),
        Step("never", actions.Run(("sleep", "60")), "host"),
        Step("after", actions.Run(("true",)), "host"),
    )
    with Recorder(layout.variant_folder(run, "colours", "experiment"), steps) as recorder:
        recorder.topology()
        recorder.step("server", StartResult(7))
        recorder.command("colours", b"\x1b[1;34mdir\x1b[0m \x1b[38;5;226mlemon\x1b[0m \x1b[48;5;17mnight\x1b[0m \xff\x00\n",
                         b"ls: cannot access 'x'\n", code=2)  # fmt: skip
        numbers = "".join(f"{number}\n" for number in range(1, 2001)).encode()
        recorder.command("long", numbers, size=len(numbers) * 10)
        recorder.step("again", ChangeResult("EEXIST", "File exists"))
        recorder.step("never", None, "timeout", "not done after 10 s")
        recorder.process("server", b"GET / HTTP/1.0\r\n")
        recorder.done()
    wrong = HypothesisResult(
        "wrong", "There are three colours.", "supported", "refuted", False, "contradicted",
        "exit of colours == 0, actual 2 (labs/colours/experiment/outputs/colours.stderr:1)", 12,
        Evaluation("exit.equals", Subject("exit of colours"), False, "equals", "0", "2",
              refs=(Ref("labs/colours/experiment/outputs/colours.stderr", 1),)),
    )  # fmt: skip
    unsure = HypothesisResult(
        "unsure", "It ends.", "supported", "inconclusive", False, "timeout", "step 'never': not done after 10 s", 20,
        Evaluation("exit.equals", Subject("exit of never"), None, "equals", "0", None, "timeout", "step 'never': not done after 10 s"),
    )  # fmt: skip
    return LabResult("colours", "Colours", "labs/colours/lab.yaml", "error", (unsure, wrong), (), "timeout",
                     "step 'never': not done after 10 s")  # fmt: skip


def _skipped(run: Path) -> LabResult:
    write_lab(run, "needs-a-tool", {**OWN_ADDRESS, "title": "Needs a tool"})
    return LabResult("needs-a-tool", "Needs a tool", "labs/needs-a-tool/lab.yaml", "skipped", (), (), "missing-tool",
                     "wg is not in the image", ("one", "two"))  # fmt: skip


def _broken(run: Path) -> LabResult:
    write_lab(run, "broken", {"title": "not a lab"})
    return LabResult("broken", "Broken", "labs/broken/lab.yaml", "error", (), (), "not-run", "the daemon went away")


HIT = "window.hit=1"
ATTACKS = (
    f"<script>{HIT}</script>",
    f"</script><script>{HIT}</script>",
    f"<img src=x onerror={HIT}>",
    f'"><svg onload={HIT}>',
    f"'onmouseover='{HIT}",
    f"[click](javascript:{HIT})",
    f"![x](https://evil.example/x.png?{HIT})",
    f"[a]: javascript:{HIT}\n\n[a]",
    f'<a href="javascript:{HIT}">x</a>',
    "<style>body{display:none}</style><link rel=stylesheet href=https://evil.example/x.css>",
    "</pre></code></table></details></textarea><h1>out</h1>",
    "```\n</code></pre>````\n# heading\n| a | b |\n~~~",
    "`code` ``` `` | pipe | <b>`bold`</b> `<i>` ]( ](http://x) \\",
    "{{ 7*7 }} {% raw %} ${7*7} <!-- --> <![CDATA[ ]]> &lt;script&gt;",
    "\x1b]0;title\x07 \x1b[2J\x1b[H \x1b[8mhidden\x1b[0m \x1b]8;;http://evil.example\x07link \x9b31m \x00 \x7f \r over",
    "\u202egnp.exe \u2066 \u200b \ufeff \U000e0041 \ufffe \ue000",
    '%%{init: {"securityLevel": "loose"}}%% end\nsubgraph x["<img src=x onerror=window.hit=1>"]',
    "\n::error file=/etc/passwd::pwned\n::stop-commands::x\n[[ATTACHMENT|/etc/passwd]]",
    f"</text></svg><foreignObject><iframe srcdoc='<script>{HIT}</script>'></iframe></foreignObject><svg><a>",
    f"<use href='data:image/svg+xml,<svg onload={HIT}>'/><animate attributeName=href to=javascript:{HIT}>",
    "%0A%0D::set-output name=x::y ]]> --> */ }body{background:red} `${window.hit=1}`",
    'mermaid; graph TD; A-->B; click A href "javascript:window.hit=1"',
)
ATTACK = " ".join(ATTACKS)


def hostile_run(root: Path) -> tuple[Path, RunResult]:
    """One lab with ATTACKS in titles, claims, notes, commands, outputs, names of files, interfaces and packets."""
    run = root / "hostile"
    slug = f"x\" onclick={HIT} <b>&'#?%"
    record = run_record(
        (LabEntry(slug, ATTACK, ("experiment",)),), note=ATTACK, kernel="<b>6.1</b>", isolation="<i>least</i>"
    )
    write_lab(run, slug, {
        **OWN_ADDRESS, "title": ATTACK, "question": ATTACK, "background": "\n\n".join(ATTACKS), "conclusion": ATTACK,
        "source": {"title": ATTACK, "author": ATTACK, "url": f"javascript:{HIT}"},
    })  # fmt: skip
    steps = (
        *topology_steps(),
        Step("named", actions.Link("add", "<img/onerror=1>", type="dummy", up=True), "host", phase="topology"),
        Step("seen", actions.Capture(("any",), ATTACK), "host", note="\n\n".join(ATTACKS)),
        Step("probe", actions.Run(("bash", "-c", ATTACK), ATTACK), "host", note=ATTACK, shell=ATTACK),
        Step("send", actions.Send(ATTACK), "host", timeout_s=1.0),
        Step("state", actions.Snapshot(("host",)), None),
    )
    noise = "\n".join(ATTACKS).encode("utf-8", "surrogatepass") + b"\n\xff\xfe\xc0\x80" + bytes(range(256)) * 8
    state = KernelState({ATTACK: NodeState(links=(
        LinkState(1, "<script>", 1, True, ATTACK, (ATTACK,), "x"),), unavailable={ATTACK: ATTACK})})  # fmt: skip
    with Recorder(layout.variant_folder(run, slug, "experiment"), steps) as recorder:
        recorder.topology()
        recorder.step("seen", CaptureResult("captures/seen.pcapng", ("any",)))
        recorder.command("probe", noise, noise, code=1)
        recorder.step("send", None, "failed", ATTACK)
        recorder.snapshot("state", state)
        name = "<img src=x onerror=window.hit=1>"
        packets = [(0, 60, 4, icmp("10.0.0.1", "10.0.0.2", 8, ATTACK.encode("utf-8", "surrogatepass"))),
                   (0, 61, 0, b"<script>"), (0, 62, 3, bytes(12) + b"\x86\xdd" + noise[:80]), (0, 63, 2, b"")]  # fmt: skip
        recorder.capture("seen", (name,), packets, drops=3)
        recorder.fault("agent-crashed", ATTACK, "probe")
    file = f"labs/{slug}/experiment"
    leaf = Evaluation("all.0", Subject(ATTACK), None, ATTACK, ATTACK, ATTACK, ATTACK, ATTACK, (
        Ref(f"{file}/captures/seen.pcapng", packets=(1, 2, 99)), Ref(f"{file}/outputs/probe.stdout", 3),
        Ref("../../etc/passwd", 1), Ref("/etc/passwd"), Ref(f"javascript:{HIT}", 4), Ref("https://evil.example/x"),
    ))  # fmt: skip
    hypothesis = HypothesisResult(
        "h", ATTACK, "supported", "inconclusive", False, ATTACK, ATTACK, 3,
        Evaluation("", Subject(ATTACK), None, "all", children=(leaf,)),
        (ControlResult("gone", ATTACK, None, leaf, "\n\n".join(ATTACKS)),), ATTACK, "\n\n".join(ATTACKS),
    )  # fmt: skip
    write_run(run, record)
    lab = LabResult(slug, ATTACK, ATTACK, "error", (hypothesis,), (), ATTACK, ATTACK)
    return run, _result(record, (lab,))
