"""Where a tuning run stands: what the live view shows, the records are made from and the report is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field

from shufflec.kernels.records import Record, Tiling, toolchain
from shufflec.targets.target import Target
from shufflec.tuning.measure import OK, Result
from shufflec.tuning.tasks import Task

#: A batch that brings less than this is no gain.
GAIN = 0.005
#: A tiling that saves less than this keeps the default in its place: it may be none in another network.
WORTH = 0.01


@dataclass
class TaskState:
    """default, best: nanoseconds of one call, 0 while unknown. stale: batches in a row without gain."""

    task: Task
    default: int = 0
    best: int = 0
    tiling: Tiling = ()
    kind: str = "estimated"
    trials: int = 0
    failures: int = 0
    batches: int = 0
    stale: int = 0

    @property
    def weight(self) -> int:
        """How often the workload runs in one inference (of all networks that are tuned)."""
        return len(self.task.layers)

    @property
    def gain(self) -> float:
        """1 - best / default."""
        return 1 - self.best / self.default if self.default else 0.0

    def take(self, tiling: Tiling, result: Result) -> None:
        """Counts a measurement; the first of a task is its default tiling's."""
        first = self.trials == 0
        self.trials += 1
        if result.outcome != OK:
            self.failures += 1
            return
        self.kind = result.kind
        if first:
            self.default = result.nanoseconds
        if self.default and (not self.best or result.nanoseconds < self.best):
            self.best, self.tiling = result.nanoseconds, tiling

    def record(self, target: Target) -> Record:
        """What is known of the workload now."""
        tools = toolchain()
        task = self.task
        tiling, nanoseconds = self.tiling, self.best
        if self.gain < WORTH:
            tiling, nanoseconds = task.tilings[0], self.default
        return Record(
            task.record_key, target.name, task.family.NAME, dict(tiling), tools.tvm, tools.llvm, self.kind,
            nanoseconds, self.default,
        )  # fmt: skip


@dataclass
class RunState:
    """A whole run. limit: trials at most, 0 for no limit. doing: what happens now, in words. problems: wrong results
    and failures, a line each. curve: (trials, nanoseconds of all layers with the best tilings so far)."""

    tasks: list[TaskState]
    limit: int
    trials: int = 0
    replayed: int = 0
    boards: int = 0
    doing: str = ""
    wrong: int = 0
    problems: list[str] = field(default_factory=list)
    curve: list[tuple[int, int]] = field(default_factory=list)

    @property
    def default(self) -> int:
        """Nanoseconds of all tuned layers with their default tilings, as far as they are known."""
        return sum(state.weight * state.default for state in self.tasks)

    @property
    def best(self) -> int:
        """The same with the best tilings so far."""
        return sum(state.weight * state.best for state in self.tasks)

    @property
    def failures(self) -> int:
        return sum(state.failures for state in self.tasks)

    def next_task(self, eligible: list[TaskState]) -> TaskState:
        """The one whose next batch is due: batches are shared out like seats (D'Hondt), by each workload's share of
        the cost, which counts half as much for every batch in a row that brought nothing."""
        return max(eligible, key=lambda one: one.weight * one.best * 0.5**one.stale / (one.batches + 1))
