"""`labrun gallery`: findings as a static site."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labrun.cli import options

if TYPE_CHECKING:
    from labrun.finding.gallery import Claim

_LEFT_OUT = ("userland/", "parts/")  # of what is laid out beside a finding's report, which refers to the rest


@click.command
@click.argument("findings", metavar="FINDING...", nargs=-1, required=True, type=options.PATH)
@click.option(
    "-o", "--output", "target", metavar="DIR", type=options.PATH, default=Path("site"), show_default=True,
    help="The folder to write.",
)  # fmt: skip
@click.option("--title", default="Findings", show_default=True, help="The site's name.")
@click.option("--address", default="", metavar="URL", help="Where the site will be, for the links of its feed.")
def gallery(findings: tuple[Path, ...], target: Path, title: str, address: str) -> int:
    """Make a static site of findings: a page a claim, an index that can be searched, an Atom feed.

    Each finding is verified first; exits with 1 where one is not, and then writes nothing.
    """
    from labrun.evidence.files import write_whole
    from labrun.finding.gallery import claims_of, site
    from labrun.finding.verify import verify

    claims: list[Claim] = []
    with tempfile.TemporaryDirectory(prefix="labrun-gallery-") as scratch:
        laid: dict[str, tuple[Path, Path]] = {}
        for number, file in enumerate(findings):
            if not file.is_file():
                raise click.UsageError(f"{file}: no such file")
            into = Path(scratch) / str(number)
            found = verify(file.absolute(), into)
            if found.word != "verified":
                raise click.ClickException(f"{file} is {found.word}: {found.steps[-1].message}")
            with file.open("rb") as data:
                name = hashlib.file_digest(data, "sha256").hexdigest()[:16]
            if name not in laid:
                laid[name] = (file, into)
                claims += claims_of(into, name)
        pages = site(claims, title, f"{address.rstrip('/')}/" if address else "")
        for name, (file, into) in laid.items():
            _lay(into, target / "findings" / name)
            shutil.copyfile(file, target / "findings" / f"{name}.zip")
    for path, text in pages.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(target / path, text)
    print(f"{target / 'index.html'}: {len(pages) - 2} claims of {len(laid)} findings")
    return 0


def _lay(finding: Path, target: Path) -> None:
    """Its report, and the evidence that the report refers to; no file that a lab brought with it."""
    for file in sorted(finding.rglob("*")):
        path = file.relative_to(finding).as_posix()
        if file.is_file() and not path.startswith(_LEFT_OUT) and "/lab.files/" not in path:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / path)
