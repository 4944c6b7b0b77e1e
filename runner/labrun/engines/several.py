"""Several engines as one: plans that need software of their own get a sandbox that has it, all others the usual one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

from labrun.engines.base import Engine, EngineError, EngineInfo, Frame
from labrun.protocol.plan import NO_CONTENTS, Contents, Plan

Packages = tuple[str, ...]


class SeveralEngines:
    """``usual``: of plans that name no packages; ``others``: packages -> their engine, or why there is none."""

    def __init__(self, usual: Engine, others: Mapping[Packages, Engine | EngineError]) -> None:
        self._usual = usual
        self._others = others

    @property
    def info(self) -> EngineInfo:
        """Of the usual one; what is in a sandbox, its own evidence says."""
        return self._usual.info

    def expect(self, plans: int) -> None:
        """See `Engine.expect`. Which engine they will be for, nobody says."""
        if not self._others:
            self._usual.expect(plans)

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        for engine in (self._usual, *self._others.values()):
            if not isinstance(engine, EngineError):
                engine.cancel()

    def sandbox(
        self, plan: Plan, name: str, contents: Contents = NO_CONTENTS
    ) -> AbstractContextManager[Iterator[Frame]]:
        """See `Engine.sandbox`."""
        engine = self._usual if plan.userland is None else self._others[plan.userland]
        if isinstance(engine, EngineError):
            raise EngineError(engine.code, str(engine))
        return engine.sandbox(plan, name, contents)
