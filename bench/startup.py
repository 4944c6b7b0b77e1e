"""`labrun run empty-namespace`, native and in Docker, against the same steps as a bare shell script. Whole processes.

    .venv/bin/python bench/startup.py [--runs 10]

As root, for the script's sake. The lab as it ships has two controls, which run in sandboxes of their own; `alone` is
the experiment without them. The scripts run the lab's commands with the same programs (the lab image's): one in a
container, one under `unshare`, which the ratios are against. What labrun does on top of a script: captures with counted
drops, snapshots, what each step changed, evidence, judging, three reports.

The last table is the labs that ship, all of them, natively: `--jobs 1` and `--jobs 2`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from labrun.engines.docker import connect
from labrun.engines.native import FIRST_ID
from labrun.image.build import ensure_image
from labrun.image.recipe import load_recipe
from labrun.image.rootfs import ensure_rootfs
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


# The script under unshare: in the image's root file system, with a /run and a /tmp of its own, as a sandbox has them.
UNSHARED = r"""
set -e
mount --bind "$1" "$1"
cd "$1"
for name in run tmp; do mount -t tmpfs "$name" "$name"; done
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
exec chroot . bash -c "$2"
"""
RIGHTS = [
    "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined",
    "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--native", action="store_true", help="leave Docker out")
    options = parser.parse_args()
    recipe = load_recipe()
    client = None if options.native else connect()
    if client is not None:
        ensure_image(client, recipe, print)
    rootfs = ensure_rootfs(recipe, print, first_id=FIRST_ID, client=client)
    labrun = str(Path(sys.executable).parent / "labrun")
    with tempfile.TemporaryDirectory() as folder:
        alone = str(Path(folder) / "alone" / "empty-namespace")
        without_controls(Path(alone))
        native, docker = ["--engine", "native"], ["--engine", "docker"]
        rows = {
            "labrun run empty-namespace, native": [labrun, "run", str(LAB.parent), *native],
            "labrun, native, alone": [labrun, "run", alone, *native],
        }
        if client is not None:
            rows |= {
                "labrun run empty-namespace, Docker": [labrun, "run", str(LAB.parent), *docker],
                "labrun, Docker, alone": [labrun, "run", alone, *docker],
                "labrun, Docker, alone, --isolation least": [labrun, "run", alone, *docker, "--isolation", "least"],
                "docker run, shell script": [
                    "docker", "run", "--rm", "--network", "none", "--init", *RIGHTS, recipe.tag, "bash", "-c", SCRIPT,
                ],
            }  # fmt: skip
        rows["unshare, shell script"] = [
            "unshare", "--net", "--mount", "--pid", "--fork",
            "sh", "-c", UNSHARED, "sh", str(rootfs), SCRIPT,
        ]  # fmt: skip
        side_by_side(rows, options.runs, Path(folder))
        print()
        labs = [str(path.parent) for path in sorted(LAB.parent.parent.glob("*/lab.yaml"))]
        every = [labrun, "run", *labs, *native]
        side_by_side(
            {f"labrun run, all {len(labs)} labs, --jobs {n}": [*every, "--jobs", str(n)] for n in (2, 1)},
            max(1, options.runs // 2),
            Path(folder),
        )


if __name__ == "__main__":
    main()
