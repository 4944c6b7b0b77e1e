"""N nodes on one network with munet (PyPI), a ping across, and down: munet_nodes.py N FOLDER. Needs root."""

import asyncio
import sys
from pathlib import Path

import yaml
from munet import parser


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
