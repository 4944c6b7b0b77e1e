"""`labrun run empty-namespace` against the same steps as a shell script under one `docker run`, whole processes.

    .venv/bin/python bench/startup.py [--runs 10]

Three rows: the lab as it ships (its controls run in containers of their own), the experiment alone, and the script in
the same image with the same rights. What labrun does on top of the script: captures with counted drops, snapshots,
evidence, judging, three reports.
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
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
LAB = HERE.parent / "labs" / "empty-namespace" / "lab.yaml"

# The lab's steps as a person would script them; the waits are loops until ready, as labrun's are.
SCRIPT = r"""
set -u
ip netns add ns1
inside() { ip netns exec ns1 "$@"; }
inside tcpdump -i any -w /tmp/any.pcap 2>/tmp/tcpdump.log & dump=$!
until grep -q 'listening on' /tmp/tcpdump.log 2>/dev/null; do sleep 0.01; done
inside ifconfig
inside ip link list
inside ip -details -json link show >/tmp/links; inside ip -json address show >/tmp/addresses
printf 'HTTP/1.0 200 OK\r\n\r\nBAM!\n' | inside nc -N -l 8900 & server=$!
until inside ss -ltn | grep -q :8900; do sleep 0.01; done
inside netstat -tulpn
inside ss -tunap >/tmp/sockets
inside curl -sS localhost:8900
inside ip route show table local
inside nc -l 127.0.0.1 8080 & inside nc -l 10.9.8.7 8081 &
until inside ss -ltn | grep -q :8080 && inside ss -ltn | grep -q :8081; do sleep 0.01; done
inside ip -json address show >/tmp/addresses; inside ss -tunap >/tmp/sockets
ip netns add ns2
ip netns exec ns2 ip address add 192.0.2.1/32 dev lo
ip netns exec ns2 ip route show table local
ip netns exec ns2 nc -l 127.0.0.1 8080
pkill -TERM tcpdump; wait $dump
exit 0
"""


def without_controls(target: Path) -> None:
    """The same lab, its experiment alone."""
    yaml = YAML()
    lab = yaml.load(LAB.read_text())
    for hypothesis in lab["hypotheses"]:
        hypothesis["control"] = {"none": "left out to compare one container with one container"}
    target.mkdir(parents=True)
    with (target / "lab.yaml").open("w") as file:
        yaml.dump(lab, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    recipe = load_recipe()
    ensure_image(connect(), recipe, print)
    labrun = str(Path(sys.executable).parent / "labrun")
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone" / "empty-namespace"
        without_controls(alone)
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
                "labrun run empty-namespace (3 containers)": [labrun, "run", str(LAB.parent)],
                "labrun, the experiment alone": [labrun, "run", str(alone)],
                "labrun, alone, --isolation least": [labrun, "run", str(alone), "--isolation", "least"],
                "docker run, shell script": [
                    "docker",
                    "run",
                    "--rm",
                    "--network",
                    "none",
                    "--init",
                    *rights,
                    recipe.tag,
                    "bash",
                    "-c",
                    SCRIPT,
                ],
            },
            runs,
            Path(folder),
        )


if __name__ == "__main__":
    main()
