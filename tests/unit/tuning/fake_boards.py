"""Tasks with a known landscape of times, and boards that measure it without a device, well or badly."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from shufflec.errors import DeviceError
from shufflec.ir.graph import Op
from shufflec.kernels.kernel import Workload
from shufflec.tuning.fleet import Board
from shufflec.tuning.measure import OK, WRONG, Result
from shufflec.tuning.tasks import Task

FAMILY = "fake-1"
TILINGS = [(("pixels", p), ("blocks", b), ("schedule", s)) for s in range(2) for p in range(1, 7) for b in range(1, 6)]


def family() -> SimpleNamespace:
    return SimpleNamespace(NAME=FAMILY, accepts=lambda _: True, tilings=lambda _: list(TILINGS), build=None)


def tasks(count: int = 3) -> list[Task]:
    """Workloads of decreasing weight."""
    found = []
    for number in range(count):
        workload = Workload.of("dense", "neon", in_channels=32 * (number + 1), out_channels=10)
        layers = tuple(f"stage{number}.{i}" for i in range(count - number))
        found.append(Task(f"task{number}", workload, Op("dense", f"fc{number}", ("x",), "y", {}, {}), layers))
    return found


def nanoseconds(task: Task, tiling) -> int:
    """The default is slow; one tiling is best, its neighbours nearly as good."""
    chosen, size = dict(tiling), task.workload["in_channels"]
    best = 2 + size // 32
    away = abs(chosen["pixels"] - best) + abs(chosen["blocks"] - 3) + chosen["schedule"]
    return size * (100 + 7 * away * away)


def optimum(task: Task) -> int:
    return min(nanoseconds(task, tiling) for tiling in TILINGS)


class FakeBoard(Board):
    """wrong: tilings with a wrong result. crashes: tilings that take the session with them. dies_after: measurements
    until it cannot be reached any more. garbage_after: until every result of it is wrong. hangs: like dies, but says
    that it did not answer. stop_after: measurements until Ctrl-C."""

    def __init__(self, name="one", wrong=(), crashes=(), dies_after=None, garbage_after=None, stop_after=None):
        super().__init__(name, self._connect)
        self.wrong, self.crashes, self.dies_after = wrong, crashes, dies_after
        self.garbage_after, self.stop_after = garbage_after, stop_after
        self.measured = 0

    def _connect(self):
        if self.dies_after is not None and self.measured >= self.dies_after:
            raise DeviceError(f"{self.name}: could not open a session: the board did not answer in time")
        return SimpleNamespace(close=lambda: None)

    def measure(self, batch, index, sweep_bytes) -> Result:
        candidate = batch.candidates[index]
        self.measured += 1
        if self.dies_after is not None and self.measured > self.dies_after:
            raise DeviceError(f"{self.name}: could not run a candidate: the connection was lost")
        if candidate.tiling in self.crashes:
            raise DeviceError(f"{self.name}: could not run a candidate: the connection was lost")
        garbage = self.garbage_after is not None and self.measured > self.garbage_after
        if garbage or candidate.tiling in self.wrong:
            return Result(WRONG, reason="1 of 10 outputs are wrong")
        return Result(OK, nanoseconds(candidate.case.task, candidate.tiling))


def fake_case(task: Task) -> SimpleNamespace:
    return SimpleNamespace(task=task, expected=np.zeros(1))
