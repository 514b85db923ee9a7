"""Which tilings of one task to measure next.

MetaSchedule's evolutionary search, over a space of ours: a stand-in function whose schedule draws one number, the place
of a tiling in the family's list. The kernels themselves are finished functions, so there is nothing for MetaSchedule's
schedule primitives to transform; its traces carry the decision, its database what was measured, its search proposes
and asks our cost model. Its task scheduler is not used: it owns the loop, and a run must be able to stop and resume
between any two candidates (tune.py).

Spaces of a few tilings are measured whole.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

import tvm
from tvm import te
from tvm.s_tir import meta_schedule as ms

from shufflec.kernels.records import Tiling
from shufflec.tuning.cost_model import CostModel, SearchCostModel
from shufflec.tuning.tasks import Task

SEED = 20_240_601
#: Spaces of at most this many tilings are not searched but listed.
LISTED = 12
_POPULATION = 256
_BLOCK = "kernel"
_ANNOTATION = "shufflec.tiling"
_INTRINSICS = "tvm.s_tir.tensor_intrin"

logging.getLogger("tvm.s_tir.meta_schedule").setLevel(logging.CRITICAL)


@cache
def _stand_in() -> tvm.tirx.PrimFunc:
    """A function with one block, to draw the number for."""
    given = te.placeholder((1,), "int32", name="given")
    return te.create_prim_func([given, te.compute((1,), lambda i: given[i], name=_BLOCK)])


@contextmanager
def _without_tensor_intrinsics() -> Iterator[None]:
    """TuneContext imports TVM's tensor intrinsics for GPUs and others, which takes up to a minute where many modules
    are loaded. Nothing of ours names one: an empty module takes their place meanwhile."""
    if _INTRINSICS in sys.modules:
        yield
        return
    sys.modules[_INTRINSICS] = ModuleType(_INTRINSICS)
    try:
        yield
    finally:
        del sys.modules[_INTRINSICS]


def _index_of(schedule) -> int:
    """The place of a tiling that a schedule's trace has drawn."""
    (decision,) = schedule.trace.decisions.values()
    return int(decision)


class Search:
    """The search of one task. Deterministic: proposals depend on the seed and on what was told, in order."""

    def __init__(self, task: Task, model: CostModel, batch: int):
        self.task = task
        self._model = model
        self._batch = batch
        self._proposed: set[int] = set()
        self._pending: list[tuple[object, int]] = []
        self._context = self._database = self._workload = None

    @property
    def exhausted(self) -> bool:
        """Whether every tiling was proposed."""
        return len(self._proposed) == len(self.task.tilings)

    def propose(self) -> list[Tiling]:
        """The next tilings, at most a batch, none twice; the default is the first of all."""
        tilings = self.task.tilings
        if not self._proposed:
            chosen = [0]
        elif len(tilings) <= LISTED:
            chosen = [i for i in range(len(tilings)) if i not in self._proposed][: self._batch]
        else:
            chosen = self._searched()
        self._proposed.update(chosen)
        return [tilings[i] for i in chosen]

    def tell(self, seconds: list[float | None]) -> None:
        """The times of the last proposal in its order, None for a candidate that failed."""
        if not self._pending:
            return
        candidates = [candidate for candidate, _ in self._pending]
        results = [
            ms.runner.RunnerResult([value] if value else None, None if value else "failed")
            for value in seconds[: len(candidates)]
        ]
        self._context.notify_runner_results(candidates, results)
        for candidate, result in zip(candidates, results, strict=True):
            if result.run_secs is not None:
                self._database.commit_tuning_record(
                    ms.database.TuningRecord(
                        candidate.sch.trace, self._workload, result.run_secs, self._context.target, candidate.args_info
                    )
                )
        self._pending = []

    def _searched(self) -> list[int]:
        """A batch by evolutionary search, filled up with the best predictions where it finds too few new ones."""
        if self._context is None:
            self._start()
        found: dict[int, object] = {}
        for candidate in self._context.generate_measure_candidates() or []:
            index = _index_of(candidate.sch)
            if index not in self._proposed:
                found.setdefault(index, candidate)
        self._pending = [(candidate, index) for index, candidate in found.items()][: self._batch]
        chosen = [index for _, index in self._pending]
        missing = self._batch - len(chosen)
        if missing:
            rest = [i for i in range(len(self.task.tilings)) if i not in self._proposed and i not in found]
            scores = self._model.predict(self.task, [self.task.tilings[i] for i in rest]) if rest else []
            chosen += [i for _, i in sorted(zip(scores, rest, strict=True))[:missing]]
        return chosen

    def _start(self) -> None:
        count = len(self.task.tilings)

        def draw(schedule) -> None:
            place = schedule.sample_categorical(list(range(count)), [1.0 / count] * count)
            schedule.annotate(schedule.get_sblock(_BLOCK), _ANNOTATION, place)

        with _without_tensor_intrinsics():
            self._context = ms.TuneContext(
                _stand_in(),
                target=tvm.target.Target({"kind": "llvm", "num-cores": 1}),
                space_generator=ms.space_generator.ScheduleFn(draw, sch_rules=[], postprocs=[], mutator_probs={}),
                search_strategy=ms.search_strategy.EvolutionarySearch(
                    population_size=_POPULATION, init_min_unmeasured=1, genetic_num_iters=1
                ),
                task_name=self.task.key,
                rand_state=SEED,
                num_threads=1,
            )
        self._database = ms.database.MemoryDatabase()
        self._context.pre_tuning(
            count, self._batch, None, self._database, SearchCostModel(self._model, self.task, _index_of)
        )
        self._workload = self._database.commit_workload(self._context.mod)
