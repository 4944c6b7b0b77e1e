"""Short forms of the programs in bench/ that run labs over and over, on each engine."""

import importlib.util
import os
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
from e2e.conftest import REPOSITORY, Backend


def program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """One of bench/, which import each other as programs do that are run by their path."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "bench" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def way_of(left: ModuleType, backend: Backend) -> object:
    engine = backend.name if backend.name == "docker" else "native"
    return left.Way(engine, backend.argv, backend.options, {**os.environ, **backend.env})


def test_labs_come_out_the_same_and_leave_nothing(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, soak = program("left", monkeypatch), program("soak", monkeypatch)
    counted = soak.soak(way_of(left, backend), ("own-address",), 2, 1, 2, tmp_path, 10.0)
    assert (dict(counted.runs), dict(counted.failures)) == ({"own-address": 2}, {})
    assert {verdict for verdict, _ in counted.first["own-address"].values()} <= {"supported", "refuted"}


def test_killed_runs_leave_nothing_that_the_next_does_not_remove(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, kill = program("left", monkeypatch), program("kill", monkeypatch)
    way = way_of(left, backend)
    draw = random.Random(1)
    with kill.folder_with_lab() as folder:
        for at_create in (False, True) if backend.name == "docker" else (False,):
            one = kill.one_round(draw, way, "runner", folder, 3.0, at_create)
            assert one.left["processes"] == one.left["mounts"] == 0, one
            assert not any(one.after.values()), one
