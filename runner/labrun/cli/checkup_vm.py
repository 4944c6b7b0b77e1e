"""What `labrun doctor` finds out about virtual machines: by starting one with the newest kernel at hand."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

from labrun.cli.checkup import Finding, features
from labrun.engines.base import EngineError
from labrun.image.errors import ImageError


def vm_checkup(cache_dir: Path | None = None) -> Iterator[Finding]:
    """They are one more way to run labs: nothing about them stops anybody."""
    from labrun.cli.engines import machine, see_to_qemu
    from labrun.engines.vm import VmEngine, qemu_version
    from labrun.image.kept import find_rootfs
    from labrun.image.kernel import find_kernel, kernels
    from labrun.image.recipe import load_recipe

    try:
        qemu = see_to_qemu()
    except EngineError as error:
        what, _, remedy = str(error).partition(". ")
        yield Finding("engine vm", what, None, remedy or None)
        return
    at_hand = kernels(cache_dir)
    if not at_hand:
        yield Finding("engine vm", f"{qemu_version(qemu)}, and no kernel at hand", None, "labrun kernel get 6.1")
        return
    yield Finding("kernels (vm)", ", ".join(kernel.release for kernel in at_hand), True)
    try:
        recipe = load_recipe()
        rootfs = find_rootfs(recipe, cache_dir)
        if rootfs is None:
            words = f"{recipe.tag} is not unpacked yet"
            yield Finding("engine vm", words, None, "labrun image build --engine native (a run does it too)")
            return
        made = machine(qemu, find_kernel(None, lambda text: None, cache_dir), rootfs)
    except ImageError as error:
        yield Finding("engine vm", error.what, None, error.remedy)
        return
    try:
        with VmEngine(made, recipe.tag, f"doctor-{secrets.token_hex(3)}") as engine:
            words = f"{engine.info.version}: {engine.info.note}"
            found = tuple(features(engine, "vm"))
    except EngineError as error:
        yield Finding("engine vm", f"no machine starts: {error}", None)
        return
    if any(finding.good is False for finding in found):
        words = "; ".join(finding.found for finding in found if finding.good is False)
        yield Finding("engine vm", f"no machine starts: {words}", None)
        return
    yield Finding("engine vm", words, True)
    yield from found
