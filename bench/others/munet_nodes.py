"""N nodes on one network with munet (PyPI), a ping across, and down: munet_nodes.py N FOLDER. Needs root."""

import asyncio
import logging
import sys
from pathlib import Path

import yaml
from munet import base, parser

PLAIN = base.Commander.cmd_raises


def patient(self: base.Commander, cmd: object, **options: object) -> str:
    """munet asks pgrep for a child that `unshare` may not have forked yet, and fails on a busy machine: ask again."""
    for _ in range(100):
        try:
            return str(PLAIN(self, cmd, **options))
        except base.CalledProcessError:
            if "pgrep" not in str(cmd):
                raise
    return str(PLAIN(self, cmd, **options))


base.Commander.cmd_raises = patient
logging.disable(logging.WARNING)  # it logs every command; that need not count against it


def address(number: int) -> str:
    return f"10.0.{number // 250}.{number % 250 + 1}"


async def main(count: int, folder: Path) -> int:
    nodes = [
        {"name": f"h{n}", "connections": [{"to": "net0", "name": "eth0", "ip": f"{address(n)}/16"}]}
        for n in range(count)
    ]
    file = folder / f"munet-{count}.yaml"
    file.write_text(yaml.safe_dump({"topology": {"networks": [{"name": "net0"}], "nodes": nodes}}))
    unet = await parser.async_build_topology(parser.get_config(str(file)), rundir=str(folder / "run"))
    try:
        return int(unet.hosts["h0"].cmd_status(f"ping -c 1 -W 2 {address(count - 1)}")[0])
    finally:
        await unet.async_delete()


sys.exit(asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]))))
