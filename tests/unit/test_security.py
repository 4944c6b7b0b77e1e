"""`labrun doctor --security`: SECURITY.md's table is its own, an open way is a hole, and silence is no "no"."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labrun.cli import security
from labrun.cli.security import ATTEMPTS, Answer, table, tried
from labrun.protocol.frames import Piece

ROOT = Path(__file__).parents[2]


class Said:
    """An engine whose commands print what they are told to."""

    def __init__(self, **said: str) -> None:
        self.said = said

    @contextlib.contextmanager
    def sandbox(self, plan: Any, name: str) -> Iterator[Iterator[Any]]:
        steps = [step.id for step in plan.steps if step.id in self.said]
        streams = {step: "stdout" if self.said[step].strip() in ("yes", "no") else "stderr" for step in steps}
        yield iter([Piece(f"outputs/{step}.{streams[step]}", self.said[step].encode()) for step in steps])


def test_the_table_of_the_document_is_the_programs() -> None:
    assert table() in (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
@pytest.mark.parametrize("kind", security.KINDS)
def test_an_open_way_is_a_hole_unless_it_is_open_by_design(attempt: security.Attempt, kind: security.Kind) -> None:
    found = tried(Said(**{attempt.id: "yes\n"}))  # type: ignore[arg-type]
    assert found[attempt.id] == Answer(True)
    assert found[attempt.id].hole(attempt, kind) is (kind not in attempt.open)
    assert not tried(Said(**{attempt.id: "no\n"}))[attempt.id].hole(attempt, kind)  # type: ignore[arg-type]


def test_an_attempt_that_says_nothing_is_not_found_out() -> None:
    found = tried(Said(disk="Traceback ...\nNameError: oops\n"))  # type: ignore[arg-type]
    assert found["disk"] == Answer(None, "NameError: oops") and found["module"].open is None


def test_what_the_lab_left_on_this_host_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter((0, 1))
    monkeypatch.setattr(security, "_mounts", lambda: next(counts))
    assert tried(Said(mount="no\n"))["mount"].open is True  # type: ignore[arg-type]
