"""What goes into a sandbox, for every engine: the agent's own source and the plan, through stdin.

So the agent that runs is always the one of this labrun, no image can be stale, and nothing is mounted. The sandbox's
command is a Python one-liner that takes the source from stdin; what is left of stdin is the plan and the lifeline.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import json
import marshal
import os
from collections.abc import Sequence
from pathlib import Path

from labrun.protocol.codec import dumps
from labrun.protocol.plan import NO_CONTENTS, Contents, Plan

AGENT_ZIP = "/run/labrun-agent.zip"
_KEPT = 8  # of the compiled sources: as many checkouts as somebody may have
_BOOT = (
    "import sys; n = int(sys.stdin.buffer.readline()); p = sys.argv[1]; "
    "f = open(p, 'wb'); f.write(sys.stdin.buffer.read(n)); f.close(); "
    "sys.path[1:1] = sys.argv[3:]; sys.path.insert(0, p); "
    "from labrun.agent.lab_side import begin; lab = begin(sys.argv[2]); from labrun.agent.main import main; main(lab)"
)


def agent_command(
    python: str = "python3",
    place: str = AGENT_ZIP,
    paths: Sequence[str] = (),
    nested: bool = False,
    binds: Sequence[str] = (),
) -> tuple[str, ...]:
    """The sandbox's command. ``place``: where the source may be put; ``paths``: where that Python finds libraries.

    ``nested``: labs run in a user namespace below the agent's; ``binds``: what is mounted in the sandbox for labs too.
    """
    shape = json.dumps({"nested": nested, "binds": binds})
    return (python, "-I", "-c", _BOOT, place, shape, *paths)


@functools.cache
def agent_source() -> bytes:
    """A zip of labrun's `__init__`, protocol and agent and the binding of libpcap, the same bytes for the same source.

    With what this Python compiles them to beside the sources: a sandbox whose Python is of the same version (PEP 3147)
    saves the 100 ms of compiling, any other takes the sources. Compiling is done once, and kept in the user's cache.
    """
    package = Path(__file__).resolve().parent.parent
    files = [
        package / "__init__.py",
        *sorted((package / "protocol").glob("*.py")),
        *sorted((package / "agent").glob("*.py")),
        *(package / "packets" / name for name in ("__init__.py", "libpcap.py")),
    ]
    kept = _cache_file(files)
    try:
        return kept.read_bytes()
    except OSError:
        made = _zip(package, files)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_name(f".{kept.name}.{os.getpid()}")
        fresh.write_bytes(made)
        fresh.replace(kept)
        for old in sorted(kept.parent.glob("*.zip"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    return made


def _cache_file(files: list[Path]) -> Path:
    """Named by what the files are, as make would: path, time of change, size; and by this Python's bytecode."""
    facts = [(str(file), (state := file.stat()).st_mtime_ns, state.st_size) for file in files]
    name = hashlib.sha256(repr((facts, importlib.util.MAGIC_NUMBER)).encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "labrun" / "agent" / f"{name}.zip"


def _zip(package: Path, files: list[Path]) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            name = f"labrun/{file.relative_to(package)}"
            source = file.read_bytes()
            archive.writestr(zipfile.ZipInfo(name), source)
            code = compile(source, f"{AGENT_ZIP}/{name}", "exec", dont_inherit=True)
            # PEP 552: the flags of a hash-based .pyc that is not checked, and no hash
            header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
            archive.writestr(zipfile.ZipInfo(f"{name}c"), header + marshal.dumps(code))
    return out.getvalue()


def parcel(plan: Plan, contents: Contents = NO_CONTENTS) -> bytes:
    """All that is written to the sandbox's stdin."""
    return agent_parcel() + plan_parcel(plan, contents)


def agent_parcel() -> bytes:
    """What is written to the sandbox's stdin first: with it the agent gets ready, and waits for its plan."""
    source = agent_source()
    return b"%d\n" % len(source) + source


def plan_parcel(plan: Plan, contents: Contents = NO_CONTENTS) -> bytes:
    """What comes next: the plan, and the bytes of the lab's files, each once, in the order in which the plan has them.

    stdin then stays open: closing it ends the sandbox.
    """
    files = dict.fromkeys(file.sha256 for file in plan.files or () if file.sha256 is not None)
    return b"".join((dumps(plan).encode(), b"\n", *(contents[digest] for digest in files)))
