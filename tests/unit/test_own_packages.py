"""Debian packages of a lab: a recipe of their own, in the plan's digest, and an engine that has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from labrun.engines.base import EngineError, EngineInfo
from labrun.engines.several import SeveralEngines
from labrun.image import build
from labrun.image.recipe import load_recipe, with_packages
from labrun.lab.compile import compile_lab
from labrun.lab.load import parse_lab
from labrun.lab.problems import LabError
from labrun.protocol.plan import Plan

LAB = """\
title: t
question: q
{more}
topology: {{nodes: {{r1: {{}}}}}}
steps: [{{id: a, run: x}}]
hypotheses: [{{id: h, claim: c, predict: {{command: a, exit: 0}}, control: {{none: x}}}}]
"""


def plan(more: str) -> Plan:
    return compile_lab(parse_lab(LAB.format(more=more), Path("lab.yaml"), "x", "lab.yaml")).experiment


def test_packages_are_part_of_the_plan_in_one_order() -> None:
    one, two = plan("userland: {packages: [frr, bind9]}"), plan("userland: {packages: [bind9, frr, frr]}")
    assert one.userland == ("bind9", "frr") and one.digest == two.digest != plan("").digest
    assert plan("").userland is None
    assert plan("userland: {packages: [frr=8.4.4-1.1~deb12u1]}").userland == ("frr=8.4.4-1.1~deb12u1",)


@pytest.mark.parametrize(
    "name", ["FRR", "frr nginx", "--help", "frr;reboot", "frr=", "../x", "frr-", "frr+", "f", '"frr,x"', ""]
)
def test_what_is_no_name_of_a_package(name: str) -> None:
    with pytest.raises(LabError):
        plan(f"userland: {{packages: [{name}]}}")


def test_a_recipe_with_packages_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe()
    more = with_packages(recipe, ["frr", "bind9", "frr"])
    assert more.extra == ("bind9", "frr") and more.tag != recipe.tag
    assert more == with_packages(recipe, ("bind9", "frr")) != with_packages(recipe, ["bind9"])
    assert with_packages(recipe, []) == recipe
    monkeypatch.setattr(build, "unpack_wheels", lambda *_, **__: (tmp_path / "context" / "site").mkdir())
    build.make_context(more, tmp_path, print)
    before = (recipe.root / "packages.txt").read_text()
    assert (tmp_path / "context/recipe/packages.txt").read_text() == f"{before}\n# of the lab\nbind9\nfrr\n"


class Engine:
    """Says which plans came."""

    def __init__(self, name: str) -> None:
        self.info = EngineInfo(name, "1", "least")
        self.told: list[Any] = []

    def expect(self, plans: int) -> None:
        self.told.append(plans)

    def cancel(self) -> None:
        self.told.append("cancel")

    @contextmanager
    def sandbox(self, plan: Plan, name: str, contents: Any, keys: Any = None) -> Iterator[Any]:
        self.told.append(name)
        yield iter(())


def test_each_plan_gets_the_engine_that_has_its_packages() -> None:
    usual, frr = Engine("usual"), Engine("frr")
    several = SeveralEngines(
        usual, {("frr",): frr, ("bind9",): EngineError("missing-tool", "no image with bind9: why")}
    )
    several.expect(3)
    with several.sandbox(plan(""), "one"), several.sandbox(plan("userland: {packages: [frr]}"), "two"):
        pass
    with pytest.raises(EngineError, match="no image with bind9: why") as caught:
        several.sandbox(plan("userland: {packages: [bind9]}"), "three")
    several.cancel()
    assert caught.value.code == "missing-tool" and several.info.name == "usual"
    assert (usual.told, frr.told) == (["one", "cancel"], ["two", "cancel"])
