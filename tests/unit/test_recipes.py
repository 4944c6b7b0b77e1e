"""The recipes in the documentation are labs: each is checked here, and run in tests/e2e/test_recipes.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun.lab.check.filters import check_filters
from labrun.lab.check.lines import check_lines
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from support.recipes import recipes

RECIPES = recipes()


def test_there_are_twenty() -> None:
    assert len(RECIPES) == 20


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_lab_without_a_mistake(name: str) -> None:
    lab = parse_lab(RECIPES[name], Path(name) / "lab.yaml", name, name)
    compile_lab(lab)
    assert not check_filters(lab) and not list(check_lines(lab))
    assert all(hypothesis.control for hypothesis in lab.model.hypotheses)
