"""What goes into a sandbox, for every engine: the agent's own source and the plan, through stdin.

So the agent that runs is always the one of this labrun, no image can be stale, and nothing is mounted. The sandbox's
command is a Python one-liner that takes the source from stdin; what is left of stdin is the plan and the lifeline.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from labrun.protocol.codec import dumps
from labrun.protocol.plan import Plan

AGENT_ZIP = "/run/labrun-agent.zip"
_BOOT = (
    "import sys; n = int(sys.stdin.buffer.readline()); p = sys.argv[1]; "
    "f = open(p, 'wb'); f.write(sys.stdin.buffer.read(n)); f.close(); "
    "sys.path[1:1] = sys.argv[2:]; sys.path.insert(0, p); from labrun.agent.main import main; main(p)"
)


def agent_command(python: str = "python3", place: str = AGENT_ZIP, paths: Sequence[str] = ()) -> tuple[str, ...]:
    """The sandbox's command. ``place``: where the source may be put; ``paths``: where that Python finds libraries."""
    return (python, "-I", "-c", _BOOT, place, *paths)


@functools.cache
def agent_source() -> bytes:
    """A zip of labrun's `__init__`, protocol and agent, the same bytes for the same source."""
    package = Path(__file__).resolve().parent.parent
    files = [
        package / "__init__.py",
        *sorted((package / "protocol").glob("*.py")),
        *sorted((package / "agent").glob("*.py")),
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            name = f"labrun/{file.relative_to(package)}"
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes())
    return out.getvalue()


def parcel(plan: Plan) -> bytes:
    """All that is written to the sandbox's stdin, which then stays open: closing it ends the sandbox."""
    source = agent_source()
    return b"%d\n" % len(source) + source + dumps(plan).encode() + b"\n"
