"""`labrun image build` and `list`: the userland that labs run on."""

from __future__ import annotations

import sys

import typer

app = typer.Typer(help="The lab image: the userland that labs run on.", no_args_is_help=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@app.command("build")
def build() -> None:
    """Build the lab image if its recipe has none yet, and print its name."""
    from labrun.engines.docker import connect
    from labrun.image.build import ensure_image
    from labrun.image.recipe import load_recipe

    recipe = load_recipe()
    ensure_image(connect(), recipe, _say)
    print(recipe.tag)


@app.command("list")
def list_them() -> None:
    """List the lab images that the engine has; the current recipe's is marked."""
    from labrun.engines.docker import connect
    from labrun.image.build import list_images
    from labrun.image.recipe import load_recipe

    rows = list_images(connect(), load_recipe())
    for row in rows:
        mark = "*" if row.current else " "
        print(f"{mark} {row.tags[0] if row.tags else row.id[:19]}  {row.size_bytes / 1e6:.0f} MB  {row.created[:19]}")
    if not any(row.current for row in rows):
        _say("the current recipe has no image yet: labrun image build")
