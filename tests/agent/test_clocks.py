"""The two clocks of an event are of one moment, however the machine stops us between reads."""

from __future__ import annotations

import random

import pytest
from labrun.agent.emitter import read_clocks


class Machine:
    """One true time, and two clocks that show it; each read takes its time, now and then a long one."""

    def __init__(self, seed: int, stall: float) -> None:
        self.now_ns = 10**15
        self._random = random.Random(seed)
        self._stall = stall

    def _passes(self) -> None:
        slow = self._random.random() < self._stall
        self.now_ns += self._random.randint(10**8, 3 * 10**9) if slow else self._random.randint(50, 500)

    def monotonic(self) -> int:
        self._passes()
        return self.now_ns

    def wall(self) -> int:
        self._passes()
        return self.now_ns + 7 * 10**17


@pytest.mark.parametrize("stall", [0.0, 0.1, 0.5])
def test_a_stop_between_two_reads_does_not_set_the_clocks_apart(stall):
    for seed in range(200):
        machine = Machine(seed, stall)
        monotonic_ns, wall_ns = read_clocks(machine.monotonic, machine.wall)
        assert abs(wall_ns - monotonic_ns - 7 * 10**17) < 20_000, seed


def test_a_quiet_machine_is_read_once():
    machine = Machine(1, 0.0)
    read_clocks(machine.monotonic, machine.wall)
    assert machine.now_ns - 10**15 <= 1500
