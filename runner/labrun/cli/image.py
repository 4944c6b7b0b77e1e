"""`labrun image build` and `list`: the userland that labs run on."""

from __future__ import annotations

import sys

import click

from labrun.cli.options import EngineName


@click.group
def image() -> None:
    """The lab image: the userland that labs run on."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@image.command("build")
@click.option(
    "--engine",
    type=click.Choice(EngineName),
    default=EngineName.auto,
    help="Where it is to be; auto as for runs.",
)
def build(engine: EngineName) -> None:
    """Build the lab image if its recipe has none yet, and print its name. Natively: a folder in the user's cache."""
    from labrun.cli.engines import find_daemon, native_rootfs, podman_client
    from labrun.image.build import ensure_image
    from labrun.image.recipe import load_recipe

    recipe = load_recipe()
    client = None
    if engine is EngineName.docker:
        from labrun.engines.docker import connect

        client = connect()
    elif engine is EngineName.podman:
        client = podman_client()
    elif engine is EngineName.auto:
        client, _ = find_daemon()
    if client is None:
        print(native_rootfs(recipe, _say))
    else:
        ensure_image(client, recipe, _say)
        print(recipe.tag)


@image.command("list")
def list_them() -> None:
    """List the lab images that there are; the current recipe's is marked."""
    from labrun.cli.engines import find_daemon
    from labrun.image.build import list_images
    from labrun.image.kept import find_rootfs
    from labrun.image.recipe import load_recipe

    recipe = load_recipe()
    client, _ = find_daemon()
    rows = list_images(client, recipe) if client is not None else ()
    for row in rows:
        mark = "*" if row.current else " "
        print(f"{mark} {row.tags[0] if row.tags else row.id[:19]}  {row.size_bytes / 1e6:.0f} MB  {row.created[:19]}")
    folder = find_rootfs(recipe)
    if folder is not None:
        print(f"* {folder}  (native)")
    if folder is None and not any(row.current for row in rows):
        _say("the current recipe has no image yet: labrun image build")
