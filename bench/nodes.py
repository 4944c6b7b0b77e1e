"""N nodes on one bridge, up, a ping across at once, and down: labrun against what others do with the same kernel.

    .venv/bin/python bench/nodes.py [--runs 10] [--nodes 10 100 500] [--munet FOLDER] [--docker]

Whole processes, in turn, as root. Each side pings from the first node to the last one, and fails if it does not cross.
The last row, which the ratios are against, is what a person who knows iproute2 well would write: `ip -batch` in
namespaces of its own. Mininet is Debian's package (with bridge-utils); munet is from PyPI, its folder is given
(`pip install --target FOLDER munet`). labrun does more than they: a plan, events, evidence, judging, three reports.
`labrun, the sandbox alone` is without these: from the plan to the agent's last event.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from pairs import side_by_side

HERE = Path(__file__).resolve().parent
ALONE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
# One plan in one sandbox, without a runner around it.
SANDBOX = """
import sys
from pathlib import Path
from labrun.engines.native import NativeEngine
from labrun.engines.userland import image_userland
from labrun.image.recipe import load_recipe
from labrun.image.kept import find_rootfs
from labrun.protocol.codec import loads
from labrun.protocol.plan import Plan
plan = loads(Plan, Path(sys.argv[1]).read_bytes())
with NativeEngine(image_userland("", find_rootfs(load_recipe())), "bench") as engine:
    with engine.sandbox(plan, "bench") as frames:
        events = [frame for frame in frames if hasattr(frame, "KIND")]
probe = [event for event in events if event.KIND == "step-ended" and event.step == "probe"]
sys.exit(0 if probe and probe[0].result.exit == 0 else "the ping did not cross")
"""


def address(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250 + 1}"


def lab(nodes: int) -> str:
    """The switch is a node too; each host has a veth pair to its bridge."""
    names = [f"h{number}" for number in range(nodes)]
    lines = ["title: Many nodes", "question: Do they reach each other?", "topology:", "  nodes:", "    switch: {}"]
    lines += [f"    {name}: {{}}" for name in names]
    ports = ", ".join(f"p{number}" for number in range(nodes))
    lines += [f"  bridges: {{switch.br0: {{ports: [{ports}]}}}}", "  links:"]
    lines += [f"    - {{{name}.eth0: {address(n)}/16, switch.p{n}: }}" for n, name in enumerate(names)]
    lines += ["steps:", f"  - {{id: probe, in: h0, run: ping -c 1 -W 2 {address(nodes - 1)}}}", "hypotheses:"]
    lines += ["  - {id: crosses, claim: It crosses., predict: {command: probe, exit: 0}}"]
    return "\n".join(lines) + "\n"


def script(nodes: int) -> str:
    """The same, as someone who knows iproute2 would do it fast."""
    root = ["netns add switch", *(f"netns add h{n}" for n in range(nodes))]
    switch = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
    switch += [f"link add p{n} type veth peer name eth0 netns h{n}" for n in range(nodes)]
    switch += [f"link set p{n} up master br0" for n in range(nodes)]
    lines = ["set -e", "ip -batch - <<'X'", *root, "X", "ip -n switch -batch - <<'X'", *switch, "X"]
    for n in range(nodes):
        lines += [
            f"ip -n h{n} -batch - <<'X'",
            "link set lo up",
            f"address add {address(n)}/16 dev eth0",
            "link set eth0 up",
            "X",
        ]
    lines += [f"ip netns exec h0 ping -c 1 -W 2 {address(nodes - 1)}", "ip -all netns delete"]
    return "\n".join(lines)


def rows(nodes: int, folder: Path, munet: Path | None, docker: bool) -> dict[str, list[str]]:
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import load_lab
    from labrun.protocol.codec import dumps

    place = folder / "labs" / f"nodes-{nodes}"
    place.mkdir(parents=True)
    (place / "lab.yaml").write_text(lab(nodes))
    (folder / f"nodes-{nodes}.sh").write_text(script(nodes))
    (folder / f"nodes-{nodes}.json").write_text(dumps(compile_lab(load_lab(place / "lab.yaml")).experiment) + "\n")
    labrun = str(Path(sys.executable).parent / "labrun")
    found = {
        "labrun, the sandbox alone": [sys.executable, "-c", SANDBOX, str(folder / f"nodes-{nodes}.json")],
        "labrun run --engine native": [labrun, "run", f"nodes-{nodes}", "--engine", "native"],
    }
    if docker:
        found["labrun run --engine docker"] = [
            labrun, "run", f"nodes-{nodes}", "--engine", "docker", "--isolation", "least",
        ]  # fmt: skip
    if shutil.which("mn"):
        found["Mininet, LinuxBridge"] = [*ALONE, "/usr/bin/python3", str(HERE / "others/mininet_nodes.py"), str(nodes)]
    if munet is not None:
        found["munet"] = [
            "env", f"PYTHONPATH={munet}", *ALONE,
            "/usr/bin/python3", str(HERE / "others/munet_nodes.py"), str(nodes), str(folder),
        ]  # fmt: skip
    found["ip -batch under unshare"] = [*ALONE, "sh", str(folder / f"nodes-{nodes}.sh")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 500])
    parser.add_argument("--munet", type=Path, help="where munet was installed")
    parser.add_argument("--docker", action="store_true", help="also labrun in Docker")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for nodes in options.nodes:
            print(f"\n{nodes} nodes on one bridge", flush=True)
            side_by_side(rows(nodes, folder, options.munet, options.docker), options.runs, folder)


if __name__ == "__main__":
    main()
