"""The findings of `labrun doctor`, one after the other; each later one needs the earlier ones.

Kernel features are probed by trying them, inside a sandbox, where labs would use them.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labrun.engines.base import EngineError, Isolation
from labrun.protocol.actions import Action, Link, Namespace, Nft, Peer, Run
from labrun.protocol.events import ChangeResult, CommandResult, Fault, Hello, StepEnded
from labrun.protocol.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class Finding:
    """``good``: True it works, False labs cannot run without, None worth knowing."""

    what: str
    found: str
    good: bool | None
    remedy: str | None = None


def checkup() -> Iterator[Finding]:
    from labrun.judge.libpcap import compile_filter

    try:
        from labrun.engines.docker import connect

        client = connect(timeout_s=10)
    except EngineError as error:
        yield Finding("engine", str(error), False, _engine_remedy())
        return
    version = client.version()
    yield Finding("engine", f"docker {version.get('Version')} on kernel {version.get('KernelVersion')}", True)
    yield from _limits(client.info())
    image = yield from _image(client)
    if image is not None:
        yield from _sandbox(client, image)
    if compile_filter("icmp") is None:
        yield Finding("libpcap", "not on this machine: `labrun check` cannot check filters (runs can)", None,
                      "Debian and Ubuntu: apt install libpcap0.8")  # fmt: skip
    else:
        yield Finding("libpcap", "filters are checked before a run", True)


def _engine_remedy() -> str:
    if shutil.which("apt-get"):
        return (
            "as root: apt-get install docker.io, then start it (systemctl start docker, or dockerd); or set DOCKER_HOST"
        )
    return "install and start Docker, or set DOCKER_HOST to an engine that runs"


def _limits(info: dict[str, Any]) -> Iterator[Finding]:
    missing = [name for key, name in (("MemoryLimit", "memory"), ("PidsLimit", "pids")) if not info.get(key)]
    if missing:
        yield Finding("limits", f"the engine cannot limit {', '.join(missing)}", None,
                      "labs by strangers could exhaust this machine; enable these cgroup controllers")  # fmt: skip
    else:
        yield Finding("limits", "memory and pids of a lab are bounded", True)


def _image(client: Any) -> Any:
    from labrun.image.build import find_image
    from labrun.image.errors import ImageError
    from labrun.image.recipe import load_recipe

    try:
        recipe = load_recipe()
        image = find_image(client, recipe)
    except ImageError as error:
        yield Finding("image", error.what, False, error.remedy)
        return None
    if image is None:
        yield Finding("image", f"{recipe.tag} is not built yet", None, "labrun image build (the first run does it too)")
    else:
        yield Finding("image", recipe.tag, True)
    return image


def _sandbox(client: Any, image: str) -> Iterator[Finding]:
    """A privileged sandbox, then one with least capabilities; kernel features in whichever works."""
    from labrun.engines.docker import DockerEngine

    works: Isolation | None = None
    wanted: tuple[Isolation, ...] = ("privileged", "least")
    for isolation in wanted:
        try:
            with DockerEngine(client, image, image, isolation, f"doctor-{secrets.token_hex(3)}") as engine:
                got = engine.info
                if got.isolation != isolation:
                    yield Finding(f"--isolation {isolation}", f"refused; runs fall back to least ({got.note})", None)
                else:
                    yield Finding(f"--isolation {isolation}", "a sandbox starts", True)
                    works = works or isolation
        except EngineError as error:
            yield Finding(f"--isolation {isolation}", str(error), False)
    if works is not None:
        with DockerEngine(client, image, image, works, f"doctor-{secrets.token_hex(3)}") as engine:
            yield from _features(engine)


_NODE = "probe"


def _kernel_probes() -> tuple[tuple[str, Action], ...]:
    """A feature's name, and the smallest action that needs it."""
    return (
        ("veth", Link("add", "p-veth", type="veth", peer=Peer("p-peer"))),
        ("bridge", Link("add", "p-br", type="bridge")),
        ("vxlan", Link("add", "p-vxlan", type="vxlan", vni=1, remote="192.0.2.1", port=4789)),
        ("macvlan", Link("add", "p-macvlan", type="macvlan", link="p-veth", mode="bridge")),
        ("ipvlan", Link("add", "p-ipvlan", type="ipvlan", link="p-peer", mode="l2")),
        ("vlan (802.1Q)", Link("add", "p-vlan", type="vlan", link="p-veth", vlan=7)),
        ("vrf", Link("add", "p-vrf", type="vrf")),
        ("dummy", Link("add", "p-dummy", type="dummy")),
        ("bond", Link("add", "p-bond", type="bond")),
        ("wireguard", Link("add", "p-wg", type="wireguard")),
        ("tun", Run(("bash", "-c", "ip tuntap add p-tun mode tun"))),
        (
            "nftables",
            Nft(
                "add table inet p; add chain inet p c { type filter hook input priority 0; }; add rule inet p c counter"
            ),
        ),
        ("netem", Run(("bash", "-c", "tc qdisc add dev p-veth root netem delay 1ms"))),
        ("tbf", Run(("bash", "-c", "tc qdisc add dev p-peer root tbf rate 1mbit burst 10k latency 50ms"))),
    )


def _features(engine: Any) -> Iterator[Finding]:
    probes = _kernel_probes()
    steps = [Step("node", Namespace("add", _NODE))]
    steps += [Step(f"probe-{n}", action, _NODE, may_fail=True) for n, (_, action) in enumerate(probes)]
    plan = Plan("doctor", "experiment", tuple(steps), (_NODE,)).sealed()
    ended: dict[str, StepEnded] = {}
    fault: str | None = None
    try:
        with engine.sandbox(plan, "doctor") as frames:
            for frame in frames:
                if isinstance(frame, StepEnded):
                    ended[frame.step] = frame
                elif isinstance(frame, Hello):
                    yield Finding("kernel", f"{frame.kernel} {frame.machine}, python {frame.python} in the image", True)
                elif isinstance(frame, Fault):
                    fault = frame.message
    except EngineError as error:
        fault = str(error)
    if fault is not None:
        yield Finding("sandbox", fault, False)
    there: list[str] = []
    lacking: list[str] = []
    for number, (name, _) in enumerate(probes):
        end = ended.get(f"probe-{number}")
        (there if end is not None and _worked(end) else lacking).append(name)
    if there:
        yield Finding("kernel has", ", ".join(there), True)
    if lacking:
        yield Finding("kernel lacks", ", ".join(lacking), None, "labs that need these are skipped with that reason")


def _worked(end: StepEnded) -> bool:
    if end.status != "ok":
        return False
    if isinstance(end.result, ChangeResult):
        return end.result.errno is None
    return isinstance(end.result, CommandResult) and end.result.exit == 0
