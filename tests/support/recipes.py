"""The labs of docs/recipes.md: its topology, with each of its recipes."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"


def recipes() -> dict[str, str]:
    """Slug -> the text of a lab.yaml."""
    text = PAGE.read_text(encoding="utf-8")
    (topology,) = re.findall(r"```yaml topology\n(.*?)```", text, re.DOTALL)
    found = re.findall(r"^## (.*?)\n(?:(?!^## ).)*?```yaml recipe\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"[^a-z0-9]+", "-", title.lower()).strip(
            "-"
        ): f'title: "{title}"\nquestion: "{title}"\n{topology}{recipe}'
        for title, recipe in found
    }
