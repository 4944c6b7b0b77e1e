"""`labrun kernel get` and `list`: the kernels that virtual machines run."""

from __future__ import annotations

import sys

import click


@click.group
def kernel() -> None:
    """Kernels for --engine vm."""


@kernel.command("get")
@click.argument("wanted", metavar="KERNEL")
def get(wanted: str) -> None:
    """Fetch Debian's newest kernel of a series such as 6.1; or take a .deb file, or a folder with vmlinuz and
    lib/modules. It is unpacked in the cache, never installed."""
    from labrun.image.kernel import get_kernel

    found = get_kernel(wanted, lambda text: print(text, file=sys.stderr, flush=True))
    print(found.folder)


@kernel.command("list")
def list_them() -> None:
    """List the kernels at hand, the newest first; `--engine vm` takes the newest that came from a package."""
    from labrun.image.kernel import kernels

    for each in kernels():
        print(f"{each.release}  {each.package}  sha256:{each.modules[:12]}")
