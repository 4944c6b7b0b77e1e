"""N nodes on one bridge, up, a ping across, and down: labrun in Docker against `ip -batch` in one `docker run`.

    .venv/bin/python bench/nodes.py [--runs 5] [--nodes 10 100]

Whole processes. Both sides ping from the first node to the last one, and fail if it does not cross.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from labrun.engines.docker import connect
from labrun.image.build import ensure_image
from labrun.image.recipe import load_recipe
from pairs import side_by_side


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100])
    options = parser.parse_args()
    recipe = load_recipe()
    ensure_image(connect(), recipe, print)
    labrun = str(Path(sys.executable).parent / "labrun")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for nodes in options.nodes:
            place = folder / "labs" / f"nodes-{nodes}"
            place.mkdir(parents=True)
            (place / "lab.yaml").write_text(lab(nodes))
            (folder / f"nodes-{nodes}.sh").write_text(script(nodes))
            print(f"\n{nodes} nodes on one bridge")
            rights = [
                "--cap-add",
                "NET_ADMIN",
                "--cap-add",
                "SYS_ADMIN",
                "--security-opt",
                "seccomp=unconfined",
                "--security-opt",
                "apparmor=unconfined",
                "--security-opt",
                "systempaths=unconfined",
            ]
            side_by_side(
                {
                    "labrun run": [labrun, "run", f"nodes-{nodes}", "--isolation", "least"],
                    "docker run, ip -batch": [
                        "docker",
                        "run",
                        "--rm",
                        "--network",
                        "none",
                        "--init",
                        *rights,
                        "-v",
                        f"{folder}:/bench:ro",
                        recipe.tag,
                        "bash",
                        f"/bench/nodes-{nodes}.sh",
                    ],
                },
                options.runs,
                folder,
            )


if __name__ == "__main__":
    main()
