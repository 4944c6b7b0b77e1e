"""The Python packages of the image, fetched on this host: pinned, checked against their hashes, pure Python.

Being pure, they fit any Python that the image has, so this host's own pip can unpack them for every builder.
"""

import importlib.util
import sys
from pathlib import Path

from labrun.image.command import run
from labrun.image.errors import ImageError


def unpack_wheels(requirements: Path, into: Path, log: Path) -> None:
    """Install what `requirements` lists into the folder `into`, without compiling. Raises ImageError."""
    if importlib.util.find_spec("pip") is None:
        raise ImageError(
            f"The Python that runs labrun ({sys.executable}) has no pip, which building the lab image needs.",
            "Install it with `python3 -m ensurepip` in that environment (in one of uv: `uv pip install pip`).",
        )
    run(
        "pip",
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
            *("--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--platform", "any", "--implementation", "py", "--abi", "none"),
            *("--no-warn-script-location", "--target", str(into), "--requirement", str(requirements)),
        ],
        log=log,
        deadline_s=600.0,
    )
