"""`labrun import`: a lab of another format as a folder of ours, with a report of what became of it."""

from __future__ import annotations

from pathlib import Path

import click

from labrun.cli.defaults import Configured


@click.command("import", cls=Configured)
@click.argument("format_name", metavar="FORMAT")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("labs"),
    show_default=True,
    help="Where the folder of each lab is made.",
)
@click.option(
    "--image",
    "images",
    metavar="NAME=REF",
    multiple=True,
    help="Take this for an image that the lab names; may be given several times.",
)
def import_labs(format_name: str, folder: Path, to: Path, images: tuple[str, ...]) -> int:
    """Write a lab of another FORMAT as a lab folder, and say what was mapped, what was not, and why.

    FORMAT is one of selftests (scripts that speak TAP, or kselftest's exit statuses) and those that other packages add.
    Nothing of FOLDER is executed.
    """
    from labrun.importers.base import Options
    from labrun.importers.formats import importer, read_folder
    from labrun.importers.written import told, write_lab
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import load_lab
    from labrun.logic.visible import visible

    taken = [text.partition("=") for text in images]
    for name, sign, reference in taken:
        if not (name and sign and reference):
            raise click.BadParameter(f"'{name}' is not NAME=REF", param_hint="--image")
    how = importer(format_name)
    if not folder.exists():
        raise click.BadParameter(f"{folder} does not exist", param_hint="FOLDER")
    source = read_folder(folder)
    labs = how.read(source, Options({name: reference for name, _, reference in taken}))
    there = [to / lab.name for lab in labs if (to / lab.name).exists() or (to / lab.name).is_symlink()]
    if there:
        raise click.UsageError(f"{there[0]} is there already: remove it, or say --to DIR")
    for lab in labs:
        file = write_lab(lab, source, to / lab.name)
        print(visible(str(file)))
        report = told(lab.remarks)
        if report:
            print("\n".join(f"  {line}".rstrip() for line in visible(report, "\n").split("\n")))
        compile_lab(load_lab(file))
    return 0
