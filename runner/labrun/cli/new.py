"""`labrun new`: a lab of one's own, from a template that runs."""

from __future__ import annotations

import re
from pathlib import Path

import click

from labrun.lab.templates import template_names, template_text

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@click.command
@click.argument("name")
@click.option(
    "--from",
    "template",
    type=click.Choice(template_names()),
    default="two-hosts",
    show_default=True,
    help="What to begin with.",
)
def new(name: str, template: str) -> None:
    """Write labs/NAME/lab.yaml, a small lab that runs as it is, to make your own of."""
    from labrun.lab.catalogue import LAB_FILE

    if not _NAME.fullmatch(name) or "--" in name:
        raise click.UsageError(f"'{name[:80]}' is not a name for a lab: small letters, digits and single dashes")
    file = Path("labs", name, LAB_FILE)
    if file.parent.exists() or file.parent.is_symlink():
        raise click.UsageError(f"{file.parent} is there already: choose another name, or remove it")
    first = not Path("labs").is_dir()
    file.parent.mkdir(parents=True)
    file.write_text(template_text(template), encoding="utf-8")
    print(f"{file}: change it, then: labrun check {name}, labrun run {name}")
    if first:
        print("There was no labs/ folder: `labrun all` and `labrun list` now mean the labs in it.")
