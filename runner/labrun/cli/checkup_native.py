"""What `labrun doctor` finds out about the native engine: by starting a sandbox, and explaining what was refused."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from pathlib import Path

from labrun.cli.checkup import Finding, collected, features
from labrun.engines.base import EngineError
from labrun.engines.cgroups import find_limits
from labrun.engines.userland import Userland, host_userland, image_userland
from labrun.image.errors import ImageError


def native_checkup() -> Generator[Finding, None, bool]:
    """Whether labs can run natively."""
    from labrun.engines.native import NativeEngine
    from labrun.engines.obstacles import obstacles

    userland = yield from _userland()
    limits = find_limits()
    try:
        with NativeEngine(userland, f"doctor-{secrets.token_hex(3)}", limits) as engine:
            held, works = collected(features(engine, "native"))
    except EngineError as error:
        held, works = [Finding("sandbox (native)", str(error), False)], False
    if not works:
        found = obstacles()
        for finding in held:
            yield Finding("engine native", finding.found, None, found[0].remedy if found else None)
        for obstacle in found:
            yield Finding("engine native", obstacle.what, None, obstacle.remedy, obstacle.mends)
        return False
    who = "root, mapped to an account of no rights" if os.geteuid() == 0 else "this account, without root"
    yield Finding("engine native", f"a sandbox starts, as {who}", True)
    yield from held
    if limits.cgroups:
        yield Finding("limits (native)", limits.words, True)
    else:
        remedy = "as root, or in a delegated cgroup: systemd-run --user --scope -p Delegate=yes labrun all"
        yield Finding("limits (native)", limits.words, None, remedy)
    return True


def userland_at_hand() -> Userland:
    """The lab image's where it is unpacked, else the host's."""
    return collected(_userland())[1]


def _userland() -> Generator[Finding, None, Userland]:
    from labrun.image.builders import HostBuilder
    from labrun.image.kept import find_rootfs
    from labrun.image.recipe import load_recipe

    try:
        recipe = load_recipe()
    except ImageError as error:
        yield Finding("userland", error.what, None, error.remedy)
        return host_userland()
    rootfs: Path | None = find_rootfs(recipe)
    if rootfs is not None:
        yield Finding("userland", f"{recipe.tag} is unpacked in {rootfs}", True)
        return image_userland(recipe.tag, rootfs)
    obstacle = HostBuilder().obstacle()
    if obstacle is None:
        words, remedy = f"{recipe.tag} is not unpacked yet", "labrun image build --engine native (a run does it too)"
    else:
        words = f"the lab image cannot be built here: {obstacle}; labs run on the host's programs"
        remedy = "install what is missing, or use Docker once: its image is unpacked for native runs"
    yield Finding("userland", words, None, remedy)
    return host_userland()
