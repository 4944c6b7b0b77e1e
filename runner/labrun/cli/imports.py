"""`labrun import`: a lab of another format as a folder of ours, with a report of what became of it."""

from __future__ import annotations

import tempfile
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
    metavar="NAME=PACKAGE,...",
    multiple=True,
    help="Debian packages that stand for an image which the lab names; may be given several times.",
)
def import_labs(format_name: str, folder: Path, to: Path, images: tuple[str, ...]) -> int:
    """Write a lab of another FORMAT as a lab folder, and say what was mapped, what was not, and why.

    FORMAT is kathara, kathara-lab-checker, containerlab, compose, selftests (scripts that speak TAP or end as
    kselftest's do; FOLDER may be one of them), or one that another package adds. Nothing of FOLDER is executed.
    """
    from labrun.importers.base import Options
    from labrun.importers.formats import importer, read_folder
    from labrun.importers.written import told, write_lab
    from labrun.lab.catalogue import LAB_FILE
    from labrun.lab.compile import compile_lab
    from labrun.lab.load import load_lab
    from labrun.logic.visible import visible

    taken = [text.partition("=") for text in images]
    for name, sign, packages in taken:
        if not (name and sign and packages.strip(",")):
            raise click.BadParameter(f"'{name}' is not NAME=PACKAGE,...", param_hint="--image")
    how = importer(format_name)
    if not folder.exists():
        raise click.BadParameter(f"{folder} does not exist", param_hint="FOLDER")
    source = read_folder(folder)
    labs = how.read(source, Options({name: tuple(packages.split(",")) for name, _, packages in taken}))
    there = [to / lab.name for lab in labs if (to / lab.name).exists() or (to / lab.name).is_symlink()]
    if there:
        raise click.UsageError(f"{there[0]} is there already: remove it, or say --to DIR")
    to.mkdir(parents=True, exist_ok=True)
    for lab in labs:
        with tempfile.TemporaryDirectory(prefix=".import-", dir=to) as place:
            compile_lab(load_lab(write_lab(lab, source, Path(place) / lab.name)))
            (Path(place) / lab.name).rename(to / lab.name)
        print(visible(str(to / lab.name / LAB_FILE)))
        report = told(lab.remarks)
        if report:
            print("\n".join(f"  {line}".rstrip() for line in visible(report, "\n").split("\n")))
    return 0
